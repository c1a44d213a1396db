package msgserver

import (
	"hash/maphash"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"teamtalk/internal/im"
	"teamtalk/internal/wire"
	"teamtalk/pb/message"
)

// How many sends of one connection are remembered, and for how long, to
// recognise a client that sends a message again.
// Source: docs/protocol/defects.md A7.
const (
	maxRepeats = 512
	repeatsFor = time.Minute
)

// repeats remembers the sends of one connection. It is owned by its event
// loop; nil remembers nothing.
type repeats struct {
	epoch uint64 // of the database that stored them; see Server.epoch
	seed  maphash.Seed
	byID  map[repeatKey]*repeat
	list  []*repeat // oldest first
}

type repeatKey struct {
	seq  uint16
	hash uint64
}

// repeat is a send that may come again.
type repeat struct {
	key repeatKey
	at  time.Time
	op  im.OperationID // of every attempt: one that was given up may be stored yet

	mu    sync.Mutex // guards the fields below
	ack   *message.IMMsgDataAck
	ended bool // it failed: a repeat is a new attempt
}

func newRepeats(epoch uint64) *repeats {
	return &repeats{epoch: epoch, seed: maphash.MakeSeed(), byID: map[repeatKey]*repeat{}}
}

func (r *repeats) keyOf(seq uint16, body []byte) repeatKey {
	return repeatKey{seq: seq, hash: maphash.Bytes(r.seed, body)}
}

// find returns the send of the same seq and body; nil if there is none.
func (r *repeats) find(seq uint16, body []byte, now time.Time) *repeat {
	found := r.byID[r.keyOf(seq, body)]
	if found == nil || now.Sub(found.at) > repeatsFor {
		return nil
	}
	return found
}

func (r *repeats) add(seq uint16, body []byte, now time.Time) *repeat {
	if len(r.list) >= maxRepeats {
		r.drop(1)
	}
	added := &repeat{key: r.keyOf(seq, body), at: now, op: im.NewOperationID(now)}
	r.byID[added.key] = added
	r.list = append(r.list, added)
	return added
}

// expire forgets what is too old.
func (r *repeats) expire(now time.Time) {
	if r == nil {
		return
	}
	n := 0
	for n < len(r.list) && now.Sub(r.list[n].at) > repeatsFor {
		n++
	}
	r.drop(n)
}

func (r *repeats) drop(n int) {
	for _, old := range r.list[:n] {
		if r.byID[old.key] == old {
			delete(r.byID, old.key)
		}
	}
	r.list = r.list[n:]
}

// acked notes the answer of the first send. Safe anywhere.
func (r *repeat) acked(ack *message.IMMsgDataAck) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ack = ack
}

// fail makes the next one a new attempt. Safe anywhere.
func (r *repeat) fail() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ended = true
}

// again reports whether a repeat must be tried anew, and takes that for done.
func (r *repeat) again() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	was := r.ended
	r.ended = false
	return was
}

// answerAgain repeats the acknowledgement; while the first send is under way
// its answer will do.
func (r *repeat) answerAgain(c *client) {
	r.mu.Lock()
	ack := r.ack
	r.mu.Unlock()
	if ack != nil {
		c.conn.SendMessage(wire.MsgDataAck, r.key.seq, proto.Clone(ack))
	}
}

// allowance delays what a connection sends above its rate. It is owned by
// the event loop of the connection. Source: docs/protocol/defects.md A9.
type allowance struct {
	gap  time.Duration // between two messages
	next time.Time     // when the next one may go
}

func newAllowance(perSecond int) *allowance {
	return &allowance{gap: time.Second / time.Duration(perSecond)}
}

// take returns how long a message that came now must wait: a second's worth
// may go at once.
func (a *allowance) take(now time.Time) time.Duration {
	if earliest := now.Add(-time.Second); a.next.Before(earliest) {
		a.next = earliest
	}
	wait := a.next.Sub(now)
	a.next = a.next.Add(a.gap)
	return max(wait, 0)
}
