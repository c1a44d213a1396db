//go:build unix

// Package dropin plays the day on which an installation of the original
// becomes one of ours: its database and Redis after some years, the
// configuration files that its operator has, "teamtalk migrate" killed again
// and again, a client that goes on where it was, and the way back.
//
// -args -messages 1000000 plays it in full size; test/accept/dropin.sh does.
package dropin

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"teamtalk/client"
	"teamtalk/internal/im"
	"teamtalk/internal/procs"
	"teamtalk/internal/testenv"
	"teamtalk/internal/testenv/legacy"
	"teamtalk/test/e2e/cluster"
)

var (
	messages = flag.Int("messages", 4000, "messages in the database of the original")
	binaries = flag.String("bin", "", "folder of the binaries; empty builds them")
	bin      string //nolint:gochecknoglobals // made by TestMain
)

func TestMain(m *testing.M) {
	flag.Parse()
	bin = *binaries
	if bin != "" {
		testenv.Main(m)
	}
	dir, err := os.MkdirTemp("", "tt-bin")
	if err == nil {
		bin = dir
		err = cluster.Build(dir, false)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	testenv.Main(m, func() error { return os.RemoveAll(dir) })
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// row prints a line of the table of figures.
func row(what, wanted, seen string) { fmt.Printf("%-50s %-24s %s\n", what, wanted, seen) }

// house is one installation.
type house struct {
	t     *testing.T
	dir   string
	db    *sql.DB
	world *legacy.World
	pools legacy.Pools
	ports map[string]int
	roles []*procs.Server
}

// move makes the database of the original, its Redis and its configuration.
func move(t *testing.T) *house {
	t.Helper()
	d, server := testenv.OwnMariaDB(t)
	for _, text := range []string{
		"CREATE USER 'test'@'127.0.0.1' IDENTIFIED BY '12345'", "GRANT ALL ON test.* TO 'test'@'127.0.0.1'",
	} {
		check(t, server.Exec(t.Context(), text))
	}
	db, err := sql.Open("mysql", d.DSN())
	check(t, err)
	db.SetMaxIdleConns(0)
	t.Cleanup(func() { _ = db.Close() })
	r := testenv.Redis(t)
	pool := func(n int) redis.UniversalClient {
		c := redis.NewClient(&redis.Options{Addr: fmt.Sprintf("127.0.0.1:%d", r.Port), DB: n, ReadTimeout: time.Minute})
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	h := &house{
		t: t, dir: t.TempDir(), db: db, ports: map[string]int{"mysql": d.Port, "redis": r.Port},
		pools: legacy.Pools{Unread: pool(1), GroupSet: pool(2), Token: pool(4), GroupMember: pool(5)},
		world: legacy.New(legacy.Size{
			Users: 100 + *messages/1000, Groups: 20 + *messages/5000, Pairs: 300 + *messages/100, Messages: *messages, Seed: 7,
		}),
	}
	for _, name := range []string{"db", "route", "login", "msg"} {
		h.ports[name] = testenv.FreeBase(t, 0, 50) // for health, too
	}
	h.ports["client"], h.ports["register"] = testenv.FreePorts(t, 1)[0], testenv.FreePorts(t, 1)[0]
	check(t, h.world.Fill(t.Context(), db, h.pools))
	return h
}

// role starts a binary as an operator of the original does: in a folder with
// its configuration, without an argument.
func (h *house) role(name, port string) *procs.Server {
	h.t.Helper()
	dir := filepath.Join(h.dir, name)
	text, file := conf(name), files[name]
	for key, port := range h.ports {
		text = strings.ReplaceAll(text, "{"+key+"}", strconv.Itoa(port))
	}
	check(h.t, os.MkdirAll(dir, 0o700))
	check(h.t, os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600))
	main := h.ports[port]
	return procs.NewServer(procs.Config{
		Name: name, Path: filepath.Join(bin, name), Dir: dir, LogFile: filepath.Join(dir, "log"),
	}, net.JoinHostPort("127.0.0.1", strconv.Itoa(main)), ready(main+50))
}

func ready(port int) func(context.Context) error {
	return func(ctx context.Context) error {
		out, err := exec.CommandContext(ctx, "curl", "-fs", "--max-time", "2", fmt.Sprintf("http://127.0.0.1:%d/readyz", port)).
			CombinedOutput()
		if err != nil {
			return fmt.Errorf("not ready: %s", out)
		}
		return nil
	}
}

// start starts all roles.
func (h *house) start() {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(h.t.Context(), time.Minute)
	defer cancel()
	h.roles = []*procs.Server{
		h.role("db_proxy", "db"), h.role("route_server", "route"), h.role("login_server", "login"), h.role("msg_server", "msg"),
	}
	for _, r := range h.roles {
		check(h.t, r.Start(ctx))
	}
	h.t.Cleanup(func() {
		for _, r := range h.roles {
			if h.t.Failed() {
				h.t.Logf("---- %s", r.Process().LogTail())
			}
		}
	})
}

func (h *house) stop() {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for _, r := range slices.Backward(h.roles) {
		check(h.t, r.Stop(ctx))
	}
}

// report is what migrate prints with --json.
type report struct {
	State   string
	Counts  map[string]int
	Seconds float64
}

// migrate runs "teamtalk migrate" to its end.
func (h *house) migrate(args ...string) report {
	h.t.Helper()
	var out, errs bytes.Buffer
	cmd := h.command(args...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		h.t.Fatalf("migrate %v: %v\n%s", args, err, &errs)
	}
	var r report
	check(h.t, json.Unmarshal(out.Bytes(), &r))
	return r
}

func (h *house) command(args ...string) *exec.Cmd {
	config := filepath.Join(h.dir, "db_proxy", files["db_proxy"])
	return exec.Command(filepath.Join(bin, "teamtalk"), append([]string{"migrate", "--json", "--config", config}, args...)...)
}

// killed runs migrate with kill -9 after ever longer times, until it comes to
// its end, and returns how often it was killed.
func (h *house) killed(first time.Duration, args ...string) (kills int) {
	h.t.Helper()
	for after := first; ; after += after / 2 {
		cmd := h.command(append(args, "--force")...) // the one before may not have gone from the list of connections yet
		var errs bytes.Buffer
		cmd.Stderr = &errs
		check(h.t, cmd.Start())
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		timer := time.NewTimer(after)
		select {
		case err := <-ended:
			timer.Stop()
			if err != nil {
				h.t.Fatalf("migrate %v after %d kills: %v\n%s", args, kills, err, &errs)
			}
			return kills
		case <-timer.C:
			check(h.t, cmd.Process.Kill())
			<-ended //nolint:errcheck // it was killed
			kills++
		}
	}
}

func (h *house) dump() map[string]string {
	h.t.Helper()
	d, err := legacy.Dump(h.t.Context(), h.db)
	check(h.t, err)
	return d
}

func (h *house) verify() legacy.Seen {
	h.t.Helper()
	seen, err := h.world.Verify(h.t.Context(), h.db)
	check(h.t, err)
	return seen
}

func TestDropIn(t *testing.T) {
	t.Parallel()
	h := move(t)
	before := h.dump()
	row("figure", "wanted", "seen")
	h.refuse()

	planned := h.migrate("--check")
	began := time.Now()
	done := h.migrate("--quiet")
	took := time.Since(began)
	row(fmt.Sprintf("%d messages taken over", *messages), fmt.Sprintf("check said %.0f s", planned.Seconds), took.Round(100*time.Millisecond).String())
	seen := h.verify()
	row("messages, sessions, members, unread counts there", fmt.Sprintf("all %d messages", *messages),
		fmt.Sprintf("%d, %d, %d, %d", seen.Messages, seen.Sessions, seen.Members, seen.Unread))
	row("findings in the report", "each kind of dirt", fmt.Sprintf("%d kinds", len(done.Counts)))
	if len(done.Counts) < 18 {
		t.Errorf("findings %v", done.Counts)
	}

	began = time.Now()
	h.migrate("--undo", "--quiet")
	row("undo", "the dump of the start", time.Since(began).Round(100*time.Millisecond).String())
	if !maps.Equal(h.dump(), before) {
		t.Fatal("undo does not lead back to the start")
	}
	h.dropUndone()

	kills := h.killed(took / 20)
	h.verify()
	row("kill -9 of migrate, again and again", "nothing lost", fmt.Sprintf("%d kills", kills))
	if kills < 3 {
		t.Errorf("only %d kills", kills)
	}

	h.start()
	since := h.goOn()
	beside := h.beside()
	h.stop()
	row("a client goes on: log-in, unread, history, sends", "ids above the old ones", fmt.Sprintf("%d messages", len(since)))
	row("an original db_proxy stores beside ours", "both have all", fmt.Sprintf("%d messages", len(beside)))
	since = append(since, beside...)
	kills = h.killed(took/20, "--undo")
	h.keptAll(since)
	row("undo after that, killed", "old and new messages", fmt.Sprintf("%d kills", kills))
}

// refuse starts our db_proxy on the database of the original.
func (h *house) refuse() {
	h.t.Helper()
	r := h.role("db_proxy", "db")
	ctx, cancel := context.WithTimeout(h.t.Context(), time.Minute)
	defer cancel()
	err := r.Start(ctx)
	log, _ := os.ReadFile(filepath.Join(h.dir, "db_proxy", "log"))
	if err == nil || !strings.Contains(string(log), "teamtalk migrate") {
		h.t.Fatalf("db_proxy on the original's database: %v\n%s", err, log)
	}
	row("db_proxy before the takeover", "refuses", "names teamtalk migrate")
}

func (h *house) dropUndone() {
	h.t.Helper()
	names, err := h.db.Query("SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE()" +
		" AND TABLE_NAME LIKE 'tt\\_undone\\_%'")
	check(h.t, err)
	defer names.Close()
	for names.Next() {
		var name string
		check(h.t, names.Scan(&name))
		_, err := h.db.Exec("DROP TABLE " + name)
		check(h.t, err)
	}
	check(h.t, names.Err())
}

// sent is a message that was sent after the takeover.
type sent struct {
	user, kind, peer uint32
	id               im.MsgID
	text             string
}

// login logs in as an old Android client.
func (h *house) login(user uint32) *client.Client {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(h.t.Context(), time.Minute)
	defer cancel()
	c, err := client.Dial(ctx, client.Options{
		LoginURL: fmt.Sprintf("http://127.0.0.1:%d/msg_server", h.ports["login"]), User: legacy.User(user),
		Password: legacy.Password, Profile: client.Android(), Heartbeat: -1,
	})
	check(h.t, err)
	return c
}

// goOn logs users in with their old passwords: what they have not read is what
// it was, the history is there, and what they send has higher ids.
func (h *house) goOn() (all []sent) {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(h.t.Context(), time.Minute)
	defer cancel()
	const first, last = 2, 12
	for user := uint32(first); user < last; user++ {
		c := h.login(user)
		if uint32(c.User()) != user {
			h.t.Errorf("user %d is %d now", user, c.User())
		}
		h.sameUnread(ctx, c, user)
		c.Close()
	}
	for user := uint32(first); user < last; user++ {
		c := h.login(user)
		sessions, err := c.RecentSessions(ctx, 0)
		check(h.t, err)
		if len(sessions) == 0 {
			h.t.Errorf("user %d has no sessions", user)
		}
		for _, s := range sessions {
			kind, peer := uint32(s.GetSessionType()), s.GetSessionId()
			last, id := h.history(ctx, c, kind, peer)
			text := fmt.Sprintf("and now %d", len(all))
			got, err := c.SendText(ctx, im.Kind(kind), peer, text)
			check(h.t, err)
			if got <= id {
				h.t.Errorf("user %d to %d %d: id %d, the last one was %d (%s)", user, kind, peer, got, id, last)
			}
			all = append(all, sent{user, kind, peer, got, text})
			if len(all)%4 == 0 {
				break
			}
		}
		c.Close()
	}
	return all
}

// sameUnread compares the unread list with what the original counted.
func (h *house) sameUnread(ctx context.Context, c *client.Client, user uint32) {
	h.t.Helper()
	_, list, err := c.Unread(ctx)
	check(h.t, err)
	got := map[legacy.Key]uint32{}
	for _, u := range list {
		got[legacy.Key{User: user, Kind: uint32(u.GetSessionType()), Peer: u.GetSessionId()}] = u.GetUnreadCnt()
	}
	want := h.world.Left()
	maps.DeleteFunc(want, func(k legacy.Key, _ uint32) bool { return k.User != user })
	if !maps.Equal(got, want) {
		h.t.Errorf("unread of user %d: %v, want %v", user, got, want)
	}
}

// history reads the newest messages of a conversation.
func (h *house) history(ctx context.Context, c *client.Client, kind, peer uint32) (text string, id im.MsgID) {
	h.t.Helper()
	list, err := c.History(ctx, im.Kind(kind), peer, 0, 20)
	check(h.t, err)
	if len(list) == 0 {
		h.t.Fatalf("no history of %d %d", kind, peer)
	}
	for i, m := range list[1:] {
		if m.ID >= list[i].ID || m.Created > list[i].Created {
			h.t.Errorf("history of %d %d: %d at %d after %d at %d", kind, peer, m.ID, m.Created, list[i].ID, list[i].Created)
		}
	}
	return list[0].Text(), list[0].ID
}

// keptAll looks for every message of before and after in the original's
// tables.
func (h *house) keptAll(since []sent) {
	h.t.Helper()
	total := 0
	for k := range 8 {
		for _, table := range []string{"IMMessage_", "IMGroupMessage_"} {
			var n int
			check(h.t, h.db.QueryRow(fmt.Sprintf("SELECT COUNT(*) FROM %s%d", table, k)).Scan(&n))
			total += n
		}
	}
	if want := *messages + h.world.LeftOut + len(since); total != want {
		h.t.Errorf("%d messages, want %d", total, want)
	}
	for _, s := range since {
		if err := h.kept(s); err != nil {
			h.t.Errorf("message %d of user %d to %d %d: %v", s.id, s.user, s.kind, s.peer, err)
		}
	}
	var n int
	check(h.t, h.db.QueryRow("SELECT COUNT(*) FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = DATABASE()"+
		" AND TABLE_NAME LIKE 'IM%' AND COLUMN_NAME IN ('password_hash', 'opId', 'joined')").Scan(&n))
	if n != 0 {
		h.t.Errorf("%d columns of ours are left", n)
	}
}

// kept finds a new message as an original db_proxy would, and its counter.
func (h *house) kept(s sent) error {
	counter := fmt.Sprintf("group_msg_id_%d", s.peer)
	if s.kind == 1 {
		var relation uint32
		if err := h.db.QueryRow("SELECT id FROM IMRelationShip WHERE smallId = ? AND bigId = ? AND status = 0"+
			" ORDER BY updated DESC, id DESC LIMIT 1", min(s.user, s.peer), max(s.user, s.peer)).Scan(&relation); err != nil {
			return fmt.Errorf("relation: %w", err)
		}
		counter = fmt.Sprintf("msg_id_%d", relation)
		var n int
		if err := h.db.QueryRow(fmt.Sprintf("SELECT COUNT(*) FROM IMMessage_%d WHERE relateId = ? AND msgId = ? AND fromId = ?",
			relation%8), relation, s.id, s.user).Scan(&n); err != nil || n != 1 {
			return fmt.Errorf("%d rows, %w", n, err)
		}
	}
	n, err := h.pools.Unread.Get(context.Background(), counter).Uint64()
	if err != nil {
		return err
	}
	if n < uint64(s.id) {
		return errors.New("its counter in Redis is behind")
	}
	return nil
}
