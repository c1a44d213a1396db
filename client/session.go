package client

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	mathrand "math/rand/v2"
	"sync"
	"time"

	"teamtalk/client/textcrypt"
	"teamtalk/internal/im"
)

// State is what a Session is doing.
type State int

// The states of a Session.
const (
	Offline    State = iota // waiting before the next attempt, or ended
	Connecting              // looking for a server, connecting, logging in
	Online
)

func (s State) String() string {
	switch s {
	case Connecting:
		return "connecting"
	case Online:
		return "online"
	case Offline:
	}
	return "offline"
}

// stable is how long a connection must last to start the back-off afresh: a
// server that takes log-ins and drops them at once is not stormed.
const stable = 10 * time.Second

// SessionOptions are the Options of every connection of a Session, and how it
// reconnects.
type SessionOptions struct {
	Options
	// OnState is called on Run's goroutine at every change; err says why the
	// session is Offline. It must not block. May be nil.
	OnState func(s State, err error)
	// MinBackoff and MaxBackoff bound the wait between attempts, which doubles;
	// 0 is 0.5 s and 30 s.
	MinBackoff, MaxBackoff time.Duration
	// DialTimeout bounds one attempt; 0 is 15 s.
	DialTimeout time.Duration
}

// Session keeps a log-in alive: it reconnects when the connection is lost, but
// never after the server displaced the log-in or refused the password. It is
// safe for concurrent use.
type Session struct {
	opts SessionOptions

	mu      sync.Mutex // guards the fields below
	client  *Client    // nil unless Online
	changed chan struct{}
	err     error // why Run has ended
}

// NewSession returns a Session that Run brings on-line.
func NewSession(o SessionOptions) (*Session, error) {
	if o.Addr == "" && o.LoginURL == "" {
		return nil, errors.New("client: session: neither an address nor a login URL")
	}
	o.MinBackoff = cmp.Or(o.MinBackoff, 500*time.Millisecond)
	o.MaxBackoff = max(cmp.Or(o.MaxBackoff, 30*time.Second), o.MinBackoff)
	o.DialTimeout = cmp.Or(o.DialTimeout, 15*time.Second)
	o.arrived = make(map[conversationKey]im.MsgID)
	return &Session{opts: o, changed: make(chan struct{})}, nil
}

// Run keeps the log-in alive until ctx ends, which gives nil, or until the
// server displaced it (*KickedError) or refused the password (*LoginError).
// After it has returned it may be called again.
func (s *Session) Run(ctx context.Context) error {
	s.mu.Lock()
	s.err = nil
	s.mu.Unlock()
	err := s.run(ctx)
	s.mu.Lock()
	s.err = cmp.Or(err, ErrClosed)
	s.mu.Unlock()
	s.set(Offline, nil, err)
	return err
}

// run connects again and again.
func (s *Session) run(ctx context.Context) error {
	o, backoff := s.opts.Options, s.opts.MinBackoff
	for {
		s.set(Connecting, nil, nil)
		started := time.Now()
		err := s.once(ctx, o)
		if ctx.Err() != nil {
			return nil //nolint:nilerr // this end was asked for
		}
		if final(err) {
			return err
		}
		s.set(Offline, nil, err)
		if time.Since(started) > stable {
			backoff = s.opts.MinBackoff
		}
		wait := backoff/2 + mathrand.N(backoff/2+1)
		o.Addr = s.opts.Addr
		if moved, ok := errors.AsType[*MovedError](err); ok {
			o.Addr, wait = cmp.Or(moved.Addr, s.opts.Addr), moved.After
		}
		backoff = min(2*backoff, s.opts.MaxBackoff)
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return nil
		}
	}
}

// once connects and stays until the connection ends; it returns why.
func (s *Session) once(ctx context.Context, o Options) error {
	dialing, cancel := context.WithTimeout(ctx, s.opts.DialTimeout)
	defer cancel()
	c, err := Dial(dialing, o)
	if err != nil {
		return err
	}
	s.set(Online, c, nil)
	select {
	case <-c.Done():
	case <-ctx.Done():
		c.Close()
	}
	return c.Err()
}

// final reports whether reconnecting after err is wrong.
func final(err error) bool {
	if _, kicked := errors.AsType[*KickedError](err); kicked {
		return true
	}
	refused, ok := errors.AsType[*LoginError](err)
	return ok && refused.Permanent()
}

// set changes the state and wakes whoever waits for it.
func (s *Session) set(state State, c *Client, err error) {
	s.mu.Lock()
	s.client = c
	close(s.changed)
	s.changed = make(chan struct{})
	s.mu.Unlock()
	if s.opts.OnState != nil {
		s.opts.OnState(state, err)
	}
}

// Client returns the connection in use, nil while not Online. It may end at
// any time.
func (s *Session) Client() *Client {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.client
}

// wait returns a connection that has not ended. It waits for one when patient,
// until ctx or the session ends.
func (s *Session) wait(ctx context.Context, patient bool) (*Client, error) {
	for {
		s.mu.Lock()
		c, changed, ended := s.client, s.changed, s.err
		s.mu.Unlock()
		switch {
		case c != nil && c.Err() == nil:
			return c, nil
		case ended != nil:
			return nil, ended
		case !patient:
			return nil, ErrOffline
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// SendText sends a text and waits for the acknowledgement. When the server
// granted CapClientMsgID and the connection is lost meanwhile, it is sent
// again over the next one until ctx ends, and is stored once. Without the
// grant it is tried once, as a repeat could be stored twice; while off-line
// that fails with ErrOffline.
func (s *Session) SendText(ctx context.Context, kind im.Kind, to uint32, text string) (im.MsgID, error) {
	if text == "" || len(text) > textcrypt.MaxPlain {
		return 0, ErrTooLong
	}
	clientMsgID := NewClientMsgID()
	for again := false; ; again = true {
		c, err := s.wait(ctx, again)
		if err != nil {
			return 0, err
		}
		granted := c.Granted(CapClientMsgID)
		if again && !granted {
			return 0, ErrOffline // another server, which would store it twice
		}
		id := ""
		if granted {
			id = clientMsgID
		}
		msgID, err := c.SendTextID(ctx, kind, to, text, id)
		if err == nil || ctx.Err() != nil || !granted || c.Err() == nil {
			return msgID, err
		}
	}
}

// NewClientMsgID returns a new client_msg_id: a UUID of version 7, so that
// ids rise with time and index well.
func NewClientMsgID() string {
	var id [16]byte
	_, _ = rand.Read(id[6:]) // never fails: crypto/rand ends the process instead
	var ms [8]byte
	binary.BigEndian.PutUint64(ms[:], uint64(time.Now().UnixMilli()))
	copy(id[:6], ms[2:])
	id[6] = id[6]&0x0f | 0x70
	id[8] = id[8]&0x3f | 0x80
	text := hex.EncodeToString(id[:])
	return text[:8] + "-" + text[8:12] + "-" + text[12:16] + "-" + text[16:20] + "-" + text[20:]
}
