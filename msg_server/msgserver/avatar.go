package msgserver

import (
	"google.golang.org/protobuf/proto"

	"teamtalk/internal/link"
	"teamtalk/internal/wire"
	"teamtalk/msg_server/internal/pdubody"
	"teamtalk/pb/buddy"
)

// changeAvatar has a new avatar stored, 020C. The answer does not say which
// it was, so our note of who asked does. Source: docs/protocol/flows.md §11;
// docs/protocol/defects.md F4.
func (s *Server) changeAvatar(c *client, pdu wire.PDU) {
	req := new(buddy.IMChangeAvatarReq)
	if err := proto.Unmarshal(pdu.Body, req); err != nil {
		s.metrics.dropped("bad_body")
		return
	}
	db := s.db.General(c.conn.ID())
	if db == nil {
		s.metrics.dropped("no_db_proxy")
		return
	}
	req.UserId = proto.Uint32(uint32(c.user()))
	req.AttachData = append(attach(attachKindAvatar, c.conn.ID()), req.GetAvatarUrl()...)
	db.SendMessage(pdu.Command, pdu.Seq, req)
}

// avatarChanged answers whoever asked and tells the user's other terminals
// on every server, 020D; everybody hears of the new avatar, 0212. Originals
// know neither between servers: theirs hear nothing.
func (s *Server) avatarChanged(_ *link.Link, pdu wire.PDU) {
	note, body, ok := pdubody.TakeAttach(pdu.Body)
	res := new(buddy.IMChangeAvatarRsp)
	if !ok || proto.Unmarshal(body, res) != nil {
		s.metrics.dropped("bad_body")
		return
	}
	asker := attached(attachKindAvatar, note[:min(len(note), attachSize)])
	if c := s.clientOf(asker); c != nil && c.session.Load() != nil {
		s.answerClient(c, pdu.Command, pdu.Seq, body)
	} else {
		s.metrics.dropped("client_gone")
	}
	if res.GetResultCode() != 0 || asker == 0 {
		return
	}
	own := []uint32{res.GetUserId()}
	s.push(own, asker, wire.Append(nil, wire.ChangeAvatarRes, 0, body))
	changed := mustFrame(wire.AvatarChangedNotify, &buddy.IMAvatarChangedNotify{
		ChangedUserId: res.UserId, AvatarUrl: proto.String(string(note[attachSize:])),
	})
	s.pushAll(changed, func(*Session) bool { return true })
	if s.routes.capable() {
		s.routes.relay(own, wire.ChangeAvatarRes, body, nil)
		s.routes.relay(nil, wire.AvatarChangedNotify, changed[wire.HeaderSize:], nil)
	}
}
