package httpserver

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"teamtalk/client"
	"teamtalk/db_proxy/dbproxy"
	"teamtalk/internal/im"
	"teamtalk/internal/link/linktest"
	"teamtalk/internal/testenv"
	"teamtalk/internal/trace"
	"teamtalk/login_server/loginserver"
	"teamtalk/msg_server/msgserver"
	"teamtalk/route_server/routeserver"
)

// world is a whole system in this process, on SQLite: real roles that talk
// over real sockets.
type world struct {
	t      *testing.T
	db     *dbproxy.Server
	msg    string // address for clients
	base   string // URL of the http_msg_server
	server *Server
	conf   string // of the http_msg_server
	stop   func()
	users  map[string]uint32
	doc    object // openapi.json
	all    dbproxy.Key
	logged testenv.Output // by the http_msg_server
	reg    *prometheus.Registry
	trace  *trace.Recorder // of the http_msg_server

	seconds atomic.Int64              // that the clocks of db_proxy and the http_msg_servers are ahead
	stopped atomic.Pointer[time.Time] // where these clocks stand still but for seconds; nil: they do not
}

// clock is a time that tests move.
func (w *world) clock() time.Time {
	now := time.Now()
	if at := w.stopped.Load(); at != nil {
		now = *at
	}
	return now.Add(time.Duration(w.seconds.Load()) * time.Second)
}

// stopClock lets only seconds move the clocks.
func (w *world) stopClock() {
	now := time.Now()
	w.stopped.Store(&now)
}

func port(addr string) string {
	_, p, _ := net.SplitHostPort(addr)
	return p
}

type runner interface {
	Run(ctx context.Context) error
	Ready() error
}

// run runs a role for the length of the test, or until stop.
func run(t *testing.T, r runner, err error) (stop func()) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := linktest.Wait(t, ended, "end of Run"); err != nil {
			t.Errorf("Run = %v", err)
		}
	})
	t.Cleanup(stop)
	return stop
}

var quiet = slog.New(slog.DiscardHandler)

func parsed[C any](t *testing.T, parse func(io.Reader, string) (C, error), lines ...string) C {
	t.Helper()
	cfg, err := parse(strings.NewReader(strings.Join(lines, "\n")), "test.conf")
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// newWorld starts everything, with accounts alice, bob and carol and a key
// that may do all. More lines go into httpmsgserver.conf.
func newWorld(t *testing.T, lines ...string) *world {
	t.Helper()
	w := &world{t: t, users: map[string]uint32{}}
	reg := prometheus.NewRegistry
	dbAddr, routeAddr, loginAddr := testenv.FreeAddr(t), testenv.FreeAddr(t), testenv.FreeAddr(t)
	w.msg = testenv.FreeAddr(t)
	db, err := dbproxy.New(t.Context(), parsed(t, dbproxy.ParseConfig, "ListenIP=127.0.0.1", "ListenPort="+port(dbAddr),
		"StoreDriver=sqlite", "StorePath="+filepath.Join(t.TempDir(), "tt.db"), "aesKey=12345678901234567890123456789012",
	), dbproxy.Deps{Log: quiet, Reg: reg(), Clock: w.clock})
	run(t, db, err)
	w.db = db
	route, err := routeserver.New(parsed(t, routeserver.ParseConfig, "ListenIP=127.0.0.1", "ListenMsgPort="+port(routeAddr)),
		routeserver.Deps{Log: quiet, Reg: reg()})
	run(t, route, err)
	login, err := loginserver.New(parsed(t, loginserver.ParseConfig, "HttpListenIP=127.0.0.1",
		"HttpPort="+port(testenv.FreeAddr(t)), "MsgServerListenIP=127.0.0.1", "MsgServerPort="+port(loginAddr),
		"msfs=http://127.0.0.1:8700/",
	), loginserver.Deps{Log: quiet, Reg: reg(), Clock: time.Now})
	run(t, login, err)
	msg, err := msgserver.New(parsed(t, msgserver.ParseConfig, "ListenIP=127.0.0.1", "ListenPort="+port(w.msg),
		"IpAddr1=127.0.0.1", "aesKey=12345678901234567890123456789012",
		"DBServerIP1=127.0.0.1", "DBServerPort1="+port(dbAddr), "LoginServerIP1=127.0.0.1", "LoginServerPort1="+port(loginAddr),
		"RouteServerIP1=127.0.0.1", "RouteServerPort1="+port(routeAddr),
	), msgserver.Deps{Log: quiet, Reg: reg(), Clock: time.Now})
	run(t, msg, err)
	w.conf = strings.Join(append([]string{
		"DBServerIP1=127.0.0.1", "DBServerPort1=" + port(dbAddr), "RouteServerIP1=127.0.0.1",
		"RouteServerPort1=" + port(routeAddr),
	}, lines...), "\n")
	w.startHTTP()
	linktest.Eventually(t, "readiness", func() bool { return msg.Ready() == nil })
	made, err := db.Admin().AddUsers(t.Context(), []dbproxy.AccountSpec{
		{Name: "alice", Password: "12345"}, {Name: "bob", Password: "12345"}, {Name: "carol", Password: "12345"},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range made {
		w.users[a.Name] = a.ID
	}
	w.all = w.key(10_000, ScopeAll)
	if err := json.Unmarshal(openAPI, &w.doc); err != nil {
		t.Fatal(err)
	}
	return w
}

// startHTTP starts an http_msg_server, on a new port.
func (w *world) startHTTP() {
	w.t.Helper()
	addr := testenv.FreeAddr(w.t)
	w.reg, w.trace = prometheus.NewRegistry(), trace.New(1000)
	cfg := parsed(w.t, ParseConfig, "ListenIP=127.0.0.1", "ListenPort="+port(addr), w.conf)
	cfg.patience = time.Minute // a loaded machine is no server that is away
	s, err := New(cfg,
		Deps{
			Log: slog.New(slog.NewJSONHandler(&w.logged, &slog.HandlerOptions{Level: slog.LevelDebug})),
			Reg: w.reg, Clock: w.clock, Trace: w.trace,
		})
	w.stop = run(w.t, s, err)
	w.server, w.base = s, "http://"+addr
	linktest.Eventually(w.t, "readiness", func() bool { return s.Ready() == nil })
}

// traced returns what the http_msg_server remembers of a message, such as
// "received by 1, relayed".
func (w *world) traced(conv im.Conversation, id im.MsgID) string {
	w.t.Helper()
	q := trace.Query{Conv: conv, Msg: id}
	if found := w.trace.Find(q); len(found.Events) > 0 {
		var err error
		if q.Op, err = trace.ParseOperation(found.Events[0].Op); err != nil {
			w.t.Fatal(err)
		}
	}
	var all []string
	for _, e := range w.trace.Find(q).Events {
		all = append(all, fmt.Sprintf("%v by %d: %d", e.Event, e.User, e.Detail))
	}
	return strings.Join(all, ", ")
}

// key makes an API key.
func (w *world) key(rate uint32, scopes ...string) dbproxy.Key {
	w.t.Helper()
	k, err := w.db.Admin().AddAPIKey(w.t.Context(), dbproxy.KeySpec{Name: "test", Scopes: scopes, Rate: rate})
	if err != nil {
		w.t.Fatal(err)
	}
	return k
}

// answer is what came back.
type answer struct {
	status int
	header http.Header
	body   object
	raw    string
}

// send makes a request; header is pairs of name and value.
func (w *world) send(method, path, body string, header ...string) answer {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), method, w.base+path, strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	req.Header.Set("Authorization", "Bearer "+w.all.Token)
	for i := 0; i < len(header); i += 2 {
		req.Header.Del(header[i])
		if header[i+1] != "" {
			req.Header.Set(header[i], header[i+1])
		}
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	a := answer{status: res.StatusCode, header: res.Header, raw: string(raw)}
	if len(raw) > 0 {
		if err := json.NewDecoder(bytes.NewReader(raw)).Decode(&a.body); err != nil {
			w.t.Fatalf("%s %s: %s: %v", method, path, raw, err)
		}
	}
	w.checkAnswer(method, path, a)
	return a
}

// do is send for a request that must be answered with a status.
func (w *world) do(status int, method, path, body string, header ...string) object {
	w.t.Helper()
	a := w.send(method, path, body, header...)
	if a.status != status {
		w.t.Fatalf("%s %s %s: status %d, want %d: %s", method, path, body, a.status, status, a.raw)
	}
	return a.body
}

// wrong is do for a request that must fail on a field.
func (w *world) wrong(status int, field, method, path, body string, header ...string) {
	w.t.Helper()
	a := w.send(method, path, body, header...)
	detail, _ := a.body["error"].(object)
	if got, _ := detail["field"].(string); a.status != status || got != field {
		w.t.Errorf("%s %s %.200s: status %d, field %q, want %d, %q: %s", method, path, body, a.status, got, status, field, a.raw)
	}
}

// checkAnswer holds an answer against openapi.json.
func (w *world) checkAnswer(method, path string, a answer) {
	w.t.Helper()
	if a.header.Get("X-Request-Id") == "" {
		w.t.Errorf("%s %s: no X-Request-Id", method, path)
	}
	described := w.describedAt(method, path)
	if described == nil {
		return
	}
	response, ok := described["responses"].(object)[strconv.Itoa(a.status)].(object)
	if !ok {
		if response, ok = described["responses"].(object)["default"].(object); !ok || a.status < 400 {
			w.t.Errorf("%s %s: status %d is not described", method, path, a.status)
			return
		}
	}
	if content, ok := response["content"].(object); ok {
		schema := content["application/json"].(object)["schema"].(object)
		if schema["$ref"] == nil {
			return // of openapi.json itself
		}
		if err := fits(w.doc, schema, a.body, "body"); err != nil {
			w.t.Errorf("%s %s: %v: %s", method, path, err, a.raw)
		}
	} else if a.raw != "" {
		w.t.Errorf("%s %s: a body where none is described: %s", method, path, a.raw)
	}
}

// describedAt finds the operation of a request in openapi.json.
func (w *world) describedAt(method, path string) object {
	path, _, _ = strings.Cut(path, "?")
	for template, operations := range w.doc["paths"].(object) {
		want, got := strings.Split(template, "/"), strings.Split(path, "/")
		same := len(want) == len(got)
		for i := 0; same && i < len(want); i++ {
			same = want[i] == got[i] || strings.HasPrefix(want[i], "{") && got[i] != "online"
		}
		if same {
			op, _ := operations.(object)[strings.ToLower(method)].(object)
			return op
		}
	}
	return nil
}

// person is a client that is logged in; what happens to him is told in words.
type person struct {
	*client.Client
	t      *testing.T
	events chan string
}

// login logs somebody in.
func (w *world) login(name string) *person {
	w.t.Helper()
	p := &person{t: w.t, events: make(chan string, 1000)}
	c, err := client.Dial(w.t.Context(), client.Options{
		Addr: w.msg, User: name, Password: "12345",
		Handler: func(_ *client.Client, e client.Event) {
			switch e := e.(type) {
			case *client.Message:
				p.events <- fmt.Sprintf("%d writes message %d: %s", e.From, e.ID, e.Text())
			case *client.GroupChanged:
				p.events <- fmt.Sprintf("group %d changed %v", e.Group, e.Changed)
			case *client.Kick:
				p.events <- "kicked"
			}
		},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	p.Client = c
	w.t.Cleanup(c.Close)
	return p
}

// hears waits for the next event, which must be this one.
func (p *person) hears(format string, args ...any) {
	p.t.Helper()
	want := fmt.Sprintf(format, args...)
	if got := linktest.Wait(p.t, p.events, want); got != want {
		p.t.Errorf("heard %q, want %q", got, want)
	}
}

// num is a number of an answer.
func num(o object, name string) uint32 {
	n, _ := o[name].(float64)
	return uint32(n)
}
