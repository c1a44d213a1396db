package lane

import (
	"context"
	"errors"
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
	// again maps a send to the earlier one of the same operation id.
	again map[*Send]*Send
	// unknown says that a commit may have been done although its answer was
	// lost, and that the database has not been asked since.
	unknown bool
}

// store takes a stretch of operations to its end. Every one of them is
// complete when it returns.
func (l *lane) store(ops []Operation) {
	ctx, cancel := l.patience()
	defer cancel()
	b := &batch{ops: ops, again: map[*Send]*Send{}}
	l.sort(b)
	err := l.untilDone(ctx, "resolve", func() error { return l.resolve(ctx, b) })
	if err == nil {
		err = l.number(ctx, b)
	}
	if err == nil {
		err = l.commit(ctx, b)
	}
	if err != nil {
		l.giveUp(b, err)
		return
	}
	l.complete(ctx, b)
}

// sort separates sends from reads and ends at once what needs no storing:
// operations that waited too long, and repeats of what was stored a moment
// ago.
func (l *lane) sort(b *batch) {
	now := l.deps.Clock()
	first := map[sendKey]*Send{}
	for _, op := range b.ops {
		switch op := op.(type) {
		case *Read:
			b.reads = append(b.reads, op)
		case *Send:
			key := sendKey{from: op.From, op: op.Op}
			if now.Sub(op.arrived) > l.cfg.Patience-l.cfg.Patience/8 { // storing takes time, too
				l.refuse(op, im.Errorf(im.Busy, "waited too long"))
			} else if id := l.recent.find(key); id != 0 {
				op.id = id
				l.repeated(op)
			} else if earlier := first[key]; earlier != nil {
				b.again[op] = earlier
			} else {
				first[key] = op
				b.sends = append(b.sends, op)
			}
		}
	}
}

// refuse ends a send that is not stored.
func (l *lane) refuse(s *Send, err error) {
	l.metrics.failed.WithLabelValues(im.CodeOf(err).String()).Inc()
	l.note(s, trace.Failed, l.deps.Clock(), uint32(im.CodeOf(err)))
	s.fail(err)
}

// repeated ends a send that had been stored before, under s.id.
func (l *lane) repeated(s *Send) {
	s.repeat = true
	l.metrics.repeats.Inc()
	l.note(s, trace.Repeated, l.deps.Clock(), 0)
	s.succeed()
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

// resolve settles who may send what to whom, and where each conversation
// stands. It may be called again after an error.
func (l *lane) resolve(ctx context.Context, b *batch) error {
	var (
		users  []im.UserID
		groups []im.GroupID
	)
	for _, s := range b.sends {
		users = append(users, s.From)
		if s.Conv.Kind == im.Group {
			groups = append(groups, s.Conv.Group)
		} else {
			users = append(users, s.Conv.Pair.Peer(s.From))
		}
	}
	accounts, err := l.deps.Directory.Users(ctx, users)
	if err != nil {
		return err
	}
	known, err := l.deps.Directory.Groups(ctx, groups)
	if err != nil {
		return err
	}
	l.keep(b, func(s *Send) error {
		if from := accounts[s.From]; from == nil || from.Status != im.StatusActive {
			return im.Errorf(im.Denied, "sender %d is not active", s.From)
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
	if err := l.relate(ctx, b); err != nil {
		return err
	}
	return l.recall(ctx, b)
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
	reads := b.reads[:0]
	for _, r := range b.reads {
		if r.Conv.Kind == im.Single {
			relation, ok, err := l.deps.Directory.Relation(ctx, r.Conv.Pair)
			if err != nil {
				return err
			}
			if !ok {
				r.fail(im.Errorf(im.NotFound, "no conversation"))
				continue
			}
			r.relation = relation
		}
		reads = append(reads, r)
	}
	b.reads = reads
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
			Count: uint32(len(sends)), Known: l.states.get(conv).last,
		}
	}
	first, err := l.deps.IDs.ReserveIDs(ctx, want)
	if err != nil {
		l.metrics.retries.WithLabelValues("ids_from_sql").Inc()
		first = make([]im.MsgID, len(want))
		for i := range want {
			first[i] = want[i].Known + 1
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

// giveUp ends what could not be stored. Its ids are given back; where it may
// have been stored after all, they are gaps from now on. The states are read
// again, and so are the counts: nobody knows whether they still hold.
func (l *lane) giveUp(b *batch, err error) {
	l.giveBack(b)
	for _, s := range b.sends {
		l.states.forget(s.Conv)
		l.forgetCounts(s)
		if s.id != 0 {
			l.givenUp.add(sendKey{from: s.From, op: s.Op}, s.id)
		}
		l.refuse(s, err)
	}
	for _, r := range b.reads {
		l.states.forget(r.Conv)
		key := store.SessionKey{User: r.User, Kind: r.Conv.Kind, Peer: r.Conv.SessionID(r.User)}
		l.deps.Behind.ForgetUnread(cache.Stamp{}, key)
		r.fail(err)
	}
	for repeat := range b.again {
		l.refuse(repeat, err)
	}
}

func (l *lane) giveBack(b *batch) {
	if len(b.sends) == 0 || b.sends[0].id == 0 {
		return
	}
	var back []cache.Reservation
	if !b.unknown {
		_, byConv := group(b.sends)
		for conv, sends := range byConv {
			held := rangeOf(sends)
			back = append(back, cache.Reservation{
				Conv: conv, Relation: held.relation, Known: held.first - 1, Count: uint32(held.last-held.first) + 1,
			})
		}
		ctx, cancel := l.patience()
		defer cancel()
		if l.deps.IDs.ReturnIDs(ctx, back) == nil {
			return
		}
	}
	l.metrics.gaps.Add(float64(len(b.sends)))
}

// complete remembers what was committed, leaves the counters to be written
// behind, and answers: whoever has his answer finds the counters noted.
func (l *lane) complete(ctx context.Context, b *batch) {
	now := l.deps.Clock()
	for _, s := range b.sends {
		st := l.states.get(s.Conv)
		if s.since = NoPrevious; !st.lastAt.IsZero() {
			s.since = max(now.Sub(st.lastAt), 0)
		}
		st.last, st.lastAt = max(st.last, s.id), now
		l.recent.add(sendKey{from: s.From, op: s.Op}, s.id)
		l.note(s, trace.Committed, now, uint32(len(b.sends)))
	}
	l.metrics.stored.Add(float64(len(b.sends)))
	l.count(ctx, b)
	for _, s := range b.sends {
		s.succeed()
	}
	for repeat, first := range b.again {
		repeat.id = first.id
		l.repeated(repeat)
	}
	for _, r := range b.reads {
		r.succeed()
	}
}

// untilDone repeats a step while it fails for a reason that passes.
func (l *lane) untilDone(ctx context.Context, cause string, step func() error) error {
	wait := 10 * time.Millisecond
	for {
		err := step()
		if err == nil || !im.CodeOf(err).Retryable() {
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
