//go:build unix

// Package overload offers more messages than can be stored, open-loop, and
// measures what becomes of them, of those who only want to log in, and of the
// memory of the servers. It judges nothing.
package overload

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"teamtalk/client"
	"teamtalk/client/textcrypt"
	"teamtalk/internal/im"
)

// Config says who sends, and where.
type Config struct {
	Addrs    []string // of the msg_servers, as clients reach them
	Password string
	Users    []im.UserID // u1 and so on; the last Probes of them send nothing
	Resident func() (map[string]int64, error)
}

// Probes is how many users only watch: half of them stay connected, the
// others log in again and again.
const Probes = 8

// Phase is what came out of a stretch of time.
type Phase struct {
	For     time.Duration `json:"for"`
	Offered int64         `json:"offered"`
	Acked   int64         `json:"acked"`
	Refused int64         `json:"refused"`
	Failed  int64         `json:"failed"` // without an answer, or without a connection
	Closed  int64         `json:"closed"` // connections of senders
	P50     time.Duration `json:"p50"`    // of the acknowledged, from the time they were due
	P99     time.Duration `json:"p99"`
	Max     time.Duration `json:"max"`

	Logins      int64            `json:"log_ins"`
	SlowLogin   time.Duration    `json:"slowest_log_in"`
	LostProbes  int64            `json:"log_ins_and_heartbeats_unanswered"`
	Growth      map[string]int64 `json:"growth_bytes,omitempty"` // of resident memory
	FirstFailed string           `json:"first_failure,omitempty"`
}

// AckedPerSecond is the goodput.
func (p *Phase) AckedPerSecond() float64 { return float64(p.Acked) / p.For.Seconds() }

// Load is a set of connected clients. Its methods are not safe for concurrent
// use.
type Load struct {
	cfg     Config
	senders []*sender
	probes  sync.WaitGroup
	end     context.CancelFunc

	phase atomic.Pointer[tally]
}

// tally counts during a phase. What is answered after its end does not count.
type tally struct {
	from, to                                time.Time
	offered, acked, refused, failed, closed atomic.Int64
	logins, lost, slowLogin                 atomic.Int64
	mu                                      sync.Mutex // guards the fields below
	latency                                 *hdrhistogram.Histogram
	first                                   error
}

func newTally(d time.Duration) *tally {
	now := time.Now()
	return &tally{from: now, to: now.Add(d), latency: hdrhistogram.New(1, int64(time.Minute/time.Microsecond), 2)}
}

// complain keeps the first failure.
func (t *tally) complain(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.first == nil {
		t.first = err
	}
}

// Start connects everybody.
func Start(ctx context.Context, cfg Config) (*Load, error) {
	ctx, end := context.WithCancel(ctx)
	l := &Load{cfg: cfg, end: end}
	l.phase.Store(newTally(time.Hour))
	n := len(cfg.Users) - Probes
	for i := range n {
		s := &sender{load: l, login: fmt.Sprintf("u%d", i+1), addr: cfg.Addrs[i/2%len(cfg.Addrs)]}
		s.msg = client.Message{
			To: uint32(cfg.Users[i^1]), Type: im.SingleText,
			Data: textcrypt.Standard().Encrypt("what an open loop has to say, again and again"),
		}
		s.ack = s.answered
		l.senders = append(l.senders, s)
	}
	errs := make([]error, len(l.senders))
	var all sync.WaitGroup
	limit := make(chan struct{}, 16)
	for i, s := range l.senders {
		all.Go(func() {
			limit <- struct{}{}
			defer func() { <-limit }()
			errs[i] = s.connect(ctx)
		})
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		end()
		return nil, err
	}
	for i := range Probes {
		name, addr := fmt.Sprintf("u%d", n+i+1), cfg.Addrs[i%len(cfg.Addrs)]
		if i < Probes/2 {
			l.probes.Go(func() { l.stay(ctx, name, addr) })
		} else {
			l.probes.Go(func() { l.comeAndGo(ctx, name, addr) })
		}
	}
	return l, nil
}

// Close ends every connection.
func (l *Load) Close() {
	l.end()
	l.probes.Wait()
	for _, s := range l.senders {
		s.mu.Lock()
		if s.c != nil {
			s.c.Close()
		}
		s.mu.Unlock()
	}
}

// Closed runs a closed loop: as many messages as are answered, window of each
// sender being under way. What comes in the first moment does not count.
func (l *Load) Closed(ctx context.Context, warmUp, d time.Duration, window int) *Phase {
	l.phase.Store(newTally(warmUp))
	for _, s := range l.senders {
		s.again.Store(true)
		for range window {
			s.send(ctx, time.Now())
		}
	}
	pause(ctx, warmUp)
	t := newTally(d)
	l.phase.Store(t)
	pause(ctx, d)
	for _, s := range l.senders {
		s.again.Store(false)
	}
	return t.result()
}

// pacers is how many goroutines share the senders of an open loop.
const pacers = 4

// Open offers messages at a rate whatever becomes of them, of all senders in
// turn.
func (l *Load) Open(ctx context.Context, d time.Duration, rate float64) *Phase {
	before, _ := l.cfg.Resident() // what cannot be read shows as growth of all there is
	t := newTally(d)
	l.phase.Store(t)
	var all sync.WaitGroup
	for p := range pacers {
		all.Go(func() { l.pace(ctx, t, p, rate/pacers) })
	}
	growth := map[string]int64{}
	for ctx.Err() == nil && time.Now().Before(t.to) {
		pause(ctx, min(250*time.Millisecond, time.Until(t.to)))
		now, err := l.cfg.Resident()
		if err != nil {
			t.complain(err)
		}
		for name, bytes := range now {
			growth[name] = max(growth[name], bytes-before[name])
		}
	}
	all.Wait()
	p := t.result()
	p.Growth = growth
	return p
}

// pace lets every pacers-th sender send.
func (l *Load) pace(ctx context.Context, t *tally, first int, rate float64) {
	ticker := time.NewTicker(2 * time.Millisecond)
	defer ticker.Stop()
	next, gap := t.from, time.Duration(float64(time.Second)/rate)
	for i := first; ; {
		for now := time.Now(); !next.After(now); next = next.Add(gap) {
			if !next.Before(t.to) {
				return
			}
			l.senders[i].send(ctx, next)
			if i += pacers; i >= len(l.senders) {
				i = first
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// result ends a phase.
func (t *tally) result() *Phase {
	t.mu.Lock()
	defer t.mu.Unlock()
	p := &Phase{
		For: t.to.Sub(t.from), Offered: t.offered.Load(), Acked: t.acked.Load(), Refused: t.refused.Load(),
		Failed: t.failed.Load(), Closed: t.closed.Load(),
		Logins: t.logins.Load(), LostProbes: t.lost.Load(), SlowLogin: time.Duration(t.slowLogin.Load()),
	}
	quantile := func(q float64) time.Duration { return time.Duration(t.latency.ValueAtQuantile(q)) * time.Microsecond }
	p.P50, p.P99, p.Max = quantile(50), quantile(99), quantile(100)
	if t.first != nil {
		p.FirstFailed = t.first.Error()
	}
	return p
}

// pause waits, less if ctx ends.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
