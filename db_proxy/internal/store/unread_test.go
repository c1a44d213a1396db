package store

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"teamtalk/internal/im"
)

// send commits one message.
func (f fixture) send(t *testing.T, r ConvRef, from im.UserID, content string) {
	t.Helper()
	ctx := t.Context()
	id := must(f.LastMessages(ctx, []ConvRef{r}))(t)[r.Conv].ID + 1
	m := f.text(r, id, from, content)
	b := &Batch{Messages: []Message{m}, Sessions: []SessionTouch{{SessionKey{from, r.Conv.Kind, r.Conv.SessionID(from)}, m.Created}}}
	if r.Conv.Kind == im.Single {
		b.Sessions = append(b.Sessions, SessionTouch{SessionKey{m.To, im.Single, uint32(from)}, m.Created})
	} else {
		b.Cursors = []Cursor{{SessionKey{from, im.Group, uint32(r.Conv.Group)}, id}}
	}
	check(t, f.Commit(ctx, b))
	if r.Conv.Kind == im.Group {
		check(t, f.WriteActivity(ctx, Activity{Groups: map[im.GroupID]uint32{r.Conv.Group: m.Created}}))
	}
}

func (f fixture) group(t *testing.T, members ...im.UserID) ConvRef {
	t.Helper()
	id := must(f.CreateGroup(t.Context(), NewGroup{Name: "group", Creator: members[0], Type: 2, Members: members}))(t)
	return ConvRef{Conv: im.GroupOf(id)}
}

// counts writes a user's unread conversations as "single:peer=n group:id=n".
func (f fixture) counts(t *testing.T, user im.UserID) string {
	t.Helper()
	var parts []string
	for _, u := range must(f.UnreadAll(t.Context(), user))(t) {
		parts = append(parts, fmt.Sprintf("%v:%d=%d", u.Kind, u.Peer, u.Count))
		if one, all, err := f.UnreadOf(t.Context(), u.SessionKey, 100); err != nil || !all || one != u.Count {
			t.Errorf("UnreadOf %d, %v, %v, UnreadAll %+v", one, all, err, u)
		}
		if one, all, err := f.UnreadOf(t.Context(), u.SessionKey, int(u.Count)-1); err != nil || all || one != u.Count {
			t.Errorf("UnreadOf less than there are: %d, %v, %v, UnreadAll %+v", one, all, err, u)
		}
	}
	slices.Sort(parts)
	return strings.Join(parts, " ")
}

func TestUnread(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, f fixture) {
		ctx := t.Context()
		u := f.users(t, 4)
		want := func(user im.UserID, want string) {
			t.Helper()
			if got := f.counts(t, user); got != want {
				t.Errorf("unread of %d: %q, want %q", user, got, want)
			}
		}
		pair, group := f.relation(t, u[0], u[1]), f.group(t, u[0], u[1], u[2])
		s12, s21 := fmt.Sprintf("single:%d", u[1]), fmt.Sprintf("single:%d", u[0])
		g := fmt.Sprintf("group:%d", group.Conv.Group)
		want(u[0], "")

		// Both directions share the sequence; only the other's messages count.
		f.send(t, pair, u[0], "1")
		f.send(t, pair, u[1], "2")
		f.send(t, pair, u[0], "3")
		f.send(t, pair, u[0], "4")
		want(u[0], s12+"=1")
		want(u[1], s21+"=3")
		check(t, f.MoveCursors(ctx, []Cursor{{SessionKey{u[1], im.Single, uint32(u[0])}, 3}}))
		want(u[1], s21+"=1")
		if got := must(f.UnreadAll(ctx, u[1]))(t); got[0].Latest != (Last{4, f.clock.seconds()}) || got[0].Relation != pair.Relation {
			t.Errorf("unread %+v, want latest 4", got)
		}
		if n, all, err := f.UnreadOf(ctx, SessionKey{u[0], im.Single, uint32(u[3])}, 100); n != 0 || !all || err != nil {
			t.Errorf("unread of nobody: %d, %v, %v", n, all, err)
		}

		// Sending to a group moves one's own cursor; one's own never count.
		f.send(t, group, u[0], "a")
		f.send(t, group, u[1], "b")
		f.send(t, group, u[1], "c")
		want(u[0], g+"=2 "+s12+"=1")
		want(u[1], s21+"=1")
		want(u[2], g+"=3")
		want(u[3], "")

		// Who joins has read everything, and who comes back once more.
		f.clock.add(10)
		must(f.ChangeMembers(ctx, group.Conv.Group, []im.UserID{u[3]}, []im.UserID{u[2]}))(t)
		want(u[2], "")
		want(u[3], "")
		f.send(t, group, u[0], "d")
		want(u[3], g+"=1")
		want(u[2], "")
		must(f.ChangeMembers(ctx, group.Conv.Group, []im.UserID{u[2]}, nil))(t)
		want(u[2], "")
		f.clock.add(1)
		f.send(t, group, u[3], "e")
		want(u[2], g+"=1")
		want(u[3], "")
		check(t, f.MoveCursors(ctx, []Cursor{{SessionKey{u[2], im.Group, uint32(group.Conv.Group)}, 2}})) // goes nowhere
		want(u[2], g+"=1")

		// Removing a line clears its counter.
		if !must(f.RemoveSession(ctx, SessionKey{u[1], im.Single, uint32(u[0])}))(t) {
			t.Error("session not found")
		}
		want(u[1], g+"=2")
	})
}

// A message stored before the member joined does not count, whatever his
// cursor says.
func TestUnreadSinceJoined(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, f fixture) {
		u := f.users(t, 2)
		group := f.group(t, u[0])
		f.send(t, group, u[0], "before")
		f.clock.add(5)
		ctx := t.Context()
		check(t, f.update(ctx, "test", func(q querier) error {
			// Without a cursor and the newest id, as an original writes it.
			if err := f.addMembers(ctx, q, group.Conv.Group, 0, u[1:]); err != nil {
				return err
			}
			_, err := q.exec(ctx, "UPDATE IMGroupMember SET joinedId = NULL WHERE userId = ?", u[1])
			return err
		}))
		if got := f.counts(t, u[1]); got != "" {
			t.Errorf("unread %q, want none", got)
		}
		f.send(t, group, u[0], "after")
		if got := f.counts(t, u[1]); got != fmt.Sprintf("group:%d=1", group.Conv.Group) {
			t.Errorf("unread %q, want 1", got)
		}
	})
}

// More conversations than fit into one arm or one statement.
func TestUnreadOfMany(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, f fixture) {
		n := 9000
		if f.cfg.Driver == SQLite {
			n = 2000 // the same statements, and a slow engine under the race detector
		}
		ctx := t.Context()
		var pairs []im.Pair
		for i := range n {
			pairs = append(pairs, im.PairOf(1, im.UserID(i+2)))
		}
		b := &Batch{}
		for p, id := range must(f.EnsureRelations(ctx, pairs))(t) {
			r := ConvRef{im.SingleOf(p.Small, p.Big), id}
			b.Messages = append(b.Messages, f.text(r, 1, p.Peer(1), "x"))
			b.Sessions = append(b.Sessions, SessionTouch{SessionKey{1, im.Single, uint32(p.Peer(1))}, 7})
		}
		check(t, f.Commit(ctx, b))
		if all := must(f.UnreadAll(ctx, 1))(t); len(all) != n {
			t.Errorf("%d conversations unread, want %d", len(all), n)
		}
		var refs []ConvRef
		for _, m := range b.Messages {
			refs = append(refs, m.ref())
		}
		if all := must(f.Latest(ctx, refs))(t); len(all) != n {
			t.Errorf("latest of %d conversations, want %d", len(all), n)
		}
	})
}

func TestSessions(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, f fixture) {
		ctx := t.Context()
		u := f.users(t, 4)
		pair, other, group := f.relation(t, u[0], u[1]), f.relation(t, u[0], u[2]), f.group(t, u[0], u[1], u[2])
		lines := func(user im.UserID, since uint32) string {
			t.Helper()
			var parts []string
			for _, s := range must(f.Sessions(ctx, user, since, 100))(t) {
				parts = append(parts, fmt.Sprintf("%v:%d@%d/%d", s.Kind, s.Peer, s.Updated-1_700_000_000, s.Relation))
			}
			return strings.Join(parts, " ")
		}
		want := func(user im.UserID, since uint32, want string) {
			t.Helper()
			if got := lines(user, since); got != want {
				t.Errorf("sessions of %d since %d: %q, want %q", user, since, got, want)
			}
		}
		want(u[0], 0, "")
		start := f.clock.seconds()
		f.clock.add(1)
		f.send(t, pair, u[0], "1")
		f.clock.add(1)
		f.send(t, group, u[1], "2")
		f.clock.add(1)
		f.send(t, other, u[2], "3")
		p := fmt.Sprintf("single:%d@1/%d", u[1], pair.Relation)
		o := fmt.Sprintf("single:%d@3/%d", u[2], other.Relation)
		g := func(at int) string { return fmt.Sprintf("group:%d@%d/0", group.Conv.Group, at) }
		want(u[0], 0, o+" "+g(2)+" "+p)
		want(u[0], start+2, o)
		want(u[3], 0, "")

		// Removed lines stay away until the next message.
		key := SessionKey{u[0], im.Group, uint32(group.Conv.Group)}
		for _, want := range []bool{true, false} {
			if found := must(f.RemoveSession(ctx, key))(t); found != want {
				t.Errorf("remove group line: found %v, want %v", found, want)
			}
		}
		if !must(f.RemoveSession(ctx, SessionKey{u[0], im.Single, uint32(u[1])}))(t) {
			t.Error("line of the pair not found")
		}
		if must(f.RemoveSession(ctx, SessionKey{u[3], im.Group, uint32(group.Conv.Group)}))(t) {
			t.Error("a stranger removed a line")
		}
		want(u[0], 0, o)
		f.clock.add(1)
		f.send(t, group, u[1], "4")
		f.send(t, pair, u[1], "5")
		want(u[0], 0, fmt.Sprintf("single:%d@4/%d", u[1], pair.Relation)+" "+g(4)+" "+o)

		// The line goes with the membership, and comes back with a message.
		f.clock.add(1)
		must(f.ChangeMembers(ctx, group.Conv.Group, nil, []im.UserID{u[2]}))(t)
		want(u[2], 0, fmt.Sprintf("single:%d@3/%d", u[0], other.Relation))
		f.clock.add(1)
		f.send(t, group, u[1], "6")
		f.clock.add(1)
		must(f.ChangeMembers(ctx, group.Conv.Group, []im.UserID{u[2]}, nil))(t)
		want(u[2], 0, fmt.Sprintf("single:%d@3/%d", u[0], other.Relation))
		f.clock.add(1)
		f.send(t, group, u[0], "7")
		want(u[2], 0, g(8)+" "+fmt.Sprintf("single:%d@3/%d", u[0], other.Relation))
	})
}

func TestHistory(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, f fixture) {
		ctx := t.Context()
		u := f.users(t, 3)
		pair, group, empty := f.relation(t, u[0], u[1]), f.group(t, u...), f.relation(t, u[1], u[2])
		for range 10 {
			f.clock.add(1)
			f.send(t, pair, u[0], "x")
			f.send(t, group, u[1], "y")
		}
		ids := func(all []Message, err error) string {
			t.Helper()
			check(t, err)
			var out []im.MsgID
			for _, m := range all {
				out = append(out, m.ID)
			}
			return fmt.Sprint(out)
		}
		joined := Since{Time: f.clock.seconds() - 3}
		f.exec(t, fmt.Sprintf("UPDATE IMMessage_%d SET status = 1 WHERE relateId = %d AND msgId = 9", pair.Relation%8, pair.Relation))
		f.exec(t, fmt.Sprintf("UPDATE IMMessage_%d SET type = 99 WHERE relateId = %d AND msgId = 10", pair.Relation%8, pair.Relation))
		f.exec(t, fmt.Sprintf("UPDATE IMMessage_%d SET content = NULL WHERE relateId = %d AND msgId = 8", pair.Relation%8, pair.Relation))
		f.exec(t, fmt.Sprintf("UPDATE IMMessage_%d SET created = created + 60 WHERE relateId = %d AND msgId = 2", pair.Relation%8, pair.Relation))
		for name, c := range map[string]struct{ got, want string }{
			"newest":          {ids(f.History(ctx, pair, 0, 3, Since{})), "[8 7 6]"},
			"from an id":      {ids(f.History(ctx, pair, 4, 2, Since{})), "[4 3]"},
			"past the start":  {ids(f.History(ctx, pair, 2, 100, Since{})), "[2 1]"},
			"nothing asked":   {ids(f.History(ctx, pair, 0, 0, Since{})), "[]"},
			"no messages":     {ids(f.History(ctx, empty, 0, 9, Since{})), "[]"},
			"no relation":     {ids(f.History(ctx, ConvRef{Conv: pair.Conv}, 0, 9, Since{})), "[]"},
			"group":           {ids(f.History(ctx, group, 0, 2, Since{})), "[10 9]"},
			"since joined":    {ids(f.History(ctx, group, 0, 100, joined)), "[10 9 8 7]"},
			"before joined":   {ids(f.History(ctx, group, 5, 100, joined)), "[]"},
			"by id":           {ids(f.ByIDs(ctx, pair, []im.MsgID{3, 99, 1, 9, 3}, Since{})), "[3 1]"},
			"by id in group":  {ids(f.ByIDs(ctx, group, []im.MsgID{1, 8}, joined)), "[8]"},
			"by id, no ids":   {ids(f.ByIDs(ctx, group, nil, Since{})), "[]"},
			"by id, too many": {ids(f.ByIDs(ctx, pair, make([]im.MsgID, 5000), Since{})), "[]"},
		} {
			if c.got != c.want {
				t.Errorf("%s: %s, want %s", name, c.got, c.want)
			}
		}
		latest := must(f.Latest(ctx, []ConvRef{pair, group, empty}))(t)
		if len(latest) != 2 || latest[pair.Conv].ID != 8 || latest[group.Conv].ID != 10 ||
			latest[pair.Conv].To != u[1] || latest[group.Conv].From != u[1] || latest[pair.Conv].Content != "" {
			t.Errorf("latest %+v", latest)
		}
		if last := must(f.LastMessages(ctx, []ConvRef{pair}))(t)[pair.Conv]; last.ID != 10 {
			t.Errorf("last id %d, want 10: hidden messages number, too", last.ID)
		}
	})
}

// number reads what no method of the store tells.
func (f fixture) number(t *testing.T, text string) (n int) {
	t.Helper()
	check(t, f.write.db.QueryRowContext(t.Context(), text).Scan(&n))
	return n
}

// exec runs a statement that no method of the store offers.
func (f fixture) exec(t *testing.T, text string) {
	t.Helper()
	if _, err := f.write.db.ExecContext(t.Context(), text); err != nil {
		t.Fatal(err)
	}
}
