package lane

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"teamtalk/db_proxy/internal/cache"
	"teamtalk/db_proxy/internal/store"
	"teamtalk/internal/im"
	"teamtalk/internal/trace"
)

// giveUp ends what could not be stored. Its ids are given back; where it may
// have been stored after all, they are gaps from now on. The states are read
// again, and so are the counts: nobody knows whether they still hold.
func (l *lane) giveUp(b *batch, err error) {
	l.giveBack(b.sends)
	for _, s := range b.sends {
		l.states.forget(s.Conv)
		l.forgetCounts(s)
		if s.id != 0 {
			l.givenUp.add(s.key(), s.id)
		}
		l.refuse(s, err)
	}
	for _, r := range b.reads {
		l.states.forget(r.Conv)
		key := store.SessionKey{User: r.User, Kind: r.Conv.Kind, Peer: r.Conv.SessionID(r.User)}
		l.deps.Behind.ForgetUnread(cache.Stamp{}, key)
		r.fail(err)
	}
}

// giveBack returns the last ids of each conversation, down to one that may be
// stored or is not among them; the others are gaps.
func (l *lane) giveBack(sends []*Send) {
	var back []cache.Reservation
	gaps := 0
	_, byConv := group(slices.DeleteFunc(slices.Clone(sends), func(s *Send) bool { return s.id == 0 }))
	for conv, held := range byConv {
		slices.SortFunc(held, func(a, b *Send) int { return cmp.Compare(a.id, b.id) })
		n := len(held)
		for n > 0 && !held[n-1].unknown && (n == len(held) || held[n-1].id+1 == held[n].id) {
			n--
		}
		gaps += n
		if n < len(held) {
			back = append(back, cache.Reservation{
				Conv: conv, Relation: held[0].relation, Known: held[n].id - 1, Count: uint32(len(held) - n),
			})
		}
	}
	if len(back) > 0 {
		ctx, cancel := l.patience()
		defer cancel()
		if l.deps.IDs.ReturnIDs(ctx, back) != nil {
			for i := range back {
				gaps += int(back[i].Count)
			}
		}
	}
	l.metrics.gaps.Add(float64(gaps))
}

// complete remembers what was committed, leaves the counters to be written
// behind, and answers: whoever has their answer finds the counters noted.
func (l *lane) complete(ctx context.Context, b *batch) {
	now := l.deps.Clock()
	for _, s := range b.sends {
		st := l.states.get(s.Conv)
		if s.since = NoPrevious; !st.lastAt.IsZero() {
			s.since = max(now.Sub(st.lastAt), 0)
		}
		st.last, st.lastAt = max(st.last, s.id), now
		l.recent.add(s.key(), s.id)
		l.note(s, trace.Committed, now, uint32(len(b.sends)))
	}
	l.metrics.stored.Add(float64(len(b.sends)))
	l.count(ctx, b)
	for _, s := range b.sends {
		l.succeed(s)
	}
	for _, r := range b.reads {
		r.succeed()
	}
}

// awayFor is how long a lane waits for a database that is known to be away.
// Whoever is refused may be served by another db_proxy, to which nothing of a
// conversation goes while something of it waits here.
const awayFor = 2 * time.Second

// hopeless takes the error of a call and reports whether the database has been
// away for too long to wait for it.
func (l *lane) hopeless(err error) bool {
	if !errors.Is(err, store.ErrAway) {
		return false
	}
	now := l.deps.Clock()
	if l.away.IsZero() {
		l.away = now
	}
	return now.Sub(l.away) > awayFor
}

// untilDone repeats a step while it fails for a reason that passes. When the
// database went back the step is no longer the right one.
func (l *lane) untilDone(ctx context.Context, cause string, step func() error) error {
	wait := 10 * time.Millisecond
	for {
		err := step()
		if l.hopeless(err) || err == nil || !im.CodeOf(err).Retryable() || errors.Is(err, store.ErrWentBack) {
			return err
		}
		l.metrics.retries.WithLabelValues(cause).Inc()
		if !pause(ctx, &wait) {
			return errors.Join(err, ctx.Err())
		}
	}
}

// pause waits and doubles the wait; false when ctx ended.
func pause(ctx context.Context, wait *time.Duration) bool {
	timer := time.NewTimer(*wait)
	defer timer.Stop()
	*wait = min(2**wait, 250*time.Millisecond)
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
