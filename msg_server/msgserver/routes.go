package msgserver

import (
	"context"
	"slices"
	"sync"

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
	addrs  []string

	mu   sync.RWMutex // guards the field below
	live []*link.Link // oldest first
}

func newRoutes(s *Server, addrs []string) *routes {
	slices.Sort(addrs)
	return &routes{server: s, addrs: slices.Compact(addrs)}
}

func (r *routes) run(ctx context.Context, engine *transport.Engine) {
	var keepers sync.WaitGroup
	for _, addr := range r.addrs {
		keepers.Go(func() { r.server.node.Keep(ctx, engine, addr, r) })
	}
	keepers.Wait()
}

// links returns the open links, oldest first. The slice must not be changed.
func (r *routes) links() []*link.Link {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.live
}

func (r *routes) open() bool { return len(r.links()) > 0 }

// LinkUp is link.Handler's: it says who is logged in here. Source: flows.md §2.
func (r *routes) LinkUp(l *link.Link) {
	r.server.announcing.Lock()
	defer r.server.announcing.Unlock()
	r.mu.Lock()
	r.live = append(slices.Clone(r.live), l)
	master := r.live[0] == l
	r.mu.Unlock()
	if master {
		r.crown(l)
	}
	r.announce(l)
	r.server.recheckTerminals()
}

// LinkDown is link.Handler's.
func (r *routes) LinkDown(l *link.Link) {
	r.server.notifier.Lost(l)
	r.mu.Lock()
	wasMaster := len(r.live) > 0 && r.live[0] == l
	r.live = slices.DeleteFunc(slices.Clone(r.live), func(o *link.Link) bool { return o == l })
	var next *link.Link
	if wasMaster && len(r.live) > 0 {
		next = r.live[0]
	}
	r.mu.Unlock()
	if next != nil {
		r.crown(next)
	}
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
	for _, l := range r.links() {
		l.SendMessage(command, 0, m)
	}
}

// displace tells the other servers of a log-in, 070D: older ones of its class
// give way.
func (r *routes) displace(session *Session) {
	live := r.links()
	if len(live) == 0 {
		return
	}
	m := &server.IMServerKickUser{
		UserId:     proto.Uint32(uint32(session.User)),
		ClientType: basedefine.ClientType(session.Client).Enum(),
		Reason:     proto.Uint32(uint32(basedefine.KickReasonType_KICK_REASON_DUPLICATE_USER)),
	}
	if live[0].Has(link.CapRelay) {
		m.LoginMs, m.ServerId = proto.Uint64(uint64(session.Opened)), proto.String(r.server.node.ServerID())
	}
	live[0].SendMessage(wire.ServerKickUser, 0, m)
}

// one sends to the master.
func (r *routes) one(command wire.Command, m proto.Message) {
	if live := r.links(); len(live) > 0 {
		live[0].SendMessage(command, 0, m)
	}
}

// ask sends a question to the master and reports whether there is one.
func (r *routes) ask(command wire.Command, seq uint16, m proto.Message) bool {
	live := r.links()
	return len(live) > 0 && live[0].SendMessage(command, seq, m)
}

// relay sends the body of a push to the other servers that have a connection
// of one of the targets. A message carries its order, and goes over every
// route_server of ours; while an original is linked, everything goes over one.
// It returns over how many it went.
func (r *routes) relay(targets []uint32, command wire.Command, body []byte, order *extension.Order) int {
	live := r.links()
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
	live := r.links()
	return len(live) > 0 && live[0].Has(link.CapRelay)
}

// toAll sends the body of a push to every connection of every other server,
// and reports whether it comes back to this one, too.
func (r *routes) toAll(command wire.Command, body []byte) (returns bool) {
	live := r.links()
	if len(live) == 0 {
		return false
	}
	if r.capable() {
		r.relay(nil, command, body, nil)
		return false
	}
	return live[0].SendPDU(command, 0, body)
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
