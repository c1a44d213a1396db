// Package clienttest is a small TeamTalk server in memory for tests of
// programs that use package client: log-in, single and group messages, history
// and a login_server over HTTP. It can be told to misbehave. It is no model of
// the real servers and checks next to nothing.
package clienttest

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"

	"teamtalk/client"
	"teamtalk/internal/im"
	"teamtalk/internal/wire"
	"teamtalk/pb/message"
)

// FirstUser is the id of the first user who logs in under a name never seen
// before; the next has the next id.
const FirstUser = 1001

// Password is the password of every account.
const Password = "12345"

// Fault makes the network mistreat one message, the n-th stored one: 1 is the
// first. 0 is never.
type Fault struct {
	Lose      int // store and acknowledge it, do not push it
	Duplicate int // push it twice
	Reorder   int // push it after the sender's next message
	Forget    int // acknowledge and push it, do not store it
	Double    int // store and push it under two ids
	Silent    int // store and push it, do not acknowledge it
}

// Network is a set of servers that share their accounts and messages.
type Network struct {
	// Static once clients connect.
	Fault Fault
	// Hook sees every PDU of a client first; true means that it did all there
	// is to do. May be nil.
	Hook func(c *Conn, pdu wire.PDU) bool
	// Grant lists the capabilities that a log-in may get.
	Grant []string

	mu       sync.Mutex // guards the fields below
	users    map[string]im.UserID
	groups   map[im.GroupID][]im.UserID
	stored   map[im.Conversation][]*message.IMMsgData // ascending ids
	latest   map[im.Conversation]im.MsgID
	held     map[im.Conversation]*push
	byMsgID  map[string]im.MsgID // sender and client_msg_id
	conns    map[*Conn]bool
	count    int
	receipts int
}

// push is a message held back.
type push struct {
	from *Conn
	msg  *message.IMMsgData
}

// New returns a network without servers.
func New() *Network {
	return &Network{
		users:   make(map[string]im.UserID),
		groups:  make(map[im.GroupID][]im.UserID),
		stored:  make(map[im.Conversation][]*message.IMMsgData),
		latest:  make(map[im.Conversation]im.MsgID),
		held:    make(map[im.Conversation]*push),
		byMsgID: make(map[string]im.MsgID),
		conns:   make(map[*Conn]bool),
	}
}

// Listen starts a msg_server for the length of the test and returns its
// address.
func (n *Network) Listen(t testing.TB) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { n.serve(nc) })
		}
	})
	t.Cleanup(func() {
		_ = ln.Close()
		n.DropAll()
		wg.Wait()
	})
	return ln.Addr().String()
}

// LoginServer starts a login_server that names the addresses in turn and
// returns its URL.
func (n *Network) LoginServer(t testing.TB, addrs ...string) string {
	t.Helper()
	var (
		mu   sync.Mutex
		next int
	)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		host, port, _ := net.SplitHostPort(addrs[next%len(addrs)])
		next++
		_, _ = fmt.Fprintf(w, `{"backupIP":%[1]q,"code":0,"msg":"","msfsPrior":"http://img/","port":%[2]q,"priorIP":%[1]q}`,
			host, port)
	}))
	t.Cleanup(s.Close)
	return s.URL + "/msg_server"
}

// DropAll closes every connection.
func (n *Network) DropAll() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for c := range n.conns {
		_ = c.nc.Close()
	}
}

// Receipts returns how many receipts (0x0302, 0x0382) clients have sent.
func (n *Network) Receipts() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.receipts
}

// Stored returns how many messages a conversation holds.
func (n *Network) Stored(c im.Conversation) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.stored[c])
}

// PushTo sends a PDU to every connection of a user.
func (n *Network) PushTo(u im.UserID, pdu []byte) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for c := range n.conns {
		if c.user == u {
			c.Write(pdu)
		}
	}
}

// login finds or makes the account of a name.
func (n *Network) login(name, md5 string) (im.UserID, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if md5 != client.PasswordMD5(Password) {
		return 0, false
	}
	id, ok := n.users[name]
	if !ok {
		id = im.UserID(FirstUser + len(n.users))
		n.users[name] = id
	}
	return id, true
}

// store gives a message an id, stores it, acknowledges and pushes it, with the
// fault that is due.
func (n *Network) store(c *Conn, m *message.IMMsgData, ack func(id im.MsgID)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	conv := im.ConversationOf(c.user, im.MsgType(m.GetMsgType()).Kind(), m.GetToSessionId())
	key := fmt.Sprintf("%d %s", c.user, m.GetClientMsgId())
	if id, ok := n.byMsgID[key]; ok && m.GetClientMsgId() != "" {
		ack(id)
		return
	}
	n.count++
	n.keep(conv, m, n.count != n.Fault.Forget)
	n.byMsgID[key] = im.MsgID(m.GetMsgId())
	if n.count != n.Fault.Silent {
		ack(im.MsgID(m.GetMsgId()))
	}
	switch n.count {
	case n.Fault.Lose:
		return
	case n.Fault.Reorder:
		n.held[conv] = &push{c, m}
		return
	case n.Fault.Duplicate:
		n.push(conv, c, m)
	case n.Fault.Double:
		n.push(conv, c, m)
		m = copyMessage(m)
		n.keep(conv, m, true)
	}
	n.push(conv, c, m)
	// Only a later message of the same sender goes the same way.
	if late := n.held[conv]; late != nil && late.from == c {
		delete(n.held, conv)
		n.push(conv, late.from, late.msg)
	}
}

// keep gives m the next id and stores it. Caller holds n.mu.
func (n *Network) keep(conv im.Conversation, m *message.IMMsgData, really bool) {
	n.latest[conv]++
	setID(m, n.latest[conv])
	if really {
		n.stored[conv] = append(n.stored[conv], m)
	}
}

// push sends m to everybody but the sending connection. Caller holds n.mu.
func (n *Network) push(conv im.Conversation, from *Conn, m *message.IMMsgData) {
	pdu, err := wire.AppendMessage(nil, wire.MsgData, 0, m)
	if err != nil {
		return
	}
	for c := range n.conns {
		member := c.user == conv.Pair.Small || c.user == conv.Pair.Big
		if conv.Kind == im.Group {
			member = slices.Contains(n.groups[conv.Group], c.user)
		}
		if member && c != from {
			c.Write(pdu)
		}
	}
}

// page returns at most count messages up to begin, newest first.
func (n *Network) page(conv im.Conversation, begin im.MsgID, count int) []*message.IMMsgData {
	n.mu.Lock()
	defer n.mu.Unlock()
	var page []*message.IMMsgData
	for _, m := range slices.Backward(n.stored[conv]) {
		if len(page) < min(count, im.MaxHistory) && (begin == 0 || im.MsgID(m.GetMsgId()) <= begin) {
			page = append(page, m)
		}
	}
	return page
}
