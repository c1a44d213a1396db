package lane

import (
	"context"
	"errors"
	"slices"
	"time"

	"teamtalk/db_proxy/internal/cache"
	"teamtalk/db_proxy/internal/store"
	"teamtalk/internal/im"
)

// attempts is what commit remembers of those that failed.
type attempts struct {
	wait        time.Duration // how long the next pause is
	duplicates  int           // found an id taken
	unexplained int           // of these, those after which the batch was as before
}

// duplicate counts an attempt that found an id taken.
func (a *attempts) duplicate(explained bool) {
	a.duplicates++
	if !explained {
		a.unexplained++
	}
}

// commit stores a numbered batch. When it returns nil, every send that is
// still in b.sends is durable under its id; after an error, none of them is
// known to be. Those that were refused, found stored before, or stored in a
// part of the batch, are complete and gone from it.
//
// No attempt follows another one without a pause unless it differs from it, and
// ctx bounds all of them.
func (l *lane) commit(ctx context.Context, b *batch) error {
	failed := attempts{wait: 10 * time.Millisecond}
	for len(b.sends) > 0 || len(b.reads) > 0 {
		started := l.deps.Clock()
		err := l.deps.Store.Commit(ctx, l.compose(b))
		l.metrics.commit.Observe(l.deps.Clock().Sub(started).Seconds())
		switch {
		case err == nil:
			l.metrics.batch.Observe(float64(len(b.sends)))
			return nil
		case errors.Is(err, store.ErrDuplicate):
			// Another db_proxy numbered the conversation, or an operation
			// was stored before: perhaps by us, in an attempt whose answer
			// was lost.
			l.metrics.retries.WithLabelValues("duplicate").Inc()
			explained, stuck := l.reconcile(ctx, b, "duplicate")
			if stuck != nil {
				return stuck
			}
			failed.duplicate(explained)
			if failed.unexplained > 1 { // it is not a race that was over when we looked
				return l.halve(ctx, b, im.Wrap(im.Invalid, "an id is taken, but not by this message", err))
			}
			if failed.duplicates > 1 || !explained {
				pause(ctx, &failed.wait)
			}
		case errors.Is(err, store.ErrWentBack):
			return err
		case im.CodeOf(err).Retryable():
			if err := l.outlast(ctx, b, err, &failed.wait); err != nil {
				return err
			}
		default:
			return l.halve(ctx, b, err)
		}
		if ctx.Err() != nil {
			return im.Wrap(im.Unavailable, "store messages", ctx.Err())
		}
	}
	return nil
}

// outlast waits after an attempt that may be repeated as it was, and takes out
// of the batch what that attempt has stored nevertheless. It returns an error
// when there is no time for another one.
func (l *lane) outlast(ctx context.Context, b *batch, cause error, wait *time.Duration) error {
	l.metrics.retries.WithLabelValues("unavailable").Inc()
	if errors.Is(cause, store.ErrOutcomeUnknown) {
		for _, s := range b.sends {
			s.unknown, s.tried = true, append(s.tried, s.id)
		}
	}
	if l.hopeless(cause) || !pause(ctx, wait) {
		return cause
	}
	// The answer may have been lost after the commit.
	_, err := l.reconcile(ctx, b, "unavailable")
	return err
}

// compose turns a batch into what the store commits. Cursors are computed in
// the order of the operations: a read sees the sends before it.
func (l *lane) compose(b *batch) *store.Batch {
	out := &store.Batch{Messages: make([]store.Message, 0, len(b.sends)), Epoch: l.epoch}
	newest := map[im.Conversation]im.MsgID{}
	cursors := map[store.SessionKey]im.MsgID{}
	for _, s := range b.sends {
		st := l.states.get(s.Conv)
		m := store.Message{
			Conv: s.Conv, Relation: s.relation, ID: s.id, From: s.From,
			Type: s.Type, Content: s.Content, Created: s.Created, Op: s.Op,
		}
		own := store.SessionKey{User: s.From, Kind: s.Conv.Kind, Peer: s.Conv.SessionID(s.From)}
		if s.Conv.Kind == im.Single {
			m.To = s.Conv.Pair.Peer(s.From)
			if !st.sessions[s.From] {
				other := store.SessionKey{User: m.To, Kind: im.Single, Peer: uint32(s.From)}
				out.Sessions = append(out.Sessions,
					store.SessionTouch{SessionKey: own, Updated: s.Created},
					store.SessionTouch{SessionKey: other, Updated: s.Created})
			}
		} else {
			if !st.sessions[s.From] {
				out.Sessions = append(out.Sessions, store.SessionTouch{SessionKey: own, Updated: s.Created})
			}
			cursors[own] = s.id
		}
		newest[s.Conv] = max(newest[s.Conv], s.id)
		out.Messages = append(out.Messages, m)
	}
	for _, r := range b.reads {
		last := max(l.states.get(r.Conv).last, newest[r.Conv])
		r.cursor = r.Upto
		if r.Upto == 0 || r.Upto > last {
			r.cursor = last
		}
		key := store.SessionKey{User: r.User, Kind: r.Conv.Kind, Peer: r.Conv.SessionID(r.User)}
		if r.cursor > 0 {
			cursors[key] = max(cursors[key], r.cursor)
		}
	}
	for key, read := range cursors {
		out.Cursors = append(out.Cursors, store.Cursor{SessionKey: key, Read: read})
	}
	return out
}

// reconcile compares a batch that may or may not have been stored with what
// the database holds: what is stored is taken out, the rest gets ids that are
// free. It reports whether that made a difference to the batch.
func (l *lane) reconcile(ctx context.Context, b *batch, cause string) (changed bool, err error) {
	err = l.untilDone(ctx, cause, func() error {
		again, err := l.compare(ctx, b)
		changed = changed || again
		return err
	})
	return changed, err
}

// compare is one attempt of reconcile. It may be called again after an error.
func (l *lane) compare(ctx context.Context, b *batch) (changed bool, err error) {
	if len(b.sends) == 0 {
		return false, nil
	}
	asked := make([]store.Operation, len(b.sends))
	for i, s := range b.sends {
		asked[i] = s.operation()
	}
	found, err := l.deps.Store.FindOperations(ctx, asked)
	if err != nil {
		return false, err
	}
	order, byConv := group(b.sends)
	refs := make([]store.ConvRef, len(order))
	for i, conv := range order {
		refs[i] = store.ConvRef{Conv: conv, Relation: byConv[conv][0].relation}
	}
	last, err := l.deps.Store.LastMessages(ctx, refs)
	if err != nil {
		return false, err
	}
	ranges := rangesOf(byConv)
	kept, done := b.sends[:0], []*Send(nil)
	for i, s := range b.sends {
		switch id, known := found[asked[i]]; {
		case known && id == 0:
			l.refuse(s, im.Errorf(im.Invalid, "the operation id was used in another conversation"))
		case known:
			l.stored(s, id, last[s.Conv].ID)
			done = append(done, s)
		default:
			kept = append(kept, s)
		}
		s.unknown = false
	}
	b.sends = kept
	for _, conv := range order {
		if st := l.states.get(conv); last[conv].ID > st.last {
			st.moveTo(last[conv])
			st.doubt()
		}
	}
	l.completeStored(ctx, done)
	passed, err := l.renumber(ctx, b, ranges)
	return passed || len(kept) < len(asked), err
}

// stored takes note that a send is in the database under an id.
//
// An attempt of ours whose answer was lost left it under the id we gave it, even
// when it was not there yet as we looked for it: the database goes on with a
// transaction whose connection is gone. Anything else was stored before us. What
// was given up, and stored by the database after all, is new: nobody was told of
// it. Should there be something newer, it is too late for that.
func (l *lane) stored(s *Send, id, newest im.MsgID) {
	ours := slices.Contains(s.tried, id)
	s.repeat = !ours
	if ours {
		l.states.get(s.Conv).doubt() // it may be in what was counted since
	}
	if s.repeat && id >= newest && l.givenUp.find(s.key()) != 0 {
		s.repeat = false
		l.states.get(s.Conv).doubt() // it may be counted already
	}
	s.id = id
}

// idRange is what the sends of one conversation hold of its ids.
type idRange struct {
	relation    im.RelationID
	first, last im.MsgID
}

func rangeOf(sends []*Send) idRange {
	r := idRange{relation: sends[0].relation, first: sends[0].id, last: sends[0].id}
	for _, s := range sends {
		r.first, r.last = min(r.first, s.id), max(r.last, s.id)
	}
	return r
}

func rangesOf(byConv map[im.Conversation][]*Send) map[im.Conversation]idRange {
	ranges := make(map[im.Conversation]idRange, len(byConv))
	for conv, sends := range byConv {
		ranges[conv] = rangeOf(sends)
	}
	return ranges
}

// completeStored answers the sends that a reconciliation found in the
// database.
func (l *lane) completeStored(ctx context.Context, done []*Send) {
	if len(done) == 0 {
		return
	}
	fresh := done[:0:0]
	for _, s := range done {
		l.recent.add(s.key(), s.id)
		if s.repeat {
			l.repeated(s)
		} else {
			fresh = append(fresh, s)
		}
	}
	l.complete(ctx, &batch{sends: fresh})
}

// renumber closes the holes that repeats left in the ranges of a batch, gives
// the ends of the ranges back, and takes a new range where the database has
// gone past the old one, which it reports.
func (l *lane) renumber(ctx context.Context, b *batch, ranges map[im.Conversation]idRange) (passed bool, err error) {
	_, left := group(b.sends)
	var back []cache.Reservation
	late := &batch{}
	for conv, held := range ranges {
		sends := left[conv]
		used := held.first - 1
		if newest := l.states.get(conv).last; newest >= held.first {
			late.sends = append(late.sends, sends...)
			used = min(newest, held.last)
		} else if len(sends) > 0 {
			assign(sends, held.first)
			used = sends[len(sends)-1].id
		}
		if hole := held.last - used; hole > 0 {
			back = append(back, cache.Reservation{Conv: conv, Relation: held.relation, Known: used, Count: uint32(hole)})
		}
	}
	if len(back) > 0 {
		if err := l.deps.IDs.ReturnIDs(ctx, back); err != nil {
			l.deps.Log.Debug("ids not returned", "error", err)
		}
	}
	if err := l.number(ctx, late); err != nil {
		return false, err
	}
	b.sends = slices.DeleteFunc(b.sends, func(s *Send) bool { return s.ended })
	return len(late.sends) > 0, nil
}

// halve finds the row that the database refuses: it fails alone. What is
// stored meanwhile is complete at once, whatever happens to the rest.
func (l *lane) halve(ctx context.Context, b *batch, cause error) error {
	if len(b.sends) <= 1 {
		for _, s := range b.sends {
			l.metrics.gaps.Inc()
			l.refuse(s, cause)
		}
		failed := len(b.sends) == 0
		b.sends = nil
		if failed {
			return cause // a read that the database refuses
		}
		return l.commit(ctx, b)
	}
	middle := len(b.sends) / 2
	left, right := &batch{sends: b.sends[:middle:middle]}, b.sends[middle:]
	if err := l.commit(ctx, left); err != nil {
		b.sends = slices.Concat(left.sends, right)
		return err
	}
	l.complete(ctx, left)
	b.sends = right
	// The ids of the left half may have been passed by another owner's, and are
	// behind those of the right half: nothing may be stored out of order.
	_, byConv := group(right)
	if _, err := l.renumber(ctx, b, rangesOf(byConv)); err != nil {
		return err
	}
	return l.commit(ctx, b)
}
