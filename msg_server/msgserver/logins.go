package msgserver

import (
	"context"
	"os"

	"google.golang.org/protobuf/proto"

	"teamtalk/internal/im"
	"teamtalk/internal/link"
	"teamtalk/internal/transport"
	"teamtalk/internal/wire"
	"teamtalk/pb/server"
)

// loginServers are the links to the login_servers, which send clients here
// by what they are told of the load. Safe from any goroutine.
type loginServers struct {
	server *Server
	live   link.Set
}

func (ls *loginServers) run(ctx context.Context, engine *transport.Engine) {
	ls.server.node.KeepAll(ctx, engine, "login_server", ls.server.cfg.LoginServers, ls)
}

func (ls *loginServers) open() bool { return !ls.live.Empty() }

// LinkUp is link.Handler's: it announces this server, 0709.
// Source: docs/protocol/flows.md §2.
func (ls *loginServers) LinkUp(l *link.Link) {
	if ls.server.stopping.Load() {
		l.Close(transport.ReasonStopping)
		return
	}
	ls.server.announcing.Lock()
	defer ls.server.announcing.Unlock()
	ls.live.Add(l)
	cfg := &ls.server.cfg
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	l.SendMessage(wire.MsgServerInfo, 0, &server.IMMsgServInfo{
		Ip1: proto.String(cfg.IPAddr1), Ip2: proto.String(cfg.IPAddr2),
		Port:       proto.Uint32(uint32(cfg.ListenPort)),
		MaxConnCnt: proto.Uint32(uint32(ls.server.engine.MaxConns())),
		CurConnCnt: proto.Uint32(uint32(ls.server.sessions.Len())),
		HostName:   proto.String(host),
	})
}

// LinkDown is link.Handler's.
func (ls *loginServers) LinkDown(l *link.Link) { ls.live.Remove(l) }

// LinkPDU is link.Handler's: a login_server says nothing.
func (ls *loginServers) LinkPDU(*link.Link, wire.PDU) { ls.server.metrics.dropped("unknown_command") }

// leave closes the links, so that no more clients are sent here.
func (ls *loginServers) leave() {
	for _, l := range ls.live.All() {
		l.Close(transport.ReasonStopping)
	}
}

// counted tells of a log-in (action 1) or its end (2), 070B.
func (ls *loginServers) counted(user im.UserID, action uint32) {
	for _, l := range ls.live.All() {
		l.SendMessage(wire.UserCountUpdate, 0, &server.IMUserCntUpdate{
			UserAction: proto.Uint32(action), UserId: proto.Uint32(uint32(user)),
		})
	}
}
