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
		_, err := f.ChangeMembers(ctx, group.Conv.Group, []im.UserID{u[2]}, nil)
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

// Who left a group and comes back stands where they stood: what is between was
// missed. A terminal that never got anything of it stands where the membership
// before began, one that came meanwhile where it came.
func TestTerminalsKeepTheirPlaceInAGroup(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, f fixture) {
		ctx := t.Context()
		u := f.users(t, 2)
		group := ConvRef{Conv: im.GroupOf(must(f.CreateGroup(ctx, NewGroup{Name: "g", Creator: u[0], Type: 2, Members: u[:1]}))(t))}
		g := group.Conv.Group
		store := func(ids ...im.MsgID) {
			t.Helper()
			b := &Batch{}
			for _, id := range ids {
				b.Messages = append(b.Messages, f.text(group, id, u[0], "x"))
			}
			check(t, f.Commit(ctx, b))
		}
		change := func(add, remove []im.UserID) {
			t.Helper()
			_, err := f.ChangeMembers(ctx, g, add, remove)
			check(t, err)
		}
		stands := func(name, want string) {
			t.Helper()
			term := Terminal{u[1], name}
			got := ""
			for _, b := range must(f.OpenTerminal(ctx, term))(t) {
				got = fmt.Sprintf("%d/%d", b.Upto, b.Newest)
				if n := must(f.DeliveredUpto(ctx, term, im.Group, uint32(g)))(t); n != b.Upto {
					t.Errorf("%s: delivered up to %d, and waits behind %d", name, n, b.Upto)
				}
			}
			if got != want {
				t.Errorf("%s stands at %q, want %q", name, got, want)
			}
		}
		store(1)
		stands("pc", "")
		stands("phone", "")
		change(u[1:], nil)
		store(2, 3, 4)
		check(t, f.WriteDeliveries(ctx, []Delivery{{Terminal{u[1], "pc"}, im.Group, uint32(g), 3}}))
		change(nil, u[1:])
		store(5, 6)
		stands("tablet", "")
		store(7)
		change(u[1:], nil)
		stands("pc", "3/7")
		stands("phone", "1/7")
		stands("tablet", "6/7")
		store(8)
		stands("pc", "3/8")
		stands("phone", "1/8")
		stands("tablet", "6/8")
		change(nil, u[1:])
		change(u[1:], nil) // again, with nothing between
		stands("phone", "1/8")
	})
}
