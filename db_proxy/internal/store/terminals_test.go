package store

import (
	"fmt"
	"strings"
	"testing"

	"teamtalk/internal/im"
)

func TestTerminals(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, f fixture) {
		ctx := t.Context()
		u := f.users(t, 3)
		single := f.relation(t, u[0], u[1])
		group := ConvRef{Conv: im.GroupOf(must(f.CreateGroup(ctx, NewGroup{Name: "g", Creator: u[0], Type: 2, Members: u[:2]}))(t))}
		store := func(ref ConvRef, ids ...im.MsgID) {
			t.Helper()
			b := &Batch{}
			for _, id := range ids {
				b.Messages = append(b.Messages, f.text(ref, id, u[0], "x"))
			}
			if ref.Conv.Kind == im.Single {
				for i := range 2 {
					b.Sessions = append(b.Sessions, SessionTouch{SessionKey{u[i], im.Single, uint32(u[1-i])}, f.clock.seconds()})
				}
			}
			check(t, f.Commit(ctx, b))
		}
		waits := func(name string, user im.UserID, want string) {
			t.Helper()
			var all []string
			for _, b := range must(f.OpenTerminal(ctx, Terminal{user, name}))(t) {
				all = append(all, fmt.Sprintf("%d:%d/%d", b.Kind, b.Upto, b.Newest))
			}
			if got := strings.Join(all, " "); got != want {
				t.Errorf("%s of %d: waiting %q, want %q", name, user, got, want)
			}
		}
		store(single, 1, 2)
		waits("pc", u[1], "") // begins now
		store(single, 3)
		waits("pc", u[1], "1:2/3")
		waits("phone", u[1], "")
		store(group, 1, 2)
		waits("pc", u[1], "1:2/3 2:0/2")
		waits("phone", u[1], "2:0/2")
		pc := Terminal{u[1], "pc"}
		check(t, f.WriteDeliveries(ctx, []Delivery{
			{pc, im.Single, uint32(u[0]), 3}, {pc, im.Group, uint32(group.Conv.Group), 1}, {Terminal{u[1], "other"}, im.Single, 9, 9},
		}))
		check(t, f.WriteDeliveries(ctx, []Delivery{{pc, im.Single, uint32(u[0]), 1}})) // never back
		waits("pc", u[1], "2:1/2")
		if n := must(f.DeliveredUpto(ctx, pc, im.Single, uint32(u[0])))(t); n != 3 {
			t.Errorf("delivered up to %d, want 3", n)
		}
		// Whoever joins has only what comes later.
		waits("pc", u[2], "")
		_, _, err := f.ChangeMembers(ctx, group.Conv.Group, []im.UserID{u[2]}, nil)
		check(t, err)
		waits("pc", u[2], "")
		store(group, 3)
		waits("pc", u[2], "2:2/3")
		if n := must(f.DeliveredUpto(ctx, Terminal{u[2], "pc"}, im.Group, uint32(group.Conv.Group)))(t); n != 2 {
			t.Errorf("joined behind %d, want 2", n)
		}
		// The terminal that logged in longest ago is forgotten.
		for i := range MaxTerminals - 1 {
			f.clock.add(touchAfter + 1)
			if i == 3 {
				waits("pc", u[1], "2:1/3")
			}
			waits(fmt.Sprint("device", i), u[1], "")
		}
		waits("phone", u[1], "") // new again
		waits("pc", u[1], "2:1/3")
		for _, bad := range []Terminal{{u[1], ""}, {0, "pc"}, {u[1], "\xff"}, {u[1], fmt.Sprintf("%065d", 0)}} {
			if _, err := f.OpenTerminal(ctx, bad); im.CodeOf(err) != im.Invalid {
				t.Errorf("%q: %v", bad.Name, err)
			}
		}
	})
}
