package backend

import (
	"context"
	"slices"

	"google.golang.org/protobuf/proto"

	"teamtalk/internal/im"
	"teamtalk/internal/link"
	"teamtalk/internal/wire"
	"teamtalk/pb/basedefine"
	"teamtalk/pb/extension"
	"teamtalk/pb/group"
	"teamtalk/pb/server"
)

// routes are the links to the route_servers. A message goes to every one of
// ours, and whoever gets it twice drops the second; everything else goes to
// the oldest, which is the master of an original.
type routes struct {
	backend *Backend
	addrs   []string
	live    link.Set
}

// LinkUp is link.Handler's.
func (r *routes) LinkUp(l *link.Link) {
	if r.live.Add(l) {
		crown(l)
	}
}

// LinkDown is link.Handler's.
func (r *routes) LinkDown(l *link.Link) {
	if heir := r.live.Remove(l); heir != nil {
		crown(heir)
	}
	r.backend.lost(l)
}

// crown tells a route_server that it is our master, 0707.
// Source: docs/protocol/commands.md.
func crown(l *link.Link) {
	l.SendMessage(wire.RoleSet, 0, &server.IMRoleSet{Master: proto.Uint32(1)})
}

// LinkPDU is link.Handler's. What a route_server tells the msg_servers of
// users that come and go, and broadcasts, are no business of this role.
func (r *routes) LinkPDU(_ *link.Link, pdu wire.PDU) {
	if pdu.Command == wire.APIPresenceRes || pdu.Command == wire.UsersStatusRes {
		r.backend.answered(pdu)
	}
}

// one sends to the master and reports whether there is one.
func (r *routes) one(command wire.Command, m proto.Message) bool {
	master := r.live.Oldest()
	return master != nil && master.SendMessage(command, 0, m)
}

// publish relays a message to the connections of its targets, in the order of
// its conversation. To an original it goes as it is, and over one only. It
// returns over how many it went.
func (r *routes) publish(targets []uint32, command wire.Command, body []byte, order *extension.Order) int {
	live := r.live.All()
	if len(live) > 0 && slices.ContainsFunc(live, (*link.Link).Original) {
		live = live[:1]
	}
	envelope := &extension.IMRelay{
		Targets: targets, Command: proto.Uint32(uint32(command)), Body: body, Order: order,
	}
	for _, l := range live {
		if l.Has(link.CapRelay) {
			l.SendMessage(wire.Relay, 0, envelope)
		} else {
			l.SendPDU(command, 0, body)
		}
	}
	return len(live)
}

// Presence asks who is on-line.
func (b *Backend) Presence(ctx context.Context, req *extension.IMApiPresenceReq) (*extension.IMApiPresenceRsp, error) {
	res := new(extension.IMApiPresenceRsp)
	return res, b.coded(ctx, b.routes.live.Oldest(), link.CapPresence, req, wire.APIPresenceReq, res)
}

// TellMembers tells everybody concerned of a change of a group's members,
// 040B, and reports whether there was a route_server to do it.
// Source: docs/protocol/flows.md §18.
func (b *Backend) TellMembers(res *group.IMGroupChangeMemberRsp) bool {
	return b.routes.one(wire.GroupChangeMemberNotify, &group.IMGroupChangeMemberNotify{
		UserId: res.UserId, ChangeType: res.ChangeType, GroupId: res.GroupId,
		CurUserIdList: res.GetCurUserIdList(), ChgUserIdList: res.GetChgUserIdList(),
	})
}

// Kick logs a user off everywhere, on one kind of client, 070D; im.Unavailable
// without a route_server. Clients know two reasons only: for a phone it is a
// log-in elsewhere, for a PC a kick by the phone.
// Source: docs/protocol/flows.md §4.
func (b *Backend) Kick(user im.UserID, client im.ClientType) error {
	reason := basedefine.KickReasonType_KICK_REASON_MOBILE_KICK
	if client.Mobile() {
		reason = basedefine.KickReasonType_KICK_REASON_DUPLICATE_USER
	}
	sent := b.routes.one(wire.ServerKickUser, &server.IMServerKickUser{
		UserId: proto.Uint32(uint32(user)), ClientType: basedefine.ClientType(client).Enum(),
		Reason: proto.Uint32(uint32(reason)),
	})
	if !sent {
		return im.Errorf(im.Unavailable, "no route_server")
	}
	return nil
}
