package store

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"teamtalk/internal/im"
)

func TestGroups(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, f fixture) {
		ctx := t.Context()
		u := f.users(t, 5)
		id := must(f.CreateGroup(ctx, NewGroup{
			Name: "名 🎉", Avatar: "a", Creator: u[0], Type: 2, Members: []im.UserID{u[2], u[0], u[2], 0},
		}))(t)
		start := f.clock.seconds()
		want := GroupInfo{
			ID: id, Name: "名 🎉", Avatar: "a", Creator: u[0], Type: 2, Version: 1, Updated: start,
			Members: []Member{{User: u[0], Joined: start}, {User: u[2], Joined: start}},
		}
		same := func(got GroupInfo) {
			t.Helper()
			if fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("group\n%+v, want\n%+v", got, want)
			}
		}
		same(must(f.Groups(ctx, []im.GroupID{id, 999}))(t)[0])
		counted := func() {
			t.Helper()
			if n := f.number(t, fmt.Sprintf("SELECT userCnt FROM IMGroup WHERE id = %d", id)); n != len(want.Members) {
				t.Errorf("userCnt %d, want %d", n, len(want.Members))
			}
		}

		// Only real changes count.
		now := f.clock.add(5)
		changed, err := f.ChangeMembers(ctx, id, []im.UserID{u[0], u[1], u[4], 0}, []im.UserID{u[2], u[3], u[4]})
		check(t, err)
		if fmt.Sprint(changed) != fmt.Sprint([]im.UserID{u[1], u[2]}) {
			t.Errorf("changed %v", changed)
		}
		want.Version, want.Updated, want.Members = 2, now, []Member{{User: u[0], Joined: start}, {User: u[1], Joined: now}}
		same(must(f.Groups(ctx, []im.GroupID{id}))(t)[0])
		counted()
		changed, err = f.ChangeMembers(ctx, id, []im.UserID{u[0]}, []im.UserID{u[3]})
		check(t, err)
		if len(changed) != 0 {
			t.Errorf("nothing changed, but %v", changed)
		}
		same(must(f.Groups(ctx, []im.GroupID{id}))(t)[0])
		again := f.clock.add(5)
		must(f.ChangeMembers(ctx, id, []im.UserID{u[2]}, nil))(t)
		want.Version, want.Updated, want.Members = 3, again, []Member{{User: u[0], Joined: start}, {User: u[1], Joined: now}, {User: u[2], Joined: again}}
		same(must(f.Groups(ctx, []im.GroupID{id}))(t)[0])
		counted()

		kinds := map[ChangeKind]int{}
		for _, c := range must(f.Changes(ctx, 0, 100))(t) {
			if kinds[c.Kind]++; c.Kind == SessionRemoved && c.Subject != uint32(u[2]) {
				t.Errorf("session of %d removed", c.Subject)
			}
		}
		if kinds[GroupChanged] != 3 || kinds[SessionRemoved] != 1 {
			t.Errorf("change log %v", kinds)
		}

		// A deleted group is known as such and listed nowhere.
		second := must(f.CreateGroup(ctx, NewGroup{Name: "second", Type: 1, Members: u}))(t)
		if got := must(f.GroupsOf(ctx, u[0]))(t); len(got) != 2 || got[0].ID != second {
			t.Errorf("groups of the user %+v", got)
		}
		f.exec(t, fmt.Sprintf("UPDATE IMGroup SET status = 1 WHERE id = %d", id))
		if got := must(f.GroupsOf(ctx, u[0]))(t); len(got) != 1 {
			t.Errorf("groups of the user %+v", got)
		}
		if got := must(f.Groups(ctx, []im.GroupID{id}))(t); len(got) != 1 || !got[0].Deleted {
			t.Errorf("deleted group %+v", got)
		}
		for _, g := range []im.GroupID{id, 12345} {
			_, err := f.ChangeMembers(ctx, g, u, nil)
			wantCode(t, err, im.NotFound)
		}
		_, err = f.CreateGroup(ctx, NewGroup{Name: strings.Repeat("x", 257)})
		wantCode(t, err, im.Invalid)
	})
}

// Whoever governs a temporary group may go in any way: the one who has been
// an active member for longest takes their place.
func TestCreatorsAreSucceeded(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		kind    uint8
		outside bool // the creator is no member
		goes    func(t *testing.T, f fixture, g im.GroupID, creator im.UserID)
		stays   bool
	}{
		"leaves": {2, false, func(t *testing.T, f fixture, g im.GroupID, u im.UserID) {
			must(f.ChangeMembers(t.Context(), g, nil, []im.UserID{u}))(t)
		}, false},
		"left before": {2, false, func(t *testing.T, f fixture, g im.GroupID, u im.UserID) {
			f.exec(t, fmt.Sprintf("UPDATE IMGroupMember SET status = 1 WHERE groupId = %d AND userId = %d", g, u))
		}, false},
		"is disabled": {2, false, func(t *testing.T, f fixture, _ im.GroupID, u im.UserID) {
			status := uint8(3)
			check(t, f.ChangeUser(t.Context(), u, UserChange{Status: &status}))
		}, false},
		"left the company": {2, true, func(t *testing.T, f fixture, _ im.GroupID, u im.UserID) {
			f.exec(t, fmt.Sprintf("UPDATE IMUser SET status = 3 WHERE id = %d", u))
		}, false},
		"is deleted": {2, true, func(t *testing.T, f fixture, _ im.GroupID, u im.UserID) {
			f.exec(t, fmt.Sprintf("DELETE FROM IMUser WHERE id = %d", u))
		}, false},
		"governs from outside": {2, true, func(*testing.T, fixture, im.GroupID, im.UserID) {}, true},
		"of a normal group": {1, false, func(t *testing.T, f fixture, g im.GroupID, u im.UserID) {
			must(f.ChangeMembers(t.Context(), g, nil, []im.UserID{u}))(t)
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			each(t, func(t *testing.T, f fixture) {
				ctx := t.Context()
				u := f.users(t, 5)
				first := u[:2] // the second one is gone before
				if tt.outside {
					first = u[1:2]
				}
				g := must(f.CreateGroup(ctx, NewGroup{Name: "g", Creator: u[0], Type: tt.kind, Members: first}))(t)
				for _, next := range []im.UserID{u[4], u[3], u[2]} { // ids do not decide
					f.clock.add(5)
					must(f.ChangeMembers(ctx, g, []im.UserID{next}, nil))(t)
				}
				f.exec(t, fmt.Sprintf("UPDATE IMUser SET status = 3 WHERE id = %d", u[1]))
				tt.goes(t, f, g, u[0])
				before := must(f.Groups(ctx, []im.GroupID{g}))(t)[0].Version
				check(t, f.Succeed(ctx, []im.GroupID{g, 999}))
				want := u[4]
				if tt.stays {
					want = u[0]
				}
				info := must(f.Groups(ctx, []im.GroupID{g}))(t)[0]
				if info.Creator != want || info.Orphaned {
					t.Errorf("the creator is %d, orphaned %v, want %d", info.Creator, info.Orphaned, want)
				}
				if tt.stays && info.Version != before {
					t.Errorf("version %d, was %d", info.Version, before)
				}
				st := must(f.Standing(ctx, g, u[3]))(t)
				if st.Creator != want || !st.Member || st.Type != tt.kind {
					t.Errorf("standing %+v", st)
				}
			})
		})
	}
}

// A group whose members are all gone waits for the next one.
func TestNobodyToSucceed(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, f fixture) {
		ctx := t.Context()
		u := f.users(t, 2)
		g := must(f.CreateGroup(ctx, NewGroup{Name: "g", Creator: u[0], Type: 2, Members: u[:1]}))(t)
		must(f.ChangeMembers(ctx, g, nil, u[:1]))(t)
		if info := must(f.Groups(ctx, []im.GroupID{g}))(t)[0]; info.Creator != u[0] || !info.Orphaned {
			t.Errorf("group of nobody %+v", info)
		}
		must(f.ChangeMembers(ctx, g, u[1:], nil))(t)
		check(t, f.Succeed(ctx, []im.GroupID{g}))
		if info := must(f.Groups(ctx, []im.GroupID{g}))(t)[0]; info.Creator != u[1] || info.Orphaned {
			t.Errorf("group %+v", info)
		}
		_, err := f.Standing(ctx, 999, u[0])
		wantCode(t, err, im.NotFound)
	})
}

func TestChangeMembersRace(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, f fixture) {
		const callers = 12
		ctx := t.Context()
		u := f.users(t, 3)
		id := must(f.CreateGroup(ctx, NewGroup{Name: "g", Type: 2, Members: u[:1]}))(t)
		stores := []fixture{f, f.second(t)}
		var mu sync.Mutex
		total := 0
		var wg sync.WaitGroup
		for i := range callers {
			wg.Go(func() {
				add, remove := u[1:2], u[2:3]
				if i%2 == 1 {
					add, remove = remove, add
				}
				changed, err := stores[i%2].ChangeMembers(ctx, id, add, remove)
				if err != nil {
					t.Errorf("caller %d: %v", i, err)
				}
				mu.Lock()
				defer mu.Unlock()
				if len(changed) > 0 {
					total++
				}
			})
		}
		wg.Wait()
		g := must(f.Groups(ctx, []im.GroupID{id}))(t)[0]
		if len(g.Members) != 2 || int(g.Version) != 1+total {
			t.Errorf("version %d after %d real changes, members %v", g.Version, total, g.Members)
		}
	})
}

// However many callers race for the same pairs, from however many processes,
// each pair gets one relation.
func TestEnsureRelationsRace(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, f fixture) {
		const callers, pairs = 24, 40
		stores := []fixture{f, f.second(t)}
		found := make([]map[im.Pair]im.RelationID, callers)
		var wg sync.WaitGroup
		for i := range callers {
			wg.Go(func() {
				var list []im.Pair
				for n := range pairs {
					list = append(list, im.PairOf(1000, im.UserID(1+(n+i)%pairs)))
				}
				var err error
				if found[i], err = stores[i%2].EnsureRelations(t.Context(), list); err != nil {
					t.Errorf("caller %d: %v", i, err)
				}
			})
		}
		wg.Wait()
		for i := range found {
			if len(found[i]) != pairs || fmt.Sprint(found[i]) != fmt.Sprint(found[0]) {
				t.Errorf("caller %d: %v", i, found[i])
			}
		}
		ctx := t.Context()
		p := im.PairOf(1000, 1)
		f.exec(t, "UPDATE IMRelationShip SET status = 1 WHERE smallId = 1")
		if got := must(f.Relations(ctx, []im.Pair{p, im.PairOf(5, 6)}))(t); len(got) != 0 {
			t.Errorf("deleted relation found: %v", got)
		}
		if got := must(f.EnsureRelations(ctx, []im.Pair{p, {Small: 0, Big: 4}, {Small: 4, Big: 4}}))(t); len(got) != 1 || got[p] != found[0][p] {
			t.Errorf("revived %v, want %v", got, found[0][p])
		}
		if got := must(f.Relations(ctx, []im.Pair{p}))(t); got[p] != found[0][p] {
			t.Errorf("revived relation not found: %v", got)
		}
		// Another caller was quicker, within the same second.
		check(t, f.makeRelations(ctx, nil, []im.Pair{p}, map[im.Pair]im.RelationID{}))
		if n := f.number(t, "SELECT COUNT(*) FROM IMRelationShip"); n != pairs {
			t.Errorf("%d relations, want %d", n, pairs)
		}
	})
}
