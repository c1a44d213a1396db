package msgserver

import (
	"slices"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"teamtalk/internal/im"
	"teamtalk/internal/link"
	"teamtalk/internal/wire"
	"teamtalk/msg_server/internal/pdubody"
	"teamtalk/pb/message"
)

// Bounds of what is known of the reads of a connection.
const (
	readsFor  = 2 * time.Second // in which a read is stored, or never in time
	maxReads  = 8               // links
	roundsFor = time.Second     // until a question is asked all the same
)

// sentRead is a link on which a client's reads were sent a moment ago.
type sentRead struct {
	link *link.Link
	conv im.Conversation // one of them
	at   time.Time
}

// noteRead remembers where a read was sent, the latest last. On the event loop
// of the connection.
func (c *client) noteRead(l *link.Link, conv im.Conversation, now time.Time) {
	c.reads = slices.DeleteFunc(c.reads, func(r sentRead) bool { return r.link == l || now.Sub(r.at) > readsFor })
	if len(c.reads) == maxReads {
		c.reads = slices.Delete(c.reads, 0, 1)
	}
	c.reads = append(c.reads, sentRead{l, conv, now})
}

// unreadCount asks what is unread, 0307, behind the reads that the connection
// sent before: on the link they were sent on, where db_proxy answers it when
// they are stored. When they were sent on several, all but one are asked
// first, and their answers dropped. Source: docs/protocol/flows.md §8.2.
func (s *Server) unreadCount(c *client, pdu wire.PDU) {
	req := new(message.IMUnreadMsgCntReq)
	if err := proto.Unmarshal(pdu.Body, req); err != nil {
		s.metrics.dropped("bad_body")
		return
	}
	now := s.clock()
	var links []*link.Link
	for _, r := range c.reads {
		if now.Sub(r.at) <= readsFor && s.db.Owner(r.conv) == r.link && r.link.Has(link.CapStore) {
			links = append(links, r.link)
		}
	}
	q := unreadAsk{client: c, pdu: wire.PDU{Header: pdu.Header}, req: req, at: now}
	if len(links) == 0 {
		c.reads = nil
		q.link = s.db.Login(c.conn.ID())
		s.askUnread(&q)
		return
	}
	last := len(links) - 1
	q.link, q.left = links[last], last
	if last == 0 {
		s.askUnread(&q)
		return
	}
	identify(req, c)
	id := s.rounds.add(&q)
	req.AttachData = attach(attachKindRound, id)
	for _, l := range links[:last] {
		l.SendMessage(wire.UnreadCountReq, 0, req)
	}
}

func (s *Server) askUnread(q *unreadAsk) { s.ask(q.client, q.link, q.pdu, q.req) }

// unreadAnswer is the answer to a client's question, or one that it waits for.
func (s *Server) unreadAnswer(l *link.Link, pdu wire.PDU) {
	note, _, ok := pdubody.TakeAttach(pdu.Body)
	if !ok {
		s.metrics.dropped("bad_body")
		return
	}
	if id := attached(attachKindRound, note); id != 0 {
		if q := s.rounds.take(id); q != nil {
			s.askUnread(q)
		}
		return
	}
	s.pass(l, pdu)
}

// unreadAsk is what a client asks when others have answered.
type unreadAsk struct {
	client *client
	pdu    wire.PDU // without body
	req    *message.IMUnreadMsgCntReq
	link   *link.Link
	at     time.Time
	left   int // answers
}

// rounds are questions that wait for answers. Safe from any goroutine.
type rounds struct {
	mu      sync.Mutex // guards the fields below; a leaf
	lastID  uint64
	waiting map[uint64]*unreadAsk
}

func (r *rounds) add(q *unreadAsk) uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.waiting == nil {
		r.waiting = map[uint64]*unreadAsk{}
	}
	r.lastID++
	r.waiting[r.lastID] = q
	return r.lastID
}

// take counts an answer and returns the question when it was the last one.
func (r *rounds) take(id uint64) *unreadAsk {
	r.mu.Lock()
	defer r.mu.Unlock()
	q := r.waiting[id]
	if q == nil {
		return nil
	}
	if q.left--; q.left > 0 {
		return nil
	}
	delete(r.waiting, id)
	return q
}

// overdue takes out the questions that have waited long enough.
func (r *rounds) overdue(now time.Time) (due []*unreadAsk) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for id, q := range r.waiting {
		if now.Sub(q.at) > roundsFor {
			delete(r.waiting, id)
			due = append(due, q)
		}
	}
	return due
}
