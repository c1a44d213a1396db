package msgserver

import (
	"math/rand/v2"
	"slices"

	"google.golang.org/protobuf/proto"

	"teamtalk/internal/im"
	"teamtalk/internal/link"
	"teamtalk/internal/share"
	"teamtalk/internal/wire"
	"teamtalk/pb/basedefine"
	"teamtalk/pb/extension"
	"teamtalk/pb/group"
	"teamtalk/pb/message"
)

// Files of messages: this server says with a signed token who may send or
// fetch one, and stores the message of a file that is complete. The bytes go
// over HTTP to a file_server. Source: docs/files.md.

// place is where a file_server takes and serves files of messages.
type place struct{ name, url string }

// placed takes the word of a file_server where it is, 0584.
func (fs *fileServers) placed(l *link.Link, body []byte) {
	m := new(extension.IMFileServerInfo)
	if err := proto.Unmarshal(body, m); err != nil || !share.ValidID(share.NewID(m.GetName())) || m.GetUrl() == "" {
		fs.server.metrics.dropped("bad_body")
		return
	}
	fs.mu.Lock()
	defer fs.mu.Unlock()
	fs.places[l] = place{m.GetName(), m.GetUrl()}
}

// place returns the file_server of that name. When it is not linked, or name
// is "", it returns any: behind a shared store each has all files.
func (fs *fileServers) place(name string) (found place, ok bool) {
	fs.mu.RLock()
	defer fs.mu.RUnlock()
	if len(fs.places) == 0 {
		return place{}, false
	}
	n := rand.IntN(len(fs.places))
	for _, p := range fs.places {
		if p.name == name {
			return p, true
		}
		if n == 0 {
			found = p
		}
		n--
	}
	return found, true
}

// tokenAsk is a client's wish for a token.
type tokenAsk struct {
	file     string // "" begins a new one
	download bool
	conv     im.Conversation
}

// fileToken lets a client send or fetch a file of a conversation of his, 0581
// to 0582.
func (s *Server) fileToken(c *client, pdu wire.PDU) {
	req := new(extension.IMFileTokenReq)
	if err := proto.Unmarshal(pdu.Body, req); err != nil {
		s.metrics.dropped("bad_body")
		return
	}
	if !c.files.Load() {
		s.metrics.dropped("not_capable")
		return
	}
	kind := im.Kind(req.GetSessionType())
	ask := &fileAsk{client: c, seq: pdu.Seq, user: uint32(c.user()), token: &tokenAsk{
		file: req.GetFileId(), download: req.GetDownload(),
		conv: im.ConversationOf(c.user(), kind, req.GetSessionId()),
	}}
	switch {
	case !kind.Valid(), req.GetSessionId() == 0, kind == im.Single && im.UserID(req.GetSessionId()) == c.user(),
		req.GetDownload() && req.GetFileId() == "", req.GetFileId() != "" && !share.ValidID(req.GetFileId()):
		s.refuseToken(ask, im.Invalid)
	case kind == im.Single && req.GetFileId() != "":
		s.giveToken(ask)
	case kind == im.Single:
		s.askReceiver(ask, req.GetSessionId(), s.giveToken, func(ask *fileAsk) { s.refuseToken(ask, im.Denied) })
	default:
		if code := s.askMembership(ask, ask.token.conv.Group); code != im.OK {
			s.refuseToken(ask, code)
		}
	}
}

// askMembership asks who is in the group of a token or of a file that moves,
// 0403.
func (s *Server) askMembership(ask *fileAsk, id im.GroupID) im.Code {
	l := s.db.Owner(im.GroupOf(id))
	if l == nil {
		return im.Unavailable
	}
	n, ok := s.files.add(ask)
	if !ok {
		return im.Busy
	}
	l.SendMessage(wire.GroupInfoReq, 0, &group.IMGroupInfoListReq{
		UserId: proto.Uint32(ask.user),
		GroupVersionList: []*basedefine.GroupVersionInfo{
			{GroupId: proto.Uint32(uint32(id)), Version: proto.Uint32(0)},
		},
		AttachData: attach(attachKindFile, n),
	})
	return im.OK
}

// memberKnown takes the answer to askMembership.
func (s *Server) memberKnown(id uint64, body []byte) {
	ask := s.files.take(id)
	if ask == nil || ask.token == nil && ask.moved == nil {
		return // it took too long
	}
	res := new(group.IMGroupInfoListRsp)
	err := proto.Unmarshal(body, res)
	var members []uint32
	if err == nil && len(res.GetGroupInfoList()) > 0 {
		members = res.GetGroupInfoList()[0].GetGroupMemberList()
	}
	isMember := slices.Contains(members, ask.user)
	switch {
	case ask.token != nil && isMember:
		s.giveToken(ask)
	case ask.token != nil:
		s.refuseToken(ask, im.Denied)
	case isMember:
		s.tellMoved(ask.moved, slices.DeleteFunc(members, func(u uint32) bool { return u == ask.user }))
	default:
		s.metrics.dropped("file_not_allowed")
	}
}

func (s *Server) giveToken(ask *fileAsk) {
	at, ok := s.fileServers.place(share.ServerOf(ask.token.file))
	if !ok {
		s.metrics.dropped("no_file_server")
		s.refuseToken(ask, im.Unavailable)
		return
	}
	g := share.Grant{Right: share.Upload, File: ask.token.file, User: im.UserID(ask.user), Conv: ask.token.conv}
	if ask.token.download {
		g.Right = share.Download
	}
	if g.File == "" {
		g.File = share.NewID(at.name)
	}
	token, expires, err := s.signer.Sign(g)
	if err != nil {
		s.log.Error("token not signed", "error", err)
		s.refuseToken(ask, im.Internal)
		return
	}
	ask.client.conn.SendMessage(wire.FileTokenRes, ask.seq, &extension.IMFileTokenRsp{
		ResultCode: proto.Uint32(uint32(im.OK)), FileId: proto.String(g.File), Url: proto.String(at.url),
		Token: proto.String(token), Expires: proto.Uint32(uint32(expires.Unix())),
	})
}

func (s *Server) refuseToken(ask *fileAsk, code im.Code) {
	ask.client.conn.SendMessage(wire.FileTokenRes, ask.seq, &extension.IMFileTokenRsp{
		ResultCode: proto.Uint32(uint32(code)),
	})
}

// sharedFile is a complete file whose message is being stored.
type sharedFile struct {
	from *link.Link // the file_server that asked
	*extension.IMFileStored
}

// fileStored has the message of a complete file stored, 0585 to 0586. The
// operation id is made of the file's: whoever is asked, it is stored once.
func (s *Server) fileStored(l *link.Link, body []byte) {
	f := &sharedFile{l, new(extension.IMFileStored)}
	if err := proto.Unmarshal(body, f.IMFileStored); err != nil {
		s.metrics.dropped("bad_body")
		return
	}
	user, kind := im.UserID(f.GetFromUserId()), im.Kind(f.GetSessionType())
	name, err := share.CleanName(f.GetFileName())
	switch {
	case s.stopping.Load():
		s.answerShared(f, im.Unavailable, 0)
		return
	case err != nil, !share.ValidID(f.GetFileId()), !kind.Valid(), user == 0, f.GetToSessionId() == 0:
		s.answerShared(f, im.Invalid, 0)
		return
	}
	kindOfText := im.SingleText
	if kind == im.Group {
		kindOfText = im.GroupText
	}
	now := s.clock()
	conv := im.ConversationOf(user, kind, f.GetToSessionId())
	s.sends.start(&pending{
		shared: f, user: user, created: now, conv: conv,
		op: im.OperationOf(im.OfFile, conv, f.GetFileId()), former: im.FormerOperationOf("file:" + f.GetFileId()),
		msg: &message.IMMsgData{
			FromUserId: f.FromUserId, ToSessionId: f.ToSessionId, MsgId: proto.Uint32(0),
			CreateTime: proto.Uint32(uint32(now.Unix())), MsgType: basedefine.MsgType(kindOfText).Enum(),
			MsgData: s.crypt.Encrypt(share.Text(f.GetFileId(), name, f.GetFileSize())),
		},
	}, 0)
}

// answerShared says what became of the message of a file.
func (s *Server) answerShared(f *sharedFile, code im.Code, id uint32) {
	f.from.SendMessage(wire.FileStoredAck, 0, &extension.IMFileStoredAck{
		FileId: f.FileId, ResultCode: proto.Uint32(uint32(code)), MsgId: proto.Uint32(id),
	})
}

// fileReady tells whoever gets the message that its file is complete, 0583:
// clients here and on other servers that understand it.
func (s *Server) fileReady(o *outgoing, f *sharedFile) {
	frame := mustFrame(wire.FileReady, &extension.IMFileReady{
		FileId: f.FileId, FromUserId: f.FromUserId, SessionType: f.SessionType, ToSessionId: f.ToSessionId,
		MsgId: o.msg.MsgId, FileName: f.FileName, FileSize: f.FileSize, Hash: f.GetHash(),
	})
	s.tellFileNews(o.targets(), wire.FileReady, frame)
}

// tellFileNews passes news of a file on to clients here and on other servers
// that understand them.
func (s *Server) tellFileNews(targets []uint32, command wire.Command, frame []byte) {
	s.pushFileNews(targets, frame)
	if s.routes.capable() {
		s.routes.relay(targets, command, frame[wire.HeaderSize:], nil)
	}
}

func (s *Server) pushFileNews(targets []uint32, frame []byte) {
	for _, user := range targets {
		for _, session := range s.sessions.Of(im.UserID(user)) {
			if session.Conn.files.Load() {
				session.Conn.push(frame)
			}
		}
	}
}

// movedFile tells how far a file is.
type movedFile = extension.IMFileMoved

// fileMoved passes on how far a file is, 0587: to those who will get it while
// it is sent, to its sender while it is fetched.
func (s *Server) fileMoved(_ *link.Link, body []byte) {
	m := new(movedFile)
	kind := im.Kind(0)
	err := proto.Unmarshal(body, m)
	if err == nil {
		kind = im.Kind(m.GetSessionType())
	}
	switch {
	case !kind.Valid(), m.GetFromUserId() == 0, m.GetToSessionId() == 0:
		s.metrics.dropped("bad_body")
	case m.GetFetchedBy() != 0:
		s.tellMoved(m, []uint32{m.GetFromUserId()})
	case kind == im.Single:
		s.tellMoved(m, []uint32{m.GetToSessionId()})
	default:
		if s.askMembership(&fileAsk{user: m.GetFromUserId(), moved: m}, im.GroupID(m.GetToSessionId())) != im.OK {
			s.metrics.dropped("members_unknown")
		}
	}
}

func (s *Server) tellMoved(m *movedFile, targets []uint32) {
	s.tellFileNews(targets, wire.FileMoved, mustFrame(wire.FileMoved, m))
}
