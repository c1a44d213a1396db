package store

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"teamtalk/internal/im"
	"teamtalk/internal/testenv"
)

func TestCreateUsers(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, f fixture) {
		ctx := t.Context()
		list := []NewUser{
			{Name: "bob", Nick: "Bob 🎉", Credentials: Credentials{Hash: "h", Legacy: strings.Repeat("0", 32), Salt: "1234"}},
			{Name: "Bob"},
			{Name: "bob"},
			{Name: "鲍勃", Department: 3},
		}
		made := must(f.CreateUsers(ctx, list))(t)
		if made[0].Existed || made[1].Existed || !made[2].Existed || made[3].Existed ||
			made[2].ID != made[0].ID || made[1].ID == made[0].ID || made[0].ID == 0 {
			t.Fatalf("made %+v", made)
		}
		again := must(f.CreateUsers(ctx, []NewUser{{Name: "new"}, {Name: "Bob", Nick: "other"}}))(t)
		if again[0].Existed || !again[1].Existed || again[1].ID != made[1].ID {
			t.Errorf("made again %+v", again)
		}

		u, c, err := f.UserByName(ctx, "bob")
		check(t, err)
		if u.ID != made[0].ID || u.Nick != "Bob 🎉" || c != list[0].Credentials {
			t.Errorf("bob is %+v %+v", u, c)
		}
		for _, name := range []string{"BOB", "bob ", "bo", "", "bob' OR '1'='1", "it's"} {
			_, _, err := f.UserByName(ctx, name)
			wantCode(t, err, im.NotFound)
		}
		for _, bad := range []string{"", " x", "x ", strings.Repeat("é", 33), "\xff"} {
			_, err := f.CreateUsers(ctx, []NewUser{{Name: bad}})
			wantCode(t, err, im.Invalid)
		}
		must(f.CreateUsers(ctx, []NewUser{{Name: strings.Repeat("é", 32)}}))(t)
		if got := must(f.FindUsers(ctx, []string{"Bob", "nobody", "bob", "Bob "}))(t); len(got) != 2 {
			t.Errorf("found %+v", got)
		}
		if got := must(f.ListUsers(ctx))(t); len(got) != 5 {
			t.Errorf("%d accounts, want 5", len(got))
		}
	})
}

// Whoever makes accounts at the same time: every name once, made by one.
func TestCreateUsersRace(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, f fixture) {
		const callers, names = 16, 25
		stores := []fixture{f, f.second(t)}
		results := make([][]CreatedUser, callers)
		var wg sync.WaitGroup
		for i := range callers {
			wg.Go(func() {
				var list []NewUser
				for n := range names {
					list = append(list, NewUser{Name: fmt.Sprintf("n%d", (n+i)%names)})
				}
				made, err := stores[i%2].CreateUsers(t.Context(), list)
				if err != nil {
					t.Errorf("caller %d: %v", i, err)
				}
				results[i] = made
			})
		}
		wg.Wait()
		makers, ids := map[im.UserID]int{}, map[int]im.UserID{}
		for i, made := range results {
			for n, c := range made {
				if !c.Existed {
					makers[c.ID]++
				}
				if id, ok := ids[(n+i)%names]; ok && id != c.ID {
					t.Errorf("name %d has ids %d and %d", (n+i)%names, id, c.ID)
				}
				ids[(n+i)%names] = c.ID
			}
		}
		if len(makers) != names {
			t.Errorf("%d accounts made, want %d", len(makers), names)
		}
		for id, n := range makers {
			if n != 1 {
				t.Errorf("account %d was made %d times", id, n)
			}
		}
	})
}

func TestCreateThousands(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, f fixture) {
		start := time.Now()
		if ids := f.users(t, 2000); ids[1999] == 0 {
			t.Error("no id")
		}
		t.Logf("2,000 accounts in %v", time.Since(start))
	})
}

// Every change of an account is later than all before, even inside one second
// and when the clock goes back, and stands in the change log.
func TestUserChanges(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, f fixture) {
		ctx := t.Context()
		u := f.users(t, 3)
		latest := must(f.LatestUserUpdate(ctx))(t)
		after := must(f.LastChange(ctx))(t)
		for i, change := range []func() error{
			func() error { return f.SetSignInfo(ctx, u[0], strings.Repeat("签", 128)) },
			func() error { return f.SetSignInfo(ctx, u[0], strings.Repeat("签", 128)) }, // the same once more
			func() error { f.clock.add(-100); return f.SetAvatar(ctx, u[1], "g0/1.jpg") },
			func() error { return f.SetPushShield(ctx, u[2], true) },
			func() error { return f.SetUserStatus(ctx, "u2", 3) },
			func() error { return f.SetUserPassword(ctx, "u1", Credentials{Hash: "new"}) },
			func() error { _, err := f.CreateUsers(ctx, []NewUser{{Name: "late"}}); return err },
		} {
			check(t, change())
			now := must(f.LatestUserUpdate(ctx))(t)
			if now <= latest {
				t.Errorf("change %d: latest update %d, was %d", i, now, latest)
			}
			if got, newest, err := f.UsersSince(ctx, latest+1); err != nil || len(got) != 1 || newest != now {
				t.Errorf("change %d: users since %d: %+v, %d, %v", i, latest+1, got, newest, err)
			}
			changes := must(f.Changes(ctx, after, 10))(t)
			if len(changes) != 1 || changes[0].Kind != UserChanged || changes[0].ID <= after {
				t.Errorf("change %d: log %+v", i, changes)
			}
			latest, after = now, changes[len(changes)-1].ID
		}
		all, _, err := f.UsersSince(ctx, 0)
		check(t, err)
		if len(all) != 3 { // u2 left
			t.Errorf("%d users, want 3", len(all))
		}
		if same, newest, err := f.UsersSince(ctx, latest+50); err != nil || len(same) != 0 || newest != latest+50 {
			t.Errorf("users of the future: %v %d %v", same, newest, err)
		}
		if _, _, err := f.UserByName(ctx, "u2"); im.CodeOf(err) != im.NotFound {
			t.Errorf("a leaver may log in: %v", err)
		}
		for _, err := range []error{
			f.SetSignInfo(ctx, 999, "x"), f.SetUserStatus(ctx, "nobody", 0), f.SetPasswordHash(ctx, 999, Credentials{}, "x", false),
		} {
			wantCode(t, err, im.NotFound)
		}
		wantCode(t, f.SetSignInfo(ctx, u[0], strings.Repeat("x", 129)), im.Invalid)
		if n := must(f.Changes(ctx, after, 10))(t); len(n) != 0 {
			t.Errorf("refused changes were logged: %v", n)
		}
		if on := must(f.PushShield(ctx, u[2]))(t); !on {
			t.Error("night mode is off")
		}
		f.clock.add(100 + 86401)
		if n := must(f.PruneChanges(ctx))(t); n == 0 || len(must(f.Changes(ctx, 0, 10))(t)) != 0 {
			t.Errorf("%d entries pruned", n)
		}
		check(t, f.SetSignInfo(ctx, u[0], "x"))
		if id := must(f.LastChange(ctx))(t); id <= after {
			t.Errorf("id %d after pruning, was %d", id, after)
		}
	})
}

// A reader that polls the log while many write never misses an entry.
func TestChangesBecomeVisibleInOrder(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, f fixture) {
		const writers, rounds = 8, 15
		ctx := t.Context()
		u := f.users(t, writers)
		after := must(f.LastChange(ctx))(t)
		stores := []fixture{f, f.second(t)}
		var wg sync.WaitGroup
		for w := range writers {
			wg.Go(func() {
				for i := range rounds {
					if err := stores[w%2].SetSignInfo(ctx, u[w], strconv.Itoa(i)); err != nil {
						t.Errorf("writer %d: %v", w, err)
					}
				}
			})
		}
		done := make(chan struct{})
		go func() { wg.Wait(); close(done) }()
		seen := 0
		for last := false; ; {
			changes := must(f.Changes(ctx, after, 1000))(t)
			seen += len(changes)
			if len(changes) > 0 {
				after = changes[len(changes)-1].ID
			}
			if last {
				break
			}
			select {
			case <-done:
				last = true
			default:
			}
		}
		if seen != writers*rounds {
			t.Errorf("saw %d changes, want %d", seen, writers*rounds)
		}
	})
}

// Entries behind a hole are not told before what is in it: here a transaction
// that is under way while a later one is seen.
func TestChangesWaitForEarlierOnes(t *testing.T) {
	t.Parallel()
	f := newStore(t, MySQL)
	ctx := t.Context()
	after := must(f.LastChange(ctx))(t)
	db := connect(t, f.cfg.Master)
	insert := "INSERT INTO IMChange (kind, subject, created) VALUES (1, ?, ?)"
	early := must(db.BeginTx(ctx, nil))(t)
	defer func() { _ = early.Rollback() }()
	must(early.ExecContext(ctx, insert, 1, f.clock.seconds()))(t)
	must(db.ExecContext(ctx, insert, 2, f.clock.seconds()))(t)

	type told struct {
		changes []Change
		err     error
	}
	answer := make(chan told, 1)
	go func() {
		changes, err := f.Changes(ctx, after, 10)
		answer <- told{changes, err}
	}()
	testenv.Eventually(t, time.Minute, func() bool {
		var waiting int
		check(t, db.QueryRowContext(ctx, "SELECT COUNT(*) FROM information_schema.PROCESSLIST"+
			" WHERE db = ? AND info LIKE '%FROM IMChange%FOR UPDATE%' AND id <> CONNECTION_ID()", f.cfg.Master.DB).Scan(&waiting))
		return waiting > 0 || len(answer) > 0
	}, "neither an answer nor a wait for one")
	if len(answer) > 0 {
		t.Fatalf("told before the earlier entry ended: %+v", <-answer)
	}
	check(t, early.Commit())
	got := <-answer
	if got.err != nil || len(got.changes) != 2 || got.changes[0].Subject != 1 || got.changes[1].Subject != 2 {
		t.Errorf("told %+v", got)
	}
}

func TestPasswords(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, f fixture) {
		ctx := t.Context()
		old := Credentials{Legacy: strings.Repeat("a", 32), Salt: "12"}
		id := must(f.CreateUsers(ctx, []NewUser{{Name: "x", Credentials: old}}))(t)[0].ID
		before := must(f.LatestUserUpdate(ctx))(t)
		want := func(want Credentials) {
			t.Helper()
			if _, got, err := f.UserByName(ctx, "x"); err != nil || got != want {
				t.Errorf("credentials %+v %v, want %+v", got, err, want)
			}
		}
		check(t, f.SetPasswordHash(ctx, id, old, "h1", false))
		kept := Credentials{Legacy: old.Legacy, Salt: "12", Hash: "h1"}
		want(kept)
		wantCode(t, f.SetPasswordHash(ctx, id, old, "stale", true), im.NotFound)
		want(kept)
		check(t, f.SetPasswordHash(ctx, id, kept, "h2", true))
		want(Credentials{Hash: "h2"})
		if now := must(f.LatestUserUpdate(ctx))(t); now != before {
			t.Error("a rehash is no news to clients")
		}
		check(t, f.SetUserPassword(ctx, "x", old))
		want(old)
	})
}

func TestNullAvatarAndDepartments(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, f fixture) {
		ctx := t.Context()
		u := f.users(t, 2)
		f.exec(t, "UPDATE IMUser SET avatar = NULL")
		if got := must(f.Users(ctx, []im.UserID{u[1], u[0], 77, u[1]}))(t); len(got) != 2 || got[0].Avatar != "" || got[0].ID != u[0] {
			t.Errorf("users %+v", got)
		}
		for i := range 4 {
			f.exec(t, fmt.Sprintf("INSERT INTO IMDepart (departName, parentId, status, created, updated) VALUES ('d%d', 0, %d, 1, %d)", i, i%3, i+1))
		}
		got := must(f.DepartmentsSince(ctx, 1))(t)
		if len(got) != 2 || got[0].Name != "d1" || got[0].Status != 1 || got[1].Name != "d3" {
			t.Errorf("departments %+v", got)
		}
	})
}

func TestTokensAndShields(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, f fixture) {
		ctx := t.Context()
		want := func(want ...DeviceToken) {
			t.Helper()
			if got := must(f.DeviceTokens(ctx, []im.UserID{1, 2, 3}))(t); fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("tokens %v, want %v", got, want)
			}
		}
		check(t, f.SetDeviceToken(ctx, 1, im.IOS, "a"))
		check(t, f.SetDeviceToken(ctx, 2, im.Android, "b"))
		want(DeviceToken{1, im.IOS, "a"}, DeviceToken{2, im.Android, "b"})
		check(t, f.SetDeviceToken(ctx, 2, im.IOS, "a")) // the phone changed hands
		want(DeviceToken{2, im.IOS, "a"})
		check(t, f.SetDeviceToken(ctx, 2, im.IOS, "a"))
		check(t, f.SetDeviceToken(ctx, 1, im.IOS, "A"))
		want(DeviceToken{1, im.IOS, "A"}, DeviceToken{2, im.IOS, "a"})
		check(t, f.SetDeviceToken(ctx, 2, im.IOS, ""))
		check(t, f.SetDeviceToken(ctx, 3, im.IOS, ""))
		want(DeviceToken{1, im.IOS, "A"})

		check(t, f.SetGroupShield(ctx, 1, 10, true))
		check(t, f.SetGroupShield(ctx, 2, 10, true))
		check(t, f.SetGroupShield(ctx, 1, 11, true))
		check(t, f.SetGroupShield(ctx, 2, 10, false))
		if got := must(f.GroupShields(ctx, 10, []im.UserID{1, 2, 3}))(t); fmt.Sprint(got) != "map[1:true]" {
			t.Errorf("shields of the group %v", got)
		}
		if got := must(f.ShieldsOf(ctx, 1))(t); fmt.Sprint(got) != "map[10:true 11:true]" {
			t.Errorf("shields of the user %v", got)
		}
	})
}
