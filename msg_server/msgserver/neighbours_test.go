package msgserver

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/proto"

	"teamtalk/internal/link"
	"teamtalk/internal/link/linktest"
	"teamtalk/internal/testenv"
	"teamtalk/internal/transport"
	"teamtalk/internal/wire"
	"teamtalk/pb/buddy"
)

// sender is the link to the server under test, as a neighbour sees it.
type sender interface {
	SendPDU(command wire.Command, seq uint16, body []byte) bool
	Close(reason transport.CloseReason)
}

// received is a PDU that a neighbour got, and the link for the answer.
type received struct {
	wire.PDU
	from sender
}

// answer sends a PDU back with the seq of the request.
func (r received) answer(t testing.TB, command wire.Command, m proto.Message) {
	t.Helper()
	r.from.SendPDU(command, r.Seq, encode(t, m))
}

func encode(t testing.TB, m proto.Message) []byte {
	t.Helper()
	body, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return body
}

func decode[M proto.Message](t testing.TB, body []byte, m M) M {
	t.Helper()
	if err := proto.Unmarshal(body, m); err != nil {
		t.Fatal(err)
	}
	return m
}

// neighbour is a server that the server under test links to. What its handler
// does not take comes out of pdus.
type neighbour struct {
	t    testing.TB
	port int
	pdus chan received
	stop func() // breaks its links and stops listening

	mu     sync.Mutex // guards the fields below
	links  []sender   // up, oldest first
	handle func(received) bool
	mute   bool // answers no questions about log-ins
}

func newNeighbour(t testing.TB) *neighbour {
	t.Helper()
	return &neighbour{t: t, port: testenv.FreePorts(t, 1)[0], pdus: make(chan received, 10_000)}
}

// does replaces the handler.
func (n *neighbour) does(handle func(received) bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.handle = handle
}

func (n *neighbour) up(s sender) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.links = append(n.links, s)
}

func (n *neighbour) down(s sender) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.links = slices.DeleteFunc(n.links, func(o sender) bool { return o == s })
}

func (n *neighbour) got(s sender, pdu wire.PDU) {
	pdu.Body = bytes.Clone(pdu.Body)
	n.mu.Lock()
	handle, mute := n.handle, n.mute
	n.mu.Unlock()
	if !mute && n.confirms(s, pdu) {
		return
	}
	if r := (received{pdu, s}); handle == nil || !handle(r) {
		n.pdus <- r
	}
}

// confirms answers the question that a log-in waits for, as route_servers do.
func (n *neighbour) confirms(s sender, pdu wire.PDU) bool {
	if pdu.Command != wire.UsersStatusReq {
		return false
	}
	req := decode(n.t, pdu.Body, new(buddy.IMUsersStatReq))
	if attached(attachKindJoin, req.GetAttachData()) == 0 {
		return false
	}
	s.SendPDU(wire.UsersStatusRes, pdu.Seq, encode(n.t, &buddy.IMUsersStatRsp{
		UserId: req.UserId, AttachData: req.GetAttachData(),
	}))
	return true
}

// muted says whether the questions that log-ins wait for are left to the test.
func (n *neighbour) muted(mute bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.mute = mute
}

// connected waits for a number of links.
func (n *neighbour) connected(links int) {
	n.t.Helper()
	linktest.Eventually(n.t, "links", func() bool {
		n.mu.Lock()
		defer n.mu.Unlock()
		return len(n.links) == links
	})
}

// next returns the next PDU that the handler did not take.
func (n *neighbour) next() received {
	n.t.Helper()
	return linktest.Wait(n.t, n.pdus, "a PDU to a neighbour")
}

// want returns the next PDU, which must be command.
func (n *neighbour) want(command wire.Command) received {
	n.t.Helper()
	r := n.next()
	if r.Command != command {
		n.t.Fatalf("the neighbour got %v (%#04x), want %v", r.Command, uint16(r.Command), command)
	}
	return r
}

// quiet checks that nothing came; only after what would have come behind it.
func (n *neighbour) quiet() {
	n.t.Helper()
	select {
	case r := <-n.pdus:
		n.t.Errorf("the neighbour got %v", r.Command)
	default:
	}
}

// send sends a PDU on the oldest link.
func (n *neighbour) send(command wire.Command, seq uint16, m proto.Message) {
	n.t.Helper()
	n.sendBody(command, seq, encode(n.t, m))
}

func (n *neighbour) sendBody(command wire.Command, seq uint16, body []byte) {
	n.t.Helper()
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.links) == 0 || !n.links[0].SendPDU(command, seq, body) {
		n.t.Fatalf("%v not sent", command)
	}
}

// ourServer is a neighbour of ours: a real link on a real engine.
type ourServer struct{ *neighbour }

func (o ourServer) LinkUp(l *link.Link)                { o.up(l) }
func (o ourServer) LinkDown(l *link.Link)              { o.down(l) }
func (o ourServer) LinkPDU(l *link.Link, pdu wire.PDU) { o.got(l, pdu) }

// ours starts a neighbour of ours.
func ours(t testing.TB, cfg link.Config) *neighbour {
	t.Helper()
	n := newNeighbour(t)
	log, reg := slog.New(slog.DiscardHandler), prometheus.NewRegistry()
	node := link.New(cfg, link.Deps{Log: log, Reg: reg})
	engine, err := transport.New(transport.Config{
		Listeners: []transport.Listener{{
			Name: "link", Addr: net.JoinHostPort("127.0.0.1", strconv.Itoa(n.port)),
			Handler: node.Accept(ourServer{n}), Limits: transport.LinkLimits,
		}},
		Loops: 1,
	}, transport.Deps{Log: log, Reg: reg})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- engine.Run(ctx) }()
	n.stop = sync.OnceFunc(func() {
		cancel()
		if err := linktest.Wait(t, ended, "end of a neighbour"); err != nil {
			t.Errorf("neighbour: %v", err)
		}
	})
	t.Cleanup(n.stop)
	linktest.Wait(t, engine.Booted(), "a neighbour")
	return n
}

// socket is the link of an original: bare PDUs.
type socket struct{ net.Conn }

func (s *socket) SendPDU(command wire.Command, seq uint16, body []byte) bool {
	_, err := s.Write(wire.Append(nil, command, seq, body))
	return err == nil
}

func (s *socket) Close(transport.CloseReason) { _ = s.Conn.Close() }

// original starts a neighbour that is an original TeamTalk server: it knows
// no mark and no HELLO.
func original(t testing.TB) *neighbour {
	t.Helper()
	n := newNeighbour(t)
	listener, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(n.port)))
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { n.serve(&socket{conn}) })
		}
	})
	n.stop = sync.OnceFunc(func() {
		_ = listener.Close()
		n.mu.Lock()
		links := slices.Clone(n.links)
		n.mu.Unlock()
		for _, s := range links {
			s.Close("")
		}
		serving.Wait()
	})
	t.Cleanup(n.stop)
	return n
}

func (n *neighbour) serve(s *socket) {
	defer s.Close("")
	// Its heartbeat, five seconds after the connect; here at once.
	if _, err := s.Write(wire.AppendHeartbeat(nil, 0)); err != nil {
		return
	}
	n.up(s)
	defer n.down(s)
	header := make([]byte, wire.HeaderSize)
	for {
		if _, err := io.ReadFull(s, header); err != nil {
			return
		}
		pdu := wire.PDU{Header: wire.ParseHeader(header)}
		pdu.Body = make([]byte, pdu.Length-wire.HeaderSize)
		if _, err := io.ReadFull(s, pdu.Body); err != nil {
			return
		}
		if pdu.Command == wire.Hello || pdu.Command == wire.Relay {
			n.t.Errorf("an original got %v", pdu.Command)
		}
		if pdu.Command != wire.Heartbeat {
			n.got(s, pdu)
		}
	}
}

// patience is how long a test waits for what must come.
const patience = time.Minute
