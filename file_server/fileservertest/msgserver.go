package fileservertest

import (
	"context"
	"log/slog"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/proto"

	"teamtalk/internal/link"
	"teamtalk/internal/testenv"
	"teamtalk/internal/transport"
	"teamtalk/internal/wire"
	"teamtalk/pb/extension"
)

// msgServer stores the messages of complete files.
type msgServer struct{ *Server }

// LinkUp is link.Handler's.
func (*msgServer) LinkUp(*link.Link) {}

// LinkDown is link.Handler's.
func (*msgServer) LinkDown(*link.Link) {}

// LinkPDU is link.Handler's.
func (m *msgServer) LinkPDU(l *link.Link, pdu wire.PDU) {
	stored := new(extension.IMFileStored)
	if pdu.Command != wire.FileStored || proto.Unmarshal(pdu.Body, stored) != nil {
		return
	}
	l.SendMessage(wire.FileStoredAck, 0, &extension.IMFileStoredAck{
		FileId: stored.FileId, ResultCode: proto.Uint32(uint32(m.Code.Load())), MsgId: proto.Uint32(MsgID),
	})
}

// linkMsgServer links it for the length of a test.
func (s *Server) linkMsgServer(t testing.TB, addr string) {
	t.Helper()
	m := &msgServer{s}
	deps := link.Deps{Log: slog.New(slog.DiscardHandler), Reg: prometheus.NewRegistry()}
	node := link.New(link.Config{Role: "msg_server", Capabilities: []string{link.CapFiles}}, deps)
	// An engine wants a port; nobody connects to this one.
	engine, err := transport.New(transport.Config{
		Listeners: []transport.Listener{{Name: "none", Addr: testenv.FreeAddr(t), Handler: node.Accept(m)}}, Loops: 1,
	}, transport.Deps{Log: deps.Log, Reg: deps.Reg})
	if err != nil {
		t.Fatal(err)
	}
	base := context.WithoutCancel(t.Context())
	ctx, stop := context.WithCancel(base)
	engineCtx, stopEngine := context.WithCancel(base)
	var keeper, ran sync.WaitGroup
	ran.Go(func() {
		if err := engine.Run(engineCtx); err != nil {
			t.Error(err)
		}
	})
	keeper.Go(func() { node.Keep(ctx, engine, "file_server", addr, m) })
	t.Cleanup(func() { stop(); keeper.Wait(); stopEngine(); ran.Wait() })
}
