package legacy

import (
	"crypto/md5" //nolint:gosec // the original's
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"slices"
)

// Password is the password of every account.
const Password = "12345"

// Start is the time of the first message, in Unix seconds. Each message comes
// a second after the one before.
const Start = 1_500_000_000

// Size says how much happened.
type Size struct {
	Users, Groups, Pairs, Messages int
	Seed                           uint64
}

// Key names a session: what a user sees as a line of his list. Kind is 1 for
// a pair and 2 for a group.
type Key struct{ User, Kind, Peer uint32 }

// Pair is a conversation of two users.
type Pair struct {
	Small, Big uint32
	relation   uint32 // the one that the original uses
	early      uint32 // another relation, which took the first message; 0: none
	orphan     bool   // the row of the relation is missing
	reset      bool   // its ids started again half way
	messages   []Message
}

// Group is a conversation of many users.
type Group struct {
	ID       uint32
	status   int
	inRedis  bool
	reset    bool
	members  []uint32
	messages []Message
	// Dirt: who is a member in one place only.
	onlyRedis, onlySQL uint32
	// Dead says that it must be marked deleted.
	Dead bool
}

// Message is a message. N numbers them all; its content is "m<N>".
type Message struct {
	N        int
	From     uint32
	id, last uint32 // as stored; and what the counter says afterwards
}

// Created is the time of a message.
func (m Message) Created() uint32 { return Start + uint32(m.N) }

// Content of a message.
func (m Message) Content() string { return fmt.Sprintf("m%d", m.N) }

// World is a database of the original and what must become of it.
type World struct {
	Size     Size
	Pairs    []*Pair
	Groups   []*Group
	Unread   map[Key]uint32 // as Redis counts, more than 0
	Lowered  map[Key]uint32 // what is left where Redis counts too many
	Removed  map[Key]bool   // sessions that were removed from the list
	Muted    map[Key]bool
	Tokens   map[uint32]string // "ios:…"; only what must be taken over
	LeftOut  int               // messages of nobody
	rejected map[uint32]string // tokens in Redis that must not be taken over
	index    map[uint32][]*Pair
}

// New invents a world; the same size gives the same world.
func New(size Size) *World {
	w := &World{
		Size: size, Unread: map[Key]uint32{}, Lowered: map[Key]uint32{}, Removed: map[Key]bool{}, Muted: map[Key]bool{},
		Tokens: map[uint32]string{}, rejected: map[uint32]string{}, LeftOut: 3,
	}
	rng := rand.New(rand.NewPCG(size.Seed, 1))
	w.meet(rng)
	w.gather(rng)
	w.talk(rng)
	w.number()
	w.leaveUnread(rng)
	for u := uint32(1); u <= uint32(size.Users); u++ {
		switch {
		case u%7 == 0:
			w.Tokens[u] = fmt.Sprintf("ios:token%d", u)
		case u%7 == 1:
			w.Tokens[u] = fmt.Sprintf("android:t:%d", u)
		case u%7 == 2 && u > 7:
			w.rejected[u] = fmt.Sprintf("ios:token%d", u-2) // moved to another user
		case u%7 == 3:
			w.rejected[u] = fmt.Sprintf("bare%d", u)
		}
	}
	return w
}

// meet makes the pairs. The relations of pairs are numbered by the order in
// which they met, and every eleventh id was never used.
func (w *World) meet(rng *rand.Rand) {
	seen := map[[2]uint32]bool{}
	next := uint32(1)
	for len(w.Pairs) < w.Size.Pairs {
		a, b := 1+rng.Uint32N(uint32(w.Size.Users)), 1+rng.Uint32N(uint32(w.Size.Users))
		if a == b || seen[[2]uint32{min(a, b), max(a, b)}] {
			continue
		}
		seen[[2]uint32{min(a, b), max(a, b)}] = true
		i := len(w.Pairs)
		p := &Pair{Small: min(a, b), Big: max(a, b)}
		if i%11 == 5 {
			next++
		}
		if i%25 == 3 {
			p.early, next = next, next+1
		}
		p.relation, next = next, next+1
		p.orphan, p.reset = i%60 == 7, i%40 == 9
		w.Pairs = append(w.Pairs, p)
	}
}

// gather makes the groups. Members have joined before the first message.
func (w *World) gather(rng *rand.Rand) {
	for id := uint32(1); id <= uint32(w.Size.Groups); id++ {
		g := &Group{ID: id, inRedis: id%9 != 4, reset: id%10 == 6}
		for _, u := range rng.Perm(w.Size.Users)[:min(w.Size.Users-2, 3+int(id%20))] {
			g.members = append(g.members, uint32(u+1))
		}
		slices.Sort(g.members)
		switch id % 8 {
		case 2: // made by hand: the default of the column
			g.status = 1
			g.inRedis = true
		case 5: // removed: everybody is out
			g.Dead = true
			g.members, g.inRedis = nil, false
		}
		if g.inRedis && id%6 == 1 {
			g.onlyRedis = g.members[0]
			for u := uint32(1); g.onlySQL == 0; u++ {
				if !slices.Contains(g.members, u) {
					g.onlySQL = u
				}
			}
		}
		w.Groups = append(w.Groups, g)
	}
}

// talk distributes the messages; some conversations have most of them.
func (w *World) talk(rng *rand.Rand) {
	for n := range w.Size.Messages {
		if n%5 < 3 {
			p := w.Pairs[min(rng.IntN(len(w.Pairs)), rng.IntN(len(w.Pairs)))]
			from := p.Small
			if rng.IntN(2) == 0 {
				from = p.Big
			}
			p.messages = append(p.messages, Message{N: n, From: from})
			continue
		}
		g := w.Groups[rng.IntN(len(w.Groups))]
		for len(g.members) == 0 {
			g = w.Groups[rng.IntN(len(w.Groups))]
		}
		g.messages = append(g.messages, Message{N: n, From: g.members[rng.IntN(len(g.members))]})
	}
}

// number gives the messages the ids that the original gave them.
func (w *World) number() {
	count := func(messages []Message, reset bool) {
		id := uint32(0)
		for i := range messages {
			id++
			if reset && i > 0 && i == len(messages)/2 {
				id = 1 // Redis came back empty
			}
			messages[i].id, messages[i].last = id, id
		}
	}
	for i, p := range w.Pairs {
		if p.early != 0 && len(p.messages) > 1 {
			count(p.messages[:1], false)
			count(p.messages[1:], p.reset)
		} else {
			p.early = 0
			count(p.messages, p.reset)
		}
		if n := len(p.messages); i%70 == 13 && n > 4 {
			p.messages[n/2].id = 4294967295 // a failed INCRBY
		}
	}
	for _, g := range w.Groups {
		count(g.messages, g.reset)
	}
}

// leaveUnread decides how much everybody has not read.
func (w *World) leaveUnread(rng *rand.Rand) {
	for i, p := range w.Pairs {
		for _, u := range []uint32{p.Small, p.Big} {
			w.leaveUnreadOf(rng, i, p, u)
		}
	}
	for _, g := range w.Groups {
		for i, u := range w.Members(g) {
			k := Key{u, 2, g.ID}
			if n := unanswered(g.messages, u); n > 0 && i%2 == 0 {
				w.Unread[k] = 1 + rng.Uint32N(min(n, 200))
			}
			if i%5 == 1 {
				w.Muted[k] = true
			}
		}
	}
}

// leaveUnreadOf decides it for one side of the i-th pair.
func (w *World) leaveUnreadOf(rng *rand.Rand, i int, p *Pair, u uint32) {
	k := Key{u, 1, p.Small + p.Big - u}
	theirs := uint32(0)
	for _, m := range p.messages {
		if m.From != u {
			theirs++
		}
	}
	switch {
	case theirs > 0 && i%3 == 0:
		w.Unread[k] = 1 + rng.Uint32N(min(theirs, 30))
	case theirs > 0 && i%47 == 1:
		w.Unread[k] = theirs + 4
		w.Lowered[k] = theirs
	case len(p.messages) > 0 && i%10 == 2:
		w.Removed[k] = true
	}
}

// unanswered counts the messages after the last one of a user: whoever sends
// has read everything, so what is unread comes after it.
func unanswered(messages []Message, u uint32) (n uint32) {
	for _, m := range slices.Backward(messages) {
		if m.From == u {
			break
		}
		n++
	}
	return n
}

// Members returns who must be a member afterwards, ascending.
func (w *World) Members(g *Group) []uint32 { return g.members }

// User returns the log-in name of a user.
func User(id uint32) string { return fmt.Sprintf("u%d", id) }

// Secret returns what IMUser holds of the password of a user: a salt and the
// MD5 of the client's MD5 and it. Source: docs/protocol/wire.md §7.
func Secret(id uint32) (password, salt string) {
	salt = fmt.Sprintf("%04d", id%10_000)
	return sum(sum(Password) + salt), salt
}

func sum(text string) string {
	s := md5.Sum([]byte(text)) //nolint:gosec // the original's
	return hex.EncodeToString(s[:])
}
