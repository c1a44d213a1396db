package link

import (
	"bytes"
	"net"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"google.golang.org/protobuf/proto"

	"teamtalk/internal/secret"
	"teamtalk/internal/transport"
	"teamtalk/internal/wire"
	"teamtalk/pb/extension"
)

func TestOursMeetOurs(t *testing.T) {
	t.Parallel()
	a := run(t, Config{Role: "route_server", ServerID: "a", Capabilities: []string{CapRelay}, Credit: 7}, "")
	b := run(t, Config{Role: "msg_server", Credit: 9}, "")
	stop := b.keep(t, a.addr)
	up := waitFor(t, a.up, "LinkUp at the listener")
	down := waitFor(t, b.up, "LinkUp at the dialler")

	if p := down.Peer(); p.ServerID != "a" || p.Role != "route_server" || p.Credit != 7 {
		t.Errorf("Peer at the dialler = %+v", p)
	}
	if !down.Has(CapRelay) || down.Has(CapStore) || down.Original() || down.Addr() != a.addr {
		t.Errorf("dialler sees relay %v, store %v, original %v, address %s",
			down.Has(CapRelay), down.Has(CapStore), down.Original(), down.Addr())
	}
	if p := up.Peer(); p.ServerID != b.node.ServerID() || p.ServerID == "" || p.Role != "msg_server" || p.Credit != 9 {
		t.Errorf("Peer at the listener = %+v", p)
	}
	if up.Has(CapRelay) || up.Original() {
		t.Errorf("listener sees relay %v, original %v", up.Has(CapRelay), up.Original())
	}
	if a.links("msg_server") != 1 || b.links("route_server") != 1 {
		t.Errorf("im_links = %v and %v, want 1", a.links("msg_server"), b.links("route_server"))
	}

	body := bytes.Repeat([]byte("x"), 3<<20) // over the limit of a client
	down.SendPDU(wire.MsgData, 5, body)
	if pdu := waitFor(t, a.pdus, "LinkPDU"); pdu.Command != wire.MsgData || pdu.Seq != 5 || !bytes.Equal(pdu.Body, body) {
		t.Errorf("received %v, seq %d, %d bytes", pdu.Command, pdu.Seq, len(pdu.Body))
	}
	up.SendPDU(wire.MsgData, 6, nil)
	if pdu := waitFor(t, b.pdus, "LinkPDU"); pdu.Seq != 6 {
		t.Errorf("received seq %d, want 6", pdu.Seq)
	}

	stop()
	waitFor(t, a.down, "LinkDown at the listener")
	waitFor(t, b.down, "LinkDown at the dialler")
	if a.links("msg_server") != 0 || b.links("route_server") != 0 {
		t.Errorf("im_links = %v and %v, want 0", a.links("msg_server"), b.links("route_server"))
	}
}

// An original server may say nothing, its heartbeat, or what it has to say.
func TestOriginalDialsUs(t *testing.T) {
	t.Parallel()
	cases := map[string]func(*raw){
		"silent":    func(*raw) {},
		"heartbeat": func(r *raw) { r.sendHeartbeat(0) },
		"PDU":       func(r *raw) { r.send(wire.RoleSet, []byte{8, 1}) },
	}
	for name, first := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := run(t, Config{Role: "route_server", Heartbeat: 10 * time.Millisecond}, "")
			peer := dialRaw(t, h.addr)
			if pdu := peer.want(wire.Heartbeat); pdu.Reserved != wire.Mark || len(pdu.Body) != 0 {
				t.Errorf("our first heartbeat has reserved %x and %d bytes", pdu.Reserved, len(pdu.Body))
			}
			first(peer)
			l := waitFor(t, h.up, "LinkUp")
			if !l.Original() || l.Has(CapRelay) || h.links("original") != 1 {
				t.Errorf("original %v, relay %v, im_links %v", l.Original(), l.Has(CapRelay), h.links("original"))
			}
			if name == "PDU" {
				if pdu := waitFor(t, h.pdus, "the first PDU"); pdu.Command != wire.RoleSet {
					t.Errorf("received %v, want RoleSet", pdu.Command)
				}
			}
			l.SendPDU(wire.StatusNotify, 0, []byte("body"))
			pdu, ok := peer.read()
			for ; ok && pdu.Command == wire.Heartbeat; pdu, ok = peer.read() {
			}
			if pdu.Command != wire.StatusNotify { // and so no HELLO
				t.Errorf("received %v, want StatusNotify", pdu.Command)
			}
			peer.Close()
			waitFor(t, h.down, "LinkDown")
		})
	}
}

func TestWeDialOriginal(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	h := run(t, Config{Role: "msg_server"}, "")
	h.keep(t, listener.Addr().String())
	socket, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	peer := newRaw(t, socket)
	if pdu := peer.want(wire.Heartbeat); pdu.Reserved != wire.Mark {
		t.Errorf("reserved = %x, want the mark", pdu.Reserved)
	}
	l := waitFor(t, h.up, "LinkUp")
	if !l.Original() {
		t.Error("a silent peer does not count as an original")
	}
	l.SendPDU(wire.RoleSet, 0, nil)
	peer.want(wire.RoleSet)
}

// An original file_server begins no heartbeat and returns those it gets byte
// for byte, so our own mark comes back. It must never see a HELLO.
func TestWeDialOriginalThatEchoes(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	h := run(t, Config{Role: "msg_server"}, "")
	h.keep(t, listener.Addr().String())
	socket, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	peer := newRaw(t, socket)
	if pdu := peer.want(wire.Heartbeat); pdu.Reserved != wire.Mark {
		t.Errorf("reserved = %x, want the mark", pdu.Reserved)
	}
	peer.sendHeartbeat(wire.Mark)
	l := waitFor(t, h.up, "LinkUp")
	if !l.Original() {
		t.Error("a peer that only returns our mark counts as one of ours")
	}
	l.SendPDU(wire.FileServerAddrsReq, 0, nil)
	peer.want(wire.FileServerAddrsReq) // and so no HELLO
	if h.links("original") != 1 {
		t.Errorf("im_links = %v, want 1", h.links("original"))
	}
}

// What LinkUp found settled stays so: a HELLO after it ends the link, and a
// peer that was taken for an original because it was slow connects again.
func TestHelloComesOnceAndFirst(t *testing.T) {
	t.Parallel()
	hello := func(id string) *extension.IMHello {
		return &extension.IMHello{Version: proto.Uint32(1), ServerId: &id, Role: proto.String("msg_server")}
	}
	for name, first := range map[string]func(*raw){
		"after an original's PDU": func(r *raw) { r.send(wire.RoleSet, []byte{8, 1}) },
		"after a HELLO":           func(r *raw) { r.sendMessage(wire.Hello, hello("early")) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := run(t, Config{Role: "route_server"}, "")
			peer := dialRaw(t, h.addr)
			first(peer)
			l := waitFor(t, h.up, "LinkUp")
			was := l.Peer()
			peer.sendMessage(wire.Hello, hello("late"))
			waitFor(t, h.down, "LinkDown")
			if now := l.Peer(); now.ServerID != was.ServerID || now.Role != was.Role {
				t.Errorf("Peer was %+v and is %+v", was, now)
			}
			if h.links("original") != 0 || h.links("msg_server") != 0 {
				t.Errorf("im_links = %v and %v, want 0", h.links("original"), h.links("msg_server"))
			}
		})
	}
}

// A secret that is replaced at both ends is the one of the links from then on,
// and ends none that is up.
func TestSecretIsReplaced(t *testing.T) {
	t.Parallel()
	listens, dials := secret.New("sesame"), secret.New("sesame")
	a := run(t, Config{Role: "a", Secret: listens}, "")
	b := run(t, Config{Role: "b", Secret: dials}, "")
	b.keep(t, a.addr)
	waitFor(t, a.up, "LinkUp")
	waitFor(t, b.up, "LinkUp at the dialler")
	for _, s := range []secret.Value{listens, dials} {
		s.Replace(secret.New("simsim"))
	}
	b.keep(t, a.addr)
	waitFor(t, a.up, "LinkUp with the new secret")
	waitFor(t, b.up, "LinkUp with the new secret at the dialler")
	late := run(t, Config{Role: "c", Secret: secret.New("sesame"), BackOff: time.Hour, BackOffTo: time.Hour, Timeout: time.Second}, "")
	late.keep(t, a.addr)
	eventually(t, "a refusal of the old secret", func() bool { return a.closed(ReasonSecret)+late.closed(ReasonSecret) > 0 })
	if n := a.closed(ReasonSecret) + b.closed(ReasonSecret); n > 1 {
		t.Errorf("%v links were closed", n)
	}
}

func TestSecret(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		a, b string
		up   bool
	}{
		"same":              {"sesame", "sesame", true},
		"differs":           {"sesame", "simsim", false},
		"only the listener": {"sesame", "", false},
		"only the dialler":  {"", "sesame", false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := run(t, Config{Role: "a", Secret: secret.New(c.a)}, "")
			b := run(t, Config{Role: "b", Secret: secret.New(c.b), BackOff: time.Hour, BackOffTo: time.Hour, Timeout: time.Second}, "")
			b.keep(t, a.addr)
			if c.up {
				waitFor(t, a.up, "LinkUp")
				waitFor(t, b.up, "LinkUp")
				return
			}
			eventually(t, "a refusal", func() bool { return a.closed(ReasonSecret)+b.closed(ReasonSecret)+b.closed(ReasonTimeout) > 0 })
			if c.a != "" && len(a.up) != 0 {
				t.Error("the listener trusts a dialler without the secret")
			}
			if c.b != "" && len(b.up) != 0 {
				t.Error("the dialler trusts a listener without the secret")
			}
		})
	}
}

// Somebody who does not know the secret tries what he can.
func TestSecretIsNotForgedOrMirrored(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		attack func(peer *raw, hello *extension.IMHello)
		reason transport.CloseReason
	}{
		"mirror": {func(peer *raw, hello *extension.IMHello) {
			peer.sendMessage(wire.Hello, hello)
		}, ReasonBadHello},
		"forged proof": {func(peer *raw, hello *extension.IMHello) {
			hello.ServerId = proto.String("mallory")
			peer.sendMessage(wire.Hello, hello)
			proof := peer.want(wire.HelloProof)
			peer.send(wire.HelloProof, proof.Body) // their proof of our challenge, which was theirs
		}, ReasonSecret},
		"proof first": {func(peer *raw, _ *extension.IMHello) {
			peer.sendMessage(wire.HelloProof, &extension.IMHelloProof{Mac: []byte("x")})
		}, ReasonBadHello},
		"broken hello": {func(peer *raw, _ *extension.IMHello) {
			peer.send(wire.Hello, []byte{0xff})
		}, ReasonBadHello},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := run(t, Config{Role: "route_server", Secret: secret.New("sesame")}, "")
			peer := dialRaw(t, h.addr)
			peer.want(wire.Heartbeat)
			peer.sendHeartbeat(wire.Mark)
			hello := new(extension.IMHello)
			if err := proto.Unmarshal(peer.want(wire.Hello).Body, hello); err != nil {
				t.Fatal(err)
			}
			peer.send(wire.MsgData, []byte("not proven yet"))
			c.attack(peer, hello)
			peer.wantEnd()
			eventually(t, "the reason", func() bool { return h.closed(c.reason) == 1 })
			if len(h.up) != 0 || len(h.pdus) != 0 {
				t.Errorf("LinkUp %d times, %d PDUs; want none", len(h.up), len(h.pdus))
			}
		})
	}
	t.Run("pretends to be an original", func(t *testing.T) {
		t.Parallel()
		h := run(t, Config{Role: "route_server", Secret: secret.New("sesame")}, "")
		peer := dialRaw(t, h.addr)
		peer.send(wire.RoleSet, []byte{8, 1})
		peer.wantEnd()
		eventually(t, "the reason", func() bool { return h.closed(ReasonSecret) == 1 })
		if len(h.up) != 0 {
			t.Error("LinkUp for a peer without a proof")
		}
	})
	t.Run("an original is configured", func(t *testing.T) {
		t.Parallel()
		h := run(t, Config{Role: "route_server", Secret: secret.New("sesame"), AllowOriginals: true}, "")
		dialRaw(t, h.addr).send(wire.RoleSet, []byte{8, 1})
		if l := waitFor(t, h.up, "LinkUp"); !l.Original() {
			t.Error("not an original")
		}
	})
}

func TestTimeout(t *testing.T) {
	t.Parallel()
	h := run(t, Config{Role: "route_server", Timeout: 2500 * time.Millisecond, Heartbeat: time.Millisecond}, "")
	silent := dialRaw(t, h.addr)
	silent.sendHeartbeat(0) // and nothing more
	waitFor(t, h.up, "LinkUp")
	heartbeats := 0
	for {
		pdu, ok := silent.read()
		if !ok {
			break
		}
		if pdu.Command != wire.Heartbeat || pdu.Reserved != wire.Mark {
			t.Errorf("received %v with reserved %x", pdu.Command, pdu.Reserved)
		}
		heartbeats++
	}
	if heartbeats < 2 {
		t.Errorf("%d heartbeats, want one at once and one a second later", heartbeats)
	}
	waitFor(t, h.down, "LinkDown")
	eventually(t, "the reason", func() bool { return h.closed(ReasonTimeout) == 1 })
}

// Two servers that have nothing to say keep their link by heartbeats alone.
func TestHeartbeatsKeepTheLink(t *testing.T) {
	t.Parallel()
	cfg := Config{Role: "msg_server", Timeout: 2500 * time.Millisecond, Heartbeat: time.Millisecond}
	a, b := run(t, cfg, ""), run(t, cfg, "")
	b.keep(t, a.addr)
	l := waitFor(t, a.up, "LinkUp")
	opened := l.conn.LastReceived()
	eventually(t, "life beyond the time-out", func() bool { return l.conn.LastReceived().Sub(opened) > cfg.Timeout })
	if len(a.down)+len(b.down) != 0 {
		t.Error("the link went down")
	}
}

func TestReconnect(t *testing.T) {
	t.Parallel()
	a := run(t, Config{Role: "route_server"}, "")
	b := run(t, Config{Role: "msg_server", BackOff: time.Millisecond, BackOffTo: 20 * time.Millisecond}, "")
	b.keep(t, a.addr)
	first := waitFor(t, b.up, "LinkUp")
	a.stop()
	if l := waitFor(t, b.down, "LinkDown"); l != first {
		t.Error("LinkDown of another link")
	}
	if first.Send([]byte("x")) {
		t.Error("a link that is down takes PDUs")
	}
	eventually(t, "a dial that fails", func() bool {
		return testutil.ToFloat64(b.node.dials.WithLabelValues("failed")) > 0
	})
	again := run(t, Config{Role: "route_server"}, a.addr)
	second := waitFor(t, b.up, "LinkUp after the restart")
	waitFor(t, again.up, "LinkUp at the restarted peer")
	if second.ID() == first.ID() || second.Peer().ServerID == first.Peer().ServerID {
		t.Error("the new link has the old identity")
	}
}

// A push_server answers a heartbeat at once, also one that comes alone, and
// stays when it does not know a command. Source: docs/protocol/defects.md E8.
func TestPlainPeer(t *testing.T) {
	t.Parallel()
	h := run(t, Config{Role: "push_server"}, "", func(h *host) { h.plain = true })
	peer := dialRaw(t, h.addr)
	waitFor(t, h.up, "LinkUp")
	for range 3 {
		peer.sendHeartbeat(0)
		if pdu := peer.want(wire.Heartbeat); pdu.Length != wire.HeaderSize || pdu.Reserved != 0 {
			t.Errorf("answered with %+v", pdu.Header)
		}
		peer.send(wire.Command(0x07ff), []byte("?"))
		waitFor(t, h.pdus, "a PDU")
	}
}

func TestPDUCap(t *testing.T) {
	t.Parallel()
	h := run(t, Config{Role: "route_server"}, "")
	peer := dialRaw(t, h.addr)
	peer.send(wire.RoleSet, []byte{8, 1})
	waitFor(t, h.up, "LinkUp")
	if _, err := peer.Write(wire.AppendHeader(nil, wire.MsgData, 0, 0, 64<<20)); err != nil {
		t.Fatal(err)
	}
	waitFor(t, h.down, "LinkDown")
	if h.closed(transport.ReasonBadLength) != 1 {
		t.Error("not closed for its length")
	}
}

func TestPanicTakesTheLinkDown(t *testing.T) {
	t.Parallel()
	h := run(t, Config{Role: "route_server"}, "", func(h *host) {
		h.onPDU = func(*Link, wire.PDU) { panic("in a handler") }
	})
	peer := dialRaw(t, h.addr)
	peer.send(wire.RoleSet, []byte{8, 1})
	waitFor(t, h.up, "LinkUp")
	waitFor(t, h.down, "LinkDown")
	if h.closed(transport.ReasonPanic) != 1 || h.links("original") != 0 {
		t.Errorf("closed for panic %v times, %v links", h.closed(transport.ReasonPanic), h.links("original"))
	}
}
