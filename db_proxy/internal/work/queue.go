// Package work runs what event loops hand over: bounded queues drained by a
// bounded number of workers of one ants pool. An event loop never waits; a
// full queue is an answer.
package work

import (
	"sync"

	"github.com/panjf2000/ants/v2"
	"github.com/prometheus/client_golang/prometheus"
)

// Pool is where the workers of all queues come from.
type Pool struct {
	pool *ants.PoolWithFuncGeneric[func()]
}

// NewPool returns a pool of at most size workers. onPanic gets the value a
// task panicked with; the worker lives on.
func NewPool(size int, onPanic func(any)) (*Pool, error) {
	pool, err := ants.NewPoolWithFuncGeneric(size, func(task func()) { task() },
		ants.WithNonblocking(true), ants.WithPanicHandler(onPanic))
	if err != nil {
		return nil, err
	}
	return &Pool{pool: pool}, nil
}

// Go runs task on a worker and reports whether one was free. Never blocks.
func (p *Pool) Go(task func()) bool { return p.pool.Invoke(task) == nil }

// Release ends the idle workers; running tasks finish.
func (p *Pool) Release() { p.pool.Release() }

// Queue is a bounded first-in-first-out queue with its own share of workers.
type Queue struct {
	// Static after New.
	pool     *Pool
	workers  int
	capacity int
	refused  prometheus.Counter
	depth    prometheus.Gauge

	mu      sync.Mutex // guards the fields below
	tasks   []func()
	running int
	idle    *sync.Cond // signalled when running falls to 0
}

// QueueConfig describes a queue. Workers of all queues together must not
// exceed the size of the pool, or queues wait for each other.
type QueueConfig struct {
	Workers  int
	Capacity int                // tasks that may wait
	Refused  prometheus.Counter // counts tasks refused by a full queue
	Depth    prometheus.Gauge   // tasks that wait
}

// NewQueue returns an empty queue.
func NewQueue(pool *Pool, cfg QueueConfig) *Queue {
	q := &Queue{pool: pool, workers: cfg.Workers, capacity: cfg.Capacity, refused: cfg.Refused, depth: cfg.Depth}
	q.idle = sync.NewCond(&q.mu)
	return q
}

// Submit queues a task and reports whether there was room. Never blocks.
func (q *Queue) Submit(task func()) bool {
	q.mu.Lock()
	if len(q.tasks) >= q.capacity {
		q.mu.Unlock()
		q.refused.Inc()
		return false
	}
	q.tasks = append(q.tasks, task)
	q.depth.Set(float64(len(q.tasks)))
	start := q.running < q.workers
	if start {
		q.running++
	}
	q.mu.Unlock()
	if start && !q.pool.Go(q.drain) {
		// Every worker is busy elsewhere: the tasks wait for those of this
		// queue, and the next Submit tries again.
		q.mu.Lock()
		q.running--
		stuck := q.running == 0
		q.mu.Unlock()
		if stuck {
			go q.restart()
		}
	}
	return true
}

// restart takes over when no worker was free and none of this queue runs.
func (q *Queue) restart() {
	q.mu.Lock()
	if q.running > 0 || len(q.tasks) == 0 {
		q.mu.Unlock()
		return
	}
	q.running++
	q.mu.Unlock()
	q.drain()
}

func (q *Queue) drain() {
	defer q.finish()
	for {
		q.mu.Lock()
		if len(q.tasks) == 0 {
			q.mu.Unlock()
			return
		}
		task := q.tasks[0]
		q.tasks[0] = nil
		q.tasks = q.tasks[1:]
		q.depth.Set(float64(len(q.tasks)))
		q.mu.Unlock()
		task()
	}
}

// finish runs also when a task panicked: what waits gets a new worker.
func (q *Queue) finish() {
	q.mu.Lock()
	q.running--
	again := len(q.tasks) > 0 && q.running < q.workers
	if again {
		q.running++
	}
	if q.running == 0 {
		q.idle.Broadcast()
	}
	q.mu.Unlock()
	if again {
		go q.drain()
	}
}

// Wait blocks until nothing waits and nothing runs. The caller has stopped
// submitting.
func (q *Queue) Wait() {
	q.mu.Lock()
	defer q.mu.Unlock()
	for q.running > 0 {
		q.idle.Wait()
	}
}
