package behind

import (
	"context"
	"errors"
	"maps"
	"sync"
	"testing"
	"time"
)

// target is what a flusher writes to.
type target struct {
	mu     sync.Mutex
	values map[string]uint32
	writes int
	fail   int // this many writes fail
	hold   chan struct{}
}

func (w *target) write(ctx context.Context, m map[string]uint32) error {
	if w.hold != nil {
		select {
		case <-w.hold:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.writes++
	if w.fail > 0 {
		w.fail--
		return errors.New("away")
	}
	maps.Copy(w.values, m)
	return nil
}

func (w *target) value(key string) uint32 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.values[key]
}

func newest(_, value uint32) uint32 { return value }

func start(t *testing.T, f *flusher[string, uint32]) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var done sync.WaitGroup
	done.Go(func() { f.run(ctx) })
	stop = func() { cancel(); done.Wait() }
	t.Cleanup(stop)
	return stop
}

func TestSettleSeesWhatWasSetBefore(t *testing.T) {
	t.Parallel()
	w := &target{values: map[string]uint32{}}
	f := newFlusher(0, 100, newest, w.write)
	start(t, f)
	for i := range uint32(1000) {
		f.set("a", i)
		if i%100 == 0 {
			f.settle(t.Context())
			if got := w.value("a"); got != i {
				t.Fatalf("after settling: %d, want %d", got, i)
			}
		}
	}
}

func TestSlowFlusherIsSettledAtOnce(t *testing.T) {
	t.Parallel()
	w := &target{values: map[string]uint32{}}
	f := newFlusher(time.Hour, 100, newest, w.write)
	start(t, f)
	f.set("a", 7)
	f.settle(t.Context())
	if got := w.value("a"); got != 7 {
		t.Errorf("%d written, want 7", got)
	}
}

func TestFailedWritesWaitAndMerge(t *testing.T) {
	t.Parallel()
	w := &target{values: map[string]uint32{}, fail: 2, hold: make(chan struct{})}
	f := newFlusher(0, 100, newest, w.write)
	start(t, f)
	f.set("a", 1)
	f.set("b", 1)
	w.hold <- struct{}{} // the first write is under way and fails
	f.set("a", 2)
	close(w.hold)
	for w.value("a") != 2 || w.value("b") != 1 {
		f.settle(t.Context())
		if t.Context().Err() != nil {
			t.Fatal("never written")
		}
	}
}

func TestStopWritesWhatIsLeft(t *testing.T) {
	t.Parallel()
	w := &target{values: map[string]uint32{}}
	f := newFlusher(time.Hour, 100, newest, w.write)
	stop := start(t, f)
	f.set("a", 5)
	stop()
	if got := w.value("a"); got != 5 {
		t.Errorf("%d written, want 5", got)
	}
}

func TestFullFlusherRefusesNewKeysOnly(t *testing.T) {
	t.Parallel()
	w := &target{values: map[string]uint32{}}
	f := newFlusher(time.Hour, 2, newest, w.write)
	if !f.set("a", 1) || !f.set("b", 1) || f.set("c", 1) || !f.set("a", 2) {
		t.Error("a full flusher must refuse new keys and no others")
	}
}
