package msgserver

import (
	"google.golang.org/protobuf/proto"

	"teamtalk/internal/im"
	"teamtalk/internal/link"
	"teamtalk/internal/wire"
	"teamtalk/msg_server/internal/pdubody"
	"teamtalk/pb/buddy"
)

// askReceiver asks a db_proxy whether there is a user who can get a file,
// 0204, and goes on with then or with refuse. Who is logged in here can.
// Originals let a client name anybody: the files of nobody filled the disk.
func (s *Server) askReceiver(ask *fileAsk, user uint32, then, refuse func(*fileAsk)) {
	if len(s.sessions.Of(im.UserID(user))) > 0 {
		then(ask)
		return
	}
	l := s.db.General(ask.client.conn.ID())
	ask.receiver, ask.then, ask.refuse = user, then, refuse
	id, ok := s.files.add(ask)
	if !ok || l == nil {
		s.files.take(id)
		refuse(ask)
		return
	}
	sent := l.SendMessage(wire.UserInfoReq, 0, &buddy.IMUsersInfoReq{
		UserId: proto.Uint32(ask.user), UserIdList: []uint32{user}, AttachData: attach(attachKindFile, id),
	})
	if !sent && s.files.take(id) != nil {
		refuse(ask)
	}
}

// receiverKnown takes the answer to askReceiver; false: it is one to another
// question.
func (s *Server) receiverKnown(body []byte) bool {
	note, _, ok := pdubody.TakeAttach(body)
	if !ok || attached(attachKindFile, note) == 0 {
		return false
	}
	ask := s.files.take(attached(attachKindFile, note))
	if ask == nil || ask.receiver == 0 {
		return true // it took too long
	}
	user := ask.receiver
	ask.receiver = 0
	res := new(buddy.IMUsersInfoRsp)
	if err := proto.Unmarshal(body, res); err == nil {
		for _, u := range res.GetUserInfoList() {
			if u.GetUserId() == user && u.GetStatus() == im.StatusActive {
				ask.then(ask)
				return true
			}
		}
	}
	s.metrics.dropped("file_no_receiver")
	ask.refuse(ask)
	return true
}

// userInfo is the answer to a client's question about accounts, or to one of
// our own.
func (s *Server) userInfo(l *link.Link, pdu wire.PDU) {
	if !s.receiverKnown(pdu.Body) {
		s.userInfoAnswer(l, pdu)
	}
}
