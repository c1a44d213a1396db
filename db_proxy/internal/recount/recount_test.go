package recount

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"

	"teamtalk/db_proxy/internal/cache"
	"teamtalk/db_proxy/internal/store"
	"teamtalk/internal/im"
	"teamtalk/internal/testenv"
)

// fixture is a database and a Redis with a few users, a pair and a group.
type fixture struct {
	*Recounter
	store *store.Store
	cache *cache.Cache
	raw   *redis.Client
	users []im.UserID
	pair  store.ConvRef // of users 0 and 1
	group store.ConvRef // of all users
	last  map[im.Conversation]im.MsgID
	claim cache.Claim // of the pair
	waits []func()    // what happens between two looks, in turn
}

func newFixture(t *testing.T, addr string) *fixture {
	t.Helper()
	ctx, log := t.Context(), slog.New(slog.DiscardHandler)
	s, err := store.Open(ctx, store.Config{Driver: store.SQLite, Path: filepath.Join(t.TempDir(), "db")},
		store.Deps{Log: log, Clock: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	pools := map[string]cache.PoolConfig{}
	for _, name := range []string{cache.PoolUnread, cache.PoolGroupSet, cache.PoolToken, cache.PoolGroupMember} {
		pools[name] = cache.PoolConfig{Addrs: []string{addr}}
	}
	c, err := cache.New(cache.Config{Pools: pools}, cache.Deps{Log: log, Clock: time.Now, Reg: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	f := &fixture{store: s, cache: c, raw: redis.NewClient(&redis.Options{Addr: addr}), last: map[im.Conversation]im.MsgID{}}
	t.Cleanup(func() { _ = c.Close(); _ = f.raw.Close() })
	made, err := s.CreateUsers(ctx, []store.NewUser{{Name: "a"}, {Name: "b"}, {Name: "c"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, u := range made {
		f.users = append(f.users, u.ID)
	}
	relations, err := s.EnsureRelations(ctx, []im.Pair{im.PairOf(f.users[0], f.users[1])})
	if err != nil {
		t.Fatal(err)
	}
	f.pair.Conv = im.SingleOf(f.users[0], f.users[1])
	f.pair.Relation = relations[f.pair.Conv.Pair]
	group, err := s.CreateGroup(ctx, store.NewGroup{Name: "g", Type: 1, Members: f.users})
	if err != nil {
		t.Fatal(err)
	}
	f.group.Conv = im.GroupOf(group)
	f.Recounter, err = New(Deps{Store: s, Cache: c, Wait: func(ctx context.Context, _ time.Duration) error {
		if len(f.waits) > 0 {
			f.waits[0]()
			f.waits = f.waits[1:]
		}
		return ctx.Err()
	}})
	if err != nil {
		t.Fatal(err)
	}
	f.follow(t, 0) // claims
	return f
}

// both runs a test on the embedded Redis and on the real one.
func both(t *testing.T, test func(t *testing.T, f *fixture)) {
	t.Helper()
	t.Run("embedded", func(t *testing.T) {
		t.Parallel()
		test(t, newFixture(t, miniredis.RunT(t).Addr()))
	})
	t.Run("real", func(t *testing.T) {
		t.Parallel()
		test(t, newFixture(t, testenv.Redis(t).Addr()))
	})
}

// commit stores a message of the first user, and leaves Redis behind.
func (f *fixture) commit(t *testing.T, ref store.ConvRef) {
	t.Helper()
	from := f.users[0]
	f.last[ref.Conv]++
	m := store.Message{
		Conv: ref.Conv, Relation: ref.Relation, ID: f.last[ref.Conv], From: from, Type: im.GroupText,
		Content: "x", Created: uint32(time.Now().Unix()),
	}
	b := store.Batch{Cursors: []store.Cursor{{
		SessionKey: store.SessionKey{User: from, Kind: im.Group, Peer: uint32(ref.Conv.Group)}, Read: m.ID,
	}}}
	if ref.Conv.Kind == im.Single {
		m.Type, m.To = im.SingleText, ref.Conv.Pair.Peer(from)
		b.Cursors = nil
		for _, u := range f.users[:2] {
			key := store.SessionKey{User: u, Kind: im.Single, Peer: ref.Conv.SessionID(u)}
			b.Sessions = append(b.Sessions, store.SessionTouch{SessionKey: key, Updated: m.Created})
		}
	}
	b.Messages = []store.Message{m}
	if err := f.store.Commit(t.Context(), &b); err != nil {
		t.Error(err)
	}
}

// follow writes the count of the second user in the pair to Redis, as a
// db_proxy does after a commit.
func (f *fixture) follow(t *testing.T, count uint32) {
	t.Helper()
	v := cache.PeerUnread(f.users[1], f.users[0], count).At(f.claim.Stamp())
	if err := f.cache.SetUnread(t.Context(), []cache.UnreadValue{v}); err != nil {
		t.Error(err)
	}
}

// ask asks for the counts of everybody, as clients do.
func (f *fixture) ask(t *testing.T) {
	t.Helper()
	for _, u := range f.users {
		groups := []im.GroupID{f.group.Conv.Group}
		if _, err := f.cache.Unread(t.Context(), u, groups, cache.RebuildFrom(f.store, u, groups)); err != nil {
			t.Fatal(err)
		}
	}
}

// differ checks for differences, written as "user kind:peer cached/counted".
func (f *fixture) differ(t *testing.T, want ...string) Report {
	t.Helper()
	r, err := f.Check(t.Context(), f.users)
	if err != nil {
		t.Fatal(err)
	}
	if got := text(r.Differences); got != strings.Join(want, ", ") {
		t.Errorf("got %q, want %q", got, strings.Join(want, ", "))
	}
	return r
}

func text(all []Difference) string {
	var parts []string
	for _, d := range all {
		cached := strconv.FormatUint(uint64(d.Cached), 10)
		if d.Broken {
			cached = "broken"
		}
		parts = append(parts, fmt.Sprintf("%d %v:%d %s/%d", d.User, d.Kind, d.Peer, cached, d.Counted))
	}
	return strings.Join(parts, ", ")
}

func (f *fixture) redis(t *testing.T, args ...any) {
	t.Helper()
	if err := f.raw.Do(t.Context(), args...).Err(); err != nil {
		t.Fatal(err)
	}
}

func TestDrift(t *testing.T) {
	t.Parallel()
	// Users 1 to 3, group 1; user 2 has two unread messages of user 1, users 2
	// and 3 three of the group.
	tests := map[string]struct {
		plant [][]any
		want  []string
	}{
		"nothing":            {nil, nil},
		"emptied":            {[][]any{{"FLUSHALL"}}, nil},
		"too many":           {[][]any{{"HSET", "unread_2", "1", "99"}}, []string{"2 single:1 99/2"}},
		"too few":            {[][]any{{"HSET", "unread_2", "1", "1"}}, []string{"2 single:1 1/2"}},
		"missing":            {[][]any{{"HDEL", "unread_2", "1"}}, []string{"2 single:1 0/2"}},
		"missing, and known": {[][]any{{"HDEL", "unread_2", "1", "_complete"}}, nil},
		"a stranger":         {[][]any{{"HSET", "unread_1", "3", "5"}}, []string{"1 single:3 5/0"}},
		"without a mark":     {[][]any{{"DEL", "unread_2"}, {"HSET", "unread_2", "1", "7"}}, []string{"2 single:1 7/2"}},
		"no number":          {[][]any{{"HSET", "unread_2", "1", "x"}}, []string{"2 single:1 broken/2"}},
		"no user":            {[][]any{{"HSET", "unread_2", "bob", "1"}}, []string{"2 single:0 broken/0"}},
		"no hash":            {[][]any{{"SET", "unread_2", "5"}}, []string{"2 single:0 broken/0"}},
		"a group's newest": {
			[][]any{{"HSET", "1_im_group_msg", "count", "13"}},
			[]string{"1 group:1 10/0", "2 group:1 13/3", "3 group:1 13/3"},
		},
		"a group's read":    {[][]any{{"HSET", "2_1_im_user_group", "count", "2"}}, []string{"2 group:1 1/3"}},
		"a group, unknown":  {[][]any{{"DEL", "2_1_im_user_group"}}, nil},
		"a group, broken":   {[][]any{{"HSET", "2_1_im_user_group", "count", "-"}}, []string{"2 group:1 broken/3"}},
		"a group, a string": {[][]any{{"SET", "3_1_im_user_group", "1"}}, []string{"3 group:1 broken/3"}},
	}
	both(t, func(t *testing.T, f *fixture) {
		f.commit(t, f.pair)
		f.commit(t, f.pair)
		for range 3 {
			f.commit(t, f.group)
		}
		for name, test := range tests {
			f.redis(t, "FLUSHALL")
			f.ask(t)
			for _, command := range test.plant {
				f.redis(t, command...)
			}
			t.Log(name)
			r := f.differ(t, test.want...)
			left, err := f.Repair(t.Context(), r.Differences)
			if err != nil || len(left.Differences) > 0 {
				t.Errorf("%s: after the repair: %s, %v", name, text(left.Differences), err)
			}
			f.differ(t)
		}
	})
}

// A count that follows its commit late is no difference, and one that never
// does is.
func TestLateCounts(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, f *fixture) {
		f.commit(t, f.pair)
		f.follow(t, 1)
		f.commit(t, f.pair)
		f.waits = []func(){func() {}, func() { f.follow(t, 2) }}
		f.differ(t)

		// Every look comes between a commit and its count.
		f.waits = nil
		for n := uint32(3); n < 3+rounds+1; n++ {
			if n == 3 {
				f.commit(t, f.pair)
				continue
			}
			f.waits = append(f.waits, func() { f.follow(t, n-1); f.commit(t, f.pair) })
		}
		f.differ(t)
		if len(f.waits) == 0 {
			t.Error("what SQL has shown before explains a count")
		}
		f.waits = nil
		f.differ(t, "2 single:1 3/4")
	})
}

// While messages are stored and read, nothing differs, and a repair of what
// did not differ makes no difference.
func TestUnderLoad(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, f *fixture) {
		f.deps.Wait = func(ctx context.Context, _ time.Duration) error { return wait(ctx, 20*time.Millisecond) }
		f.commit(t, f.pair)
		f.follow(t, 1)
		f.ask(t)
		stop := make(chan struct{})
		var writer sync.WaitGroup
		writer.Go(func() {
			for unread := uint32(2); ; unread++ {
				f.commit(t, f.pair)
				f.follow(t, unread)
				if unread%20 == 0 {
					key := store.SessionKey{User: f.users[1], Kind: im.Single, Peer: uint32(f.users[0])}
					if err := f.store.MoveCursors(t.Context(), []store.Cursor{{SessionKey: key, Read: f.last[f.pair.Conv]}}); err != nil {
						t.Error(err)
					}
					f.follow(t, 0)
					unread = 0
				}
				select {
				case <-stop:
					return
				default:
				}
			}
		})
		for range 20 {
			f.differ(t)
			key := store.SessionKey{User: f.users[1], Kind: im.Single, Peer: uint32(f.users[0])}
			if left, err := f.Repair(t.Context(), []Difference{{SessionKey: key}}); err != nil || len(left.Differences) > 0 {
				t.Errorf("%s, %v", text(left.Differences), err)
			}
		}
		close(stop)
		writer.Wait()
		f.differ(t)
	})
}

func TestRedisAway(t *testing.T) {
	t.Parallel()
	srv := miniredis.RunT(t)
	f := newFixture(t, srv.Addr())
	srv.Close()
	if _, err := f.Check(t.Context(), f.users); !errors.Is(err, cache.ErrUnavailable) {
		t.Errorf("check: %v", err)
	}
	differences := []Difference{{SessionKey: store.SessionKey{User: 1, Kind: im.Single, Peer: 2}}}
	if _, err := f.Repair(t.Context(), differences); !errors.Is(err, cache.ErrUnavailable) {
		t.Errorf("repair: %v", err)
	}
	if _, err := New(Deps{}); err == nil {
		t.Error("accepted without dependencies")
	}
}
