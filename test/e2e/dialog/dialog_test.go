package dialog

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"teamtalk/internal/im"
	"teamtalk/internal/wire"
	"teamtalk/pb/basedefine"
	"teamtalk/pb/login"
	"teamtalk/pb/message"
)

// office is a World with one tiny server: log-in, time, and single messages
// that are acknowledged and pushed. It keeps nothing. faulty lets it break the
// rules in one way.
type office struct {
	addr   string
	faulty string

	mu    sync.Mutex // guards the fields below
	did   []string
	users map[string]uint32
	conns map[net.Conn]uint32
	ids   uint32
	lost  int // sends that were not answered
}

func newOffice(t *testing.T, faulty string) *office {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	o := &office{
		addr: ln.Addr().String(), faulty: faulty, users: make(map[string]uint32), conns: make(map[net.Conn]uint32),
	}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			all.Go(func() { o.serve(nc) })
		}
	})
	t.Cleanup(func() {
		_ = ln.Close()
		all.Wait()
	})
	return o
}

func (o *office) Addr(server string) (string, error) {
	if server != "1" {
		return "", fmt.Errorf("there is no server %s", server)
	}
	return o.addr, nil
}

func (o *office) CreateUsers(_ context.Context, accounts []string) ([]im.UserID, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	ids := make([]im.UserID, len(accounts))
	for i, name := range accounts {
		o.users[name] = uint32(100 + i)
		ids[i] = im.UserID(100 + i)
	}
	return ids, nil
}

func (o *office) Do(_ context.Context, words []string) (string, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.did = append(o.did, strings.Join(words, " "))
	if words[0] == "break" {
		return "", errors.New("broken")
	}
	return "77\tprinted", nil
}

// serve reads PDUs until the client goes.
func (o *office) serve(nc net.Conn) {
	defer func() {
		_ = nc.Close()
		o.mu.Lock()
		delete(o.conns, nc)
		o.mu.Unlock()
	}()
	var buf []byte
	chunk := make([]byte, 4<<10)
	for {
		n, err := nc.Read(chunk)
		if err != nil {
			return
		}
		buf = append(buf, chunk[:n]...)
		for {
			pdu, size, _, err := wire.Next(buf, wire.MaxClientPDU)
			if err != nil {
				return
			}
			if size == 0 {
				break
			}
			o.handle(nc, pdu)
			buf = buf[size:]
		}
	}
}

// handle answers one PDU.
func (o *office) handle(nc net.Conn, pdu wire.PDU) {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := proto.Uint32(uint32(time.Now().Unix()))
	switch pdu.Command {
	case wire.Heartbeat:
		echo := wire.AppendHeader(nil, wire.Heartbeat, pdu.Seq, pdu.Reserved, 0)
		echo[5] = byte(pdu.Version)
		_, _ = nc.Write(echo)
	case wire.LoginReq:
		var req login.IMLoginReq
		_ = proto.Unmarshal(pdu.Body, &req)
		id := o.users[req.GetUserName()]
		o.conns[nc] = id
		empty := proto.String("")
		send(nc, wire.LoginRes, pdu.Seq, &login.IMLoginRes{
			ServerTime: now, ResultCode: basedefine.ResultType_REFUSE_REASON_NONE.Enum(), OnlineStatus: req.OnlineStatus,
			UserInfo: &basedefine.UserInfo{
				UserId: proto.Uint32(id), UserRealName: req.UserName, UserNickName: req.UserName, UserDomain: empty,
				UserGender: proto.Uint32(0), AvatarUrl: empty, Email: empty, UserTel: empty, DepartmentId: proto.Uint32(0),
				Status: proto.Uint32(0), SignInfo: empty,
			},
		})
	case wire.TimeReq:
		send(nc, wire.TimeRes, pdu.Seq, &message.IMClientTimeRsp{ServerTime: now})
	case wire.MsgData:
		m := &message.IMMsgData{}
		_ = proto.Unmarshal(pdu.Body, m)
		o.message(nc, pdu.Seq, m, now)
	}
}

// message acknowledges and pushes a message. Caller holds o.mu.
func (o *office) message(nc net.Conn, seq uint16, m *message.IMMsgData, now *uint32) {
	if o.lost > 0 {
		o.lost--
		return
	}
	o.ids++
	m.FromUserId, m.MsgId, m.CreateTime = proto.Uint32(o.conns[nc]), proto.Uint32(o.ids), now
	ack := &message.IMMsgDataAck{
		UserId: m.FromUserId, SessionId: m.ToSessionId, MsgId: m.MsgId, SessionType: basedefine.SessionType(1).Enum(),
	}
	var pushSeq uint16
	switch o.faulty {
	case "seq":
		pushSeq = seq
	case "attach":
		m.AttachData = []byte("x")
	case "extension":
		m.ClientMsgId = proto.String("x")
	case "user":
		ack.UserId = proto.Uint32(7)
	case "twice":
		send(nc, wire.MsgDataAck, seq, ack)
	}
	send(nc, wire.MsgDataAck, seq, ack)
	for peer, user := range o.conns {
		if user == m.GetToSessionId() {
			send(peer, wire.MsgData, pushSeq, m)
		}
	}
}

func send(nc net.Conn, command wire.Command, seq uint16, m proto.Message) {
	if pdu, err := wire.AppendMessage(nil, command, seq, m); err == nil {
		_, _ = nc.Write(pdu)
	}
}

// play plays a text and returns what its world did.
func play(t *testing.T, o *office, text string) error {
	t.Helper()
	s, err := Parse("test.dialog", strings.NewReader(text))
	if err != nil {
		return err
	}
	return Play(t.Context(), s, o, "x")
}

const hello = `
# Two people meet.
alice@1 windows> login
alice< login ok
bob@1 android> login
bob< login ok
`

func TestPlay(t *testing.T) {
	t.Parallel()
	o := newOffice(t, "")
	err := play(t, o, hello+`
alice> say bob "hello \"you\""
alice< ack bob 1
bob< message alice 1 "hello \"you\""
bob< no message
alice> 2 times say bob "again"
alice< ack bob $second
alice< 1 times ack bob $third
bob< message alice $second "again"
bob< message alice $third ...
alice> heartbeat
alice< heartbeat
alice< nothing
! look at $alice and $second $tag
bob< 0 times message
! group team is made $tag
! see $team
`)
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(o.did, "; "); got != "look at 100 and 2 x; made x; see 77" {
		t.Errorf("the world did %q", o.did)
	}
}

func TestPlayInsists(t *testing.T) {
	t.Parallel()
	o := newOffice(t, "")
	o.lost = 2
	if err := play(t, o, hello+`
alice> insist say bob "at last"
alice< ack bob 1
bob< message alice 1 "at last"
carol@1> insist login
carol< login ok
dora@1> insist login until login ok
dora< login ok
`); err != nil {
		t.Fatal(err)
	}
}

func TestPlayFails(t *testing.T) {
	t.Parallel()
	tests := map[string]struct{ faulty, text, want string }{
		"other text": {
			text: "alice> say bob \"a\"\nalice< ack bob 1\nbob< message alice 1 \"b\"",
			want: `test.dialog:9: bob: want message alice 1 "b", got message alice 1 "a"`,
		},
		"left over": {
			text: "alice> say bob \"a\"\nalice< ack bob 1",
			want: `test.dialog: end: bob has also got: message alice 1 "a"`,
		},
		"not nothing": {
			text: "alice> say bob \"a\"\nalice< nothing",
			want: `test.dialog:8: alice: want nothing, got ack bob 1`,
		},
		"not no": {
			text: "alice> say bob \"a\"\nbob< message alice ...\nalice< no ack",
			want: `test.dialog:9: alice: want no ack, got ack bob 1`,
		},
		"closed": {
			text: "alice> bytes 00000001 0001 0000 0007 0701 0001 0000\nalice< ack bob 1",
			want: `test.dialog:8: alice: want ack bob 1, got nothing of the sort; arrived: [closed]`,
		},
		"world":        {text: "! break it", want: "test.dialog:7: broken"},
		"no such verb": {text: "alice> fly", want: `test.dialog:7: alice: nobody knows how to "fly"`},
		"no such user": {text: "alice> say team \"x\"", want: `test.dialog:7: alice: say: "team" is no user`},
		"no server":    {text: "dora> say bob \"x\"", want: "test.dialog:7: dora has no server yet: dora@1"},
		"wrong server": {text: "dora@7> login", want: "test.dialog:7: there is no server 7"},
		"unbound":      {text: "alice> read bob $id", want: "test.dialog:7: alice: $id is not bound"},
		"seq": {
			faulty: "seq", text: "alice> say bob \"a\"\nalice< ack bob 1\nbob< message alice 1 \"a\"",
			want: "arrived: [stray 0x0301 seq",
		},
		"attach_data": {faulty: "attach", text: "alice> say bob \"a\"\nbob< message ...", want: "attach_data leaks"},
		"extension":   {faulty: "extension", text: "alice> say bob \"a\"\nbob< message ...", want: "client_msg_id was not asked"},
		"user id":     {faulty: "user", text: "alice> say bob \"a\"\nalice< ack bob 1", want: "user_id 7 is not 100"},
		"answered twice": {
			faulty: "twice", text: "alice> say bob \"a\"\nalice< ack bob 1\nbob< message alice ...",
			want: "alice has also got: stray 0x0302",
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := play(t, newOffice(t, test.faulty), hello+test.text)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %s", err, test.want)
			}
		})
	}
}

func TestParseFails(t *testing.T) {
	t.Parallel()
	tests := map[string]struct{ text, want string }{
		"no mark":       {"hello", `test:1: neither >, < nor ! in "hello"`},
		"late use":      {"! x\nuse own", "test:2: use must be the first line"},
		"open quotes":   {`a> say b "c`, `test:1: open quotes: "c`},
		"no terminal":   {"\n> login", "test:2: no terminal before >"},
		"no words":      {"a>", "test:1: nothing behind >"},
		"no deed":       {"!", "test:1: nothing behind the exclamation mark"},
		"odd terminal":  {"$a> login", `test:1: "$a" is no terminal`},
		"lost options":  {"a mac> login", `options need a server`},
		"empty servers": {"a@> login", `options need a server`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := Parse("test", strings.NewReader(test.text))
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %s", err, test.want)
			}
		})
	}
}

func TestMatch(t *testing.T) {
	t.Parallel()
	tests := []struct {
		want, got string
		ok        bool
	}{
		{"a b", "a b", true},
		{"a b", "a c", false},
		{"a", "a b", false},
		{"a b", "a", false},
		{"a *", "a b", true},
		{"a ...", "a b c", true},
		{"a ...", "a", true},
		{"a $x $x", "a 1 1", true},
		{"a $x $x", "a 1 2", false},
		{`a "*"`, "a b", false},
		{`a "..."`, `a "..."`, true},
	}
	for _, test := range tests {
		want, err := split(test.want)
		if err != nil {
			t.Fatal(err)
		}
		got, err := split(test.got)
		if err != nil {
			t.Fatal(err)
		}
		n := names{vars: make(map[string]string)}
		if ok := n.match(want, got); ok != test.ok {
			t.Errorf("%q, %q: %v", test.want, test.got, ok)
		}
	}
}

func TestIDs(t *testing.T) {
	t.Parallel()
	var list []*basedefine.MsgInfo
	for _, id := range []uint32{9, 8, 7, 5, 3, 2} {
		list = append(list, &basedefine.MsgInfo{MsgId: proto.Uint32(id)})
	}
	if got := ids(list); got != "9-7 5 3-2" {
		t.Errorf("got %s", got)
	}
	if got := ids(nil); got != "none" {
		t.Errorf("got %s", got)
	}
}
