package main

import (
	"bufio"
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"time"
)

// style is how one kind of client fills its headers.
// Source: docs/protocol/wire.md §1.1.
type style struct {
	name              string
	kind              uint32
	version, reserved uint16
	seq               uint16 // the first
	zero              bool   // it writes user id 0 into its requests
}

var (
	windows = style{name: "windows", kind: 1, version: 1, seq: 0x4000}
	mac     = style{name: "mac", kind: 2, version: 1, seq: 1, zero: true}
	ios     = style{name: "ios", kind: 0x11, version: 13, reserved: 1, seq: 1, zero: true}
	android = style{name: "android", kind: 0x12, version: 6, reserved: 0x30, seq: 1}
	web     = style{name: "web", kind: 1, version: 0, seq: 2}
)

// pushes are what a server may send unasked, seq 0.
var pushes = []uint16{0x0107, 0x0203, 0x020E, 0x020F, 0x0212, 0x0215, 0x0301, 0x0304, 0x040B, 0x0508, 0x0601}

// patience is for a broken server, not for a slow machine.
const patience = 60 * time.Second

// client is a terminal of a user.
type client struct {
	style
	what    string
	server  int
	account account
	conn    net.Conn
	foreign bool // its msg_server is played by this program, with its faults

	mu       sync.Mutex
	news     *sync.Cond
	asked    map[uint16]uint16 // seq of what waits for an answer, and its command
	sent     map[uint16][]byte // what was asked, for asking again
	again    map[uint16]uint16 // what was asked again may be answered twice
	beats    [][]byte          // heartbeats that are to come back
	stash    []received
	online   map[uint32]bool // by what 0203 said
	heard    map[string]bool // commands of settle
	stale    map[talk]uint32 // messages up to here were sent before the log-in
	pc       uint32          // by what 020E said: 1 on, 2 off, 0 nothing
	closing  bool            // this side closes
	closed   bool
	loginSeq uint16
}

// received is what came and has not been looked at.
type received struct {
	command, seq uint16
	m            *message // nil for the original's empty 0109
}

// connect opens a connection without a log-in.
func (g *game) connect(server int, a account, s style) *client {
	conn, err := net.Dial("tcp", g.servers[server-1])
	if err != nil {
		fatal("%v", err)
	}
	c := &client{
		style: s, what: a.name + " on " + s.name, server: server, account: a, conn: conn, foreign: g.original[msgServerName(server)],
		asked: map[uint16]uint16{}, sent: map[uint16][]byte{}, again: map[uint16]uint16{}, online: map[uint32]bool{}, heard: map[string]bool{}, stale: maps.Clone(g.sent),
	}
	c.news = sync.NewCond(&c.mu)
	g.open = append(g.open, c)
	go c.read()
	return c
}

// login connects and logs in.
func (g *game) login(server int, a account, s style) *client {
	c := g.connect(server, a, s)
	c.loginSeq = c.ask(0x0103, 0x0104, c.loginBody(password))
	res := c.answer(0x0104, c.loginSeq)
	info := res.sub("user_info")
	if res.num("result_code") != 0 || info == nil || info.num("user_id") != a.id || info.text("user_real_name") != a.name ||
		res.num("online_status") != 1 || res.text("result_string") != "成功" || !fresh(res.num("server_time")) || !info.has("sign_info") {
		violate("%s: %v", c.what, res)
	}
	return c
}

func (c *client) loginBody(password string) *message {
	return build("IMLoginReq", "user_name", c.account.name, "password", md5Hex(password), "online_status", 1,
		"client_type", c.kind, "client_version", "1.0")
}

func fresh(t uint32) bool { return t+60 > now() && t < now()+60 }

// user is what the client writes into the field of that name.
func (c *client) user() uint32 {
	if c.zero {
		return 0
	}
	return c.account.id
}

func (c *client) read() {
	r := bufio.NewReader(c.conn)
	for {
		p, err := readPDU(r)
		c.mu.Lock()
		if err != nil {
			c.closed = true
			c.news.Broadcast()
			c.mu.Unlock()
			return
		}
		c.receive(p)
		c.news.Broadcast()
		c.mu.Unlock()
	}
}

// receive is called with mu held.
func (c *client) receive(p pdu) {
	if p.command == heartbeat {
		if len(c.beats) == 0 || !bytes.Equal(p.frame(), c.beats[0]) {
			violate("%s: the heartbeat %v comes back", c.what, p)
		}
		c.beats = c.beats[1:]
		return
	}
	if p.flag != 0 || p.service != p.command>>8 || !c.foreign && (p.version != 1 || p.reserved != 0) {
		violate("%s: flag %d, service %d in %v", c.what, p.flag, p.service, p)
	}
	if p.seq != 0 && c.asked[p.seq] == 0 && c.again[p.seq] == p.command {
		return
	}
	if c.asked[p.seq] == p.command && p.seq != 0 {
		if p.command != 0x0209 || c.kind != android.kind {
			delete(c.asked, p.seq) // Android takes a list of users in pieces
		}
	} else if !slices.Contains(pushes, p.command) && !(c.foreign && p.command == 0x020D) {
		violate("%s: nobody asked for %v", c.what, p)
	} else if leaks := p.command == 0x0301 || p.command == 0x0601 || p.command == 0x020D; p.seq != 0 && !(c.foreign && leaks) {
		violate("%s: a push with a seq: %v", c.what, p)
	}
	if p.command == 0x0109 && len(p.body) == 0 && c.foreign {
		c.stash = append(c.stash, received{command: p.command, seq: p.seq})
		return
	}
	m, err := decode(originals.commands[p.command].name, p.body)
	if err != nil {
		violate("%s: %04X: %v", c.what, p.command, err)
	}
	if f := m.shape.byNumber(20); f != nil && m.has("attach_data") && !(c.foreign && p.command == 0x0301) {
		violate("%s: attach_data in %v", c.what, m)
	}
	switch p.command {
	case 0x0203:
		if c.kind >= 0x10 {
			violate("%s: 0203 to a phone", c.what)
		}
		stat := m.sub("user_stat")
		c.online[stat.num("user_id")] = stat.num("status") == 1
		return
	case 0x020E:
		if c.kind < 0x10 || m.num("user_id") != c.account.id {
			violate("%s: %v", c.what, m)
		}
		c.pc = m.num("login_stat")
		return
	}
	switch {
	case p.command == 0x0601 && strings.HasPrefix(m.text("cmd_msg_data"), writing):
		c.heard[m.text("cmd_msg_data")] = true
	case p.command == 0x0301 && m.num("msg_id") <= c.stale[talkOf(m.num("from_user_id"), 1+m.num("msg_type")>>4, m.num("to_session_id"))]:
		// A relay may be slower than a log-in.
	default:
		c.stash = append(c.stash, received{p.command, p.seq, m})
	}
}

func (c *client) hasHeard(data string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.heard[data]
}

// raw sends a PDU in the client's style.
func (c *client) raw(service, command, seq uint16, body []byte) {
	p := pdu{version: c.version, service: service, command: command, seq: seq, reserved: c.reserved, body: body}
	if _, err := c.conn.Write(p.frame()); err != nil {
		violate("%s: %04X cannot be sent: %v", c.what, command, err)
	}
}

// ask sends a request under the next number.
func (c *client) ask(command, answer uint16, m *message) (seq uint16) {
	c.mu.Lock()
	seq = c.seq
	c.seq++
	c.mu.Unlock()
	return c.askAs(seq, command, answer, m)
}

// askAs sends a request under a number of the client's own choice; answer 0
// for one that has none.
func (c *client) askAs(seq, command, answer uint16, m *message) uint16 {
	c.mu.Lock()
	if answer != 0 {
		c.asked[seq], c.sent[seq] = answer, m.encode()
	}
	c.mu.Unlock()
	c.raw(command>>8, command, seq, m.encode())
	return seq
}

// tell sends what has no answer.
func (c *client) tell(command uint16, m *message) { c.ask(command, 0, m) }

// await waits until a condition holds, which is looked at with mu held.
func (c *client) await(what string, holds func() bool) {
	over := time.AfterFunc(patience, func() { violate("%s: no %s within %v", c.what, what, patience) })
	defer over.Stop()
	c.mu.Lock()
	defer c.mu.Unlock()
	for !holds() {
		if c.closed && !c.closing {
			violate("%s: closed instead of %s", c.what, what)
		}
		c.news.Wait()
	}
}

// take removes the first that fits from the stash; mu is held.
func (c *client) take(command uint16, fits func(received) bool) *received {
	for i, r := range c.stash {
		if r.command == command && fits(r) {
			c.stash = slices.Delete(c.stash, i, i+1)
			return &r
		}
	}
	return nil
}

// answer waits for the answer to a request.
func (c *client) answer(command, seq uint16) (m *message) {
	if command != 0x0302 && command != 0x0104 && command != 0x0406 && command != 0x0408 {
		repeat := time.AfterFunc(askAgain, func() { c.repeat(command, seq) })
		defer repeat.Stop()
	}
	c.await(fmt.Sprintf("%04X to seq %d", command, seq), func() bool {
		r := c.take(command, func(r received) bool { return r.seq == seq })
		if r != nil {
			m = r.m
		}
		return r != nil
	})
	if m != nil && m.shape.fields[0].name == "user_id" && m.num("user_id") != c.account.id && m.has("user_id") {
		violate("%s: an answer to somebody else: %v", c.what, m)
	}
	return m
}

// askAgain is when clients give a question up, and their users ask again:
// servers are silent when a database has not answered in time.
const askAgain = 15 * time.Second

// repeat asks once more, if there is no answer yet.
func (c *client) repeat(answer, seq uint16) {
	c.mu.Lock()
	body, waits := c.sent[seq], c.asked[seq] == answer
	if waits {
		c.again[seq] = answer
	}
	c.mu.Unlock()
	if waits {
		command := answer - 1 // as all that are repeated
		c.raw(command>>8, command, seq, body)
	}
}

// request is ask and answer.
func (c *client) request(command, answer uint16, m *message) *message {
	return c.answer(answer, c.ask(command, answer, m))
}

// pushed waits for a push; the oldest of its kind must hold.
func (c *client) pushed(command uint16, holds func(m *message) bool) *message {
	var m *message
	c.await(fmt.Sprintf("push of %04X", command), func() bool {
		r := c.take(command, func(r received) bool { return c.asked[r.seq] == 0 })
		if r != nil {
			m = r.m
		}
		return r != nil
	})
	if !holds(m) {
		violate("%s: %v", c.what, m)
	}
	return m
}

// told reports whether a push has come, or comes within a time.
func (c *client) told(command uint16, within time.Duration) bool {
	for end := time.Now().Add(within); ; time.Sleep(5 * time.Millisecond) {
		c.mu.Lock()
		come := slices.ContainsFunc(c.stash, func(r received) bool { return r.command == command })
		c.mu.Unlock()
		if come || time.Now().After(end) {
			return come
		}
	}
}

// beat is a heartbeat and its echo. What was sent before it was received or
// dropped; what was not asked for, and is in the stash, is too much.
func (c *client) beat() {
	p := pdu{version: c.version, service: 7, command: heartbeat, seq: cmp.Or(c.seq, 1), reserved: c.reserved}
	c.mu.Lock()
	c.seq++
	c.beats = append(c.beats, p.frame())
	c.mu.Unlock()
	if _, err := c.conn.Write(p.frame()); err != nil {
		violate("%s: %v", c.what, err)
	}
	c.await("heartbeat", func() bool { return len(c.beats) == 0 })
}

// quiet checks that nothing is left. An original tells those twice who were
// added to a group, and everybody is told of avatars.
func (c *client) quiet() {
	c.beat()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range c.stash {
		if r.command != 0x0212 && !(c.foreign && (r.command == 0x040B || r.command == 0x020D)) {
			violate("%s: nobody asked for %04X, seq %d: %v", c.what, r.command, r.seq, r.m)
		}
	}
	c.stash = nil
	for seq, command := range c.asked {
		if command != 0x0209 && command != 0 {
			violate("%s: no answer %04X to seq %d", c.what, command, seq)
		}
	}
}

// sees waits until the client was told that a user is on- or off-line.
func (c *client) sees(a account, online bool) {
	c.await("news of "+a.name, func() bool {
		known, told := c.online[a.id]
		return told && known == online
	})
}

// ended waits until the server has closed the connection.
func (c *client) ended() {
	c.mu.Lock()
	c.closing = true
	c.mu.Unlock()
	c.await("end", func() bool { return c.closed })
}

// leave closes the connection as clients do: without a word.
func (c *client) leave() {
	c.mu.Lock()
	c.closing = true
	c.mu.Unlock()
	_ = c.conn.Close()
}
