package lane

import (
	"context"
	"slices"
	"time"

	"teamtalk/db_proxy/internal/cache"
	"teamtalk/db_proxy/internal/store"
	"teamtalk/internal/im"
)

// settle is how long ids that somebody else has set aside may wait for their
// commit before they are taken again.
const settle = 30 * time.Millisecond

// closeHoles looks at the conversations whose counter in Redis is ahead of what
// is known here. Either another owner has stored messages, or a server set ids
// aside and died, or its answer was lost: those ids are taken now, because
// nobody else will. Should their owner live after all, the unique key decides
// who gets them.
func (l *lane) closeHoles(ctx context.Context, want []cache.Reservation, first []im.MsgID) {
	var ahead []int
	var refs []store.ConvRef
	for i := range want {
		if first[i] != want[i].Known+1 {
			ahead = append(ahead, i)
			refs = append(refs, store.ConvRef{Conv: want[i].Conv, Relation: want[i].Relation})
			l.states.get(want[i].Conv).doubt()
		}
	}
	for try := 0; len(ahead) > 0; try++ {
		last, err := l.deps.Store.LastMessages(ctx, refs)
		if err != nil {
			break // the ids are as good with a hole before them
		}
		ahead = slices.DeleteFunc(ahead, func(i int) bool {
			newest := last[want[i].Conv]
			if st := l.states.get(want[i].Conv); newest.ID > st.last {
				st.moveTo(newest)
			}
			if newest.ID+1 < first[i] && l.lostAfter(newest) {
				l.metrics.gaps.Add(float64(first[i] - newest.ID - 1))
				return true // those ids were given to messages that the database has lost
			}
			return newest.ID+1 >= first[i]
		})
		if len(ahead) > 0 && try == 0 {
			wait := settle
			pause(ctx, &wait)
			continue
		}
		l.takeAgain(ctx, ahead, last, want, first)
		return
	}
	for _, i := range ahead {
		l.metrics.gaps.Add(float64(first[i] - want[i].Known - 1))
	}
}

// takeAgain begins the ranges of some conversations behind what is stored, and
// gives the rest of what was counted back.
func (l *lane) takeAgain(
	ctx context.Context, ahead []int, last map[im.Conversation]store.Last, want []cache.Reservation, first []im.MsgID,
) {
	var back []cache.Reservation
	for _, i := range ahead {
		newest, count := last[want[i].Conv].ID, im.MsgID(want[i].Count)
		back = append(back, cache.Reservation{
			Conv: want[i].Conv, Relation: want[i].Relation, Known: newest + count, Count: uint32(first[i] - newest - 1),
		})
		first[i] = newest + 1
	}
	if err := l.deps.IDs.ReturnIDs(ctx, back); err != nil {
		l.deps.Log.Debug("ids not returned", "error", err)
	}
}
