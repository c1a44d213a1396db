package takeover

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
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

// onServer is a fixture in a database of a server, as an ordinary account.
func onServer(t *testing.T, port int, name string) fixture {
	t.Helper()
	addr := fmt.Sprintf("127.0.0.1:%d", testenv.Redis(t).Port)
	pools := map[string]cache.PoolConfig{}
	for _, name := range []string{cache.PoolUnread, cache.PoolGroupSet, cache.PoolToken, cache.PoolGroupMember} {
		pools[name] = cache.PoolConfig{Addrs: []string{addr}}
	}
	f := fixture{
		cfg: Config{
			DB: store.Pool{Host: "127.0.0.1", Port: port, DB: name, User: "tt"}, Redis: cache.Config{Pools: pools},
		},
		redis: redis.NewClient(&redis.Options{Addr: addr}),
	}
	// What the test itself says must not depend on the server.
	db, err := sql.Open("mysql", fmt.Sprintf("root@tcp(127.0.0.1:%d)/%s?charset=utf8mb4&autocommit=1&completion_type=0"+
		"&sql_mode=''&sql_select_limit=18446744073709551615&sql_safe_updates=0&sql_big_selects=1&max_statement_time=0"+
		"&unique_checks=1&alter_algorithm=0&time_zone='%%2B00:00'&default_storage_engine=InnoDB", port, name))
	check(t, err)
	db.SetMaxIdleConns(0)
	f.db = db
	t.Cleanup(func() { check(t, errors.Join(db.Close(), f.redis.Close())) })
	return f
}

// play takes an installation over, back, over again, uses it, and goes back.
func play(t *testing.T, f fixture, c schema, s setting, exec func(context.Context, string) error) { //nolint:thelper // the body of a test
	w := legacy.New(legacy.Size{Users: 40, Groups: 10, Pairs: 70, Messages: 700, Seed: 3})
	check(t, w.Fill(t.Context(), f.db, legacy.Pools{Unread: f.redis, GroupSet: f.redis, Token: f.redis, GroupMember: f.redis}))
	f.become(t, c)
	for _, g := range s.globals {
		check(t, exec(t.Context(), "SET GLOBAL "+g))
		name, _, _ := strings.Cut(g, " ")
		t.Cleanup(func() { check(t, exec(context.Background(), "SET GLOBAL "+name+" = DEFAULT")) })
	}
	before := f.everything(t)
	if s.refused != "" {
		f.refused(t, s.refused)
		return
	}
	if c.prefix != nil {
		f.refused(t, "--table-prefix '"+*c.prefix+"'")
		f.cfg.Prefix = c.prefix
	}
	r, err := f.with(t, func(tk *Takeover) (*Report, error) { return tk.Check(t.Context()) })
	check(t, err)
	if r.Counts[Blocked] != 0 || r.State != Original || c.keys != (r.Counts[KeyKept] > 0) {
		t.Errorf("check: %s, %v, %+v", r.State, r.Counts, r.Findings[:min(len(r.Findings), 5)])
	}
	compare(t, "a check", before, f.everything(t))
	f.run(t)
	if _, err := w.Verify(t.Context(), f.db); err != nil {
		t.Error(err)
	}
	f.cfg.Prefix = nil // what was begun knows its names
	f.undo(t)
	compare(t, "over and back", before, f.everything(t))
	f.dropUndone(t)
	f.cfg.Prefix = c.prefix
	f.run(t)
	f.cfg.Prefix = nil
	u := f.use(t)
	r = f.undo(t)
	u.kept(t, f, c, before, r)
}

// become gives the tables of the original the shape of a schema.
func (f fixture) become(t *testing.T, c schema) {
	t.Helper()
	statements := c.statements()
	if c.prefix != nil {
		for _, name := range legacy.Names() {
			to := *c.prefix + name
			if c.lower {
				to = strings.ToLower(to)
			}
			statements = append(statements, fmt.Sprintf("RENAME TABLE %s TO %s", name, to))
		}
	}
	for _, text := range statements {
		if _, err := f.db.ExecContext(t.Context(), text); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
	}
}

// refused: neither a takeover nor a server of ours begins, both say why, and
// nothing is changed.
func (f fixture) refused(t *testing.T, why string) {
	t.Helper()
	before := f.everything(t)
	_, err := f.with(t, func(tk *Takeover) (*Report, error) { return tk.Run(t.Context(), false) })
	if err == nil || !strings.Contains(err.Error(), why) {
		t.Errorf("run: %v, want %q", err, why)
	}
	_, err = store.Open(t.Context(), store.Config{Driver: store.MySQL, Master: f.cfg.DB}, storeDeps())
	if err == nil || !strings.Contains(err.Error(), why) {
		t.Errorf("db_proxy: %v, want %q", err, why)
	}
	compare(t, "a refusal", before, f.everything(t))
}

func storeDeps() store.Deps { return store.Deps{Log: slog.New(slog.DiscardHandler), Clock: time.Now} }

func (f fixture) undo(t *testing.T) *Report {
	t.Helper()
	f.alone(t)
	r, err := f.with(t, func(tk *Takeover) (*Report, error) { return tk.Undo(t.Context(), false) })
	check(t, err)
	return r
}

func (f fixture) dropUndone(t *testing.T) {
	t.Helper()
	names, err := column[string](t.Context(), f.db, `SELECT TABLE_NAME FROM information_schema.TABLES
		WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME LIKE 'tt\_undone\_%'`)
	check(t, err)
	for _, name := range names {
		_, err := f.db.ExecContext(t.Context(), "DROP TABLE "+quote(name))
		check(t, err)
	}
}

// everything is the definition of every table, and each of its rows by id;
// what the way back left is not looked at.
func (f fixture) everything(t *testing.T) map[string]map[string]string {
	t.Helper()
	names, err := column[string](t.Context(), f.db, `SELECT TABLE_NAME FROM information_schema.TABLES
		WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME NOT LIKE 'tt\_undone\_%'`)
	check(t, err)
	all := map[string]map[string]string{}
	for _, name := range names {
		var definition string
		check(t, f.db.QueryRowContext(t.Context(), "SHOW CREATE TABLE "+quote(name)).Scan(new(string), &definition))
		if at := strings.Index(definition, " AUTO_INCREMENT="); at >= 0 {
			end := strings.Index(definition[at+1:], " ")
			definition = definition[:at] + definition[at+1+end:]
		}
		all[name] = map[string]string{"definition": definition}
		columns, err := (&Takeover{db: f.db}).columns(t.Context(), name)
		check(t, err)
		list := make([]string, len(columns))
		for i, c := range columns {
			list[i] = "COALESCE(HEX(" + quote(c.name) + "), 'NULL')"
		}
		found, err := rows(t.Context(), f.db, func(r scanner) (v [2]string, err error) { return v, r.Scan(&v[0], &v[1]) },
			"SELECT id, CONCAT_WS(' ', "+strings.Join(list, ", ")+") FROM "+quote(name))
		check(t, err)
		for _, v := range found {
			all[name][v[0]] = v[1]
		}
	}
	return all
}

// compare reports what differs, row by row.
func compare(t *testing.T, what string, before, after map[string]map[string]string) {
	t.Helper()
	if a, b := slices.Sorted(maps.Keys(before)), slices.Sorted(maps.Keys(after)); !slices.Equal(a, b) {
		t.Errorf("%s: tables %v became %v", what, a, b)
	}
	for table, rows := range before {
		for id, row := range rows {
			if after[table][id] != row {
				t.Errorf("%s: %s %s was\n%s\nis\n%s", what, table, id, row, after[table][id])
			}
		}
		if a, b := len(rows), len(after[table]); a != b {
			t.Errorf("%s: %s had %d rows, has %d", what, table, a-1, b-1)
		}
	}
}

// used is what was done between a takeover and the way back.
type used struct {
	users  []im.UserID
	groups []im.GroupID // the first has the members 1 and 4, and 2 who was added
	at     uint32
}

// use does what users do: accounts, groups, members, messages, and a second
// group of a name.
func (f fixture) use(t *testing.T) (u used) {
	t.Helper()
	s, err := store.Open(t.Context(), store.Config{Driver: store.MySQL, Master: f.cfg.DB}, storeDeps())
	check(t, err)
	defer func() { check(t, s.Close()) }()
	made, err := s.CreateUsers(t.Context(), []store.NewUser{
		{Name: "newcomer", Nick: "Newcomer \U0001F600"}, {Name: "NEWCOMER", Nick: "Another"},
	})
	check(t, err)
	for _, m := range made {
		u.users = append(u.users, m.ID)
	}
	for range 2 {
		id, err := s.CreateGroup(t.Context(), store.NewGroup{
			Name: "a group of which there are several \U0001F600", Creator: 1, Type: 2, Members: []im.UserID{1, 4},
		})
		check(t, err)
		u.groups = append(u.groups, id)
	}
	group := im.GroupOf(u.groups[0])
	_, err = s.ChangeMembers(t.Context(), u.groups[0], []im.UserID{2}, nil)
	check(t, err)
	pair := im.PairOf(u.users[0], 1)
	relations, err := s.EnsureRelations(t.Context(), []im.Pair{pair})
	check(t, err)
	u.at = uint32(time.Now().Unix())
	check(t, s.Commit(t.Context(), &store.Batch{
		Messages: []store.Message{
			{Conv: group, ID: 1, From: 1, Content: "to all", Created: u.at, Type: im.GroupText},
			{
				Conv: im.SingleOf(u.users[0], 1), Relation: relations[pair], ID: 1, From: u.users[0], To: 1,
				Content: "to one", Created: u.at, Type: im.SingleText,
			},
		},
		Sessions: []store.SessionTouch{
			{SessionKey: store.SessionKey{User: 1, Kind: im.Group, Peer: uint32(u.groups[0])}, Updated: u.at},
			{SessionKey: store.SessionKey{User: 1, Kind: im.Single, Peer: uint32(u.users[0])}, Updated: u.at},
			{SessionKey: store.SessionKey{User: u.users[0], Kind: im.Single, Peer: 1}, Updated: u.at},
		},
	}))
	check(t, s.WriteActivity(t.Context(), store.Activity{Groups: map[im.GroupID]uint32{u.groups[0]: u.at}}))
	f.lines(t, "IMGroup", "IMRecentSession", u) // an original beside ours sees them, too
	return u
}

// lines looks for the row of every member in the list of sessions.
func (f fixture) lines(t *testing.T, groups, sessions string, u used) {
	t.Helper()
	for _, user := range []uint32{1, 2, 4} {
		n, err := number(t.Context(), f.db, "SELECT COUNT(*) FROM "+sessions+" s JOIN "+groups+" g ON g.id = s.peerId"+
			" WHERE s.type = 2 AND s.status = 0 AND s.updated >= g.lastChated AND g.lastChated >= ? AND s.peerId = ?"+
			" AND s.userId = ?", u.at, u.groups[0], user)
		check(t, err)
		if n != 1 {
			t.Errorf("%s: %d lines of the group for user %d", sessions, n, user)
		}
	}
}

// kept: after the way back, all rows of before are what they were, and the new
// ones are there.
func (u used) kept(t *testing.T, f fixture, c schema, before map[string]map[string]string, r *Report) {
	t.Helper()
	after := f.everything(t)
	name := func(table string) string {
		if c.prefix != nil {
			table = *c.prefix + table
		}
		if _, ok := after[table]; c.lower || !ok {
			table = strings.ToLower(table)
		}
		return table
	}
	groups, sessions := name("IMGroup"), name("IMRecentSession")
	added := map[string]int{
		name("IMUser"): 2, groups: 2, name("IMGroupMember"): 5, name("IMRelationShip"): 1, sessions: 5,
	}
	messages := 0
	for table, rows := range before {
		for id, row := range rows {
			if now := after[table][id]; now != row {
				t.Errorf("%s %s was\n%s\nis\n%s", table, id, row, now)
			}
		}
		switch n := len(after[table]) - len(rows); {
		case strings.Contains(strings.ToLower(table), "message_"):
			messages += n
		case n != added[table]:
			t.Errorf("%s has %d more rows, want %d", table, n, added[table])
		}
		delete(after, table)
	}
	if messages != 2 || len(after) != 0 {
		t.Errorf("%d messages came, and the tables %v", messages, slices.Collect(maps.Keys(after)))
	}
	f.lines(t, groups, sessions, u)
	if c.keys && r.Counts[MadeDistinct] == 0 {
		t.Errorf("nothing was made distinct: %v", r.Counts)
	}
	if c.name == "older" && r.Counts[TextChanged] < 3 {
		t.Errorf("no texts were changed: %v", r.Counts)
	}
}
