package pushserver

import (
	"sync"

	"google.golang.org/protobuf/proto"

	"teamtalk/internal/im"
	"teamtalk/internal/link"
	"teamtalk/internal/wire"
	"teamtalk/pb/basedefine"
	"teamtalk/pb/server"
	"teamtalk/push_server/internal/outbox"
)

// Values of push_type and of the result_code of 0710; the last is ours.
// Source: docs/protocol/flows.md §15; docs/protocol.md.
const (
	pushSilent = 2

	resultOK     = 0
	resultFailed = 1
	resultGone   = 2
)

// LinkUp is link.Handler's.
func (s *Server) LinkUp(*link.Link) {}

// LinkDown is link.Handler's.
func (s *Server) LinkDown(*link.Link) {}

// Commands returns what this server handles, by who sends it, for
// docs/protocol.md.
func (s *Server) Commands() map[string][]wire.Command {
	return map[string][]wire.Command{"msg_server": {wire.PushToUserReq}}
}

// LinkPDU is link.Handler's.
func (s *Server) LinkPDU(l *link.Link, pdu wire.PDU) {
	if pdu.Command != wire.PushToUserReq {
		s.dropped.WithLabelValues("unknown_command").Inc()
		return
	}
	req := new(server.IMPushToUserReq)
	if err := proto.Unmarshal(pdu.Body, req); err != nil {
		s.dropped.WithLabelValues("bad_body").Inc()
		return
	}
	if len(req.GetUserTokenList()) == 0 {
		l.SendMessage(wire.PushToUserRes, pdu.Seq, &server.IMPushToUserRsp{})
		return
	}
	s.unwritten.Add(1)
	a := &answer{
		results: make([]*basedefine.PushResult, len(req.GetUserTokenList())),
		missing: len(req.GetUserTokenList()),
	}
	a.complete = func() {
		l.SendMessage(wire.PushToUserRes, pdu.Seq, &server.IMPushToUserRsp{PushResultList: a.results})
		s.unwritten.Add(-1)
	}
	for i, t := range req.GetUserTokenList() {
		done := func(r outbox.Result) { a.set(i, t.GetToken(), r) }
		box := s.outboxes[im.ClientType(t.GetUserType())]
		if box == nil {
			s.dropped.WithLabelValues("no_provider").Inc()
			done(outbox.Failed)
			continue
		}
		box.Offer(&outbox.Note{
			Token: t.GetToken(), Flash: req.GetFlash(), Data: req.GetData(), Badge: t.GetPushCount(),
			Silent: t.GetPushType() == pushSilent, Done: done,
		})
	}
}

// answer collects the results of one request, which is answered when all are
// there.
type answer struct {
	complete func()

	mu      sync.Mutex // guards the fields below
	results []*basedefine.PushResult
	missing int
}

func (a *answer) set(i int, token string, r outbox.Result) {
	code := map[outbox.Result]uint32{
		outbox.Delivered: resultOK, outbox.Failed: resultFailed, outbox.Gone: resultGone,
	}[r]
	a.mu.Lock()
	a.results[i] = &basedefine.PushResult{UserToken: proto.String(token), ResultCode: proto.Uint32(code)}
	a.missing--
	last := a.missing == 0
	a.mu.Unlock()
	if last {
		a.complete()
	}
}
