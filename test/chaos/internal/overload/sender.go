//go:build unix

package overload

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"teamtalk/client"
	"teamtalk/internal/im"
)

// sender is one client that writes to its partner, and repeats nothing.
type sender struct {
	load  *Load
	login string
	addr  string
	msg   client.Message
	ack   client.AckFunc
	again atomic.Bool // in a closed loop: every answer is followed by a message

	mu      sync.Mutex // guards the fields below
	c       *client.Client
	dialing bool
}

// connect logs in.
func (s *sender) connect(ctx context.Context) error {
	c, err := dial(ctx, s.load, s.login, s.addr, 15*time.Second)
	if err != nil {
		return fmt.Errorf("%s: %w", s.login, err)
	}
	s.mu.Lock()
	s.c = c
	s.mu.Unlock()
	return nil
}

// dial logs in at one server.
func dial(ctx context.Context, l *Load, name, addr string, timeout time.Duration) (*client.Client, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	profile := client.Native()
	profile.Heartbeat, profile.HeartbeatTimeout = 2*time.Second, 5*time.Second
	return client.Dial(ctx, client.Options{
		Addr: addr, User: name, Password: l.cfg.Password, Profile: profile,
		Capabilities: []string{client.CapClientMsgID, client.CapNack}, NoReceipts: true,
	})
}

// send makes one attempt; due is when it was to be made.
func (s *sender) send(ctx context.Context, due time.Time) {
	t := s.load.phase.Load()
	t.offered.Add(1)
	s.mu.Lock()
	c := s.c
	if c != nil && c.Err() != nil {
		t.closed.Add(1)
		t.complain(c.Err())
		s.c, c = nil, nil
	}
	if c == nil && !s.dialing {
		s.dialing = true
		go s.reconnect(ctx)
	}
	s.mu.Unlock()
	if c == nil {
		t.failed.Add(1)
		return
	}
	m := s.msg
	m.ClientMsgID = client.NewClientMsgID()
	if err := c.SendAsync(&m, uint64(due.UnixNano()), s.ack); err != nil {
		t.failed.Add(1)
		t.complain(err)
	}
}

// reconnect tries until it is logged in.
func (s *sender) reconnect(ctx context.Context) {
	for ctx.Err() == nil && s.connect(ctx) != nil {
		pause(ctx, 500*time.Millisecond)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dialing = false
}

// answered counts the end of an attempt in the phase of now.
func (s *sender) answered(token uint64, _ im.MsgID, err error) {
	t, now := s.load.phase.Load(), time.Now()
	due := time.Unix(0, int64(token))
	if !now.After(t.to) {
		_, refused := errors.AsType[*client.NackError](err)
		switch {
		case err == nil:
			t.acked.Add(1)
			if due.Before(t.from.Round(0)) {
				break // its time is that of another phase
			}
			t.mu.Lock()
			_ = t.latency.RecordValue(max(now.Round(0).Sub(due).Microseconds(), 1)) // what is beyond a minute is at its end
			t.mu.Unlock()
		case refused:
			t.refused.Add(1)
		default:
			t.failed.Add(1)
			t.complain(err)
		}
	}
	if s.again.Load() && err == nil {
		s.send(context.Background(), now)
	}
}

// loginTimeout is how long a log-in may take before the user gives up.
const loginTimeout = 5 * time.Second

// comeAndGo logs in and leaves, again and again.
func (l *Load) comeAndGo(ctx context.Context, name, addr string) {
	for ctx.Err() == nil {
		began := time.Now()
		c, err := dial(ctx, l, name, addr, loginTimeout)
		if ctx.Err() != nil {
			return
		}
		t := l.phase.Load()
		if err != nil {
			t.lost.Add(1)
			t.complain(fmt.Errorf("log-in: %w", err))
		} else {
			c.Close()
			t.logins.Add(1)
			took := int64(time.Since(began))
			for before := t.slowLogin.Load(); took > before && !t.slowLogin.CompareAndSwap(before, took); {
				before = t.slowLogin.Load()
			}
		}
		pause(ctx, 200*time.Millisecond)
	}
}

// stay lives on heartbeats alone.
func (l *Load) stay(ctx context.Context, name, addr string) {
	for ctx.Err() == nil {
		c, err := dial(ctx, l, name, addr, loginTimeout)
		if err == nil {
			select {
			case <-ctx.Done():
				c.Close()
				return
			case <-c.Done():
				err = fmt.Errorf("heartbeat: %w", c.Err())
			}
		}
		if ctx.Err() == nil {
			t := l.phase.Load()
			t.lost.Add(1)
			t.complain(err)
		}
		pause(ctx, 200*time.Millisecond)
	}
}
