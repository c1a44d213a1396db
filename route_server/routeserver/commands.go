package routeserver

import (
	"maps"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"teamtalk/internal/im"
	"teamtalk/internal/link"
	"teamtalk/internal/wire"
	"teamtalk/pb/basedefine"
	"teamtalk/pb/buddy"
	"teamtalk/pb/server"
	"teamtalk/route_server/internal/envelope"
	"teamtalk/route_server/internal/presence"
)

// table lists everything route_server handles; all else is ignored.
func (s *Server) table() map[wire.Command]func(*link.Link, wire.PDU) {
	return map[wire.Command]func(*link.Link, wire.PDU){
		wire.RoleSet:          func(*link.Link, wire.PDU) {}, // being master changes nothing here
		wire.OnlineUserInfo:   s.announce,
		wire.UserStatusUpdate: s.update,
		wire.UsersStatusReq:   s.status,

		wire.MsgData:                 s.passMessage,
		wire.P2PCommand:              s.pass,
		wire.MsgReadNotify:           s.pass,
		wire.ServerKickUser:          s.pass,
		wire.GroupChangeMemberNotify: s.pass,
		wire.FileNotify:              s.pass,
		wire.RemoveSessionNotify:     s.pass,
		wire.SignInfoChangedNotify:   s.passToAll,

		wire.Relay: s.relay,

		wire.APIPresenceReq: s.whoIsOnline,
	}
}

// Commands returns what this server handles, by who sends it, for
// docs/protocol.md.
func (s *Server) Commands() map[string][]wire.Command {
	return map[string][]wire.Command{"msg_server": slices.Collect(maps.Keys(s.commands))}
}

// announce takes the list of all log-ins of a msg_server (0708), which
// replaces what is known of it.
func (s *Server) announce(l *link.Link, pdu wire.PDU) {
	m := new(server.IMOnlineUserInfo)
	if err := proto.Unmarshal(pdu.Body, m); err != nil {
		s.metrics.badBody.Inc()
		return
	}
	terminals := make([]presence.Terminal, 0, len(m.GetUserStatList()))
	for _, u := range m.GetUserStatList() {
		if u.GetStatus() != basedefine.UserStatType_USER_STATUS_OFFLINE {
			terminals = append(terminals, terminalOf(u))
		}
	}
	refused := s.presence.Announce(serverOf(l), terminals)
	s.metrics.badPresence.Add(float64(refused))
	s.log.Info("users announced", "peer", l.Addr(), "log_ins", len(terminals)-refused)
	s.presence.Publish(s.notify)
}

// update takes one log-in or log-out (070A).
func (s *Server) update(l *link.Link, pdu wire.PDU) {
	m := new(server.IMUserStatusUpdate)
	if err := proto.Unmarshal(pdu.Body, m); err != nil {
		s.metrics.badBody.Inc()
		return
	}
	online := m.GetUserStatus() != uint32(basedefine.UserStatType_USER_STATUS_OFFLINE)
	if !s.presence.Update(serverOf(l), terminalOf(m), online) {
		s.metrics.badPresence.Inc()
	}
	s.presence.Publish(s.notify)
}

// entry is a line of 0708, or a 070A.
type entry interface {
	GetUserId() uint32
	GetClientType() basedefine.ClientType
}

func terminalOf(m entry) presence.Terminal {
	return presence.Terminal{User: im.UserID(m.GetUserId()), Type: im.ClientType(m.GetClientType())}
}

// status answers who of a list is on-line (020A, 020B): in its order and with
// its repetitions. The list may name all users there are, so the reply is
// written straight into its PDU.
func (s *Server) status(l *link.Link, pdu wire.PDU) {
	m := new(buddy.IMUsersStatReq)
	if err := proto.Unmarshal(pdu.Body, m); err != nil {
		s.metrics.badBody.Inc()
		return
	}
	online := s.presence.AppendOnline(make([]bool, 0, len(m.GetUserIdList())), m.GetUserIdList())
	l.SendPDU(wire.UsersStatusRes, pdu.Seq, encodeStatus(m, online))
}

// encodeStatus writes the body of a 020B.
func encodeStatus(m *buddy.IMUsersStatReq, online []bool) []byte {
	const perUser = 12 // bytes, at most
	body := make([]byte, 0, 16+perUser*len(online)+len(m.GetAttachData()))
	body = protowire.AppendTag(body, 1, protowire.VarintType)
	body = protowire.AppendVarint(body, uint64(m.GetUserId()))
	for i, user := range m.GetUserIdList() {
		status := basedefine.UserStatType_USER_STATUS_OFFLINE
		if online[i] {
			status = basedefine.UserStatType_USER_STATUS_ONLINE
		}
		body = protowire.AppendTag(body, 2, protowire.BytesType)
		body = protowire.AppendVarint(body, uint64(3+protowire.SizeVarint(uint64(user))))
		body = protowire.AppendTag(body, 1, protowire.VarintType)
		body = protowire.AppendVarint(body, uint64(user))
		body = protowire.AppendTag(body, 2, protowire.VarintType)
		body = protowire.AppendVarint(body, uint64(status))
	}
	if attach := m.GetAttachData(); attach != nil {
		body = protowire.AppendTag(body, 20, protowire.BytesType)
		body = protowire.AppendBytes(body, attach)
	}
	return body
}

// pass hands a PDU to every other link, as an original sends it and an
// original understands it. The sender's seq means nothing elsewhere.
// Source: docs/protocol/defects.md A15, A16.
func (s *Server) pass(l *link.Link, pdu wire.PDU) {
	s.metrics.plain.Inc()
	s.others(l, pdu.Command, pdu.Body)
}

// passMessage is pass for a message, whose attach_data stays behind.
func (s *Server) passMessage(l *link.Link, pdu wire.PDU) {
	body, err := envelope.WithoutAttach(pdu.Body)
	if err != nil {
		s.metrics.badBody.Inc()
		return
	}
	s.metrics.plain.Inc()
	s.others(l, pdu.Command, body)
}

// passToAll hands a changed signature to every link, its origin included: no
// msg_server tells its own users by itself. Source: docs/protocol/flows.md §11.
func (s *Server) passToAll(_ *link.Link, pdu wire.PDU) {
	s.metrics.plain.Inc()
	s.others(nil, pdu.Command, pdu.Body)
}

// notify tells every link what changed in presence. It is called by
// presence.Publish, which keeps the order.
func (s *Server) notify(notices []presence.Notice) {
	const chunk = 64 << 10 // bytes handed to a link at a time
	var frames []byte
	flush := func() {
		for _, l := range s.links.Load().all {
			s.sent(l.Send(frames))
		}
		frames = frames[:0]
	}
	for _, n := range notices {
		frames = appendNotice(frames, n)
		if len(frames) >= chunk {
			flush()
		}
	}
	if len(frames) > 0 {
		flush()
	}
	s.metrics.notices.Add(float64(len(notices)))
}

// appendNotice appends the PDU of a notice: 0203 or 070E.
func appendNotice(dst []byte, n presence.Notice) []byte {
	command, m := wire.StatusNotify, proto.Message(nil)
	switch n.About {
	case presence.Status:
		status := basedefine.UserStatType_USER_STATUS_OFFLINE
		if n.Online {
			status = basedefine.UserStatType_USER_STATUS_ONLINE
		}
		m = &buddy.IMUserStatNotify{UserStat: &basedefine.UserStat{
			UserId: proto.Uint32(uint32(n.User)), Status: status.Enum(),
		}}
	case presence.PCLogin:
		login := uint32(0)
		if n.Online {
			login = 1
		}
		command = wire.PCLoginStatus
		m = &server.IMServerPCLoginStatusNotify{
			UserId: proto.Uint32(uint32(n.User)), LoginStatus: proto.Uint32(login),
		}
	}
	dst, _ = wire.AppendMessage(dst, command, 0, m) // every required field is set
	return dst
}
