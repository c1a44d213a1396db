package notify

import (
	"bytes"
	"context"
	"log/slog"
	"slices"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"google.golang.org/protobuf/proto"

	"teamtalk/internal/im"
	"teamtalk/internal/link"
	"teamtalk/internal/link/linktest"
	"teamtalk/internal/testenv"
	"teamtalk/internal/transport"
	"teamtalk/internal/wire"
	"teamtalk/pb/basedefine"
	"teamtalk/pb/buddy"
	"teamtalk/pb/extension"
	"teamtalk/pb/server"
)

const aesKey = "12345678901234567890123456789012"

// office is a Notifier with one neighbour that is db_proxy and route_server,
// and one that is push_server, over real links.
type office struct {
	t    *testing.T
	n    *Notifier
	back *back
	push *pushServer
	here map[im.UserID]bool // phones connected to this server
}

// back answers what a Notifier asks.
type back struct {
	mu       sync.Mutex // guards the fields below
	tokens   map[uint32]im.ClientType
	muted    []uint32
	nicks    map[uint32]string
	terminal map[uint32][]im.ClientType // connected elsewhere
	silent   wire.Command               // this one is not answered, but the link closed
	asked    []uint32                   // whose tokens were asked for last
	gone     chan []string
}

func (*back) LinkUp(*link.Link)   {}
func (*back) LinkDown(*link.Link) {}

func (b *back) LinkPDU(l *link.Link, pdu wire.PDU) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if pdu.Command == b.silent {
		l.Close("test")
		return
	}
	switch pdu.Command {
	case wire.DeviceTokensReq:
		req := decoded[server.IMGetDeviceTokenReq](pdu)
		res := &server.IMGetDeviceTokenRsp{AttachData: req.GetAttachData()}
		b.asked = req.GetUserId()
		for _, u := range b.asked {
			if kind, ok := b.tokens[u]; ok {
				res.UserTokenInfo = append(res.UserTokenInfo, &basedefine.UserTokenInfo{
					UserId: proto.Uint32(u), UserType: basedefine.ClientType(kind).Enum(), Token: proto.String("token"),
					PushCount: proto.Uint32(u), PushType: proto.Uint32(pushAlert),
				})
			}
		}
		l.SendMessage(wire.DeviceTokensRes, pdu.Seq, res)
	case wire.GroupShieldsReq:
		req := decoded[server.IMGroupGetShieldReq](pdu)
		res := &server.IMGroupGetShieldRsp{GroupId: req.GroupId, AttachData: req.GetAttachData()}
		for _, u := range req.GetUserId() {
			status := uint32(0)
			if slices.Contains(b.muted, u) {
				status = 1
			}
			res.ShieldStatusList = append(res.ShieldStatusList, &basedefine.ShieldStatus{
				UserId: proto.Uint32(u), GroupId: req.GroupId, ShieldStatus: proto.Uint32(status),
			})
		}
		l.SendMessage(wire.GroupShieldsRes, pdu.Seq, res)
	default:
		b.people(l, pdu)
	}
}

// people answers about users.
func (b *back) people(l *link.Link, pdu wire.PDU) {
	switch pdu.Command {
	case wire.UserInfoReq:
		req := decoded[buddy.IMUsersInfoReq](pdu)
		res := &buddy.IMUsersInfoRsp{UserId: req.UserId, AttachData: req.GetAttachData()}
		for _, u := range req.GetUserIdList() {
			if nick, ok := b.nicks[u]; ok {
				none := proto.String("")
				res.UserInfoList = append(res.UserInfoList, &basedefine.UserInfo{
					UserId: proto.Uint32(u), UserGender: proto.Uint32(0), UserNickName: proto.String(nick), AvatarUrl: none,
					DepartmentId: proto.Uint32(0), Email: none, UserRealName: none, UserTel: none, UserDomain: none,
					Status: proto.Uint32(0),
				})
			}
		}
		l.SendMessage(wire.UserInfoRes, pdu.Seq, res)
	case wire.UsersStatusReq: // knows of PCs only
		req := decoded[buddy.IMUsersStatReq](pdu)
		res := &buddy.IMUsersStatRsp{UserId: req.UserId, AttachData: req.GetAttachData()}
		for _, u := range req.GetUserIdList() {
			status := basedefine.UserStatType_USER_STATUS_OFFLINE
			if slices.ContainsFunc(b.terminal[u], func(c im.ClientType) bool { return !c.Mobile() }) {
				status = basedefine.UserStatType_USER_STATUS_ONLINE
			}
			res.UserStatList = append(res.UserStatList, &basedefine.UserStat{UserId: proto.Uint32(u), Status: status.Enum()})
		}
		l.SendMessage(wire.UsersStatusRes, pdu.Seq, res)
	case wire.APIPresenceReq:
		req := decoded[extension.IMApiPresenceReq](pdu)
		res := &extension.IMApiPresenceRsp{Code: proto.Uint32(0), AttachData: req.GetAttachData()}
		for _, u := range req.GetUserIds() {
			p := &extension.ApiPresence{UserId: proto.Uint32(u)}
			for _, c := range b.terminal[u] {
				p.ClientTypes = append(p.ClientTypes, basedefine.ClientType(c))
			}
			res.Users = append(res.Users, p)
		}
		l.SendMessage(wire.APIPresenceRes, pdu.Seq, res)
	case wire.PushTokensGone:
		b.gone <- decoded[extension.IMPushTokensGone](pdu).GetTokens()
	}
}

// decoded reads a body that we wrote ourselves.
func decoded[M any, P interface {
	*M
	proto.Message
}](pdu wire.PDU) P {
	m := P(new(M))
	if err := proto.Unmarshal(pdu.Body, m); err != nil {
		panic(err)
	}
	return m
}

// pushServer notes what it is asked for.
type pushServer struct {
	up       chan *link.Link
	requests chan *server.IMPushToUserReq
}

func (p *pushServer) LinkUp(l *link.Link) { p.up <- l }
func (*pushServer) LinkDown(*link.Link)   {}
func (p *pushServer) LinkPDU(_ *link.Link, pdu wire.PDU) {
	p.requests <- decoded[server.IMPushToUserReq](wire.PDU{Body: bytes.Clone(pdu.Body)})
}

// asking is this server's end of the link to back.
type asking struct {
	n  *Notifier
	up chan *link.Link
}

func (a *asking) LinkUp(l *link.Link)                { a.up <- l }
func (a *asking) LinkDown(l *link.Link)              { a.n.Lost(l) }
func (a *asking) LinkPDU(_ *link.Link, pdu wire.PDU) { a.n.Answered(pdu) }

// newOffice starts one; ours says whether the neighbour is one of ours.
func newOffice(t *testing.T, ours bool) *office {
	t.Helper()
	o := &office{
		t: t, here: map[im.UserID]bool{},
		back: &back{
			tokens: map[uint32]im.ClientType{}, nicks: map[uint32]string{}, terminal: map[uint32][]im.ClientType{},
			gone: make(chan []string, 1),
		},
		push: &pushServer{up: make(chan *link.Link, 1), requests: make(chan *server.IMPushToUserReq, 10)},
	}
	backAddr, pushAddr := testenv.FreeAddr(t), testenv.FreeAddr(t)
	var capabilities []string
	if ours {
		capabilities = []string{link.CapPresence, link.CapStore}
	}
	there := link.New(link.Config{Role: "db_proxy", Capabilities: capabilities}, deps())
	o.run([]transport.Listener{
		{Name: "back", Addr: backAddr, Handler: there.Accept(o.back), Limits: transport.LinkLimits},
		{Name: "push", Addr: pushAddr, Handler: there.AcceptPlain(o.push), Limits: transport.LinkLimits},
	})
	node := link.New(link.Config{Role: "msg_server"}, deps())
	engine := o.run([]transport.Listener{{Name: "none", Addr: testenv.FreeAddr(t), Handler: node.Accept(o.back)}})
	a := &asking{up: make(chan *link.Link, 10)}
	var toBack *link.Link
	var err error
	o.n, err = New(Config{PushServers: []string{pushAddr}, AESKey: []byte(aesKey)}, Deps{
		Node: node, DB: func() *link.Link { return toBack }, Route: func() *link.Link { return toBack },
		Phone: func(u im.UserID) bool { return o.here[u] }, Log: slog.New(slog.DiscardHandler), Reg: prometheus.NewRegistry(),
	})
	if err != nil {
		t.Fatal(err)
	}
	a.n = o.n
	ctx, cancel := context.WithCancel(context.Background())
	var kept sync.WaitGroup
	kept.Go(func() { node.Keep(ctx, engine, "push_server", backAddr, a) })
	toBack = linktest.Wait(t, a.up, "the link to db_proxy")
	kept.Go(func() { o.n.Run(ctx, engine) })
	t.Cleanup(func() {
		cancel()
		kept.Wait()
	})
	linktest.Eventually(t, "the link to push_server", func() bool { return o.n.pushServer() != nil })
	return o
}

func deps() link.Deps {
	return link.Deps{Log: slog.New(slog.DiscardHandler), Reg: prometheus.NewRegistry()}
}

// run runs an engine for the length of the test.
func (o *office) run(listeners []transport.Listener) *transport.Engine {
	o.t.Helper()
	engine, err := transport.New(transport.Config{Listeners: listeners, Loops: 1}, transport.Deps{
		Log: slog.New(slog.DiscardHandler), Reg: prometheus.NewRegistry(),
	})
	if err != nil {
		o.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- engine.Run(ctx) }()
	o.t.Cleanup(func() {
		cancel()
		if err := linktest.Wait(o.t, ended, "end of the engine"); err != nil {
			o.t.Error(err)
		}
	})
	<-engine.Booted()
	return engine
}

// offer hands a message over and waits for the decision.
func (o *office) offer(m *Message, want string) {
	o.t.Helper()
	count := func() float64 { return testutil.ToFloat64(o.n.outcomes.WithLabelValues(want)) }
	before := count()
	o.n.Offer(m)
	linktest.Eventually(o.t, "outcome "+want, func() bool { return count() == before+1 })
}
