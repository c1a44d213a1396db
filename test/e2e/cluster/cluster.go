//go:build unix

// Package cluster runs the built binaries as processes for end-to-end tests:
// every role on free ports of its own, on a real MariaDB and Redis. It knows
// how to configure, start, stop and kill them and how to look into the
// database; what is to be true meanwhile is the tests' business.
package cluster

import (
	"bytes"
	"context"
	"crypto/md5"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	_ "github.com/go-sql-driver/mysql" // the driver of DB

	"teamtalk/client"
	"teamtalk/internal/im"
	"teamtalk/internal/procs"
	"teamtalk/internal/testenv"
	"teamtalk/test/phones"
)

// startTimeout bounds how long processes may take to be ready, stopTimeout how
// long they may take to stop. They only matter when something is broken.
const (
	startTimeout = time.Minute
	stopTimeout  = 40 * time.Second
)

// Build builds the binaries into dir; race adds the race detector.
func Build(dir string, race bool) error {
	root := root()
	args := []string{"build", "-o", dir + string(filepath.Separator)}
	if race {
		args = append(args, "-race")
	}
	args = append(args, "./msg_server", "./db_proxy", "./route_server", "./login_server", "./http_msg_server",
		"./file_server", "./push_server", "./cmd/teamtalk")
	cmd := exec.CommandContext(context.Background(), "go", args...)
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return nil
}

// BuildOriginal builds the program that plays the original's servers and
// clients, a module of its own, into dir.
func BuildOriginal(dir string) error {
	cmd := exec.CommandContext(context.Background(), "go", "build", "-o", filepath.Join(dir, original), ".")
	cmd.Dir = filepath.Join(root(), "test", "original")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build in test/original: %w\n%s", err, out)
	}
	return nil
}

func root() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(file), "..", "..", "..")
}

// Options say what runs.
type Options struct {
	Bin        string            // folder of the binaries
	Msg        int               // msg_servers; 0 is 2
	DB         int               // db_proxies; 0 is 1
	Route      int               // route_servers; 0 is 1
	HTTP       int               // http_msg_servers
	File       int               // file_servers
	Push       int               // push_servers, with stand-ins of Apple and Google: Cluster.Phones
	Later      []string          // configured but not started: db_proxy_2
	OwnMariaDB bool              // the test harms it
	Keys       map[string]string // "msg_server.SlowConsumerTime": "1s"

	// Originals are servers that the program of BuildOriginal plays, strictly:
	// msg_server_2. Accounts is who may log in at an original db_proxy, as
	// "1:alice,2:bob".
	Originals []string
	Accounts  string
}

// original is the file of BuildOriginal.
const original = "original"

// Cluster is a running system. Its methods are safe for concurrent use.
type Cluster struct {
	DB      *sql.DB
	Redis   *procs.Redis
	MariaDB *procs.MariaDB   // nil unless Options.OwnMariaDB
	Phones  *phones.Services // nil without push_servers

	dir      string
	bin      string
	database *testenv.Database
	servers  map[string]*procs.Server // by name and number: msg_server_1
	order    []string                 // of starting
	health   map[string]int           // ports
	images   []string                 // URLs of the file_servers
	strict   map[string]bool          // played originals
	loginURL string
}

// Start starts a cluster for the length of a test and waits until every role
// is ready. A failed test prints the end of every role's log.
func Start(t testing.TB, o Options) *Cluster {
	t.Helper()
	c := &Cluster{
		dir: t.TempDir(), bin: o.Bin, servers: make(map[string]*procs.Server), health: make(map[string]int),
		strict: make(map[string]bool),
	}
	for _, name := range o.Originals {
		c.strict[name] = true
	}
	if o.OwnMariaDB {
		c.database, c.MariaDB = testenv.OwnMariaDB(t)
	} else {
		c.database = testenv.MariaDB(t)
	}
	c.Redis = testenv.Redis(t)
	db, err := sql.Open("mysql", c.database.DSN())
	if err != nil {
		t.Fatal(err)
	}
	db.SetMaxIdleConns(1)
	c.DB = db
	t.Cleanup(func() { _ = db.Close() })
	c.configure(t, o)
	t.Cleanup(func() { c.end(t) })
	later := make(map[string]bool)
	for _, name := range o.Later {
		later[name] = true
	}
	var first []string
	for _, name := range c.order {
		if !later[name] {
			first = append(first, name)
		}
	}
	if err := c.startAll(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	return c
}

// ImageURL is where the file_server of that number serves HTTP, from 1.
func (c *Cluster) ImageURL(number int) string { return c.images[number-1] }

// startAll starts servers at the same time.
func (c *Cluster) startAll(ctx context.Context, names []string) error {
	errs := make([]error, len(names))
	var all sync.WaitGroup
	for i, name := range names {
		all.Go(func() { errs[i] = c.StartServer(ctx, name) })
	}
	all.Wait()
	return errors.Join(errs...)
}

// end stops what still runs, looks for what must not stand in a log and, after
// a failure, shows the end of all logs.
func (c *Cluster) end(t testing.TB) {
	t.Helper()
	for _, name := range slices.Backward(c.order) {
		p := c.servers[name].Process()
		if p == nil {
			continue
		}
		if running(p) {
			if err := c.StopServer(context.Background(), name); err != nil {
				t.Error(err)
			}
		} else if c.strict[name] && p.ExitCode() != 0 {
			t.Errorf("%s refused what it was sent\n%s", name, p.LogTail())
		}
		log, err := os.ReadFile(filepath.Join(c.dir, name, "log"))
		if err != nil {
			t.Error(err)
		}
		for _, bad := range []string{"DATA RACE", "panic"} {
			if _, what, found := bytes.Cut(log, []byte(bad)); found {
				t.Errorf("%s: %s%.4000s", name, bad, what)
			}
		}
		if t.Failed() {
			t.Logf("---- %s\n%s", name, p.LogTail())
		}
	}
}

// server returns a process by name and number.
func (c *Cluster) server(name string) (*procs.Server, error) {
	switch name {
	case "redis":
		return c.Redis.Server, nil
	case "mariadb":
		if c.MariaDB == nil {
			return nil, errors.New("this MariaDB is shared: the script must use mariadb=own")
		}
		return c.MariaDB.Server, nil
	}
	if s, ok := c.servers[name]; ok {
		return s, nil
	}
	return nil, fmt.Errorf("there is no %s", name)
}

// StartServer starts a server and waits until it is ready.
func (c *Cluster) StartServer(ctx context.Context, name string) error {
	s, err := c.server(name)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	return s.Start(ctx)
}

// StopServer ends a server with SIGTERM. A role must exit with 0.
func (c *Cluster) StopServer(ctx context.Context, name string) error {
	s, err := c.server(name)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, stopTimeout)
	defer cancel()
	if err := s.Stop(ctx); err != nil {
		return fmt.Errorf("%w\n%s", err, s.Process().LogTail())
	}
	if code := s.Process().ExitCode(); code != 0 && c.servers[name] != nil {
		return fmt.Errorf("%s exits with %d\n%s", name, code, s.Process().LogTail())
	}
	return nil
}

// KillServer ends a server as a crash would.
func (c *Cluster) KillServer(name string) error {
	s, err := c.server(name)
	if err != nil {
		return err
	}
	return s.Kill()
}

// MsgServer returns the address of a msg_server by its number.
func (c *Cluster) MsgServer(number string) (string, error) {
	s, ok := c.servers["msg_server_"+number]
	if !ok {
		return "", fmt.Errorf("there is no msg_server %s", number)
	}
	return s.Addr(), nil
}

// Folder returns the working folder of a role, with its configuration.
func (c *Cluster) Folder(name string) string { return filepath.Join(c.dir, name) }

// Addr returns where a server listens, by its name and number.
func (c *Cluster) Addr(name string) string { return c.servers[name].Addr() }

// Health returns the addresses of the health ports by the names of their roles.
func (c *Cluster) Health() map[string]string {
	all := make(map[string]string, len(c.health))
	for name, port := range c.health {
		all[name] = net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	}
	return all
}

// LoginURL returns where clients ask for a msg_server.
func (c *Cluster) LoginURL() string { return c.loginURL }

// CreateUsers writes accounts as an administration site does, with the legacy
// password form, and returns their ids in the order of names.
func (c *Cluster) CreateUsers(ctx context.Context, names []string, password string) ([]im.UserID, error) {
	const salt = "1234"
	sum := md5.Sum([]byte(client.PasswordMD5(password) + salt))
	stored := hex.EncodeToString(sum[:])
	now := time.Now().Unix()
	var statement bytes.Buffer
	statement.WriteString("INSERT INTO IMUser (name, nick, password, salt, created, updated) VALUES ")
	var args []any
	for i, name := range names {
		if i > 0 {
			statement.WriteByte(',')
		}
		statement.WriteString("(?,?,?,?,?,?)")
		args = append(args, name, name, stored, salt, now, now)
	}
	if _, err := c.DB.ExecContext(ctx, statement.String(), args...); err != nil {
		return nil, err
	}
	ids := make([]im.UserID, len(names))
	for i, name := range names {
		if err := c.DB.QueryRowContext(ctx, "SELECT id FROM IMUser WHERE name = ?", name).Scan(&ids[i]); err != nil {
			return nil, fmt.Errorf("look up %s: %w", name, err)
		}
	}
	return ids, nil
}

// Row is a stored message.
type Row struct {
	ID   im.MsgID
	Data string
}

// Stored returns the rows of a conversation, ascending.
func (c *Cluster) Stored(ctx context.Context, conv im.Conversation) ([]Row, error) {
	query, arg := "SELECT msgId, content FROM IMGroupMessage_%d WHERE groupId = ? ORDER BY msgId", uint32(conv.Group)
	if conv.Kind == im.Single {
		query = "SELECT msgId, content FROM IMMessage_%d WHERE relateId = ? ORDER BY msgId"
		err := c.DB.QueryRowContext(ctx, "SELECT id FROM IMRelationShip WHERE smallId = ? AND bigId = ?",
			conv.Pair.Small, conv.Pair.Big).Scan(&arg)
		if errors.Is(err, sql.ErrNoRows) {
			return nil, nil
		} else if err != nil {
			return nil, err
		}
	}
	rows, err := c.DB.QueryContext(ctx, fmt.Sprintf(query, arg%im.Shards), arg)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []Row
	for rows.Next() {
		var r Row
		if err := rows.Scan(&r.ID, &r.Data); err != nil {
			return nil, err
		}
		all = append(all, r)
	}
	return all, rows.Err()
}

// Teamtalk runs the command line program on the cluster's database and returns
// its standard output; the error has what it wrote to standard error.
func (c *Cluster) Teamtalk(ctx context.Context, args ...string) (string, error) {
	args = append(args, "--config", filepath.Join(c.dir, "db_proxy_1", "dbproxyserver.conf"))
	cmd := exec.CommandContext(ctx, filepath.Join(c.bin, "teamtalk"), args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return stdout.String(), fmt.Errorf("teamtalk %s: %w: %s", strings.Join(args, " "), err, stderr.String())
	}
	return stdout.String(), nil
}

// ready asks a role's health port.
func ready(port int) func(context.Context) error {
	url := "http://127.0.0.1:" + strconv.Itoa(port) + "/readyz"
	// A transport of its own leaves no connection behind.
	hc := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 2 * time.Second}
	return func(ctx context.Context) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
		if err != nil {
			return err
		}
		res, err := hc.Do(req)
		if err != nil {
			return err
		}
		_ = res.Body.Close()
		if res.StatusCode != http.StatusOK {
			return fmt.Errorf("%s: %s", url, res.Status)
		}
		return nil
	}
}

// writeFile writes a file and its folder.
func writeFile(t testing.TB, path, text string) {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(text), 0o600)); err != nil {
		t.Fatal(err)
	}
}
