package routeserver

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"

	"teamtalk/internal/link"
	"teamtalk/internal/link/linktest"
	"teamtalk/internal/testenv"
	"teamtalk/internal/wire"
	"teamtalk/pb/basedefine"
	"teamtalk/pb/buddy"
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

// running is a route_server with its configuration read from text.
type running struct {
	*Server
	t    testing.TB
	addr string
	stop func()
}

func start(t testing.TB) *running {
	t.Helper()
	addr := testenv.FreeAddr(t)
	_, port, _ := net.SplitHostPort(addr)
	cfg, err := ParseConfig(strings.NewReader("ListenIP=127.0.0.1\nShutdownTimeout=5s\nListenMsgPort="+port), "test.conf")
	if err != nil {
		t.Fatal(err)
	}
	s, err := New(cfg, Deps{Log: slog.New(slog.DiscardHandler), Reg: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	r := &running{Server: s, t: t, addr: addr}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	r.stop = sync.OnceFunc(func() {
		cancel()
		if err := linktest.Wait(t, ended, "end of Run"); err != nil {
			t.Errorf("Run = %v", err)
		}
	})
	t.Cleanup(r.stop)
	linktest.Eventually(t, "readiness", func() bool { return s.Ready() == nil })
	return r
}

// ours links a msg_server of ours and waits until route_server sees it.
func (r *running) ours() *linktest.Ours {
	r.t.Helper()
	return r.see(func() linktest.Peer {
		return linktest.DialOurs(r.t, r.addr, link.Config{Role: "msg_server", Capabilities: []string{link.CapRelay}})
	}).(*linktest.Ours)
}

// original links an original msg_server and waits until route_server sees it.
func (r *running) original() *linktest.Original {
	r.t.Helper()
	return r.see(func() linktest.Peer {
		o := linktest.DialOriginal(r.t, r.addr)
		o.Send(wire.RoleSet, 0, &server.IMRoleSet{Master: proto.Uint32(1)})
		return o
	}).(*linktest.Original)
}

func (r *running) see(dial func() linktest.Peer) linktest.Peer {
	r.t.Helper()
	before := len(r.links.Load().all)
	p := dial()
	linktest.Eventually(r.t, "the link at route_server", func() bool { return len(r.links.Load().all) == before+1 })
	return p
}

// mark makes every link receive a last PDU, so that a test sees that nothing
// came before it.
func (r *running) mark(from linktest.Peer, all ...linktest.Peer) {
	r.t.Helper()
	from.SendBody(wire.SignInfoChangedNotify, 0, []byte("mark"))
	for _, p := range all {
		p.Want(wire.SignInfoChangedNotify)
	}
}

const (
	mac = basedefine.ClientType_CLIENT_TYPE_MAC
	ios = basedefine.ClientType_CLIENT_TYPE_IOS
)

func statusUpdate(user uint32, ct basedefine.ClientType, online bool) *server.IMUserStatusUpdate {
	status := uint32(2)
	if online {
		status = 1
	}
	return &server.IMUserStatusUpdate{UserId: proto.Uint32(user), ClientType: ct.Enum(), UserStatus: proto.Uint32(status)}
}

func userList(ct basedefine.ClientType, users ...uint32) *server.IMOnlineUserInfo {
	m := new(server.IMOnlineUserInfo)
	for _, user := range users {
		m.UserStatList = append(m.UserStatList, &basedefine.ServerUserStat{
			UserId: proto.Uint32(user), ClientType: ct.Enum(), Status: basedefine.UserStatType_USER_STATUS_ONLINE.Enum(),
		})
	}
	return m
}

func parse[M proto.Message](t testing.TB, pdu wire.PDU, m M) M {
	t.Helper()
	if err := proto.Unmarshal(pdu.Body, m); err != nil {
		t.Fatalf("%v: %v", pdu.Command, err)
	}
	return m
}

func wantStatus(t testing.TB, p linktest.Peer, user uint32, online bool) {
	t.Helper()
	want := basedefine.UserStatType_USER_STATUS_OFFLINE
	if online {
		want = basedefine.UserStatType_USER_STATUS_ONLINE
	}
	pdu := p.Want(wire.StatusNotify)
	m := parse(t, pdu, new(buddy.IMUserStatNotify))
	if m.GetUserStat().GetUserId() != user || m.GetUserStat().GetStatus() != want || pdu.Seq != 0 {
		t.Errorf("0203 %v, want user %d %v", m, user, want)
	}
}

func wantPCLogin(t testing.TB, p linktest.Peer, user, login uint32) {
	t.Helper()
	m := parse(t, p.Want(wire.PCLoginStatus), new(server.IMServerPCLoginStatusNotify))
	if m.GetUserId() != user || m.GetLoginStatus() != login {
		t.Errorf("070E %v, want user %d %d", m, user, login)
	}
}

func TestPresenceIsToldToAll(t *testing.T) {
	t.Parallel()
	r := start(t)
	a, b, c := r.ours(), r.ours(), r.original()
	all := []linktest.Peer{a, b, c}

	a.Send(wire.UserStatusUpdate, 0, statusUpdate(7, mac, true))
	for _, p := range all {
		wantStatus(t, p, 7, true)
		wantPCLogin(t, p, 7, 1)
	}
	c.Send(wire.UserStatusUpdate, 0, statusUpdate(7, ios, true))
	for _, p := range all {
		wantPCLogin(t, p, 7, 1)
	}
	a.Send(wire.UserStatusUpdate, 0, statusUpdate(7, mac, false))
	for _, p := range all {
		wantStatus(t, p, 7, false)
		wantPCLogin(t, p, 7, 0)
	}
	b.Send(wire.UserStatusUpdate, 0, statusUpdate(8, ios, true)) // a phone alone is nobody's business
	b.Send(wire.UserStatusUpdate, 0, statusUpdate(9, mac, true))
	for _, p := range all {
		wantStatus(t, p, 9, true)
		wantPCLogin(t, p, 9, 1)
	}
	if got := r.presence.Users(); got != 3 {
		t.Errorf("%d users, want 3", got)
	}
}

func TestLostMsgServer(t *testing.T) {
	t.Parallel()
	r := start(t)
	a, b := r.ours(), r.ours()
	a.Send(wire.OnlineUserInfo, 0, userList(mac, 7, 8))
	linktest.Eventually(t, "the announcement", func() bool { return r.presence.Users() == 2 })
	b.Send(wire.UserStatusUpdate, 0, statusUpdate(7, ios, true))
	wantPCLogin(t, b, 7, 1)

	a.Stop()
	var off []uint32 // 0203, and 070E where a phone is left
	for range 3 {
		switch pdu := b.Next(); pdu.Command {
		case wire.StatusNotify:
			m := parse(t, pdu, new(buddy.IMUserStatNotify)).GetUserStat()
			if m.GetStatus() != basedefine.UserStatType_USER_STATUS_OFFLINE {
				t.Errorf("0203 says %v", m)
			}
			off = append(off, m.GetUserId())
		case wire.PCLoginStatus:
			m := parse(t, pdu, new(server.IMServerPCLoginStatusNotify))
			if m.GetUserId() != 7 || m.GetLoginStatus() != 0 {
				t.Errorf("070E says %v, want 7 off", m)
			}
		default:
			t.Errorf("received %v", pdu.Command)
		}
	}
	slices.Sort(off)
	if !slices.Equal(off, []uint32{7, 8}) {
		t.Errorf("off-line: %v, want 7 and 8", off)
	}

	c := r.ours() // the msg_server is back, with one of its users
	c.Send(wire.OnlineUserInfo, 0, userList(mac, 8))
	for _, p := range []linktest.Peer{b, c} {
		wantStatus(t, p, 8, true)
		wantPCLogin(t, p, 8, 1)
	}
	if err := r.presence.Check(); err != nil {
		t.Error(err)
	}
}

func TestStatusQuery(t *testing.T) {
	t.Parallel()
	r := start(t)
	a := r.ours()
	a.Send(wire.OnlineUserInfo, 0, userList(mac, 7, 300))
	a.Send(wire.UserStatusUpdate, 0, statusUpdate(8, ios, true))
	users := []uint32{300, 7, 8, 99, 7, 0, 4294967295}
	for _, attach := range [][]byte{nil, {}, []byte("handle")} {
		a.Send(wire.UsersStatusReq, 0xff01, &buddy.IMUsersStatReq{UserId: proto.Uint32(5), UserIdList: users, AttachData: attach})
		pdu := a.Want(wire.UsersStatusRes)
		m := parse(t, pdu, new(buddy.IMUsersStatRsp))
		if pdu.Seq != 0xff01 || m.GetUserId() != 5 || !bytes.Equal(m.GetAttachData(), attach) || (m.AttachData == nil) != (attach == nil) {
			t.Errorf("seq %x, user %d, attach %q; want ff01, 5, %q", pdu.Seq, m.GetUserId(), m.GetAttachData(), attach)
		}
		var got []uint32
		for i, u := range m.GetUserStatList() {
			got = append(got, u.GetUserId())
			want := basedefine.UserStatType_USER_STATUS_OFFLINE
			if u.GetUserId() == 7 || u.GetUserId() == 300 {
				want = basedefine.UserStatType_USER_STATUS_ONLINE
			}
			if u.GetStatus() != want {
				t.Errorf("entry %d: user %d is %v, want %v", i, u.GetUserId(), u.GetStatus(), want)
			}
		}
		if !slices.Equal(got, users) {
			t.Errorf("users %v, want %v", got, users)
		}
	}
}

func TestWhatIsDropped(t *testing.T) {
	t.Parallel()
	r := start(t)
	a, o := r.ours(), r.original()
	cases := map[string]struct {
		from    linktest.Peer
		command wire.Command
		body    []byte
		counter prometheus.Counter
	}{
		"unknown command":    {a, 0x0799, []byte("x"), r.metrics.unknownCommand},
		"a client's command": {o, wire.LoginReq, nil, r.metrics.unknownCommand},
		"bad 0708":           {a, wire.OnlineUserInfo, []byte{0xff}, r.metrics.badBody},
		"bad 070A":           {a, wire.UserStatusUpdate, nil, r.metrics.badBody},
		"bad 020A":           {o, wire.UsersStatusReq, []byte{8}, r.metrics.badBody},
		"bad 0301":           {o, wire.MsgData, []byte{0xff}, r.metrics.badBody},
		"bad 0783":           {a, wire.Relay, []byte("x"), r.metrics.badBody},
		"0783 of originals":  {o, wire.Relay, nil, r.metrics.notCapable},
		"log-out of nobody":  {a, wire.UserStatusUpdate, mustMarshal(t, statusUpdate(5, mac, false)), r.metrics.badPresence},
		"log-in of user 0":   {a, wire.UserStatusUpdate, mustMarshal(t, statusUpdate(0, mac, true)), r.metrics.badPresence},
	}
	for name, c := range cases {
		before := testutil.ToFloat64(c.counter)
		c.from.SendBody(c.command, 1, c.body)
		r.mark(c.from, a, o) // the link lives, and nothing was passed on
		if got := testutil.ToFloat64(c.counter) - before; got != 1 {
			t.Errorf("%s: counted %v times, want once", name, got)
		}
	}
}

func mustMarshal(t testing.TB, m proto.Message) []byte {
	t.Helper()
	b, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestStop(t *testing.T) {
	t.Parallel()
	r := start(t)
	a, b := r.ours(), r.original()
	a.Send(wire.OnlineUserInfo, 0, userList(mac, 7))
	r.mark(a, a, b)
	before := time.Now()
	go r.stop()
	if _, err := b.Read(make([]byte, 1)); err == nil {
		t.Error("a stopping route_server says something") // such as that user 7 is gone
	}
	b.Close()
	r.stop()
	if took := time.Since(before); took > 4*time.Second {
		t.Errorf("stopping took %v although both peers closed", took)
	}
	if r.Ready() == nil {
		t.Error("ready after the end")
	}
	again, err := New(r.cfg, Deps{Log: slog.New(slog.DiscardHandler), Reg: prometheus.NewRegistry()})
	if err != nil || again.Ready() == nil {
		t.Errorf("New on the same port = %v; it is ready before Run", err)
	}
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	r := start(t)
	_, err := New(r.cfg, Deps{Log: slog.New(slog.DiscardHandler), Reg: prometheus.NewRegistry()})
	if err == nil || !strings.Contains(err.Error(), "route_server: msg_server listener: address "+r.addr+" is taken") {
		t.Errorf("New on a taken port = %v", err)
	}
	if _, err := New(r.cfg, Deps{}); err == nil {
		t.Error("New without Deps does not fail")
	}
}

func TestNoticesComeInChunks(t *testing.T) {
	t.Parallel()
	r := start(t)
	a, b := r.ours(), r.ours()
	var users []uint32
	for user := range uint32(10_000) {
		users = append(users, user+1)
	}
	a.Send(wire.OnlineUserInfo, 0, userList(mac, users...))
	linktest.Eventually(t, "the announcement", func() bool { return r.presence.Users() == len(users) })
	go a.Stop()
	gone := map[uint32]bool{}
	for range users {
		gone[parse(t, b.Want(wire.StatusNotify), new(buddy.IMUserStatNotify)).GetUserStat().GetUserId()] = true
	}
	if len(gone) != len(users) {
		t.Errorf("%d users reported off-line, want %d", len(gone), len(users))
	}
}
