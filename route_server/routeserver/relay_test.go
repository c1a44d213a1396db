package routeserver

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"google.golang.org/protobuf/proto"

	"teamtalk/internal/link/linktest"
	"teamtalk/internal/wire"
	"teamtalk/pb/basedefine"
	"teamtalk/pb/extension"
	"teamtalk/pb/message"
)

func TestPlainRelays(t *testing.T) {
	t.Parallel()
	r := start(t)
	a, b, c := r.ours(), r.original(), r.original()
	msg := &message.IMMsgData{
		FromUserId: proto.Uint32(7), ToSessionId: proto.Uint32(9), MsgId: proto.Uint32(3), CreateTime: proto.Uint32(5),
		MsgType: basedefine.MsgType_MSG_TYPE_SINGLE_TEXT.Enum(), MsgData: []byte("text"),
	}
	clean, err := proto.Marshal(msg)
	if err != nil {
		t.Fatal(err)
	}
	msg.AttachData = []byte("handle")
	dirty, err := proto.Marshal(msg)
	if err != nil {
		t.Fatal(err)
	}
	cases := []struct {
		command    wire.Command
		body, want []byte
	}{
		{wire.MsgData, clean, clean},
		{wire.MsgData, dirty, clean},
		{wire.P2PCommand, []byte("p2p"), []byte("p2p")},
		{wire.MsgReadNotify, []byte("read"), []byte("read")},
		{wire.ServerKickUser, []byte("kick"), []byte("kick")},
		{wire.GroupChangeMemberNotify, []byte("members"), []byte("members")},
		{wire.FileNotify, []byte("file"), []byte("file")},
		{wire.RemoveSessionNotify, []byte("session"), []byte("session")},
	}
	for _, tc := range cases {
		b.SendBody(tc.command, 77, tc.body)
		for _, p := range []linktest.Peer{a, c} {
			if pdu := p.Want(tc.command); pdu.Seq != 0 || !bytes.Equal(pdu.Body, tc.want) {
				t.Errorf("%v: seq %d, body %q; want 0, %q", tc.command, pdu.Seq, pdu.Body, tc.want)
			}
		}
	}
	b.SendBody(wire.SignInfoChangedNotify, 77, []byte("signature"))
	for _, p := range []linktest.Peer{a, b, c} { // the origin got nothing else
		if pdu := p.Want(wire.SignInfoChangedNotify); pdu.Seq != 0 || string(pdu.Body) != "signature" {
			t.Errorf("0215: seq %d, body %q", pdu.Seq, pdu.Body)
		}
	}
	a.SendBody(wire.P2PCommand, 78, []byte("from ours"))
	b.Want(wire.P2PCommand)
	c.Want(wire.P2PCommand)
	r.mark(a, a, b, c)
}

func relayOf(command wire.Command, targets ...uint32) *extension.IMRelay {
	return &extension.IMRelay{
		Targets: targets, Command: proto.Uint32(uint32(command)), Body: []byte("letter"),
		Order: &extension.Order{
			SessionType: basedefine.SessionType_SESSION_TYPE_SINGLE.Enum(),
			First:       proto.Uint32(7), Second: proto.Uint32(9), MsgId: proto.Uint32(42),
		},
	}
}

func TestRelay(t *testing.T) {
	t.Parallel()
	r := start(t)
	a, b, c, o := r.ours(), r.ours(), r.ours(), r.original()
	a.Send(wire.OnlineUserInfo, 0, userList(mac, 7, 8))
	b.Send(wire.OnlineUserInfo, 0, userList(mac, 9, 10))
	c.Send(wire.OnlineUserInfo, 0, userList(ios, 7, 9, 11))
	o.Send(wire.OnlineUserInfo, 0, userList(mac, 12))
	linktest.Eventually(t, "the announcements", func() bool { return r.presence.Users() == 6 })

	cases := map[string]struct {
		targets []uint32
		command wire.Command
		b, c    []uint32 // nil: gets nothing
		o       bool
	}{
		"here and there":     {[]uint32{9, 7, 99, 11}, wire.MsgData, []uint32{9}, []uint32{9, 7, 11}, true},
		"only at the origin": {[]uint32{8}, wire.MsgData, nil, nil, true},
		"nowhere":            {[]uint32{99}, wire.MsgData, nil, nil, true},
		"at the original":    {[]uint32{12, 10}, wire.MsgReadNotify, []uint32{10}, nil, true},
		"everybody":          {nil, wire.MsgData, []uint32{}, []uint32{}, true},
		"an extension":       {[]uint32{10}, wire.MsgDelivered, []uint32{10}, nil, false},
		"not between them":   {nil, wire.AvatarChangedNotify, []uint32{}, []uint32{}, false},
	}
	for name, tc := range cases {
		m := relayOf(tc.command, tc.targets...)
		a.Send(wire.Relay, 5, m)
		check := func(p linktest.Peer, who string, targets []uint32) {
			if targets == nil {
				return
			}
			pdu := p.Want(wire.Relay)
			want := proto.Clone(m).(*extension.IMRelay)
			want.Targets = targets
			if got := parse(t, pdu, new(extension.IMRelay)); !proto.Equal(got, want) || pdu.Seq != 0 {
				t.Errorf("%s: %s got seq %d %v\nwant %v", name, who, pdu.Seq, got, want)
			}
		}
		check(b, "b", tc.b)
		check(c, "c", tc.c)
		if tc.o {
			if pdu := o.Want(tc.command); string(pdu.Body) != "letter" || pdu.Seq != 0 {
				t.Errorf("%s: the original got seq %d %q", name, pdu.Seq, pdu.Body)
			}
		}
		r.mark(a, a, b, c, o)
	}
}

// A relay that comes after a log-in is on its way reaches it: a link says both
// in order.
func TestRelaySeesTheLogIn(t *testing.T) {
	t.Parallel()
	r := start(t)
	a, b := r.ours(), r.ours()
	for user := uint32(1); user <= 50; user++ {
		b.Send(wire.UserStatusUpdate, 0, statusUpdate(user, mac, true))
		wantStatus(t, a, user, true) // from here on a may address the user
		wantPCLogin(t, a, user, 1)
		wantStatus(t, b, user, true)
		wantPCLogin(t, b, user, 1)
		a.Send(wire.Relay, 0, relayOf(wire.MsgData, user))
		if m := parse(t, b.Want(wire.Relay), new(extension.IMRelay)); !slices.Equal(m.GetTargets(), []uint32{user}) {
			t.Fatalf("targets %v, want %d", m.GetTargets(), user)
		}
	}
}

func BenchmarkRelay(b *testing.B) {
	for _, targets := range []int{1, 1000} {
		b.Run(fmt.Sprintf("targets=%d", targets), func(b *testing.B) {
			r := start(b)
			from, to := r.ours(), r.ours()
			var users []uint32
			for user := range uint32(targets) {
				users = append(users, user+1)
			}
			to.Send(wire.OnlineUserInfo, 0, userList(mac, users...))
			linktest.Eventually(b, "the announcement", func() bool { return r.presence.Users() == targets })
			m := relayOf(wire.MsgData, users...)
			m.Body = make([]byte, 200)
			body := mustMarshal(b, m)
			b.ReportAllocs()
			b.ResetTimer()
			go func() {
				for range b.N {
					from.SendBody(wire.Relay, 0, body)
				}
			}()
			for range b.N {
				to.Want(wire.Relay)
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "relays/s")
		})
	}
}
