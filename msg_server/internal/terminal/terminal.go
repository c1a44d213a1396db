// Package terminal knows where one connection stands in each conversation
// whose client acknowledges what arrives: which message it may be pushed next,
// what must be fetched because it is missing, and what is sent again. The ids
// of a conversation go out one after the other, or with a marked gap.
//
// It does no I/O of its own: an Output pushes and fetches.
// Source: docs/protocol.md, "Terminals".
package terminal

import (
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"teamtalk/internal/im"
)

// Output is what a Terminal acts through. Its methods are called with the
// lock of the Terminal held, so that their order is the order on the wire:
// they must not block or call back.
type Output interface {
	// Push queues a framed message and reports whether it was taken.
	Push(frame []byte) bool
	// Gap says that the messages first to last are not pushed.
	Gap(conv im.Conversation, first, last im.MsgID)
	// Open asks for the conversations in which messages wait; the answer is
	// Opened. Without one, Tick asks again.
	Open()
	// Fetch asks for messages; the answer is Page. False: not now, Resume or
	// Tick comes back to it. Done is called once for every true.
	Fetch(f Fetch) bool
	Done()
}

// Fetch is a question for the messages of a conversation behind an id.
type Fetch struct {
	Conv   im.Conversation
	After  im.MsgID
	Known  bool // false: behind the stored cursor; After is not used
	Newest im.MsgID
}

// Message is one fetched message, framed.
type Message struct {
	ID    im.MsgID
	Frame []byte
}

// Cursor is a place in a conversation.
type Cursor struct {
	Conv im.Conversation
	Upto im.MsgID
}

// Bounds of one terminal.
const (
	MaxBacklog   = 1000             // messages of a conversation that are sent again; older ones are a gap
	window       = 256              // ids sent without acknowledgement, beyond which nothing is fetched
	maxFetches   = 2                // at a time
	maxFlows     = 2000             // conversations remembered, more only while something is owed
	maxOwn       = 256              // own messages of one conversation that are left out of pages
	patience     = 3 * time.Second  // for an answer
	resendAfter  = 5 * time.Second  // without any acknowledgement; doubled with each time
	resendAtMost = 5                // doublings
	saveEvery    = 5 * time.Second  // of one cursor
	recheckEvery = 10 * time.Minute // for messages this server never heard of
)

// Terminal is one connection. Safe from any goroutine.
type Terminal struct {
	out Output

	mu      sync.Mutex // guards all below
	flows   map[im.Conversation]*flow
	busy    []*flow // those that Tick must look at
	fetches int
	open    bool // the answer to Open has come
	closed  bool
	asked   time.Time // when Open was called
	asking  bool
	recheck time.Time
}

// New returns a terminal that waits for Start.
func New(out Output) *Terminal {
	return &Terminal{out: out, flows: map[im.Conversation]*flow{}}
}

// Start asks what waits. What is offered before is found by the answer.
func (t *Terminal) Start(now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ask(now)
}

// ask is called with mu held.
func (t *Terminal) ask(now time.Time) {
	t.asked, t.asking, t.recheck = now, true, now.Add(recheckEvery+rand.N(recheckEvery))
	t.out.Open()
}

// Reset forgets where the terminal stands and asks again: the ids of before may
// be given to other messages. What it had acknowledged and nobody stored is sent
// again.
func (t *Terminal) Reset(now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return
	}
	for _, f := range t.busy {
		if f.fetching {
			t.fetched(f)
		}
	}
	t.flows, t.busy, t.open = map[im.Conversation]*flow{}, nil, false
	t.ask(now)
}

// Recheck makes Tick ask again what waits, from the time given on.
func (t *Terminal) Recheck(at time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.recheck.After(at) {
		t.recheck = at
	}
}

// Opened takes the conversations in which messages wait, and the newest one of
// each. Where the terminal stands in them the first page says.
func (t *Terminal) Opened(newest []Cursor, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.open, t.asking = true, false
	for _, c := range newest {
		f := t.flow(c.Conv)
		f.newest = max(f.newest, c.Upto)
		t.watch(f)
	}
	t.resume(now)
}

// Offer is a message that was stored: frame is pushed if it is the next one
// of its conversation. own: this connection sent it, and is not pushed it.
func (t *Terminal) Offer(conv im.Conversation, id im.MsgID, frame []byte, own bool, now time.Time) (pushed bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return false
	}
	f := t.flow(conv)
	f.newest = max(f.newest, id)
	if id <= f.sent && f.known {
		return false
	}
	if own {
		f.addOwn(id)
	}
	if !f.known && (f.first == 0 || id < f.first) {
		f.first = id
	}
	if !f.known || f.fetching || id != f.sent+1 {
		t.watch(f)
		t.next(f, now)
		return false
	}
	if own {
		f.pass(id)
		t.watch(f)
		return false
	}
	return t.push(f, id, frame, now)
}

// push is called with mu held.
func (t *Terminal) push(f *flow, id im.MsgID, frame []byte, now time.Time) bool {
	t.watch(f)
	if !t.out.Push(frame) {
		return false
	}
	if f.pushed <= f.acked {
		f.at = now
	}
	f.sent, f.pushed, f.top = id, id, max(f.top, id)
	return true
}

// Ack takes an acknowledgement of everything up to id. It returns up to where
// it counts, which is no further than what was sent; 0 if it says nothing new.
// sent: something of the conversation was sent here.
func (t *Terminal) Ack(conv im.Conversation, id im.MsgID, now time.Time) (upto im.MsgID, sent bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	f := t.flows[conv]
	if f == nil || !f.known {
		return 0, false
	}
	id = min(id, f.top)
	if id <= f.acked {
		return 0, true
	}
	f.acked, f.at, f.tries = id, now, 0
	f.sent = max(f.sent, id)
	f.settle()
	t.watch(f)
	t.next(f, now)
	return id, true
}

// Page takes the answer to a Fetch: the messages behind after, complete up to
// upto. denied: the user may not see the conversation (any more); the terminal
// keeps its place, so that it hears what it missed if they come back. It
// returns which of them were pushed.
func (t *Terminal) Page(
	conv im.Conversation, after, upto im.MsgID, page []Message, denied bool, now time.Time,
) (pushed []im.MsgID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	f := t.flows[conv]
	if t.closed || f == nil || !f.fetching {
		return nil
	}
	t.fetched(f)
	f.learn(after)
	if after > f.sent {
		t.next(f, now) // an answer to another question
		return nil
	}
	if denied {
		if f.newest <= upto {
			f.newest = f.sent
		}
		t.resume(now)
		return nil
	}
	t.skipOld(f)
	for _, m := range page {
		if m.ID <= f.sent {
			continue
		}
		t.gap(f, m.ID-1)
		if f.isOwn(m.ID) {
			f.pass(m.ID)
			continue
		}
		if !t.push(f, m.ID, m.Frame, now) {
			return pushed
		}
		pushed = append(pushed, m.ID)
	}
	t.gap(f, upto)
	t.resume(now)
	return pushed
}

// skipOld marks as a gap what is too much. Called with mu held.
func (t *Terminal) skipOld(f *flow) {
	if f.newest > f.sent+MaxBacklog {
		t.gap(f, f.newest-MaxBacklog)
	}
}

// gap marks what is missing up to an id, if anything is that the client did
// not send itself, and goes on behind it. Called with mu held.
func (t *Terminal) gap(f *flow, upto im.MsgID) {
	first := f.sent + 1
	for first <= upto && f.isOwn(first) {
		first++
	}
	if first > upto {
		if upto > f.sent {
			f.pass(upto)
		}
		return
	}
	t.out.Gap(f.conv, first, upto)
	f.pass(upto)
}

// next fetches what follows, if anything does and the client keeps up. Called
// with mu held.
func (t *Terminal) next(f *flow, now time.Time) {
	if !t.open || t.closed || f.fetching || f.known && f.sent >= f.newest {
		return
	}
	if t.fetches >= maxFetches || f.sent > f.acked+window {
		return // an answer or an acknowledgement comes back to it
	}
	if f.known {
		t.skipOld(f)
	}
	if t.out.Fetch(Fetch{Conv: f.conv, After: f.sent, Known: f.known, Newest: f.newest}) {
		f.fetching, f.at = true, now
		t.fetches++
	}
}

// fetched is called with mu held, when a fetch has ended.
func (t *Terminal) fetched(f *flow) {
	f.fetching = false
	t.fetches--
	t.out.Done()
}

// Resume fetches what was refused before.
func (t *Terminal) Resume(now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.resume(now)
}

func (t *Terminal) resume(now time.Time) {
	for _, f := range t.busy {
		if t.fetches >= maxFetches {
			return
		}
		t.next(f, now)
	}
}

// Tick repeats what was not answered or acknowledged in time. It returns the
// cursors to be stored and how many conversations were sent again.
func (t *Terminal) Tick(now time.Time) (save []Cursor, resent int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.asking && now.Sub(t.asked) > patience || t.open && now.After(t.recheck) {
		t.ask(now)
	}
	for _, f := range t.busy {
		waited := now.Sub(f.at)
		switch {
		case f.fetching && waited > patience:
			t.fetched(f)
		case !f.fetching && f.known && f.pushed > f.acked && waited > resendAfter<<min(f.tries, resendAtMost):
			f.sent, f.pushed, f.at = f.acked, f.acked, now
			f.tries++
			resent++
		}
		if f.known && f.acked > f.saved && now.Sub(f.savedAt) > saveEvery {
			f.saved, f.savedAt = f.acked, now
			save = append(save, Cursor{f.conv, f.acked})
		}
	}
	t.resume(now)
	t.busy = slices.DeleteFunc(t.busy, func(f *flow) bool {
		f.busy = !f.idle()
		return !f.busy
	})
	return save, resent
}

// Close ends the terminal and returns the cursors to be stored.
func (t *Terminal) Close() (save []Cursor) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	for _, f := range t.busy {
		if f.fetching {
			t.fetched(f)
		}
		if f.known && f.acked > f.saved {
			f.saved = f.acked
			save = append(save, Cursor{f.conv, f.acked})
		}
	}
	t.flows, t.busy = map[im.Conversation]*flow{}, nil
	return save
}

// flow finds or makes a conversation. Called with mu held.
func (t *Terminal) flow(conv im.Conversation) *flow {
	f := t.flows[conv]
	if f == nil {
		if len(t.flows) >= maxFlows {
			for other, f := range t.flows {
				if !f.busy {
					delete(t.flows, other) // its cursor is stored
				}
			}
		}
		f = &flow{conv: conv}
		t.flows[conv] = f
	}
	return f
}

// watch makes Tick look at a flow. Called with mu held.
func (t *Terminal) watch(f *flow) {
	if !f.busy {
		f.busy = true
		t.busy = append(t.busy, f)
	}
}
