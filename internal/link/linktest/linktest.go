// Package linktest gives tests of a role the servers that connect to it: ours,
// made of a real engine and a real link, and originals, made of a bare socket.
package linktest

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
	"google.golang.org/protobuf/proto"

	"teamtalk/internal/link"
	"teamtalk/internal/testenv"
	"teamtalk/internal/transport"
	"teamtalk/internal/wire"
)

// patience is how long a test waits for what must come: long, because it is
// only for a broken program, not for a slow machine.
const patience = time.Minute

// Wait returns what comes out of ch, and fails the test when nothing does.
func Wait[T any](t testing.TB, ch <-chan T, what string) T {
	t.Helper()
	var v T
	select {
	case v = <-ch:
	case <-time.After(patience):
		t.Fatalf("waited %v for %s", patience, what)
	}
	return v
}

// Eventually waits until cond holds, for facts that nothing announces.
func Eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	again := time.NewTicker(2 * time.Millisecond)
	defer again.Stop()
	for late := time.After(patience); !cond(); {
		select {
		case <-again.C:
		case <-late:
			t.Fatalf("waited %v for %s", patience, what)
		}
	}
}

// Peer is a neighbour of the server under test.
type Peer interface {
	// Send sends one PDU with seq.
	Send(command wire.Command, seq uint16, m proto.Message)
	// SendBody sends one PDU with an encoded body.
	SendBody(command wire.Command, seq uint16, body []byte)
	// Next returns the next PDU that is no heartbeat.
	Next() wire.PDU
	// Want returns the next PDU that is no heartbeat, which must be command.
	Want(command wire.Command) wire.PDU
	// Stop breaks the connection.
	Stop()
}

// Ours is a server of ours that dials the server under test.
type Ours struct {
	t    testing.TB
	up   chan *link.Link
	pdus chan wire.PDU
	link *link.Link
	stop func()
}

// LinkUp is link.Handler's.
func (o *Ours) LinkUp(l *link.Link) { o.up <- l }

// LinkDown is link.Handler's.
func (o *Ours) LinkDown(*link.Link) {}

// LinkPDU is link.Handler's.
func (o *Ours) LinkPDU(_ *link.Link, pdu wire.PDU) {
	pdu.Body = bytes.Clone(pdu.Body)
	o.pdus <- pdu
}

// DialOurs links a new server of ours to addr and returns when the link is up.
func DialOurs(t testing.TB, addr string, cfg link.Config) *Ours {
	t.Helper()
	o := &Ours{t: t, up: make(chan *link.Link, 16), pdus: make(chan wire.PDU, 4096)}
	log, reg := slog.New(slog.DiscardHandler), prometheus.NewRegistry()
	node := link.New(cfg, link.Deps{Log: log, Reg: reg})
	// An engine wants a port; nobody connects to this one.
	engine, err := transport.New(transport.Config{
		Listeners: []transport.Listener{{Name: "none", Addr: testenv.FreeAddr(t), Handler: node.Accept(o)}},
		Loops:     1,
	}, transport.Deps{Log: log, Reg: reg})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var kept, ran sync.WaitGroup
	engineCtx, stopEngine := context.WithCancel(context.Background())
	ran.Go(func() { _ = engine.Run(engineCtx) })
	kept.Go(func() { node.Keep(ctx, engine, "original", addr, o) })
	o.stop = sync.OnceFunc(func() {
		cancel()
		kept.Wait()
		stopEngine()
		ran.Wait()
	})
	t.Cleanup(o.stop)
	o.link = Wait(t, o.up, "link to "+addr)
	return o
}

// Up waits for the next time the link comes up again.
func (o *Ours) Up() {
	o.t.Helper()
	o.link = Wait(o.t, o.up, "new link")
}

// Link is the link as the server of ours sees it.
func (o *Ours) Link() *link.Link { return o.link }

// Send implements Peer.
func (o *Ours) Send(command wire.Command, seq uint16, m proto.Message) {
	o.t.Helper()
	if !o.link.SendMessage(command, seq, m) {
		o.t.Fatalf("%v not sent", command)
	}
}

// SendBody implements Peer.
func (o *Ours) SendBody(command wire.Command, seq uint16, body []byte) {
	o.t.Helper()
	if !o.link.SendPDU(command, seq, body) {
		o.t.Fatalf("%v not sent", command)
	}
}

// Next implements Peer.
func (o *Ours) Next() wire.PDU {
	o.t.Helper()
	return Wait(o.t, o.pdus, "a PDU")
}

// Want implements Peer.
func (o *Ours) Want(command wire.Command) wire.PDU {
	o.t.Helper()
	return want(o.t, o.Next(), command)
}

// Stop implements Peer.
func (o *Ours) Stop() { o.stop() }

// Original is an original server, or a client: a bare socket.
type Original struct {
	t testing.TB
	net.Conn
}

// DialOriginal connects a bare socket to addr. It counts as an original with
// the first PDU it sends.
func DialOriginal(t testing.TB, addr string) *Original {
	t.Helper()
	socket, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { socket.Close() })
	if err := socket.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return &Original{t: t, Conn: socket}
}

// Send implements Peer.
func (o *Original) Send(command wire.Command, seq uint16, m proto.Message) {
	o.t.Helper()
	body, err := proto.Marshal(m)
	if err != nil {
		o.t.Fatal(err)
	}
	o.SendBody(command, seq, body)
}

// SendBody implements Peer.
func (o *Original) SendBody(command wire.Command, seq uint16, body []byte) {
	o.t.Helper()
	if _, err := o.Write(wire.Append(nil, command, seq, body)); err != nil {
		o.t.Fatal(err)
	}
}

// Next implements Peer.
func (o *Original) Next() wire.PDU {
	o.t.Helper()
	for {
		header := make([]byte, wire.HeaderSize)
		if _, err := io.ReadFull(o, header); err != nil {
			o.t.Fatalf("read a header: %v", err)
		}
		pdu := wire.PDU{Header: wire.ParseHeader(header)}
		pdu.Body = make([]byte, pdu.Length-wire.HeaderSize)
		if _, err := io.ReadFull(o, pdu.Body); err != nil {
			o.t.Fatalf("read a body: %v", err)
		}
		if pdu.Command != wire.Heartbeat {
			return pdu
		}
	}
}

// Want implements Peer.
func (o *Original) Want(command wire.Command) wire.PDU {
	o.t.Helper()
	return want(o.t, o.Next(), command)
}

// Stop implements Peer.
func (o *Original) Stop() { _ = o.Close() }

func want(t testing.TB, pdu wire.PDU, command wire.Command) wire.PDU {
	t.Helper()
	if pdu.Command != command {
		t.Fatalf("received %v (%#04x), want %v", pdu.Command, uint16(pdu.Command), command)
	}
	return pdu
}
