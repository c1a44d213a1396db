package fileserver

import (
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"

	"google.golang.org/protobuf/proto"

	"teamtalk/file_server/internal/blob"
	"teamtalk/file_server/internal/catalog"
	"teamtalk/file_server/internal/task"
	"teamtalk/internal/link"
	"teamtalk/internal/wire"
	"teamtalk/pb/basedefine"
	"teamtalk/pb/extension"
	"teamtalk/pb/server"
)

// msgServers serves the port for msg_servers.
type msgServers struct{ *Server }

// maxAsked is how many questions of msg_servers may wait, in askedLanes lanes.
const (
	maxAsked   = 10_000
	askedLanes = 8
)

// LinkUp is link.Handler's.
func (m *msgServers) LinkUp(l *link.Link) { m.introduce(l) }

// LinkDown is link.Handler's.
func (m *msgServers) LinkDown(l *link.Link) { m.peers.Remove(l) }

// ofMsgServers is the table of what msg_servers send. What looks at the disk
// takes its turn. Source: docs/protocol/commands.md.
func (s *Server) ofMsgServers() map[wire.Command]func(*link.Link, wire.PDU) {
	m := &msgServers{s}
	return map[wire.Command]func(*link.Link, wire.PDU){
		wire.FileServerAddrsReq: m.addrs,
		wire.FileTransferReq:    later(m, m.transfer),
		wire.FileTaskReq:        later(m, m.lookUp),
		wire.FileTaskDelete:     later(m, m.remove),
		wire.FileStoredAck:      later(m, m.answered),
	}
}

// LinkPDU is link.Handler's.
func (m *msgServers) LinkPDU(l *link.Link, pdu wire.PDU) {
	if handle := m.linkCommands[pdu.Command]; handle != nil {
		handle(l, pdu)
		return
	}
	m.metrics.dropped("unknown_command")
}

// later parses a question and queues what answers it.
func later[M any, P interface {
	*M
	proto.Message
}](m *msgServers, answer func(*link.Link, uint16, P)) func(*link.Link, wire.PDU) {
	return func(l *link.Link, pdu wire.PDU) {
		req := P(new(M))
		if err := proto.Unmarshal(pdu.Body, req); err != nil {
			m.metrics.dropped("bad_body")
			return
		}
		seq := pdu.Seq
		if !m.asked[rand.IntN(askedLanes)].Submit(func() { answer(l, seq, req) }) {
			m.metrics.dropped("too_many_questions")
		}
	}
}

// addrs tells what clients are to be told, 0733 to 0734.
// Source: docs/protocol/flows.md §16; docs/protocol/defects.md G7.
func (m *msgServers) addrs(l *link.Link, pdu wire.PDU) {
	res := &server.IMFileServerIPRsp{}
	for _, a := range m.cfg.Addrs {
		res.IpAddrList = append(res.IpAddrList, &basedefine.IpAddr{
			Ip: proto.String(a.Addr().String()), Port: proto.Uint32(uint32(a.Port())),
		})
	}
	l.SendMessage(wire.FileServerAddrsRes, pdu.Seq, res)
}

// transfer sets a task up, 0731 to 0732. A refusal is answered, and the link
// stays. Source: docs/protocol/flows.md §16.1.
func (m *msgServers) transfer(l *link.Link, seq uint16, req *server.IMFileTransferReq) {
	res := &server.IMFileTransferRsp{
		ResultCode: proto.Uint32(1), FromUserId: req.FromUserId, ToUserId: req.ToUserId,
		FileName: req.FileName, FileSize: req.FileSize, TransMode: req.TransMode,
		TaskId: proto.String(""), AttachData: req.GetAttachData(),
	}
	t, err := m.newTask(req)
	if err != nil {
		result := refusal(err)
		m.metrics.tasks.WithLabelValues(result).Inc()
		m.log.Info("transfer refused", "user_id", req.GetFromUserId(), "reason", result)
	} else {
		m.metrics.tasks.WithLabelValues("ok").Inc()
		res.ResultCode, res.TaskId, res.FileName = proto.Uint32(0), proto.String(t.ID), proto.String(t.Name)
	}
	l.SendMessage(wire.FileTransferRes, seq, res)
}

var (
	errSize = errors.New("size not allowed")
	errName = errors.New("name not allowed")
	errMode = errors.New("mode not known")
)

// refusal names the reason of a refusal, for people who look at metrics.
func refusal(err error) string {
	for _, r := range []struct {
		err  error
		name string
	}{
		{errSize, "size"},
		{errName, "name"},
		{errMode, "mode"},
		{catalog.ErrQuota, "quota"},
		{blob.ErrFull, "no_space"},
		{task.ErrLimit, "too_many"},
	} {
		if errors.Is(err, r.err) {
			return r.name
		}
	}
	return "failed"
}

func (m *msgServers) newTask(req *server.IMFileTransferReq) (*task.Task, error) {
	name, ok := task.CleanName(req.GetFileName())
	size := int64(req.GetFileSize())
	offline := req.GetTransMode() == basedefine.TransferFileType_FILE_TYPE_OFFLINE
	switch {
	case !ok:
		return nil, errName
	case size == 0 || offline && size > m.cfg.MaxFileSize: // docs/protocol/defects.md G10
		return nil, errSize
	case !offline && req.GetTransMode() != basedefine.TransferFileType_FILE_TYPE_ONLINE:
		return nil, errMode
	}
	var release func()
	if offline {
		free, err := m.store.Free()
		if err != nil {
			return nil, err
		}
		if free < size {
			return nil, blob.ErrFull
		}
		if release, err = m.catalog.Reserve(req.GetFromUserId(), size); err != nil {
			return nil, err
		}
	}
	t, err := m.tasks.New(req.GetFromUserId(), req.GetToUserId(), name, size, offline, release)
	if err != nil && release != nil {
		release()
	}
	return t, err
}

// offlineInfo is what the catalogue keeps of an off-line file.
type offlineInfo struct {
	From uint32 `json:"from"`
	To   uint32 `json:"to"`
	Name string `json:"name"`
}

// offlineFile finds an off-line file of a user: of its sender or receiver.
func (s *Server) offlineFile(ctx context.Context, id string, user uint32) (catalog.Entry, offlineInfo, error) {
	var info offlineInfo
	if !task.ValidID(id) {
		return catalog.Entry{}, info, task.ErrUnknown
	}
	e, err := s.catalog.Get(ctx, catalog.Offline, id)
	if err != nil {
		return catalog.Entry{}, info, err
	}
	if err := json.Unmarshal(e.Info, &info); err != nil {
		return catalog.Entry{}, info, err
	}
	if user == 0 || user != info.From && user != info.To {
		return catalog.Entry{}, info, task.ErrUser
	}
	return e, info, nil
}

// lookUp says what is known of an off-line file, 058A to 058B.
func (m *msgServers) lookUp(l *link.Link, seq uint16, req *extension.IMFileTaskReq) {
	res := &extension.IMFileTaskRsp{
		TaskId: req.TaskId, Found: proto.Bool(false), AttachData: req.GetAttachData(),
	}
	e, info, err := m.offlineFile(m.base, req.GetTaskId(), req.GetUserId())
	if err == nil {
		res.Found = proto.Bool(true)
		res.FromUserId, res.ToUserId = proto.Uint32(info.From), proto.Uint32(info.To)
		res.FileName, res.FileSize = proto.String(info.Name), proto.Uint32(uint32(e.Size))
		res.Expires = proto.Uint32(uint32(e.Expires))
	}
	l.SendMessage(wire.FileTaskRes, seq, res)
}

// remove takes an off-line file away, 058C.
// Source: docs/protocol/defects.md G5.
func (m *msgServers) remove(_ *link.Link, _ uint16, req *extension.IMFileTaskDelete) {
	ctx := m.base
	_, _, err := m.offlineFile(ctx, req.GetTaskId(), req.GetUserId())
	if err == nil {
		err = m.catalog.Delete(ctx, catalog.Offline, req.GetTaskId())
	}
	switch {
	case err == nil, errors.Is(err, blob.ErrNotFound), errors.Is(err, task.ErrUnknown):
	case errors.Is(err, task.ErrUser):
		m.metrics.dropped("not_allowed")
	default:
		m.log.Error("off-line file not removed", "task_id", req.GetTaskId(), "error", err)
	}
}
