package serve

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"teamtalk/client"
	"teamtalk/cmd/teamtalk/internal/admin"
	"teamtalk/db_proxy/dbproxy"
	"teamtalk/internal/im"
	"teamtalk/internal/testenv"
)

// patience bounds every wait of the tests.
const patience = time.Minute

// distances are those of all ports of a server from its base port.
var distances = []int{
	0, loginTCP, health, loginHTTP, loginMsg, loginHTTP + health, route, route + health, httpMsg, httpMsg + health, files,
	filesMsg, files + health, images, dbProxy, dbProxy + health, redisPort,
}

// newConfig returns a configuration with free ports.
func newConfig(t *testing.T, data string) Config {
	t.Helper()
	cfg := Config{
		Data: data, BasePort: testenv.FreeBase(t, distances...), Listen: loopback, Demo: true,
		LogLevel: slog.LevelInfo, Program: "teamtalk",
	}
	if err := cfg.complete(); err != nil {
		t.Fatal(err)
	}
	return cfg
}

// running is a "teamtalk serve".
type running struct {
	t     *testing.T
	cfg   Config
	stop  context.CancelFunc
	ended chan error
	text  string // printed up to the line "ready"
}

// start serves from a data folder until stop.
func start(t *testing.T, data string) *running {
	t.Helper()
	r := &running{t: t, cfg: newConfig(t, data), ended: make(chan error, 1)}
	ctx, cancel := context.WithCancel(t.Context())
	r.stop = cancel
	printed, out := io.Pipe()
	go func() {
		err := Run(ctx, r.cfg, out)
		r.ended <- err
		_ = out.CloseWithError(errors.Join(io.EOF, err))
	}()
	t.Cleanup(func() {
		cancel()
		_ = printed.Close()
	})
	buf := make([]byte, 64<<10)
	n, err := printed.Read(buf) // Run prints once
	if err != nil {
		t.Fatal(err)
	}
	r.text = string(buf[:n])
	return r
}

// end stops it and waits.
func (r *running) end() {
	r.t.Helper()
	r.stop()
	select {
	case err := <-r.ended:
		if err != nil {
			r.t.Error(err)
		}
	case <-time.After(patience):
		r.t.Fatal("does not stop")
	}
}

// dial logs in the way clients do.
func (r *running) dial(user, password string, handler client.Handler) *client.Client {
	r.t.Helper()
	c, err := client.Dial(r.t.Context(), client.Options{
		LoginURL: r.cfg.loginURL(), User: user, Password: password, Handler: handler,
		Capabilities: client.AllCapabilities(),
	})
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(c.Close)
	return c
}

func TestServe(t *testing.T) {
	t.Parallel()
	data := filepath.Join(t.TempDir(), "data # 1")
	s := start(t, data)
	lines := strings.Split(strings.TrimSpace(s.text), "\n")
	want := "ready msg=" + join(loopback, s.cfg.BasePort) + " login=" + s.cfg.loginURL()
	if last := lines[len(lines)-1]; last != want {
		t.Errorf("last line %q, want %q", last, want)
	}
	if !strings.Contains(s.text, "teamtalk chat --user alice --login "+s.cfg.loginURL()) {
		t.Errorf("does not say how to log in:\n%s", s.text)
	}
	got := make(chan string, 1)
	bob := s.dial("bob", demoPassword, func(_ *client.Client, e client.Event) {
		if m, ok := e.(*client.Message); ok {
			got <- m.Text()
		}
	})
	alice := s.dial("alice", demoPassword, nil)
	if _, err := alice.SendText(t.Context(), im.Single, uint32(bob.User()), "hello"); err != nil {
		t.Fatal(err)
	}
	select {
	case text := <-got:
		if text != "hello" {
			t.Errorf("bob got %q", text)
		}
	case <-time.After(patience):
		t.Fatal("bob got nothing")
	}
	groups, err := alice.Groups(t.Context())
	if err != nil || len(groups) != 2 {
		t.Errorf("alice is in %v, %v", groups, err)
	}
	departments, _, err := alice.Departments(t.Context(), 0)
	if err != nil || len(departments) != 2 {
		t.Errorf("departments %v, %v", departments, err)
	}
	if err := Run(t.Context(), newConfig(t, data), io.Discard); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("a second server on one folder: %v", err)
	}
	s.end()
	log, err := os.ReadFile(filepath.Join(data, LogFile))
	if err != nil || strings.Contains(string(log), "level=ERROR") || strings.Contains(string(log), "hello") {
		t.Errorf("log, %v:\n%s", err, log)
	}

	// Everything is there after a restart, once.
	s = start(t, data)
	alice = s.dial("alice", demoPassword, nil)
	history, err := alice.History(t.Context(), im.Single, uint32(bob.User()), 0, 10)
	if err != nil || len(history) != 1 || history[0].Text() != "hello" {
		t.Errorf("history %v, %v", history, err)
	}
	users, _, err := alice.AllUsers(t.Context(), 0)
	if groups, err2 := alice.Groups(t.Context()); err != nil || err2 != nil || len(users) != 3 || len(groups) != 2 {
		t.Errorf("%d users, %d groups, %v, %v", len(users), len(groups), err, err2)
	}
	s.end()
}

func TestCacheIsOnlyACache(t *testing.T) {
	t.Parallel()
	cfg := newConfig(t, t.TempDir())
	s := newServer(cfg, io.Discard)
	defer s.stopAll()
	if _, err := s.startAll(t.Context()); err != nil {
		t.Fatal(err)
	}
	r := &running{t: t, cfg: cfg}
	alice, bob := r.dial("alice", demoPassword, nil), r.dial("bob", demoPassword, nil)
	send := func() im.MsgID {
		t.Helper()
		id, err := alice.SendText(t.Context(), im.Single, uint32(bob.User()), "hello")
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	if id := send(); id != 1 {
		t.Errorf("id %d", id)
	}
	before, _, err := bob.Unread(t.Context())
	if err != nil || before != 1 {
		t.Errorf("%d unread, %v", before, err)
	}
	s.cache.FlushAll()
	if after, _, err := bob.Unread(t.Context()); err != nil || after != before {
		t.Errorf("%d unread, want %d; %v", after, before, err)
	}
	s.cache.FlushAll()
	if id := send(); id != 2 {
		t.Errorf("id %d after the cache was emptied", id)
	}
	if after, _, err := bob.Unread(t.Context()); err != nil || after != before+1 {
		t.Errorf("%d unread, want %d; %v", after, before+1, err)
	}
}

func TestHealth(t *testing.T) {
	t.Parallel()
	s := start(t, t.TempDir())
	defer s.end()
	for _, distance := range []int{health, loginHTTP + health, route + health, dbProxy + health} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+s.cfg.addr(distance)+"/readyz", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if res.StatusCode != http.StatusOK {
			t.Errorf("port %d: %s", s.cfg.port(distance), res.Status)
		}
	}
}

func TestOperatorsWhileRunning(t *testing.T) {
	t.Parallel()
	s := start(t, t.TempDir())
	defer s.end()
	if !admin.Running(t.Context(), s.cfg.Data) {
		t.Fatal("nobody answers operators")
	}
	cmd := admin.UserCommand()
	cmd.SetArgs([]string{"add", "dave", "--password", "secret", "--data", s.cfg.Data})
	var out strings.Builder
	cmd.SetOut(&out)
	if err := cmd.ExecuteContext(t.Context()); err != nil || out.String() != "4\tdave\n" {
		t.Fatalf("printed %q, %v", out.String(), err)
	}
	if dave := s.dial("dave", "secret", nil); dave.User() != 4 {
		t.Errorf("dave is %d", dave.User())
	}
}

// TestOperatorsWhileStarting: as soon as a port is open, operators are heard,
// also long before the server is ready.
func TestOperatorsWhileStarting(t *testing.T) {
	t.Parallel()
	cfg := newConfig(t, t.TempDir())
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- Run(ctx, cfg, io.Discard) }()
	testenv.Eventually(t, patience, func() bool {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", cfg.addr(dbProxy+50)) // health, the first of all ports
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	}, "a port is open")
	cmd := admin.UserCommand()
	cmd.SetArgs([]string{"add", "dave", "--password", "secret", "--data", cfg.Data})
	var out strings.Builder
	cmd.SetOut(&out)
	if err := cmd.ExecuteContext(ctx); err != nil || out.String() != "4\tdave\n" {
		t.Errorf("printed %q, %v", out.String(), err)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = taken.Close() })
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	garbage := t.TempDir()
	if err := os.WriteFile(filepath.Join(garbage, admin.DataFile), []byte(strings.Repeat("no database ", 500)), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		change func(*Config)
		want   string
	}{
		"a taken port": {func(c *Config) {
			c.BasePort = taken.Addr().(*net.TCPAddr).Port - route //nolint:forcetypeassert // it is one
		}, "is taken: choose another --base-port"},
		"a file for a folder":      {func(c *Config) { c.Data = file }, "make data folder"},
		"no database":              {func(c *Config) { c.Data = garbage }, "damaged or is no database"},
		"demo accounts for others": {func(c *Config) { c.Listen, c.Advertise = "0.0.0.0", loopback }, "use --no-demo"},
		"a low port":               {func(c *Config) { c.BasePort = 80 }, "--base-port must be"},
		"a high port":              {func(c *Config) { c.BasePort = 65_000 }, "--base-port must be"},
		"a name to listen on":      {func(c *Config) { c.Listen = "example.org" }, "--listen takes"},
		"no name to advertise":     {func(c *Config) { c.Advertise = "exa mple.org" }, "--advertise takes"},
		"half an address":          {func(c *Config) { c.Advertise = "10.0.0" }, "--advertise takes"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := newConfig(t, filepath.Join(t.TempDir(), "data"))
			test.change(&cfg)
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			err := Run(ctx, cfg, io.Discard)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
			if err != nil && strings.Contains(admin.Explain(err), "\n") {
				t.Errorf("more than one line: %v", err)
			}
		})
	}
}

// A host name to advertise is what every role tells clients.
func TestAdvertisedName(t *testing.T) {
	t.Parallel()
	cfg := newConfig(t, t.TempDir())
	cfg.Advertise = "chat.example.org"
	if err := cfg.complete(); err != nil {
		t.Fatal(err)
	}
	r, err := cfg.roles("x")
	if err != nil {
		t.Fatal(err)
	}
	if text := fmt.Sprintf("%+v %+v", r.msg, r.file); strings.Count(text, cfg.Advertise) < 2 || !strings.Contains(cfg.loginURL(), cfg.Advertise) {
		t.Errorf("not told to clients: %s, %s", text, cfg.loginURL())
	}
	for name, good := range map[string]bool{
		"localhost": true, "a-b_c.example.org.": true, "1and1.de": true, "xn--fiq228c.cn": true,
		"": false, "-a.org": false, "a..b": false, "a/b": false, "256.1.2.3": false, "a:80": false, "世界": false,
	} {
		if hostName(name) != good {
			t.Errorf("hostName(%q) = %v", name, !good)
		}
	}
}

func TestDemoPasswordsBeyondLoopback(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	start(t, data).end()
	open := func(use func(*dbproxy.Admin) error) {
		t.Helper()
		a, err := dbproxy.OpenAdmin(t.Context(),
			dbproxy.Config{StoreDriver: "sqlite", StorePath: filepath.Join(data, admin.DataFile)}, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(use(a), a.Close()); err != nil {
			t.Fatal(err)
		}
	}
	try := func() error {
		cfg := newConfig(t, data)
		cfg.Listen, cfg.Advertise = "0.0.0.0", loopback
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		return Run(ctx, cfg, writerFunc(func(p []byte) (int, error) {
			cancel() // it is ready
			return len(p), nil
		}))
	}
	open(func(a *dbproxy.Admin) error { return a.SetPassword(t.Context(), "alice", "other") })
	if err := try(); err == nil || !strings.Contains(err.Error(), "bob, carol still") {
		t.Fatalf("got %v", err)
	}
	open(func(a *dbproxy.Admin) error {
		return errors.Join(a.SetPassword(t.Context(), "bob", "other"), a.SetEnabled(t.Context(), "carol", false))
	})
	if err := try(); err != nil {
		t.Errorf("refused: %v", err)
	}
}

// writerFunc is an io.Writer.
type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

func TestSeedIsRepeatable(t *testing.T) {
	t.Parallel()
	a, err := dbproxy.OpenAdmin(t.Context(),
		dbproxy.Config{StoreDriver: "sqlite", StorePath: filepath.Join(t.TempDir(), "x.db")}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = a.Close() }()
	if _, err := a.AddUsers(t.Context(), []dbproxy.AccountSpec{{Name: "bob", Password: "kept"}}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if demo, err := seed(t.Context(), a); err != nil || !demo {
			t.Fatalf("seed: %v, %v", demo, err)
		}
		if all, err := a.ListUsers(t.Context()); err != nil || len(all) != 3 || all[0].Nick != "bob" {
			t.Errorf("accounts %v, %v", all, err)
		}
	}
	if _, err := a.AddUsers(t.Context(), []dbproxy.AccountSpec{{Name: "dave", Password: "x"}}); err != nil {
		t.Fatal(err)
	}
	if demo, err := seed(t.Context(), a); err != nil || demo {
		t.Errorf("seeds a database that is used: %v, %v", demo, err)
	}
}

func TestLogStartsAnew(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "log")
	l, err := openLog(path)
	if err != nil {
		t.Fatal(err)
	}
	l.size = maxLog - 3
	for _, line := range []string{"one\n", "two\n"} {
		if _, err := io.WriteString(l, line); err != nil {
			t.Fatal(err)
		}
		l.size = maxLog
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	now, err1 := os.ReadFile(path)
	before, err2 := os.ReadFile(path + ".1")
	if string(now) != "two\n" || string(before) != "one\n" {
		t.Errorf("now %q, %v; before %q, %v", now, err1, before, err2)
	}
}
