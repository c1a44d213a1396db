// Package dblink owns the links to the db_proxies: which are open, which of
// them serves log-ins, and which db_proxy owns a conversation.
//
// Every configured address has at least two connections: the first half for
// log-ins and what clients ask at start, the rest for everything else.
// Source: docs/protocol/config.md §4; docs/architecture.md.
package dblink

import (
	"context"
	"hash/fnv"
	"slices"
	"sync"
	"sync/atomic"

	"teamtalk/internal/im"
	"teamtalk/internal/link"
	"teamtalk/internal/transport"
	"teamtalk/internal/wire"
)

// Handler receives what the db_proxies send, on event loops.
type Handler interface {
	DBPDU(l *link.Link, pdu wire.PDU)
	// DBDown says that nothing more comes from l; requests without an answer
	// have none.
	DBDown(l *link.Link)
	// DBMoved says that the database behind l is away while another db_proxy is
	// well: questions without an answer are better asked there. An answer may
	// come all the same, and a message may be stored yet.
	DBMoved(l *link.Link)
	// DBEpoch says that the database went back to an earlier state, or was
	// replaced: what was known of it does not hold.
	DBEpoch()
}

// Links is the set of all links to db_proxies. Safe from any goroutine.
type Links struct {
	node    *link.Node
	handler Handler
	proxies []*proxy
	storage storage
}

// proxy is one configured address.
type proxy struct {
	addr    string
	hash    uint64
	login   []*slot
	general []*slot
	// away says that its database is. Such a db_proxy is asked when no other
	// one can be.
	away atomic.Bool
}

// slot is one connection, which comes and goes.
type slot struct {
	links *Links
	proxy *proxy
	// live is the link while requests may be sent on it.
	live atomic.Pointer[link.Link]

	away    bool       // what its db_proxy said last; guarded by storage.mu
	stopped *link.Link // the link on which 0702 came; owned by its event loop
}

// New returns links that Run opens. addrs may name an address more than
// once; each entry stands for perEntry connections.
func New(addrs []string, perEntry int, node *link.Node, h Handler) *Links {
	l := &Links{node: node, handler: h}
	byAddr := map[string]*proxy{}
	counts := map[string]int{}
	for _, addr := range addrs {
		if byAddr[addr] == nil {
			f := fnv.New64a()
			_, _ = f.Write([]byte(addr)) // never fails
			byAddr[addr] = &proxy{addr: addr, hash: f.Sum64()}
			l.proxies = append(l.proxies, byAddr[addr])
		}
		counts[addr] += perEntry
	}
	for _, p := range l.proxies {
		n := max(counts[p.addr], 2)
		for i := range n {
			s := &slot{links: l, proxy: p}
			if i < n/2 {
				p.login = append(p.login, s)
			} else {
				p.general = append(p.general, s)
			}
		}
	}
	return l
}

// Run keeps the links open until ctx ends.
func (l *Links) Run(ctx context.Context, engine *transport.Engine) {
	var keepers sync.WaitGroup
	for _, p := range l.proxies {
		for _, s := range slices.Concat(p.login, p.general) {
			keepers.Go(func() { l.node.Keep(ctx, engine, "db_proxy", p.addr, s) })
		}
	}
	keepers.Wait()
}

// LinkUp is link.Handler's. A db_proxy that can say how its database is does so
// before it is asked anything.
func (s *slot) LinkUp(l *link.Link) {
	if l.Has(link.CapState) {
		l.SendMessage(wire.StorageSeen, 0, s.links.storage.seen())
		return
	}
	s.live.Store(l)
}

// LinkDown is link.Handler's.
func (s *slot) LinkDown(l *link.Link) {
	s.live.CompareAndSwap(l, nil)
	s.links.storageIs(s, false)
	s.links.handler.DBDown(l)
}

// LinkPDU is link.Handler's. After 0702 nothing more is sent on the link;
// what it still answers is taken. Source: docs/protocol/flows.md §2.
func (s *slot) LinkPDU(l *link.Link, pdu wire.PDU) {
	if pdu.Command == wire.StopReceive {
		s.live.CompareAndSwap(l, nil)
		s.stopped = l
		return
	}
	if pdu.Command == wire.StorageState {
		s.storageState(l, pdu.Body)
		return
	}
	s.links.handler.DBPDU(l, pdu)
}

// Open reports whether any db_proxy can be asked.
func (l *Links) Open() bool { return l.Login(0) != nil }

// Originals reports whether an original db_proxy is among those that can be
// asked.
func (l *Links) Originals() bool {
	original := func(s *slot) bool {
		found := s.live.Load()
		return found != nil && found.Original()
	}
	return slices.ContainsFunc(l.proxies, func(p *proxy) bool {
		return slices.ContainsFunc(p.general, original) || slices.ContainsFunc(p.login, original)
	})
}

// All reports whether every db_proxy that can be asked has a capability.
func (l *Links) All(capability string) bool {
	lacks := func(s *slot) bool {
		found := s.live.Load()
		return found != nil && !found.Has(capability)
	}
	return !slices.ContainsFunc(l.proxies, func(p *proxy) bool {
		return slices.ContainsFunc(p.general, lacks) || slices.ContainsFunc(p.login, lacks)
	})
}

// Login returns a link for log-ins and for what clients ask at start; nil if
// none is open. Equal seeds get the same link while it lives.
func (l *Links) Login(seed uint64) *link.Link { return l.spread(seed, (*proxy).loginFirst) }

// General returns a link for requests of no conversation; nil if none is open.
func (l *Links) General(seed uint64) *link.Link { return l.spread(seed, (*proxy).generalFirst) }

func (l *Links) spread(seed uint64, pick func(*proxy, uint64) *link.Link) (best *link.Link) {
	seed = mix(seed)
	for i := range l.proxies {
		p := l.proxies[(seed+uint64(i))%uint64(len(l.proxies))]
		switch found := pick(p, seed>>8); {
		case found == nil:
		case !p.away.Load():
			return found
		case best == nil:
			best = found
		}
	}
	return best
}

// Owner returns the link to the db_proxy that owns a conversation: the same
// choice in every msg_server that sees the same db_proxies, and one and the
// same connection to it, so that the order of sending holds. One whose database is
// away owns nothing while another one is well. nil if none is open.
func (l *Links) Owner(conv im.Conversation) *link.Link {
	hash := conv.Hash()
	var (
		best  *link.Link
		away  bool // best is
		score uint64
	)
	for _, p := range l.proxies {
		s, ill := mix(hash^p.hash), p.away.Load()
		if best == nil || away && !ill || away == ill && s > score {
			if found := p.generalFirst(hash); found != nil {
				best, away, score = found, ill, s
			}
		}
	}
	return best
}

func (p *proxy) generalFirst(seed uint64) *link.Link {
	if found := liveOf(p.general, seed); found != nil {
		return found
	}
	return liveOf(p.login, seed)
}

func (p *proxy) loginFirst(seed uint64) *link.Link {
	if found := liveOf(p.login, seed); found != nil {
		return found
	}
	return liveOf(p.general, seed)
}

func liveOf(slots []*slot, seed uint64) *link.Link {
	for i := range slots {
		if found := slots[(seed+uint64(i))%uint64(len(slots))].live.Load(); found != nil {
			return found
		}
	}
	return nil
}

// mix is the finaliser of splitmix64.
func mix(h uint64) uint64 {
	h ^= h >> 30
	h *= 0xbf58476d1ce4e5b9
	h ^= h >> 27
	h *= 0x94d049bb133111eb
	return h ^ h>>31
}
