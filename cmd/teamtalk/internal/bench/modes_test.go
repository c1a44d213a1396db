package bench

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"google.golang.org/protobuf/proto"

	"teamtalk/client/clienttest"
	"teamtalk/internal/testenv"
	"teamtalk/internal/wire"
	"teamtalk/pb/basedefine"
	"teamtalk/pb/message"
)

// TestMain lets this program be the client process that mode idle starts.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == "bench" {
		cmd := Command()
		cmd.SetArgs(os.Args[2:])
		if cmd.ExecuteContext(context.Background()) != nil {
			os.Exit(exitFailure)
		}
		os.Exit(0)
	}
	testenv.Main(m)
}

func TestLogin(t *testing.T) {
	t.Parallel()
	n := clienttest.New()
	addr := n.Listen(t)
	for _, more := range [][]string{{"--window", "3"}, {"--window", "50", "--rate", "200"}} {
		o := command(t, quick("login", append(more, "--count", "5", "--addr", addr)...)...)
		ops := o.res.Operations
		if o.code != 0 || len(ops) != 2 || ops[firstLogin].Count != 5 || ops[reconnect].PerS == 0 ||
			ops[reconnect].MS.P50 == 0 || o.res.Conns != 5 || o.res.Disconnected != 0 {
			t.Errorf("%v: exit code %d: %+v\n%s", more, o.code, o.res, o.out)
		}
	}
}

func TestLoginFails(t *testing.T) {
	t.Parallel()
	n := clienttest.New()
	o := command(t, append(quick("login", "--count", "4", "--addr", n.Listen(t)), "--password", "wrong")...)
	if o.code != exitFailure || !strings.Contains(o.out, "refused") {
		t.Errorf("exit code %d\n%s", o.code, o.out)
	}
}

func TestIdle(t *testing.T) {
	t.Parallel()
	n := clienttest.New()
	addr := n.Listen(t)
	o := command(t, quick("idle", "--count", "5", "--processes", "2", "--addr", addr)...)
	if o.code != 0 || o.res.Conns != 10 || o.res.Idle.Processes != 2 || o.res.Operations[0].Count != 10 {
		t.Errorf("exit code %d: %+v\n%s", o.code, o.res, o.out)
	}
	// A log-in that the server refuses is no connection.
	o = command(t, append(quick("idle", "--count", "3", "--addr", addr), "--password", "wrong")...)
	if o.code != exitFailure || o.res.Failed != 6 || !strings.Contains(o.out, "refused") {
		t.Errorf("exit code %d, %d failed\n%s", o.code, o.res.Failed, o.out)
	}
}

// TestIdleLoses: connections that the server drops are missed.
func TestIdleLoses(t *testing.T) {
	t.Parallel()
	n := clienttest.New()
	var logins atomic.Int64
	n.Hook = func(_ *clienttest.Conn, pdu wire.PDU) bool {
		if pdu.Command == wire.LoginReq && logins.Add(1) == 6 {
			defer n.DropAll()
		}
		return false
	}
	o := command(t, quick("idle", "--count", "3", "--window", "1", "--duration", "1s", "--addr", n.Listen(t))...)
	if o.code != exitFailure || o.res.Disconnected+o.res.Failed == 0 {
		t.Errorf("exit code %d\n%s", o.code, o.out)
	}
}

func TestHistory(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		args []string
		hook func(c *clienttest.Conn, pdu wire.PDU) bool
		code int
		want string
	}{
		"clean":       {nil, nil, 0, "clean"},
		"pages only":  {[]string{"--unread", "0", "--window", "4"}, nil, 0, "clean"},
		"unread only": {[]string{"--unread", "1"}, nil, 0, "clean"},
		"paced":       {[]string{"--rate", "300"}, nil, 0, "clean"},
		"empty pages": {nil, emptyPages, exitViolation, "wrong_pages"},
		"bad totals":  {nil, badTotals, exitViolation, "wrong_unread"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := clienttest.New()
			n.Hook = tc.hook
			args := append(quick("history", "--count", "4", "--depth", "70", "--page", "10"), tc.args...)
			o := command(t, append(args, "--addr", n.Listen(t))...)
			if o.code != tc.code || !strings.Contains(o.out, tc.want) {
				t.Fatalf("exit code %d, want %d and %q in\n%s", o.code, tc.code, tc.want, o.out)
			}
			if h := o.res.History; h.Latest != 70 || o.res.CPUPerOp == nil {
				t.Errorf("%+v", h)
			}
		})
	}
}

// emptyPages answers every page with nothing.
func emptyPages(c *clienttest.Conn, pdu wire.PDU) bool {
	var req message.IMGetMsgListReq
	if pdu.Command != wire.MsgListReq || proto.Unmarshal(pdu.Body, &req) != nil {
		return false
	}
	c.Send(wire.MsgListRes, pdu.Seq, &message.IMGetMsgListRsp{
		UserId: req.UserId, SessionType: req.SessionType, SessionId: req.SessionId, MsgIdBegin: req.MsgIdBegin,
	})
	return true
}

// badTotals names a total that its list does not have.
func badTotals(c *clienttest.Conn, pdu wire.PDU) bool {
	if pdu.Command != wire.UnreadCountReq {
		return false
	}
	c.Send(wire.UnreadCountRes, pdu.Seq, &message.IMUnreadMsgCntRsp{
		UserId: proto.Uint32(1), TotalCnt: proto.Uint32(5),
		UnreadinfoList: []*basedefine.UnreadInfo{{
			SessionId: proto.Uint32(2), SessionType: basedefine.SessionType_SESSION_TYPE_SINGLE.Enum(),
			UnreadCnt: proto.Uint32(4), LatestMsgId: proto.Uint32(4), LatestMsgData: []byte("x"),
			LatestMsgType: basedefine.MsgType_MSG_TYPE_SINGLE_TEXT.Enum(), LatestMsgFromUserId: proto.Uint32(2),
		}},
	})
	return true
}

// TestHTML writes a report of every mode.
func TestHTML(t *testing.T) {
	t.Parallel()
	n := clienttest.New()
	addr := n.Listen(t)
	for _, m := range modes {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(t.TempDir(), "report.html")
			args := quick(m.name, "--count", "4", "--duration", "1500ms", "--addr", addr, "--html", file, "--pids", self())
			if o := command(t, args...); o.code != 0 {
				t.Fatalf("exit code %d\n%s", o.code, o.out)
			}
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			page := string(data)
			for _, want := range []string{"<!doctype html>", pageTitles[m.name], "clean:", "<svg", "prefers-color-scheme: dark", "</html>"} {
				if !strings.Contains(page, want) {
					t.Errorf("no %q in the report", want)
				}
			}
			for _, never := range []string{"http:", "https:", "<script", "<link", "NaN", "ZgotmplZ"} {
				if strings.Contains(page, never) {
					t.Errorf("%q in the report", never)
				}
			}
		})
	}
}

func TestByRole(t *testing.T) {
	t.Parallel()
	res := &Result{Mode: "single", RSS: map[string]int64{"mariadb": 7}, CPUPerOp: map[string]float64{"mariadb": 5, "total": 25}}
	res.Series.CPU = map[string][]float64{}
	for _, name := range []string{"msg_server_1", "msg_server_2", "msg_server_3", "msg_server_10", "a", "b", "c", "d"} {
		res.RSS[name], res.CPUPerOp[name], res.Series.CPU[name] = 1, 2, []float64{0.5, 0.25}
	}
	got := res.byRole()
	if len(got.RSS) != 6 || got.RSS["msg_server"] != 4 || got.CPUPerOp["msg_server"] != 8 || got.CPUPerOp["total"] != 25 ||
		got.Series.CPU["msg_server"][1] != 1 || res.RSS["msg_server_1"] != 1 {
		t.Errorf("%+v", got)
	}
}
