package routeserver

import (
	"google.golang.org/protobuf/proto"

	"teamtalk/internal/im"
	"teamtalk/internal/link"
	"teamtalk/internal/wire"
	"teamtalk/pb/basedefine"
	"teamtalk/pb/extension"
	"teamtalk/route_server/internal/presence"
)

// maxPresencePage bounds the users of one 07AD.
const maxPresencePage = 1000

// whoIsOnline tells an http_msg_server or msg_server of ours on which clients some users
// are, or a page of all who are on-line, 07AC to 07AD.
func (s *Server) whoIsOnline(l *link.Link, pdu wire.PDU) {
	if !l.Has(link.CapPresence) {
		s.metrics.notCapable.Inc()
		return
	}
	req := new(extension.IMApiPresenceReq)
	if err := proto.Unmarshal(pdu.Body, req); err != nil {
		s.metrics.badBody.Inc()
		return
	}
	res := &extension.IMApiPresenceRsp{
		Code: proto.Uint32(uint32(im.OK)), Total: proto.Uint32(uint32(s.presence.Users())), AttachData: req.GetAttachData(),
	}
	var found []presence.User
	if ids := req.GetUserIds(); len(ids) > 0 {
		found = s.presence.Terminals(ids)
	} else {
		limit := int(min(max(req.GetLimit(), 1), maxPresencePage))
		var more bool
		found, more = s.presence.Page(im.UserID(req.GetAfterUserId()), limit)
		res.More = proto.Bool(more)
	}
	for _, u := range found {
		p := &extension.ApiPresence{UserId: proto.Uint32(uint32(u.ID))}
		for _, t := range u.Types {
			p.ClientTypes = append(p.ClientTypes, basedefine.ClientType(t))
		}
		res.Users = append(res.Users, p)
	}
	l.SendMessage(wire.APIPresenceRes, pdu.Seq, res)
}
