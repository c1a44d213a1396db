package transport

import (
	"bytes"
	"context"
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
	"go.uber.org/goleak"

	"teamtalk/internal/testenv"
	"teamtalk/internal/wire"
)

func TestMain(m *testing.M) {
	if os.Getenv(fewDescriptors) != "" {
		os.Exit(serveWithFewDescriptors())
	}
	goleak.VerifyTestMain(m,
		// gnet opens a worker pool when it is imported and keeps it.
		goleak.IgnoreAnyFunction("github.com/panjf2000/ants/v2.(*poolCommon).purgeStaleWorkers"),
		goleak.IgnoreAnyFunction("github.com/panjf2000/ants/v2.(*poolCommon).ticktock"),
		goleak.IgnoreAnyFunction("github.com/panjf2000/ants/v2.(*goWorker).run.func1"),
	)
}

// recorder is a Handler that keeps what happens. Its functions may be nil.
type recorder struct {
	onOpen func(*Conn)
	onPDU  func(*Conn, wire.PDU)
	onTick func(*Conn)

	opened chan *Conn
	closed chan CloseReason
	pdus   chan wire.PDU // bodies are copied
}

func newRecorder() *recorder {
	return &recorder{
		opened: make(chan *Conn, 64),
		closed: make(chan CloseReason, 64),
		pdus:   make(chan wire.PDU, 1024),
	}
}

func (r *recorder) OnOpen(c *Conn) {
	if r.onOpen != nil {
		r.onOpen(c)
	}
	r.opened <- c
}

func (r *recorder) OnPDU(c *Conn, pdu wire.PDU) {
	if r.onPDU != nil {
		r.onPDU(c, pdu)
		return
	}
	pdu.Body = bytes.Clone(pdu.Body)
	r.pdus <- pdu
}

func (r *recorder) OnTick(c *Conn, _ time.Time) {
	if r.onTick != nil {
		r.onTick(c)
	}
}

func (r *recorder) OnClose(_ *Conn, reason CloseReason) { r.closed <- reason }

// server is a running engine with one listener.
type server struct {
	*Engine
	addr string
	log  *testenv.Output
	reg  *prometheus.Registry
	stop func()
}

// start runs an engine until the test ends. The listener's address, name and
// handler are filled in.
func start(t *testing.T, h Handler, limits Limits, more ...func(*Config)) *server {
	t.Helper()
	cfg := Config{
		Listeners: []Listener{{Name: "test", Addr: testenv.FreeAddr(t), Handler: h, Limits: limits}},
		Loops:     2,
	}
	for _, f := range more {
		f(&cfg)
	}
	return serve(t, cfg, nil)
}

// serve is start with a clock.
func serve(t *testing.T, cfg Config, clock func() time.Time) *server {
	t.Helper()
	s := &server{addr: cfg.Listeners[0].Addr, log: new(testenv.Output), reg: prometheus.NewRegistry()}
	var err error
	s.Engine, err = New(cfg, Deps{Log: slog.New(slog.NewTextHandler(s.log, nil)), Reg: s.reg, Clock: clock})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	s.stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("Run = %v", err)
			}
		case <-time.After(time.Minute):
			t.Error("Run does not end")
		}
	})
	t.Cleanup(s.stop)
	waitFor(t, s.Booted(), "boot")
	return s
}

func (s *server) dial(t *testing.T) *net.TCPConn {
	t.Helper()
	socket, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { socket.Close() })
	if err := socket.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	return socket.(*net.TCPConn)
}

// waitFor fails the test when nothing comes for a minute.
func waitFor[T any](t *testing.T, ch <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(time.Minute):
		t.Fatalf("waited a minute for %s", what)
		panic("unreachable")
	}
}

func write(t *testing.T, socket net.Conn, data []byte) {
	t.Helper()
	if _, err := socket.Write(data); err != nil {
		t.Fatal(err)
	}
}

// wantEOF reads what is left and wants a clean end, or any end when reset is
// allowed because bytes of ours may be unread on the other side.
func wantEOF(t *testing.T, socket net.Conn, reset bool) {
	t.Helper()
	rest, err := io.ReadAll(socket)
	if errors.Is(err, os.ErrDeadlineExceeded) || (err != nil && !reset) {
		t.Errorf("end of the connection = %v, want EOF", err)
	}
	if len(rest) > 0 {
		t.Errorf("%d bytes before EOF, want none", len(rest))
	}
}

func wantReason(t *testing.T, r *recorder, want CloseReason) {
	t.Helper()
	if got := waitFor(t, r.closed, "OnClose"); got != want {
		t.Errorf("closed for %q, want %q", got, want)
	}
}

// metric returns the value of a counter or gauge whose labels include all of
// the given values.
func (s *server) metric(t *testing.T, name string, labels ...string) float64 {
	t.Helper()
	families, err := s.reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	sum := 0.0
	for _, family := range families {
		if family.GetName() != name {
			continue
		}
		for _, m := range family.GetMetric() {
			var values []string
			for _, l := range m.GetLabel() {
				values = append(values, l.GetValue())
			}
			have := strings.Join(values, " ")
			all := true
			for _, l := range labels {
				all = all && strings.Contains(have, l)
			}
			if all {
				sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	return sum
}
