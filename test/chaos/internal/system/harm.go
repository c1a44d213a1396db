//go:build unix

package system

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"teamtalk/test/chaos/internal/proxy"
	"teamtalk/test/chaos/internal/schedule"
)

// Notes are told what a fault does while it does it.
type Notes struct {
	Begin func()          // the process is at hand, the harm is about to be done
	Hit   func(conns int) // connections that were harmed, or descriptors that were open at most
	// Restored is given the data that went back, before anybody else is; Gone
	// the data from which it went back, which nobody else sees any more.
	Restored, Gone func(context.Context, *sql.DB) error
}

// Inject does what a fault says, waits as long as it lasts, and heals it.
// Faults of one process wait for each other. What only clients can do is not
// ours.
func (s *System) Inject(ctx context.Context, f *schedule.Fault, notes Notes) error {
	begin := notes.Begin
	switch f.Kind {
	case schedule.DBAway:
		return s.dbAway(ctx, f, notes)
	case schedule.Descriptors:
		return s.descriptors(ctx, f, notes)
	case schedule.FlushAll:
		begin()
		return s.flush(ctx)
	case schedule.Cut, schedule.Delay, schedule.Throttle, schedule.HalfOpen:
		return s.weather(ctx, f, begin, notes.Hit)
	case schedule.Client, schedule.SameID, schedule.Lists:
		return fmt.Errorf("%s is what clients do", f)
	default:
	}
	p, err := s.part(f.Target)
	if err != nil {
		return err
	}
	if f.Kind == schedule.Clock { // it may be killed meanwhile
		return p.moveClock(ctx, f, begin)
	}
	p.one.Lock()
	defer p.one.Unlock()
	switch f.Kind { // they begin late
	case schedule.Failover:
		if err := s.failOver(ctx, p, begin, notes.Hit); err != nil {
			return err
		}
		pause(ctx, f.For)
		return nil
	case schedule.GoBack:
		return s.goBack(ctx, p, f.For, notes)
	default:
		begin()
		return s.harm(ctx, p, f)
	}
}

// harm does what a fault does to one process. Called with its one held.
func (s *System) harm(ctx context.Context, p *part, f *schedule.Fault) error {
	switch f.Kind {
	case schedule.Kill:
		s.expect(p)
		if err := p.server.Kill(); err != nil {
			return err
		}
		return s.later(ctx, f)
	case schedule.Term:
		if err := s.Term(ctx, f.Target); err != nil {
			return err
		}
		return s.later(ctx, f)
	case schedule.Stop:
		if err := p.server.Pause(); err != nil {
			return err
		}
		pause(ctx, f.For)
		return p.server.Resume()
	case schedule.DiskFull:
		return p.diskFull(ctx, f.For)
	case schedule.ReadOnly:
		return s.readOnly(ctx, p, f.For)
	default:
		return fmt.Errorf("nobody knows how to %s", f)
	}
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

// moveClock moves the clock of a process, and back.
func (p *part) moveClock(ctx context.Context, f *schedule.Fault, begin func()) error {
	p.clocks.Lock()
	defer p.clocks.Unlock()
	begin()
	if err := setClock(p.clock, f.Jump); err != nil {
		return err
	}
	pause(ctx, f.For)
	return setClock(p.clock, 0)
}

// setClock says how much a clock is off. See package clock.
func setClock(path string, off time.Duration) error {
	if err := writeFile(path+".new", off.String()); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// later starts a process again when its fault is over. Even at the end of a
// run it must come back.
func (s *System) later(ctx context.Context, f *schedule.Fault) error {
	pause(ctx, f.For)
	return s.comeBack(ctx, f.Target)
}

// comeBack starts a process as a supervisor does: again when it ends, as it
// may while what it needs is not there.
func (s *System) comeBack(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), startTimeout)
	defer cancel()
	for {
		err := s.Start(ctx, name)
		if err == nil || ctx.Err() != nil {
			return err
		}
		pause(ctx, time.Second)
	}
}

// Term ends a process with SIGTERM. One of ours must end in time, with 0.
func (s *System) Term(ctx context.Context, name string) error {
	p, err := s.part(name)
	if err != nil {
		return err
	}
	s.expect(p)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	stopErr := p.server.Stop(ctx)
	if !p.role {
		return nil // MariaDB may take as long as it wants
	}
	if stopErr != nil {
		s.blame("%v", stopErr)
	} else if code := p.server.Process().ExitCode(); code > 0 {
		s.blame("%s ended with %d after SIGTERM: %s", name, code, lastLine(p.server.Process().LogTail()))
	}
	return nil
}

func (s *System) flush(ctx context.Context) error {
	conn, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "tcp", s.redis.Addr())
	if err != nil {
		return nil // it is down, and has nothing to forget
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return err
	}
	if _, err := conn.Write([]byte("FLUSHALL\r\n")); err != nil {
		return nil // as above
	}
	_, _ = conn.Read(make([]byte, 16)) // +OK, or a server that just ended
	return nil
}

// weather harms the connections of an edge.
func (s *System) weather(ctx context.Context, f *schedule.Fault, begin func(), hit func(conns int)) error {
	p := s.proxies[f.Target]
	if p == nil {
		return fmt.Errorf("there is no proxy for %s", f.Target)
	}
	from := f.From
	if from == clients {
		from = proxy.Everybody
	}
	begin()
	switch f.Kind {
	case schedule.Cut:
		hit(p.Cut(from, f.For))
	case schedule.HalfOpen:
		hit(p.HalfOpen(from, f.DeadPeer))
		pause(ctx, f.For)
		p.CutHalf(from)
		return nil
	case schedule.Delay:
		hit(p.Set(from, proxy.Weather{Delay: f.Delay}))
		defer p.Set(from, proxy.Weather{})
	case schedule.Throttle:
		hit(p.Set(from, proxy.Weather{Rate: f.Rate}))
		defer p.Set(from, proxy.Weather{})
	default:
	}
	pause(ctx, f.For)
	return nil
}

// dbAway cuts one process off its database: at once, or so that it hears
// nothing any more.
func (s *System) dbAway(ctx context.Context, f *schedule.Fault, notes Notes) error {
	front := s.proxies[f.Target]
	if front == nil {
		return fmt.Errorf("there is no proxy for %s", f.Target)
	}
	notes.Begin()
	if f.Silent {
		notes.Hit(front.Set(f.From, proxy.Weather{Still: true}))
		defer front.Set(f.From, proxy.Weather{})
	} else {
		notes.Hit(front.Cut(f.From, f.For))
	}
	pause(ctx, f.For)
	return nil
}

// clients stands for all clients as the beginning of an edge.
const clients = "clients"

// Vanish makes a client with an address of its own vanish.
func (s *System) Vanish(ip string) {
	for _, name := range s.seen() {
		s.proxies[name].HalfOpen(ip, true)
	}
}

// Stall makes a client with an address of its own take nothing any more, or
// go on.
func (s *System) Stall(ip string, still bool) {
	for _, name := range s.seen() {
		s.proxies[name].Set(ip, proxy.Weather{Still: still})
	}
}

// seen returns the processes that clients connect to.
func (s *System) seen() (names []string) {
	for _, e := range s.Edges {
		if e.From == clients {
			names = append(names, e.To)
		}
	}
	return names
}

// Heal ends what faults left on connections: those whose other end is gone.
func (s *System) Heal() {
	for _, p := range s.proxies {
		p.Set(proxy.Everybody, proxy.Weather{})
		p.CutHalf(proxy.Everybody)
	}
}

// diskFull lets no more be written under the data than there is.
func (p *part) diskFull(ctx context.Context, d time.Duration) error {
	if p.disk == nil {
		return errNoDisk
	}
	if err := p.disk.full(true); err != nil {
		return err
	}
	pause(ctx, d)
	return p.disk.full(false)
}

var errNoDisk = errors.New("the data has no file system of its own")

// readOnly ends a process and lets it come back to data that it may not write.
// It may start or not; in the end it gets its data back.
func (s *System) readOnly(ctx context.Context, p *part, d time.Duration) error {
	if p.disk == nil {
		return errNoDisk
	}
	s.expect(p)
	if err := p.server.Kill(); err != nil {
		return err
	}
	if err := p.disk.readOnly(true); err != nil {
		return err
	}
	over := time.Now().Add(d)
	trying, cancel := context.WithDeadline(ctx, over)
	defer cancel()
	started := p.server.Start(trying)
	pause(ctx, time.Until(over))
	if started == nil { // it runs on data that it cannot change
		if err := p.server.Kill(); err != nil {
			return err
		}
	}
	if err := p.disk.readOnly(false); err != nil {
		return err
	}
	return s.comeBack(ctx, p.name)
}
