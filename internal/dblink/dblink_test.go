package dblink

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"teamtalk/internal/im"
	"teamtalk/internal/link"
	"teamtalk/internal/wire"
)

// recorder is the Handler of a test.
type recorder struct {
	pdus []wire.Command
	down []*link.Link

	moved  []*link.Link
	epochs int
}

func (r *recorder) DBPDU(_ *link.Link, pdu wire.PDU) { r.pdus = append(r.pdus, pdu.Command) }
func (r *recorder) DBDown(l *link.Link)              { r.down = append(r.down, l) }
func (r *recorder) DBMoved(l *link.Link)             { r.moved = append(r.moved, l) }
func (r *recorder) DBEpoch()                         { r.epochs++ }

// network is a set of links that come and go at the word of the test: a Link
// is nothing but its identity here.
type network struct {
	*Links
	recorder recorder
	addr     map[*link.Link]string
	slotOf   map[*link.Link]*slot
}

func newNetwork(perEntry int, addrs ...string) *network {
	n := &network{addr: map[*link.Link]string{}, slotOf: map[*link.Link]*slot{}}
	n.Links = New(addrs, perEntry, nil, &n.recorder)
	return n
}

// all returns the slots of an address, those for log-ins first.
func (n *network) all(addr string) []*slot {
	for _, p := range n.proxies {
		if p.addr == addr {
			return slices.Concat(p.login, p.general)
		}
	}
	return nil
}

func (n *network) up(addr string, which ...int) {
	for i, s := range n.all(addr) {
		if len(which) == 0 || slices.Contains(which, i) {
			l := new(link.Link)
			n.addr[l], n.slotOf[l] = addr, s
			s.LinkUp(l)
		}
	}
}

func (n *network) down(addr string) {
	for _, s := range n.all(addr) {
		if l := s.live.Load(); l != nil {
			s.LinkDown(l)
		}
	}
}

// owners maps every conversation to the address that owns it.
func (n *network) owners() map[im.Conversation]string {
	owners := map[im.Conversation]string{}
	for i := range uint32(3000) {
		owners[im.SingleOf(im.UserID(i+1), im.UserID(7*i+2))] = ""
		owners[im.GroupOf(im.GroupID(i+1))] = ""
	}
	for conv := range owners {
		owners[conv] = n.addr[n.Owner(conv)]
	}
	return owners
}

const a, b, c = "10.0.0.1:10600", "10.0.0.2:10600", "db-3:10600"

// The owner is the same in every server, however its addresses are ordered
// and repeated; a db_proxy that goes takes only its own conversations along,
// and gets the same ones back.
func TestOwnerIsStable(t *testing.T) {
	t.Parallel()
	first := newNetwork(2, a, b, c)
	first.up(a)
	first.up(b)
	first.up(c)
	before := first.owners()
	count := map[string]int{}
	for _, addr := range before {
		count[addr]++
	}
	for _, addr := range []string{a, b, c} {
		if n := count[addr]; n < len(before)/4 || n > len(before)/2 {
			t.Errorf("%s owns %d of %d conversations", addr, n, len(before))
		}
	}
	for _, addrs := range [][]string{{c, b, a}, {b, a, b, c, b}} {
		other := newNetwork(5, addrs...)
		other.up(c, 3)
		other.up(b)
		other.up(a, 0, 4)
		for conv, addr := range other.owners() {
			if addr != before[conv] {
				t.Fatalf("%v: owner %q with %v, %q with %v", conv, addr, addrs, before[conv], []string{a, b, c})
			}
		}
	}
	first.down(b)
	for conv, addr := range first.owners() {
		if addr == b || before[conv] != b && addr != before[conv] {
			t.Fatalf("%v: owner %q, was %q, and only %q went", conv, addr, before[conv], b)
		}
	}
	first.up(b)
	for conv, addr := range first.owners() {
		if addr != before[conv] {
			t.Fatalf("%v: owner %q, was %q", conv, addr, before[conv])
		}
	}
	first.down(a)
	first.down(b)
	first.down(c)
	if l := first.Owner(im.GroupOf(1)); l != nil || first.Open() {
		t.Error("an owner among no links")
	}
}

// One conversation uses one connection, so that the order of sending holds.
func TestOwnerUsesOneConnection(t *testing.T) {
	t.Parallel()
	n := newNetwork(8, a)
	n.up(a)
	used := map[*link.Link]bool{}
	for i := range im.GroupID(100) {
		l := n.Owner(im.GroupOf(i))
		used[l] = true
		if again := n.Owner(im.GroupOf(i)); again != l {
			t.Fatalf("group %d: another connection", i)
		}
		if slices.Contains(n.proxies[0].login, n.slotOf[l]) {
			t.Errorf("group %d uses a connection for log-ins", i)
		}
	}
	if len(used) != 4 {
		t.Errorf("%d connections of 4 used", len(used))
	}
}

// The first half of the connections is for log-ins; either half steps in for
// the other.
func TestHalves(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		perEntry       int
		addrs          []string
		login, general int
	}{
		"at least one each": {1, []string{a}, 1, 1},
		"even":              {10, []string{a}, 5, 5},
		"odd":               {3, []string{a}, 1, 2},
		"repeated":          {1, []string{a, a, a}, 1, 2},
		"of two":            {2, []string{a, b}, 1, 1},
	}
	for name, tc := range cases {
		n := newNetwork(tc.perEntry, tc.addrs...)
		p := n.proxies[0]
		if len(p.login) != tc.login || len(p.general) != tc.general {
			t.Errorf("%s: %d for log-ins, %d general; want %d, %d", name, len(p.login), len(p.general), tc.login, tc.general)
		}
	}

	n := newNetwork(4, a, b)
	n.up(a)
	n.up(b)
	isLogin := func(l *link.Link) bool {
		return slices.ContainsFunc(n.proxies, func(p *proxy) bool { return slices.Contains(p.login, n.slotOf[l]) })
	}
	usedBy := map[string]int{}
	for seed := range uint64(200) {
		l := n.Login(seed)
		if !isLogin(l) || isLogin(n.General(seed)) {
			t.Fatalf("seed %d: log-in on a general connection, or the other way round", seed)
		}
		if general := n.General(seed); n.Login(seed) != l || n.General(seed) != general {
			t.Fatalf("seed %d: not the same link again", seed)
		}
		usedBy[n.addr[l]]++
	}
	if usedBy[a] < 60 || usedBy[b] < 60 {
		t.Errorf("log-ins by address: %v", usedBy)
	}
	for _, p := range n.proxies {
		for _, s := range p.login {
			s.LinkDown(s.live.Load())
		}
	}
	if l := n.Login(1); l == nil || isLogin(l) || !n.Open() {
		t.Error("general connections do not step in")
	}
	n.down(a)
	n.down(b)
	n.up(b, 0)
	if n.General(1) == nil || n.General(1) != n.Owner(im.GroupOf(1)) || n.General(1) != n.Login(9) {
		t.Error("the only link there is must serve everything")
	}
}

// A db_proxy that stops is asked nothing more and still heard; its end is
// told once for each link.
func TestStopReceive(t *testing.T) {
	t.Parallel()
	n := newNetwork(2, a, b)
	n.up(a)
	n.up(b)
	var links []*link.Link
	for _, s := range n.all(a) {
		l := s.live.Load()
		links = append(links, l)
		s.LinkPDU(l, wire.PDU{Header: wire.Header{Command: wire.StopReceive}})
		s.LinkPDU(l, wire.PDU{Header: wire.Header{Command: wire.MsgData}})
	}
	for conv, addr := range n.owners() {
		if addr != b {
			t.Fatalf("%v still goes to %s", conv, addr)
		}
	}
	if len(n.recorder.pdus) != 2 || len(n.recorder.down) != 0 {
		t.Fatalf("heard %v, %d down", n.recorder.pdus, len(n.recorder.down))
	}
	// The next link may be up before the end of the old one is told.
	n.up(a)
	for i, s := range n.all(a) {
		s.LinkDown(links[i])
	}
	if !slices.Equal(n.recorder.down, links) {
		t.Error("the end of the links was not told")
	}
	if !slices.Contains(slices.Collect(maps.Values(n.owners())), a) {
		t.Error("the new links are not used")
	}
}

// While links come and go, whoever asks gets a link that is there.
func TestConcurrently(t *testing.T) {
	t.Parallel()
	n := newNetwork(4, a, b)
	n.up(b)
	stop := make(chan struct{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			default:
			}
			for _, s := range n.proxies[0].general {
				l := new(link.Link)
				s.LinkUp(l)
				s.live.CompareAndSwap(l, nil)
			}
		}
	}()
	for range 20_000 {
		if n.Owner(im.GroupOf(im.GroupID(rand.Uint32()))) == nil || n.Login(rand.Uint64()) == nil {
			t.Fatal("no link, and b was there all the time")
		}
	}
	close(stop)
	<-done
}

func BenchmarkOwner(bench *testing.B) {
	for _, proxies := range []int{1, 4} {
		bench.Run(fmt.Sprintf("proxies=%d", proxies), func(bench *testing.B) {
			var addrs []string
			for i := range proxies {
				addrs = append(addrs, fmt.Sprintf("10.0.0.%d:10600", i))
			}
			n := newNetwork(10, addrs...)
			for _, addr := range addrs {
				n.up(addr)
			}
			bench.ReportAllocs()
			for i := range bench.N {
				n.Owner(im.GroupOf(im.GroupID(i)))
			}
		})
	}
}
