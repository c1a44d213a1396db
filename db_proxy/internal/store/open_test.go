package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"teamtalk/internal/im"
	"teamtalk/internal/secret"
	"teamtalk/internal/testenv"
)

func testDeps() Deps { return fixture{clock: newClock()}.deps() }

func TestOpenTwice(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, f fixture) {
		u := f.users(t, 2)
		if f.cfg.Driver == SQLite {
			check(t, f.lock.release()) // as if the process had died
			f.lock = nil
		}
		again, err := Open(t.Context(), f.cfg, f.deps())
		check(t, err)
		defer again.Close()
		if got := must(again.Users(t.Context(), u))(t); len(got) != 2 {
			t.Errorf("%d users after opening again, want 2", len(got))
		}
		check(t, again.Ping(t.Context()))
	})
}

func TestOpenConcurrently(t *testing.T) {
	t.Parallel()
	cfg := Config{Driver: MySQL, Master: mariadb(t)}
	var wg sync.WaitGroup
	for range 6 {
		wg.Go(func() {
			s, err := Open(t.Context(), cfg, testDeps())
			if err != nil {
				t.Errorf("open: %v", err)
				return
			}
			if n, err := s.LatestUserUpdate(t.Context()); err != nil || n != 0 {
				t.Errorf("latest update %d, %v", n, err)
			}
			check(t, s.Close())
		})
	}
	wg.Wait()
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	newer := mariadb(t)
	foreign, wrong, unknown := mariadb(t), newer, newer
	if _, err := connect(t, foreign).Exec("CREATE TABLE IMUser (id int, name varchar(32))"); err != nil {
		t.Fatal(err)
	}
	open(t, Config{Driver: MySQL, Master: newer})
	if _, err := connect(t, newer).Exec("INSERT INTO goose_db_version (version_id, is_applied) VALUES (99, 1)"); err != nil {
		t.Fatal(err)
	}
	wrong.Password = secret.New("no")
	unknown.DB = "nowhere"
	garbage := filepath.Join(t.TempDir(), "x")
	check(t, os.WriteFile(garbage, []byte(strings.Repeat("no database ", 100)), 0o600))
	for name, c := range map[string]struct {
		cfg  Config
		code im.Code
		text string
	}{
		"no driver":        {Config{}, im.Invalid, "unknown driver"},
		"no path":          {Config{Driver: SQLite}, im.Invalid, "needs a path"},
		"no host":          {Config{Driver: MySQL}, im.Invalid, "needs host"},
		"wrong password":   {Config{Driver: MySQL, Master: wrong}, im.Denied, "refused user or password"},
		"unknown database": {Config{Driver: MySQL, Master: unknown}, im.NotFound, "does not exist"},
		"other tables":     {Config{Driver: MySQL, Master: foreign}, im.Invalid, "teamtalk migrate"},
		"newer database":   {Config{Driver: MySQL, Master: newer}, im.Invalid, "too old"},
		"no database":      {Config{Driver: SQLite, Path: garbage}, im.Internal, "no database"},
	} {
		s, err := Open(t.Context(), c.cfg, testDeps())
		if err == nil {
			check(t, s.Close())
		}
		if im.CodeOf(err) != c.code || !strings.Contains(fmt.Sprint(err), c.text) {
			t.Errorf("%s: %v, want %v and %q", name, err, c.code, c.text)
		}
	}
	if _, err := Open(t.Context(), Config{Driver: SQLite, Path: "x"}, Deps{}); err == nil {
		t.Error("opened without dependencies")
	}
}

func TestDataFileInUse(t *testing.T) {
	t.Parallel()
	f := newStore(t, SQLite)
	_, err := Open(t.Context(), f.cfg, f.deps())
	wantCode(t, err, im.Unavailable)
	if want := fmt.Sprintf("data folder is in use by process %d", os.Getpid()); !strings.Contains(err.Error(), want) {
		t.Errorf("error %q, want %q", err, want)
	}
}

// proxy stands between a store and its server and can be cut.
type proxy struct {
	net.Listener
	to   string
	mu   sync.Mutex
	open []net.Conn // guarded by mu
}

// newProxy listens at addr and passes everything on to the server.
func newProxy(t *testing.T, addr, to string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", addr)
	check(t, err)
	p := &proxy{Listener: l, to: to}
	t.Cleanup(p.cut)
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", p.to)
			if err != nil {
				_ = in.Close()
				continue
			}
			p.mu.Lock()
			p.open = append(p.open, in, out)
			p.mu.Unlock()
			go func() { _, _ = io.Copy(out, in); _ = out.Close() }()
			go func() { _, _ = io.Copy(in, out); _ = in.Close() }()
		}
	}()
	return p
}

func (p *proxy) port() int { return p.Addr().(*net.TCPAddr).Port }

// cut ends every connection and accepts no more.
func (p *proxy) cut() {
	_ = p.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.open {
		_ = c.Close()
	}
	p.open = nil
}

func TestOpenWaitsForTheServer(t *testing.T) {
	t.Parallel()
	pool := mariadb(t)
	server := fmt.Sprintf("127.0.0.1:%d", pool.Port)
	gone := newProxy(t, "127.0.0.1:0", "")
	gone.cut()
	pool.Port = gone.port()
	cfg := Config{Driver: MySQL, Master: pool}

	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	_, err := Open(ctx, cfg, testDeps())
	wantCode(t, err, im.Unavailable)

	waiting := make(chan struct{})
	deps := testDeps()
	deps.Log = slog.New(onWarn{slog.DiscardHandler, func() { close(waiting) }})
	go func() {
		<-waiting
		newProxy(t, fmt.Sprintf("127.0.0.1:%d", pool.Port), server)
	}()
	s, err := Open(t.Context(), cfg, deps)
	check(t, err)
	check(t, s.Close())
}

// onWarn calls f for a warning.
type onWarn struct {
	slog.Handler
	f func()
}

func (h onWarn) Enabled(context.Context, slog.Level) bool { return true }

func (h onWarn) Handle(_ context.Context, r slog.Record) error {
	if r.Level == slog.LevelWarn {
		h.f()
	}
	return nil
}

func TestConnectionLost(t *testing.T) {
	t.Parallel()
	pool := mariadb(t)
	direct := pool
	p := newProxy(t, "127.0.0.1:0", fmt.Sprintf("127.0.0.1:%d", pool.Port))
	pool.Port = p.port()
	f := open(t, Config{Driver: MySQL, Master: pool})
	ctx := t.Context()
	r := f.relation(t, 1, 2)
	check(t, f.Commit(ctx, &Batch{Messages: []Message{f.text(r, 1, 1, "x")}}))

	// All idle connections die, but the server is there: nobody notices.
	f.exec(t, "SET @a = 1")
	for range 3 {
		p.mu.Lock()
		for _, c := range p.open {
			_ = c.Close()
		}
		p.open = nil
		p.mu.Unlock()
		must(f.LastMessages(ctx, []ConvRef{r}))(t)
	}

	// A connection that dies under a statement: the outcome is unknown.
	lock := must(connect(t, direct).Conn(ctx))(t)
	defer lock.Close()
	for _, text := range []string{"BEGIN", fmt.Sprintf("INSERT INTO IMMessage_%d (relateId, fromId, toId, msgId, updated, created) VALUES (%d, 1, 2, 2, 1, 1)", r.Relation%8, r.Relation)} {
		_, err := lock.ExecContext(ctx, text)
		check(t, err)
	}
	result := make(chan error, 1)
	go func() { result <- f.Commit(ctx, &Batch{Messages: []Message{f.text(r, 2, 1, "x")}}) }()
	testenv.Eventually(t, 10*time.Second, func() bool {
		n := must(number(ctx, querier{lock, newDialect(MySQL)},
			"SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE DB = DATABASE() AND INFO LIKE 'INSERT INTO IMMessage%'"))(t)
		return n > 0
	}, "the insert does not wait for the lock")
	p.cut()
	err := <-result
	wantCode(t, err, im.Unavailable)
	if !errors.Is(err, ErrOutcomeUnknown) || !IsTransient(err) {
		t.Errorf("error %v, want unknown outcome", err)
	}
	_, err = lock.ExecContext(ctx, "ROLLBACK")
	check(t, err)

	// The server is away.
	_, err = f.LastMessages(ctx, []ConvRef{r})
	wantCode(t, err, im.Unavailable)
	err = f.Commit(ctx, &Batch{Messages: []Message{f.text(r, 2, 1, "x")}})
	wantCode(t, err, im.Unavailable)
	if errors.Is(err, ErrOutcomeUnknown) {
		t.Errorf("error %v, but nothing was sent", err)
	}
}

func TestSlave(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	cfg := Config{Driver: MySQL, Master: mariadb(t)}
	f := open(t, cfg)
	r := f.relation(t, 1, 2)
	// The slave is another database whose replication the test does by hand.
	cfg.Slave = mariadb(t)
	slave := open(t, Config{Driver: MySQL, Master: cfg.Slave})
	f = open(t, cfg)
	put := func(s fixture, content string, ids ...im.MsgID) {
		t.Helper()
		for _, id := range ids {
			check(t, s.Commit(ctx, &Batch{Messages: []Message{f.text(r, id, 1, content)}}))
		}
	}
	put(f, "master", 1, 2, 3)
	put(slave, "slave", 1, 2)
	for name, c := range map[string]struct {
		got  []Message
		want string
	}{
		"newest":               {must(f.History(ctx, r, 0, 9, Since{}))(t), "master master master"},
		"the slave has it":     {must(f.History(ctx, r, 2, 9, Since{}))(t), "slave slave"},
		"the slave lags":       {must(f.History(ctx, r, 3, 9, Since{}))(t), "master master master"},
		"by id":                {must(f.ByIDs(ctx, r, []im.MsgID{1, 2}, Since{}))(t), "slave slave"},
		"by id, slave lags":    {must(f.ByIDs(ctx, r, []im.MsgID{2, 3}, Since{}))(t), "master master"},
		"one page from an id":  {must(f.History(ctx, r, 2, 1, Since{}))(t), "slave"},
		"no such relation yet": {must(f.History(ctx, ConvRef{r.Conv, 99}, 4, 1, Since{}))(t), ""},
	} {
		var got []string
		for _, m := range c.got {
			got = append(got, m.Content)
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%s: %v, want %q", name, got, c.want)
		}
	}
	cfg.Slave.Port = 1 // away
	f = open(t, cfg)
	if got := must(f.History(ctx, r, 2, 9, Since{}))(t); len(got) != 2 {
		t.Errorf("without a slave %v", got)
	}
}

// Nothing is opened later: neither strangers at the ports nor another program
// can take the descriptors that reading and writing need.
func TestSQLiteIsOpenOnce(t *testing.T) {
	t.Parallel()
	f := newStore(t, SQLite)
	for name, p := range map[string]*pool{"readers": f.exact, "the writer": f.write} {
		if s := p.db.Stats(); s.OpenConnections != s.MaxOpenConnections {
			t.Errorf("%d of %d connections of %s are open", s.OpenConnections, s.MaxOpenConnections, name)
		}
	}
	temp := must(f.tempStore(t))(t)
	if temp != 2 {
		t.Errorf("temp_store is %d, want 2: memory", temp)
	}
}

func (f fixture) tempStore(t *testing.T) (n uint64, err error) {
	t.Helper()
	err = f.read(t.Context(), "temp_store", f.exact, func(q querier) error {
		n, err = number(t.Context(), q, "PRAGMA temp_store")
		return err
	})
	return n, err
}
