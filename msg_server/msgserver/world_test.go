package msgserver

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"

	lib "teamtalk/client"
	"teamtalk/internal/im"
	"teamtalk/internal/link"
	"teamtalk/internal/link/linktest"
	"teamtalk/internal/testenv"
	"teamtalk/internal/trace"
	"teamtalk/internal/wire"
	"teamtalk/msg_server/internal/deliver"
	"teamtalk/pb/basedefine"
	"teamtalk/pb/buddy"
	"teamtalk/pb/login"
	"teamtalk/pb/message"
	"teamtalk/pb/server"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		// gnet opens a worker pool when it is imported and keeps it.
		goleak.IgnoreAnyFunction("github.com/panjf2000/ants/v2.(*poolCommon).purgeStaleWorkers"),
		goleak.IgnoreAnyFunction("github.com/panjf2000/ants/v2.(*poolCommon).ticktock"),
		goleak.IgnoreAnyFunction("github.com/panjf2000/ants/v2.(*goWorker).run.func1"),
	)
}

// setup is what a world is made of; nil neighbours are one of ours each.
type setup struct {
	conf                string // further lines
	dbs, routes, logins []*neighbour
	bare                bool      // do not wait for the links
	log                 io.Writer // of everything; nil: of nothing
}

// world is a msg_server between its neighbours.
type world struct {
	*Server
	t        testing.TB
	addr     string
	db1      *neighbour // the first of each kind
	route1   *neighbour
	login1   *neighbour
	clockNow atomic.Int64 // nanoseconds; it stands still but for skip
	stop     func()

	mu    sync.Mutex // guards users
	users []*user
}

func newWorld(t testing.TB) *world {
	t.Helper()
	return newWorldOf(t, setup{})
}

func newWorldOf(t testing.TB, s setup) *world {
	t.Helper()
	if s.dbs == nil {
		s.dbs = []*neighbour{ourDB(t)}
	}
	if s.routes == nil {
		s.routes = []*neighbour{ourRoute(t)}
	}
	if s.logins == nil {
		s.logins = []*neighbour{ours(t, link.Config{Role: "login_server"})}
	}
	w := &world{t: t, db1: s.dbs[0], route1: s.routes[0], login1: s.logins[0]}
	w.clockNow.Store(time.Now().UnixNano())
	port := testenv.FreePorts(t, 1)[0]
	var conf strings.Builder
	fmt.Fprintf(&conf, "ListenIP=127.0.0.1\nListenPort=%d\nIpAddr1=127.0.0.1\nConcurrentDBConnCnt=2\n"+
		"aesKey=12345678901234567890123456789012\n%s", port, s.conf)
	for kind, list := range map[string][]*neighbour{"DBServer": s.dbs, "RouteServer": s.routes, "LoginServer": s.logins} {
		for i, n := range list {
			fmt.Fprintf(&conf, "\n%sIP%d=127.0.0.1\n%sPort%d=%d\n", kind, i+1, kind, i+1, n.port)
		}
	}
	cfg, err := ParseConfig(strings.NewReader(conf.String()), "test.conf")
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	if s.log != nil {
		log = slog.New(slog.NewJSONHandler(s.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	w.Server, err = New(cfg, Deps{
		Log: log, Reg: prometheus.NewRegistry(),
		Clock: func() time.Time { return time.Unix(0, w.clockNow.Load()) }, Trace: trace.New(1000),
	})
	if err != nil {
		t.Fatal(err)
	}
	w.addr = net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	w.stop = sync.OnceFunc(func() {
		cancel()
		if err := linktest.Wait(t, ended, "end of Run"); err != nil {
			t.Errorf("Run = %v", err)
		}
	})
	t.Cleanup(func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		for _, u := range w.users {
			u.Close()
		}
		w.skip(sendPatience + time.Second) // a stop waits for no answers
		w.stop()
	})
	linktest.Wait(t, w.engine.Booted(), "the server")
	if s.bare {
		return w
	}
	for _, n := range s.dbs {
		n.connected(2)
	}
	for _, n := range append(s.routes, s.logins...) {
		n.connected(1)
	}
	linktest.Eventually(t, "all links", func() bool {
		live := map[*link.Link]bool{nil: true}
		for seed := range uint64(100) {
			live[w.db.Login(seed)], live[w.db.General(seed)] = true, true
		}
		return len(live) == 1+2*len(s.dbs) && len(w.routes.live.All()) == len(s.routes) &&
			len(w.logins.live.All()) == len(s.logins) && w.Ready() == nil
	})
	return w
}

// skip moves the clock of the server ahead.
func (w *world) skip(d time.Duration) { w.clockNow.Add(int64(d)) }

// dropped is how often something was dropped for a reason.
func (w *world) dropped(reason string) float64 {
	return testutil.ToFloat64(w.metrics.drops.WithLabelValues(reason))
}

// The db_proxy of a world: it lets everybody in whose password is "good", as
// the user whose number stands behind his name's first letter, and leaves
// everything else to the test.
func ourDB(t testing.TB) *neighbour {
	t.Helper()
	n := ours(t, link.Config{Role: "db_proxy", Capabilities: []string{link.CapStore}})
	n.does(letIn(t))
	return n
}

func originalDB(t testing.TB) *neighbour {
	t.Helper()
	n := original(t)
	n.does(letIn(t))
	return n
}

func letIn(t testing.TB) func(received) bool {
	t.Helper()
	return func(r received) bool {
		if r.Command != wire.ValidateReq {
			return false
		}
		req := new(server.IMValidateReq)
		if err := proto.Unmarshal(r.Body, req); err != nil {
			t.Error(err)
			return true
		}
		res := &server.IMValidateRsp{
			UserName: req.UserName, ResultCode: proto.Uint32(1), ResultString: proto.String("no"),
			AttachData: req.GetAttachData(),
		}
		if id, err := strconv.Atoi(req.GetUserName()[1:]); err == nil && req.GetPassword() == "good" {
			res.ResultCode, res.ResultString, res.UserInfo = proto.Uint32(0), proto.String("yes"), account(uint32(id))
		}
		body, err := proto.Marshal(res)
		if err != nil {
			t.Error(err)
		}
		r.from.SendPDU(wire.ValidateRes, r.Seq, body)
		return true
	}
}

// Users whom accounts does not know as active.
const (
	unknownUser  = 404
	disabledUser = 405
)

// accounts answers 0204 on top of handle.
func accounts(t testing.TB, handle func(received) bool) func(received) bool {
	t.Helper()
	return func(r received) bool {
		if r.Command != wire.UserInfoReq {
			return handle(r)
		}
		req := new(buddy.IMUsersInfoReq)
		if err := proto.Unmarshal(r.Body, req); err != nil {
			t.Error(err)
			return true
		}
		res := &buddy.IMUsersInfoRsp{UserId: req.UserId, AttachData: req.GetAttachData()}
		for _, id := range req.GetUserIdList() {
			a := account(id)
			if id == disabledUser {
				a.Status = n(1)
			}
			if id != unknownUser {
				res.UserInfoList = append(res.UserInfoList, a)
			}
		}
		r.answer(t, wire.UserInfoRes, res)
		return true
	}
}

func account(id uint32) *basedefine.UserInfo {
	return &basedefine.UserInfo{
		UserId: proto.Uint32(id), UserGender: proto.Uint32(1), UserNickName: proto.String("nick"),
		AvatarUrl: proto.String("g0/a.png"), DepartmentId: proto.Uint32(1), Email: proto.String("a@example.org"),
		UserRealName: proto.String("name"), UserTel: proto.String("1"), UserDomain: proto.String("d"),
		Status: proto.Uint32(0), SignInfo: proto.String("sign"),
	}
}

// conversation is what storing keeps of one.
type conversation struct {
	id      uint32
	members []uint32
}

// storing makes a db_proxy of ours store messages: ids rise in each
// conversation; groups are those named.
func storing(t testing.TB, groups map[uint32][]uint32) func(received) bool {
	t.Helper()
	var mu sync.Mutex
	conversations := map[im.Conversation]*conversation{}
	in := letIn(t)
	return func(r received) bool {
		if r.Command != wire.MsgData {
			return in(r)
		}
		m := new(message.IMMsgData)
		if err := proto.Unmarshal(r.Body, m); err != nil {
			t.Error(err)
			return true
		}
		conv := im.ConversationOf(im.UserID(m.GetFromUserId()), im.MsgType(m.GetMsgType()).Kind(), m.GetToSessionId())
		mu.Lock()
		c := conversations[conv]
		if c == nil {
			c = &conversation{members: groups[uint32(conv.Group)]}
			conversations[conv] = c
		} else {
			m.SincePreviousMs = proto.Uint32(0)
		}
		c.id++
		m.MsgId, m.Members, m.OperationId = proto.Uint32(c.id), c.members, nil
		r.from.SendPDU(wire.MsgData, r.Seq, encode(t, m))
		mu.Unlock()
		return true
	}
}

// The route_server of a world swallows news of log-ins.
func ourRoute(t testing.TB) *neighbour {
	t.Helper()
	n := ours(t, link.Config{Role: "route_server", Capabilities: []string{link.CapRelay}})
	n.does(swallowNews)
	return n
}

func originalRoute(t testing.TB) *neighbour {
	t.Helper()
	n := original(t)
	n.does(swallowNews)
	return n
}

func swallowNews(r received) bool {
	switch r.Command {
	case wire.RoleSet, wire.OnlineUserInfo, wire.UserStatusUpdate, wire.ServerKickUser:
		return true
	}
	return false
}

// user is a client connection.
type user struct {
	*lib.RawConn
	t    testing.TB
	w    *world
	id   uint32
	kind im.ClientType
	seq  uint16
}

// connect opens a connection without a log-in.
func (w *world) connect() *user {
	w.t.Helper()
	conn, err := lib.DialRaw(w.t.Context(), w.addr, "")
	if err != nil {
		w.t.Fatal(err)
	}
	u := &user{RawConn: conn, t: w.t, w: w, seq: 100}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.users = append(w.users, u)
	return u
}

func loginOf(id uint32, kind im.ClientType, caps ...string) *login.IMLoginReq {
	return &login.IMLoginReq{
		UserName: proto.String(fmt.Sprintf("u%d", id)), Password: proto.String("good"),
		OnlineStatus: basedefine.UserStatType_USER_STATUS_ONLINE.Enum(),
		ClientType:   basedefine.ClientType(kind).Enum(), ClientVersion: proto.String("1.0"), Capabilities: caps,
	}
}

// login connects and logs in.
func (w *world) login(id uint32, kind im.ClientType, caps ...string) *user {
	w.t.Helper()
	u := w.connect()
	u.id, u.kind = id, kind
	u.send(wire.LoginReq, 1, loginOf(id, kind, caps...))
	res := new(login.IMLoginRes)
	if pdu := u.want(wire.LoginRes, res); pdu.Seq != 1 || res.GetResultCode() != 0 || res.GetUserInfo().GetUserId() != id {
		w.t.Fatalf("log-in of %d: seq %d, %v", id, pdu.Seq, res)
	}
	return u
}

func (u *user) send(command wire.Command, seq uint16, m proto.Message) {
	u.t.Helper()
	if err := u.Send(command, seq, m); err != nil {
		u.t.Fatal(err)
	}
}

func (u *user) sendBody(command wire.Command, seq uint16, body []byte) {
	u.t.Helper()
	if err := u.SendPDU(command, seq, body); err != nil {
		u.t.Fatal(err)
	}
}

// next returns the next PDU.
func (u *user) next() wire.PDU {
	u.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	pdu, err := u.Receive(ctx)
	if err != nil {
		u.t.Fatalf("user %d: %v", u.id, err)
	}
	return pdu
}

// want returns the next PDU, which must be command, and decodes it into m.
func (u *user) want(command wire.Command, m proto.Message) wire.PDU {
	u.t.Helper()
	pdu := u.next()
	if pdu.Command != command {
		u.t.Fatalf("user %d got %v (%#04x), want %v", u.id, pdu.Command, uint16(pdu.Command), command)
	}
	if m != nil {
		decode(u.t, pdu.Body, m)
	}
	return pdu
}

// push is want for what nobody asked for.
func (u *user) push(command wire.Command, m proto.Message) {
	u.t.Helper()
	if pdu := u.want(command, m); pdu.Seq != 0 {
		u.t.Errorf("user %d: a push of %v with seq %d", u.id, command, pdu.Seq)
	}
}

// quiet checks that nothing has been sent to the user before this moment.
func (u *user) quiet() {
	u.t.Helper()
	u.seq++
	u.sendBody(wire.Heartbeat, u.seq, nil)
	if pdu := u.next(); pdu.Command != wire.Heartbeat || pdu.Seq != u.seq {
		u.t.Fatalf("user %d got %v, seq %d", u.id, pdu.Command, pdu.Seq)
	}
}

// closed checks that the server closes the connection, and sends nothing more.
func (u *user) closed() {
	u.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if pdu, err := u.Receive(ctx); err == nil {
		u.t.Fatalf("user %d got %v instead of an end", u.id, pdu.Command)
	} else if ctx.Err() != nil {
		u.t.Fatalf("user %d: the connection stays open", u.id)
	}
	u.Close()
}

// tick lets the server look at the connection as if time had passed.
func (u *user) tick(after time.Duration) {
	u.t.Helper()
	var found *client
	local := u.LocalAddr().String()
	linktest.Eventually(u.t, "the connection", func() bool {
		u.w.clients.Range(func(_, value any) bool {
			if c := value.(*client); c.conn.Peer().String() == local {
				found = c
			}
			return found == nil
		})
		return found != nil
	})
	done := make(chan struct{})
	found.conn.Do(func() {
		u.w.OnTick(found.conn, time.Now().Add(after))
		close(done)
	})
	linktest.Wait(u.t, done, "a tick")
}

// say is a text message to a user or a group.
func say(kind basedefine.MsgType, to uint32, text string) *message.IMMsgData {
	return &message.IMMsgData{
		FromUserId: proto.Uint32(0), ToSessionId: proto.Uint32(to), MsgId: proto.Uint32(0),
		CreateTime: proto.Uint32(0), MsgType: kind.Enum(), MsgData: []byte(text),
	}
}

const (
	single = basedefine.MsgType_MSG_TYPE_SINGLE_TEXT
	inside = basedefine.MsgType_MSG_TYPE_GROUP_TEXT // of a group
)

// acked waits for the acknowledgement of a message.
func (u *user) acked(seq uint16) *message.IMMsgDataAck {
	u.t.Helper()
	ack := new(message.IMMsgDataAck)
	if pdu := u.want(wire.MsgDataAck, ack); pdu.Seq != seq || ack.GetUserId() != u.id {
		u.t.Fatalf("acknowledgement seq %d, %v; sent %d", pdu.Seq, ack, seq)
	}
	return ack
}

// gets waits for a pushed message.
func (u *user) gets(from, to, id uint32) *message.IMMsgData {
	u.t.Helper()
	m := new(message.IMMsgData)
	u.push(wire.MsgData, m)
	if m.GetFromUserId() != from || m.GetToSessionId() != to || m.GetMsgId() != id {
		u.t.Fatalf("user %d got message %d from %d to %d, want %d from %d to %d",
			u.id, m.GetMsgId(), m.GetFromUserId(), m.GetToSessionId(), id, from, to)
	}
	return m
}

// delivered is how many messages for delivery came to an end.
func (w *world) delivered(outcome deliver.Outcome) int {
	return int(testutil.ToFloat64(w.metrics.delivered.WithLabelValues(string(outcome))))
}

func (w *world) addrOf(n *neighbour) string {
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(n.port))
}
