package client_test

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"teamtalk/client"
	"teamtalk/client/clienttest"
	"teamtalk/internal/im"
	"teamtalk/internal/wire"
	"teamtalk/pb/basedefine"
	"teamtalk/pb/buddy"
	"teamtalk/pb/extension"
	"teamtalk/pb/login"
	"teamtalk/pb/message"
)

// patience bounds every wait of a test; it decides nothing.
const patience = 10 * time.Second

// ctx returns a context that ends long after a working test.
func ctx(t *testing.T) context.Context {
	t.Helper()
	c, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return c
}

// recorder keeps events and lets a test wait for them.
type recorder struct {
	events chan client.Event
}

// record returns a recorder; pass its handle as Handler.
func record() *recorder { return &recorder{events: make(chan client.Event, 1000)} }

// handle keeps an event beyond the call.
func (r *recorder) handle(_ *client.Client, e client.Event) {
	if m, ok := e.(*client.Message); ok {
		e = m.Clone()
	}
	r.events <- e
}

// next returns the next event of type T and drops others.
func next[T client.Event](t *testing.T, r *recorder) T {
	t.Helper()
	deadline := time.After(patience)
	for {
		select {
		case e := <-r.events:
			if want, ok := e.(T); ok {
				return want
			}
		case <-deadline:
			var want T
			t.Fatalf("no %T came", want)
		}
	}
}

// dial logs a user in and closes at the end of the test.
func dial(t *testing.T, addr, user string, change func(*client.Options)) (*client.Client, *recorder) {
	t.Helper()
	r := record()
	o := client.Options{Addr: addr, User: user, Password: clienttest.Password, Handler: r.handle}
	if change != nil {
		change(&o)
	}
	c, err := client.Dial(ctx(t), o)
	if err != nil {
		t.Fatalf("log in %s: %v", user, err)
	}
	t.Cleanup(c.Close)
	return c, r
}

func TestDialog(t *testing.T) {
	t.Parallel()
	n := clienttest.New()
	addr := n.Listen(t)
	for _, profile := range client.Profiles() {
		t.Run(profile.Name, func(t *testing.T) {
			t.Parallel()
			as := func(o *client.Options) { o.Profile = profile }
			alice, _ := dial(t, addr, "alice-"+profile.Name, as)
			bob, events := dial(t, addr, "bob-"+profile.Name, as)
			if alice.User() == 0 || alice.User() == bob.User() {
				t.Fatalf("user ids %d and %d", alice.User(), bob.User())
			}
			for i := range 30 {
				text := strings.Repeat("hello 你好 ", i+1)
				id, err := alice.SendText(ctx(t), im.Single, uint32(bob.User()), text)
				if err != nil {
					t.Fatalf("send: %v", err)
				}
				m := next[*client.Message](t, events)
				if id != im.MsgID(i+1) || m.ID != id || m.Text() != text || m.From != alice.User() {
					t.Fatalf("sent %d, received %d from %d: %q", id, m.ID, m.From, m.Text())
				}
				if s := m.Session(bob.User()); s != uint32(alice.User()) {
					t.Errorf("session %d for bob, want alice", s)
				}
			}
			page, err := bob.History(ctx(t), im.Single, uint32(alice.User()), 20, 5)
			if err != nil || len(page) != 5 || page[0].ID != 20 || page[4].ID != 16 {
				t.Errorf("history from 20: %v, %d messages", err, len(page))
			}
			if latest, err := alice.LatestID(ctx(t), im.Single, uint32(bob.User())); latest != 30 || err != nil {
				t.Errorf("latest id %d, %v, want 30", latest, err)
			}
			if err := alice.Logout(ctx(t)); err != nil {
				t.Errorf("log out: %v", err)
			}
		})
	}
}

// TestHeader checks version, reserved and seq rules of every profile.
func TestHeader(t *testing.T) {
	t.Parallel()
	for _, profile := range client.Profiles() {
		t.Run(profile.Name, func(t *testing.T) {
			t.Parallel()
			var mu sync.Mutex
			var seen []wire.Header
			var from uint32
			n := clienttest.New()
			n.Hook = func(_ *clienttest.Conn, pdu wire.PDU) bool {
				mu.Lock()
				defer mu.Unlock()
				seen = append(seen, pdu.Header)
				if pdu.Command == wire.MsgData {
					var m message.IMMsgData
					_ = proto.Unmarshal(pdu.Body, &m)
					from = m.GetFromUserId()
				}
				return false
			}
			c, _ := dial(t, n.Listen(t), "alice", func(o *client.Options) { o.Profile = profile })
			if _, err := c.Time(ctx(t)); err != nil {
				t.Fatal(err)
			}
			if _, err := c.History(ctx(t), im.Single, 7, 0, 10); err != nil {
				t.Fatal(err)
			}
			if _, err := c.SendText(ctx(t), im.Single, 7, "x"); err != nil {
				t.Fatal(err)
			}
			mu.Lock()
			defer mu.Unlock()
			for _, h := range seen {
				if h.Version != profile.Version || h.Reserved != profile.Reserved || h.Flag != 0 ||
					h.Service != h.Command.Service() || h.Seq == 0 {
					t.Errorf("%v has header %+v", h.Command, h)
				}
				if h.Command == wire.MsgListReq && profile.RandomSeq && h.Seq != 0xFF01 {
					t.Errorf("message list has seq %#x, want 0xFF01", h.Seq)
				}
			}
			if seen[0].Seq != profile.FirstSeq {
				t.Errorf("log-in has seq %d, want %d", seen[0].Seq, profile.FirstSeq)
			}
			if zero := from == 0; zero != profile.FromZero {
				t.Errorf("message from %d", from)
			}
		})
	}
}

func TestLoginRefused(t *testing.T) {
	t.Parallel()
	addr := clienttest.New().Listen(t)
	_, err := client.Dial(ctx(t), client.Options{Addr: addr, User: "alice", Password: "wrong"})
	refused, ok := errors.AsType[*client.LoginError](err)
	if !ok || refused.Code != basedefine.ResultType_REFUSE_REASON_DB_VALIDATE_FAILED || !refused.Permanent() {
		t.Errorf("error %v, want a refused log-in with code 6", err)
	}
	_, err = client.Dial(ctx(t), client.Options{Addr: "127.0.0.1:1", User: "alice"})
	if err == nil {
		t.Error("connected to a closed port")
	}
}

func TestLocate(t *testing.T) {
	t.Parallel()
	n := clienttest.New()
	addr := n.Listen(t)
	url := n.LoginServer(t, addr)
	for _, form := range []string{url, strings.TrimSuffix(url, "/msg_server"), strings.TrimPrefix(url, "http://")} {
		loc, err := client.Locate(ctx(t), form)
		if err != nil || loc.Addr != addr || loc.Backup != addr || loc.MSFS != "http://img/" {
			t.Errorf("Locate(%s) = %+v, %v", form, loc, err)
		}
	}
	c, err := client.Dial(ctx(t), client.Options{LoginURL: url, User: "alice", Password: clienttest.Password})
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
}

// TestEvents pushes one PDU of every kind and expects the typed event.
func TestEvents(t *testing.T) {
	t.Parallel()
	n := clienttest.New()
	c, events := dial(t, n.Listen(t), "alice", nil)
	push := func(command wire.Command, m proto.Message) {
		pdu, err := wire.AppendMessage(nil, command, 0, m)
		if err != nil {
			t.Fatal(err)
		}
		n.PushTo(c.User(), pdu)
	}
	group := basedefine.SessionType_SESSION_TYPE_GROUP.Enum()
	online := basedefine.UserStatType_USER_STATUS_ONLINE.Enum()
	u32 := proto.Uint32

	push(wire.MsgReadNotify, &message.IMMsgDataReadNotify{
		UserId: u32(1), SessionId: u32(5), MsgId: u32(9), SessionType: group,
	})
	if e := next[*client.ReadNotice](t, events); *e != (client.ReadNotice{Kind: im.Group, Session: 5, ID: 9}) {
		t.Errorf("%+v", e)
	}
	push(wire.StatusNotify, &buddy.IMUserStatNotify{
		UserStat: &basedefine.UserStat{UserId: u32(7), Status: online},
	})
	if e := next[*client.Presence](t, events); e.User != 7 || e.Status != *online {
		t.Errorf("%+v", e)
	}
	push(wire.PCLoginStatusNotify, &buddy.IMPCLoginStatusNotify{UserId: u32(7), LoginStat: online})
	if e := next[*client.PCPresence](t, events); !e.Online {
		t.Errorf("%+v", e)
	}
	push(wire.RemoveSessionNotify, &buddy.IMRemoveSessionNotify{
		UserId: u32(1), SessionType: group, SessionId: u32(4),
	})
	if e := next[*client.SessionRemoved](t, events); *e != (client.SessionRemoved{Kind: im.Group, Session: 4}) {
		t.Errorf("%+v", e)
	}
	push(wire.SignInfoChangedNotify, &buddy.IMSignInfoChangedNotify{
		ChangedUserId: u32(7), SignInfo: proto.String("busy"),
	})
	if e := next[*client.SignatureChanged](t, events); *e != (client.SignatureChanged{User: 7, Signature: "busy"}) {
		t.Errorf("%+v", e)
	}
	push(wire.MsgDelivered, &extension.IMMsgDelivered{SessionId: u32(4), SessionType: group, MsgId: u32(6)})
	if e := next[*client.Delivered](t, events); *e != (client.Delivered{Kind: im.Group, Session: 4, ID: 6}) {
		t.Errorf("%+v", e)
	}
	push(wire.MsgGap, &extension.IMMsgGap{SessionId: u32(4), SessionType: group, First: u32(6), Last: u32(8)})
	if e := next[*client.Gap](t, events); *e != (client.Gap{Kind: im.Group, Session: 4, First: 6, Last: 8}) {
		t.Errorf("%+v", e)
	}
	n.PushTo(c.User(), wire.Append(nil, 0x0799, 0, []byte("new")))
	if e := next[*client.Raw](t, events); e.PDU.Command != 0x0799 {
		t.Errorf("%+v", e)
	}
	// A message without its required fields is no message.
	n.PushTo(c.User(), wire.Append(nil, wire.MsgData, 0, []byte{0x08, 0x01}))
	if e := next[*client.Raw](t, events); e.PDU.Command != wire.MsgData {
		t.Errorf("%+v", e)
	}
}

func TestKick(t *testing.T) {
	t.Parallel()
	n := clienttest.New()
	addr := n.Listen(t)
	c, events := dial(t, addr, "alice", nil)
	kick, err := wire.AppendMessage(nil, wire.KickUser, 0, &login.IMKickUser{
		UserId:     proto.Uint32(uint32(c.User())),
		KickReason: basedefine.KickReasonType_KICK_REASON_DUPLICATE_USER.Enum(),
	})
	if err != nil {
		t.Fatal(err)
	}
	n.PushTo(c.User(), kick)
	if e := next[*client.Kick](t, events); e.Reason != basedefine.KickReasonType_KICK_REASON_DUPLICATE_USER {
		t.Errorf("%+v", e)
	}
	closed := next[*client.Closed](t, events)
	<-c.Done()
	if _, ok := errors.AsType[*client.KickedError](c.Err()); !ok || !errors.Is(closed.Err, c.Err()) {
		t.Errorf("ended with %v, event %v", c.Err(), closed.Err)
	}
	if _, err := c.Time(ctx(t)); err == nil {
		t.Error("a request succeeded after the kick")
	}
}

// TestBadFrames: whatever the server sends, the client ends the connection
// with the right error and answers all who wait.
func TestBadFrames(t *testing.T) {
	t.Parallel()
	short := wire.Append(nil, wire.TimeRes, 0, nil)
	binary.BigEndian.PutUint32(short, 15)
	long := wire.Append(nil, wire.TimeRes, 0, nil)
	binary.BigEndian.PutUint32(long, wire.MaxAndroid+1)
	for name, tc := range map[string]struct {
		bytes []byte
		want  error
	}{
		"length below the header": {bytes: short, want: wire.ErrLength},
		"over the limit":          {bytes: long, want: wire.ErrTooLarge},
		"half a PDU, then EOF":    {bytes: short[:7], want: io.ErrUnexpectedEOF},
		"EOF":                     {want: io.EOF},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := clienttest.New()
			n.Hook = func(c *clienttest.Conn, pdu wire.PDU) bool {
				if pdu.Command != wire.TimeReq {
					return false
				}
				c.Write(tc.bytes)
				if !errors.Is(tc.want, wire.ErrLength) {
					c.Close()
				}
				return true
			}
			c, _ := dial(t, n.Listen(t), "alice", func(o *client.Options) { o.Profile = client.Android() })
			if _, err := c.Time(ctx(t)); !errors.Is(err, tc.want) {
				t.Errorf("request ended with %v, want %v", err, tc.want)
			}
			<-c.Done()
			if !errors.Is(c.Err(), tc.want) {
				t.Errorf("connection ended with %v, want %v", c.Err(), tc.want)
			}
		})
	}
}

// TestPieces sends a reply and a push byte by byte, and many PDUs at once.
func TestPieces(t *testing.T) {
	t.Parallel()
	n := clienttest.New()
	n.Hook = func(c *clienttest.Conn, pdu wire.PDU) bool {
		if pdu.Command != wire.TimeReq {
			return false
		}
		big, _ := wire.AppendMessage(nil, wire.MsgData, 0, &message.IMMsgData{
			FromUserId: proto.Uint32(7), ToSessionId: proto.Uint32(8), MsgId: proto.Uint32(9),
			CreateTime: proto.Uint32(1), MsgType: basedefine.MsgType_MSG_TYPE_SINGLE_TEXT.Enum(),
			MsgData: []byte(strings.Repeat("x", 200_000)),
		})
		many := append(big, big...)
		reply, _ := wire.AppendMessage(nil, wire.TimeRes, pdu.Seq, &message.IMClientTimeRsp{
			ServerTime: proto.Uint32(42),
		})
		c.Write(many)
		for i := range reply {
			c.Write(reply[i : i+1])
		}
		return true
	}
	c, events := dial(t, n.Listen(t), "alice", nil)
	now, err := c.Time(ctx(t))
	if err != nil || now.Unix() != 42 {
		t.Fatalf("time %v, %v, want 42", now, err)
	}
	for range 2 {
		if m := next[*client.Message](t, events); len(m.Data) != 200_000 {
			t.Errorf("message of %d bytes", len(m.Data))
		}
	}
}

func TestDeadline(t *testing.T) {
	t.Parallel()
	n := clienttest.New()
	asked := make(chan struct{}, 2)
	n.Hook = func(_ *clienttest.Conn, pdu wire.PDU) bool {
		silent := pdu.Command == wire.UnreadCountReq || pdu.Command == wire.MsgData
		if silent {
			asked <- struct{}{}
		}
		return silent
	}
	c, _ := dial(t, n.Listen(t), "alice", func(o *client.Options) { o.AckTimeout = 20 * time.Millisecond })
	ask, cancel := context.WithCancel(ctx(t))
	go func() { <-asked; cancel() }()
	if _, _, err := c.Unread(ask); !errors.Is(err, context.Canceled) {
		t.Errorf("unread: %v, want canceled", err)
	}
	ask, cancel = context.WithCancel(ctx(t))
	go func() { <-asked; cancel() }()
	if _, err := c.SendText(ask, im.Single, 7, "hello"); !errors.Is(err, context.Canceled) {
		t.Errorf("send: %v, want canceled", err)
	}
	failed := make(chan error, 1)
	m := &client.Message{To: 7, Type: im.SingleText, Data: []byte("x")}
	if err := c.SendAsync(m, 5, func(_ uint64, _ im.MsgID, err error) { failed <- err }); err != nil {
		t.Fatal(err)
	}
	if err := <-failed; !errors.Is(err, client.ErrAckTimeout) {
		t.Errorf("asynchronous send: %v, want time-out", err)
	}
	// The connection is as good as before.
	if _, err := c.Time(ctx(t)); err != nil {
		t.Errorf("time: %v", err)
	}
}

// TestWindow keeps many sends unacknowledged at once, from the callbacks.
func TestWindow(t *testing.T) {
	t.Parallel()
	n := clienttest.New()
	addr := n.Listen(t)
	c, _ := dial(t, addr, "alice", nil)
	_, events := dial(t, addr, "bob", nil)
	const total, window = 2000, 50
	m := &client.Message{To: clienttest.FirstUser + 1, Type: im.SingleText, Data: []byte("x")}
	var mu sync.Mutex
	sent, acked := 0, 0
	done := make(chan struct{})
	var send func()
	var ack client.AckFunc = func(token uint64, id im.MsgID, err error) {
		mu.Lock()
		defer mu.Unlock()
		acked++
		if err != nil || im.MsgID(token) != id {
			t.Errorf("message %d got id %d, %v", token, id, err)
		}
		if acked == total {
			close(done)
		}
		send()
	}
	send = func() {
		if sent == total {
			return
		}
		sent++
		if err := c.SendAsync(m, uint64(sent), ack); err != nil {
			t.Errorf("send %d: %v", sent, err)
		}
	}
	mu.Lock()
	for range window {
		send()
	}
	mu.Unlock()
	<-done
	for i := range 500 {
		if got := next[*client.Message](t, events); got.ID != im.MsgID(i+1) {
			t.Fatalf("message %d has id %d", i+1, got.ID)
		}
	}
}

func TestMergedUsers(t *testing.T) {
	t.Parallel()
	n := clienttest.New()
	n.Hook = func(c *clienttest.Conn, pdu wire.PDU) bool {
		if pdu.Command != wire.AllUsersReq {
			return false
		}
		empty := proto.String("")
		for i := range 3 {
			id := proto.Uint32(uint32(i + 1))
			c.Send(wire.AllUsersRes, pdu.Seq, &buddy.IMAllUserRsp{
				UserId: id, LatestUpdateTime: proto.Uint32(uint32(10 + i)),
				UserList: []*basedefine.UserInfo{{
					UserId: id, UserGender: id, UserNickName: empty, AvatarUrl: empty, DepartmentId: id,
					Email: empty, UserRealName: empty, UserTel: empty, UserDomain: empty, Status: id,
				}},
			})
		}
		return true
	}
	c, _ := dial(t, n.Listen(t), "alice", func(o *client.Options) { o.Profile = client.Android() })
	users, latest, err := c.AllUsers(ctx(t), 0)
	if err != nil || len(users) != 3 || latest != 12 {
		t.Errorf("%d users up to %d, %v; want 3 up to 12", len(users), latest, err)
	}
}

func TestExtensions(t *testing.T) {
	t.Parallel()
	n := clienttest.New()
	n.Grant = []string{client.CapNack, client.CapDelivered}
	var refuse atomic.Bool
	n.Hook = func(c *clienttest.Conn, pdu wire.PDU) bool {
		if pdu.Command != wire.MsgData || !refuse.Load() {
			return false
		}
		c.Send(wire.MsgNack, pdu.Seq, &extension.IMMsgNack{
			SessionId: proto.Uint32(7), SessionType: basedefine.SessionType_SESSION_TYPE_SINGLE.Enum(),
			Reason: proto.Uint32(uint32(im.Busy)), Retryable: proto.Bool(true), RetryAfterMs: proto.Uint32(250),
		})
		return true
	}
	addr := n.Listen(t)
	all := func(o *client.Options) { o.Capabilities = client.AllCapabilities() }
	alice, _ := dial(t, addr, "alice", all)
	bob, events := dial(t, addr, "bob", all)
	if !alice.Granted(client.CapNack) || alice.Granted(client.CapMove) {
		t.Error("wrong capabilities granted")
	}
	if _, err := alice.SendText(ctx(t), im.Single, uint32(bob.User()), "x"); err != nil {
		t.Fatal(err)
	}
	next[*client.Message](t, events)
	if _, err := bob.Time(ctx(t)); err != nil { // the receipt was sent before
		t.Fatal(err)
	}
	if n.Receipts() != 1 {
		t.Errorf("%d receipts, want 1", n.Receipts())
	}
	refuse.Store(true)
	_, err := alice.SendText(ctx(t), im.Single, uint32(bob.User()), "x")
	nack, ok := errors.AsType[*client.NackError](err)
	if !ok || nack.Code != im.Busy || !nack.Retryable || nack.After != 250*time.Millisecond {
		t.Errorf("error %v, want busy", err)
	}
}

func TestHeartbeat(t *testing.T) {
	t.Parallel()
	n := clienttest.New()
	n.Hook = func(_ *clienttest.Conn, pdu wire.PDU) bool { return pdu.Command == wire.Heartbeat }
	profile := client.Native()
	profile.Heartbeat, profile.HeartbeatTimeout = time.Millisecond, 20*time.Millisecond
	c, _ := dial(t, n.Listen(t), "alice", func(o *client.Options) { o.Profile = profile })
	<-c.Done()
	if !errors.Is(c.Err(), client.ErrDead) {
		t.Errorf("ended with %v, want ErrDead", c.Err())
	}
}

// TestFullSocket queues more than a socket takes while nobody reads.
func TestFullSocket(t *testing.T) {
	t.Parallel()
	n := clienttest.New()
	release := make(chan struct{})
	n.Hook = func(_ *clienttest.Conn, pdu wire.PDU) bool {
		if pdu.Command == wire.P2PCommand {
			<-release
			return true
		}
		return false
	}
	c, _ := dial(t, n.Listen(t), "alice", nil)
	if err := c.SendCommand(7, "hold"); err != nil {
		t.Fatal(err)
	}
	filler := wire.Append(nil, 0x0735, 0, make([]byte, 100_000))
	full := false
	for range 10_000 {
		if err := c.SendRaw(filler); err != nil {
			full = errors.Is(err, client.ErrQueueFull)
			break
		}
	}
	close(release)
	if !full {
		t.Error("the queue is not bounded")
	}
	waiting := ctx(t)
	for {
		_, err := c.Time(waiting)
		if err == nil {
			break
		}
		if !errors.Is(err, client.ErrQueueFull) {
			t.Fatalf("after the jam: %v", err)
		}
	}
}

func TestRawConn(t *testing.T) {
	t.Parallel()
	addr := clienttest.New().Listen(t)
	c, err := client.DialRaw(ctx(t), addr, "127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.SendPDU(wire.Heartbeat, 5, nil); err != nil {
		t.Fatal(err)
	}
	pdu, err := c.Receive(ctx(t))
	if err != nil || pdu.Command != wire.Heartbeat || pdu.Seq != 5 {
		t.Errorf("received %+v, %v", pdu, err)
	}
	over, cancel := context.WithCancel(ctx(t))
	cancel()
	if _, err := c.Receive(over); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("receive without data: %v, want a time-out", err)
	}
	if _, err := c.Write(make([]byte, 16)); err != nil { // length 0
		t.Fatal(err)
	}
	if _, err := c.Receive(ctx(t)); !errors.Is(err, io.EOF) {
		t.Errorf("after bad bytes: %v, want EOF", err)
	}
}
