package cache

import (
	"context"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"teamtalk/internal/im"
)

// A Claim is what one process knows of who else writes the unread counts of a
// conversation. Two db_proxies may both serve it for a while, and a count that
// one of them keeps in memory does not follow what is read at the other one.
//
// Every conversation has a sequence in Redis. Whoever writes numbers of it
// adds a step of his own to the sequence, after the numbers and in the same
// pipeline. If the sequence then stands one step behind where he left it, nobody else
// has written since. If not, what he wrote may be stale: it is forgotten, and
// so is everything that follows from what he knew before the answer. From then
// on he holds the claim.
//
// Why no stale number stays. Every operation writes or forgets, after its
// commit, all numbers that it makes untrue. Look at the last step ever taken
// for a conversation. Whoever took it either found a gap and forgot, or nobody
// took a step since his one before. Then every operation of others was
// written, and so committed, before that step, which is before he read from
// SQL what his numbers follow from. An operation that was committed and not
// yet written finds a gap when it is, and forgets. A rebuild writes what SQL
// says only if nobody wrote meanwhile. Between a write and the forgetting, for
// the time of one round trip, a stale number can be seen; a process that dies
// just then leaves it, until the mark of the user is too old.
//
// A sequence that is gone, because it was not needed for an hour or Redis was
// emptied, is a gap. Steps are random, so it cannot come to stand by chance
// where somebody expects it.
//
// The zero value is not held. A Claim must not be copied.
type Claim struct {
	epoch atomic.Uint32 // odd while the claim is held
	last  int64         // where the sequence was left, 0 if that is not known; owned by SetUnread
}

// Stamp is a moment in a Claim. What is read from SQL after it was taken may
// be written under it.
type Stamp struct {
	claim *Claim
	epoch uint32
}

// Stamp returns the present moment. Stamps are equal until the claim is lost.
func (c *Claim) Stamp() Stamp { return Stamp{claim: c, epoch: c.epoch.Load()} }

// Held says that numbers were written to Redis under the claim, and that
// others can be. Until then numbers are forgotten instead.
func (s Stamp) Held() bool { return s.epoch%2 == 1 }

// valid says that nothing was lost since.
func (s Stamp) valid() bool { return s.Held() && s.claim.epoch.Load() == s.epoch }

// found takes note of the sequence after a step of ours, and reports whether
// nobody else took one since the last.
func (c *Claim) found(now, step int64) bool {
	alone := c.epoch.Load()%2 == 1 && c.last != 0 && now == c.last+step
	c.last = now
	if !alone {
		c.epoch.Store(c.epoch.Load() + 2 | 1)
	}
	return alone
}

// drop gives the claim up: it is not known what became of a write.
func (c *Claim) drop() { c.epoch.Store((c.epoch.Load() + 2) &^ 1) }

// claimFor is how long a sequence is kept after it was claimed.
const claimFor = time.Hour

// newStep returns the step of one process.
func newStep() int64 { return 1<<31 + rand.Int64N(1<<31) }

// steps are those of one write, by claim.
type steps struct {
	claims map[*Claim]*redis.IntCmd
	convs  map[*Claim]im.Conversation
	alien  map[im.Conversation]struct{} // written without a claim
}

func stepsOf(values []UnreadValue) *steps {
	s := &steps{claims: make(map[*Claim]*redis.IntCmd, len(values)), convs: make(map[*Claim]im.Conversation, len(values))}
	for i := range values {
		if claim := values[i].stamp.claim; claim != nil {
			s.convs[claim] = values[i].conv
			continue
		}
		if s.alien == nil {
			s.alien = map[im.Conversation]struct{}{}
		}
		s.alien[values[i].conv] = struct{}{}
	}
	return s
}

// take queues the steps.
func (s *steps) take(ctx context.Context, pipe redis.Pipeliner, step int64) {
	for claim, conv := range s.convs {
		s.claims[claim] = pipe.IncrBy(ctx, sequenceKey(conv), step)
	}
	for conv := range s.alien {
		pipe.Unlink(ctx, sequenceKey(conv))
	}
}

// settle compares the answers with what was expected, and returns the
// conversations in which somebody else has written. broken is called with
// keys that hold no sequence.
func (s *steps) settle(step int64, broken func(key string)) map[im.Conversation]struct{} {
	var moved map[im.Conversation]struct{}
	for claim, cmd := range s.claims {
		if cmd.Err() != nil {
			broken(sequenceKey(s.convs[claim]))
		}
		if claim.found(cmd.Val(), step) {
			continue
		}
		if moved == nil {
			moved = map[im.Conversation]struct{}{}
		}
		moved[s.convs[claim]] = struct{}{}
	}
	return moved
}

// drop gives all claims up.
func (s *steps) drop() {
	for claim := range s.convs {
		claim.drop()
	}
}
