package msgserver

import (
	"slices"

	"google.golang.org/protobuf/proto"

	"teamtalk/internal/im"
	"teamtalk/internal/link"
	"teamtalk/internal/wire"
	"teamtalk/pb/basedefine"
	"teamtalk/pb/buddy"
	"teamtalk/pb/extension"
	"teamtalk/pb/file"
	"teamtalk/pb/server"
)

// The two ways of a transfer.
const (
	transferOnline  = basedefine.TransferFileType_FILE_TYPE_ONLINE
	transferOffline = basedefine.TransferFileType_FILE_TYPE_OFFLINE
)

// fileRequest begins a transfer, 0506 to 0507. On-line it needs the receiver's
// PC to be on: here, or at another server, which a route_server knows; who is
// not known to be on-line gets the file off-line.
// Source: docs/protocol/flows.md §16.1; docs/protocol/defects.md C7, G8.
func (s *Server) fileRequest(c *client, pdu wire.PDU) {
	req := new(file.IMFileReq)
	err := proto.Unmarshal(pdu.Body, req)
	if _, known := basedefine.TransferFileType_name[int32(req.GetTransMode())]; err != nil || !known {
		s.metrics.dropped("bad_body")
		return
	}
	user := uint32(c.user())
	req.FromUserId = proto.Uint32(user)
	ask := &fileAsk{client: c, seq: pdu.Seq, user: user, req: req}
	if req.GetToUserId() == 0 || req.GetFileSize() == 0 {
		s.refuseFile(ask)
		return
	}
	s.askReceiver(ask, req.GetToUserId(), s.routeFile, s.refuseFile)
}

// routeFile finds out whether a file goes on-line or off-line.
func (s *Server) routeFile(ask *fileAsk) {
	if mode := ask.req.GetTransMode(); mode == transferOffline || s.pcHere(ask.req.GetToUserId()) {
		s.askTask(ask, mode)
		return
	}
	s.askStatus(ask)
}

// pcHere reports whether a user is logged in here from a PC.
func (s *Server) pcHere(user uint32) bool {
	return slices.ContainsFunc(s.sessions.Of(im.UserID(user)), func(session *Session) bool {
		return !session.Client.Mobile()
	})
}

// askStatus asks a route_server whether the receiver is on-line, 020A.
func (s *Server) askStatus(ask *fileAsk) {
	id, ok := s.files.add(ask)
	if !ok {
		s.refuseFile(ask)
		return
	}
	asked := s.routes.ask(wire.UsersStatusReq, 0, &buddy.IMUsersStatReq{
		UserId: proto.Uint32(ask.user), UserIdList: []uint32{ask.req.GetToUserId()},
		AttachData: attach(attachKindFile, id),
	})
	if !asked && s.files.take(id) != nil {
		s.askTask(ask, transferOffline)
	}
}

// fileStatus takes the answer to askStatus.
func (s *Server) fileStatus(id uint64, body []byte) {
	ask := s.files.take(id)
	if ask == nil {
		return // it took too long
	}
	res := new(buddy.IMUsersStatRsp)
	mode := transferOffline
	if err := proto.Unmarshal(body, res); err == nil && slices.ContainsFunc(res.GetUserStatList(),
		func(u *basedefine.UserStat) bool {
			return u.GetUserId() == ask.req.GetToUserId() && u.GetStatus() == basedefine.UserStatType_USER_STATUS_ONLINE
		}) {
		mode = transferOnline
	}
	s.askTask(ask, mode)
}

// askTask asks a file_server for a task, 0731.
func (s *Server) askTask(ask *fileAsk, mode basedefine.TransferFileType) {
	ask.req.TransMode = mode.Enum()
	at := s.fileServers.any()
	if at == nil {
		s.metrics.dropped("no_file_server")
		s.refuseFile(ask)
		return
	}
	ask.link = at.link
	id, ok := s.files.add(ask)
	if !ok {
		s.refuseFile(ask)
		return
	}
	if !at.link.SendMessage(wire.FileTransferReq, 0, transferReq(ask.req, id)) && s.files.take(id) != nil {
		s.refuseFile(ask)
	}
}

func transferReq(req *file.IMFileReq, id uint64) *server.IMFileTransferReq {
	return &server.IMFileTransferReq{
		FromUserId: req.FromUserId, ToUserId: req.ToUserId, FileName: req.FileName, FileSize: req.FileSize,
		TransMode: req.TransMode, AttachData: attach(attachKindFile, id),
	}
}

// refuseFile tells the sender that there is no transfer.
func (s *Server) refuseFile(ask *fileAsk) {
	ask.client.conn.SendMessage(wire.FileRes, ask.seq, &file.IMFileRsp{
		ResultCode: proto.Uint32(1), FromUserId: ask.req.FromUserId, ToUserId: ask.req.ToUserId,
		FileName: ask.req.FileName, TaskId: proto.String(""), TransMode: ask.req.TransMode,
	})
}

// taskMade takes the answer of a file_server, 0732: the sender gets it with
// the addresses, 0507, and the receiver hears of the file, 0508.
func (s *Server) taskMade(l *link.Link, body []byte) {
	res := new(server.IMFileTransferRsp)
	if err := proto.Unmarshal(body, res); err != nil {
		s.metrics.dropped("bad_body")
		return
	}
	ask := s.files.take(attached(attachKindFile, res.GetAttachData()))
	from := s.fileServers.by(l)
	switch {
	case ask == nil || ask.req == nil:
		s.metrics.dropped("file_timeout")
		return
	case res.GetResultCode() != 0 || res.GetTaskId() == "" || from == nil:
		s.refuseFile(ask)
		return
	}
	ask.client.conn.SendMessage(wire.FileRes, ask.seq, &file.IMFileRsp{
		ResultCode: proto.Uint32(0), FromUserId: ask.req.FromUserId, ToUserId: ask.req.ToUserId,
		FileName: ask.req.FileName, TaskId: res.TaskId, IpAddrList: from.addrs, TransMode: ask.req.TransMode,
	})
	name := ask.req.GetFileName()
	if res.FileName != nil {
		name = res.GetFileName() // without a path
	}
	s.notifyFile(ask.client.conn.ID(), &file.IMFileNotify{
		FromUserId: ask.req.FromUserId, ToUserId: ask.req.ToUserId, FileName: proto.String(name),
		FileSize: ask.req.FileSize, TaskId: res.TaskId, IpAddrList: from.addrs, TransMode: ask.req.TransMode,
		OfflineReady: proto.Uint32(0),
	})
}

// notifyFile tells the receiver of a file, 0508: his PCs here, and his
// connections on other servers.
func (s *Server) notifyFile(except uint64, note *file.IMFileNotify) {
	frame := mustFrame(wire.FileNotify, note)
	for _, session := range s.sessions.Of(im.UserID(note.GetToUserId())) {
		if !session.Client.Mobile() && session.ConnID != except {
			session.Conn.push(frame)
		}
	}
	s.routes.relay([]uint32{note.GetToUserId()}, wire.FileNotify, frame[wire.HeaderSize:], nil)
}

func fileReceiver(m *file.IMFileNotify) []uint32 { return []uint32{m.GetToUserId()} }

// addOffline takes the word of a sender that a file is uploaded, 050B, and
// asks the file_servers which of them has it: what they say counts. An
// original cannot be asked. Source: docs/protocol/flows.md §16.4;
// docs/protocol/defects.md G6.
func (s *Server) addOffline(c *client, pdu wire.PDU) {
	req := new(file.IMFileAddOfflineReq)
	if err := proto.Unmarshal(pdu.Body, req); err != nil {
		s.metrics.dropped("bad_body")
		return
	}
	user := uint32(c.user())
	capable := s.fileServers.ours()
	if len(capable) == 0 {
		s.believeOffline(c, req)
		return
	}
	id, ok := s.files.add(&fileAsk{client: c, user: user, task: req.GetTaskId(), asked: len(capable)})
	if !ok {
		s.metrics.dropped("file_timeout")
		return
	}
	for _, f := range capable {
		f.link.SendMessage(wire.FileTaskReq, 0, &extension.IMFileTaskReq{
			TaskId: req.TaskId, UserId: proto.Uint32(user), AttachData: attach(attachKindFile, id),
		})
	}
}

// fileKnown takes what a file_server knows of a stored file, 058B. If it is
// there, and its sender's, it is entered and announced.
func (s *Server) fileKnown(l *link.Link, body []byte) {
	res := new(extension.IMFileTaskRsp)
	if err := proto.Unmarshal(body, res); err != nil {
		s.metrics.dropped("bad_body")
		return
	}
	id := attached(attachKindFile, res.GetAttachData())
	at := s.fileServers.by(l)
	if !res.GetFound() || at == nil {
		if s.files.answered(id) {
			s.metrics.dropped("file_unknown")
		}
		return
	}
	ask := s.files.take(id)
	switch {
	case ask == nil || ask.task != res.GetTaskId():
		return // another was faster
	case res.GetFromUserId() != ask.user:
		s.metrics.dropped("file_not_allowed")
		return
	}
	s.enterOffline(ask.client, at, &file.IMFileAddOfflineReq{
		FromUserId: res.FromUserId, ToUserId: res.ToUserId, TaskId: res.TaskId, FileName: res.FileName,
		FileSize: res.FileSize, FileServer: proto.String(at.name()), Expires: res.Expires,
	})
}

// believeOffline enters what a client says of a file at an original
// file_server.
func (s *Server) believeOffline(c *client, req *file.IMFileAddOfflineReq) {
	at := s.fileServers.any()
	if at == nil {
		s.metrics.dropped("no_file_server")
		return
	}
	user := uint32(c.user())
	req.FromUserId, req.FileServer, req.Expires = proto.Uint32(user), nil, nil
	s.askReceiver(&fileAsk{client: c, user: user}, req.GetToUserId(),
		func(*fileAsk) { s.enterOffline(c, at, req) }, func(*fileAsk) {}) // no refusal is known to clients
}

func (s *Server) enterOffline(c *client, at *fileServer, req *file.IMFileAddOfflineReq) {
	if db := s.db.General(c.conn.ID()); db == nil {
		s.metrics.dropped("no_db_proxy")
	} else {
		stored := proto.CloneOf(req)
		if !db.Has(link.CapStore) {
			stored.FileServer, stored.Expires = nil, nil
		}
		db.SendMessage(wire.FileAddOfflineReq, 0, stored)
	}
	s.notifyFile(c.conn.ID(), &file.IMFileNotify{
		FromUserId: req.FromUserId, ToUserId: req.ToUserId, FileName: req.FileName, FileSize: req.FileSize,
		TaskId: req.TaskId, IpAddrList: at.addrs, TransMode: transferOffline.Enum(), OfflineReady: proto.Uint32(1),
	})
}

// delOffline takes a file away that its receiver has or does not want, 050C.
// Only the two users of a file may. Source: docs/protocol/flows.md §16.5;
// docs/protocol/defects.md D7, G5.
func (s *Server) delOffline(c *client, pdu wire.PDU) {
	req := new(file.IMFileDelOfflineReq)
	if err := proto.Unmarshal(pdu.Body, req); err != nil {
		s.metrics.dropped("bad_body")
		return
	}
	user := uint32(c.user())
	if user != req.GetFromUserId() && user != req.GetToUserId() {
		s.metrics.dropped("file_not_allowed")
		return
	}
	s.fileServers.forget(req.GetTaskId(), user)
	if db := s.db.General(c.conn.ID()); db != nil {
		db.SendMessage(wire.FileDelOfflineReq, 0, req)
	} else {
		s.metrics.dropped("no_db_proxy")
	}
}

// offlineAnswer gives a client the list of files that wait for it, 050A: one
// for each file_server, since a list has the addresses of one only.
// Source: docs/protocol/flows.md §16.5; docs/protocol/defects.md F7, G6.
func (s *Server) offlineAnswer(_ *link.Link, pdu wire.PDU) {
	res := new(file.IMFileHasOfflineRsp)
	if err := proto.Unmarshal(pdu.Body, res); err != nil {
		s.metrics.dropped("bad_body")
		return
	}
	c := s.clientOf(connOf(res.GetAttachData()))
	if c == nil || c.session.Load() == nil {
		s.metrics.dropped("client_gone")
		return
	}
	var names []string
	lists := map[string][]*basedefine.OfflineFileInfo{}
	for _, f := range res.GetOfflineFileList() {
		name := f.GetFileServer()
		if lists[name] == nil {
			names = append(names, name)
		}
		f.FileServer = nil
		lists[name] = append(lists[name], f)
	}
	if len(names) == 0 {
		names = []string{""}
	}
	for _, name := range names {
		c.conn.SendMessage(wire.FileHasOfflineRes, pdu.Seq, &file.IMFileHasOfflineRsp{
			UserId: proto.Uint32(uint32(c.user())), OfflineFileList: lists[name], IpAddrList: s.fileServers.locate(name),
		})
	}
}
