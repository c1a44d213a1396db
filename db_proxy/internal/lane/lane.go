package lane

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"teamtalk/db_proxy/internal/cache"
	"teamtalk/db_proxy/internal/store"
	"teamtalk/internal/im"
	"teamtalk/internal/trace"
)

// IDs reserves message ids.
type IDs interface {
	ReserveIDs(ctx context.Context, want []cache.Reservation) ([]im.MsgID, error)
	// ReturnIDs gives back the end of ranges that nothing was stored under.
	ReturnIDs(ctx context.Context, back []cache.Reservation) error
}

// Config bounds the lanes. Zero fields take the defaults.
type Config struct {
	Lanes    int           // how many; 0 = 2
	MaxBatch int           // operations in one commit; 0 = 1000
	Waiting  int           // operations that may wait in one lane, fewer when the database is slow; 0 = 50,000
	Patience time.Duration // an operation that is not stored by then is given up; 0 = 4 s
}

// Deps of the lanes. All but Trace are needed.
type Deps struct {
	Store     Store
	Directory Directory
	IDs       IDs
	Behind    Behind
	// Go runs a task on a worker and reports whether one was free.
	Go    func(task func()) bool
	Log   *slog.Logger
	Reg   prometheus.Registerer
	Clock func() time.Time
	Trace *trace.Recorder // nil remembers nothing
}

// Lanes is the set of lanes of one db_proxy. Safe from any goroutine.
type Lanes struct {
	cfg     Config
	deps    Deps
	metrics *metrics
	lanes   []*lane
	reading reading
	running sync.WaitGroup
}

// New returns idle lanes.
func New(cfg Config, deps Deps) *Lanes {
	if cfg.Lanes == 0 {
		cfg.Lanes = 2
	}
	if cfg.MaxBatch == 0 {
		cfg.MaxBatch = 1000
	}
	if cfg.Waiting == 0 {
		cfg.Waiting = 50_000
	}
	if cfg.Patience == 0 {
		cfg.Patience = 4 * time.Second
	}
	l := &Lanes{cfg: cfg, deps: deps, metrics: newMetrics(deps.Reg)}
	for range cfg.Lanes {
		l.lanes = append(l.lanes, &lane{
			Lanes:  l,
			states: newStates(max(200_000/cfg.Lanes, 2*cfg.MaxBatch)), // those of a batch must all stay
			recent: newRecent(64 << 10 / cfg.Lanes), givenUp: newRecent(8 << 10),
			pace: newPace(cfg.MaxBatch, cfg.Waiting),
		})
	}
	return l
}

// Submit queues an operation behind everything that was submitted for its
// conversation before. It never blocks; im.Busy says that the lane is full,
// and the operation is then not completed.
func (l *Lanes) Submit(op Operation) error {
	target := l.lanes[op.conversation().Hash()%uint64(len(l.lanes))]
	now := l.deps.Clock()
	if send, ok := op.(*Send); ok {
		send.arrived = now
		if send.Created == 0 {
			send.Created = uint32(now.Unix())
		}
		if send.Op.IsZero() {
			send.Op = im.NewOperationID(now)
		}
	}
	read, isRead := op.(*Read)
	if isRead {
		read.reading = &l.reading
		l.reading.begin(read.User)
	}
	target.mu.Lock()
	if len(target.waiting) >= min(target.pace.room, l.cfg.Waiting) {
		target.mu.Unlock()
		if isRead {
			l.reading.end(read.User)
		}
		l.metrics.refused.Inc()
		return im.Errorf(im.Busy, "lane is full")
	}
	target.waiting = append(target.waiting, op)
	start := !target.running
	target.running = true
	target.mu.Unlock()
	if start {
		l.running.Add(1)
		if !l.deps.Go(target.run) {
			go target.run() // the pool is sized for the lanes, but a lane must never starve
		}
	}
	return nil
}

// Forget drops what the lanes remember of a conversation, after it was
// changed elsewhere. Everything submitted before is done first.
func (l *Lanes) Forget(conv im.Conversation) {
	_ = l.Submit(&Change{Conv: conv, Run: func(context.Context) {}, Forgets: true, Refused: func(error) {}})
}

// Wait blocks until every submitted operation is complete. The caller has
// stopped submitting.
func (l *Lanes) Wait() { l.running.Wait() }

// lane is one ordered queue.
type lane struct {
	*Lanes

	// Owned by the worker that runs the lane.
	states  *states
	recent  *recent
	givenUp *recent     // ids that were reserved for operations which may be stored yet
	epoch   store.Epoch // that the above belong to
	away    time.Time   // since when the database has been away; zero: it is not

	mu      sync.Mutex // guards the fields below
	waiting []Operation
	running bool
	pace    pace
}

// run processes batches until nothing waits.
func (l *lane) run() {
	defer l.Lanes.running.Done()
	for {
		l.mu.Lock()
		if len(l.waiting) == 0 {
			l.running = false
			l.mu.Unlock()
			return
		}
		n := min(len(l.waiting), l.pace.batch)
		batch := l.waiting[:n:n]
		l.waiting = l.waiting[n:]
		l.mu.Unlock()
		started := l.deps.Clock()
		l.process(batch)
		took := l.deps.Clock().Sub(started)
		l.mu.Lock()
		l.pace.learn(n, took)
		l.mu.Unlock()
	}
}

// patience is the context of one step. A lane outlives every request, so the
// time is all that bounds it.
func (l *lane) patience() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), l.cfg.Patience) //nolint:forbidigo // see above
}

// process runs one batch in order: stretches of sends and reads are stored
// together, a Change runs between them. A panic fails the operations that are
// not complete; the lane lives on.
func (l *lane) process(batch []Operation) {
	defer func() {
		if p := recover(); p != nil {
			l.deps.Log.Error("lane panicked", "panic", p)
			for _, op := range batch {
				if _, isChange := op.(*Change); !isChange {
					op.fail(im.Errorf(im.Internal, "lane panicked"))
				}
			}
		}
	}()
	for start := 0; start < len(batch); {
		if change, ok := batch[start].(*Change); ok {
			l.change(change)
			if change.Forgets {
				l.states.forget(change.Conv)
			}
			start++
			continue
		}
		end := start
		for end < len(batch) {
			if _, isChange := batch[end].(*Change); isChange {
				break
			}
			end++
		}
		l.store(batch[start:end])
		start = end
	}
}

// change runs a Change, or refuses one whose asker may not ask any more.
func (l *lane) change(c *Change) {
	ctx, cancel := l.patience()
	defer cancel()
	if c.Asker != 0 {
		accounts, err := l.deps.Directory.Users(ctx, []im.UserID{c.Asker})
		if err == nil {
			err = active(accounts, c.Asker)
		}
		if err != nil {
			c.Refused(err)
			return
		}
	}
	c.Run(ctx)
}

// active refuses users whose account is closed or does not exist.
func active(accounts map[im.UserID]*store.User, user im.UserID) error {
	if u := accounts[user]; u == nil || u.Status != im.StatusActive {
		return im.Errorf(im.Denied, "user %d is not active", user)
	}
	return nil
}
