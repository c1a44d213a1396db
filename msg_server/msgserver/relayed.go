package msgserver

import (
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"teamtalk/internal/im"
	"teamtalk/internal/link"
	"teamtalk/internal/trace"
	"teamtalk/internal/wire"
	"teamtalk/msg_server/internal/deliver"
	"teamtalk/msg_server/internal/pdubody"
	"teamtalk/pb/basedefine"
	"teamtalk/pb/buddy"
	"teamtalk/pb/extension"
	"teamtalk/pb/message"
	"teamtalk/pb/server"
	"teamtalk/pb/switchservice"
)

// relayHandler handles one command of the route_servers.
type relayHandler func(body []byte, seq uint16)

// relayHandlers is the table of what route_servers send: our own envelope,
// and what originals send plain. Source: docs/protocol/commands.md.
func (s *Server) relayHandlers() map[wire.Command]relayHandler {
	return map[wire.Command]relayHandler{
		wire.Relay:                   s.relayArrived,
		wire.MsgData:                 s.plainMessage,
		wire.StatusNotify:            s.statusNotify,
		wire.UsersStatusRes:          s.askedStatus,
		wire.APIPresenceRes:          s.presenceAnswer,
		wire.RemoveSessionNotify:     plain(s, wire.RemoveSessionNotify, ownTerminals[*buddy.IMRemoveSessionNotify]),
		wire.MsgReadNotify:           plain(s, wire.MsgReadNotify, ownTerminals[*message.IMMsgDataReadNotify]),
		wire.P2PCommand:              plain(s, wire.P2PCommand, bothSides),
		wire.FileNotify:              plain(s, wire.FileNotify, fileReceiver),
		wire.GroupChangeMemberNotify: s.membersNotice,
		wire.SignInfoChangedNotify:   s.toEverybody(wire.SignInfoChangedNotify),
		wire.AvatarChangedNotify:     s.toEverybody(wire.AvatarChangedNotify),
		wire.ServerKickUser:          s.serverKick,
		wire.PCLoginStatus:           s.pcLoginStatus,
	}
}

// LinkPDU is link.Handler's.
func (r *routes) LinkPDU(_ *link.Link, pdu wire.PDU) {
	if handle := r.server.relayed[pdu.Command]; handle != nil {
		handle(pdu.Body, pdu.Seq)
		return
	}
	r.server.metrics.dropped("unknown_command")
}

// plain handles a relayed push whose targets stand in its body.
func plain[M any, P interface {
	*M
	proto.Message
}](s *Server, command wire.Command, targets func(P) []uint32) relayHandler {
	return func(body []byte, _ uint16) {
		m := P(new(M))
		if err := proto.Unmarshal(body, m); err != nil {
			s.metrics.dropped("bad_body")
			return
		}
		s.push(targets(m), 0, wire.Append(nil, command, 0, body))
	}
}

func ownTerminals[M interface{ GetUserId() uint32 }](m M) []uint32 { return []uint32{m.GetUserId()} }

// bothSides are the two users of a command, once if they are one.
func bothSides(m *switchservice.IMP2PCmdMsg) []uint32 {
	return slices.Compact([]uint32{m.GetFromUserId(), m.GetToUserId()})
}

func (s *Server) toEverybody(command wire.Command) relayHandler {
	return func(body []byte, _ uint16) {
		s.pushAll(wire.Append(nil, command, 0, body), func(*Session) bool { return true })
	}
}

// relayArrived takes an envelope of another msg_server, 0783.
func (s *Server) relayArrived(body []byte, _ uint16) {
	envelope := new(extension.IMRelay)
	if err := proto.Unmarshal(body, envelope); err != nil {
		s.metrics.dropped("bad_body")
		return
	}
	command := wire.Command(envelope.GetCommand())
	frame := wire.Append(make([]byte, 0, wire.HeaderSize+len(envelope.GetBody())), command, 0, envelope.GetBody())
	order := envelope.GetOrder()
	switch {
	case order == nil && len(envelope.GetTargets()) == 0:
		s.pushAll(frame, func(*Session) bool { return true })
	case order == nil && (command == wire.FileReady || command == wire.FileMoved):
		s.pushFileNews(envelope.GetTargets(), frame)
	case order == nil && command == wire.GroupChangeMemberNotify:
		s.membersNotice(envelope.GetBody(), 0)
	case order == nil:
		s.push(envelope.GetTargets(), 0, frame)
	default:
		since := deliver.Unknown
		if order.SincePreviousMs != nil {
			since = time.Duration(order.GetSincePreviousMs()) * time.Millisecond
		}
		conv := im.GroupOf(im.GroupID(order.GetFirst()))
		if order.GetSessionType() == basedefine.SessionType_SESSION_TYPE_SINGLE {
			conv = im.SingleOf(im.UserID(order.GetFirst()), im.UserID(order.GetSecond()))
		}
		id := im.MsgID(order.GetMsgId())
		s.traceMessage(trace.Arrived, conv, id)
		s.offer(&deliver.Message{Conv: conv, ID: id, SincePrevious: since}, envelope.GetTargets(), 0, frame)
	}
}

// plainMessage takes a message that came over an original route_server or
// from an original msg_server: without an order and, in a group, without its
// members. Source: docs/protocol/flows.md §6 and §7.
func (s *Server) plainMessage(body []byte, _ uint16) {
	m := new(message.IMMsgData)
	if err := proto.Unmarshal(body, m); err != nil {
		s.metrics.dropped("bad_body")
		return
	}
	kind := im.MsgType(m.GetMsgType()).Kind()
	if kind == 0 || m.GetMsgId() == 0 {
		s.metrics.dropped("bad_body")
		return
	}
	m.AttachData, m.OperationId, m.ClientMsgId, m.SincePreviousMs, m.Members = nil, nil, nil, nil, nil
	o := &outgoing{
		msg: m, from: im.UserID(m.GetFromUserId()), since: deliver.Unknown,
		conv: im.ConversationOf(im.UserID(m.GetFromUserId()), kind, m.GetToSessionId()),
	}
	if kind == im.Group {
		s.askMembers(o, false)
		return
	}
	s.deliver(o)
}

// statusAnswer passes 020B to the client who asked, or it is the answer to a
// question of our own.
func (s *Server) statusAnswer(body []byte, seq uint16) {
	if note, _, ok := pdubody.TakeAttach(body); ok {
		if id := attached(attachKindFile, note); id != 0 {
			s.fileStatus(id, body)
			return
		}
		if id := attached(attachKindJoin, note); id != 0 {
			s.joins.answered(id)
			return
		}
	}
	s.passTo(wire.PDU{Header: wire.Header{Command: wire.UsersStatusRes, Seq: seq}, Body: body})
}

// serverKick is a log-in on another server, 070D: those of the same class
// here give way. Source: docs/protocol/flows.md §4.
func (s *Server) serverKick(body []byte, _ uint16) {
	m := new(server.IMServerKickUser)
	if err := proto.Unmarshal(body, m); err != nil || !validClient(m.GetClientType()) {
		s.metrics.dropped("bad_body")
		return
	}
	for _, session := range s.sessions.Of(im.UserID(m.GetUserId())) {
		switch {
		case !session.Client.SameClass(im.ClientType(m.GetClientType())):
		case s.crossed(session, m):
			s.routes.displace(session) // it may have come there before the other one did
		default:
			s.kick(session, basedefine.KickReasonType(m.GetReason()))
		}
	}
}

// crossFor is how far apart two log-ins may be that crossed on their way
// between the servers, the difference of their clocks included.
const crossFor = 2 * time.Second

// crossed reports whether a session came at the same time as the log-in that
// is to displace it, and counts as the later one: of two log-ins that cross,
// one stays.
func (s *Server) crossed(session *Session, m *server.IMServerKickUser) bool {
	if m.LoginMs == nil || session.Conn.displaced.Load() {
		return false
	}
	later := time.Duration(session.Opened-int64(m.GetLoginMs())) * time.Millisecond
	return later > 0 && later < crossFor || later == 0 && s.node.ServerID() > m.GetServerId()
}

// pcLoginStatus tells a user's phones whether his PC is on, 070E to 020E.
// Source: docs/protocol/flows.md §4.1.
func (s *Server) pcLoginStatus(body []byte, _ uint16) {
	m := new(server.IMServerPCLoginStatusNotify)
	if err := proto.Unmarshal(body, m); err != nil {
		s.metrics.dropped("bad_body")
		return
	}
	status := basedefine.UserStatType_USER_STATUS_OFFLINE
	if m.GetLoginStatus() == 1 {
		status = basedefine.UserStatType_USER_STATUS_ONLINE
	}
	frame := mustFrame(wire.PCLoginStatusNotify, &buddy.IMPCLoginStatusNotify{UserId: m.UserId, LoginStat: status.Enum()})
	for _, session := range s.sessions.Of(im.UserID(m.GetUserId())) {
		if session.Client.Mobile() {
			session.Conn.push(frame)
		}
	}
}
