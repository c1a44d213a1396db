package behind

import (
	"context"
	"sync"
	"time"
)

// flusher collects values by key and writes what it has in one call, again
// and again. A key that is set twice before it is written is written once.
type flusher[K comparable, V any] struct {
	// Static after construction.
	every time.Duration                              // least time between writes; 0 = as soon as the last is done
	limit int                                        // keys that may wait
	merge func(old, late V) V                        // of one key
	write func(ctx context.Context, m map[K]V) error // writes all of it or fails

	wake chan struct{} // capacity 1

	mu      sync.Mutex // guards the fields below
	pending map[K]V
	next    chan struct{} // closed by the write that starts next
	busy    bool
}

func newFlusher[K comparable, V any](
	every time.Duration, limit int, merge func(old, late V) V, write func(context.Context, map[K]V) error,
) *flusher[K, V] {
	return &flusher[K, V]{
		every: every, limit: limit, merge: merge, write: write,
		wake: make(chan struct{}, 1), pending: map[K]V{}, next: make(chan struct{}),
	}
}

// set notes a value and reports whether there was room.
func (f *flusher[K, V]) set(key K, value V) bool {
	f.mu.Lock()
	old, ok := f.pending[key]
	switch {
	case ok:
		value = f.merge(old, value)
	case len(f.pending) >= f.limit:
		f.mu.Unlock()
		return false
	}
	f.pending[key] = value
	f.mu.Unlock()
	if f.every == 0 {
		f.signal()
	}
	return true
}

func (f *flusher[K, V]) signal() {
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// settle returns when everything that was set before is written, or ctx
// ends. Concurrent callers share one write.
func (f *flusher[K, V]) settle(ctx context.Context) {
	f.mu.Lock()
	if len(f.pending) == 0 && !f.busy {
		f.mu.Unlock()
		return
	}
	done := f.next
	f.mu.Unlock()
	f.signal()
	select {
	case <-done:
	case <-ctx.Done():
	}
}

// run writes until ctx ends, and once more then.
func (f *flusher[K, V]) run(ctx context.Context) {
	var tick <-chan time.Time
	if f.every > 0 {
		ticker := time.NewTicker(f.every)
		defer ticker.Stop()
		tick = ticker.C
	}
	for {
		select {
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
			defer cancel()
			f.flush(last)
			return
		case <-tick:
		case <-f.wake:
		}
		if !f.flush(ctx) {
			// What it writes to is away: let it breathe.
			select {
			case <-ctx.Done():
			case <-time.After(200 * time.Millisecond):
				f.signal()
			}
		}
	}
}

// flush writes what is pending; on failure it stays pending.
func (f *flusher[K, V]) flush(ctx context.Context) bool {
	f.mu.Lock()
	taken, done := f.pending, f.next
	f.next, f.busy = make(chan struct{}), true
	f.pending = make(map[K]V, min(len(taken), 1024))
	f.mu.Unlock()
	var err error
	if len(taken) > 0 {
		err = f.write(ctx, taken)
	}
	f.mu.Lock()
	f.busy = false
	if err != nil {
		for key, value := range f.pending {
			if old, ok := taken[key]; ok {
				value = f.merge(old, value)
			}
			taken[key] = value
		}
		f.pending = taken
	}
	f.mu.Unlock()
	close(done)
	return err == nil
}
