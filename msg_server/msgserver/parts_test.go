package msgserver

import (
	"bytes"
	"encoding/base64"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"teamtalk/internal/im"
	"teamtalk/internal/testenv"
	"teamtalk/internal/wire"
	"teamtalk/pb/basedefine"
	"teamtalk/pb/buddy"
	"teamtalk/pb/login"
	"teamtalk/pb/message"
	"teamtalk/pb/switchservice"
)

var noon = time.Unix(1_700_000_000, 0)

func TestRepeatsOfOneConnection(t *testing.T) {
	t.Parallel()
	r := newRepeats(0)
	body, other := []byte("body"), []byte("another")
	first := r.add(5, body, noon)
	first.acked(&message.IMMsgDataAck{MsgId: n(1)})
	cases := map[string]struct {
		seq  uint16
		body []byte
		at   time.Duration
		want bool
	}{
		"the same":            {5, body, 0, true},
		"after a minute":      {5, body, repeatsFor, true},
		"after more":          {5, body, repeatsFor + 1, false},
		"another seq":         {6, body, 0, false},
		"another body":        {5, other, 0, false},
		"the start of a body": {5, body[:3], 0, false},
	}
	for name, tc := range cases {
		if got := r.find(tc.seq, tc.body, noon.Add(tc.at)); (got == first) != tc.want {
			t.Errorf("%s: found %v, want %v", name, got != nil, tc.want)
		}
	}
	if first.again() {
		t.Error("what did not fail is tried again")
	}
	first.fail()
	if r.find(5, body, noon) != first || !first.again() || first.again() {
		t.Error("a failed send is tried again once, as what it was")
	}
	// A later one takes the place of the first, and outlives it.
	second := r.add(5, body, noon.Add(time.Second))
	if second.op == first.op || second.op.IsZero() {
		t.Error("two messages are one operation")
	}
	r.expire(noon.Add(repeatsFor + 1))
	if r.find(5, body, noon.Add(time.Second)) != second || len(r.list) != 1 {
		t.Error("the end of the first took the second along")
	}
	r.expire(noon.Add(2 * repeatsFor))
	if len(r.list) != 0 || len(r.byID) != 0 {
		t.Error("something is remembered for ever")
	}
	for i := range 3 * maxRepeats {
		r.add(uint16(i), body, noon)
	}
	if len(r.list) != maxRepeats || len(r.byID) != maxRepeats {
		t.Errorf("%d remembered", len(r.list))
	}
	(*repeats)(nil).expire(noon) // of a connection that sends nothing
}

func TestAllowance(t *testing.T) {
	t.Parallel()
	type step struct{ at, wait time.Duration }
	const s, ms = time.Second, time.Millisecond
	cases := map[string]struct {
		perSecond int
		steps     []step
	}{
		"a second's worth at once": {4, []step{{0, 0}, {0, 0}, {0, 0}, {0, 0}, {0, 0}, {0, 250 * ms}, {0, 500 * ms}}},
		"in time":                  {1, []step{{0, 0}, {s, 0}, {2 * s, 0}, {3 * s, 0}}},
		"steadily too fast":        {2, []step{{0, 0}, {0, 0}, {0, 0}, {400 * ms, 100 * ms}, {800 * ms, 200 * ms}, {1200 * ms, 300 * ms}}},
		"after a pause":            {1, []step{{0, 0}, {0, 0}, {0, s}, {time.Hour, 0}, {time.Hour, 0}, {time.Hour, s}}},
	}
	for name, tc := range cases {
		a := newAllowance(tc.perSecond)
		for i, step := range tc.steps {
			if got := a.take(noon.Add(step.at)); got != step.wait {
				t.Errorf("%s: message %d waits %v, want %v", name, i, got, step.wait)
			}
		}
	}
}

func TestAttachData(t *testing.T) {
	t.Parallel()
	b := attach(attachKindSend, 1<<40+3)
	if attached(attachKindSend, b) != 1<<40+3 || connOf(b) != 0 || attached(attachKindAsk, b) != 0 {
		t.Error("kinds are mixed up")
	}
	for _, other := range [][]byte{nil, b[:11], append(slices.Clone(b), 0), bytes.Repeat([]byte{9}, 12)} {
		if attached(attachKindSend, other) != 0 {
			t.Errorf("%x was taken for ours", other)
		}
	}
}

// What people write, and what lets them in, is in no log, at any level, be it
// taken, refused or not stored. Source: docs/protocol/defects.md I8.
func TestLogsNoTexts(t *testing.T) {
	t.Parallel()
	log := new(testenv.Output)
	w := newWorldOf(t, setup{log: log, conf: "MaxTextBytes=100\n"})
	bad := w.connect()
	bad.send(wire.LoginReq, 1, &login.IMLoginReq{
		UserName: proto.String("u9"), Password: proto.String("confidential"),
		OnlineStatus: basedefine.UserStatType_USER_STATUS_ONLINE.Enum(), ClientType: basedefine.ClientType_CLIENT_TYPE_MAC.Enum(),
	})
	bad.want(wire.LoginRes, nil)
	u, phone := w.login(7, im.Mac, "nack"), w.login(7, im.IOS)
	for i, text := range []string{"confidential", "confidential, not stored", strings.Repeat("confidential", 100)} {
		u.send(wire.MsgData, uint16(i+1), say(single, 8, text))
	}
	for id := range uint32(2) {
		r, _ := w.db1.stores()
		r.keep(t, 1-id, nil)
	}
	for range 3 {
		u.next()
	}
	phone.gets(7, 8, 1)
	phone.send(wire.DeviceTokenReq, 1, &login.IMDeviceTokenReq{UserId: n(7), DeviceToken: proto.String("confidential")})
	phone.want(wire.DeviceTokenRes, nil)
	u.send(wire.ChangeSignInfoReq, 9, &buddy.IMChangeSignInfoReq{UserId: n(7), SignInfo: proto.String("confidential")})
	u.send(wire.P2PCommand, 9, &switchservice.IMP2PCmdMsg{FromUserId: n(7), ToUserId: n(8), CmdMsgData: proto.String("confidential")})
	u.sendBody(wire.MsgData, 10, []byte("confidential"))
	u.quiet()
	text := log.String()
	if !strings.Contains(text, "link up") || strings.Contains(text, "confidential") ||
		strings.Contains(text, base64.StdEncoding.EncodeToString([]byte("confidential"))) {
		t.Errorf("the log:\n%s", text)
	}
}

// The tables name what docs/protocol/commands.md says a msg_server handles.
func TestTables(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, command := range []wire.Command{
		0x0701, 0x0103, 0x0105, 0x0108, 0x010A, 0x010C, 0x010E, 0x0301, 0x0302, 0x0305, 0x0309, 0x030D, 0x0307, 0x0303,
		0x030B, 0x0601, 0x0201, 0x0204, 0x0206, 0x0208, 0x020C, 0x0213, 0x020A, 0x0210, 0x0401, 0x0403, 0x0405, 0x0407,
		0x0409, 0x0506, 0x0509, 0x050B, 0x050C, 0x0581,
	} {
		if w.commands[command] == nil {
			t.Errorf("%v of clients", command)
		}
	}
	for _, command := range []wire.Command{
		0x0704, 0x0109, 0x010D, 0x010F, 0x0308, 0x030A, 0x030E, 0x0301, 0x030C, 0x0202, 0x0209, 0x0205, 0x0207, 0x020D,
		0x0214, 0x0211, 0x0402, 0x0404, 0x0406, 0x0408, 0x040A,
	} {
		if w.answers[command] == nil {
			t.Errorf("%v of db_proxies", command)
		}
	}
	for _, command := range []wire.Command{
		0x070D, 0x0203, 0x020B, 0x0304, 0x0301, 0x0601, 0x070E, 0x020F, 0x0215, 0x040B, wire.Relay,
	} {
		if w.relayed[command] == nil {
			t.Errorf("%v of route_servers", command)
		}
	}
}
