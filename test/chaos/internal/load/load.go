//go:build unix

// Package load plays the users: terminals of every kind that log in, write to
// each other and to groups, read, lose their connection and come back, and
// catch up as real clients do. It writes down everything that they do and are
// told, and judges nothing.
package load

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"teamtalk/client"
	"teamtalk/internal/im"
	"teamtalk/test/chaos/internal/event"
)

// Config says who plays, where, and how much.
type Config struct {
	LoginURL string
	Seen     map[string]string // what servers are told to be, to where they are reached
	Password string
	Users    []im.UserID // u1 and so on
	Stranger string      // who plays with nobody, and sends the huge lists
	Groups   []Group
	Rate     int // messages a second, of all terminals together
	Seed     uint64
	Log      *event.Log
}

// Group is a group and who is in it, by the numbers of the users.
type Group struct {
	ID      im.GroupID
	Members []int // from 1
}

// Load is the set of all terminals. Its methods are safe from any goroutine.
type Load struct {
	cfg     Config
	players []*player
	quiet   atomic.Bool // nothing new is sent

	inFlight atomic.Int64
	Totals

	mu   sync.Mutex // guards the fields below; a leaf
	tops map[im.Conversation]im.MsgID
	back map[im.Conversation]im.MsgID // the newest when ids went back; nil: they did not
}

// Totals counts what happened so far.
type Totals struct {
	Acked  atomic.Int64 // messages, without repeats
	Nacked atomic.Int64 // attempts
	Slow   atomic.Int64 // answers that took longer than a second
	Closed atomic.Int64 // connections that ended
	Turned atomic.Int64 // log-ins refused as if the password were wrong
}

// New makes the terminals: each user has a PC, every third a phone, too.
func New(cfg Config) *Load {
	l := &Load{cfg: cfg, tops: map[im.Conversation]im.MsgID{}}
	rng := rand.New(rand.NewPCG(cfg.Seed, 0x6c6f6164))
	for i := range cfg.Users {
		l.players = append(l.players, l.newPlayer(i, false, rng))
		if i%3 == 0 {
			l.players = append(l.players, l.newPlayer(i, true, rng))
		}
	}
	for _, g := range cfg.Groups {
		e := event.Event{Name: event.Group, Conv: im.GroupOf(g.ID).String()}
		for _, m := range g.Members {
			e.Users = append(e.Users, uint32(cfg.Users[m-1]))
		}
		cfg.Log.Write(&e)
	}
	for _, p := range l.players {
		cfg.Log.Write(&event.Event{
			Name: event.Terminal, C: p.name, User: uint32(p.user), PC: !p.profile.ClientType.Mobile(), Acks: p.acks,
			Delivers: p.delivers,
		})
	}
	return l
}

// Run plays until ctx ends.
func (l *Load) Run(ctx context.Context) {
	var all sync.WaitGroup
	for _, p := range l.players {
		all.Go(func() { p.run(ctx) })
	}
	all.Go(func() { l.pulse(ctx) })
	all.Wait()
}

// pulse writes down that this process is given the time to live: while it is
// not, the servers of the same machine are not either.
func (l *Load) pulse(ctx context.Context) {
	for ctx.Err() == nil {
		l.cfg.Log.Write(&event.Event{Name: event.Pulse})
		wait(ctx, time.Second)
	}
}

// InFlight returns how many messages have no answer yet.
func (l *Load) InFlight() int { return int(l.inFlight.Load()) }

// Quiet ends the sending of new messages.
func (l *Load) Quiet() { l.quiet.Store(true) }

// stored notes that a message was acknowledged.
func (l *Load) stored(conv im.Conversation, id im.MsgID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tops[conv] = max(l.tops[conv], id)
}

// top returns the highest id of a conversation that anybody was told of.
func (l *Load) top(conv im.Conversation) im.MsgID {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.tops[conv]
}

// Settle waits until every terminal is on-line and every message that can be
// repeated is acknowledged. The error says who is not done.
func (l *Load) Settle(ctx context.Context) error {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		var errs []error
		for _, p := range l.players {
			if err := p.settled(); err != nil {
				errs = append(errs, err)
			}
		}
		if len(errs) == 0 {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return errors.Join(errs...)
		}
	}
}

// Restored tells that the database has gone back to where these ids are the
// newest: nobody knows of more, or repeats what was acknowledged before.
func (l *Load) Restored(newest map[im.Conversation]im.MsgID) {
	l.mu.Lock()
	l.back = newest
	for conv, id := range l.tops {
		l.tops[conv] = min(id, newest[conv])
	}
	l.mu.Unlock()
	for _, p := range l.players {
		p.mu.Lock()
		p.recent, p.again, p.marked = nil, nil, nil
		for conv, v := range p.views {
			v.forget(newest[conv])
			v.pushed = min(v.pushed, newest[conv])
		}
		p.mu.Unlock()
	}
}

// forgetBack lets a terminal forget once more, when all is at rest, what it was
// shown of messages that are gone; it then asks for what has these ids.
func (p *player) forgetBack() {
	p.load.mu.Lock()
	back := p.load.back
	p.load.mu.Unlock()
	if back == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for conv, v := range p.views {
		v.forget(back[conv])
	}
}

// locate asks the login_server for a msg_server, as clients do.
func (l *Load) locate(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	where, err := client.Locate(ctx, l.cfg.LoginURL)
	if err != nil {
		return "", err
	}
	if addr := l.cfg.Seen[where.Addr]; addr != "" {
		return addr, nil
	}
	return "", fmt.Errorf("login_server names %s, which nobody knows", where.Addr)
}
