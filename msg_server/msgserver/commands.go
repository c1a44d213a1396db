package msgserver

import (
	"google.golang.org/protobuf/proto"

	"teamtalk/internal/link"
	"teamtalk/internal/wire"
	"teamtalk/pb/buddy"
	"teamtalk/pb/login"
	"teamtalk/pb/message"
)

// clientCommand is a row of the table of what clients may send.
type clientCommand struct {
	id      wire.Command
	anybody bool // also before a log-in
	handle  func(c *client, pdu wire.PDU)
}

// clientCommands is the table. What is not in it is ignored, and the
// connection stays: clients send ids that no server ever knew.
// Source: commands.md.
func (s *Server) clientCommands() map[wire.Command]*clientCommand {
	loginPool, general := s.db.Login, s.db.General
	rows := []clientCommand{
		{id: wire.LoginReq, anybody: true, handle: s.login},
		{id: wire.LogoutReq, anybody: true, handle: s.logout},
		{id: wire.DeviceTokenReq, handle: s.deviceToken},
		{id: wire.KickPCReq, handle: s.kickPC},
		{id: wire.PushShieldReq, handle: forward(s, general, func() *login.IMPushShieldReq { return new(login.IMPushShieldReq) })},
		{id: wire.QueryPushShieldReq, handle: forward(s, general, func() *login.IMQueryPushShieldReq { return new(login.IMQueryPushShieldReq) })},

		{id: wire.RecentSessionsReq, handle: forward(s, loginPool, func() *buddy.IMRecentContactSessionReq { return new(buddy.IMRecentContactSessionReq) })},
		{id: wire.UserInfoReq, handle: forward(s, loginPool, func() *buddy.IMUsersInfoReq { return new(buddy.IMUsersInfoReq) })},
		{id: wire.RemoveSessionReq, handle: s.removeSession},
		{id: wire.AllUsersReq, handle: s.allUsers},
		{id: wire.UsersStatusReq, handle: s.usersStatus},
		{id: wire.ChangeAvatarReq, handle: forward(s, general, func() *buddy.IMChangeAvatarReq { return new(buddy.IMChangeAvatarReq) })},
		{id: wire.DepartmentsReq, handle: forward(s, general, func() *buddy.IMDepartmentReq { return new(buddy.IMDepartmentReq) })},
		{id: wire.ChangeSignInfoReq, handle: forward(s, general, func() *buddy.IMChangeSignInfoReq { return new(buddy.IMChangeSignInfoReq) })},

		{id: wire.MsgData, handle: s.sendMessage},
		{id: wire.MsgDataAck, handle: s.receipt},
		{id: wire.MsgReadAck, handle: s.readAck},
		{id: wire.TimeReq, handle: s.time},
		{id: wire.UnreadCountReq, handle: forward(s, loginPool, func() *message.IMUnreadMsgCntReq { return new(message.IMUnreadMsgCntReq) })},
		{id: wire.MsgListReq, handle: forward(s, loginPool, func() *message.IMGetMsgListReq { return new(message.IMGetMsgListReq) })},
		{id: wire.LatestMsgIDReq, handle: forward(s, general, func() *message.IMGetLatestMsgIdReq { return new(message.IMGetLatestMsgIdReq) })},
		{id: wire.MsgByIDReq, handle: forward(s, loginPool, func() *message.IMGetMsgByIdReq { return new(message.IMGetMsgByIdReq) })},

		{id: wire.GroupListReq, handle: s.groupList},
		{id: wire.GroupInfoReq, handle: s.groupInfo},
		{id: wire.GroupCreateReq, handle: s.groupCreate},
		{id: wire.GroupChangeMemberReq, handle: s.groupChangeMember},
		{id: wire.GroupShieldReq, handle: s.groupShield},

		{id: wire.P2PCommand, handle: s.p2pCommand},
		{id: wire.Heartbeat, anybody: true, handle: s.heartbeat},
	}
	table := make(map[wire.Command]*clientCommand, len(rows))
	for i := range rows {
		table[rows[i].id] = &rows[i]
	}
	return table
}

// request is a message of a client that a db_proxy answers.
type request interface {
	proto.Message
	GetUserId() uint32
	GetAttachData() []byte
}

// forward sends a request to a db_proxy under the user of the log-in, and
// with our note of who asked. Without a db_proxy the client hears nothing:
// an empty answer would tell it that there is nothing. Source: flows.md,
// general behaviour; defect F6.
func forward[M request](s *Server, pick func(uint64) *link.Link, fresh func() M) func(*client, wire.PDU) {
	return func(c *client, pdu wire.PDU) {
		m := fresh()
		if err := proto.Unmarshal(pdu.Body, m); err != nil {
			s.metrics.dropped("bad_body")
			return
		}
		s.ask(c, pick(c.conn.ID()), pdu, m)
	}
}

// ask sends a parsed request on and reports whether there was a link for it.
func (s *Server) ask(c *client, l *link.Link, pdu wire.PDU, m request) bool {
	if l == nil {
		s.metrics.dropped("no_db_proxy")
		return false
	}
	identify(m, c)
	return l.SendMessage(pdu.Command, pdu.Seq, m)
}

// Field numbers that all requests share. Source: messages.md.
const (
	fieldUser   = 1
	fieldAttach = 20
)

// identify writes the user of the log-in over whatever the client sent, and
// our note of the connection.
func identify(m request, c *client) {
	message := m.ProtoReflect()
	fields := message.Descriptor().Fields()
	message.Set(fields.ByNumber(fieldUser), protoUint32(uint32(c.user())))
	message.Set(fields.ByNumber(fieldAttach), protoBytes(attachConn(c.conn.ID())))
}
