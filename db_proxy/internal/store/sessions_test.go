package store

import (
	"fmt"
	"testing"

	"teamtalk/internal/im"
)

// The clock stands still: what is earlier and later is told by the ids.
func TestWithinOneSecond(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, f fixture) {
		ctx := t.Context()
		u := f.users(t, 2)
		group := f.group(t, u[0])
		key := SessionKey{u[1], im.Group, uint32(group.Conv.Group)}
		say := func() {
			t.Helper()
			f.send(t, group, u[0], "x")
			check(t, f.WriteActivity(ctx, Activity{Groups: map[im.GroupID]uint32{group.Conv.Group: f.clock.seconds()}}))
		}
		sees := func(what, want string) {
			t.Helper()
			var ids []im.MsgID
			for _, m := range must(f.Groups(ctx, []im.GroupID{group.Conv.Group}))(t)[0].Members {
				if m.User != u[1] {
					continue
				}
				for _, found := range must(f.History(ctx, group, 0, 10, m.Since))(t) {
					ids = append(ids, found.ID)
				}
			}
			lines := must(f.Sessions(ctx, u[1], 0, 10))(t)
			if got := fmt.Sprintf("%v %d %s", ids, len(lines), f.counts(t, u[1])); got != want {
				t.Errorf("%s: %s, want %s", what, got, want)
			}
		}
		change := func(add, remove []im.UserID) {
			t.Helper()
			_, err := f.ChangeMembers(ctx, group.Conv.Group, add, remove)
			check(t, err)
		}
		unread := func(n int) string { return fmt.Sprintf("group:%d=%d", group.Conv.Group, n) }
		say()
		say()
		change(u[1:], nil)
		sees("joined", "[] 0 ")
		say()
		sees("after a message", "[3] 1 "+unread(1))
		if !must(f.RemoveSession(ctx, key))(t) || must(f.RemoveSession(ctx, key))(t) {
			t.Error("a line is removed once")
		}
		sees("removed", "[3] 0 ")
		say()
		sees("brought back", "[4 3] 1 "+unread(1))
		change(nil, u[1:])
		say()
		change(u[1:], nil)
		sees("joined again", "[] 0 ")
		say()
		sees("and told something", "[6] 1 "+unread(1))
	})
}

// A clock that is hours behind hides nothing: neither from who joined by one
// that was right, nor from who removed a line.
func TestClockIsBehind(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, f fixture) {
		ctx := t.Context()
		u := f.users(t, 2)
		group := f.group(t, u[0])
		key := SessionKey{u[1], im.Group, uint32(group.Conv.Group)}
		say := func() {
			t.Helper()
			f.send(t, group, u[0], "x")
			check(t, f.WriteActivity(ctx, Activity{Groups: map[im.GroupID]uint32{group.Conv.Group: f.clock.seconds()}}))
		}
		lines := func(limit, want int) {
			t.Helper()
			if got := must(f.Sessions(ctx, u[1], 0, limit))(t); len(got) != want {
				t.Errorf("%d lines, want %d", len(got), want)
			}
		}
		f.clock.add(-7200)
		say()
		f.clock.add(7200)
		_, err := f.ChangeMembers(ctx, group.Conv.Group, u[1:], nil)
		check(t, err)
		lines(10, 0)
		f.clock.add(-7000)
		say()
		lines(10, 1)
		if got, want := f.counts(t, u[1]), fmt.Sprintf("group:%d=1", group.Conv.Group); got != want {
			t.Errorf("unread: %s, want %s", got, want)
		}
		f.clock.add(7000)
		if !must(f.RemoveSession(ctx, key))(t) {
			t.Error("not removed")
		}
		// A removed line, though it is the latest, takes nobody's place.
		other := f.group(t, u...)
		f.clock.add(-100)
		f.send(t, other, u[0], "x")
		check(t, f.WriteActivity(ctx, Activity{Groups: map[im.GroupID]uint32{other.Conv.Group: f.clock.seconds()}}))
		lines(1, 1)
		lines(10, 1)
		f.clock.add(-6900)
		say()
		lines(10, 2)
	})
}
