package store

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"teamtalk/internal/im"
)

func TestCommitAndFind(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, f fixture) {
		ctx := t.Context()
		u := f.users(t, 3)
		single, other := f.relation(t, u[0], u[1]), f.relation(t, u[1], u[2])
		group := ConvRef{Conv: im.GroupOf(must(f.CreateGroup(ctx, NewGroup{Name: "g", Creator: u[0], Type: 2, Members: u}))(t))}

		m := f.text(single, 1, u[0], "first")
		m.Op = opID(1)
		g := f.text(group, 1, u[1], "to all")
		g.Op = opID(1) // the sender is part of the key
		check(t, f.Commit(ctx, &Batch{
			Messages: []Message{g, f.text(other, 1, u[2], "hm"), m, f.text(single, 2, u[1], "second")},
			Sessions: []SessionTouch{{SessionKey{u[0], im.Single, uint32(u[1])}, f.clock.seconds()}},
			Cursors:  []Cursor{{SessionKey{u[1], im.Group, uint32(group.Conv.Group)}, 1}},
		}))

		last := must(f.LastMessages(ctx, []ConvRef{single, other, group, f.relation(t, u[0], u[2])}))(t)
		want := map[im.Conversation]Last{
			single.Conv: {2, f.clock.seconds()}, other.Conv: {1, f.clock.seconds()}, group.Conv: {1, f.clock.seconds()},
			im.SingleOf(u[0], u[2]): {},
		}
		if fmt.Sprint(last) != fmt.Sprint(want) {
			t.Errorf("last messages %v, want %v", last, want)
		}

		ops := []Operation{
			{single.Conv, single.Relation, u[0], opID(1)},
			{group.Conv, 0, u[1], opID(1)},
			{single.Conv, single.Relation, u[1], opID(1)}, // never sent
			f.sameTable(t, single, u[0], opID(1)),         // sent elsewhere
		}
		found := must(f.FindOperations(ctx, ops))(t)
		if len(found) != 3 || found[ops[0]] != 1 || found[ops[1]] != 1 {
			t.Errorf("found %v", found)
		}
		if id, taken := found[ops[3]]; !taken || id != 0 {
			t.Errorf("an id that its sender used in another conversation: %d, %v", id, taken)
		}
	})
}

func TestCommitIsAllOrNothing(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, f fixture) {
		ctx := t.Context()
		u := f.users(t, 9)
		a, b := f.relation(t, u[0], u[1]), f.relation(t, u[0], u[2])
		first := f.text(a, 1, u[0], "x")
		first.Op = opID(7)
		check(t, f.Commit(ctx, &Batch{Messages: []Message{first}}))

		repeat := f.text(a, 2, u[0], "the same operation")
		repeat.Op = opID(7)
		for name, bad := range map[string]Message{
			"message id":   f.text(a, 1, u[1], "taken"),
			"operation id": repeat,
		} {
			err := f.Commit(ctx, &Batch{
				Messages: []Message{f.text(b, 1, u[0], "must not stay"), bad},
				Sessions: []SessionTouch{{SessionKey{u[0], im.Single, uint32(u[2])}, 5}},
				Cursors:  []Cursor{{SessionKey{u[0], im.Single, uint32(u[2])}, 1}},
			})
			if !errors.Is(err, ErrDuplicate) || errors.Is(err, ErrOutcomeUnknown) {
				t.Errorf("%s: error %v, want ErrDuplicate", name, err)
			}
		}
		if l := must(f.LastMessages(ctx, []ConvRef{b}))(t)[b.Conv]; l.ID != 0 {
			t.Errorf("a refused batch left message %d", l.ID)
		}
		if s := must(f.Sessions(ctx, u[0], 0, 100))(t); len(s) != 0 {
			t.Errorf("a refused batch left sessions %v", s)
		}
		if c := must(f.Cursors(ctx, u[0]))(t); len(c) != 0 {
			t.Errorf("a refused batch left cursors %v", c)
		}
		// The connection it failed on is clean: what follows is committed.
		for i := range 8 {
			check(t, f.Commit(ctx, &Batch{Messages: []Message{f.text(b, im.MsgID(i+1), u[0], "ok")}}))
		}
		if l := must(f.LastMessages(ctx, []ConvRef{b}))(t)[b.Conv]; l.ID != 8 {
			t.Errorf("last message %d, want 8", l.ID)
		}
	})
}

func TestCommitRefusesByName(t *testing.T) {
	t.Parallel()
	f := newStore(t, SQLite)
	u := f.users(t, 2)
	r := f.relation(t, u[0], u[1])
	for name, c := range map[string]struct {
		change func(*Message)
		code   im.Code
	}{
		"too long":    {func(m *Message) { m.Content = strings.Repeat("x", im.MaxText+1) }, im.TooLarge},
		"not utf-8":   {func(m *Message) { m.Content = "\xff" }, im.Invalid},
		"id 0":        {func(m *Message) { m.ID = 0 }, im.Invalid},
		"id too high": {func(m *Message) { m.ID = im.MaxMsgID + 1 }, im.Invalid},
		"no relation": {func(m *Message) { m.Relation = 0 }, im.Invalid},
		"wrong type":  {func(m *Message) { m.Type = im.GroupText }, im.Invalid},
	} {
		m := f.text(r, 1, u[0], "x")
		c.change(&m)
		if err := f.Commit(t.Context(), &Batch{Messages: []Message{m}}); im.CodeOf(err) != c.code {
			t.Errorf("%s: %v, want %v", name, err, c.code)
		}
	}
}

// Two writers that do not know of each other number one conversation. The
// unique key sends the slower one back; nothing is lost or stored twice.
func TestTwoWriters(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, f fixture) {
		const writers, rounds, rows = 4, 20, 3
		ctx := t.Context()
		u := f.users(t, 2)
		r := f.relation(t, u[0], u[1])
		stores := []fixture{f, f.second(t)}
		var wg sync.WaitGroup
		for w := range writers {
			wg.Go(func() {
				s := stores[w%2]
				for round := range rounds {
					if err := writeNumbered(ctx, s, r, u[w%2], w*rounds+round, rows); err != nil {
						t.Errorf("writer %d: %v", w, err)
						return
					}
				}
			})
		}
		wg.Wait()
		const total = writers * rounds * rows
		if l := must(f.LastMessages(ctx, []ConvRef{r}))(t)[r.Conv]; l.ID != total {
			t.Errorf("last id %d, want %d without gaps", l.ID, total)
		}
		if got := must(f.History(ctx, r, 0, total+10, Since{}))(t); len(got) != total {
			t.Errorf("%d messages stored, want %d", len(got), total)
		}
	})
}

// writeNumbered does what a lane does: number, commit, and after a refusal
// look again.
func writeNumbered(ctx context.Context, s fixture, r ConvRef, from im.UserID, n, rows int) error {
	for {
		last, err := s.LastMessages(ctx, []ConvRef{r})
		if err != nil {
			return err
		}
		var b Batch
		for i := range rows {
			m := s.text(r, last[r.Conv].ID+im.MsgID(i+1), from, "x")
			m.Op = opID(n*rows + i)
			b.Messages = append(b.Messages, m)
		}
		switch err = s.Commit(ctx, &b); {
		case err == nil:
			return nil
		case errors.Is(err, ErrDuplicate), IsTransient(err):
		default:
			return err
		}
	}
}

func TestContent(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, f fixture) {
		ctx := t.Context()
		u := f.users(t, 2)
		r := f.relation(t, u[0], u[1])
		contents := []string{
			"", "'; DROP TABLE IMUser; -- \\' \" ? %", "a\x00b\r\n\t\x1a", "naïve 你好 👩‍👩‍👧‍👦 🎉",
			strings.Repeat("A", 4096), strings.Repeat("🎉", 4096), "trailing   ", "\\",
		}
		var b Batch
		for i, c := range contents {
			b.Messages = append(b.Messages, f.text(r, im.MsgID(i+1), u[0], c))
		}
		check(t, f.Commit(ctx, &b))
		for i, m := range must(f.History(ctx, r, 0, 100, Since{}))(t) {
			if want := contents[len(contents)-1-i]; m.Content != want {
				t.Errorf("message %d: %.40q, want %.40q", m.ID, m.Content, want)
			}
		}
	})
}

// A batch larger than any packet is still one transaction.
func TestBigBatch(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, f fixture) {
		ctx := t.Context()
		u := f.users(t, 2)
		r := f.relation(t, u[0], u[1])
		if !f.dialect.sqlite {
			f.packet = 100_000
		}
		const n = 2500
		b := &Batch{}
		for i := range n {
			b.Messages = append(b.Messages, f.text(r, im.MsgID(i+1), u[0], strings.Repeat("'", 300)))
			b.Sessions = append(b.Sessions, SessionTouch{SessionKey{im.UserID(i + 1), im.Single, 77}, 5})
		}
		b.Messages[n-1].ID = 1
		if err := f.Commit(ctx, b); !errors.Is(err, ErrDuplicate) {
			t.Fatalf("error %v, want ErrDuplicate", err)
		}
		if l := must(f.LastMessages(ctx, []ConvRef{r}))(t)[r.Conv]; l.ID != 0 {
			t.Fatalf("a refused batch left message %d", l.ID)
		}
		b.Messages[n-1].ID = n
		check(t, f.Commit(ctx, b))
		if l := must(f.LastMessages(ctx, []ConvRef{r}))(t)[r.Conv]; l.ID != n {
			t.Fatalf("last message %d, want %d", l.ID, n)
		}
	})
}

func TestCursorsAndSessionsOnlyRise(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, f fixture) {
		ctx := t.Context()
		k := SessionKey{1, im.Group, 9}
		for _, id := range []im.MsgID{5, 3, 8, 7} {
			check(t, f.MoveCursors(ctx, []Cursor{{k, id}, {SessionKey{1, im.Single, 9}, 1}}))
		}
		got := must(f.Cursors(ctx, 1))(t)
		if fmt.Sprint(got) != fmt.Sprint([]Cursor{{SessionKey{1, im.Single, 9}, 1}, {k, 8}}) {
			t.Errorf("cursors %v", got)
		}

		touch := func(at uint32) SessionTouch { return SessionTouch{SessionKey{1, im.Single, 9}, at} }
		check(t, f.WriteActivity(ctx, Activity{Sessions: []SessionTouch{touch(4)}}))
		if s := must(f.Sessions(ctx, 1, 0, 10))(t); len(s) != 0 {
			t.Errorf("activity created %v", s)
		}
		check(t, f.Commit(ctx, &Batch{Sessions: []SessionTouch{touch(10)}}))
		check(t, f.Commit(ctx, &Batch{Sessions: []SessionTouch{touch(6)}}))
		check(t, f.WriteActivity(ctx, Activity{Sessions: []SessionTouch{touch(20), {SessionKey{1, im.Single, 3}, 20}}}))
		check(t, f.WriteActivity(ctx, Activity{Sessions: []SessionTouch{touch(15)}}))
		s := must(f.Sessions(ctx, 1, 0, 10))(t)
		if len(s) != 1 || s[0].Updated != 20 {
			t.Errorf("sessions %v, want one updated at 20", s)
		}
	})
}

func BenchmarkCommit(b *testing.B) {
	for _, driver := range []string{SQLite, MySQL} {
		for _, rows := range []int{1, 10, 100} {
			b.Run(fmt.Sprintf("%s/rows=%d", driver, rows), func(b *testing.B) {
				f := newStore(b, driver)
				ctx := b.Context()
				var refs []ConvRef
				for i := range 10 {
					refs = append(refs, f.relation(b, 1, im.UserID(i+2)))
				}
				content := strings.Repeat("QUJD", 32)
				next, op := make([]im.MsgID, len(refs)), 0
				b.ReportAllocs()
				for b.Loop() {
					batch := &Batch{Messages: make([]Message, rows)}
					for i := range rows {
						r := i % len(refs)
						next[r]++
						op++
						batch.Messages[i] = f.text(refs[r], next[r], 1, content)
						batch.Messages[i].Op = opID(op)
					}
					if err := f.Commit(ctx, batch); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*rows), "ns/row")
			})
		}
	}
}
