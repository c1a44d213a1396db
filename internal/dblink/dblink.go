// Package dblink owns the links to the db_proxies: which are open, which of
// them serves log-ins, and which db_proxy owns a conversation.
//
// Every configured address has at least two connections: the first half for
// log-ins and what clients ask at start, the rest for everything else.
// Source: config.md §4, docs/architecture.md.
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
}

// Links is the set of all links to db_proxies. Safe from any goroutine.
type Links struct {
	node    *link.Node
	handler Handler
	proxies []*proxy
}

// proxy is one configured address.
type proxy struct {
	addr    string
	hash    uint64
	login   []*slot
	general []*slot
}

// slot is one connection, which comes and goes.
type slot struct {
	links *Links
	// live is the link while requests may be sent on it.
	live atomic.Pointer[link.Link]
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
			s := &slot{links: l}
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
			keepers.Go(func() { l.node.Keep(ctx, engine, p.addr, s) })
		}
	}
	keepers.Wait()
}

// LinkUp is link.Handler's.
func (s *slot) LinkUp(l *link.Link) { s.live.Store(l) }

// LinkDown is link.Handler's.
func (s *slot) LinkDown(l *link.Link) {
	s.live.CompareAndSwap(l, nil)
	s.links.handler.DBDown(l)
}

// LinkPDU is link.Handler's. After 0702 nothing more is sent on the link;
// what it still answers is taken. Source: flows.md §2.
func (s *slot) LinkPDU(l *link.Link, pdu wire.PDU) {
	if pdu.Command == wire.StopReceive {
		s.live.CompareAndSwap(l, nil)
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

func (l *Links) spread(seed uint64, pick func(*proxy, uint64) *link.Link) *link.Link {
	seed = mix(seed)
	for i := range l.proxies {
		if found := pick(l.proxies[(seed+uint64(i))%uint64(len(l.proxies))], seed>>8); found != nil {
			return found
		}
	}
	return nil
}

// Owner returns the link to the db_proxy that owns a conversation: the same
// choice in every msg_server that sees the same db_proxies, and one and the
// same connection to it, so that the order of sending holds. nil if none is
// open.
func (l *Links) Owner(conv im.Conversation) *link.Link {
	hash := conv.Hash()
	var (
		best  *link.Link
		score uint64
	)
	for _, p := range l.proxies {
		if s := mix(hash ^ p.hash); best == nil || s > score {
			if found := p.generalFirst(hash); found != nil {
				best, score = found, s
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
