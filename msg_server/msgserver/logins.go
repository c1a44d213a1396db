package msgserver

import (
	"context"
	"os"
	"slices"
	"sync"

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
	addrs  []string

	mu   sync.RWMutex // guards the field below
	live []*link.Link
}

func newLoginServers(s *Server, addrs []string) *loginServers {
	slices.Sort(addrs)
	return &loginServers{server: s, addrs: slices.Compact(addrs)}
}

func (ls *loginServers) run(ctx context.Context, engine *transport.Engine) {
	var keepers sync.WaitGroup
	for _, addr := range ls.addrs {
		keepers.Go(func() { ls.server.node.Keep(ctx, engine, addr, ls) })
	}
	keepers.Wait()
}

func (ls *loginServers) links() []*link.Link {
	ls.mu.RLock()
	defer ls.mu.RUnlock()
	return ls.live
}

func (ls *loginServers) open() bool { return len(ls.links()) > 0 }

// LinkUp is link.Handler's: it announces this server, 0709. Source: flows.md §2.
func (ls *loginServers) LinkUp(l *link.Link) {
	if ls.server.stopping.Load() {
		l.Close(transport.ReasonStopping)
		return
	}
	ls.server.announcing.Lock()
	defer ls.server.announcing.Unlock()
	ls.mu.Lock()
	ls.live = append(slices.Clone(ls.live), l)
	ls.mu.Unlock()
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
func (ls *loginServers) LinkDown(l *link.Link) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	ls.live = slices.DeleteFunc(slices.Clone(ls.live), func(o *link.Link) bool { return o == l })
}

// LinkPDU is link.Handler's: a login_server says nothing.
func (ls *loginServers) LinkPDU(*link.Link, wire.PDU) { ls.server.metrics.dropped("unknown_command") }

// leave closes the links, so that no more clients are sent here.
func (ls *loginServers) leave() {
	for _, l := range ls.links() {
		l.Close(transport.ReasonStopping)
	}
}

// counted tells of a log-in (action 1) or its end (2), 070B.
func (ls *loginServers) counted(user im.UserID, action uint32) {
	for _, l := range ls.links() {
		l.SendMessage(wire.UserCountUpdate, 0, &server.IMUserCntUpdate{
			UserAction: proto.Uint32(action), UserId: proto.Uint32(uint32(user)),
		})
	}
}
