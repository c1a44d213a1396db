package msgserver

import (
	"math/rand/v2"
	"sync"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"

	"teamtalk/internal/im"
	"teamtalk/internal/link"
	"teamtalk/internal/trace"
	"teamtalk/internal/wire"
	"teamtalk/msg_server/internal/terminal"
	"teamtalk/pb/basedefine"
	"teamtalk/pb/extension"
	"teamtalk/pb/message"
)

// Bounds of what is fetched for terminals.
const (
	pageSize      = 100 // messages
	maxFetches    = 512 // pages under way, of one server
	maxDevice     = 48  // bytes of a device_id
	recheckWithin = 30 * time.Second
)

// terminalName names the terminal of a log-in. Source: docs/protocol.md,
// "Terminals".
func terminalName(device string, kind im.ClientType) string {
	switch {
	case device != "" && len(device) <= maxDevice && utf8.ValidString(device):
		return "device:" + device
	case kind.Mobile():
		return "class:phone"
	}
	return "class:pc"
}

// newTerminal makes the client one that acknowledges what arrives.
func (c *client) newTerminal(session *Session) {
	c.terminal = terminal.New(&terminalOutput{
		client: c, user: session.User, name: terminalName(c.device, session.Client),
	})
}

// terminalOutput is what a terminal acts through: its connection and the
// db_proxies.
type terminalOutput struct {
	client *client
	user   im.UserID
	name   string
}

// Push is terminal.Output's.
func (o *terminalOutput) Push(frame []byte) bool { return o.client.push(frame) }

// Gap is terminal.Output's: 0383.
func (o *terminalOutput) Gap(conv im.Conversation, first, last im.MsgID) {
	o.client.server.metrics.gaps.Inc()
	o.client.push(mustFrame(wire.MsgGap, &extension.IMMsgGap{
		SessionId: proto.Uint32(conv.SessionID(o.user)), SessionType: sessionType(conv.Kind).Enum(),
		First: proto.Uint32(uint32(first)), Last: proto.Uint32(uint32(last)),
	}))
}

// Open is terminal.Output's: 0790.
func (o *terminalOutput) Open() {
	l := o.client.server.db.Login(o.client.conn.ID())
	if l == nil || !l.Has(link.CapDelivery) {
		return
	}
	l.SendMessage(wire.TerminalReq, 0, &extension.IMTerminalReq{
		UserId: proto.Uint32(uint32(o.user)), Terminal: proto.String(o.name), AttachData: attachConn(o.client.conn.ID()),
	})
}

// Fetch is terminal.Output's: 0792 to the owner of the conversation, which
// was given its cursor before.
func (o *terminalOutput) Fetch(f terminal.Fetch) bool {
	s := o.client.server
	l := s.db.Owner(f.Conv)
	if l == nil || !l.Has(link.CapDelivery) || !s.fetches.start(o.client) {
		return false
	}
	req := &extension.IMBacklogReq{
		UserId: proto.Uint32(uint32(o.user)), Terminal: proto.String(o.name),
		SessionType: sessionType(f.Conv.Kind).Enum(), SessionId: proto.Uint32(f.Conv.SessionID(o.user)),
		Newest: proto.Uint32(uint32(f.Newest)), Limit: proto.Uint32(pageSize), AttachData: attachConn(o.client.conn.ID()),
	}
	if f.Known {
		req.After = proto.Uint32(uint32(f.After))
	}
	l.SendMessage(wire.BacklogReq, 0, req)
	return true
}

// Done is terminal.Output's.
func (o *terminalOutput) Done() {
	next := o.client.server.fetches.done()
	if next != nil {
		next.conn.Do(func() { next.terminal.Resume(next.server.engine.Now()) })
	}
}

// fetches bounds the pages under way of all terminals: log-ins by the thousand
// must leave room for what clients ask. The zero value is ready.
type fetches struct {
	mu      sync.Mutex // guards the fields below; a leaf
	busy    int
	waiting []*client // each once
	waits   map[*client]bool
}

// start takes a place, or notes who waits for one.
func (f *fetches) start(c *client) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.busy < maxFetches {
		f.busy++
		return true
	}
	if f.waits == nil {
		f.waits = map[*client]bool{}
	}
	if !f.waits[c] {
		f.waits[c] = true
		f.waiting = append(f.waiting, c)
	}
	return false
}

// done gives a place back and returns who waits for it; nil if nobody does.
func (f *fetches) done() *client {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.busy--
	if len(f.waiting) == 0 {
		return nil
	}
	next := f.waiting[0]
	f.waiting = f.waiting[1:]
	delete(f.waits, next)
	return next
}

// deliveredTo takes the acknowledgement of what arrived, 0382.
func (s *Server) deliveredTo(c *client, pdu wire.PDU) {
	if c.terminal == nil {
		s.metrics.dropped("unknown_command")
		return
	}
	m := new(extension.IMMsgDelivered)
	if err := proto.Unmarshal(pdu.Body, m); err != nil || !im.Kind(m.GetSessionType()).Valid() {
		s.metrics.dropped("bad_body")
		return
	}
	conv := im.ConversationOf(c.user(), im.Kind(m.GetSessionType()), m.GetSessionId())
	upto, sent := c.terminal.Ack(conv, im.MsgID(m.GetMsgId()), s.engine.Now())
	if !sent {
		s.metrics.dropped("delivered_unknown")
	}
	s.traceTerminal(c, trace.Confirmed, conv, upto, 1)
}

// terminalOf returns the client an answer of a db_proxy is for; nil if he is
// gone.
func (s *Server) terminalOf(attach []byte) *client {
	c := s.clientOf(connOf(attach))
	if c == nil || c.session.Load() == nil || c.terminal == nil {
		s.metrics.dropped("client_gone")
		return nil
	}
	return c
}

// terminalAnswer takes what waits for a terminal, 0791.
func (s *Server) terminalAnswer(_ *link.Link, pdu wire.PDU) {
	m := new(extension.IMTerminalRsp)
	if err := proto.Unmarshal(pdu.Body, m); err != nil {
		s.metrics.dropped("bad_body")
		return
	}
	c := s.terminalOf(m.GetAttachData())
	if c == nil {
		return
	}
	newest := make([]terminal.Cursor, len(m.GetBacklog()))
	for i, b := range m.GetBacklog() {
		newest[i] = terminal.Cursor{
			Conv: im.ConversationOf(c.user(), im.Kind(b.GetSessionType()), b.GetSessionId()), Upto: im.MsgID(b.GetNewest()),
		}
	}
	c.conn.Do(func() {
		c.begun = true
		c.welcome()
		c.terminal.Opened(newest, s.engine.Now())
	})
}

// backlogAnswer takes messages that a terminal lacks, 0793.
func (s *Server) backlogAnswer(_ *link.Link, pdu wire.PDU) {
	m := new(extension.IMBacklogRsp)
	if err := proto.Unmarshal(pdu.Body, m); err != nil {
		s.metrics.dropped("bad_body")
		return
	}
	c := s.terminalOf(m.GetAttachData())
	if c == nil {
		return
	}
	s.metrics.fetched.Inc()
	conv := im.ConversationOf(c.user(), im.Kind(m.GetSessionType()), m.GetSessionId())
	page := make([]terminal.Message, len(m.GetMsgList()))
	for i, info := range m.GetMsgList() {
		page[i] = terminal.Message{ID: im.MsgID(info.GetMsgId()), Frame: mustFrame(wire.MsgData, pushOf(conv, info))}
	}
	after, upto := im.MsgID(m.GetAfter()), im.MsgID(m.GetUpto())
	pushed := c.terminal.Page(conv, after, upto, page, m.GetDenied(), s.engine.Now())
	s.metrics.pushed.Add(float64(len(pushed)))
	for _, id := range pushed {
		s.traceTerminal(c, trace.Delivered, conv, id, 0)
	}
}

// pushOf is a message of history as it is pushed.
func pushOf(conv im.Conversation, info *basedefine.MsgInfo) *message.IMMsgData {
	to := uint32(conv.Group)
	if conv.Kind == im.Single {
		to = uint32(conv.Pair.Peer(im.UserID(info.GetFromSessionId())))
	}
	return &message.IMMsgData{
		FromUserId: proto.Uint32(info.GetFromSessionId()), ToSessionId: proto.Uint32(to),
		MsgId: proto.Uint32(info.GetMsgId()), CreateTime: proto.Uint32(info.GetCreateTime()),
		MsgType: info.GetMsgType().Enum(), MsgData: info.GetMsgData(),
	}
}

// tickTerminal sends again what was not acknowledged and has cursors stored.
func (c *client) tickTerminal(now time.Time) {
	if c.terminal == nil {
		return
	}
	save, resent := c.terminal.Tick(now)
	c.server.metrics.resent.Add(float64(resent))
	c.save(save)
}

// closeTerminal has stored what arrived.
func (c *client) closeTerminal() {
	if c.terminal != nil {
		c.save(c.terminal.Close())
	}
}

// save sends cursors to the owners of their conversations, 0794. What nobody
// takes is lost: it is sent to the terminal again.
func (c *client) save(cursors []terminal.Cursor) {
	if len(cursors) == 0 {
		return
	}
	session := c.session.Load()
	name := terminalName(c.device, session.Client)
	byOwner := map[*link.Link]*extension.IMDeliveryCursors{}
	for _, cursor := range cursors {
		l := c.server.db.Owner(cursor.Conv)
		if l == nil || !l.Has(link.CapDelivery) {
			continue
		}
		if byOwner[l] == nil {
			byOwner[l] = &extension.IMDeliveryCursors{}
		}
		byOwner[l].Cursors = append(byOwner[l].Cursors, &extension.DeliveryCursor{
			UserId: proto.Uint32(uint32(session.User)), Terminal: proto.String(name),
			SessionType: sessionType(cursor.Conv.Kind).Enum(), SessionId: proto.Uint32(cursor.Conv.SessionID(session.User)),
			MsgId: proto.Uint32(uint32(cursor.Upto)),
		})
	}
	for l, m := range byOwner {
		l.SendMessage(wire.DeliveryCursors, 0, m)
	}
}

// recheckTerminals looks, within a while, for messages whose relay was lost
// with a route_server.
func (s *Server) recheckTerminals() {
	s.sessions.Each(func(session *Session) {
		if t := session.Conn.terminal; t != nil {
			t.Recheck(s.engine.Now().Add(rand.N(recheckWithin)))
		}
	})
}
