package notify

import (
	"log/slog"
	"slices"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"google.golang.org/protobuf/proto"

	"teamtalk/client/textcrypt"
	"teamtalk/internal/im"
	"teamtalk/internal/link/linktest"
	"teamtalk/internal/testenv"
	"teamtalk/internal/wire"
	"teamtalk/pb/basedefine"
	"teamtalk/pb/server"
)

func text(plain string) []byte { return textcrypt.Standard().Encrypt(plain) }

// toBob is a message of alice, 1, to bob, 2.
func toBob(plain string) *Message {
	return &Message{From: 1, Conv: im.SingleOf(1, 2), Type: im.SingleText, Data: text(plain)}
}

// pushed waits for what the push_server is asked for, and returns whom it is
// to ring and whom to tell the number only.
func (o *office) pushed(line string) (alert, silent []uint32) {
	o.t.Helper()
	req := linktest.Wait(o.t, o.push.requests, "070F")
	if req.GetFlash() != line {
		o.t.Errorf("line %q, want %q", req.GetFlash(), line)
	}
	for _, u := range req.GetUserTokenList() {
		if u.GetToken() != "token" || u.GetPushCount() != u.GetUserId() {
			o.t.Errorf("token %v", u)
		}
		if u.GetPushType() == pushSilent {
			silent = append(silent, u.GetUserId())
		} else {
			alert = append(alert, u.GetUserId())
		}
	}
	return alert, silent
}

func TestWhoIsNotified(t *testing.T) {
	t.Parallel()
	for name, ours := range map[string]bool{"route_server of ours": true, "original": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := newOffice(t, ours)
			o.back.nicks[1] = "alice"
			o.offer(toBob("hi"), "nobody") // he has no token
			o.back.mu.Lock()
			o.back.tokens = map[uint32]im.ClientType{1: im.IOS, 2: im.IOS, 3: im.Android, 4: im.IOS, 5: im.IOS}
			o.back.terminal[4] = []im.ClientType{im.Windows}
			o.back.muted = []uint32{5}
			o.back.mu.Unlock()
			o.offer(toBob("hi"), "pushed")
			if alert, silent := o.pushed("alice:hi"); !slices.Equal(alert, []uint32{2}) || silent != nil {
				t.Errorf("alert %v, silent %v", alert, silent)
			}

			group := &Message{
				From: 1, Conv: im.GroupOf(7), Type: im.GroupText, Data: text("all"), Members: []uint32{1, 2, 3, 4, 5, 6},
			}
			o.offer(group, "pushed")
			if alert, silent := o.pushed("alice:all"); !slices.Equal(alert, []uint32{2, 3}) || !slices.Equal(silent, []uint32{4}) {
				t.Errorf("alert %v, silent %v", alert, silent)
			}
			if !slices.Equal(o.back.asked, []uint32{2, 3, 4, 6}) {
				t.Errorf("asked for the tokens of %v", o.back.asked)
			}
			alone := *group
			alone.Members = []uint32{1}
			o.offer(&alone, "nobody")
			alone.Members = []uint32{1, 5}
			o.offer(&alone, "nobody")

			// Bob's phone is connected here; then elsewhere, beside a PC, which
			// only a route_server of ours knows.
			o.here[2] = true
			o.offer(toBob("hi"), "nobody")
			delete(o.here, 2)
			o.back.mu.Lock()
			o.back.terminal[2] = []im.ClientType{im.Mac, im.Android}
			o.back.mu.Unlock()
			if ours {
				o.offer(toBob("hi"), "nobody")
			} else {
				o.offer(toBob("hi"), "pushed")
				if alert, silent := o.pushed("alice:hi"); alert != nil || !slices.Equal(silent, []uint32{2}) {
					t.Errorf("alert %v, silent %v", alert, silent)
				}
			}
			if got := testutil.ToFloat64(o.n.asked); got != map[bool]float64{true: 4, false: 5}[ours] {
				t.Errorf("%v phones", got)
			}
		})
	}
}

func TestLines(t *testing.T) {
	t.Parallel()
	o := newOffice(t, true)
	o.back.nicks[1], o.back.tokens[2] = "爱丽丝", im.IOS
	group := func(kind im.MsgType, data []byte) *Message {
		return &Message{From: 1, Conv: im.GroupOf(7), Type: kind, Data: data, Members: []uint32{1, 2}}
	}
	sound := []byte{0, 0, 0, 3, 1, 2, 3}
	for _, c := range []struct {
		m    *Message
		want string
	}{
		{toBob("hello"), "爱丽丝:hello"},
		{toBob("a 我们明天早上九点在办公室"), "爱丽丝:a 我们明天早上九点..."},
		{toBob("look: &$#@~^@[{:http://x/y.jpg:}]&$~@#@ nice"), somethingCame},
		{toBob("&$#@~^@[{: no end"), "爱丽丝:&$#@~^@[{: no end"},
		{&Message{From: 1, Conv: im.SingleOf(1, 2), Type: im.SingleAudio, Data: sound}, "爱丽丝给您发送了一条语音..."},
		{group(im.GroupText, text("hi")), "爱丽丝:hi"},
		{group(im.GroupAudio, sound), "爱丽丝在群聊中发送了一条..."},
		{&Message{From: 9, Conv: im.SingleOf(9, 2), Type: im.SingleText, Data: text("who am I")}, somethingCame},
	} {
		o.offer(c.m, "pushed")
		o.pushed(c.want)
	}
	o.offer(&Message{From: 1, Conv: im.SingleOf(1, 2), Type: im.SingleText, Data: []byte("no cipher")}, "unreadable")
}

// TestGoneTokens: what a push_server says of a token reaches db_proxy; an
// original's results say nothing.
func TestGoneTokens(t *testing.T) {
	t.Parallel()
	o := newOffice(t, true)
	to := linktest.Wait(t, o.push.up, "the link")
	result := func(token string, code uint32) *basedefine.PushResult {
		return &basedefine.PushResult{UserToken: proto.String(token), ResultCode: proto.Uint32(code)}
	}
	to.SendMessage(wire.PushToUserRes, 0, &server.IMPushToUserRsp{
		PushResultList: []*basedefine.PushResult{result("a", 0), result("b", 1)},
	})
	to.SendPDU(wire.PushToUserRes, 0, []byte{0xff})
	to.SendMessage(wire.PushToUserRes, 0, &server.IMPushToUserRsp{
		PushResultList: []*basedefine.PushResult{result("c", ResultGone), result("d", 0), result("e", ResultGone)},
	})
	if gone := linktest.Wait(t, o.back.gone, "07AE"); !slices.Equal(gone, []string{"c", "e"}) {
		t.Errorf("gone: %v", gone)
	}
}

// TestWithoutNeighbours: what cannot be decided is counted, and keeps nobody
// waiting.
func TestWithoutNeighbours(t *testing.T) {
	t.Parallel()
	o := newOffice(t, true)
	o.back.mu.Lock()
	o.back.tokens[2], o.back.silent = im.IOS, wire.DeviceTokensReq
	o.back.mu.Unlock()
	o.offer(toBob("hi"), "failed") // the link is lost while it waits for the answer
	o.back.mu.Lock()
	o.back.silent = 0
	o.back.mu.Unlock()
	o.offer(toBob("hi"), "failed") // nor is there a link now
	to := linktest.Wait(t, o.push.up, "the link")
	to.Close("test")
	linktest.Eventually(t, "the loss", func() bool {
		return o.n.pushServer() == nil || len(o.push.up) > 0 // it is there again at once
	})

	n, err := New(Config{PushServers: []string{testenv.FreeAddr(t)}, AESKey: []byte(aesKey)}, Deps{
		Log: slog.New(slog.DiscardHandler), Reg: prometheus.NewRegistry(),
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := n.decide(t.Context(), toBob("hi")); got != "no_push_server" {
		t.Errorf("without a push_server: %s", got)
	}
	for range maxWaiting + 3 {
		n.Offer(toBob("hi")) // nobody decides
	}
	if got := testutil.ToFloat64(n.outcomes.WithLabelValues("queue_full")); got != 3 {
		t.Errorf("%v dropped", got)
	}
	if _, err := New(Config{AESKey: []byte("short")}, Deps{Reg: prometheus.NewRegistry()}); err == nil {
		t.Error("a short key is taken")
	}
	idle, err := New(Config{AESKey: []byte(aesKey)}, Deps{Reg: prometheus.NewRegistry()})
	if err != nil || idle.Enabled() {
		t.Errorf("without push_servers: enabled, %v", err)
	}
	idle.Offer(toBob("hi"))
	if len(idle.queue) != 0 {
		t.Error("without push_servers, messages wait")
	}
}
