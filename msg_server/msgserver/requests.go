package msgserver

import (
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"teamtalk/internal/im"
	"teamtalk/internal/trace"
	"teamtalk/internal/wire"
	"teamtalk/pb/basedefine"
	"teamtalk/pb/buddy"
	"teamtalk/pb/group"
	"teamtalk/pb/login"
	"teamtalk/pb/message"
	"teamtalk/pb/switchservice"
)

func protoUint32(v uint32) protoreflect.Value { return protoreflect.ValueOfUint32(v) }
func protoBytes(v []byte) protoreflect.Value  { return protoreflect.ValueOfBytes(v) }

// deviceToken answers 0108 with 0109 at once and has the token stored; a PC
// has none. Source: docs/protocol/flows.md §14; docs/protocol/defects.md F1.
func (s *Server) deviceToken(c *client, pdu wire.PDU) {
	session := c.session.Load()
	if !session.Client.Mobile() {
		s.metrics.dropped("not_mobile")
		return
	}
	req := new(login.IMDeviceTokenReq)
	if err := proto.Unmarshal(pdu.Body, req); err != nil {
		s.metrics.dropped("bad_body")
		return
	}
	c.conn.SendMessage(wire.DeviceTokenRes, pdu.Seq, &login.IMDeviceTokenRsp{UserId: proto.Uint32(uint32(session.User))})
	req.ClientType = basedefine.ClientType(session.Client).Enum()
	s.ask(c, s.db.General(c.conn.ID()), pdu, req)
}

// removeSession hides a session, 0206, and tells the user's other terminals,
// 020F, of a single one. Source: docs/protocol/flows.md §10.2.
func (s *Server) removeSession(c *client, pdu wire.PDU) {
	req := new(buddy.IMRemoveSessionReq)
	if err := proto.Unmarshal(pdu.Body, req); err != nil || !im.Kind(req.GetSessionType()).Valid() {
		s.metrics.dropped("bad_body")
		return
	}
	conv := im.ConversationOf(c.user(), im.Kind(req.GetSessionType()), req.GetSessionId())
	s.ask(c, s.db.Owner(conv), pdu, req)
	if conv.Kind == im.Single {
		s.tellOwn(c, wire.RemoveSessionNotify, &buddy.IMRemoveSessionNotify{
			UserId: proto.Uint32(uint32(c.user())), SessionType: req.SessionType, SessionId: req.SessionId,
		})
	}
}

// tellOwn pushes to the user's other terminals, here and on other servers.
func (s *Server) tellOwn(c *client, command wire.Command, m proto.Message) {
	frame := mustFrame(command, m)
	user := uint32(c.user())
	s.push([]uint32{user}, c.conn.ID(), frame)
	s.routes.relay([]uint32{user}, command, frame[wire.HeaderSize:], nil)
}

// usersStatus asks a route_server who is on-line, 020A to 020B. Without one
// the client hears nothing. Source: docs/protocol/flows.md §4.2.
func (s *Server) usersStatus(c *client, pdu wire.PDU) {
	req := new(buddy.IMUsersStatReq)
	if err := proto.Unmarshal(pdu.Body, req); err != nil {
		s.metrics.dropped("bad_body")
		return
	}
	identify(req, c)
	if !c.mayAsk(pdu) {
		return
	}
	if !s.routes.ask(wire.UsersStatusReq, pdu.Seq, req) {
		s.metrics.dropped("no_route_server")
	}
}

// receipt is a receiver's acknowledgement of a delivery, 0302. It changes
// nothing: what was not received is found by unread counts.
// Source: docs/protocol/defects.md A8.
func (s *Server) receipt(c *client, pdu wire.PDU) {
	ack := new(message.IMMsgDataAck)
	if err := proto.Unmarshal(pdu.Body, ack); err != nil {
		s.metrics.dropped("bad_body")
		return
	}
	if !im.Kind(ack.GetSessionType()).Valid() {
		return
	}
	conv := im.ConversationOf(c.user(), im.Kind(ack.GetSessionType()), ack.GetSessionId())
	s.traceTerminal(c, trace.Confirmed, conv, im.MsgID(ack.GetMsgId()), 0)
}

// readAck moves the read cursor, 0303, and tells the user's other terminals,
// 0304. Source: docs/protocol/flows.md §8.1.
func (s *Server) readAck(c *client, pdu wire.PDU) {
	ack := new(message.IMMsgDataReadAck)
	if err := proto.Unmarshal(pdu.Body, ack); err != nil || !im.Kind(ack.GetSessionType()).Valid() {
		s.metrics.dropped("bad_body")
		return
	}
	ack.UserId = proto.Uint32(uint32(c.user()))
	conv := im.ConversationOf(c.user(), im.Kind(ack.GetSessionType()), ack.GetSessionId())
	s.traceTerminal(c, trace.Read, conv, im.MsgID(ack.GetMsgId()), 1)
	if db := s.db.Owner(conv); db != nil {
		db.SendMessage(wire.MsgReadAck, pdu.Seq, ack)
		c.noteRead(db, conv, s.clock())
	} else {
		s.metrics.dropped("no_db_proxy")
	}
	s.tellOwn(c, wire.MsgReadNotify, &message.IMMsgDataReadNotify{
		UserId: ack.UserId, SessionId: ack.SessionId, MsgId: ack.MsgId, SessionType: ack.SessionType,
	})
}

// time answers 0305 with 0306; the body is not looked at.
func (s *Server) time(c *client, pdu wire.PDU) {
	c.conn.SendMessage(wire.TimeRes, pdu.Seq, &message.IMClientTimeRsp{
		ServerTime: proto.Uint32(uint32(s.clock().Unix())),
	})
}

// groupList asks for the user's groups, 0401.
// Source: docs/protocol/flows.md §12.1; docs/protocol/defects.md F2: without a
// db_proxy the original answers an empty body.
func (s *Server) groupList(c *client, pdu wire.PDU) {
	req := new(group.IMNormalGroupListReq)
	if err := proto.Unmarshal(pdu.Body, req); err != nil {
		s.metrics.dropped("bad_body")
		return
	}
	if !s.ask(c, s.db.General(c.conn.ID()), pdu, req) {
		c.conn.SendMessage(wire.GroupListRes, pdu.Seq, &group.IMNormalGroupListRsp{UserId: proto.Uint32(uint32(c.user()))})
	}
}

// groupInfo asks for groups, 0403. Source: docs/protocol/flows.md §12.2.
func (s *Server) groupInfo(c *client, pdu wire.PDU) {
	req := new(group.IMGroupInfoListReq)
	if err := proto.Unmarshal(pdu.Body, req); err != nil {
		s.metrics.dropped("bad_body")
		return
	}
	if !s.ask(c, s.db.General(c.conn.ID()), pdu, req) {
		c.conn.SendMessage(wire.GroupInfoRes, pdu.Seq, &group.IMGroupInfoListRsp{UserId: proto.Uint32(uint32(c.user()))})
	}
}

// groupCreate makes a temporary group, 0405. A normal one, and one of too many
// members, is refused with an answer. Source: docs/protocol/flows.md §12.3;
// docs/protocol/defects.md D14, F5.
func (s *Server) groupCreate(c *client, pdu wire.PDU) {
	req := new(group.IMGroupCreateReq)
	err := proto.Unmarshal(pdu.Body, req)
	if _, known := basedefine.GroupType_name[int32(req.GetGroupType())]; err != nil || !known {
		s.metrics.dropped("bad_body")
		return
	}
	makes := req.GetGroupType() == basedefine.GroupType_GROUP_TYPE_TMP && len(req.GetMemberIdList()) <= im.MaxMembers
	if makes && s.ask(c, s.db.General(c.conn.ID()), pdu, req) {
		return
	}
	c.conn.SendMessage(wire.GroupCreateRes, pdu.Seq, &group.IMGroupCreateRsp{
		UserId: proto.Uint32(uint32(c.user())), ResultCode: proto.Uint32(1), GroupName: req.GroupName,
	})
}

// groupChangeMember adds or removes members, 0407, at the owner of the
// group. Too many at once are refused with an answer.
// Source: docs/protocol/flows.md §12.4; docs/protocol/defects.md D14.
func (s *Server) groupChangeMember(c *client, pdu wire.PDU) {
	req := new(group.IMGroupChangeMemberReq)
	err := proto.Unmarshal(pdu.Body, req)
	if _, known := basedefine.GroupModifyType_name[int32(req.GetChangeType())]; err != nil || !known {
		s.metrics.dropped("bad_body")
		return
	}
	owner := s.db.Owner(im.GroupOf(im.GroupID(req.GetGroupId())))
	if len(req.GetMemberIdList()) <= im.MaxMembers && s.ask(c, owner, pdu, req) {
		return
	}
	c.conn.SendMessage(wire.GroupChangeMemberRes, pdu.Seq, &group.IMGroupChangeMemberRsp{
		UserId: proto.Uint32(uint32(c.user())), ChangeType: req.ChangeType,
		ResultCode: proto.Uint32(1), GroupId: req.GroupId,
	})
}

// groupShield mutes a group, 0409. Source: docs/protocol/flows.md §12.5;
// docs/protocol/defects.md F3.
func (s *Server) groupShield(c *client, pdu wire.PDU) {
	req := new(group.IMGroupShieldReq)
	if err := proto.Unmarshal(pdu.Body, req); err != nil {
		s.metrics.dropped("bad_body")
		return
	}
	if !s.ask(c, s.db.General(c.conn.ID()), pdu, req) {
		c.conn.SendMessage(wire.GroupShieldRes, pdu.Seq, &group.IMGroupShieldRsp{
			UserId: proto.Uint32(uint32(c.user())), GroupId: req.GroupId, ResultCode: proto.Uint32(1),
		})
	}
}

// p2pCommand passes a command on, 0601: to the target and to the user's own
// other terminals. Source: docs/protocol/flows.md §13;
// docs/protocol/defects.md A16 and D7.
func (s *Server) p2pCommand(c *client, pdu wire.PDU) {
	m := new(switchservice.IMP2PCmdMsg)
	if err := proto.Unmarshal(pdu.Body, m); err != nil {
		s.metrics.dropped("bad_body")
		return
	}
	m.FromUserId = proto.Uint32(uint32(c.user()))
	frame := mustFrame(wire.P2PCommand, m)
	targets := bothSides(m)
	s.push(targets, c.conn.ID(), frame)
	s.routes.relay(targets, wire.P2PCommand, frame[wire.HeaderSize:], nil)
}
