// Package deliver keeps the order in which the messages of a conversation
// reach the connections of this server: by increasing msg_id, each once. It
// holds a message briefly while the one before it is known to be on its way,
// and refuses what comes too late; who gets a message is not its business.
package deliver

import (
	"maps"
	"slices"
	"sync"
	"time"

	"teamtalk/internal/im"
)

// Message is one message that wants to be pushed.
type Message struct {
	Conv im.Conversation
	ID   im.MsgID
	// SincePrevious is the time between the commits of the message before and
	// this one; Unknown if nobody said.
	SincePrevious time.Duration
	// Push sends it to the connections. It must not block.
	Push func()

	heldSince time.Time
}

// Unknown stands for a message whose predecessor nobody spoke of.
const Unknown = time.Duration(-1)

// Outcome says what became of a message.
type Outcome string

// The outcomes; they are metric labels.
const (
	Pushed    Outcome = "pushed"
	Held      Outcome = "held"      // until its predecessor is here, or HoldFor is over
	Late      Outcome = "late"      // a later one was pushed before, or it was pushed itself
	Duplicate Outcome = "duplicate" // it is being held already
)

// Bounds of what is held. A predecessor that was committed shortly before is
// on its way from another server; one that was committed long before was
// delivered while nobody of the conversation was here.
const (
	RecentFor  = 2 * time.Second
	HoldFor    = time.Second
	maxHeld    = 1000    // per conversation; more are released at once
	maxStates  = 200_000 // conversations remembered
	shardCount = 64
)

// Order keeps the order of all conversations. Safe from any goroutine.
type Order struct {
	clock  func() time.Time
	shards [shardCount]shard
}

type shard struct {
	mu sync.Mutex // guards all below; a leaf
	// The most recently used conversations, in two generations.
	young, old map[im.Conversation]*state
	holding    map[im.Conversation]*state // those with held messages
}

// state is where a conversation stands on this server.
type state struct {
	released im.MsgID   // the highest id pushed
	held     []*Message // ascending by id
	ready    []*Message // released, waiting for whoever drains
	draining bool
}

// New returns an Order that has seen nothing.
func New(clock func() time.Time) *Order {
	o := &Order{clock: clock}
	for i := range o.shards {
		o.shards[i].young = map[im.Conversation]*state{}
		o.shards[i].holding = map[im.Conversation]*state{}
	}
	return o
}

// Offer pushes a message as soon as its turn has come: often before Offer
// returns, on this goroutine, with those that waited for it.
func (o *Order) Offer(m *Message) Outcome {
	sh := &o.shards[m.Conv.Hash()%shardCount]
	sh.mu.Lock()
	st := sh.state(m.Conv)
	outcome := st.admit(m, o.clock())
	if outcome == Held {
		sh.holding[m.Conv] = st
		if len(st.held) > maxHeld {
			st.release(len(st.held))
		}
	}
	if len(st.held) == 0 {
		delete(sh.holding, m.Conv)
	}
	sh.drain(st)
	return outcome
}

// Expire releases what was held for HoldFor. To be called every few tens of
// milliseconds.
func (o *Order) Expire() {
	now := o.clock()
	o.release(func(st *state) int {
		// A message takes those below it along, which may have come later:
		// nothing waits for longer than HoldFor.
		n := len(st.held)
		for n > 0 && now.Sub(st.held[n-1].heldSince) < HoldFor {
			n--
		}
		return n
	})
}

// Release pushes all that is held, in its order: nothing is waited for any
// more.
func (o *Order) Release() { o.release(func(st *state) int { return len(st.held) }) }

// Reset pushes all that is held and forgets which ids were pushed: they may be
// given again.
func (o *Order) Reset() {
	o.Release()
	for i := range o.shards {
		sh := &o.shards[i]
		sh.mu.Lock()
		for _, known := range []map[im.Conversation]*state{sh.young, sh.old} {
			for _, st := range known {
				st.released = 0
			}
		}
		sh.mu.Unlock()
	}
}

// release pushes of each conversation the first held messages, as many as
// due says.
func (o *Order) release(due func(*state) int) {
	for i := range o.shards {
		sh := &o.shards[i]
		sh.mu.Lock()
		var ready []*state
		for conv, st := range sh.holding {
			if n := due(st); n > 0 {
				st.release(n)
				ready = append(ready, st)
			}
			if len(st.held) == 0 {
				delete(sh.holding, conv)
			}
		}
		sh.mu.Unlock()
		for _, st := range ready {
			sh.mu.Lock()
			sh.drain(st)
		}
	}
}

func (sh *shard) state(conv im.Conversation) *state {
	if st := sh.young[conv]; st != nil {
		return st
	}
	st := sh.old[conv]
	if st == nil {
		st = &state{}
	}
	if len(sh.young) >= maxStates/shardCount/2 {
		sh.old, sh.young = sh.young, make(map[im.Conversation]*state)
		maps.Copy(sh.young, sh.holding)
	}
	sh.young[conv] = st
	return st
}

// admit decides about one message; the lock of the shard is held.
func (st *state) admit(m *Message, now time.Time) Outcome {
	if m.ID <= st.released {
		return Late
	}
	i, found := slices.BinarySearchFunc(st.held, m.ID, func(h *Message, id im.MsgID) int { return int(h.ID) - int(id) })
	if found {
		return Duplicate
	}
	next := st.released + 1
	expected := m.SincePrevious >= 0 && m.SincePrevious < RecentFor && m.ID > next
	if expected {
		m.heldSince = now
		st.held = slices.Insert(st.held, i, m)
		// It may be the predecessor that others are waiting for; what comes
		// before it is still missing, so all of them wait on.
		return Held
	}
	// Its turn: with it go those held before it, which nothing can precede
	// any more, and those that follow without a gap.
	st.release(i)
	st.push(m)
	n := 0
	for n < len(st.held) && st.held[n].ID == st.released+1 {
		st.push(st.held[n])
		n++
	}
	st.held = slices.Delete(st.held, 0, n)
	return Pushed
}

// release pushes the first n held messages, and those that follow them
// without a gap.
func (st *state) release(n int) {
	i := 0
	for i < len(st.held) && (i < n || st.held[i].ID == st.released+1) {
		st.push(st.held[i])
		i++
	}
	st.held = slices.Delete(st.held, 0, i)
}

func (st *state) push(m *Message) {
	st.released = m.ID
	st.ready = append(st.ready, m)
}

// drain pushes what is ready without holding the lock: one goroutine at a
// time for each conversation, so that the order holds. It is called with the
// lock held and releases it.
func (sh *shard) drain(st *state) {
	if st.draining {
		sh.mu.Unlock()
		return
	}
	st.draining = true
	for len(st.ready) > 0 {
		ready := st.ready
		st.ready = nil
		sh.mu.Unlock()
		for _, m := range ready {
			m.Push()
		}
		sh.mu.Lock()
	}
	st.draining = false
	sh.mu.Unlock()
}
