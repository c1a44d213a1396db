package store

import (
	"cmp"
	"context"
	"slices"

	"teamtalk/internal/im"
)

// MaxTerminals is how many terminals of a user are remembered: the one that
// logged in longest ago is forgotten for a new one.
const MaxTerminals = 16

// MaxTerminalName is the longest name of a terminal, in bytes.
const MaxTerminalName = 64

// touchAfter is how old the time of a terminal's last log-in may be, in
// seconds: exact times would cost a write per log-in.
const touchAfter = 3600

// Terminal names a terminal of a user.
type Terminal struct {
	User im.UserID
	Name string
}

// Delivery is the last message that arrived at a terminal in a conversation.
// It only rises.
type Delivery struct {
	Terminal
	Kind im.Kind
	Peer uint32
	Upto im.MsgID
}

// Backlog is where a terminal stands in a conversation.
type Backlog struct {
	SessionKey
	Upto   im.MsgID // arrived; without anything, before the user joined
	Newest im.MsgID // stored
}

// The conversations in which messages wait for a terminal: as in unread.go,
// with its delivery cursors. A cursor that is behind the beginning of the
// membership stands: what is between was missed and is marked as a gap.
const (
	waitingSingles = `SELECT s.peerId, r.id, COALESCE(d.msgId, 0)
		FROM IMRecentSession s
		JOIN IMRelationShip r ON r.smallId = LEAST(s.userId, s.peerId) AND r.bigId = GREATEST(s.userId, s.peerId)
		LEFT JOIN IMDeliveryCursor d ON d.userId = s.userId AND d.terminal = ? AND d.type = 1 AND d.peerId = s.peerId
		WHERE s.userId = ? AND s.type = 1`
	everyGroup = `SELECT m.groupId, m.groupId, COALESCE(d.msgId, m.joinedId, 0)
		FROM IMGroupMember m
		JOIN IMGroup g ON g.id = m.groupId AND g.status = 0
		LEFT JOIN IMDeliveryCursor d ON d.userId = m.userId AND d.terminal = ? AND d.type = 2 AND d.peerId = m.groupId
		WHERE m.userId = ?`
	waitingGroups = everyGroup + " AND m.status = 0"
)

// OpenTerminal returns the conversations in which messages wait for a
// terminal. One that is not known begins now: nothing waits for it.
func (s *Store) OpenTerminal(ctx context.Context, t Terminal) (waiting []Backlog, err error) {
	if t.User == 0 || t.Name == "" {
		return nil, im.Errorf(im.Invalid, "store: terminal without a name")
	}
	if err := checkText("terminal", t.Name, MaxTerminalName); err != nil {
		return nil, err
	}
	var seen uint64
	err = s.read(ctx, "open_terminal", s.exact, func(q querier) (err error) {
		waiting = nil
		seen, err = number(ctx, q,
			"SELECT updated FROM IMDeliveryCursor WHERE userId = ? AND terminal = ? AND type = 0 AND peerId = 0", t.User, t.Name)
		if err == nil && seen != 0 {
			waiting, err = s.waiting(ctx, q, t, waitingGroups)
		}
		return err
	})
	switch {
	case err != nil:
		return nil, err
	case seen == 0:
		return nil, s.addTerminal(ctx, t)
	case uint64(s.now()) > seen+touchAfter:
		err = s.update(ctx, "touch_terminal", func(q querier) error {
			_, err := q.exec(ctx, `UPDATE IMDeliveryCursor SET updated = ?
				WHERE userId = ? AND terminal = ? AND type = 0 AND peerId = 0`, s.now(), t.User, t.Name)
			return err
		})
	}
	waiting = slices.DeleteFunc(waiting, func(b Backlog) bool { return b.Newest <= b.Upto })
	return waiting, err
}

// waiting returns where a terminal stands in each of its conversations, of
// which the groups are those that a constant query names.
func (s *Store) waiting(ctx context.Context, q querier, t Terminal, groups string) (all []Backlog, err error) {
	var refs []ConvRef
	for _, part := range []struct {
		kind im.Kind
		text string
	}{{im.Single, waitingSingles}, {im.Group, groups}} {
		kind := part.kind
		scan := func(r scanner) (b Backlog, err error) {
			var key uint32
			if err := r.Scan(&b.Peer, &key, &b.Upto); err != nil {
				return b, err
			}
			b.User, b.Kind = t.User, kind
			ref := ConvRef{Conv: im.ConversationOf(t.User, kind, b.Peer)}
			if kind == im.Single {
				ref.Relation = im.RelationID(key)
			}
			refs = append(refs, ref)
			return b, nil
		}
		some, err := list(ctx, q, scan, part.text, t.Name, t.User)
		if err != nil {
			return nil, err
		}
		all = append(all, some...)
	}
	last, err := lastMessages(ctx, q, refs)
	if err != nil {
		return nil, err
	}
	for i := range all {
		all[i].Newest = last[refs[i].Conv].ID
	}
	slices.SortFunc(all, func(a, b Backlog) int { return compareKeys(a.SessionKey, b.SessionKey) })
	return all, nil
}

// addTerminal makes a terminal known, with a cursor at the end of every
// conversation that has messages; also of groups that the user left, where it
// begins if they come back.
func (s *Store) addTerminal(ctx context.Context, t Terminal) error {
	return s.update(ctx, "add_terminal", func(q querier) error {
		if err := forgetTerminals(ctx, q, t.User); err != nil {
			return err
		}
		all, err := s.waiting(ctx, q, t, everyGroup)
		if err != nil {
			return err
		}
		cursors := []Delivery{{Terminal: t}} // the row that makes it known
		for _, b := range all {
			if b.Newest > 0 {
				cursors = append(cursors, Delivery{t, b.Kind, b.Peer, b.Newest})
			}
		}
		var w writes
		s.addDeliveries(&w, cursors)
		for _, st := range w.all {
			if err := q.run(ctx, st); err != nil {
				return err
			}
		}
		return nil
	})
}

// forgetTerminals makes room for another terminal of a user.
func forgetTerminals(ctx context.Context, q querier, user im.UserID) error {
	type row struct {
		name string
		seen uint32
	}
	scan := func(r scanner) (v row, err error) { return v, r.Scan(&v.name, &v.seen) }
	known, err := list(ctx, q, scan,
		"SELECT terminal, updated FROM IMDeliveryCursor WHERE userId = ? AND type = 0 AND peerId = 0", user)
	if err != nil {
		return err
	}
	slices.SortFunc(known, func(a, b row) int {
		return cmp.Or(cmp.Compare(b.seen, a.seen), cmp.Compare(b.name, a.name))
	})
	old := known[min(len(known), MaxTerminals-1):]
	if len(old) == 0 {
		return nil
	}
	st := q.stmt("DELETE FROM IMDeliveryCursor WHERE userId = ").num(uint64(user)).
		add(" AND terminal IN (").str(old[0].name)
	for _, o := range old[1:] {
		st.add(",").str(o.name)
	}
	return q.run(ctx, st.add(")"))
}

// DeliveredUpto returns where a known terminal stands in a conversation: its
// cursor, without one what is before the user joined.
func (s *Store) DeliveredUpto(ctx context.Context, t Terminal, kind im.Kind, peer uint32) (upto im.MsgID, err error) {
	text, args := `SELECT msgId FROM IMDeliveryCursor
		WHERE userId = ? AND terminal = ? AND type = 1 AND peerId = ?`, []any{t.User, t.Name, peer}
	if kind == im.Group {
		text, args = `SELECT COALESCE(d.msgId, m.joinedId, 0) FROM IMGroupMember m
			LEFT JOIN IMDeliveryCursor d ON d.userId = m.userId AND d.terminal = ? AND d.type = 2 AND d.peerId = m.groupId
			WHERE m.userId = ? AND m.groupId = ?`, []any{t.Name, t.User, peer}
	}
	err = s.read(ctx, "delivered_upto", s.exact, func(q querier) error {
		n, err := number(ctx, q, text, args...)
		upto = im.MsgID(n)
		return err
	})
	return upto, err
}

// keepPlaces gives the known terminals of users who come back to a group, and
// got nothing of it, a cursor where their membership before began: what they
// missed then is marked as a gap. It is called before the new membership is
// written.
func (s *Store) keepPlaces(ctx context.Context, q querier, group im.GroupID, users []im.UserID) error {
	st := q.stmt("INSERT IGNORE INTO IMDeliveryCursor (userId, terminal, type, peerId, msgId, updated) " +
		"SELECT d.userId, d.terminal, 2, m.groupId, m.joinedId, ").num(uint64(s.now())).
		add(" FROM IMGroupMember m JOIN IMDeliveryCursor d ON d.userId = m.userId AND d.type = 0 AND d.peerId = 0" +
			" WHERE m.joinedId IS NOT NULL AND m.status <> 0 AND m.groupId = ").num(uint64(group)).add(" AND m.userId IN ")
	return q.run(ctx, nums(st, users))
}

// WriteDeliveries moves delivery cursors forward; one that is ahead already
// stays.
func (s *Store) WriteDeliveries(ctx context.Context, cursors []Delivery) error {
	for part := range slices.Chunk(cursors, 5*insertRows) {
		var w writes
		s.addDeliveries(&w, part)
		if err := s.commit(ctx, "write_deliveries", w.all, nil); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) addDeliveries(w *writes, cursors []Delivery) {
	now := uint64(s.now())
	cursors = slices.Clone(cursors)
	slices.SortFunc(cursors, func(a, b Delivery) int {
		return cmp.Or(cmp.Compare(a.User, b.User), cmp.Compare(a.Name, b.Name),
			cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Peer, b.Peer))
	})
	for part := range slices.Chunk(cursors, insertRows) {
		st := newStmt(s.dialect, "INSERT INTO IMDeliveryCursor (userId, terminal, type, peerId, msgId, updated) VALUES ")
		for _, c := range part {
			st.row(uint64(c.User)).add(",").str(c.Name).
				col(uint64(c.Kind)).col(uint64(c.Peer)).col(uint64(c.Upto)).col(now).end()
		}
		w.all = append(w.all, st.add(" ON DUPLICATE KEY UPDATE msgId = GREATEST(msgId, VALUES(msgId)),"+
			" updated = GREATEST(updated, VALUES(updated))"))
	}
}
