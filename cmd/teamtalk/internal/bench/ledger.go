package bench

import (
	"slices"
	"sync"
	"sync/atomic"

	"teamtalk/internal/im"
)

// The bookkeeping costs four bytes per message and one bit per message and
// receiving terminal: a long run at full speed fits in memory.

// Bits of an entry of flow.ids; the rest is the id, below 2^27.
const (
	bitAcked  = 1 << 31 // the server acknowledged it
	bitStored = 1 << 30 // it was read back
	idMask    = 1<<27 - 1
)

// conversation is a pair or a group with those who take part.
type conversation struct {
	kind      im.Kind
	terminals []*terminal
	flows     []*flow // one per sending terminal
}

// flow is what one terminal sends into one conversation.
type flow struct {
	index  uint32 // in run.flows, as stamps name it
	slot   int    // in conversation.flows
	conv   *conversation
	sender *terminal

	mu  sync.Mutex // guards the field below
	ids []uint32   // by seq
}

// next makes room for one more message and returns its seq.
func (f *flow) next() uint32 {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ids = append(f.ids, 0)
	return uint32(len(f.ids) - 1)
}

// sent returns how many messages there are.
func (f *flow) sent() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.ids)
}

// note records that message seq has the id and the bits. known is false for a
// message that was never sent, same for one that had another id before.
func (f *flow) note(seq uint32, id im.MsgID, bits uint32) (known, same bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if int(seq) >= len(f.ids) {
		return false, false
	}
	entry := f.ids[seq]
	if had := entry & idMask; had != 0 && had != uint32(id) {
		f.ids[seq] = entry | bits
		return true, false
	}
	f.ids[seq] = entry | bits | uint32(id)&idMask
	return true, true
}

// entry returns the record of message seq, 0 if there is none.
func (f *flow) entry(seq uint32) uint32 {
	f.mu.Lock()
	defer f.mu.Unlock()
	if int(seq) >= len(f.ids) {
		return 0
	}
	return f.ids[seq]
}

// view is what one terminal has seen of its conversation. Only the reader of
// the terminal's connection touches it, until the connection is closed.
type view struct {
	last    im.MsgID // greatest id pushed
	lastSeq []uint32 // greatest seq + 1, by slot
	seen    [][]uint64
}

// newView returns the view of a conversation with so many flows.
func newView(flows int) view {
	return view{lastSeq: make([]uint32, flows), seen: make([][]uint64, flows)}
}

// mark records a push. fresh is false for one seen before; ordered for one
// that comes after a greater id, or after a later message of the same sender.
func (v *view) mark(slot int, seq uint32, id im.MsgID) (fresh, ordered bool) {
	word, bit := int(seq/64), uint64(1)<<(seq%64)
	for len(v.seen[slot]) <= word {
		v.seen[slot] = append(v.seen[slot], 0)
	}
	if v.seen[slot][word]&bit != 0 {
		return false, true
	}
	v.seen[slot][word] |= bit
	ordered = id > v.last && seq >= v.lastSeq[slot]
	v.last = max(v.last, id)
	v.lastSeq[slot] = max(v.lastSeq[slot], seq+1)
	return true, ordered
}

// has reports whether a message was pushed.
func (v *view) has(slot int, seq uint32) bool {
	word := int(seq / 64)
	return word < len(v.seen[slot]) && v.seen[slot][word]&(1<<(seq%64)) != 0
}

// findings counts what is wrong while the run goes on.
type findings struct {
	duplicated   atomic.Int64 // pushed more than once to one terminal
	reordered    atomic.Int64 // pushed or listed out of order
	mismatched   atomic.Int64 // one message under two ids, or two under one
	misdelivered atomic.Int64 // pushed to the sender itself or to a stranger
	corrupt      atomic.Int64 // text changed on the way
	storedTwice  atomic.Int64 // in history twice, or under another id than acknowledged
	foreign      atomic.Int64 // not of this run; not a violation
}

// verdict is what the books say at the end.
type verdict struct {
	acked, unacked            int64
	lost, missing, mismatched int64
}

// audit closes the books of a conversation: every acknowledged message must
// have been pushed to every terminal but the sending one and must have been read
// back, and no two may have one id. A terminal that lost
// its connection owes nothing.
func (c *conversation) audit() (v verdict) {
	var ids []uint32
	for _, f := range c.flows {
		f.mu.Lock()
		for seq, entry := range f.ids {
			if entry&bitAcked == 0 {
				v.unacked++
				continue
			}
			v.acked++
			ids = append(ids, entry&idMask)
			if entry&bitStored == 0 {
				v.missing++
			}
			for _, t := range c.terminals {
				if t != f.sender && !t.gone.Load() && !t.view.has(f.slot, uint32(seq)) {
					v.lost++
				}
			}
		}
		f.mu.Unlock()
	}
	slices.Sort(ids)
	v.mismatched = int64(len(ids) - len(slices.Compact(ids)))
	return v
}
