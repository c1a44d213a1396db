//go:build unix

package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"teamtalk/test/chaos/internal/check"
	"teamtalk/test/chaos/internal/event"
	"teamtalk/test/chaos/internal/load"
	"teamtalk/test/chaos/internal/schedule"
	"teamtalk/test/chaos/internal/system"
)

// options are the arguments of a run.
type options struct {
	Length   time.Duration
	Every    time.Duration
	Seed     uint64
	Kinds    []schedule.Kind
	Dir, Bin string
	System   string
	BasePort int
	Rate     int
	Users    int
}

// Files in the folder of a system.
const (
	eventFile = "events.jsonl"
	sqlFile   = "sql.jsonl"
)

// descriptors is how many a role may have open when that is to be felt: enough
// for the terminals of a run, few enough for strangers to take.
const descriptors = 512

// serveShare is the part of a run of both that the embedded server gets.
const serveShare = 0.25

// run runs the systems one after the other and writes the report.
func run(o options) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	var err error
	if o.Dir, err = filepath.Abs(o.Dir); err != nil {
		return err
	}
	if o.Bin, err = filepath.Abs(o.Bin); err != nil {
		return err
	}
	if entries, err := os.ReadDir(o.Dir); err == nil && len(entries) > 0 {
		return fmt.Errorf("%s is not empty", o.Dir)
	}
	report := &report{
		Seed: o.Seed, Started: time.Now(), Minutes: o.Length.Minutes(), FaultsByKind: map[schedule.Kind]int{},
	}
	lengths := map[string]time.Duration{"cluster": o.Length, "serve": o.Length}
	if o.System == "both" {
		lengths["serve"] = time.Duration(float64(o.Length) * serveShare)
		lengths["cluster"] = o.Length - lengths["serve"]
	}
	for _, name := range []string{"cluster", "serve"} {
		if o.System != "both" && o.System != name {
			continue
		}
		part, err := runSystem(ctx, o, name, lengths[name])
		if err != nil {
			return err
		}
		report.add(part)
	}
	if err := report.write(o.Dir); err != nil {
		return err
	}
	report.print(os.Stdout)
	if report.Broken() {
		return errBroken
	}
	return nil
}

// disk is the room for data, for as long as a run may take.
func disk(o options, length time.Duration) int64 {
	if !harmsDisks(o.Kinds) {
		return 0
	}
	const row = 2 << 10 // bytes for a message with its indexes, on the safe side
	return 768<<20 + int64(length.Seconds())*int64(o.Rate)*row
}

// runSystem runs one system from its start to the verdict.
func runSystem(ctx context.Context, o options, name string, length time.Duration) (*part, error) {
	cfg := system.Config{
		Bin: o.Bin, Dir: filepath.Join(o.Dir, name), BasePort: o.BasePort, Disk: disk(o, length),
		Replica: slices.Contains(o.Kinds, schedule.Failover) || slices.Contains(o.Kinds, schedule.GoBack),
	}
	if slices.Contains(o.Kinds, schedule.Descriptors) {
		cfg.Descriptors = descriptors
	}
	start := system.StartCluster
	if name == "serve" {
		start = system.StartServe
	}
	say("starting %s in %s", name, cfg.Dir)
	s, err := start(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	p := &part{Name: name, start: time.Now()}
	log, err := event.Create(filepath.Join(cfg.Dir, eventFile), p.start)
	p.log = log
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	l, err := newLoad(ctx, o, s, log)
	if err == nil {
		err = p.play(ctx, o, s, l, length)
	}
	err = errors.Join(err, log.Close())
	if err == nil {
		err = p.dumpSQL(ctx, s, filepath.Join(cfg.Dir, sqlFile))
	}
	p.Wrong = append(p.Wrong, s.Wrong()...)
	if err = errors.Join(err, s.Close()); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	p.Wrong = s.Wrong() // the last stop, too
	say("checking %s", name)
	events, rows := filepath.Join(cfg.Dir, eventFile), filepath.Join(cfg.Dir, sqlFile)
	if p.result, err = check.Files([]string{events}, rows); err != nil {
		return nil, err
	}
	return p, nil
}

// newLoad makes accounts, groups and terminals: a group of all users, and
// some of eight.
func newLoad(ctx context.Context, o options, s *system.System, log *event.Log) (*load.Load, error) {
	users, err := s.AddUsers(ctx, o.Users+1)
	if err != nil {
		return nil, err
	}
	users = users[:o.Users]
	var groups []load.Group
	add := func(from, n int) error {
		g := load.Group{}
		for i := range n {
			g.Members = append(g.Members, 1+(from+i)%o.Users)
		}
		g.ID, err = s.AddGroup(ctx, fmt.Sprintf("chaos%d", len(groups)), g.Members)
		groups = append(groups, g)
		return err
	}
	err = add(0, o.Users)
	for from := 0; err == nil && from < o.Users; from += 6 {
		err = add(from, min(8, o.Users))
	}
	if err != nil {
		return nil, err
	}
	return load.New(load.Config{
		LoginURL: s.LoginURL, Seen: s.Seen, Password: system.Password, Users: users, Groups: groups,
		Stranger: fmt.Sprintf("u%d", o.Users+1),
		Rate:     o.Rate, Seed: o.Seed, Log: log,
	}), nil
}

// settleFor is how long it may take after the last fault until everybody is
// back and everything is acknowledged.
const settleFor = 90 * time.Second

// play lets the load and the faults run, and asks the last questions.
func (p *part) play(ctx context.Context, o options, s *system.System, l *load.Load, length time.Duration) error {
	playing, end := context.WithCancel(ctx)
	var players sync.WaitGroup
	players.Go(func() { l.Run(playing) })
	defer players.Wait()
	defer end()
	plan := schedule.Plan(o.Seed, length, o.Every, o.Kinds, &s.System)
	begin := time.Now()
	players.Go(func() { p.quiet.watch(playing, &l.Acked) })
	if err := p.inject(ctx, plan, begin, s, l); err != nil {
		return err
	}
	select {
	case <-time.After(time.Until(begin.Add(length))):
	case <-ctx.Done():
		return ctx.Err()
	}
	p.quiet.end()
	p.QuietFor, p.QuietAcked = p.quiet.result()
	s.Heal()
	l.Quiet()
	say("%s: at rest", p.Name)
	settling, cancel := context.WithTimeout(ctx, settleFor)
	defer cancel()
	if err := l.Settle(settling); err != nil {
		p.Wrong = append(p.Wrong, fmt.Sprintf("%v after the last fault: %v", settleFor, err))
	}
	if err := l.Finale(ctx); err != nil {
		p.Wrong = append(p.Wrong, fmt.Sprintf("at rest: %v", err))
	}
	p.Slow, p.Turned = l.Slow.Load(), l.Turned.Load()
	return ctx.Err()
}

// inject does every fault at its time and waits for the last to be healed.
func (p *part) inject(
	ctx context.Context, plan []schedule.Fault, begin time.Time, s *system.System, l *load.Load,
) error {
	var running sync.WaitGroup
	errs := make(chan error, len(plan))
	for i := range plan {
		f := &plan[i]
		select {
		case <-time.After(time.Until(begin.Add(f.At))):
		case <-ctx.Done():
			running.Wait()
			return ctx.Err()
		}
		running.Go(func() {
			if err := p.one(ctx, f, s, l); err != nil {
				errs <- fmt.Errorf("fault %d, %s: %w", f.N, f, err)
			}
		})
	}
	running.Wait()
	close(errs)
	var all []error
	for err := range errs {
		all = append(all, err)
	}
	return errors.Join(all...)
}

// hitFor is how long a fault waits for traffic that it can hit.
const hitFor = 3 * time.Second

// one does one fault and notes what it hit.
func (p *part) one(ctx context.Context, f *schedule.Fault, s *system.System, l *load.Load) error {
	p.quiet.begins()
	defer p.quiet.ends()
	d := done{Fault: *f}
	nacked, slow, closed := l.Nacked.Load(), l.Slow.Load(), l.Closed.Load()
	hit := func() {
		for deadline := time.Now().Add(hitFor); l.InFlight() == 0 && time.Now().Before(deadline); {
			<-time.After(100 * time.Microsecond)
		}
		d.Began, d.InFlight = time.Since(p.start), l.InFlight()
		p.log.Write(&event.Event{
			Name: event.Fault, N: f.N, Why: f.String(), Survive: f.Kind.Survivable(), Unnoticed: f.Kind.Unnoticed(),
		})
	}
	var err error
	if f.Kind.ByClients() {
		err = l.Harm(ctx, f, s, hit)
	} else {
		err = s.Inject(ctx, f, p.notes(l, hit, &d))
	}
	p.log.Write(&event.Event{Name: event.Healed, N: f.N})
	d.Ended = time.Since(p.start)
	d.Nacked, d.Slow, d.Closed = l.Nacked.Load()-nacked, l.Slow.Load()-slow, l.Closed.Load()-closed
	p.mu.Lock()
	defer p.mu.Unlock()
	p.Faults = append(p.Faults, d)
	return err
}

// notes tells the log, the load and the report what a fault does.
func (p *part) notes(l *load.Load, begin func(), d *done) system.Notes {
	return system.Notes{
		Begin: begin,
		Hit:   func(conns int) { d.Conns = conns },
		Restored: func(ctx context.Context, db *sql.DB) error {
			newest, err := check.Newest(ctx, db)
			if err != nil {
				return err
			}
			p.newest = newest
			p.log.Write(&event.Event{Name: event.Restored})
			l.Restored(newest)
			return nil
		},
		Gone: func(ctx context.Context, db *sql.DB) (err error) {
			p.gone, err = check.GoneSince(ctx, db, p.newest)
			return err
		},
	}
}

// dumpSQL writes down what SQL holds, and what it has lost.
func (p *part) dumpSQL(ctx context.Context, s *system.System, path string) error {
	db, err := s.DB()
	if err != nil {
		return err
	}
	defer db.Close()
	to, err := event.Create(path, p.start)
	if err != nil {
		return err
	}
	for i := range p.gone {
		to.Write(&p.gone[i])
	}
	return errors.Join(check.Dump(ctx, db, to), to.Close())
}

func say(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "chaos: "+format+"\n", args...)
}
