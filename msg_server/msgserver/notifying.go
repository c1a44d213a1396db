package msgserver

import (
	"slices"

	"teamtalk/internal/im"
	"teamtalk/internal/link"
	"teamtalk/internal/notify"
	"teamtalk/internal/wire"
)

// newNotifier makes what decides about notifications for phones. It asks over
// the links of this server.
func newNotifier(s *Server, deps Deps) (*notify.Notifier, error) {
	return notify.New(notify.Config{
		PushServers: s.cfg.PushServers, AESKey: []byte(s.cfg.AESKey.Reveal()),
	}, notify.Deps{
		Node:  s.node,
		DB:    func() *link.Link { return s.db.General(s.notifySeed.Add(1)) },
		Route: s.routes.live.Oldest,
		Phone: func(user im.UserID) bool {
			return slices.ContainsFunc(s.sessions.Of(user), func(session *Session) bool { return session.Client.Mobile() })
		},
		Log: deps.Log, Reg: deps.Reg,
	})
}

// notifyPhones has phones notified of a message that came in here: servers
// that it is relayed to do not. Source: docs/protocol/defects.md E1.
func (s *Server) notifyPhones(o *outgoing) {
	if !s.notifier.Enabled() {
		return
	}
	s.notifier.Offer(&notify.Message{
		From: o.from, Conv: o.conv, Type: im.MsgType(o.msg.GetMsgType()), Data: o.msg.GetMsgData(), Members: o.members,
	})
}

// notifierAnswer takes an answer to a question of the notifier.
func (s *Server) notifierAnswer(_ *link.Link, pdu wire.PDU) {
	if !s.notifier.Answered(pdu) {
		s.metrics.dropped("unknown_command")
	}
}

// userInfoAnswer is the answer to a client's question, or to the notifier's.
func (s *Server) userInfoAnswer(l *link.Link, pdu wire.PDU) {
	if !s.notifier.Answered(pdu) {
		s.pass(l, pdu)
	}
}

// askedStatus is the answer of a route_server to the notifier, or to a client.
func (s *Server) askedStatus(body []byte, seq uint16) {
	pdu := wire.PDU{Header: wire.Header{Command: wire.UsersStatusRes, Seq: seq}, Body: body}
	if !s.notifier.Answered(pdu) {
		s.statusAnswer(body, seq)
	}
}

// presenceAnswer is the answer of a route_server of ours to the notifier.
func (s *Server) presenceAnswer(body []byte, seq uint16) {
	s.notifierAnswer(nil, wire.PDU{Header: wire.Header{Command: wire.APIPresenceRes, Seq: seq}, Body: body})
}
