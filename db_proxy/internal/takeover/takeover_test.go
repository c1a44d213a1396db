package takeover

import (
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"teamtalk/db_proxy/internal/cache"
	"teamtalk/db_proxy/internal/store"
	"teamtalk/internal/im"
	"teamtalk/internal/testenv"
	"teamtalk/internal/testenv/legacy"
)

func TestMain(m *testing.M) { testenv.Main(m) }

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// fixture is a database and a Redis.
type fixture struct {
	cfg   Config
	db    *sql.DB
	redis redis.UniversalClient
}

func empty(t *testing.T) fixture {
	t.Helper()
	d := testenv.MariaDB(t)
	addr := fmt.Sprintf("127.0.0.1:%d", testenv.Redis(t).Port)
	pools := map[string]cache.PoolConfig{}
	for _, name := range []string{cache.PoolUnread, cache.PoolGroupSet, cache.PoolToken, cache.PoolGroupMember} {
		pools[name] = cache.PoolConfig{Addrs: []string{addr}}
	}
	f := fixture{
		cfg:   Config{DB: store.Pool{Host: d.Host, Port: d.Port, DB: d.Name, User: d.User}, Redis: cache.Config{Pools: pools}},
		redis: redis.NewClient(&redis.Options{Addr: addr}),
	}
	db, err := sql.Open("mysql", d.DSN())
	check(t, err)
	// A connection that idles in the database looks like a server of the original.
	db.SetMaxIdleConns(0)
	f.db = db
	t.Cleanup(func() { check(t, errors.Join(db.Close(), f.redis.Close())) })
	return f
}

// original is the database of an original after some years.
func original(t *testing.T) (fixture, *legacy.World) {
	t.Helper()
	f := empty(t)
	w := legacy.New(legacy.Size{Users: 60, Groups: 20, Pairs: 200, Messages: 3000, Seed: 1})
	check(t, w.Fill(t.Context(), f.db, legacy.Pools{Unread: f.redis, GroupSet: f.redis, Token: f.redis, GroupMember: f.redis}))
	return f, w
}

func (f fixture) open(t *testing.T, fault func(string) error) *Takeover {
	t.Helper()
	tk, err := Open(t.Context(), f.cfg, Deps{Log: slog.New(slog.DiscardHandler), Clock: time.Now, Fault: fault})
	check(t, err)
	return tk
}

// with runs one call on a Takeover of its own, as a process would.
func (f fixture) with(t *testing.T, call func(*Takeover) (*Report, error)) (*Report, error) {
	t.Helper()
	tk := f.open(t, nil)
	r, err := call(tk)
	check(t, tk.Close())
	return r, err
}

// alone waits until connections that were closed are gone: the server takes its
// time.
func (f fixture) alone(t *testing.T) {
	t.Helper()
	testenv.Eventually(t, time.Minute, func() bool {
		n, err := number(t.Context(), f.db, `SELECT COUNT(*) FROM information_schema.PROCESSLIST
			WHERE DB = DATABASE() AND ID <> CONNECTION_ID()`)
		check(t, err)
		return n == 0
	}, "other connections stay")
}

func (f fixture) run(t *testing.T) *Report {
	t.Helper()
	f.alone(t)
	r, err := f.with(t, func(tk *Takeover) (*Report, error) { return tk.Run(t.Context(), false) })
	check(t, err)
	return r
}

func (f fixture) dump(t *testing.T) map[string]string {
	t.Helper()
	d, err := legacy.Dump(t.Context(), f.db)
	check(t, err)
	return d
}

func TestTakeover(t *testing.T) {
	t.Parallel()
	f, w := original(t)
	before := f.dump(t)
	planned, err := f.with(t, func(tk *Takeover) (*Report, error) { return tk.Check(t.Context()) })
	check(t, err)
	if planned.State != Original || planned.Rows() < 3000 || planned.Seconds <= 0 || planned.Counts[Blocked] != 0 {
		t.Errorf("check %+v", planned)
	}
	if !maps.Equal(f.dump(t), before) {
		t.Error("a check changed something")
	}
	_, err = store.Open(t.Context(), store.Config{Driver: store.MySQL, Master: f.cfg.DB},
		store.Deps{Log: slog.New(slog.DiscardHandler), Clock: time.Now})
	if err == nil || !strings.Contains(err.Error(), "teamtalk migrate") {
		t.Errorf("a server starts on it: %v", err)
	}

	done := f.run(t)
	if _, err := w.Verify(t.Context(), f.db); err != nil {
		t.Error(err)
	}
	for _, kind := range []Kind{
		UserRenamed, RelationMerged, MessagesLeftOut, GroupAliveRedis, GroupDeleted, GroupOnlySQL,
		MemberOnlyRedis, MemberOnlySQL, MemberLeftOut, MemberMerged, SessionMerged, SessionLeftOut, TokenMoved, TokenIgnored,
	} {
		if planned.Counts[kind] != done.Counts[kind] || done.Counts[kind] == 0 {
			t.Errorf("%s: %d planned, %d done", kind, planned.Counts[kind], done.Counts[kind])
		}
	}
	for _, kind := range []Kind{RelationMade, RelationLeftOut, Renumbered, UnreadLowered, CounterRaised, CounterAhead} {
		if done.Counts[kind] == 0 {
			t.Errorf("no finding %s", kind)
		}
	}
	if int(done.Counts[UnreadLowered]) != len(w.Lowered) {
		t.Errorf("%d unread counts lowered, want %d", done.Counts[UnreadLowered], len(w.Lowered))
	}
	t.Logf("planned %v", planned.Counts)
	t.Logf("done    %v", done.Counts)
	if again := f.run(t); again.State != Taken || !maps.Equal(again.Counts, done.Counts) {
		t.Errorf("a second run: %v", again.Counts)
	}
	if wrong, _ := f.wrongJoined(t); wrong != 0 {
		t.Errorf("it is not known of %d members what was there when they joined", wrong)
	}
	_, before1 := f.wrongJoined(t)
	f.joinLater(t)
	if wrong, distinct := f.wrongJoined(t); wrong != 0 || distinct <= before1 {
		t.Errorf("of members who joined later %d are wrong; %d moments, %d before", wrong, distinct, before1)
	}
	f.counters(t)

	s, err := store.Open(t.Context(), store.Config{Driver: store.MySQL, Master: f.cfg.DB},
		store.Deps{Log: slog.New(slog.DiscardHandler), Clock: time.Now})
	check(t, err)
	check(t, s.Close())
	_, err = f.with(t, func(tk *Takeover) (*Report, error) { return tk.Undo(t.Context(), false) })
	check(t, err)
	if after := f.dump(t); !maps.Equal(after, before) {
		for name, sum := range before {
			if after[name] != sum {
				t.Errorf("%s is not what it was", name)
			}
		}
	}
}

// counters checks that no counter in Redis is behind SQL.
func (f fixture) counters(t *testing.T) {
	t.Helper()
	for k := range im.Shards {
		all, err := rows(t.Context(), f.db, func(r scanner) (v [2]uint32, err error) { return v, r.Scan(&v[0], &v[1]) },
			fmt.Sprintf("SELECT relateId, MAX(msgId) FROM IMMessage_%d GROUP BY relateId", k))
		check(t, err)
		for _, v := range all {
			n, err := f.redis.Get(t.Context(), fmt.Sprintf("msg_id_%d", v[0])).Int64()
			if err != nil || n < int64(v[1]) {
				t.Errorf("counter of relation %d is %d, %v; newest id %d", v[0], n, err, v[1])
			}
		}
	}
}

var errKilled = errors.New("killed")

// However often a run is killed, it comes to the same end; so does the way
// back.
func TestKilledAnywhere(t *testing.T) {
	t.Parallel()
	f, w := original(t)
	before := f.dump(t)
	again := func(call func(*Takeover) error) int {
		t.Helper()
		seen := map[string]bool{}
		for kills := 0; ; kills++ {
			tk := f.open(t, func(point string) error {
				if seen[point] {
					return nil
				}
				seen[point] = true
				return errKilled
			})
			err := call(tk)
			check(t, tk.Close())
			if err == nil {
				return kills
			}
			if !errors.Is(err, errKilled) || kills > 1000 {
				t.Fatal(err)
			}
		}
	}
	kills := again(func(tk *Takeover) error { _, err := tk.Run(t.Context(), true); return err })
	if _, err := w.Verify(t.Context(), f.db); err != nil {
		t.Error(err)
	}
	back := again(func(tk *Takeover) error { _, err := tk.Undo(t.Context(), true); return err })
	if !maps.Equal(f.dump(t), before) {
		t.Error("the way back leads elsewhere")
	}
	t.Logf("%d kills on the way, %d on the way back", kills, back)
	if kills < 100 || back < 30 {
		t.Errorf("only %d and %d kills", kills, back)
	}
}

// A run that was killed between two statements of the migrations begins them
// anew.
func TestKilledInMigrations(t *testing.T) {
	t.Parallel()
	f, w := original(t)
	tk := f.open(t, func(point string) error {
		if point == "make tables" {
			return errKilled
		}
		return nil
	})
	if _, err := tk.Run(t.Context(), false); !errors.Is(err, errKilled) {
		t.Fatal(err)
	}
	check(t, tk.Close())
	for _, text := range []string{
		"CREATE TABLE goose_db_version (id int)", "CREATE TABLE IMGroupMember (groupId int, joinedId int)",
	} {
		_, err := f.db.ExecContext(t.Context(), text)
		check(t, err)
	}
	f.run(t)
	if _, err := w.Verify(t.Context(), f.db); err != nil {
		t.Error(err)
	}
}
