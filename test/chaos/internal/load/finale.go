//go:build unix

package load

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"teamtalk/pb/basedefine"
	"teamtalk/test/chaos/internal/event"
)

// rest is how long everything that is under way may take to arrive when
// nothing more is sent: held messages a second, presence and sessions as long.
const rest = 3 * time.Second

// Finale asks, at rest, for everything that the checker compares: what every
// terminal missed, unread counts, presence with all users there and with some
// gone. It is called after Settle.
func (l *Load) Finale(ctx context.Context) error {
	rested := time.After(rest)
	if err := l.each(func(p *player) error { return p.comeBack(ctx) }); err != nil {
		return err
	}
	select {
	case <-rested:
	case <-ctx.Done():
		return ctx.Err()
	}
	if err := l.each(func(p *player) error { return p.online(ctx, p.readForGood) }); err != nil {
		return err
	}
	wait(ctx, rest)
	if err := l.each(func(p *player) error { return p.online(ctx, p.lastLook) }); err != nil {
		return err
	}
	if err := l.presence(ctx); err != nil {
		return err
	}
	for i, p := range l.players {
		if i%2 == 1 {
			p.goAway()
		}
	}
	wait(ctx, rest)
	return l.presence(ctx)
}

// parallel is how many terminals ask at the same time.
const parallel = 8

// each lets every terminal do something, some at a time.
func (l *Load) each(do func(*player) error) error {
	errs := make([]error, len(l.players))
	slots := make(chan struct{}, parallel)
	var all sync.WaitGroup
	for i, p := range l.players {
		slots <- struct{}{}
		all.Go(func() {
			defer func() { <-slots }()
			if err := do(p); err != nil {
				errs[i] = fmt.Errorf("%s: %w", p.name, err)
			}
		})
	}
	all.Wait()
	return errors.Join(errs...)
}

// finalTries is how often a terminal may lose its connection at rest, where
// nothing should end it.
const finalTries = 3

// online calls do with the connection of now, and again with the next one if
// that fails.
func (p *player) online(ctx context.Context, do func(context.Context, *link) error) error {
	var err error
	for range finalTries {
		var l *link
		if l, err = p.current(ctx); err != nil {
			return err
		}
		if err = do(ctx, l); err == nil {
			return nil
		}
		wait(ctx, time.Second)
	}
	return err
}

// current waits for a connection.
func (p *player) current(ctx context.Context) (*link, error) {
	deadline := time.Now().Add(30 * time.Second)
	for time.Now().Before(deadline) && ctx.Err() == nil {
		p.mu.Lock()
		l := p.link
		p.mu.Unlock()
		if l != nil && l.c.Err() == nil {
			return l, nil
		}
		wait(ctx, 50*time.Millisecond)
	}
	return nil, errors.New("not on-line")
}

// deliverFor is how long a terminal that acknowledges what arrives is given
// to be sent everything after its last log-in.
const deliverFor = 20 * time.Second

// comeBack lets a terminal that acknowledges what arrives log in once more and
// waits until it was sent everything. What it then still lacks the checker
// says. Others stay.
func (p *player) comeBack(ctx context.Context) error {
	if !p.delivers {
		return nil
	}
	before, err := p.current(ctx)
	if err != nil {
		return err
	}
	before.c.Close()
	for deadline := time.Now().Add(deliverFor); time.Now().Before(deadline) && ctx.Err() == nil; {
		if l, err := p.current(ctx); err != nil {
			return err
		} else if l != before && p.complete() {
			return nil
		}
		wait(ctx, 20*time.Millisecond)
	}
	return ctx.Err()
}

// complete reports whether the newest message of every conversation has come.
func (p *player) complete() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, conv := range p.convs {
		if p.view(conv).pushed < p.load.top(conv) {
			return false
		}
	}
	return true
}

// readForGood catches up and reads half of the conversations.
func (p *player) readForGood(ctx context.Context, l *link) error {
	p.forgetBack()
	if err := p.catchUp(ctx, l, true); err != nil {
		return err
	}
	for i, conv := range p.convs {
		if (i+len(p.name))%2 == 0 {
			p.readConv(l, conv, true)
		}
	}
	// The answer comes behind what was sent before.
	_, err := l.c.Time(ctx)
	return err
}

// lastLook asks for the counts, and fetches what they show.
func (p *player) lastLook(ctx context.Context, l *link) error {
	if err := p.catchUp(ctx, l, true); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	_, err := p.latest(ctx, l, true)
	return err
}

// presence asks every PC that is there for the status of all users.
func (l *Load) presence(ctx context.Context) error {
	ids := make([]uint32, len(l.cfg.Users))
	for i, u := range l.cfg.Users {
		ids[i] = uint32(u)
	}
	return l.each(func(p *player) error {
		if p.gone() || p.profile.ClientType.Mobile() {
			return nil
		}
		return p.online(ctx, func(ctx context.Context, k *link) error {
			ctx, cancel := context.WithTimeout(ctx, askTimeout)
			defer cancel()
			list, err := k.c.UsersStatus(ctx, ids...)
			if err != nil {
				return err
			}
			e := event.Event{Name: event.Presence, Final: true}
			for _, s := range list {
				if s.GetStatus() == basedefine.UserStatType_USER_STATUS_ONLINE {
					e.Online = append(e.Online, s.GetUserId())
				} else {
					e.Offline = append(e.Offline, s.GetUserId())
				}
			}
			p.write(&e)
			return nil
		})
	})
}

// goAway closes the connection for good and waits until that is written down.
func (p *player) goAway() {
	p.mu.Lock()
	p.leave = true
	l := p.link
	p.mu.Unlock()
	if l != nil {
		l.c.Close()
	}
}
