package msgserver

import (
	"slices"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"teamtalk/internal/im"
	"teamtalk/internal/link"
	"teamtalk/internal/wire"
	"teamtalk/msg_server/internal/pdubody"
	"teamtalk/pb/buddy"
	"teamtalk/pb/group"
)

// answer handles one command of the db_proxies.
type answer func(l *link.Link, pdu wire.PDU)

// dbAnswers is the table of what db_proxies send.
// Source: docs/protocol/commands.md.
func (s *Server) dbAnswers() map[wire.Command]answer {
	ignore := func(*link.Link, wire.PDU) {}
	return map[wire.Command]answer{
		wire.ValidateRes:          s.validated,
		wire.DeviceTokenRes:       ignore, // answered when it was asked
		wire.PushShieldRes:        s.pass,
		wire.QueryPushShieldRes:   s.pass,
		wire.RecentSessionsRes:    s.pass,
		wire.UserInfoRes:          s.userInfo,
		wire.RemoveSessionRes:     s.pass,
		wire.AllUsersRes:          s.allUsersAnswer,
		wire.ChangeAvatarRes:      s.avatarChanged,
		wire.DepartmentsRes:       s.pass,
		wire.ChangeSignInfoRes:    s.signatureChanged,
		wire.MsgData:              s.stored,
		wire.UnreadCountRes:       s.unreadAnswer,
		wire.MsgListRes:           s.pass,
		wire.LatestMsgIDRes:       s.pass,
		wire.MsgByIDRes:           s.pass,
		wire.GroupListRes:         s.pass,
		wire.GroupInfoRes:         s.groupInfoAnswer,
		wire.GroupCreateRes:       s.pass,
		wire.GroupChangeMemberRes: s.membersChanged,
		wire.DeviceTokensRes:      s.notifierAnswer,
		wire.GroupShieldsRes:      s.notifierAnswer,
		wire.GroupShieldRes:       s.pass,
		wire.FileHasOfflineRes:    s.offlineAnswer,
		wire.TerminalRes:          s.terminalAnswer,
		wire.BacklogRes:           s.backlogAnswer,
		wire.UserClosed:           s.userClosed,
	}
}

// DBPDU is dblink.Handler's.
func (s *Server) DBPDU(l *link.Link, pdu wire.PDU) {
	if handle := s.answers[pdu.Command]; handle != nil {
		handle(l, pdu)
		return
	}
	s.metrics.dropped("unknown_command")
}

// DBDown is dblink.Handler's: what l was asked and can be asked again is.
func (s *Server) DBDown(l *link.Link) {
	s.sends.lost(l)
	s.askElsewhere(l)
}

// DBMoved is dblink.Handler's: as if l had ended, but for the messages under
// way. Its db_proxy lives and may store some of them yet. Stored elsewhere as
// well, the ones it refuses would come behind younger ones that it stores, so
// they wait for its answer, and what follows them waits, too.
func (s *Server) DBMoved(l *link.Link) { s.askElsewhere(l) }

func (s *Server) askElsewhere(l *link.Link) {
	s.users.lost(l)
	s.notifier.Lost(l)
	s.revalidate(l)
	s.askAgain(l)
}

// DBEpoch is dblink.Handler's: the database went back, and ids that were given
// out may be given again. What is known of them is forgotten: the order of
// conversations, where terminals stand, and what old clients may repeat.
func (s *Server) DBEpoch() {
	s.epoch.Add(1)
	s.metrics.epochs.Inc()
	s.log.Warn("the database went back to an earlier state: delivery begins anew")
	s.order.Reset()
	s.sessions.Each(func(session *Session) {
		if t := session.Conn.terminal; t != nil {
			session.Conn.conn.Do(func() { t.Reset(s.engine.Now()) })
		}
	})
}

// pass gives an answer to the client who asked, without our attach_data.
func (s *Server) pass(_ *link.Link, pdu wire.PDU) { s.passTo(pdu) }

// passTo returns the client an answer was given to; nil if he is gone.
func (s *Server) passTo(pdu wire.PDU) *client {
	note, body, ok := pdubody.TakeAttach(pdu.Body)
	if !ok {
		s.metrics.dropped("bad_body")
		return nil
	}
	c := s.clientOf(connOf(note))
	if c == nil || c.session.Load() == nil {
		s.metrics.dropped("client_gone")
		return nil
	}
	if !c.queries.end(pdu.Seq) {
		s.metrics.dropped("answered_before")
		return nil
	}
	s.answerClient(c, pdu.Command, pdu.Seq, body)
	return c
}

// splitLists are the answers that Android gets in pieces, and the field of
// their list. Source: docs/protocol/defects.md F9 and F10.
var splitLists = map[wire.Command]protowire.Number{
	wire.AllUsersRes:       3,
	wire.RecentSessionsRes: 2,
	wire.UnreadCountRes:    3,
}

// trimLists are the answers of which Android gets what fits.
var trimLists = map[wire.Command]protowire.Number{
	wire.MsgListRes: 5,
	wire.MsgByIDRes: 4,
}

func (s *Server) answerClient(c *client, command wire.Command, seq uint16, body []byte) {
	const limit = wire.MaxAndroid - wire.HeaderSize
	if len(body) <= limit || c.session.Load().Client != im.Android {
		c.conn.SendPDU(command, seq, body)
		return
	}
	parts := [][]byte{body}
	if list, ok := splitLists[command]; ok {
		parts, _ = pdubody.Split(body, list, limit)
	} else if list, ok := trimLists[command]; ok {
		parts, _ = pdubody.Split(body, list, limit)
		parts = parts[:min(1, len(parts))]
	}
	for _, part := range parts {
		if len(part) > limit {
			s.metrics.dropped("over_android_limit")
			continue
		}
		c.conn.SendPDU(command, seq, part)
	}
}

// signatureChanged answers the client, 0214, and tells everybody, 0215.
// Source: docs/protocol/flows.md §11.
func (s *Server) signatureChanged(_ *link.Link, pdu wire.PDU) {
	s.passTo(pdu)
	res := new(buddy.IMChangeSignInfoRsp)
	if err := proto.Unmarshal(pdu.Body, res); err != nil || res.GetResultCode() != 0 {
		return
	}
	s.tellAll(wire.SignInfoChangedNotify, &buddy.IMSignInfoChangedNotify{
		ChangedUserId: res.UserId, SignInfo: proto.String(res.GetSignInfo()),
	})
}

// tellAll pushes to every connection of every server.
func (s *Server) tellAll(command wire.Command, m proto.Message) {
	frame := mustFrame(command, m)
	if s.routes.toAll(command, frame[wire.HeaderSize:]) {
		return // an original route_server sends it back to us, too
	}
	s.pushAll(frame, func(*Session) bool { return true })
}

func (s *Server) pushAll(frame []byte, who func(*Session) bool) {
	s.sessions.Each(func(session *Session) {
		if who(session) {
			session.Conn.push(frame)
		}
	})
}

// membersChanged answers the client, 0408, and tells the members, 040B, once
// per connection. Source: docs/protocol/flows.md §12.4;
// docs/protocol/defects.md B18.
func (s *Server) membersChanged(_ *link.Link, pdu wire.PDU) {
	c := s.passTo(pdu)
	res := new(group.IMGroupChangeMemberRsp)
	if err := proto.Unmarshal(pdu.Body, res); err != nil || res.GetResultCode() != 0 {
		return
	}
	note := &group.IMGroupChangeMemberNotify{
		UserId: res.UserId, ChangeType: res.ChangeType, GroupId: res.GroupId,
		CurUserIdList: res.GetCurUserIdList(), ChgUserIdList: res.GetChgUserIdList(),
	}
	frame := mustFrame(wire.GroupChangeMemberNotify, note)
	targets := slices.Concat(note.GetChgUserIdList(), note.GetCurUserIdList())
	slices.Sort(targets)
	targets = slices.Compact(targets)
	except := uint64(0)
	if c != nil {
		except = c.conn.ID()
	}
	s.tellMembers(note, except, frame)
	s.routes.relay(targets, wire.GroupChangeMemberNotify, frame[wire.HeaderSize:], nil)
}

// groupInfoAnswer is the answer to a client's question, or to our own about
// the members of a group.
func (s *Server) groupInfoAnswer(_ *link.Link, pdu wire.PDU) {
	note, _, ok := pdubody.TakeAttach(pdu.Body)
	if !ok {
		s.metrics.dropped("bad_body")
		return
	}
	if id := attached(attachKindAsk, note); id != 0 {
		s.membersAnswered(id, pdu.Body)
		return
	}
	if id := attached(attachKindFile, note); id != 0 {
		s.memberKnown(id, pdu.Body)
		return
	}
	s.passTo(pdu)
}
