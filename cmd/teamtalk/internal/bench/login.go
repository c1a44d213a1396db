package bench

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"

	"teamtalk/client"
)

// Kinds of events of mode login.
const (
	firstLogin = iota
	reconnect
)

// loginKinds are their names.
var loginKinds = []string{"first log-in", "reconnect"}

// runLogin logs every user in once, which is timed by itself, and then lets
// them reconnect in turn: the old connection is closed, a new one logs in.
// An odd user is on a PC, an even one on a phone.
func runLogin(ctx context.Context, r *run, p *progress, res *Result) error {
	if err := r.findServers(ctx); err != nil {
		return err
	}
	d := &dialer{password: r.cfg.Password, sources: r.cfg.sources(r.addrs)}
	guests := make([]*guest, r.cfg.Count)
	for i := range guests {
		guests[i] = &guest{
			user: r.cfg.Prefix + strconv.Itoa(i+1), addr: r.addr(i / 2),
			profile: []client.Profile{client.Mac(), client.Android()}[i%2],
		}
	}
	defer func() {
		for _, g := range guests {
			g.leave()
		}
	}()
	var failed failures
	first, err := r.firstLogins(ctx, d, guests, &failed)
	if err != nil {
		return err
	}
	workers := min(r.cfg.Window, len(guests))
	used, err := r.load(ctx, p, func(ctx context.Context) {
		r.repeat(ctx, workers, &failed, func(ctx context.Context, worker, n int) (int, error) {
			// Every worker has users of its own, and takes them in turn.
			own := (len(guests) - worker + workers - 1) / workers
			g := guests[worker+n%own*workers]
			g.leave()
			return reconnect, d.visit(ctx, g)
		})
	})
	if err != nil {
		return err
	}
	res.Failed, res.FirstFailure = failed.count()
	res.Conns, res.Series = len(guests), used.series
	res.Disconnected, res.FirstLoss = d.lost.count()
	res.addOperations(r)
	res.Operations[firstLogin] = first
	again := r.meter.sum(reconnect).inWindow
	res.Operations[reconnect].CPUPerOp = used.usage.perOp(again)
	res.addUsage(used.usage, again)
	return nil
}

// firstLogins logs every guest in, Window at a time.
func (r *run) firstLogins(ctx context.Context, d *dialer, guests []*guest, failed *failures) (OperationTime, error) {
	before, err := readUsage(r.cfg.Pids)
	if err != nil {
		return OperationTime{}, err
	}
	r.epoch = time.Now()
	r.meter = newMeter(len(r.mode.kinds), span{0, time.Hour})
	err = each(ctx, r.cfg.Window, len(guests), func(i int) {
		r.once(ctx, i, i, r.now(), failed, func(ctx context.Context, _, _ int) (int, error) {
			return firstLogin, d.visit(ctx, guests[i])
		})
	})
	if err != nil {
		return OperationTime{}, err
	}
	if failed.n == int64(len(guests)) {
		return OperationTime{}, failed.first
	}
	took := r.now()
	after, err := readUsage(r.cfg.Pids)
	if err != nil {
		return OperationTime{}, err
	}
	e := r.meter.sum(firstLogin)
	return OperationTime{
		Name: loginKinds[firstLogin], Count: e.total, PerS: float64(e.total) / took.Seconds(), MS: e.latency(),
		CPUPerOp: after.since(before).perOp(e.total),
	}, nil
}

// guest is a user who comes and goes.
type guest struct {
	user    string
	addr    string
	profile client.Profile
	client  *client.Client // nil when away
}

// leave closes the connection, as a client does that is switched off.
func (g *guest) leave() {
	if g.client != nil {
		g.client.Close()
		g.client = nil
	}
}

// dialer connects guests.
type dialer struct {
	// Static.
	password string
	sources  []string

	turn atomic.Int64
	lost failures // connections that the guest did not leave
}

// visit logs a guest in.
func (d *dialer) visit(ctx context.Context, g *guest) error {
	c, err := client.Dial(ctx, client.Options{
		Addr: g.addr, User: g.user, Password: d.password, Profile: g.profile,
		LocalAddr: d.sources[int(d.turn.Add(1))%len(d.sources)],
		Handler: func(c *client.Client, e client.Event) {
			// One that never logged in is a failure of visit.
			if closed, ok := e.(*client.Closed); ok && c.User() != 0 && !errors.Is(closed.Err, client.ErrClosed) {
				d.lost.add(fmt.Errorf("%s at %s: %w", g.user, g.addr, closed.Err))
			}
		},
	})
	if err != nil {
		return fmt.Errorf("log in %s at %s: %w", g.user, g.addr, err)
	}
	g.client = c
	return nil
}
