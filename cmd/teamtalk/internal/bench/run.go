package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"teamtalk/db_proxy/dbproxy"
)

// run is one run of the load generator.
type run struct {
	// Static once the load starts.
	cfg       Config
	mode      *mode
	id        uint32         // in every stamp
	commits   *dbproxy.MySQL // where to commit beside the load; may be nil
	addrs     []string
	deaf      bool // nobody looks at what is pushed
	terminals []*terminal
	convs     []*conversation
	flows     []*flow
	epoch     time.Time
	meter     *meter

	sent    atomic.Int64
	refused atomic.Int64 // sends that failed or were never acknowledged
	why     reasons      // for each of them
	found   findings
	lost    failures    // connections
	stopped atomic.Bool // no more sends
	closing atomic.Bool // connections end because the run does
}

// Run runs a mode: log in, warm up, measure, wait for what is under way, check.
// progress, when not nil, is a terminal for a line that is refreshed. An error
// means that the run could not be carried out; what went wrong with messages
// is in the Result.
func Run(ctx context.Context, modeName string, cfg Config, progress io.Writer) (*Result, error) {
	m := findMode(modeName)
	if m == nil {
		return nil, fmt.Errorf("unknown mode %q", modeName)
	}
	if err := cfg.check(); err != nil {
		return nil, err
	}
	ceiling, err := loadCeiling(cfg.Ceiling)
	if err != nil {
		return nil, err
	}
	commits, err := loadCommits(cfg.Commits)
	if err != nil {
		return nil, err
	}
	if _, err := readUsage(cfg.Pids); err != nil { // a wrong pid is found before the load
		return nil, err
	}
	r := &run{cfg: cfg, mode: m, id: rand.Uint32(), commits: commits, epoch: time.Now()}
	res := newResult(m, cfg)
	p := newProgress(progress, r)
	defer p.stop()
	defer r.close()
	p.phase("logging in")
	if err := m.run(ctx, r, p, res); err != nil {
		return nil, err
	}
	r.close()
	res.Addrs, res.Conns = r.addrs, max(res.Conns, len(r.terminals))
	if n, first := r.lost.count(); n > 0 {
		res.Disconnected, res.FirstLoss = n, first
	}
	res.addCeiling(ceiling)
	return res, nil
}

// Kinds of events of the modes that exchange messages.
const (
	ackEvent = iota
	deliveryEvent
)

// trafficKinds are their names.
var trafficKinds = []string{"acknowledged", "delivered"}

// exchange returns the run of a mode in which users write to each other.
func exchange(setup func(ctx context.Context, r *run) error) func(context.Context, *run, *progress, *Result) error {
	return func(ctx context.Context, r *run, p *progress, res *Result) error {
		if err := setup(ctx, r); err != nil {
			return err
		}
		var used measured
		err := r.commitsBeside(ctx, res, func() (err error) {
			used, err = r.load(ctx, p, r.drive)
			return err
		})
		if err != nil {
			return err
		}
		p.phase("waiting for what is under way")
		if err := r.settle(ctx); err != nil {
			return err
		}
		p.phase("reading back")
		if err := r.readBack(ctx); err != nil {
			return fmt.Errorf("read back: %w", err)
		}
		r.close() // no reader touches the books any more
		res.Series = used.series
		res.addTraffic(r, used.usage)
		return nil
	}
}

// now is the time since the start of the load.
func (r *run) now() time.Duration { return time.Since(r.epoch) }

// measured is what the servers did during the measured time.
type measured struct {
	usage  usage
	series Series
}

// load makes the load for warm-up and measured time; drive makes it until its
// context ends, and load waits for it to return.
func (r *run) load(ctx context.Context, p *progress, drive func(ctx context.Context)) (m measured, err error) {
	r.epoch = time.Now()
	end := r.cfg.WarmUp + r.cfg.Duration
	r.meter = newMeter(len(r.mode.kinds), span{r.cfg.WarmUp, end})
	p.measure(end)
	stopSeries := r.record(ctx, r.mode.kinds, r.meter.totals)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	driven := make(chan struct{})
	go func() {
		defer close(driven)
		drive(ctx)
	}()
	defer func() { // nobody sends when load returns
		r.stopped.Store(true)
		cancel()
		<-driven
		for _, t := range r.terminals {
			t.mu.Lock()
			t.mu.Unlock() //nolint:staticcheck // empty: who pumps has looked before the stop
		}
	}()
	m.usage, err = r.measure(ctx, span{r.cfg.WarmUp, end})
	m.series = stopSeries()
	return m, err
}

// measure waits for a stretch of time and returns what was used in it.
func (r *run) measure(ctx context.Context, s span) (usage, error) {
	if err := r.sleepUntil(ctx, s.from); err != nil {
		return usage{}, err
	}
	before, err := readUsage(r.cfg.Pids)
	if err != nil {
		return usage{}, err
	}
	if err := r.sleepUntil(ctx, s.to); err != nil {
		return usage{}, err
	}
	after, err := readUsage(r.cfg.Pids)
	if err != nil {
		return usage{}, err
	}
	return after.since(before), nil
}

// sleepUntil waits for a time since the start of the load.
func (r *run) sleepUntil(ctx context.Context, at time.Duration) error {
	timer := time.NewTimer(at - r.now())
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// due reports whether the sender at a place in the order may send its n-th
// message (from 0), and when it was to be sent. With a rate the k-th message
// of all is due k intervals after the start and belongs to the senders in
// turn; without one everything is due at once.
func (r *run) due(order, n int) (at time.Duration, due bool) {
	now := r.now()
	if r.cfg.Rate == 0 {
		return now, true
	}
	k := float64(n)*float64(len(r.flows)) + float64(order)
	at = time.Duration(k / r.cfg.Rate * float64(time.Second))
	return at, at <= now
}

// drive starts the senders and, with a rate, wakes them when they are due.
func (r *run) drive(ctx context.Context) {
	if r.cfg.Rate == 0 {
		for _, f := range r.flows {
			f.sender.pump()
		}
		return // acknowledgements do the rest
	}
	interval := float64(time.Second) / r.cfg.Rate
	for k := 0; ctx.Err() == nil; {
		due := int(float64(r.now())/interval) + 1
		for ; k < due; k++ {
			r.flows[k%len(r.flows)].sender.pump()
		}
		next := time.Duration(float64(k) * interval)
		if r.sleepUntil(ctx, max(next, r.now()+pace)) != nil {
			return
		}
	}
}

// pace is the shortest sleep between two sends: a timer for each of tens of
// thousands of messages a second would take a core from the servers.
const pace = 500 * time.Microsecond

// settle waits until every message is acknowledged or given up and every
// acknowledged one is delivered, or until the grace time is over.
func (r *run) settle(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, r.cfg.Grace)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		totals := r.meter.totals()
		acked, delivered := totals[ackEvent], totals[deliveryEvent]
		if acked+r.refused.Load() >= r.sent.Load() && delivered >= acked*r.receivers() {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.DeadlineExceeded) {
				return nil // the books will tell what is missing
			}
			return ctx.Err()
		}
	}
}

// receivers is how many terminals get each message.
func (r *run) receivers() int64 { return int64(len(r.convs[0].terminals) - 1) }

// close ends all connections; afterwards no reader runs any more.
func (r *run) close() {
	r.closing.Store(true)
	for _, t := range r.terminals {
		if t.client != nil {
			t.client.Close()
		}
	}
}
