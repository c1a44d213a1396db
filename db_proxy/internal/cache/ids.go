package cache

import (
	"context"
	"fmt"
	"strconv"

	"github.com/redis/go-redis/v9"

	"teamtalk/internal/im"
)

// Reservation asks for Count consecutive message ids of one conversation, or
// gives them back.
type Reservation struct {
	Conv     im.Conversation
	Relation im.RelationID // Single only: the counter is kept by relation
	Count    uint32        // at least 1
	// Known is the newest message id in SQL, as far as the caller knows.
	Known im.MsgID
	// Lead is how far beyond Known the ids go on where there is no counter.
	Lead im.MsgID
}

// ReserveIDs returns the first id of each range; a range is in no other
// answer, and begins after Known. A counter that is absent, behind Known or
// broken is raised first, so the ids are as good as Known is. An id over
// im.MaxMsgID means that the conversation is full.
//
// On an error nothing is reserved and the caller numbers from SQL alone; ids
// that were counted in vain make a gap at most.
func (c *Cache) ReserveIDs(ctx context.Context, want []Reservation) ([]im.MsgID, error) {
	first := make([]im.MsgID, len(want))
	for start := 0; start < len(want); start += pipelineLimit {
		end := min(start+pipelineLimit, len(want))
		if err := c.reserve(ctx, want[start:end], first[start:end]); err != nil {
			return nil, err
		}
	}
	return first, nil
}

func (c *Cache) reserve(ctx context.Context, want []Reservation, first []im.MsgID) error {
	cmds := make([]*redis.IntCmd, len(want))
	err := c.unread.pipeline(ctx, func(pipe redis.Pipeliner) {
		for i := range want {
			cmds[i] = pipe.IncrBy(ctx, msgIDKey(&want[i]), int64(want[i].Count))
		}
	})
	if err != nil {
		return fmt.Errorf("reserve message ids: %w", err)
	}
	for i := range want {
		r, top := &want[i], cmds[i].Val()
		before := top - int64(r.Count)
		if cmds[i].Err() != nil || before < int64(r.Known) || top > int64(im.MaxMsgID) {
			if before, err = c.raise(ctx, r, top); err != nil {
				return err
			}
		}
		if before > int64(r.Known) {
			c.metrics.skipped.Add(float64(before - int64(r.Known)))
		}
		first[i] = im.MsgID(before) + 1
	}
	return nil
}

// raise rebuilds a counter from Known and returns the number before the
// range. got is what the counter was after our INCRBY; if it is still that,
// nobody else took an id and nothing is lost.
func (c *Cache) raise(ctx context.Context, r *Reservation, got int64) (int64, error) {
	key, known, count := msgIDKey(r), int64(r.Known), int64(r.Count)
	if known+count > int64(im.MaxMsgID) {
		return known, nil // full: the caller sees it by the id
	}
	var before int64
	lead := int64(r.Lead)
	if known+lead+count > int64(im.MaxMsgID) {
		lead = 0
	}
	err := c.unread.watch(ctx, key, func(tx *redis.Tx) error {
		now, err := readCounter(ctx, tx, key)
		if err != nil {
			return err
		}
		if now == got {
			now -= count
		}
		if before = max(now, known); now == 0 {
			before += lead
		}
		return setCounter(ctx, tx, key, before+count)
	})
	if err != nil {
		return 0, fmt.Errorf("raise message id counter: %w", err)
	}
	c.metrics.rebuilt.WithLabelValues("msg_id").Inc()
	return before, nil
}

// ReturnIDs gives back the ids Known+1 to Known+Count of conversations, which
// were reserved and will not be used. Where others have counted on meanwhile
// nothing happens: those ids stay a gap.
func (c *Cache) ReturnIDs(ctx context.Context, back []Reservation) error {
	for i := range back {
		r := &back[i]
		key := msgIDKey(r)
		err := c.unread.watch(ctx, key, func(tx *redis.Tx) error {
			now, err := readCounter(ctx, tx, key)
			if err != nil || now != int64(r.Known)+int64(r.Count) {
				return err
			}
			return setCounter(ctx, tx, key, int64(r.Known))
		})
		if err != nil {
			return fmt.Errorf("return message ids: %w", err)
		}
	}
	return nil
}

// readCounter returns a message id counter, 0 for whatever is none.
func readCounter(ctx context.Context, tx *redis.Tx, key string) (int64, error) {
	s, err := tx.Get(ctx, key).Result()
	if err != nil && trouble(err) {
		return 0, err
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 || n > int64(im.MaxMsgID) {
		return 0, nil //nolint:nilerr // absent or broken: SQL decides
	}
	return n, nil
}

func setCounter(ctx context.Context, tx *redis.Tx, key string, n int64) error {
	_, err := tx.TxPipelined(ctx, func(pipe redis.Pipeliner) error {
		pipe.Set(ctx, key, n, 0)
		return nil
	})
	return err
}
