package msgserver

import (
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"teamtalk/internal/im"
	"teamtalk/internal/link"
	"teamtalk/internal/link/linktest"
	"teamtalk/internal/wire"
	"teamtalk/pb/basedefine"
	"teamtalk/pb/buddy"
	"teamtalk/pb/extension"
	"teamtalk/pb/login"
	"teamtalk/pb/server"
	"teamtalk/pb/switchservice"
)

// What is missing is told in the order of db_proxy, login_server,
// route_server, before the body is looked at.
// Source: docs/protocol/flows.md §3.
func TestLogInWithoutNeighbours(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		db, login, route bool
		body             []byte
		want             basedefine.ResultType
	}{
		"nothing":         {false, false, false, nil, basedefine.ResultType_REFUSE_REASON_NO_DB_SERVER},
		"no db_proxy":     {false, true, true, nil, basedefine.ResultType_REFUSE_REASON_NO_DB_SERVER},
		"no login_server": {true, false, false, []byte{0xff}, basedefine.ResultType_REFUSE_REASON_NO_LOGIN_SERVER},
		"no route_server": {true, true, false, nil, basedefine.ResultType_REFUSE_REASON_NO_ROUTE_SERVER},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := setup{
				dbs: []*neighbour{newNeighbour(t)}, logins: []*neighbour{newNeighbour(t)},
				routes: []*neighbour{newNeighbour(t)}, bare: true,
			}
			if tc.db {
				s.dbs[0] = ourDB(t)
			}
			if tc.login {
				s.logins[0] = ours(t, link.Config{Role: "login_server"})
			}
			if tc.route {
				s.routes[0] = ourRoute(t)
			}
			w := newWorldOf(t, s)
			linktest.Eventually(t, "the links", func() bool {
				return w.db.Open() == tc.db && w.logins.open() == tc.login && w.routes.open() == tc.route
			})
			if w.Ready() == nil {
				t.Error("ready without a neighbour")
			}
			u := w.connect()
			if tc.body != nil {
				u.sendBody(wire.LoginReq, 7, tc.body)
			} else {
				u.send(wire.LoginReq, 7, loginOf(7, im.Mac))
			}
			res := new(login.IMLoginRes)
			if pdu := u.want(wire.LoginRes, res); pdu.Seq != 7 || res.GetResultCode() != tc.want ||
				res.GetResultString() != "服务端异常" || res.GetUserInfo() != nil || res.GetServerTime() == 0 {
				t.Errorf("seq %d, %v; want %v", pdu.Seq, res, tc.want)
			}
			u.closed()
		})
	}
}

// Source: docs/protocol/flows.md §3.
func TestLogInIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	cases := map[string]struct {
		result, want uint32
		user         *basedefine.UserInfo
	}{
		"wrong password":    {1, 6, nil},
		"too many":          {6, 6, nil},
		"database away":     {2, 3, nil},
		"granted to no one": {0, 6, nil},
		"with a user":       {1, 6, account(7)},
	}
	for name, tc := range cases {
		w.db1.does(func(r received) bool {
			req := decode(t, r.Body, new(server.IMValidateReq))
			r.answer(t, wire.ValidateRes, &server.IMValidateRsp{
				UserName: req.UserName, ResultCode: proto.Uint32(tc.result), ResultString: proto.String(name),
				UserInfo: tc.user, AttachData: req.GetAttachData(),
			})
			return true
		})
		u := w.connect()
		u.send(wire.LoginReq, 9, loginOf(7, im.Mac))
		res := new(login.IMLoginRes)
		if pdu := u.want(wire.LoginRes, res); pdu.Seq != 9 || uint32(res.GetResultCode()) != tc.want ||
			res.GetResultString() != name || res.GetUserInfo() != nil || res.OnlineStatus != nil {
			t.Errorf("%s: seq %d, %v", name, pdu.Seq, res)
		}
		u.closed()
	}
	if w.sessions.Len() != 0 {
		t.Error("somebody is logged in")
	}
}

// A log-in that does not parse is dropped, and the next one counts; a second
// one is ignored. Source: docs/protocol/flows.md §3.
func TestLogIn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.db1.does(nil)
	u := w.connect()
	bad := []*login.IMLoginReq{loginOf(7, 3), loginOf(7, im.Mac), loginOf(7, im.Mac), loginOf(7, im.Mac)}
	bad[1].OnlineStatus = basedefine.UserStatType(4).Enum()
	bad[2].OnlineStatus = basedefine.UserStatType(0).Enum()
	bad[3].UserName = proto.String("")
	for _, m := range bad {
		u.send(wire.LoginReq, 1, m)
	}
	u.sendBody(wire.LoginReq, 1, []byte{0xff})
	u.sendBody(wire.LoginReq, 1, nil)
	u.quiet()
	good := loginOf(7, im.IOS)
	good.OnlineStatus = basedefine.UserStatType_USER_STATUS_LEAVE.Enum()
	u.send(wire.LoginReq, 2, good)
	u.send(wire.LoginReq, 3, loginOf(8, im.IOS))
	r := w.db1.want(wire.ValidateReq)
	req := decode(t, r.Body, new(server.IMValidateReq))
	if r.Seq != 2 || req.GetUserName() != "u7" || req.GetPassword() != "good" || req.GetClientAddr() != "127.0.0.1" {
		t.Errorf("0703: seq %d, %v", r.Seq, req)
	}
	// Nothing but heartbeat and log-out counts before the answer.
	u.send(wire.UnreadCountReq, 4, &basedefine.UserStat{UserId: proto.Uint32(7), Status: basedefine.UserStatType_USER_STATUS_ONLINE.Enum()})
	u.quiet()
	info := account(7)
	info.Status = proto.Uint32(2)
	r.answer(t, wire.ValidateRes, &server.IMValidateRsp{
		UserName: req.UserName, ResultCode: proto.Uint32(0), ResultString: proto.String("x"), UserInfo: info,
		AttachData: req.GetAttachData(),
	})
	res := new(login.IMLoginRes)
	if pdu := u.want(wire.LoginRes, res); pdu.Seq != 2 {
		t.Errorf("seq %d", pdu.Seq)
	}
	if !proto.Equal(res.GetUserInfo(), account(7)) || res.GetResultString() != "成功" || res.Capabilities != nil ||
		res.GetOnlineStatus() != basedefine.UserStatType_USER_STATUS_LEAVE {
		t.Errorf("0104: %v", res)
	}
	// The answer once more, and one for a connection that never was.
	for _, attach := range [][]byte{req.GetAttachData(), attachConn(1 << 40), []byte("?"), nil} {
		r.answer(t, wire.ValidateRes, &server.IMValidateRsp{
			UserName: req.UserName, ResultCode: proto.Uint32(1), ResultString: proto.String("x"), AttachData: attach,
		})
	}
	linktest.Eventually(t, "four answers nobody waits for", func() bool { return w.dropped("client_gone") == 4 })
	u.quiet()
	w.db1.quiet()
	if w.dropped("second_login") != 1 || w.dropped("before_login") != 1 || w.dropped("bad_body") != 6 {
		t.Error("what was dropped is not counted")
	}
}

// Two log-ins of one name at a time have nothing to do with each other.
// Source: docs/protocol/defects.md C4.
func TestParallelLogInsOfOneName(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.db1.does(nil)
	a, b := w.connect(), w.connect()
	wrong := loginOf(7, im.Mac)
	wrong.Password = proto.String("wrong")
	a.send(wire.LoginReq, 1, wrong)
	first := w.db1.want(wire.ValidateReq)
	b.send(wire.LoginReq, 1, loginOf(7, im.Mac))
	second := w.db1.want(wire.ValidateReq)
	letIn(t)(first)
	res := new(login.IMLoginRes)
	if a.want(wire.LoginRes, res); res.GetResultCode() != 6 {
		t.Errorf("wrong password: %v", res)
	}
	a.closed()
	letIn(t)(second)
	if b.want(wire.LoginRes, res); res.GetResultCode() != 0 {
		t.Errorf("right password: %v", res)
	}
}

// The log-ins of who was disabled end, and nobody else's.
// Source: docs/protocol/defects.md C14.
func TestUserClosed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	pc, phone, other := w.login(7, im.Mac), w.login(7, im.IOS), w.login(8, im.Mac)
	w.db1.sendBody(wire.UserClosed, 0, []byte{0xff})
	w.db1.send(wire.UserClosed, 0, &extension.IMUserClosed{UserId: proto.Uint32(7)})
	pc.closed()
	phone.closed()
	other.quiet()
	if w.dropped("bad_body") != 1 {
		t.Error("garbage is not counted")
	}
}

// Capabilities are granted where they are asked for and can be kept.
func TestCapabilities(t *testing.T) {
	t.Parallel()
	t.Run("ours", func(t *testing.T) {
		t.Parallel()
		grants(t, newWorldOf(t, setup{dbs: []*neighbour{deliveringDB(t, newLog())}}),
			[]string{"client_msg_id", "delivered", "move", "nack"})
	})
	t.Run("an older db_proxy of ours", func(t *testing.T) {
		t.Parallel()
		grants(t, newWorld(t), []string{"client_msg_id", "move", "nack"})
	})
	t.Run("beside an original db_proxy", func(t *testing.T) {
		t.Parallel()
		grants(t, newWorldOf(t, setup{dbs: []*neighbour{ourDB(t), originalDB(t)}}), []string{"move", "nack"})
	})
}

func grants(t *testing.T, w *world, want []string) {
	t.Helper()
	cases := [][2][]string{
		{{"nack", "levitation", "client_msg_id", "move", "delivered"}, want},
		{{"levitation"}, nil},
		{nil, nil},
	}
	for i, tc := range cases {
		u := w.connect()
		u.send(wire.LoginReq, 1, loginOf(uint32(i+1), im.Mac, tc[0]...))
		res := new(login.IMLoginRes)
		if u.want(wire.LoginRes, res); !slices.Equal(res.GetCapabilities(), tc[1]) {
			t.Errorf("asked %v, granted %v, want %v", tc[0], res.GetCapabilities(), tc[1])
		}
	}
}

// The timers of a connection. Source: docs/protocol/wire.md §2;
// docs/protocol/flows.md §3; docs/protocol/defects.md C1.
func TestTimers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	cases := map[string]struct {
		open         func() *user
		alive, ended time.Duration
	}{
		"without a log-in": {w.connect, 14 * time.Second, 16 * time.Second},
		"PC":               {func() *user { return w.login(1, im.Windows) }, 119 * time.Second, 121 * time.Second},
		"phone":            {func() *user { return w.login(2, im.Android) }, 299 * time.Second, 301 * time.Second},
		"kicked": {func() *user {
			u := w.login(3, im.Mac)
			w.login(3, im.Mac)
			u.push(wire.KickUser, nil)
			return u
		}, time.Second, 3 * time.Second},
	}
	for name, tc := range cases {
		u := tc.open()
		t.Log(name)
		u.tick(tc.alive)
		u.quiet()
		u.tick(tc.ended)
		u.closed()
	}
}

// The connection goes while its log-in is being validated.
func TestGoneWhileValidating(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.db1.does(nil)
	u := w.connect()
	u.send(wire.LoginReq, 1, loginOf(7, im.Mac))
	r := w.db1.want(wire.ValidateReq)
	u.Close()
	linktest.Eventually(t, "the end of the connection", func() bool { return w.engine.Accepted() == 0 })
	letIn(t)(r)
	linktest.Eventually(t, "the answer", func() bool { return w.dropped("client_gone") == 1 })
	if w.sessions.Len() != 0 {
		t.Error("a session without a connection")
	}
}

// A log-in survives the loss of the db_proxy that was asked.
func TestLogInSurvivesDBProxy(t *testing.T) {
	t.Parallel()
	dbs := []*neighbour{ourDB(t), originalDB(t)}
	w := newWorldOf(t, setup{dbs: dbs})
	asked := make(chan int, 2)
	for i, db := range dbs {
		db.does(func(received) bool { asked <- i; return true })
	}
	u := w.connect()
	u.send(wire.LoginReq, 5, loginOf(7, im.Mac))
	first := linktest.Wait(t, asked, "a question")
	dbs[1-first].does(letIn(t))
	dbs[first].stop()
	if pdu := u.want(wire.LoginRes, nil); pdu.Seq != 5 {
		t.Errorf("seq %d", pdu.Seq)
	}
	// Without another one, it is refused.
	dbs[1-first].does(func(received) bool { asked <- 0; return true })
	u = w.connect()
	u.send(wire.LoginReq, 6, loginOf(8, im.Mac))
	linktest.Wait(t, asked, "a question")
	dbs[1-first].stop()
	res := new(login.IMLoginRes)
	if u.want(wire.LoginRes, res); res.GetResultCode() != basedefine.ResultType_REFUSE_REASON_NO_DB_SERVER {
		t.Errorf("%v", res)
	}
	u.closed()
}

// What is pushed between the log-in and its answer comes behind the answer.
func TestPushesWaitForTheAnswer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	u := w.connect()
	u.id = 7
	// The route_server knows of the session before the client hears anything.
	w.route1.does(func(r received) bool {
		if r.Command == wire.UserStatusUpdate {
			for i := range 3 {
				body := encode(t, &switchservice.IMP2PCmdMsg{
					FromUserId: proto.Uint32(9), ToUserId: proto.Uint32(7), CmdMsgData: proto.String(strconv.Itoa(i)),
				})
				r.from.SendPDU(wire.P2PCommand, 33, body)
			}
		}
		return true
	})
	u.send(wire.LoginReq, 1, loginOf(7, im.Mac))
	if pdu := u.want(wire.LoginRes, nil); pdu.Seq != 1 {
		t.Errorf("seq %d", pdu.Seq)
	}
	for i := range 3 {
		m := new(switchservice.IMP2PCmdMsg)
		if u.push(wire.P2PCommand, m); m.GetCmdMsgData() != strconv.Itoa(i) {
			t.Errorf("command %d: %v", i, m)
		}
	}

	// The same, slowly: nothing is written before greet.
	c := &client{server: w.Server}
	for i := 0; c.push(make([]byte, 1000)); i++ {
		if i*1000 > maxEarly {
			t.Fatal("what waits is not bounded")
		}
	}
	if len(c.early) > maxEarly || w.dropped("before_greeting") != 1 {
		t.Errorf("%d bytes wait", len(c.early))
	}
}

// What other servers hear of log-ins, and in which order.
// Source: docs/protocol/flows.md §2, §3, §5.
func TestNewsOfLogIns(t *testing.T) {
	t.Parallel()
	routes := []*neighbour{ourRoute(t), ourRoute(t)}
	logins := []*neighbour{ours(t, link.Config{Role: "login_server"}), original(t)}
	for _, n := range routes {
		n.does(nil)
	}
	w := newWorldOf(t, setup{routes: routes, logins: logins})
	masters := 0
	var master, other *neighbour
	for i, n := range routes {
		r := n.next()
		if r.Command == wire.RoleSet {
			masters++
			master, other = n, routes[1-i]
			r = n.next()
		}
		if r.Command != wire.OnlineUserInfo || len(decode(t, r.Body, new(server.IMOnlineUserInfo)).GetUserStatList()) != 0 {
			t.Errorf("%v", r.Command)
		}
	}
	if masters != 1 {
		t.Fatalf("%d masters", masters)
	}
	for _, n := range logins {
		m := decode(t, n.want(wire.MsgServerInfo).Body, new(server.IMMsgServInfo))
		if m.GetIp1() != "127.0.0.1" || m.GetIp2() != "127.0.0.1" || int(m.GetPort()) != w.cfg.ListenPort ||
			m.GetCurConnCnt() != 0 || int(m.GetMaxConnCnt()) != w.engine.MaxConns() || m.GetHostName() == "" {
			t.Errorf("0709: %v", m)
		}
	}
	u := w.login(7, im.Android)
	kick := decode(t, master.want(wire.ServerKickUser).Body, new(server.IMServerKickUser))
	if kick.GetUserId() != 7 || kick.GetClientType() != basedefine.ClientType_CLIENT_TYPE_ANDROID || kick.GetReason() != 1 {
		t.Errorf("070D: %v", kick)
	}
	news := func(status, action uint32) {
		t.Helper()
		for _, n := range routes {
			m := decode(t, n.want(wire.UserStatusUpdate).Body, new(server.IMUserStatusUpdate))
			if m.GetUserId() != 7 || m.GetUserStatus() != status || m.GetClientType() != basedefine.ClientType_CLIENT_TYPE_ANDROID {
				t.Errorf("070A: %v", m)
			}
		}
		for _, n := range logins {
			m := decode(t, n.want(wire.UserCountUpdate).Body, new(server.IMUserCntUpdate))
			if m.GetUserId() != 7 || m.GetUserAction() != action {
				t.Errorf("070B: %v", m)
			}
		}
	}
	news(1, 1)
	// A lost master has a successor, and who comes back hears of everybody.
	master.stop()
	if m := decode(t, other.want(wire.RoleSet).Body, new(server.IMRoleSet)); m.GetMaster() != 1 {
		t.Errorf("0707: %v", m)
	}
	routes = []*neighbour{other}
	u.Close()
	news(2, 2)
	other.quiet()
}

// A new link to a route_server hears of everybody who is here, also of one
// who calls himself off-line; and of each once, whoever comes and goes
// meanwhile.
func TestAnnouncement(t *testing.T) {
	t.Parallel()
	flapping := ourRoute(t)
	w := newWorldOf(t, setup{routes: []*neighbour{flapping, ourRoute(t)}})
	w.login(7, im.Mac)
	hidden := w.connect()
	req := loginOf(8, im.IOS)
	req.OnlineStatus = basedefine.UserStatType_USER_STATUS_OFFLINE.Enum()
	hidden.send(wire.LoginReq, 1, req)
	hidden.want(wire.LoginRes, nil)
	var mu sync.Mutex
	var news []received
	lists := make(chan struct{}, 100)
	flapping.does(func(r received) bool {
		mu.Lock()
		news = append(news, r)
		mu.Unlock()
		if r.Command == wire.OnlineUserInfo {
			lists <- struct{}{}
		}
		return true
	})
	for id, round := uint32(100), 0; round < 2; round++ {
		flapping.connected(1)
		flapping.mu.Lock()
		flapping.links[0].Close("test")
		flapping.mu.Unlock()
		for again := false; !again; id++ {
			u := w.login(id, im.Mac)
			if id%2 == 0 {
				u.Close()
			}
			select {
			case <-lists:
				again = true
			default:
			}
		}
	}
	// A new list replaces what was known; the rest is added and taken away.
	count := map[uint32]int{}
	settled := func() bool {
		mu.Lock()
		defer mu.Unlock()
		for _, r := range news {
			switch r.Command {
			case wire.OnlineUserInfo:
				clear(count)
				for _, u := range decode(t, r.Body, new(server.IMOnlineUserInfo)).GetUserStatList() {
					if u.GetStatus() != basedefine.UserStatType_USER_STATUS_OFFLINE {
						count[u.GetUserId()]++
					}
				}
			case wire.UserStatusUpdate:
				m := decode(t, r.Body, new(server.IMUserStatusUpdate))
				count[m.GetUserId()] += map[uint32]int{1: 1, 2: -1}[m.GetUserStatus()]
			default:
			}
		}
		news = nil
		total := 0
		for user, n := range count {
			if n < 0 || n > 1 {
				t.Fatalf("user %d is there %d times", user, n)
			}
			total += n
		}
		return total == w.sessions.Len() && count[7] == 1 && count[8] == 1
	}
	linktest.Eventually(t, "the same view on both sides", settled)
}

// Who gives way to whom, on this server. Source: docs/protocol/flows.md §4.
func TestKicks(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	kicked := func(u *user, reason basedefine.KickReasonType) {
		t.Helper()
		m := new(login.IMKickUser)
		if u.push(wire.KickUser, m); m.GetUserId() != u.id || m.GetKickReason() != reason {
			t.Errorf("0107: %v", m)
		}
	}
	const duplicate, byPhone = basedefine.KickReasonType_KICK_REASON_DUPLICATE_USER, basedefine.KickReasonType_KICK_REASON_MOBILE_KICK
	pc, phone, stranger := w.login(7, im.Windows), w.login(7, im.Android), w.login(8, im.Windows)
	pc.quiet()
	mac := w.login(7, im.Mac)
	kicked(pc, duplicate)
	// Until it is closed it still lives, and hears of its end once.
	third := w.login(7, im.Windows)
	kicked(mac, duplicate)
	pc.quiet()
	phone.quiet()
	stranger.quiet()

	// On other servers: the class of the type counts.
	for _, r := range []struct {
		kind   im.ClientType
		reason uint32
	}{{im.IOS, 1}, {im.Mac, 2}} {
		w.route1.send(wire.ServerKickUser, 0, &server.IMServerKickUser{
			UserId: proto.Uint32(7), ClientType: basedefine.ClientType(r.kind).Enum(), Reason: proto.Uint32(r.reason),
		})
	}
	kicked(phone, duplicate)
	kicked(third, byPhone)
	stranger.quiet()
	for _, body := range [][]byte{{0xff}, encode(t, &server.IMServerKickUser{
		UserId: proto.Uint32(8), ClientType: basedefine.ClientType(3).Enum(), Reason: proto.Uint32(1),
	})} {
		w.route1.sendBody(wire.ServerKickUser, 0, body)
	}
	linktest.Eventually(t, "bad 070D", func() bool { return w.dropped("bad_body") == 2 })
	stranger.quiet()
	for _, u := range []*user{pc, phone, mac, third} {
		u.tick(kickGrace + time.Second)
		u.closed()
	}
	linktest.Eventually(t, "one session", func() bool { return w.sessions.Len() == 1 })
}

// A phone logs its user's PC off, here and elsewhere.
// Source: docs/protocol/flows.md §4.
func TestPhoneKicksPC(t *testing.T) {
	t.Parallel()
	route := ourRoute(t)
	route.does(nil)
	w := newWorldOf(t, setup{routes: []*neighbour{route}})
	w.route1.want(wire.RoleSet)
	w.route1.want(wire.OnlineUserInfo)
	phone, pc := w.login(7, im.IOS), w.login(7, im.Mac)
	for range 2 { // of the log-ins
		w.route1.want(wire.ServerKickUser)
		w.route1.want(wire.UserStatusUpdate)
	}
	pc.send(wire.KickPCReq, 20, &login.IMKickPCClientReq{UserId: proto.Uint32(7)})
	pc.quiet()
	phone.sendBody(wire.KickPCReq, 21, []byte{0xff})
	phone.quiet()
	phone.send(wire.KickPCReq, 22, &login.IMKickPCClientReq{UserId: proto.Uint32(99)})
	res := new(login.IMKickPCClientRsp)
	if pdu := phone.want(wire.KickPCRes, res); pdu.Seq != 22 || res.GetUserId() != 7 || res.GetResultCode() != 0 {
		t.Errorf("010B: %v", res)
	}
	m := new(login.IMKickUser)
	if pc.push(wire.KickUser, m); m.GetKickReason() != basedefine.KickReasonType_KICK_REASON_MOBILE_KICK {
		t.Errorf("0107: %v", m)
	}
	kick := decode(t, w.route1.want(wire.ServerKickUser).Body, new(server.IMServerKickUser))
	if kick.GetUserId() != 7 || kick.GetClientType() != basedefine.ClientType_CLIENT_TYPE_MAC || kick.GetReason() != 2 {
		t.Errorf("070D: %v", kick)
	}
	w.route1.quiet()
}

// The other servers hear that a log-in is over when its end begins, also of a
// client that keeps its socket open. The clock stands still meanwhile, so
// nothing ends by a time-out. Source: docs/protocol/flows.md §5.
func TestTheEndIsAnnouncedAtOnce(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(w *world, u *user){
		"log-out": func(_ *world, u *user) { u.send(wire.LogoutReq, 9, &login.IMLogoutReq{}) },
		"kick": func(w *world, u *user) {
			w.route1.send(wire.ServerKickUser, 0, &server.IMServerKickUser{
				UserId: proto.Uint32(7), ClientType: basedefine.ClientType(im.Mac).Enum(), Reason: proto.Uint32(2),
			})
			u.push(wire.KickUser, nil)
			u.tick(kickGrace + time.Second)
		},
		"closed account": func(w *world, _ *user) {
			w.db1.send(wire.UserClosed, 0, &extension.IMUserClosed{UserId: proto.Uint32(7)})
		},
		"idle": func(_ *world, u *user) { u.tick(idlePC + time.Minute) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			route := ourRoute(t)
			route.does(nil)
			w := newWorldOf(t, setup{routes: []*neighbour{route}})
			route.want(wire.RoleSet)
			route.want(wire.OnlineUserInfo)
			u := w.login(7, im.Mac)
			route.want(wire.ServerKickUser)
			route.want(wire.UserStatusUpdate)
			end(w, u)
			m := decode(t, route.want(wire.UserStatusUpdate).Body, new(server.IMUserStatusUpdate))
			if m.GetUserId() != 7 || m.GetUserStatus() != uint32(basedefine.UserStatType_USER_STATUS_OFFLINE) {
				t.Errorf("070A: %v", m)
			}
			u.Close()
			route.quiet()
		})
	}
}

// Logging out works at any time; only a phone takes its token along.
// Source: docs/protocol/flows.md §5; docs/protocol/defects.md C8.
func TestLogOut(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, u := range []*user{w.connect(), w.login(7, im.Mac), w.login(8, im.Android)} {
		u.send(wire.LogoutReq, 9, &login.IMLogoutReq{})
		res := new(login.IMLogoutRsp)
		if pdu := u.want(wire.LogoutRes, res); pdu.Seq != 9 || res.GetResultCode() != 0 {
			t.Errorf("0106: %v", res)
		}
		u.closed()
	}
	m := decode(t, w.db1.want(wire.DeviceTokenReq).Body, new(login.IMDeviceTokenReq))
	if m.GetUserId() != 8 || m.GetDeviceToken() != "" || m.GetClientType() != basedefine.ClientType_CLIENT_TYPE_ANDROID {
		t.Errorf("0108: %v", m)
	}
	w.db1.quiet()
}

// Who is on-line is told to PCs, whether a PC is on to the user's phones.
// Source: docs/protocol/flows.md §4.1, §4.2.
func TestPresence(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	pc, other, phone := w.login(7, im.Mac), w.login(8, im.Windows), w.login(7, im.IOS)
	status := func(user uint32, s basedefine.UserStatType) {
		w.route1.send(wire.StatusNotify, 44, &buddy.IMUserStatNotify{
			UserStat: &basedefine.UserStat{UserId: proto.Uint32(user), Status: s.Enum()},
		})
	}
	status(9, basedefine.UserStatType_USER_STATUS_ONLINE)
	for _, u := range []*user{pc, other} {
		m := new(buddy.IMUserStatNotify)
		if u.push(wire.StatusNotify, m); m.GetUserStat().GetUserId() != 9 ||
			m.GetUserStat().GetStatus() != basedefine.UserStatType_USER_STATUS_ONLINE {
			t.Errorf("0203: %v", m)
		}
	}
	for logged, want := range map[uint32]basedefine.UserStatType{
		0: basedefine.UserStatType_USER_STATUS_OFFLINE, 1: basedefine.UserStatType_USER_STATUS_ONLINE,
	} {
		w.route1.send(wire.PCLoginStatus, 44, &server.IMServerPCLoginStatusNotify{
			UserId: proto.Uint32(7), LoginStatus: proto.Uint32(logged),
		})
		m := new(buddy.IMPCLoginStatusNotify)
		if phone.push(wire.PCLoginStatusNotify, m); m.GetUserId() != 7 || m.GetLoginStat() != want {
			t.Errorf("020E: %v", m)
		}
	}
	w.route1.sendBody(wire.StatusNotify, 0, []byte{0xff})
	w.route1.sendBody(wire.PCLoginStatus, 0, []byte{0xff})
	linktest.Eventually(t, "bad news", func() bool { return w.dropped("bad_body") == 2 })
	for _, u := range []*user{pc, other, phone} {
		u.quiet()
	}
}
