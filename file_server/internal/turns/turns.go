// Package turns shares a few workers among many transfers: each transfer has a
// lane, does its work in order, one job at a time, and goes to the end of the
// line after every job. A large file so takes no more of the disk than a small
// one.
package turns

import (
	"context"
	"sync"
)

// Pool runs the jobs of its lanes.
type Pool struct {
	workers int

	mu     sync.Mutex // guards the fields below and the queues of all lanes
	wake   *sync.Cond
	line   []*Lane // lanes with work that no worker is at
	closed bool
}

// NewPool returns a Pool of so many workers, which Run starts.
func NewPool(workers int) *Pool {
	p := &Pool{workers: workers}
	p.wake = sync.NewCond(&p.mu)
	return p
}

// Run works until ctx ends, finishes what is queued, and returns. After that,
// nothing is taken any more.
func (p *Pool) Run(ctx context.Context) {
	var workers sync.WaitGroup
	for range p.workers {
		workers.Go(p.work)
	}
	<-ctx.Done()
	p.mu.Lock()
	p.closed = true
	p.wake.Broadcast()
	p.mu.Unlock()
	workers.Wait()
}

func (p *Pool) work() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		for len(p.line) == 0 {
			if p.closed {
				return
			}
			p.wake.Wait()
		}
		lane := p.line[0]
		p.line = p.line[1:]
		job := lane.queue[0]
		lane.queue = lane.queue[1:]
		p.mu.Unlock()
		job()
		p.mu.Lock()
		if len(lane.queue) > 0 {
			p.line = append(p.line, lane)
		} else {
			lane.busy = false
		}
	}
}

// Lane is the queue of one transfer.
type Lane struct {
	pool  *Pool
	limit int

	// Guarded by pool.mu.
	queue []func()
	busy  bool // in line, or a worker is at it
}

// NewLane returns a lane that holds up to limit jobs.
func (p *Pool) NewLane(limit int) *Lane { return &Lane{pool: p, limit: limit} }

// Submit queues a job and reports whether it was taken: a full lane and a
// stopped pool take none. It never blocks.
func (l *Lane) Submit(job func()) bool {
	l.pool.mu.Lock()
	defer l.pool.mu.Unlock()
	if l.pool.closed || len(l.queue) >= l.limit {
		return false
	}
	l.queue = append(l.queue, job)
	if !l.busy {
		l.busy = true
		l.pool.line = append(l.pool.line, l)
		l.pool.wake.Signal()
	}
	return true
}
