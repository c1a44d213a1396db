package lane

import (
	"context"
	"errors"
	"slices"
	"time"

	"teamtalk/db_proxy/internal/cache"
	"teamtalk/db_proxy/internal/store"
	"teamtalk/internal/im"
	"teamtalk/internal/trace"
)

// batch is a stretch of operations that one commit stores.
type batch struct {
	ops   []Operation // as they came
	sends []*Send     // those that are still to be stored, as they came
	reads []*Read
}

// store takes a stretch of operations to its end. Every one of them is
// complete when it returns.
func (l *lane) store(ops []Operation) {
	ctx, cancel := l.patience()
	defer cancel()
	b := &batch{ops: ops}
	l.enter()
	l.sort(b)
	err := l.attempt(ctx, b)
	for errors.Is(err, store.ErrWentBack) && ctx.Err() == nil {
		l.metrics.retries.WithLabelValues("went_back").Inc()
		l.enter()
		err = l.attempt(ctx, b)
	}
	if err != nil {
		l.giveUp(b, err)
		return
	}
	l.complete(ctx, b)
}

// attempt stores a batch by what is known in one epoch of the database.
func (l *lane) attempt(ctx context.Context, b *batch) error {
	if l.deps.Store.Well() == nil {
		l.away = time.Time{}
	}
	if err := l.untilDone(ctx, "resolve", func() error { return l.resolve(ctx, b) }); err != nil {
		return err
	}
	if err := l.number(ctx, b); err != nil {
		return err
	}
	return l.commit(ctx, b)
}

// sort separates sends from reads and ends at once what is not to be stored.
func (l *lane) sort(b *batch) {
	now := l.deps.Clock()
	first := map[sendKey]*Send{}
	for _, op := range b.ops {
		switch op := op.(type) {
		case *Read:
			b.reads = append(b.reads, op)
		case *Send:
			l.admit(b, op, first, now)
		}
	}
}

// admit takes a send into the batch, unless it waited too long, the database
// would refuse it, which is found out before it is given an id, or it repeats
// what was stored a moment ago or comes first in the batch.
func (l *lane) admit(b *batch, s *Send, first map[sendKey]*Send, now time.Time) {
	if now.Sub(s.arrived) > l.cfg.Patience-l.cfg.Patience/8 { // storing takes time, too
		l.refuse(s, im.Errorf(im.Busy, "waited too long"))
		return
	}
	if err := store.Storable(s.Conv.Kind, s.Type, s.Content); err != nil {
		l.refuse(s, err)
		return
	}
	keys := s.keys()
	for _, key := range keys {
		if id := l.recent.find(key); id != 0 {
			s.id = id
			l.repeated(s)
			return
		}
		if earlier := first[key]; earlier != nil {
			earlier.again = append(earlier.again, s)
			return
		}
	}
	for _, key := range keys {
		first[key] = s
	}
	b.sends = append(b.sends, s)
}

// refuse ends a send that is not stored, and those that share its outcome.
func (l *lane) refuse(s *Send, err error) {
	l.metrics.failed.WithLabelValues(im.CodeOf(err).String()).Inc()
	l.note(s, trace.Failed, l.deps.Clock(), uint32(im.CodeOf(err)))
	s.fail(err)
	for _, again := range s.again {
		l.refuse(again, err)
	}
}

// repeated ends a send that had been stored before, under s.id.
func (l *lane) repeated(s *Send) {
	s.repeat = true
	l.metrics.repeats.Inc()
	l.note(s, trace.Repeated, l.deps.Clock(), 0)
	l.succeed(s)
}

// succeed answers a send that is stored, and those that repeat it.
func (l *lane) succeed(s *Send) {
	s.succeed()
	for _, again := range s.again {
		again.id = s.id
		l.repeated(again)
	}
}

// note remembers an event of a send for "teamtalk trace".
func (l *lane) note(s *Send, event trace.Event, at time.Time, detail uint32) {
	l.deps.Trace.Note(&trace.Record{
		At: at.UnixNano(), Event: event, Conv: s.Conv, Msg: s.id, Op: s.Op, User: s.From, Detail: detail,
	})
}

// keep drops the sends that f refuses.
func (l *lane) keep(b *batch, f func(*Send) error) {
	kept := b.sends[:0]
	for _, s := range b.sends {
		if err := f(s); err != nil {
			l.refuse(s, err)
			continue
		}
		kept = append(kept, s)
	}
	b.sends = kept
}

// keepReads drops the reads that f refuses.
func (l *lane) keepReads(b *batch, f func(*Read) error) {
	kept := b.reads[:0]
	for _, r := range b.reads {
		if err := f(r); err != nil {
			r.fail(err)
			continue
		}
		kept = append(kept, r)
	}
	b.reads = kept
}

// parties lists those who take part in a batch: whoever sends, receives or reads,
// and the groups that are written to.
func (b *batch) parties() (users []im.UserID, groups []im.GroupID) {
	for _, s := range b.sends {
		users = append(users, s.From)
		if s.Conv.Kind == im.Group {
			groups = append(groups, s.Conv.Group)
		} else {
			users = append(users, s.Conv.Pair.Peer(s.From))
		}
	}
	for _, r := range b.reads {
		users = append(users, r.User)
	}
	return users, groups
}

// resolve settles who may send what to whom, and where each conversation
// stands. It may be called again after an error.
func (l *lane) resolve(ctx context.Context, b *batch) error {
	users, groups := b.parties()
	accounts, err := l.deps.Directory.Users(ctx, users)
	if err != nil {
		return err
	}
	known, err := l.deps.Directory.Groups(ctx, groups)
	if err != nil {
		return err
	}
	l.keep(b, func(s *Send) error {
		if err := active(accounts, s.From); err != nil {
			return err
		}
		if s.Conv.Kind == im.Single {
			if to := accounts[s.Conv.Pair.Peer(s.From)]; to == nil || to.Status == im.StatusLeft {
				return im.Errorf(im.NotFound, "no receiver")
			}
			return nil
		}
		s.group = known[s.Conv.Group]
		if s.group == nil {
			return im.Errorf(im.NotFound, "group %d", s.Conv.Group)
		}
		if !s.group.Has(s.From) && !s.Outsider {
			return im.Errorf(im.Denied, "user %d is not in group %d", s.From, s.Conv.Group)
		}
		return nil
	})
	l.keepReads(b, func(r *Read) error { return active(accounts, r.User) })
	if err := l.relate(ctx, b); err != nil {
		return err
	}
	if err := l.recall(ctx, b); err != nil {
		return err
	}
	return l.findFormer(ctx, b)
}

// findFormer ends the repeats of what an earlier version has stored, under an
// id that did not belong to the conversation.
func (l *lane) findFormer(ctx context.Context, b *batch) error {
	var ask []store.FormerOperation
	for _, s := range b.sends {
		if !s.Former.IsZero() {
			ask = append(ask, store.FormerOperation{Operation: s.operation(), Former: s.Former})
		}
	}
	found, err := l.deps.Store.FindFormer(ctx, ask)
	if err != nil || len(found) == 0 {
		return err
	}
	b.sends = slices.DeleteFunc(b.sends, func(s *Send) bool {
		id, stored := found[s.operation()]
		if stored {
			s.id = id
			l.recent.add(s.key(), id)
			l.repeated(s)
		}
		return stored
	})
	return nil
}

// relate finds the relation of every single conversation, and makes it for
// the first message.
func (l *lane) relate(ctx context.Context, b *batch) error {
	var pairs []im.Pair
	for _, s := range b.sends {
		if s.Conv.Kind == im.Single {
			pairs = append(pairs, s.Conv.Pair)
		}
	}
	relations, err := l.deps.Directory.EnsureRelations(ctx, pairs)
	if err != nil {
		return err
	}
	for _, s := range b.sends {
		s.relation = relations[s.Conv.Pair]
	}
	pairs = pairs[:0]
	for _, r := range b.reads {
		if r.Conv.Kind == im.Single {
			pairs = append(pairs, r.Conv.Pair)
		}
	}
	if relations, err = l.deps.Directory.Relations(ctx, pairs); err != nil {
		return err
	}
	l.keepReads(b, func(r *Read) error {
		if r.relation = relations[r.Conv.Pair]; r.relation == 0 && r.Conv.Kind == im.Single {
			return im.Errorf(im.NotFound, "no conversation")
		}
		return nil
	})
	return nil
}

// recall loads the state of the conversations that are not remembered, and the
// newest id of those in which somebody reads: what was sent a moment ago over
// another owner is not read yet, and whoever was shown more than is known here
// has read it.
func (l *lane) recall(ctx context.Context, b *batch) error {
	var ask []store.ConvRef
	asked := map[im.Conversation]bool{}
	want := func(conv im.Conversation, relation im.RelationID) {
		if !asked[conv] {
			asked[conv] = true
			ask = append(ask, store.ConvRef{Conv: conv, Relation: relation})
		}
	}
	for _, s := range b.sends {
		if st := l.states.get(s.Conv); st != nil {
			st.refresh()
		} else {
			want(s.Conv, s.relation)
		}
	}
	for _, r := range b.reads {
		if st := l.states.get(r.Conv); st != nil {
			st.refresh()
		}
		want(r.Conv, r.relation)
	}
	if len(ask) == 0 {
		return nil
	}
	last, err := l.deps.Store.LastMessages(ctx, ask)
	if err != nil {
		return err
	}
	for _, ref := range ask {
		if st := l.states.get(ref.Conv); st != nil && st.last == last[ref.Conv].ID {
			continue
		}
		l.states.put(ref.Conv, newState(last[ref.Conv]))
	}
	return nil
}

// number gives every send its id: one range per conversation, in the order
// of arrival. Without Redis the ids follow what SQL holds.
func (l *lane) number(ctx context.Context, b *batch) error {
	if len(b.sends) == 0 {
		return nil
	}
	order, byConv := group(b.sends)
	want := make([]cache.Reservation, len(order))
	for i, conv := range order {
		sends := byConv[conv]
		want[i] = cache.Reservation{
			Conv: conv, Relation: sends[0].relation,
			Count: uint32(len(sends)), Known: l.states.get(conv).last, Lead: l.lead(l.states.get(conv)),
		}
	}
	first, err := l.deps.IDs.ReserveIDs(ctx, want)
	if err != nil {
		l.metrics.retries.WithLabelValues("ids_from_sql").Inc()
		first = make([]im.MsgID, len(want))
		for i := range want {
			first[i] = want[i].Known + want[i].Lead + 1
		}
	}
	if err == nil {
		l.closeHoles(ctx, want, first)
	}
	for i, conv := range order {
		assign(byConv[conv], first[i])
	}
	l.keep(b, func(s *Send) error {
		if s.id > im.MaxMsgID {
			return im.Errorf(im.TooLarge, "conversation is full")
		}
		return nil
	})
	return nil
}

func assign(sends []*Send, first im.MsgID) {
	for i, s := range sends {
		s.id = first + im.MsgID(i)
	}
}

// group splits sends by conversation, in the order of first appearance.
func group(sends []*Send) (order []im.Conversation, byConv map[im.Conversation][]*Send) {
	byConv = make(map[im.Conversation][]*Send)
	for _, s := range sends {
		if byConv[s.Conv] == nil {
			order = append(order, s.Conv)
		}
		byConv[s.Conv] = append(byConv[s.Conv], s)
	}
	return order, byConv
}
