package msgserver

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"teamtalk/internal/im"
	"teamtalk/internal/link"
	"teamtalk/internal/wire"
	"teamtalk/pb/message"
)

// Bounds of the sends under way. Clients give up after five seconds.
const (
	sendPatience   = 4 * time.Second // until a send is given up
	resendEvery    = 100 * time.Millisecond
	maxPending     = 200_000 // sends under way on one server
	originalCredit = 4096    // unanswered requests an original db_proxy gets
	sendShards     = 16
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

	// Guarded by the shard.
	id    uint64
	link  *link.Link // where it was sent; nil while it waits for one
	due   time.Time  // when it is sent, or sent again
	tries int
}

// sends holds what is being stored, finds it by the number in attach_data,
// and sends it again when its db_proxy is lost. Safe from any goroutine.
type sends struct {
	server *Server
	nextID atomic.Uint64
	count  atomic.Int64
	shards [sendShards]sendShard
	unsent sync.Map // *link.Link → *atomic.Int64, unanswered sends of a link
}

type sendShard struct {
	mu      sync.Mutex // guards all below; a leaf
	pending map[uint64]*pending
	waiting map[uint64]*pending // those without a link, or not due yet
}

func newSends(s *Server) *sends {
	all := &sends{server: s}
	for i := range all.shards {
		all.shards[i].pending = map[uint64]*pending{}
		all.shards[i].waiting = map[uint64]*pending{}
	}
	return all
}

func (s *sends) shard(id uint64) *sendShard { return &s.shards[id%sendShards] }

// start sends a message to the owner of its conversation.
func (s *sends) start(p *pending) {
	if s.count.Add(1) > maxPending {
		s.count.Add(-1)
		p.client.inFlight.Add(-1)
		s.server.fail(p, im.Busy)
		return
	}
	s.server.metrics.inFlight.Inc()
	p.id = s.nextID.Add(1)
	sh := s.shard(p.id)
	sh.mu.Lock()
	sh.pending[p.id] = p
	s.dispatch(sh, p)
	sh.mu.Unlock()
}

// later sends a message when its connection's allowance lets it.
func (s *sends) later(p *pending, wait time.Duration) {
	s.count.Add(1)
	s.server.metrics.inFlight.Inc()
	p.id = s.nextID.Add(1)
	p.due = p.created.Add(wait)
	sh := s.shard(p.id)
	sh.mu.Lock()
	sh.pending[p.id] = p
	sh.waiting[p.id] = p
	sh.mu.Unlock()
}

// dispatch sends p on the link of its owner, or lets it wait for one. The
// lock of the shard is held: Link.Send only appends to a buffer.
func (s *sends) dispatch(sh *sendShard, p *pending) {
	l := s.server.db.Owner(p.conv)
	if l == nil || !s.admit(l) {
		p.link, p.due = nil, s.server.clock().Add(resendEvery)
		sh.waiting[p.id] = p
		return
	}
	delete(sh.waiting, p.id)
	p.link = l
	p.tries++
	m := p.msg
	m.AttachData = attach(attachKindSend, p.id)
	if l.Has(link.CapStore) {
		m.OperationId = p.op[:]
	}
	l.SendMessage(wire.MsgData, p.seq, m)
	m.AttachData, m.OperationId = nil, nil
}

// admit counts a send against the credit of a link.
func (s *sends) admit(l *link.Link) bool {
	n := s.counter(l)
	credit := int64(l.Peer().Credit)
	if credit == 0 {
		credit = originalCredit
	}
	if n.Add(1) > credit {
		n.Add(-1)
		return false
	}
	return true
}

func (s *sends) counter(l *link.Link) *atomic.Int64 {
	if n, ok := s.unsent.Load(l); ok {
		return n.(*atomic.Int64)
	}
	n, _ := s.unsent.LoadOrStore(l, new(atomic.Int64))
	return n.(*atomic.Int64)
}

// finish takes a send out when its answer came; nil if it is not under way
// any more.
func (s *sends) finish(id uint64) *pending {
	sh := s.shard(id)
	sh.mu.Lock()
	p := sh.pending[id]
	if p != nil {
		s.remove(sh, p)
	}
	sh.mu.Unlock()
	return p
}

// remove is called with the lock of the shard held.
func (s *sends) remove(sh *sendShard, p *pending) {
	delete(sh.pending, p.id)
	delete(sh.waiting, p.id)
	if p.link != nil {
		s.counter(p.link).Add(-1)
	}
	p.client.inFlight.Add(-1)
	s.count.Add(-1)
	s.server.metrics.inFlight.Dec()
}

// lost makes the sends of a link that ended wait for another one: the
// operation id finds what was stored. Source: defect A1, design of retries in
// docs/protocol.md.
func (s *sends) lost(l *link.Link) {
	now := s.server.clock()
	for i := range s.shards {
		sh := &s.shards[i]
		sh.mu.Lock()
		for id, p := range sh.pending {
			if p.link == l {
				p.link, p.due = nil, now
				sh.waiting[id] = p
			}
		}
		sh.mu.Unlock()
	}
	s.unsent.Delete(l)
}

// sweep sends what waits and gives up what waited too long.
func (s *sends) sweep() {
	now := s.server.clock()
	var over []*pending
	for i := range s.shards {
		sh := &s.shards[i]
		sh.mu.Lock()
		// In the order in which they came, or a conversation's would change.
		for _, p := range inOrder(sh.waiting) {
			if !now.Before(p.due) {
				s.dispatch(sh, p)
			}
		}
		for _, p := range sh.pending {
			if now.Sub(p.created) > sendPatience {
				s.remove(sh, p)
				over = append(over, p)
			}
		}
		sh.mu.Unlock()
	}
	for _, p := range over {
		s.server.fail(p, im.Unavailable)
	}
}

// wait returns when nothing is under way, or ctx ends.
func (s *sends) wait(ctx context.Context) {
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for s.count.Load() > 0 {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// operationID makes the id under which a message is stored: that of the
// client where it is a UUID, a digest of it where it is not, and one that
// rises with time where there is none.
func operationID(clientMsgID string, now time.Time) (id im.OperationID) {
	if clientMsgID != "" {
		if raw, err := hex.DecodeString(strings.ReplaceAll(clientMsgID, "-", "")); err == nil && len(raw) == len(id) {
			return im.OperationID(raw)
		}
		sum := sha256.Sum256([]byte(clientMsgID))
		return im.OperationID(sum[:len(id)])
	}
	_, _ = rand.Read(id[6:]) // never fails
	var ms [8]byte
	binary.BigEndian.PutUint64(ms[:], uint64(now.UnixMilli()))
	copy(id[:6], ms[2:])
	id[6] = id[6]&0x0f | 0x70
	id[8] = id[8]&0x3f | 0x80
	return id
}

// inOrder returns what waits in the order in which it came.
func inOrder(waiting map[uint64]*pending) []*pending {
	if len(waiting) == 0 {
		return nil
	}
	return slices.SortedFunc(maps.Values(waiting), func(a, b *pending) int { return cmp.Compare(a.id, b.id) })
}
