package client_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"teamtalk/client"
	"teamtalk/client/clienttest"
	"teamtalk/internal/im"
	"teamtalk/internal/wire"
	"teamtalk/pb/basedefine"
	"teamtalk/pb/login"
	"teamtalk/pb/message"
)

// running is a Session under test.
type running struct {
	*client.Session
	states chan client.State
	ended  chan error
}

// run starts a Session for alice.
func run(t *testing.T, o client.Options) *running {
	t.Helper()
	r := &running{states: make(chan client.State, 1000), ended: make(chan error, 1)}
	o.User = "alice"
	if o.Password == "" {
		o.Password = clienttest.Password
	}
	s, err := client.NewSession(client.SessionOptions{
		Options: o, OnState: func(s client.State, _ error) { r.states <- s },
		MinBackoff: time.Millisecond, MaxBackoff: 10 * time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	r.Session = s
	life, cancel := context.WithCancel(t.Context())
	go func() { r.ended <- s.Run(life) }()
	t.Cleanup(cancel)
	return r
}

// reach waits for a state.
func (r *running) reach(t *testing.T, want client.State) {
	t.Helper()
	deadline := time.After(patience)
	for {
		select {
		case s := <-r.states:
			if s == want {
				return
			}
		case <-deadline:
			t.Fatalf("never %v", want)
		}
	}
}

func TestSessionReconnects(t *testing.T) {
	t.Parallel()
	n := clienttest.New()
	addr := n.Listen(t)
	s := run(t, client.Options{LoginURL: n.LoginServer(t, addr)})
	for range 3 {
		s.reach(t, client.Online)
		if s.Client() == nil {
			t.Error("on-line without a client")
		}
		n.DropAll()
		s.reach(t, client.Offline)
	}
}

func TestSessionEnds(t *testing.T) {
	t.Parallel()
	n := clienttest.New()
	addr := n.Listen(t)
	wrong := run(t, client.Options{Addr: addr, Password: "wrong"})
	if _, ok := errors.AsType[*client.LoginError](<-wrong.ended); !ok {
		t.Error("a wrong password did not end the session")
	}
	s := run(t, client.Options{Addr: addr})
	s.reach(t, client.Online)
	kick, err := wire.AppendMessage(nil, wire.KickUser, 0, &login.IMKickUser{
		UserId: proto.Uint32(1), KickReason: basedefine.KickReasonType_KICK_REASON_DUPLICATE_USER.Enum(),
	})
	if err != nil {
		t.Fatal(err)
	}
	n.PushTo(s.Client().User(), kick)
	if _, ok := errors.AsType[*client.KickedError](<-s.ended); !ok {
		t.Error("a kick did not end the session")
	}
	if _, err := s.SendText(ctx(t), im.Single, 7, "x"); err == nil {
		t.Error("sent after the end")
	}
	again, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() { s.ended <- s.Run(again) }()
	s.reach(t, client.Online)
	if _, err := s.SendText(ctx(t), im.Single, 7, "x"); err != nil {
		t.Errorf("not sent after it began again: %v", err)
	}
}

// TestSessionResends loses the connection between storing and acknowledging.
func TestSessionResends(t *testing.T) {
	t.Parallel()
	for name, grant := range map[string][]string{"granted": {client.CapClientMsgID}, "old server": nil} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := clienttest.New()
			n.Grant = grant
			n.Fault.Silent = 1
			addr := n.Listen(t)
			s := run(t, client.Options{Addr: addr, Capabilities: client.AllCapabilities()})
			s.reach(t, client.Online)
			me := s.Client().User()
			type result struct {
				id  im.MsgID
				err error
			}
			sent := make(chan result, 1)
			go func() {
				id, err := s.SendText(ctx(t), im.Single, 7, "once")
				sent <- result{id, err}
			}()
			conversation := im.SingleOf(me, 7)
			for n.Stored(conversation) == 0 {
				if _, err := s.Client().Time(ctx(t)); err != nil {
					t.Fatal(err)
				}
			}
			n.DropAll()
			r := <-sent
			if granted := grant != nil; granted && (r.err != nil || r.id != 1) || !granted && r.err == nil {
				t.Errorf("id %d, %v", r.id, r.err)
			}
			if stored := n.Stored(conversation); stored != 1 {
				t.Errorf("stored %d times", stored)
			}
		})
	}
}

// What is sent again to a terminal that acknowledges is acknowledged again and
// shown once, also over the next connection.
func TestSessionShowsRepeatsOnce(t *testing.T) {
	t.Parallel()
	n := clienttest.New()
	n.Grant = []string{client.CapDelivered}
	shown := make(chan im.MsgID, 100)
	r := run(t, client.Options{
		Addr: n.Listen(t), Capabilities: client.AllCapabilities(),
		Handler: func(_ *client.Client, e client.Event) {
			if m, ok := e.(*client.Message); ok {
				shown <- m.ID
			}
		},
	})
	push := func(ids ...uint32) {
		t.Helper()
		r.reach(t, client.Online)
		c := r.Client()
		for _, id := range ids {
			frame, err := wire.AppendMessage(nil, wire.MsgData, 0, &message.IMMsgData{
				FromUserId: proto.Uint32(77), ToSessionId: proto.Uint32(uint32(c.User())), MsgId: proto.Uint32(id),
				CreateTime: proto.Uint32(1), MsgType: basedefine.MsgType_MSG_TYPE_SINGLE_TEXT.Enum(), MsgData: []byte("x"),
			})
			if err != nil {
				t.Fatal(err)
			}
			n.PushTo(c.User(), frame)
		}
		for before := n.Receipts(); n.Receipts() == before; {
			if _, err := c.Time(ctx(t)); err != nil {
				t.Fatal(err)
			}
		}
	}
	push(1, 2, 1, 2, 3)
	n.DropAll()
	push(2, 3, 4)
	for want := im.MsgID(1); want <= 4; want++ {
		if id := <-shown; id != want {
			t.Errorf("shown %d, want %d", id, want)
		}
	}
	if len(shown) != 0 {
		t.Errorf("%d more shown", len(shown))
	}
}
