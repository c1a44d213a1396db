package msgserver

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/binary"
	"slices"
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
	msg         *message.IMMsgData
	repeat      *repeat
	shared      *sharedFile // of a file_server, without a client; nil for all others

	// Guarded by sends.mu until it is finished.
	id    uint64
	link  *link.Link // where it was sent; nil while it waits for one
	due   time.Time  // when it may be sent
	tries int
}

// turn is what one connection sends to one conversation: it keeps its order,
// and waits for nobody else's.
type turn struct {
	connID uint64
	conv   im.Conversation
}

// progress is where the sends of a turn are: all that are being stored are on
// one link, so that none overtakes another when the conversation changes its
// owner. Source: defect A6.
type progress struct {
	waiting int        // in sends.waiting
	sent    int        // on link, unanswered
	link    *link.Link // nil if sent is 0
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
	// waiting have no link, or are not due yet; ascending by id.
	waiting []*pending
	turns   map[turn]progress // of those with a send under way
	// unanswered counts the sends on each link.
	unanswered map[*link.Link]int
}

func newSends(s *Server) *sends {
	return &sends{
		server: s, pending: map[uint64]*pending{},
		turns: map[turn]progress{}, unanswered: map[*link.Link]int{},
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
	s.lastID++
	p.id = s.lastID
	s.pending[p.id] = p
	s.server.metrics.inFlight.Inc()
	if delay > 0 || s.turns[p.turn()].waiting > 0 || !s.dispatch(p) {
		p.due = p.created.Add(delay)
		s.hold(p)
	}
}

// hold is called with mu held; p is younger than all that wait.
func (s *sends) hold(p *pending) {
	s.waiting = append(s.waiting, p)
	at := s.turns[p.turn()]
	at.waiting++
	s.turns[p.turn()] = at
}

// unhold is called with mu held, when p leaves waiting.
func (s *sends) unhold(p *pending) {
	at := s.turns[p.turn()]
	at.waiting--
	s.put(p.turn(), at)
}

// put is called with mu held; a turn with nothing under way is forgotten.
func (s *sends) put(t turn, at progress) {
	if at.sent == 0 {
		at.link = nil
	}
	if at == (progress{}) {
		delete(s.turns, t)
		return
	}
	s.turns[t] = at
}

// dispatch sends p on the link of its owner; false if there is none, its
// credit is used up, or something of the turn is unanswered on another link.
// Called with mu held.
func (s *sends) dispatch(p *pending) bool {
	l := s.server.db.Owner(p.conv)
	at := s.turns[p.turn()]
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
	s.turns[p.turn()] = at
	p.link = l
	p.tries++
	m := p.msg
	m.AttachData = attach(attachKindSend, p.id)
	if l.Has(link.CapStore) {
		m.OperationId = p.op[:]
	}
	l.SendMessage(wire.MsgData, p.seq, m)
	if p.tries > 1 {
		s.server.traceSender(p, trace.Forwarded, 0, s.server.clock(), uint32(p.tries))
	}
	m.AttachData, m.OperationId = nil, nil
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

// remove is called with mu held; p may still stand in waiting.
func (s *sends) remove(p *pending) {
	delete(s.pending, p.id)
	s.release(p)
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
	at := s.turns[p.turn()]
	at.sent--
	s.put(p.turn(), at)
}

// lost makes the sends of a link that ended wait for another one, before
// those that came later: their operation ids find what was stored. An
// original db_proxy stores no operation ids: what it may have stored is given
// up, not stored twice. Source: defect A1.
func (s *sends) lost(l *link.Link) {
	s.mu.Lock()
	var over []*pending
	for _, p := range s.pending {
		switch {
		case p.link != l:
		case l.Original():
			s.remove(p)
			over = append(over, p)
		default:
			s.release(p)
			s.hold(p)
		}
	}
	slices.SortFunc(s.waiting, func(a, b *pending) int { return cmp.Compare(a.id, b.id) })
	s.mu.Unlock()
	for _, p := range over {
		s.server.fail(p, im.Unavailable)
	}
}

// sweep sends what waits, in the order in which it came, and gives up what
// waited too long.
func (s *sends) sweep() {
	now := s.server.clock()
	s.mu.Lock()
	var over []*pending
	for _, p := range s.pending {
		if now.Sub(p.created) > sendPatience {
			s.remove(p)
			over = append(over, p)
		}
	}
	stuck := map[turn]bool{}
	s.waiting = slices.DeleteFunc(s.waiting, func(p *pending) bool {
		gone := s.pending[p.id] == nil
		if !gone {
			gone = !stuck[p.turn()] && !now.Before(p.due) && s.dispatch(p)
			stuck[p.turn()] = !gone
		}
		if gone {
			s.unhold(p)
		}
		return gone
	})
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

// operationID makes the id under which a message is stored: that of the
// client where it is a UUID, a digest of it where it is not, and one that
// rises with time where there is none.
func operationID(clientMsgID string, now time.Time) (id im.OperationID) {
	if clientMsgID != "" {
		return im.OperationOf(clientMsgID)
	}
	_, _ = rand.Read(id[6:]) // never fails
	var ms [8]byte
	binary.BigEndian.PutUint64(ms[:], uint64(now.UnixMilli()))
	copy(id[:6], ms[2:])
	id[6] = id[6]&0x0f | 0x70
	id[8] = id[8]&0x3f | 0x80
	return id
}
