// Package schedule decides what goes wrong when. A plan follows from its seed
// alone: the same seed, length, kinds and system give the same plan.
package schedule

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// Kind is a kind of fault, by the name it has on the command line.
type Kind string

// The kinds.
const (
	Kill     Kind = "kill"     // SIGKILL, back after a while
	Term     Kind = "term"     // SIGTERM, which must end cleanly; back after a while
	Stop     Kind = "stop"     // SIGSTOP for a while
	FlushAll Kind = "flushall" // Redis forgets everything
	Cut      Kind = "cut"      // connections are reset, new ones refused for a while
	Delay    Kind = "delay"
	Throttle Kind = "throttle"
	HalfOpen Kind = "halfopen" // one end vanishes, the other is not told for a while
	DiskFull Kind = "diskfull" // no room under the data for a while
	ReadOnly Kind = "readonly" // the server comes back to data it may not write
	Clock    Kind = "clock"    // the wall clock of a process jumps minutes or hours, forward or back; right after a while
	Client   Kind = "client"   // clients vanish, stall, repeat, or send everything at once

	// Failover: the database's address leads to its replica, which has
	// everything; the old primary stays reachable, takes no writes, and is the
	// replica from then on.
	Failover Kind = "failover"
	// DBAway: one process does not reach the database for a while.
	DBAway Kind = "dbaway"
	// GoBack: the primary is lost with what its replica did not have yet, so
	// that ids go back. There is no replica afterwards: once, near the end.
	GoBack      Kind = "goback"
	Descriptors Kind = "descriptors" // strangers connect until a process has no descriptor left, and stay for a while
	SameID      Kind = "sameid"      // clients use one client_msg_id in all their conversations, and repeat it
	Lists       Kind = "lists"       // one user sends huge lists of members, many at once
)

// Kinds returns every kind.
func Kinds() []Kind {
	return []Kind{
		Kill, Term, Stop, FlushAll, Cut, Delay, Throttle, HalfOpen, DiskFull, ReadOnly, Clock, Client,
		Failover, DBAway, GoBack, Descriptors, SameID, Lists,
	}
}

// ByClients reports whether clients do it, and not the system.
func (k Kind) ByClients() bool { return k == Client || k == SameID || k == Lists }

// Survivable reports whether everybody is promised to go on while nothing else
// is wrong: no conversation stalls, and where it is said, no connection ends.
// The plan lets nothing else begin meanwhile.
func (k Kind) Survivable() bool {
	return k == Failover || k == DBAway || k == Descriptors || k == Lists
}

// Unnoticed reports whether connections of clients that are there must stay.
func (k Kind) Unnoticed() bool { return k == Descriptors || k == Lists }

// Parse reads a list as "kill,term"; "" and "all" are all kinds.
func Parse(list string) ([]Kind, error) {
	if list == "" || list == "all" {
		return Kinds(), nil
	}
	var kinds []Kind
	for name := range strings.SplitSeq(list, ",") {
		kind := Kind(strings.TrimSpace(name))
		if !slices.Contains(Kinds(), kind) {
			return nil, fmt.Errorf("there is no fault %q", name)
		}
		if !slices.Contains(kinds, kind) {
			kinds = append(kinds, kind)
		}
	}
	return kinds, nil
}

// What a Client fault makes clients do, in Fault.Target.
const (
	Vanish = "vanish" // without a word, as when the network is gone
	Stall  = "stall"  // take nothing any more
	Repeat = "repeat" // send again what was acknowledged, here and over another server
	Burst  = "burst"  // send everything at once
)

// Edge is who connects to whom.
type Edge struct{ From, To string }

// System is what can be harmed.
type System struct {
	Processes []string
	Edges     []Edge
	Redis     string   // for FlushAll; "" if there is none
	Clocks    []string // processes whose clock can be moved
	Store     string   // the process whose data DiskFull and ReadOnly are about
	Replica   bool     // Store has one, for Failover and GoBack
	Roles     []string // processes with a bound of descriptors, for Descriptors
}

// stores returns the edges to Store.
func (s *System) stores() (edges []Edge) {
	for _, e := range s.Edges {
		if e.To == s.Store && slices.Contains(s.Processes, e.From) {
			edges = append(edges, e)
		}
	}
	return edges
}

// Supports reports whether a kind of fault can happen to a system.
func (s *System) Supports(k Kind) bool {
	switch k {
	case FlushAll:
		return s.Redis != ""
	case Clock:
		return len(s.Clocks) > 0
	case Failover, GoBack:
		return s.Replica
	case DBAway:
		return len(s.stores()) > 1
	case Descriptors:
		return len(s.Roles) > 0
	default:
		return true
	}
}

// Fault is one planned fault.
type Fault struct {
	N        int           `json:"n"` // from 1
	At       time.Duration `json:"at"`
	Kind     Kind          `json:"kind"`
	Target   string        `json:"target"`         // a process, the end that is connected to, or what clients do
	From     string        `json:"from,omitempty"` // the end that connects
	For      time.Duration `json:"for"`            // until it is healed, or the process started again
	Delay    time.Duration `json:"delay,omitempty"`
	Rate     int           `json:"rate,omitempty"`      // bytes a second
	Jump     time.Duration `json:"jump,omitempty"`      // Clock
	DeadPeer bool          `json:"dead_peer,omitempty"` // HalfOpen: the end that connected vanishes
	Silent   bool          `json:"silent,omitempty"`    // DBAway: nothing is refused, nothing answers
	Pick     uint32        `json:"pick,omitempty"`      // chooses the clients of a fault that clients do
}

func (f *Fault) String() string {
	text := fmt.Sprintf("%s %s", f.Kind, f.Target)
	if f.From != "" {
		text = fmt.Sprintf("%s %s → %s", f.Kind, f.From, f.Target)
	}
	switch {
	case f.Kind == Delay:
		text += fmt.Sprintf(" by %v", f.Delay)
	case f.Kind == Throttle:
		text += fmt.Sprintf(" to %d B/s", f.Rate)
	case f.Kind == Clock:
		text += fmt.Sprintf(" by %v", f.Jump)
	case f.Kind == HalfOpen && f.DeadPeer:
		text += " (the first is gone)"
	case f.Kind == HalfOpen:
		text += " (the second is gone)"
	case f.Kind == DBAway && f.Silent:
		text += " (nobody answers)"
	}
	if f.For > 0 {
		text += fmt.Sprintf(" for %v", f.For)
	}
	return text
}

// quietStart is how long the load runs undisturbed, and quietEnd how long
// before the end everything is healed.
const (
	quietStart = 2 * time.Second
	quietEnd   = time.Second
)

// Plan spreads faults of all given kinds over a length of time, one about
// every so often, in turns of all kinds. Faults overlap, but a process that is
// being ended is left alone until it had time to come back, and nothing else
// begins during a fault that everybody is promised to survive. Ids go back
// once, when most is over and enough follows.
func Plan(seed uint64, length, every time.Duration, kinds []Kind, s *System) []Fault {
	p := &planner{
		rng: rand.New(rand.NewPCG(seed, 0x6368616f73)), system: s,
		busy: map[string]time.Duration{}, decks: map[string]*deck{},
	}
	kinds = slices.DeleteFunc(slices.Clone(kinds), func(k Kind) bool { return !s.Supports(k) })
	back := never
	if i := slices.Index(kinds, GoBack); i >= 0 {
		kinds, back = slices.Delete(kinds, i, i+1), goesBack(length, every)
	}
	var plan []Fault
	for at := quietStart; at < length-quietEnd; at += every {
		f := Fault{N: len(plan) + 1, At: at + time.Duration(p.rng.Int64N(int64(every)/4))}
		end := min(back, length-quietEnd)
		switch {
		case at+every > back && back != past:
			f.Kind, back, end = GoBack, past, length-quietEnd
		case len(kinds) == 0, back == past && slices.Equal(kinds, []Kind{Failover}):
			continue
		default:
			end = max(end, f.At)
			f.Kind = p.kind(kinds, back == past)
		}
		p.fill(&f)
		f.At, f.For = f.At.Round(time.Millisecond), min(f.For, end-f.At).Round(time.Millisecond)
		plan = append(plan, f)
		if f.Kind.Survivable() || f.Kind == GoBack {
			at = max(at, f.At+f.For-every/2)
		}
	}
	return plan
}

// When ids go back: not at all, or before now.
const (
	never = time.Duration(math.MaxInt64)
	past  = time.Duration(-1)
)

// kind draws the next one, which needs no replica if there is none any more.
func (p *planner) kind(kinds []Kind, alone bool) Kind {
	for {
		k := kinds[p.draw("kinds", len(kinds))]
		if k != Failover || !alone {
			return k
		}
	}
}

// tail is how long a run goes on after ids went back, a third of it at most.
const tail = 40 * time.Second

// goesBack returns about when ids go back.
func goesBack(length, every time.Duration) time.Duration {
	return length - quietEnd - max(min(tail, length/3), every)
}

// planner holds what a plan remembers while it is made.
type planner struct {
	rng    *rand.Rand
	system *System
	busy   map[string]time.Duration // processes, until when
	decks  map[string]*deck
}

// deck deals 0 to n-1 in random order, again and again.
type deck struct{ cards []int }

func (p *planner) draw(name string, n int) int {
	d := p.decks[name]
	if d == nil {
		d = &deck{}
		p.decks[name] = d
	}
	if len(d.cards) == 0 {
		d.cards = p.rng.Perm(n)
	}
	card := d.cards[0]
	d.cards = d.cards[1:]
	return card
}

// between returns a duration from low up to high.
func (p *planner) between(low, high time.Duration) time.Duration {
	return low + time.Duration(p.rng.Int64N(int64(high-low)))
}

// comeBack is how long a process may take to be ready again.
const comeBack = 4 * time.Second

// fill chooses target and measure.
func (p *planner) fill(f *Fault) {
	edge := func() {
		e := p.system.Edges[p.draw("edges of "+string(f.Kind), len(p.system.Edges))]
		f.From, f.Target = e.From, e.To
	}
	switch f.Kind {
	case Kill, Term:
		f.For = p.between(0, 3*time.Second)
		p.process(f)
	case Stop:
		f.For = p.between(time.Second, 6*time.Second)
		p.process(f)
	case FlushAll:
		f.Target = p.system.Redis
	case Cut:
		edge()
		f.For = p.between(0, 3*time.Second)
	case Delay:
		edge()
		f.For = p.between(2*time.Second, 6*time.Second)
		f.Delay = p.between(20*time.Millisecond, 400*time.Millisecond).Round(time.Millisecond)
	case Throttle:
		edge()
		f.For = p.between(2*time.Second, 6*time.Second)
		f.Rate = 2_000 + p.rng.IntN(60_000)
	case HalfOpen:
		edge()
		f.DeadPeer = p.rng.IntN(2) == 0
		f.For = p.between(4*time.Second, 40*time.Second)
	case DiskFull:
		f.For = p.between(2*time.Second, 5*time.Second)
		f.Target = p.system.Store
		p.busy[f.Target] = f.At + f.For + comeBack
	case ReadOnly:
		f.For = p.between(2*time.Second, 4*time.Second)
		f.Target = p.system.Store
		p.busy[f.Target] = f.At + f.For + 2*comeBack
	case Clock:
		f.Target = p.system.Clocks[p.draw("clocks", len(p.system.Clocks))]
		f.For = p.between(time.Second, 8*time.Second)
		f.Jump = p.jump()
	case Client:
		p.client(f)
	default:
		p.fillRest(f)
	}
}

// fillRest is fill for what harms several at once. What everybody is to survive
// lasts long enough to see whether they do.
func (p *planner) fillRest(f *Fault) {
	switch f.Kind {
	case Failover:
		f.Target = p.system.Store
		f.For = p.between(9*time.Second, 13*time.Second)
		p.busy[f.Target] = f.At + f.For + comeBack
	case DBAway:
		stores := p.system.stores()
		e := stores[p.draw("stores", len(stores))]
		f.From, f.Target = e.From, e.To
		f.For = p.between(10*time.Second, 20*time.Second)
		f.Silent = p.rng.IntN(2) == 0
	case GoBack:
		f.Target = p.system.Store
		f.For = p.between(2*time.Second, 5*time.Second)
		p.busy[f.Target] = f.At + f.For + 2*comeBack
	case Descriptors:
		f.Target = p.system.Roles[p.draw("roles", len(p.system.Roles))]
		f.For = p.between(9*time.Second, 12*time.Second)
	case SameID:
		f.Target = "ids"
		f.Pick = p.rng.Uint32()
	case Lists:
		f.Target = "members"
		f.Pick = p.rng.Uint32()
		f.For = p.between(9*time.Second, 12*time.Second)
	default:
	}
}

// client chooses what a client does, and which one.
func (p *planner) client(f *Fault) {
	f.Target = []string{Vanish, Stall, Repeat, Burst}[p.draw("clients", 4)]
	f.Pick = p.rng.Uint32()
	if f.Target == Stall {
		f.For = p.between(time.Second, 15*time.Second)
	}
}

// jump is by minutes or by hours, forward or back.
func (p *planner) jump() time.Duration {
	by := p.between(time.Minute, 30*time.Minute)
	card := p.draw("jumps", 4)
	if card >= 2 {
		by = p.between(time.Hour, 30*time.Hour)
	}
	if card%2 == 1 {
		by = -by
	}
	return by.Round(time.Second)
}

// process chooses one that is not busy; when all are, the next one, whose
// faults then follow each other.
func (p *planner) process(f *Fault) {
	for range p.system.Processes {
		f.Target = p.system.Processes[p.draw("processes of "+string(f.Kind), len(p.system.Processes))]
		if p.busy[f.Target] <= f.At {
			break
		}
	}
	p.busy[f.Target] = f.At + f.For + comeBack
}
