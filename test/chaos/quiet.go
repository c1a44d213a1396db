//go:build unix

package main

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// quiet measures what is acknowledged while no fault is in force. The zero
// value is ready. Safe from any goroutine.
type quiet struct {
	mu     sync.Mutex // guards the fields below
	faults int        // in force
	since  time.Time  // when the last one was healed
	ended  bool
	time   time.Duration
	acked  int64
}

// afterFault is how long after a fault things are not counted as quiet: what
// it held up comes then.
const afterFault = time.Second

func (q *quiet) begins() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.faults++
}

func (q *quiet) ends() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.faults--
	q.since = time.Now()
}

// end stops the measuring.
func (q *quiet) end() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.ended = true
}

func (q *quiet) result() (time.Duration, int64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.time, q.acked
}

// watch samples a counter until ctx ends. A stretch counts if it was quiet at
// both ends.
func (q *quiet) watch(ctx context.Context, counter *atomic.Int64) {
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	last, at, was := counter.Load(), time.Now(), false
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		now, acked := time.Now(), counter.Load()
		q.mu.Lock()
		is := !q.ended && q.faults == 0 && now.Sub(q.since) > afterFault
		if was && is {
			q.time += now.Sub(at)
			q.acked += acked - last
		}
		q.mu.Unlock()
		last, at, was = acked, now, is
	}
}
