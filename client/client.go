package client

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/proto"

	"teamtalk/internal/im"
	"teamtalk/internal/wire"
	"teamtalk/pb/basedefine"
	"teamtalk/pb/login"
)

// Client is one connection to a msg_server. Its methods are safe for
// concurrent use; those that wait for a reply take a context and must not be
// called from the Handler.
type Client struct {
	// Static after Connect.
	opts Options
	addr string
	nc   net.Conn
	raw  rawWriter     // owned by whoever set writing
	done chan struct{} // closed when the reader has ended

	user  atomic.Uint32 // own id; 0 before the log-in
	alive atomic.Bool   // something was received since the last heartbeat

	// Owned by the reader.
	msg        Message                      // reused for every pushed message
	cumulative bool                         // CapDelivered is granted
	received   map[conversationKey]im.MsgID // cumulative receipts of this batch
	arrived    map[conversationKey]im.MsgID // the highest id of each conversation; cumulative only

	mu       sync.Mutex // guards the fields below
	seq      uint16     // last used
	loginSeq uint16
	pending  map[uint16]pending
	async    int // entries of pending that only a timer ends
	out      []byte
	spare    []byte // the buffer not in use as out, for reuse
	held     bool   // the reader is dispatching and flushes when it is done
	writing  bool   // somebody writes and will take what is in out
	err      error  // why the connection ended
	granted  []string
	info     *basedefine.UserInfo
	clock    clock
}

// conversationKey names a conversation as this client knows it.
type conversationKey struct {
	kind    im.Kind
	session uint32
}

// Dial connects and logs in. A refused log-in gives a *LoginError, a
// login_server without a server a *LocateError.
func Dial(ctx context.Context, o Options) (*Client, error) {
	c, err := Connect(ctx, o)
	if err != nil {
		return nil, err
	}
	if err := c.Login(ctx); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// Connect connects without logging in. An original server closes such a
// connection after 15 s.
func Connect(ctx context.Context, o Options) (*Client, error) {
	o = o.withDefaults()
	addr := o.Addr
	if addr == "" {
		loc, err := Locate(ctx, o.LoginURL)
		if err != nil {
			return nil, err
		}
		addr = loc.Addr
	}
	nc, err := dial(ctx, addr, o.LocalAddr)
	if err != nil {
		return nil, err
	}
	c := &Client{
		opts: o, addr: addr, nc: nc, raw: newRawWriter(nc),
		done:    make(chan struct{}),
		seq:     o.Profile.LastSeq, // the first one used is FirstSeq
		pending: make(map[uint16]pending),
	}
	go c.read()
	return c, nil
}

// Login logs in on a connected Client. A server takes one log-in per
// connection; it ignores a second one.
func (c *Client) Login(ctx context.Context) error {
	req := &login.IMLoginReq{
		UserName:      proto.String(c.opts.User),
		Password:      proto.String(c.opts.PasswordMD5),
		OnlineStatus:  basedefine.UserStatType_USER_STATUS_ONLINE.Enum(),
		ClientType:    basedefine.ClientType(c.opts.ClientType).Enum(),
		ClientVersion: proto.String(c.opts.Version),
		Capabilities:  c.opts.Capabilities,
	}
	if c.opts.DeviceID != "" {
		req.DeviceId = proto.String(c.opts.DeviceID)
	}
	w := newWaiter(&login.IMLoginRes{})
	w.then = c.loggedIn
	return c.wait(ctx, wire.LoginReq, req, wire.LoginRes, w)
}

// loggedIn takes over an answer to the log-in. It runs on the reader, so that
// the Handler knows the own id with the first push.
func (c *Client) loggedIn(m proto.Message) error {
	res, _ := m.(*login.IMLoginRes)
	if code := res.GetResultCode(); code != basedefine.ResultType_REFUSE_REASON_NONE {
		return &LoginError{Code: code, Text: res.GetResultString()}
	}
	id := res.GetUserInfo().GetUserId()
	if id == 0 {
		return fmt.Errorf("%w: log-in without a user id", ErrWrongReply)
	}
	c.user.Store(id)
	if c.cumulative = slices.Contains(res.GetCapabilities(), CapDelivered); c.cumulative {
		c.received = make(map[conversationKey]im.MsgID)
		if c.arrived = c.opts.arrived; c.arrived == nil {
			c.arrived = make(map[conversationKey]im.MsgID)
		}
	}
	c.mu.Lock()
	c.info, c.granted = res.GetUserInfo(), res.GetCapabilities()
	c.mu.Unlock()
	c.startClock()
	return nil
}

// User returns the own id; 0 before the log-in.
func (c *Client) User() im.UserID { return im.UserID(c.user.Load()) }

// Info returns the own account as the log-in reported it; nil before.
func (c *Client) Info() *basedefine.UserInfo {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.info
}

// Granted reports whether the server granted a capability.
func (c *Client) Granted(capability string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Contains(c.granted, capability)
}

// Profile returns the habits of this client.
func (c *Client) Profile() Profile { return c.opts.Profile }

// Addr returns the address of the msg_server.
func (c *Client) Addr() string { return c.addr }

// Done is closed when the connection has ended and the Handler has seen the
// Closed event.
func (c *Client) Done() <-chan struct{} { return c.done }

// Err returns why the connection ended, nil while it has not: ErrClosed after
// Close, *KickedError, *MovedError, ErrDead, io.EOF when the server closed, or
// an error of the network or of the framing.
func (c *Client) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// Close ends the connection without logging out, as PC clients do, and waits
// until the Handler is not called any more. It must not be called from the
// Handler; use Abort there.
func (c *Client) Close() {
	c.Abort(ErrClosed)
	<-c.done
}

// Abort ends the connection for a reason that Err and the Closed event report.
// It does not wait and may be called from the Handler.
func (c *Client) Abort(reason error) {
	c.fail(reason)
}

// fail records the first reason and closes the socket, which ends the reader.
func (c *Client) fail(reason error) {
	c.mu.Lock()
	first := c.err == nil
	if first {
		c.err = reason
		c.clock.stop()
	}
	c.mu.Unlock()
	if first {
		_ = c.nc.Close()
	}
}

// finish runs once on the reader when it ends: whoever waits gets the reason.
func (c *Client) finish() {
	c.mu.Lock()
	reason, left := c.err, c.pending
	c.pending = nil
	c.mu.Unlock()
	for _, p := range left {
		p.end(fmt.Errorf("client: connection ended: %w", reason))
	}
	c.emit(&Closed{Err: reason})
	close(c.done)
}

// Logout logs out with 0105 and closes. The server switches push
// notifications of a phone off.
func (c *Client) Logout(ctx context.Context) error {
	res := &login.IMLogoutRsp{}
	err := c.Do(ctx, wire.LogoutReq, &login.IMLogoutReq{}, wire.LogoutRes, res)
	c.Close()
	if err != nil && !errors.Is(err, ErrClosed) {
		return err
	}
	return result(wire.LogoutRes, res.GetResultCode())
}

// clock sends heartbeats and ends sends that nobody answers. One timer serves
// both, so an idle client costs no goroutine.
type clock struct {
	timer     *time.Timer // nil before the log-in and when stopped
	next      time.Time   // when it fires
	heartbeat time.Time   // when the next heartbeat is due; zero: never
	deadAt    time.Time   // when silence counts as death; zero: not waiting
}

// stop ends the clock. Caller holds Client.mu.
func (k *clock) stop() {
	if k.timer != nil {
		k.timer.Stop()
	}
}

// startClock starts the clock after the log-in.
func (c *Client) startClock() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return
	}
	now := time.Now()
	if c.opts.Heartbeat > 0 {
		c.clock.heartbeat = now.Add(c.opts.Heartbeat)
	}
	c.schedule(now)
}

// schedule sets the timer to what is due first. Caller holds c.mu.
func (c *Client) schedule(now time.Time) {
	next := c.clock.heartbeat
	if dead := c.clock.deadAt; !dead.IsZero() && dead.Before(next) {
		next = dead.Add(time.Millisecond)
	}
	if c.async > 0 {
		if sweep := now.Add(min(c.opts.AckTimeout, time.Second)); next.IsZero() || sweep.Before(next) {
			next = sweep
		}
	}
	if next.IsZero() {
		return
	}
	c.clock.next = next
	if c.clock.timer == nil {
		c.clock.timer = time.AfterFunc(next.Sub(now), c.tick)
		return
	}
	c.clock.timer.Reset(next.Sub(now))
}

// tick does what is due: the heartbeat, the death of a silent server, the end
// of unanswered sends.
func (c *Client) tick() {
	now := time.Now()
	c.mu.Lock()
	if c.err != nil || c.pending == nil {
		c.mu.Unlock()
		return
	}
	if c.alive.Load() {
		c.clock.deadAt = time.Time{}
	}
	dead := !c.clock.deadAt.IsZero() && now.After(c.clock.deadAt)
	if !c.clock.heartbeat.IsZero() && !now.Before(c.clock.heartbeat) {
		c.clock.heartbeat = now.Add(c.opts.Heartbeat)
		if c.alive.Swap(false) || c.clock.deadAt.IsZero() {
			c.clock.deadAt = now.Add(c.opts.Profile.HeartbeatTimeout)
		}
		c.appendHeartbeat()
	}
	expired := c.expire(now)
	c.schedule(now)
	c.mu.Unlock()
	for _, p := range expired {
		p.end(ErrAckTimeout)
	}
	if dead {
		c.fail(ErrDead)
		return
	}
	c.flush()
}

// expire removes the asynchronous sends whose time is over. Caller holds c.mu.
func (c *Client) expire(now time.Time) (expired []pending) {
	if c.async == 0 {
		return nil
	}
	for seq, p := range c.pending {
		if p.ack != nil && now.After(p.deadline) {
			expired = append(expired, p)
			delete(c.pending, seq)
			c.async--
		}
	}
	return expired
}
