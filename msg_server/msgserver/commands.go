package msgserver

import (
	"maps"
	"slices"

	"google.golang.org/protobuf/proto"

	"teamtalk/internal/link"
	"teamtalk/internal/wire"
	"teamtalk/pb/buddy"
	"teamtalk/pb/file"
	"teamtalk/pb/login"
	"teamtalk/pb/message"
)

// clientCommand is a row of the table of what clients may send.
type clientCommand struct {
	id      wire.Command
	anybody bool // also before a log-in
	reads   bool // changes nothing: asked again elsewhere when its db_proxy is lost
	handle  func(c *client, pdu wire.PDU)
}

// clientCommands is the table. What is not in it is ignored, and the
// connection stays: clients send ids that no server ever knew.
// Source: docs/protocol/commands.md.
func (s *Server) clientCommands() map[wire.Command]*clientCommand {
	loginPool, general := s.db.Login, s.db.General
	rows := []clientCommand{
		{id: wire.LoginReq, anybody: true, handle: s.login},
		{id: wire.LogoutReq, anybody: true, handle: s.logout},
		{id: wire.DeviceTokenReq, handle: s.deviceToken},
		{id: wire.KickPCReq, handle: s.kickPC},
		{id: wire.PushShieldReq, handle: forward[login.IMPushShieldReq](s, general)},
		{id: wire.QueryPushShieldReq, reads: true, handle: forward[login.IMQueryPushShieldReq](s, general)},

		{id: wire.RecentSessionsReq, reads: true, handle: forward[buddy.IMRecentContactSessionReq](s, loginPool)},
		{id: wire.UserInfoReq, reads: true, handle: forward[buddy.IMUsersInfoReq](s, loginPool)},
		{id: wire.RemoveSessionReq, handle: s.removeSession},
		{id: wire.AllUsersReq, reads: true, handle: s.allUsers},
		{id: wire.UsersStatusReq, handle: s.usersStatus},
		{id: wire.ChangeAvatarReq, handle: s.changeAvatar},
		{id: wire.DepartmentsReq, reads: true, handle: forward[buddy.IMDepartmentReq](s, general)},
		{id: wire.ChangeSignInfoReq, handle: forward[buddy.IMChangeSignInfoReq](s, general)},

		{id: wire.MsgData, handle: s.sendMessage},
		{id: wire.MsgDataAck, handle: s.receipt},
		{id: wire.MsgReadAck, handle: s.readAck},
		{id: wire.MsgDelivered, handle: s.deliveredTo},
		{id: wire.TimeReq, handle: s.time},
		{id: wire.UnreadCountReq, reads: true, handle: s.unreadCount},
		{id: wire.MsgListReq, reads: true, handle: forward[message.IMGetMsgListReq](s, loginPool)},
		{id: wire.LatestMsgIDReq, reads: true, handle: forward[message.IMGetLatestMsgIdReq](s, general)},
		{id: wire.MsgByIDReq, reads: true, handle: forward[message.IMGetMsgByIdReq](s, loginPool)},

		{id: wire.GroupListReq, reads: true, handle: s.groupList},
		{id: wire.GroupInfoReq, reads: true, handle: s.groupInfo},
		{id: wire.GroupCreateReq, handle: s.groupCreate},
		{id: wire.GroupChangeMemberReq, handle: s.groupChangeMember},
		{id: wire.GroupShieldReq, handle: s.groupShield},

		{id: wire.FileTokenReq, handle: s.fileToken},
		{id: wire.FileReq, handle: s.fileRequest},
		{id: wire.FileHasOfflineReq, reads: true, handle: forward[file.IMFileHasOfflineReq](s, general)},
		{id: wire.FileAddOfflineReq, handle: s.addOffline},
		{id: wire.FileDelOfflineReq, handle: s.delOffline},

		{id: wire.P2PCommand, handle: s.p2pCommand},
		{id: wire.Heartbeat, anybody: true, handle: s.heartbeat},
	}
	table := make(map[wire.Command]*clientCommand, len(rows))
	for i := range rows {
		table[rows[i].id] = &rows[i]
	}
	return table
}

// Commands returns what this server handles, by who sends it, for
// docs/protocol.md.
func (s *Server) Commands() map[string][]wire.Command {
	return map[string][]wire.Command{
		"client":       slices.Collect(maps.Keys(s.commands)),
		"db_proxy":     append(slices.Collect(maps.Keys(s.answers)), wire.StopReceive), // which package dblink takes
		"route_server": slices.Collect(maps.Keys(s.relayed)),
		"file_server":  slices.Collect(maps.Keys(s.ofFiles)),
		"push_server":  {wire.PushToUserRes}, // which package notify takes
	}
}

// request is a message of a client that a db_proxy answers.
type request interface {
	proto.Message
	GetUserId() uint32
	GetAttachData() []byte
}

// requestOf says that M is the type behind a request.
type requestOf[M any] interface {
	*M
	request
}

// forward sends a request to a db_proxy under the user of the log-in, and
// with our note of who asked. Without a db_proxy the client hears nothing:
// an empty answer would tell it that there is nothing.
// Source: docs/protocol/flows.md, "General behaviour";
// docs/protocol/defects.md F6.
func forward[M any, R requestOf[M]](s *Server, pick func(uint64) *link.Link) func(*client, wire.PDU) {
	return func(c *client, pdu wire.PDU) {
		m := R(new(M))
		if err := proto.Unmarshal(pdu.Body, m); err != nil {
			s.metrics.dropped("bad_body")
			return
		}
		s.ask(c, pick(c.conn.ID()), pdu, m)
	}
}

// ask sends a parsed request on and reports whether there was a link for it.
// A client that asks too much is closed.
func (s *Server) ask(c *client, l *link.Link, pdu wire.PDU, m request) bool {
	if l == nil {
		s.metrics.dropped("no_db_proxy")
		return false
	}
	if !c.mayAsk(pdu) {
		return true
	}
	identify(m, c)
	if row := s.commands[pdu.Command]; row != nil && row.reads {
		c.queries.repeatable(pdu, m, l)
	}
	return l.SendMessage(pdu.Command, pdu.Seq, m)
}

// askAgain asks elsewhere what clients wait for from l, which is lost, or whose
// database is away, if that changes nothing.
func (s *Server) askAgain(l *link.Link) {
	s.sessions.Each(func(session *Session) {
		c := session.Conn
		other := s.db.General(c.conn.ID())
		if other == nil || other == l {
			return
		}
		for _, q := range c.queries.elsewhere(s.clock(), l, other) {
			other.SendMessage(q.command, q.seq, q.request)
		}
	})
}

// Field numbers that all requests share. Source: docs/protocol/messages.md.
const (
	fieldUser   = 1
	fieldAttach = 20
)

// identify writes the user of the log-in over whatever the client sent, and
// our note of the connection.
func identify(m request, c *client) {
	fields, set := m.ProtoReflect().Descriptor().Fields(), m.ProtoReflect().Set
	set(fields.ByNumber(fieldUser), protoUint32(uint32(c.user())))
	set(fields.ByNumber(fieldAttach), protoBytes(attachConn(c.conn.ID())))
}
