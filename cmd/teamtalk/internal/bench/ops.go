package bench

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// opTimeout bounds one operation.
const opTimeout = 15 * time.Second

// failures counts operations or connections that went wrong and keeps the
// first reason.
type failures struct {
	mu    sync.Mutex // guards the fields below
	n     int64
	first error
}

func (f *failures) add(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.n++; f.first == nil {
		f.first = err
	}
}

// count returns how many there were and the first reason, "" without any.
func (f *failures) count() (n int64, first string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.first != nil {
		first = f.first.Error()
	}
	return f.n, first
}

// operation carries out the n-th operation of a worker (from 0), and returns
// of which kind it was.
type operation func(ctx context.Context, worker, n int) (kind int, err error)

// repeat carries an operation out in so many workers until ctx ends. With a
// rate the k-th operation of all is due k intervals after the start, and
// whichever worker is free does it; its latency counts from that time.
func (r *run) repeat(ctx context.Context, workers int, failed *failures, do operation) {
	var (
		group sync.WaitGroup
		next  atomic.Int64
		start = r.now()
	)
	for worker := range workers {
		group.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				at := r.now()
				if r.cfg.Rate > 0 {
					k := float64(next.Add(1) - 1)
					at = start + time.Duration(k/r.cfg.Rate*float64(time.Second))
					if r.sleepUntil(ctx, at) != nil {
						return
					}
				}
				r.once(ctx, worker, n, at, failed, do)
			}
		})
	}
	group.Wait()
}

// once carries out one operation, which may outlast ctx.
func (r *run) once(ctx context.Context, worker, n int, at time.Duration, failed *failures, do operation) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), opTimeout)
	defer cancel()
	kind, err := do(ctx, worker, n)
	if err != nil {
		failed.add(err)
		return
	}
	r.meter.record(kind, worker, at, r.now())
}

// each calls do for 0 to n-1 in so many workers. It waits for all that were
// begun before ctx ended.
func each(ctx context.Context, workers, n int, do func(i int)) error {
	var (
		group sync.WaitGroup
		next  atomic.Int64
	)
	for range min(workers, n) {
		group.Go(func() {
			for ctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				do(i)
			}
		})
	}
	group.Wait()
	return ctx.Err()
}
