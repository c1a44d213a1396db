package locate

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var found = Answer{
	PriorIP: "10.0.0.1", BackupIP: "10.0.0.2", Port: 8000,
	MSFS: "http://127.0.0.1:8700/?a=1&b=<2>", Discovery: "http://127.0.0.1/api/discovery",
}

const foundResponse = "HTTP/1.1 200 OK\r\nConnection:close\r\nContent-Length:266\r\nContent-Type:text/html;charset=utf-8\r\n\r\n" +
	`{
   "backupIP" : "10.0.0.2",
   "code" : 0,
   "discovery" : "http://127.0.0.1/api/discovery",
   "msfsBackup" : "http://127.0.0.1:8700/?a=1&b=<2>",
   "msfsPrior" : "http://127.0.0.1:8700/?a=1&b=<2>",
   "msg" : "",
   "port" : "8000",
   "priorIP" : "10.0.0.1"
}
`

func TestEncode(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		in   Answer
		want string
	}{
		"found": {found, foundResponse},
		"none": {
			Answer{Code: 1, Msg: "没有msg_server"},
			"HTTP/1.1 200 OK\r\nConnection:close\r\nContent-Length:49\r\nContent-Type:text/html;charset=utf-8\r\n\r\n" +
				"{\n   \"code\" : 1,\n   \"msg\" : \"没有msg_server\"\n}\n",
		},
	}
	for name, c := range cases {
		got := string(encode(c.in))
		if got != c.want {
			t.Errorf("%s: %q\nwant %q", name, got, c.want)
		}
		_, body, _ := strings.Cut(got, "\r\n\r\n")
		if !json.Valid([]byte(body)) {
			t.Errorf("%s: body is no JSON", name)
		}
	}
}

type running struct {
	*Server
	addr string
	stop func()
}

func start(t *testing.T, maxConns int) *running {
	t.Helper()
	s, err := Listen(Config{Addrs: []string{"127.0.0.1:0"}, MaxConns: maxConns, Answer: func() Answer { return found }},
		Deps{Log: slog.New(slog.DiscardHandler), Reg: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var ran sync.WaitGroup
	ran.Go(func() { s.Run(ctx, 100*time.Millisecond) })
	r := &running{Server: s, addr: s.listeners[0].Addr().String(), stop: func() { cancel(); ran.Wait() }}
	t.Cleanup(r.stop)
	return r
}

func (r *running) dial(t *testing.T) *net.TCPConn {
	t.Helper()
	conn, err := net.Dial("tcp", r.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return conn.(*net.TCPConn)
}

// ask sends parts of a request one by one and returns all that comes back.
// A reset counts as the end where nothing was answered.
func (r *running) ask(t *testing.T, parts ...string) string {
	t.Helper()
	conn := r.dial(t)
	for _, part := range parts {
		if _, err := io.WriteString(conn, part); err != nil {
			t.Fatal(err)
		}
	}
	got, err := io.ReadAll(conn)
	if errors.Is(err, os.ErrDeadlineExceeded) || err != nil && len(got) > 0 {
		t.Errorf("end of the answer: %v", err)
	}
	return string(got)
}

func TestRequests(t *testing.T) {
	t.Parallel()
	r := start(t, 100)
	head := func(size int) string { // a request of size bytes without its last empty line
		request := "GET /msg_server HTTP/1.1\r\nX: "
		return request + strings.Repeat("x", size-len(request)-2) + "\r\n"
	}
	cases := map[string]struct {
		parts   []string
		refused string // "" is answered
	}{
		"plain":          {[]string{"GET /msg_server HTTP/1.1\r\nHost: x\r\n\r\n"}, ""},
		"in pieces":      {[]string{"GE", "T /msg_ser", "ver HTTP/1.1\r\nHost: x\r", "\n\r", "\n"}, ""},
		"old":            {[]string{"GET /msg_server HTTP/1.0\r\n\r\n"}, ""},
		"longer path":    {[]string{"GET /msg_server/x?y=1 HTTP/1.1\r\nHost: x\r\n\r\n"}, ""},
		"by a proxy":     {[]string{"GET http://host:8080/msg_server HTTP/1.1\r\nHost: host\r\n\r\n"}, ""},
		"post":           {[]string{"POST /msg_server HTTP/1.1\r\nHost: x\r\nContent-Length: 3000\r\n\r\n", strings.Repeat("b", 3000)}, ""},
		"1,024 bytes":    {[]string{head(1022) + "\r\n"}, ""},
		"1,026 bytes":    {[]string{head(1024) + "\r\n"}, "too_long"},
		"far too long":   {[]string{head(100_000) + "\r\n"}, "too_long"},
		"other URL":      {[]string{"GET /other HTTP/1.1\r\nHost: x\r\n\r\n"}, "other_url"},
		"root":           {[]string{"GET / HTTP/1.1\r\nHost: x\r\n\r\n"}, "other_url"},
		"not at the top": {[]string{"GET /x/msg_server HTTP/1.1\r\nHost: x\r\n\r\n"}, "other_url"},
		"no HTTP":        {[]string{"hello\r\n\r\n"}, "bad_request"},
	}
	for name, c := range cases {
		before := testutil.ToFloat64(r.refused.WithLabelValues(c.refused))
		got := r.ask(t, c.parts...)
		if c.refused == "" {
			if got != foundResponse {
				t.Errorf("%s: answered %q", name, got)
			}
			continue
		}
		if got != "" {
			t.Errorf("%s: answered %q, want silence", name, got)
		}
		if n := testutil.ToFloat64(r.refused.WithLabelValues(c.refused)) - before; n != 1 {
			t.Errorf("%s: counted %v times as %s, want once", name, n, c.refused)
		}
	}
}

func TestTooManyConns(t *testing.T) {
	t.Parallel()
	r := start(t, 1)
	first := r.dial(t)
	if _, err := io.WriteString(first, "GET /msg_server"); err != nil {
		t.Fatal(err)
	}
	if got := r.ask(t); got != "" {
		t.Errorf("a second connection was answered %q", got)
	}
	if _, err := io.WriteString(first, " HTTP/1.1\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(first); err != nil || string(got) != foundResponse {
		t.Errorf("the first was answered %q, %v", got, err)
	}
}

func TestStopDoesNotWaitForTheSilent(t *testing.T) {
	t.Parallel()
	r := start(t, 10)
	silent := r.dial(t)
	if got := r.ask(t, "GET /msg_server HTTP/1.1\r\n\r\n"); got != foundResponse { // and so the silent one is accepted
		t.Errorf("answered %q", got)
	}
	before := time.Now()
	r.stop()
	if took := time.Since(before); took > 5*time.Second {
		t.Errorf("stopping took %v", took)
	}
	if n, err := silent.Read(make([]byte, 1)); err == nil {
		t.Errorf("the silent client read %d bytes", n)
	}
	if _, err := net.Dial("tcp", r.addr); err == nil {
		t.Error("a stopped server accepts")
	}
}

func TestListenRefusesTakenPort(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	_, err = Listen(Config{Addrs: []string{"127.0.0.1:0", taken.Addr().String()}, MaxConns: 1},
		Deps{Log: slog.New(slog.DiscardHandler), Reg: prometheus.NewRegistry()})
	if err == nil || !strings.Contains(err.Error(), "is taken by another process") {
		t.Errorf("Listen = %v", err)
	}
}

func FuzzReadRequest(f *testing.F) {
	f.Add([]byte("GET /msg_server HTTP/1.1\r\nHost: x\r\n\r\n"))
	f.Add([]byte("\r\n\r\n"))
	f.Fuzz(func(t *testing.T, request []byte) {
		if readRequest(bytes.NewReader(request)) == "" && !bytes.Contains(request, []byte("msg")) && !bytes.Contains(request, []byte("%")) {
			t.Errorf("answered %q", request)
		}
	})
}
