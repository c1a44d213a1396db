package link

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"

	"teamtalk/internal/testenv"
	"teamtalk/internal/transport"
	"teamtalk/internal/wire"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		// gnet opens a worker pool when it is imported and keeps it.
		goleak.IgnoreAnyFunction("github.com/panjf2000/ants/v2.(*poolCommon).purgeStaleWorkers"),
		goleak.IgnoreAnyFunction("github.com/panjf2000/ants/v2.(*poolCommon).ticktock"),
		goleak.IgnoreAnyFunction("github.com/panjf2000/ants/v2.(*goWorker).run.func1"),
	)
}

// recorder is a Handler that keeps what happens.
type recorder struct {
	onPDU func(*Link, wire.PDU)

	up   chan *Link
	down chan *Link
	pdus chan wire.PDU // bodies are copied
}

func newRecorder() *recorder {
	return &recorder{up: make(chan *Link, 16), down: make(chan *Link, 16), pdus: make(chan wire.PDU, 16)}
}

func (r *recorder) LinkUp(l *Link)   { r.up <- l }
func (r *recorder) LinkDown(l *Link) { r.down <- l }
func (r *recorder) LinkPDU(l *Link, pdu wire.PDU) {
	if r.onPDU != nil {
		r.onPDU(l, pdu)
	}
	pdu.Body = bytes.Clone(pdu.Body)
	r.pdus <- pdu
}

// host is one of our servers: an engine that listens, a node, a recorder.
type host struct {
	*recorder
	node   *Node
	engine *transport.Engine
	addr   string
	reg    *prometheus.Registry
	plain  bool // as a push_server
	log    *slog.Logger
	stop   func()
}

// run starts a host on addr, or on a free one, until the test ends.
func run(t *testing.T, cfg Config, addr string, before ...func(*host)) *host {
	t.Helper()
	if addr == "" {
		addr = testenv.FreeAddr(t)
	}
	h := &host{recorder: newRecorder(), addr: addr, reg: prometheus.NewRegistry(), log: slog.New(slog.DiscardHandler)}
	for _, f := range before {
		f(h)
	}
	log := h.log
	h.node = New(cfg, Deps{Log: log, Reg: h.reg})
	accept := h.node.Accept(h)
	if h.plain {
		accept = h.node.AcceptPlain(h)
	}
	var err error
	h.engine, err = transport.New(transport.Config{
		Listeners: []transport.Listener{{
			Name: "link", Addr: addr, Handler: accept, Limits: transport.LinkLimits,
		}},
		Loops: 1,
	}, transport.Deps{Log: log, Reg: h.reg})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- h.engine.Run(ctx) }()
	h.stop = sync.OnceFunc(func() {
		cancel()
		if err := waitFor(t, ended, "end of Run"); err != nil {
			t.Errorf("Run = %v", err)
		}
	})
	t.Cleanup(h.stop)
	waitFor(t, h.engine.Booted(), "boot")
	return h
}

// keep links h to addr until the returned function is called or the test ends.
func (h *host) keep(t *testing.T, addr string) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		h.node.Keep(ctx, h.engine, "db_proxy", addr, h)
	}()
	stop = sync.OnceFunc(func() {
		cancel()
		waitFor(t, ended, "end of Keep")
	})
	t.Cleanup(stop)
	return stop
}

// closed counts the connections of h that were closed for reason.
func (h *host) closed(reason transport.CloseReason) float64 {
	families, err := h.reg.Gather()
	if err != nil {
		return -1
	}
	sum := 0.0
	for _, family := range families {
		if family.GetName() != "im_connections_closed_total" {
			continue
		}
		for _, m := range family.GetMetric() {
			for _, l := range m.GetLabel() {
				if l.GetName() == "reason" && l.GetValue() == string(reason) {
					sum += m.GetCounter().GetValue()
				}
			}
		}
	}
	return sum
}

func (h *host) links(role string) float64 { return testutil.ToFloat64(h.node.up.WithLabelValues(role)) }

// waitFor fails the test when nothing comes for a minute.
func waitFor[T any](t *testing.T, ch <-chan T, what string) T {
	t.Helper()
	var v T
	select {
	case v = <-ch:
	case <-time.After(time.Minute):
		t.Fatalf("waited a minute for %s", what)
	}
	return v
}

// eventually waits until cond holds.
func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	again := time.NewTicker(5 * time.Millisecond)
	defer again.Stop()
	for late := time.After(time.Minute); !cond(); {
		select {
		case <-again.C:
		case <-late:
			t.Fatalf("waited a minute for %s", what)
		}
	}
}

// raw is a peer made of a bare socket.
type raw struct {
	t *testing.T
	net.Conn
}

func dialRaw(t *testing.T, addr string) *raw {
	t.Helper()
	socket, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	return newRaw(t, socket)
}

func newRaw(t *testing.T, socket net.Conn) *raw {
	t.Helper()
	t.Cleanup(func() { socket.Close() })
	if err := socket.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	return &raw{t: t, Conn: socket}
}

// read returns the next PDU, or false at the end of the connection.
func (r *raw) read() (wire.PDU, bool) {
	header := make([]byte, wire.HeaderSize)
	if _, err := io.ReadFull(r, header); err != nil {
		return wire.PDU{}, false
	}
	pdu := wire.PDU{Header: wire.ParseHeader(header)}
	pdu.Body = make([]byte, pdu.Length-wire.HeaderSize)
	_, err := io.ReadFull(r, pdu.Body)
	return pdu, err == nil
}

// want reads the next PDU and checks its command.
func (r *raw) want(command wire.Command) wire.PDU {
	r.t.Helper()
	pdu, ok := r.read()
	if !ok || pdu.Command != command {
		r.t.Fatalf("received %v, %v; want %v", pdu.Command, ok, command)
	}
	return pdu
}

// wantEnd reads until the connection ends and wants nothing but heartbeats.
func (r *raw) wantEnd() {
	r.t.Helper()
	for {
		pdu, ok := r.read()
		if !ok {
			r.Close()
			return
		}
		if pdu.Command != wire.Heartbeat {
			r.t.Errorf("received %v before the end", pdu.Command)
		}
	}
}

func (r *raw) send(command wire.Command, body []byte) {
	r.t.Helper()
	if _, err := r.Write(wire.Append(nil, command, 0, body)); err != nil {
		r.t.Fatal(err)
	}
}

func (r *raw) sendMessage(command wire.Command, m proto.Message) {
	r.t.Helper()
	body, err := proto.Marshal(m)
	if err != nil {
		r.t.Fatal(err)
	}
	r.send(command, body)
}

func (r *raw) sendHeartbeat(mark uint16) {
	r.t.Helper()
	if _, err := r.Write(wire.AppendHeartbeat(nil, mark)); err != nil {
		r.t.Fatal(err)
	}
}
