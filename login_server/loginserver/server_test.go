package loginserver

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
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
	"teamtalk/internal/secret"
	"teamtalk/internal/testenv"
	"teamtalk/internal/wire"
	"teamtalk/pb/basedefine"
	"teamtalk/pb/login"
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

// running is a login_server with its configuration read from text.
type running struct {
	*Server
	t                     *testing.T
	client, http, msgAddr string
	stop                  func()
}

func start(t *testing.T, more ...string) *running {
	t.Helper()
	r := &running{t: t, client: testenv.FreeAddr(t), http: testenv.FreeAddr(t), msgAddr: testenv.FreeAddr(t)}
	port := func(addr string) string {
		_, p, _ := net.SplitHostPort(addr)
		return p
	}
	lines := append([]string{
		"ClientListenIP=127.0.0.1", "ClientPort=" + port(r.client),
		"HttpListenIP=localhost", "HttpPort=" + port(r.http),
		"MsgServerListenIP=127.0.0.1", "MsgServerPort=" + port(r.msgAddr),
		"msfs=http://127.0.0.1:8700", "discovery=http://127.0.0.1/api/discovery", "ShutdownTimeout=5s",
	}, more...)
	cfg, err := ParseConfig(strings.NewReader(strings.Join(lines, "\n")), "test.conf")
	if err != nil {
		t.Fatal(err)
	}
	s, err := New(cfg, Deps{Log: slog.New(slog.DiscardHandler), Reg: prometheus.NewRegistry(), Clock: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	r.Server = s
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

// msgServer links a msg_server of ours that announces itself.
func (r *running) msgServer(port, current, limit uint32) *linktest.Ours {
	r.t.Helper()
	o := linktest.DialOurs(r.t, r.msgAddr, link.Config{Role: "msg_server"})
	before, _ := r.table.Totals()
	o.Send(wire.MsgServerInfo, 0, description(port, current, limit))
	linktest.Eventually(r.t, "the registration", func() bool { n, _ := r.table.Totals(); return n == before+1 })
	return o
}

func description(port, current, limit uint32) *server.IMMsgServInfo {
	return &server.IMMsgServInfo{
		Ip1: proto.String("10.0.0.1"), Ip2: proto.String("10.0.0.2"), Port: proto.Uint32(port),
		MaxConnCnt: proto.Uint32(limit), CurConnCnt: proto.Uint32(current), HostName: proto.String("host"),
	}
}

func count(action uint32) *server.IMUserCntUpdate {
	return &server.IMUserCntUpdate{UserAction: proto.Uint32(action), UserId: proto.Uint32(7)}
}

// get asks over HTTP and returns the members of the answer.
func (r *running) get() map[string]any {
	r.t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}
	response, err := client.Get("http://" + r.http + "/msg_server")
	if err != nil {
		r.t.Fatal(err)
	}
	defer response.Body.Close()
	if ct := response.Header.Get("Content-Type"); response.StatusCode != http.StatusOK || ct != "text/html;charset=utf-8" || !response.Close {
		r.t.Errorf("status %d, Content-Type %q, close %v", response.StatusCode, ct, response.Close)
	}
	var members map[string]any
	if err := json.NewDecoder(response.Body).Decode(&members); err != nil {
		r.t.Fatal(err)
	}
	return members
}

// ask asks over TCP, wants the connection closed afterwards, and returns the answer.
func (r *running) ask(addr string) *login.IMMsgServRsp {
	r.t.Helper()
	client := linktest.DialOriginal(r.t, addr)
	client.SendBody(wire.MsgServerReq, 0xff01, nil)
	pdu := client.Want(wire.MsgServerRes)
	if pdu.Seq != 0xff01 || pdu.Service != 1 {
		r.t.Errorf("answer has seq %x and service %d, want ff01 and 1", pdu.Seq, pdu.Service)
	}
	if rest, err := io.ReadAll(client); err != nil || len(rest) > 0 {
		r.t.Errorf("after the answer %d bytes and %v, want EOF", len(rest), err)
	}
	client.Close()
	m := new(login.IMMsgServRsp)
	if err := proto.Unmarshal(pdu.Body, m); err != nil {
		r.t.Fatal(err)
	}
	return m
}

func TestAnswers(t *testing.T) {
	t.Parallel()
	r := start(t)
	check := func(what string, wantHTTP map[string]any, wantTCP *login.IMMsgServRsp) {
		t.Helper()
		if got := r.get(); !maps.Equal(got, wantHTTP) {
			t.Errorf("%s: HTTP answer %v\nwant %v", what, got, wantHTTP)
		}
		for _, addr := range []string{r.client, r.msgAddr} {
			if got := r.ask(addr); !proto.Equal(got, wantTCP) {
				t.Errorf("%s: TCP answer %v, want %v", what, got, wantTCP)
			}
		}
	}
	check("no msg_server", map[string]any{"code": 1.0, "msg": "没有msg_server"},
		&login.IMMsgServRsp{ResultCode: basedefine.ResultType_REFUSE_REASON_NO_MSG_SERVER.Enum()})
	o := r.msgServer(8000, 5, 5)
	check("full", map[string]any{"code": 2.0, "msg": "负载过高"},
		&login.IMMsgServRsp{ResultCode: basedefine.ResultType_REFUSE_REASON_MSG_SERVER_FULL.Enum()})
	o.Send(wire.UserCountUpdate, 0, count(2))
	linktest.Eventually(t, "the log-out", func() bool { _, n := r.table.Totals(); return n == 4 })
	check("found", map[string]any{
		"code": 0.0, "msg": "", "priorIP": "10.0.0.1", "backupIP": "10.0.0.2", "port": "8000",
		"msfsPrior": "http://127.0.0.1:8700/", "msfsBackup": "http://127.0.0.1:8700/",
		"discovery": "http://127.0.0.1/api/discovery",
	}, &login.IMMsgServRsp{
		ResultCode: basedefine.ResultType_REFUSE_REASON_NONE.Enum(),
		PriorIp:    proto.String("10.0.0.1"), BackipIp: proto.String("10.0.0.2"), Port: proto.Uint32(8000),
	})
	o.Stop()
	linktest.Eventually(t, "the loss", func() bool { n, _ := r.table.Totals(); return n == 0 })
	if got := r.get(); got["code"] != 1.0 {
		t.Errorf("answer after the loss: %v", got)
	}
	if got := testutil.ToFloat64(r.metrics.tcp[0]) + testutil.ToFloat64(r.metrics.http[0]); got != 3 {
		t.Errorf("%v clients counted as found, want 3", got)
	}
}

func TestCounts(t *testing.T) {
	t.Parallel()
	r := start(t)
	total := func(want int) {
		t.Helper()
		linktest.Eventually(t, fmt.Sprintf("%d log-ins", want), func() bool { _, n := r.table.Totals(); return n == want })
	}
	a := linktest.DialOriginal(t, r.msgAddr) // an original msg_server
	a.Send(wire.UserCountUpdate, 0, count(1))
	linktest.Eventually(t, "a count before the registration", func() bool { return testutil.ToFloat64(r.metrics.badCount) == 1 })
	a.Send(wire.MsgServerInfo, 0, description(8000, 2, 100))
	total(2)
	b := r.msgServer(8001, 10, 100)
	total(12)
	for range 3 {
		a.Send(wire.UserCountUpdate, 0, count(1))
	}
	total(15)
	for range 9 {
		a.Send(wire.UserCountUpdate, 0, count(2)) // more than there are
	}
	total(10)
	a.Send(wire.MsgServerInfo, 0, description(8000, 40, 100)) // absolute
	total(50)
	a.Send(wire.UserCountUpdate, 0, count(3)) // no such action
	a.SendBody(wire.UserCountUpdate, 0, []byte{0xff})
	a.SendBody(wire.MsgServerInfo, 0, []byte{0xff})
	a.Send(wire.MsgServerInfo, 0, description(70_000, 1, 1))
	a.SendBody(0x0799, 0, nil)
	linktest.Eventually(t, "the drops", func() bool {
		return testutil.ToFloat64(r.metrics.badCount) == 2 && testutil.ToFloat64(r.metrics.badBody) == 3 &&
			testutil.ToFloat64(r.metrics.unknownCommand) == 1
	})
	a.Stop()
	total(10)
	b.Stop()
	total(0)
}

// Clients that ask at once are spread, and log-ins take the guesses back.
func TestBurst(t *testing.T) {
	t.Parallel()
	r := start(t)
	r.msgServer(8001, 0, 1000)
	r.msgServer(8002, 0, 1000)
	var mu sync.Mutex
	ports := map[any]int{}
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			port := r.get()["port"]
			mu.Lock()
			defer mu.Unlock()
			ports[port]++
		})
	}
	wg.Wait()
	if ports["8001"] != 10 || ports["8002"] != 10 {
		t.Errorf("clients by port: %v, want 10 each", ports)
	}
}

func TestClientPortIgnoresTheRest(t *testing.T) {
	t.Parallel()
	r := start(t)
	client := linktest.DialOriginal(t, r.client)
	client.SendBody(wire.Heartbeat, 1, nil)
	client.SendBody(wire.LoginReq, 2, []byte("x"))
	client.Send(wire.MsgServerInfo, 3, description(8000, 0, 100)) // clients are no msg_servers
	client.SendBody(wire.MsgServerReq, 4, nil)
	if pdu := client.Want(wire.MsgServerRes); pdu.Seq != 4 {
		t.Errorf("answer has seq %d, want 4", pdu.Seq)
	}
	if n, _ := r.table.Totals(); n != 0 {
		t.Errorf("%d msg_servers registered by a client", n)
	}
	if got := testutil.ToFloat64(r.metrics.unknownCommand); got != 2 {
		t.Errorf("%v unknown commands counted, want 2", got)
	}
}

func TestSecret(t *testing.T) {
	t.Parallel()
	const shared = "a secret of 16 bytes or more"
	r := start(t, "LinkSecret="+shared)
	stranger := linktest.DialOriginal(t, r.msgAddr)
	stranger.Send(wire.MsgServerInfo, 0, description(666, 0, 100))
	if _, err := io.Copy(io.Discard, stranger); err != nil {
		t.Logf("the stranger's connection ended with %v", err)
	}
	o := linktest.DialOurs(t, r.msgAddr, link.Config{Role: "msg_server", Secret: secret.New(shared)})
	o.Send(wire.MsgServerInfo, 0, description(8000, 0, 100))
	linktest.Eventually(t, "the registration", func() bool { n, _ := r.table.Totals(); return n > 0 })
	if got := r.get(); got["port"] != "8000" {
		t.Errorf("answer %v, want the msg_server that knows the secret", got)
	}
}

func TestStop(t *testing.T) {
	t.Parallel()
	r := start(t)
	o := r.msgServer(8000, 0, 100)
	client := linktest.DialOriginal(t, r.client)
	go func() { // a client closes when it is told to
		_, _ = io.Copy(io.Discard, client)
		client.Close()
	}()
	before := time.Now()
	r.stop()
	if took := time.Since(before); took > 4*time.Second {
		t.Errorf("stopping took %v although all peers closed", took)
	}
	if r.Ready() == nil {
		t.Error("ready after the end")
	}
	for _, addr := range []string{r.http, r.client, r.msgAddr} {
		if _, err := net.Dial("tcp", addr); err == nil {
			t.Errorf("%s accepts after the end", addr)
		}
	}
	o.Stop()
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	r := start(t)
	for name, c := range map[string]struct {
		change func(*Config)
		want   string
	}{
		"msg_server port": {func(c *Config) { c.ClientListenIPs = nil; c.HTTPPort = freePort(t) }, "msg_server listener: address " + r.msgAddr + " is taken"},
		"client port":     {func(c *Config) { c.MsgServerPort, c.HTTPPort = freePort(t), freePort(t) }, "client listener: address " + r.client + " is taken"},
		"http port":       {func(c *Config) { c.MsgServerPort, c.ClientPort = freePort(t), freePort(t) }, "http listener: address " + r.http + " is taken"},
	} {
		cfg := r.cfg
		c.change(&cfg)
		_, err := New(cfg, Deps{Log: slog.New(slog.DiscardHandler), Reg: prometheus.NewRegistry(), Clock: time.Now})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: New = %v, want %s", name, err, c.want)
		}
	}
	if _, err := New(r.cfg, Deps{}); err == nil {
		t.Error("New without Deps does not fail")
	}
}

func freePort(t *testing.T) int {
	t.Helper()
	addr, err := net.ResolveTCPAddr("tcp", testenv.FreeAddr(t))
	if err != nil {
		t.Fatal(err)
	}
	return addr.Port
}
