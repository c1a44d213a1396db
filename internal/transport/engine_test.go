package transport

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/proto"

	"teamtalk/internal/clock"
	"teamtalk/internal/testenv"
	"teamtalk/internal/wire"
	"teamtalk/pb/message"
)

func incomplete() proto.Message { return &message.IMMsgDataAck{} }

func TestRefusals(t *testing.T) {
	t.Parallel()
	t.Run("stopping", func(t *testing.T) {
		t.Parallel()
		r := newRecorder()
		s := start(t, r, Limits{})
		before := s.dial(t)
		waitFor(t, r.opened, "OnOpen")
		s.RefuseNew()
		wantEOF(t, s.dial(t), true)
		write(t, before, wire.AppendHeartbeat(nil, 0))
		waitFor(t, r.pdus, "a PDU of a connection that was open before")
		if got := s.metric(t, "im_connections_refused_total", "stopping"); got != 1 {
			t.Errorf("im_connections_refused_total = %v, want 1", got)
		}
		if len(r.opened) != 0 || len(r.closed) != 0 {
			t.Error("the handler heard of a refused connection")
		}
	})
	t.Run("too many", func(t *testing.T) {
		t.Parallel()
		r := newRecorder()
		s := start(t, r, Limits{}, func(c *Config) { c.MaxConns = 2 })
		first := s.dial(t)
		waitFor(t, r.opened, "OnOpen")
		s.dial(t)
		waitFor(t, r.opened, "OnOpen")
		wantEOF(t, s.dial(t), true)
		if got := s.metric(t, "im_connections_refused_total", "too_many_conns"); got != 1 {
			t.Errorf("im_connections_refused_total = %v, want 1", got)
		}
		first.Close()
		wantReason(t, r, ReasonPeer)
		s.dial(t)
		waitFor(t, r.opened, "a place that is free again")
		if s.Accepted() != 2 || s.metric(t, "im_connections") != 2 {
			t.Errorf("Accepted = %d, im_connections = %v; want 2", s.Accepted(), s.metric(t, "im_connections"))
		}
	})
	t.Run("address", func(t *testing.T) {
		t.Parallel()
		r := newRecorder()
		asked := make(chan netip.Addr, 1)
		s := start(t, r, Limits{}, func(c *Config) {
			c.Listeners[0].Allow = func(a netip.Addr) bool { asked <- a; return false }
		})
		wantEOF(t, s.dial(t), true)
		if a := waitFor(t, asked, "Allow"); a != netip.MustParseAddr("127.0.0.1") {
			t.Errorf("Allow was asked for %v", a)
		}
		if got := s.metric(t, "im_connections_refused_total", "not_allowed"); got != 1 {
			t.Errorf("im_connections_refused_total = %v, want 1", got)
		}
	})
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { taken.Close() })
	cases := map[string]struct{ addr, want string }{
		"taken":   {taken.Addr().String(), "client listener: address " + taken.Addr().String() + " is taken by another process"},
		"no port": {"127.0.0.1", `client listener: address "127.0.0.1" is not IP:port`},
		"name":    {"localhost:80", `client listener: address "localhost:80" is not IP:port`},
		"foreign": {"192.0.2.1:4000", "client listener: listen tcp 192.0.2.1:4000"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := New(Config{Listeners: []Listener{{Name: "client", Addr: c.addr, Handler: newRecorder()}}},
				Deps{Log: slog.New(slog.DiscardHandler), Reg: prometheus.NewRegistry()})
			if err == nil || !strings.HasPrefix(err.Error(), c.want) {
				t.Errorf("New = %v, want %s", err, c.want)
			}
		})
	}
}

// An engine that could not take all its ports keeps none.
func TestNewTakesAllPortsOrNone(t *testing.T) {
	t.Parallel()
	addr := testenv.FreeAddr(t)
	_, err := New(Config{Listeners: []Listener{
		{Name: "client", Addr: addr, Handler: newRecorder()},
		{Name: "link", Addr: addr, Handler: newRecorder()},
	}}, Deps{Log: slog.New(slog.DiscardHandler), Reg: prometheus.NewRegistry()})
	if err == nil || !strings.HasPrefix(err.Error(), "link listener: address "+addr+" is taken") {
		t.Errorf("New = %v for two listeners on one address", err)
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatalf("the first port is still taken: %v", err)
	}
	l.Close()
}

func TestDial(t *testing.T) {
	t.Parallel()
	accepted := newRecorder()
	accepted.onPDU = func(c *Conn, pdu wire.PDU) {
		if c.Peer() == (netip.AddrPort{}) {
			t.Error("an accepted connection has no peer address")
		}
		c.SendPDU(pdu.Command, pdu.Seq, pdu.Body)
	}
	s := start(t, accepted, LinkLimits)
	dialled := newRecorder()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	c, err := s.Dial(ctx, s.addr, dialled, LinkLimits)
	if err != nil {
		t.Fatal(err)
	}
	if got := waitFor(t, dialled.opened, "OnOpen"); got != c || c.ID() == 0 {
		t.Errorf("OnOpen got connection %p, Dial returned %p with id %d", got, c, c.ID())
	}
	if got := c.Peer().String(); got != s.addr {
		t.Errorf("Peer = %s, want %s", got, s.addr)
	}
	body := bytes.Repeat([]byte("x"), 3<<20) // over the limit of a client
	c.SendPDU(wire.MsgData, 7, body)
	if pdu := waitFor(t, dialled.pdus, "the echo"); pdu.Seq != 7 || !bytes.Equal(pdu.Body, body) {
		t.Errorf("echo has seq %d and %d bytes", pdu.Seq, len(pdu.Body))
	}
	c.Close("bye")
	wantReason(t, dialled, "bye")
	wantReason(t, accepted, ReasonPeer)
	if s.Accepted() != 0 {
		t.Errorf("Accepted = %d, want 0", s.Accepted())
	}
}

func TestDialFails(t *testing.T) {
	t.Parallel()
	s := start(t, newRecorder(), Limits{})
	ctx, cancel := context.WithCancel(context.Background())
	if c, err := s.Dial(ctx, testenv.FreeAddr(t), newRecorder(), Limits{}); err == nil {
		t.Errorf("Dial = %v, nil for a port nobody listens on", c)
	}
	cancel()
	if c, err := s.Dial(ctx, s.addr, newRecorder(), Limits{}); err == nil {
		t.Errorf("Dial = %v, nil with an ended context", c)
	}
	s.stop()
	if c, err := s.Dial(context.Background(), s.addr, newRecorder(), Limits{}); err == nil {
		t.Errorf("Dial = %v, nil on a stopped engine", c)
	}
}

// Dial is called the moment the engine says that it may be.
func TestDialAtBoot(t *testing.T) {
	t.Parallel()
	for range 5 {
		r := newRecorder()
		s := start(t, r, Limits{})
		if _, err := s.Dial(context.Background(), s.addr, newRecorder(), Limits{}); err != nil {
			t.Fatal(err)
		}
		go s.stop()
	}
}

func TestStopClosesWhatIsOpen(t *testing.T) {
	t.Parallel()
	r := newRecorder()
	s := start(t, r, Limits{})
	socket := s.dial(t)
	c := waitFor(t, r.opened, "OnOpen")
	s.stop()
	wantReason(t, r, ReasonStopping)
	wantEOF(t, socket, false)
	if c.Send([]byte("x")) {
		t.Error("a connection of a stopped engine takes PDUs")
	}
	c.Close("again") // must not harm
	c.Do(func() { t.Error("a stopped engine runs tasks") })
	if _, err := net.Dial("tcp", s.addr); err == nil {
		t.Error("a stopped engine accepts")
	}
}

func TestCloseAll(t *testing.T) {
	t.Parallel()
	const conns = 20
	r := newRecorder()
	s := start(t, r, Limits{})
	sockets := make([]net.Conn, conns)
	for i := range sockets {
		sockets[i] = s.dial(t)
		waitFor(t, r.opened, "OnOpen").Send([]byte("goodbye"))
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		s.CloseAll(ctx, "restart")
	}()
	for _, socket := range sockets {
		if got, err := io.ReadAll(socket); err != nil || string(got) != "goodbye" {
			t.Errorf("read %q, %v", got, err)
		}
		socket.Close()
	}
	waitFor(t, done, "CloseAll")
	if s.Accepted() != 0 {
		t.Errorf("%d connections are open", s.Accepted())
	}
	for range sockets {
		wantReason(t, r, "restart")
	}
}

func TestTicks(t *testing.T) {
	t.Parallel()
	r := newRecorder()
	ticks := make(chan struct{}, 8)
	r.onTick = func(*Conn) { ticks <- struct{}{} }
	s := start(t, r, Limits{})
	s.dial(t)
	waitFor(t, ticks, "OnTick")
	if since := time.Since(s.Now()); since > 5*time.Second {
		t.Errorf("Now is %v old", since)
	}
}

// Whoever moves the clock of the machine makes no connection look idle.
func TestClockMoved(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "clock")
	move := func(by string) {
		if err := errors.Join(os.WriteFile(path+".new", []byte(by), 0o600), os.Rename(path+".new", path)); err != nil {
			t.Fatal(err)
		}
	}
	move("0s")
	c, err := clock.New(path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	followed := make(chan struct{})
	go func() {
		defer close(followed)
		c.Follow(ctx, slog.New(slog.DiscardHandler))
	}()
	defer func() { stop(); <-followed }()
	r := newRecorder()
	idle := make(chan time.Duration, 64)
	r.onTick = func(conn *Conn) { idle <- conn.engine.Now().Sub(conn.LastReceived()) }
	now := c.Source()
	s := serve(t, Config{Listeners: []Listener{{Name: "test", Addr: testenv.FreeAddr(t), Handler: r}}, Loops: 1}, now)
	s.dial(t)
	for _, by := range []time.Duration{48 * time.Hour, -48 * time.Hour} {
		move(by.String())
		for (time.Until(now().Round(0)) - by).Abs() > time.Hour {
			waitFor(t, idle, "OnTick")
		}
		for range 2 {
			if d := waitFor(t, idle, "OnTick"); d < 0 || d > time.Minute {
				t.Errorf("moved by %v, idle for %v", by, d)
			}
		}
	}
}
