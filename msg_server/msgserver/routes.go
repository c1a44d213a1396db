package msgserver

import (
	"context"
	"slices"

	"google.golang.org/protobuf/proto"

	"teamtalk/internal/im"
	"teamtalk/internal/link"
	"teamtalk/internal/trace"
	"teamtalk/internal/transport"
	"teamtalk/internal/wire"
	"teamtalk/pb/basedefine"
	"teamtalk/pb/extension"
	"teamtalk/pb/server"
)

// routes are the links to the route_servers. Presence goes to every one of
// them. A message goes to every one of ours, and whoever gets it twice drops
// the second; everything else goes to one, the oldest link, which is the
// master of an original. Safe from any goroutine.
type routes struct {
	server *Server
	live   link.Set
}

func (r *routes) run(ctx context.Context, engine *transport.Engine) {
	r.server.node.KeepAll(ctx, engine, "route_server", r.server.cfg.RouteServers, r)
}

func (r *routes) open() bool { return !r.live.Empty() }

// LinkUp is link.Handler's: it says who is logged in here.
// Source: docs/protocol/flows.md §2.
func (r *routes) LinkUp(l *link.Link) {
	r.server.announcing.Lock()
	defer r.server.announcing.Unlock()
	if r.live.Add(l) {
		r.crown(l)
	}
	r.announce(l)
	r.server.recheckTerminals()
}

// LinkDown is link.Handler's.
func (r *routes) LinkDown(l *link.Link) {
	r.server.notifier.Lost(l)
	if heir := r.live.Remove(l); heir != nil {
		r.crown(heir)
	}
	r.server.joins.lost(l)
}

// crown tells a route_server that it is this server's master, 0707.
func (r *routes) crown(l *link.Link) {
	l.SendMessage(wire.RoleSet, 0, &server.IMRoleSet{Master: proto.Uint32(1)})
}

// announce sends every session, 0708. Whoever logged in as off-line is
// connected all the same: a route_server must know where he is.
func (r *routes) announce(l *link.Link) {
	info := &server.IMOnlineUserInfo{}
	r.server.sessions.Each(func(session *Session) {
		status := basedefine.UserStatType(session.Status)
		if status == basedefine.UserStatType_USER_STATUS_OFFLINE {
			status = basedefine.UserStatType_USER_STATUS_ONLINE
		}
		info.UserStatList = append(info.UserStatList, &basedefine.ServerUserStat{
			UserId:     proto.Uint32(uint32(session.User)),
			Status:     status.Enum(),
			ClientType: basedefine.ClientType(session.Client).Enum(),
		})
	})
	l.SendMessage(wire.OnlineUserInfo, 0, info)
}

// status tells every route_server of a log-in or its end, 070A.
func (r *routes) status(session *Session, status basedefine.UserStatType) {
	r.all(wire.UserStatusUpdate, &server.IMUserStatusUpdate{
		UserStatus: proto.Uint32(uint32(status)),
		UserId:     proto.Uint32(uint32(session.User)),
		ClientType: basedefine.ClientType(session.Client).Enum(),
	})
}

// all sends to every route_server.
func (r *routes) all(command wire.Command, m proto.Message) {
	for _, l := range r.live.All() {
		l.SendMessage(command, 0, m)
	}
}

// displace tells the other servers of a log-in, 070D: older ones of its class
// give way.
func (r *routes) displace(session *Session) {
	master := r.live.Oldest()
	if master == nil {
		return
	}
	m := &server.IMServerKickUser{
		UserId:     proto.Uint32(uint32(session.User)),
		ClientType: basedefine.ClientType(session.Client).Enum(),
		Reason:     proto.Uint32(uint32(basedefine.KickReasonType_KICK_REASON_DUPLICATE_USER)),
	}
	if master.Has(link.CapRelay) {
		m.LoginMs, m.ServerId = proto.Uint64(uint64(session.Opened)), proto.String(r.server.node.ServerID())
	}
	master.SendMessage(wire.ServerKickUser, 0, m)
}

// one sends to the master.
func (r *routes) one(command wire.Command, m proto.Message) {
	if master := r.live.Oldest(); master != nil {
		master.SendMessage(command, 0, m)
	}
}

// ask sends a question to the master and reports whether there is one.
func (r *routes) ask(command wire.Command, seq uint16, m proto.Message) bool {
	master := r.live.Oldest()
	return master != nil && master.SendMessage(command, seq, m)
}

// relay sends the body of a push to the other servers that have a connection
// of one of the targets. A message carries its order, and goes over every
// route_server of ours; while an original is linked, everything goes over one.
// It returns over how many it went.
func (r *routes) relay(targets []uint32, command wire.Command, body []byte, order *extension.Order) int {
	live := r.live.All()
	if len(live) == 0 {
		return 0
	}
	if order == nil || slices.ContainsFunc(live, (*link.Link).Original) {
		live = live[:1]
	}
	var envelope *extension.IMRelay
	for _, l := range live {
		if !l.Has(link.CapRelay) {
			l.SendPDU(command, 0, body)
			continue
		}
		if envelope == nil {
			envelope = &extension.IMRelay{
				Targets: targets, Command: proto.Uint32(uint32(command)), Body: body, Order: order,
			}
		}
		l.SendMessage(wire.Relay, 0, envelope)
	}
	return len(live)
}

// capable reports whether the master is one of ours, which relays anything.
func (r *routes) capable() bool {
	master := r.live.Oldest()
	return master != nil && master.Has(link.CapRelay)
}

// toAll sends the body of a push to every connection of every other server,
// and reports whether it comes back to this one, too.
func (r *routes) toAll(command wire.Command, body []byte) (returns bool) {
	master := r.live.Oldest()
	if master == nil {
		return false
	}
	if master.Has(link.CapRelay) {
		r.relay(nil, command, body, nil)
		return false
	}
	return master.SendPDU(command, 0, body)
}

// publish relays a stored message.
func (s *Server) publish(o *outgoing) {
	order := &extension.Order{
		SessionType: sessionType(o.conv.Kind).Enum(),
		MsgId:       o.msg.MsgId,
		First:       proto.Uint32(uint32(o.conv.Group)),
	}
	if o.conv.Kind == im.Single {
		order.First, order.Second = proto.Uint32(uint32(o.conv.Pair.Small)), proto.Uint32(uint32(o.conv.Pair.Big))
	}
	if o.since >= 0 {
		order.SincePreviousMs = proto.Uint32(uint32(o.since.Milliseconds()))
	}
	links := s.routes.relay(o.targets(), wire.MsgData, o.encode(), order)
	s.trace.Note(&trace.Record{
		At: o.at, Event: trace.Relayed, Conv: o.conv, Msg: im.MsgID(o.msg.GetMsgId()), Detail: uint32(links),
	})
}
