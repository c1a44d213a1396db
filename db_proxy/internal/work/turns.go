package work

import (
	"sync"

	"github.com/prometheus/client_golang/prometheus"
)

// Turns is a bounded queue for work that takes long: of everybody who waits
// one task after the other, in the order in which they handed them in, and
// everybody in turn. Whoever has much to be done waits for it, and nobody else.
type Turns struct {
	// Static after New.
	pool    *Pool
	workers int
	room    int // of all together
	share   int // of one
	refused prometheus.Counter
	depth   prometheus.Gauge

	mu      sync.Mutex // guards the fields below
	queues  map[uint64]*turn
	ready   []*turn // have a task and none that runs, the next one first
	weight  int     // of what waits
	running int
	idle    *sync.Cond // signalled when running falls to 0
}

// turn is what one of them has waiting.
type turn struct {
	who    uint64
	tasks  []weighed
	weight int
}

type weighed struct {
	run    func()
	weight int
}

// TurnsConfig describes Turns. Capacity counts weight; one who waits has at
// most a quarter of it.
type TurnsConfig struct {
	Workers, Capacity int
	Refused           prometheus.Counter // counts tasks refused for want of room
	Depth             prometheus.Gauge   // weight that waits
}

// NewTurns returns an empty queue.
func NewTurns(pool *Pool, cfg TurnsConfig) *Turns {
	t := &Turns{
		pool: pool, workers: cfg.Workers, room: cfg.Capacity, share: max(cfg.Capacity/4, 1),
		refused: cfg.Refused, depth: cfg.Depth, queues: map[uint64]*turn{},
	}
	t.idle = sync.NewCond(&t.mu)
	return t
}

// Submit queues a task of who and reports whether there was room. A task may
// always wait that is the only one of who. Never blocks.
func (t *Turns) Submit(who uint64, weight int, run func()) bool {
	t.mu.Lock()
	q := t.queues[who]
	if q != nil && q.weight+weight > t.share || t.weight+weight > t.room {
		t.mu.Unlock()
		t.refused.Inc()
		return false
	}
	if q == nil {
		q = &turn{who: who}
		t.queues[who] = q
		t.ready = append(t.ready, q)
	}
	q.tasks = append(q.tasks, weighed{run, weight})
	q.weight += weight
	t.note(weight)
	start := t.running < t.workers
	if start {
		t.running++
	}
	t.mu.Unlock()
	if start && !t.pool.Go(t.drain) {
		go t.drain() // the pool is sized for the workers, but nothing must be stranded
	}
	return true
}

// note is called with mu held.
func (t *Turns) note(weight int) {
	t.weight += weight
	t.depth.Set(float64(t.weight))
}

// drain runs tasks until no queue is ready.
func (t *Turns) drain() {
	for {
		t.mu.Lock()
		if len(t.ready) == 0 {
			if t.running--; t.running == 0 {
				t.idle.Broadcast()
			}
			t.mu.Unlock()
			return
		}
		q := t.ready[0]
		t.ready = t.ready[1:]
		task := q.tasks[0]
		t.mu.Unlock()
		t.do(q, task)
	}
}

// do runs the first task of a queue, which stands in none of the lists
// meanwhile. It comes back also when the task panicked.
func (t *Turns) do(q *turn, task weighed) {
	done := false
	defer func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		q.tasks = q.tasks[1:]
		q.weight -= task.weight
		t.note(-task.weight)
		if len(q.tasks) > 0 {
			t.ready = append(t.ready, q)
		} else {
			delete(t.queues, q.who)
		}
		if !done { // a panic ends this worker
			go t.drain()
		}
	}()
	task.run()
	done = true
}

// Wait blocks until nothing waits and nothing runs. The caller has stopped
// submitting.
func (t *Turns) Wait() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for t.running > 0 {
		t.idle.Wait()
	}
}
