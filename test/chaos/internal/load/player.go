//go:build unix

package load

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"teamtalk/client"
	"teamtalk/internal/im"
	"teamtalk/test/chaos/internal/event"
)

// player is one terminal.
type player struct {
	// Static after construction.
	load    *Load
	name    string // u7.pc
	login   string // u7
	user    im.UserID
	ip      string // its own address, by which proxies know it
	profile client.Profile
	convs   []im.Conversation
	foreign im.Conversation // a group it is not in; zero if there is none

	acks     bool // announces that it understands refusals, and names its messages
	delivers bool // announces that it acknowledges what arrives

	rng *rand.Rand // owned by run

	mu       sync.Mutex // guards the fields below
	link     *link      // the connection of now; nil while there is none
	conns    int        // connections so far
	serial   int        // of messages
	tokens   uint64
	attempts map[uint64]*attempt
	outbox   []*message // not settled, oldest first; capable terminals only
	recent   []*message // acknowledged ones, for repeats
	again    []*message // to be repeated over the next connection
	marked   []gap      // to be read in history
	avoid    string     // the server not to take next
	stayTill time.Time  // when to leave it
	views    map[im.Conversation]*view
	leave    bool // does not come back
	burst    int  // messages to send at once
	repeat   bool // repeat what was acknowledged
	sameID   bool // use the same client_msg_id everywhere
}

// newPlayer makes a terminal of user number i. What it is follows from i and
// the seed.
func (l *Load) newPlayer(i int, phone bool, rng *rand.Rand) *player {
	p := &player{
		load: l, login: fmt.Sprintf("u%d", i+1), user: l.cfg.Users[i],
		attempts: map[uint64]*attempt{}, views: map[im.Conversation]*view{},
		rng: rand.New(rand.NewPCG(rng.Uint64(), rng.Uint64())),
	}
	third, kind := 1, "pc"
	if phone {
		third, kind = 2, "phone"
		p.profile = []client.Profile{client.Android(), client.IOS()}[i%2]
		p.acks = i%4 == 0
	} else {
		p.profile = []client.Profile{
			client.Native(), client.Native(), client.Windows(), client.Native(), client.Mac(), client.Web(),
		}[i%6]
		p.acks = p.profile.Name == "native"
	}
	// Of every other user one terminal acknowledges what arrives, or both do.
	p.delivers = i%4 < 2 && !phone || phone && i%6 == 0
	p.name = p.login + "." + kind
	p.ip = fmt.Sprintf("127.%d.%d.%d", third, 1+i/200, 1+i%200)
	// A terminal notices a dead connection within seconds, so that it plays on.
	// Every other Windows client repeats early, so that its repeats meet the
	// first ones; the others when the servers have given up, as real ones do.
	p.profile.Heartbeat, p.profile.HeartbeatTimeout = 3*time.Second, 5*time.Second
	if p.profile.ResendAfter > 0 && (i/6)%2 == 0 {
		p.profile.ResendAfter = 700 * time.Millisecond
	}
	n := len(l.cfg.Users)
	for _, distance := range []int{1, n - 1, n / 2} {
		if peer := l.cfg.Users[(i+distance)%n]; peer != p.user {
			p.convs = append(p.convs, im.SingleOf(p.user, peer))
		}
	}
	for _, g := range l.cfg.Groups {
		conv, in := im.GroupOf(g.ID), false
		for _, m := range g.Members {
			in = in || m == i+1
		}
		if in {
			p.convs = append(p.convs, conv)
		} else {
			p.foreign = conv
		}
	}
	return p
}

// link is one logged-in connection.
type link struct {
	p    *player
	addr string
	c    *client.Client
	once sync.Once
	n    int
	// delivers: it was granted to acknowledge what arrives. Set with n.
	delivers bool
}

// loggedIn writes the log-in down before anything that it brings. It runs on
// whatever goroutine learns of it first.
func (l *link) loggedIn(c *client.Client) {
	l.once.Do(func() {
		l.p.mu.Lock()
		l.p.conns++
		l.n, l.delivers = l.p.conns, c.Granted(client.CapDelivered)
		l.p.mu.Unlock()
		l.p.write(&event.Event{Name: event.Connected, N: l.n, Delivers: l.delivers})
	})
}

// write logs an event of this terminal.
func (p *player) write(e *event.Event) {
	e.C = p.name
	p.load.cfg.Log.Write(e)
}

// handle takes what the server pushes.
func (l *link) handle(c *client.Client, e client.Event) {
	switch e := e.(type) {
	case *client.Message:
		l.loggedIn(c)
		conv := im.ConversationOf(c.User(), e.Kind(), e.Session(c.User()))
		l.p.write(&event.Event{Name: event.Received, N: l.n, Conv: conv.String(), ID: e.ID, Key: event.Key(e.Text())})
		l.p.mu.Lock()
		v := l.p.view(conv)
		v.add(e.ID)
		v.pushed = max(v.pushed, e.ID)
		l.p.mu.Unlock()
	case *client.Gap:
		l.loggedIn(c)
		conv := im.ConversationOf(c.User(), e.Kind, e.Session)
		l.p.write(&event.Event{Name: event.Marked, N: l.n, Conv: conv.String(), ID: e.First, Last: e.Last})
		l.p.mu.Lock()
		l.p.marked = append(l.p.marked, gap{conv, e.First, e.Last})
		l.p.view(conv).pushed = max(l.p.view(conv).pushed, e.Last)
		l.p.mu.Unlock()
	case *client.Closed:
		if c.User() != 0 {
			l.loggedIn(c)
			l.p.load.Closed.Add(1)
			l.p.write(&event.Event{Name: event.Closed, N: l.n, Why: e.Err.Error()})
		}
	}
}

// run plays one terminal until ctx ends.
func (p *player) run(ctx context.Context) {
	for ctx.Err() == nil {
		if !p.gone() {
			p.session(ctx)
		}
		wait(ctx, 100*time.Millisecond+time.Duration(p.rng.Int64N(int64(400*time.Millisecond))))
	}
}

func (p *player) gone() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.leave
}

// wait sleeps, less when ctx ends.
func wait(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// session plays one connection.
func (p *player) session(ctx context.Context) {
	l := p.connect(ctx)
	if l == nil {
		return
	}
	defer l.c.Close()
	p.mu.Lock()
	p.link = l
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		p.link = nil
		p.mu.Unlock()
	}()
	if err := p.catchUp(ctx, l, false); err != nil {
		return
	}
	p.play(ctx, l)
}

// connect logs in; nil if that fails.
func (p *player) connect(ctx context.Context) *link {
	addr, err := p.load.locate(ctx)
	if err != nil {
		return nil
	}
	p.mu.Lock()
	if p.avoid == addr { // take another one, if there is one
		for _, other := range p.load.cfg.Seen {
			if other != addr {
				addr = other
				break
			}
		}
	}
	p.avoid = ""
	p.mu.Unlock()
	l := &link{p: p, addr: addr}
	o := client.Options{
		Addr: addr, LocalAddr: p.ip, User: p.login, Password: p.load.cfg.Password,
		Profile: p.profile, Handler: l.handle, AckTimeout: ackTimeout,
	}
	if p.acks {
		o.Capabilities = []string{client.CapClientMsgID, client.CapNack}
	}
	if p.delivers {
		o.Capabilities = append(o.Capabilities, client.CapDelivered)
	}
	ctx, cancel := context.WithTimeout(ctx, 8*time.Second)
	defer cancel()
	if l.c, err = client.Dial(ctx, o); err != nil {
		if refused, ok := errors.AsType[*client.LoginError](err); ok && refused.Permanent() {
			p.load.Turned.Add(1)
		}
		return nil
	}
	l.loggedIn(l.c)
	return l
}

// How often a terminal does what it does besides sending.
const (
	readEvery   = 2 * time.Second
	askEvery    = 8 * time.Second
	switchEvery = 45 * time.Second
	tickEvery   = 20 * time.Millisecond // at least as often it looks whether to repeat
	catchUpFor  = 100 * time.Millisecond
)

// play sends and reads until the connection ends, now and then by its own
// choice.
func (p *player) play(ctx context.Context, l *link) {
	d := due{p.soon(p.pace()), p.soon(readEvery), p.soon(askEvery), p.soon(switchEvery)}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-l.c.Done():
			return
		case <-timer.C:
		}
		now := time.Now()
		p.obey(l)
		p.resend(l)
		if !p.load.quiet.Load() && !p.act(ctx, l, now, &d) || p.switching() {
			return
		}
		timer.Reset(min(max(time.Until(d.send), time.Millisecond), tickEvery))
	}
}

// due is when a terminal does what next.
type due struct{ send, read, ask, change time.Time }

// act does what is due; false when the connection is to be left.
func (p *player) act(ctx context.Context, l *link, now time.Time, d *due) bool {
	if now.After(d.send) {
		// What a moment of being late cost is made up for, not more.
		d.send = d.send.Add(time.Until(p.soon(p.pace())))
		if late := now.Add(-catchUpFor); d.send.Before(late) {
			d.send = late
		}
		p.sendNew(ctx, l)
	}
	if now.After(d.read) {
		d.read = p.soon(readEvery)
		p.readSome(l)
	}
	if now.After(d.ask) || l.delivers && p.hasMarked() {
		d.ask = p.soon(askEvery)
		if p.catchUp(ctx, l, false) != nil {
			return false
		}
	}
	return !now.After(d.change)
}

// switching reports that the terminal is to go to another server, or for good.
func (p *player) switching() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.leave || (p.avoid != "" && p.link != nil && p.link.addr == p.avoid && time.Now().After(p.stayTill))
}

// pace is the mean time between two messages of one terminal.
func (p *player) pace() time.Duration {
	return time.Duration(len(p.load.players)) * time.Second / time.Duration(max(p.load.cfg.Rate, 1))
}

// soon returns a time that is about a mean away.
func (p *player) soon(mean time.Duration) time.Time {
	return time.Now().Add(mean/2 + time.Duration(p.rng.Int64N(int64(mean))))
}

// settled says what a terminal still has to do.
func (p *player) settled() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.link == nil || p.link.c.Err() != nil:
		return fmt.Errorf("%s is not on-line", p.name)
	case len(p.outbox) > 0:
		return fmt.Errorf("%s waits for the acknowledgement of %d messages, first %s", p.name, len(p.outbox), p.outbox[0].key)
	case len(p.attempts) > 0:
		return fmt.Errorf("%s waits for %d answers", p.name, len(p.attempts))
	}
	return nil
}
