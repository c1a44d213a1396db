package msgserver

import (
	"context"
	"sync"
	"time"

	"teamtalk/internal/im"
	"teamtalk/internal/link"
	"teamtalk/internal/trace"
	"teamtalk/internal/wire"
	"teamtalk/pb/message"
)

// Bounds of the sends under way. Clients give up after five seconds.
const (
	sendPatience   = 4 * time.Second // until a send is given up
	maxPending     = 200_000         // sends under way on one server
	originalCredit = 4096            // unanswered requests an original db_proxy gets
	maxStuck       = 1000            // lines that a sweep tries in vain
)

// pending is a message that a client sent and that is being stored.
type pending struct {
	client      *client
	connID      uint64
	user        im.UserID
	seq         uint16
	conv        im.Conversation
	created     time.Time
	clientMsgID string
	op          im.OperationID
	former      im.OperationID // what an earlier version made of the same id; zero: nothing
	msg         *message.IMMsgData
	repeat      *repeat
	shared      *sharedFile // of a file_server, without a client; nil for all others

	// Guarded by sends.mu until it is finished.
	id             uint64
	link           *link.Link // where it was sent; nil while it waits for one
	due            time.Time  // when it may be sent
	tries          int
	line           *line
	behind         *pending // waits behind it in its line
	older, younger *pending // its neighbours in sends
}

// done takes p off the account of its client.
func (p *pending) done() {
	if p.client != nil {
		p.client.inFlight.Add(-1)
	}
}

func (p *pending) turn() turn { return turn{p.connID, p.conv} }

// sends holds what is being stored, finds it by the number in attach_data,
// and sends it again when its db_proxy is lost. Safe from any goroutine.
type sends struct {
	server *Server

	// mu guards all below. It is held while a message is appended to the
	// buffer of its link: the order of the numbers is the order on the wire.
	mu      sync.Mutex
	lastID  uint64
	pending map[uint64]*pending
	// The pending ones are linked in the order in which they were started,
	// which is that in which their time is over.
	oldest, youngest *pending
	lines            lines
	// unanswered counts the sends on each link.
	unanswered map[*link.Link]int
}

func newSends(s *Server) *sends {
	return &sends{
		server: s, pending: map[uint64]*pending{},
		lines: lines{byTurn: map[turn]*line{}}, unanswered: map[*link.Link]int{},
	}
}

// start sends a message to the owner of its conversation, after a delay.
func (s *sends) start(p *pending, delay time.Duration) {
	s.mu.Lock()
	if len(s.pending) >= maxPending {
		s.mu.Unlock()
		p.done()
		s.server.fail(p, im.Busy)
		return
	}
	defer s.mu.Unlock()
	s.add(p)
	p.line = s.lines.of(p.turn())
	if delay > 0 || p.line.first != nil || !s.dispatch(p) {
		p.due = p.created.Add(delay)
		p.line.append(p)
		s.lines.settle(p.line, p.created)
	}
}

// add is called with mu held.
func (s *sends) add(p *pending) {
	s.lastID++
	p.id = s.lastID
	s.pending[p.id] = p
	p.older = s.youngest
	if s.youngest == nil {
		s.oldest = p
	} else {
		s.youngest.younger = p
	}
	s.youngest = p
	s.server.metrics.inFlight.Inc()
}

// dispatch sends p on the link of its owner; false if there is none, its
// credit is used up, or something of the turn is unanswered on another link.
// Called with mu held.
func (s *sends) dispatch(p *pending) bool {
	l := s.server.db.Owner(p.conv)
	at := p.line
	if l == nil || at.sent > 0 && at.link != l {
		return false
	}
	credit := int(l.Peer().Credit)
	if credit == 0 {
		credit = originalCredit
	}
	if s.unanswered[l] >= credit {
		return false
	}
	s.unanswered[l]++
	at.link = l
	at.sent++
	p.link = l
	p.tries++
	m := p.msg
	m.AttachData = attach(attachKindSend, p.id)
	if l.Has(link.CapStore) {
		m.OperationId = p.op[:]
		if !p.former.IsZero() {
			m.FormerOperationId = p.former[:]
		}
	}
	l.SendMessage(wire.MsgData, p.seq, m)
	if p.tries > 1 {
		s.server.traceSender(p, trace.Forwarded, 0, s.server.clock(), uint32(p.tries))
	}
	m.AttachData, m.OperationId, m.FormerOperationId = nil, nil, nil
	return true
}

// finish takes a send out when its answer came; nil if it is not under way
// any more.
func (s *sends) finish(id uint64) *pending {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.pending[id]
	if p != nil {
		s.remove(p)
	}
	return p
}

// remove is called with mu held.
func (s *sends) remove(p *pending) {
	delete(s.pending, p.id)
	if p.older == nil {
		s.oldest = p.younger
	} else {
		p.older.younger = p.younger
	}
	if p.younger == nil {
		s.youngest = p.older
	} else {
		p.younger.older = p.older
	}
	p.older, p.younger = nil, nil
	if p.link == nil {
		p.line.remove(p)
	}
	s.release(p)
	s.lines.settle(p.line, p.created)
	p.done()
	s.server.metrics.inFlight.Dec()
}

// release takes p off its link, if it is on one. Called with mu held.
func (s *sends) release(p *pending) {
	if p.link == nil {
		return
	}
	if s.unanswered[p.link]--; s.unanswered[p.link] <= 0 {
		delete(s.unanswered, p.link)
	}
	p.link = nil
	if p.line.sent--; p.line.sent == 0 {
		p.line.link = nil
	}
}

// lost makes the sends of a link that ended wait for another link, before those
// that came later: their operation ids find what was stored. An original db_proxy
// stores no operation ids: what it may have stored is given up, not stored
// twice. Source: docs/protocol/defects.md A1.
func (s *sends) lost(l *link.Link) {
	now := s.server.clock()
	s.mu.Lock()
	var over []*pending
	var older *pending
	for p := s.youngest; p != nil; p = older {
		older = p.older
		switch {
		case p.link != l:
		case l.Original():
			s.remove(p)
			over = append(over, p)
		default:
			s.release(p)
			p.line.prepend(p)
			s.lines.settle(p.line, now)
		}
	}
	s.mu.Unlock()
	for _, p := range over {
		s.server.fail(p, im.Unavailable)
	}
}

// sweep gives up what waited too long, and sends what waits.
func (s *sends) sweep() {
	now := s.server.clock()
	s.mu.Lock()
	var over []*pending
	for p := s.oldest; p != nil && now.Sub(p.created) > sendPatience; p = s.oldest {
		s.remove(p)
		over = append(over, p)
	}
	s.lines.wake(now)
	s.lines.send(now, s.dispatch)
	s.mu.Unlock()
	for _, p := range over {
		s.server.fail(p, im.Unavailable)
	}
}

// wait returns when nothing is under way, or ctx ends.
func (s *sends) wait(ctx context.Context) {
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for s.count() > 0 {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

func (s *sends) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.pending)
}
