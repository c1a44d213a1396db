package msgserver

import (
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"testing"

	"google.golang.org/protobuf/proto"

	"teamtalk/internal/im"
	"teamtalk/internal/link/linktest"
	"teamtalk/internal/wire"
	"teamtalk/msg_server/internal/deliver"
	"teamtalk/pb/basedefine"
	"teamtalk/pb/buddy"
	"teamtalk/pb/extension"
	"teamtalk/pb/group"
	"teamtalk/pb/message"
	"teamtalk/pb/switchservice"
)

// relayed is a message of another server, as a route_server hands it on.
func relayed(t testing.TB, from, to, id uint32, since *uint32, targets ...uint32) []byte {
	t.Helper()
	m := say(single, to, strconv.Itoa(int(id)))
	m.FromUserId, m.MsgId, m.CreateTime = proto.Uint32(from), proto.Uint32(id), proto.Uint32(1)
	return encode(t, &extension.IMRelay{
		Targets: targets, Command: proto.Uint32(uint32(wire.MsgData)), Body: encode(t, m),
		Order: &extension.Order{
			SessionType: basedefine.SessionType_SESSION_TYPE_SINGLE.Enum(),
			First:       proto.Uint32(min(from, to)), Second: proto.Uint32(max(from, to)),
			MsgId: proto.Uint32(id), SincePreviousMs: since,
		},
	})
}

// Two route_servers bring every message twice, each in an order of its own:
// every connection gets each once, in order.
func TestRelaysOfTwoRouteServers(t *testing.T) {
	t.Parallel()
	routes := []*neighbour{ourRoute(t), ourRoute(t)}
	w := newWorldOf(t, setup{routes: routes})
	pc, phone, other := w.login(9, im.Mac), w.login(9, im.IOS), w.login(8, im.Mac)
	const messages = 300
	var talking sync.WaitGroup
	for _, route := range routes {
		talking.Go(func() {
			// Late by up to twenty others; the conversation goes on all the time.
			order := make([]uint32, messages)
			for i := range order {
				order[i] = uint32(i + 1)
			}
			for i := range order {
				j := min(len(order)-1, i+rand.IntN(20))
				order[i], order[j] = order[j], order[i]
			}
			for _, id := range order {
				route.sendBody(wire.Relay, 0, relayed(t, 7, 9, id, proto.Uint32(1), 9, 7))
			}
		})
	}
	talking.Wait()
	for _, u := range []*user{pc, phone} {
		for id := uint32(1); id <= messages; id++ {
			u.gets(7, 9, id)
		}
	}
	// What was sent last on both links is through when all is counted.
	linktest.Eventually(t, "every relay", func() bool { return w.offered() == 2*messages })
	for _, u := range []*user{pc, phone, other} {
		u.quiet()
	}
}

// offered is how many messages came for delivery.
func (w *world) offered() (n int) {
	for _, outcome := range []deliver.Outcome{deliver.Pushed, deliver.Held, deliver.Late, deliver.Duplicate} {
		n += w.delivered(outcome)
	}
	return n
}

// A message whose predecessor never comes waits for it, but not for ever; what
// comes too late is not pushed out of order.
func TestHeldMessages(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	u := w.login(9, im.Mac)
	relay := func(id uint32, since *uint32) { w.route1.sendBody(wire.Relay, 0, relayed(t, 7, 9, id, since, 9)) }
	relay(1, nil)
	u.gets(7, 9, 1)
	relay(4, proto.Uint32(10))
	relay(3, proto.Uint32(10))
	linktest.Eventually(t, "two held messages", func() bool { return w.delivered(deliver.Held) == 2 })
	u.quiet()
	w.skip(deliver.HoldFor)
	u.gets(7, 9, 3)
	u.gets(7, 9, 4)
	relay(2, proto.Uint32(10))
	relay(9, proto.Uint32(2000)) // the one before was there long ago
	u.gets(7, 9, 9)
	u.quiet()
	if w.delivered(deliver.Late) != 1 {
		t.Error("the late message is not counted")
	}
}

// Messages from here and from elsewhere are of one order.
func TestLocalAndRelayedMessages(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	sender, receiver := w.login(7, im.Mac), w.login(9, im.Mac)
	sender.send(wire.MsgData, 1, say(single, 9, "second"))
	r, _ := w.db1.stores()
	r.keep(t, 2, func(m *message.IMMsgData) { m.SincePreviousMs = proto.Uint32(3) })
	sender.acked(1) // at once; only what is pushed waits
	linktest.Eventually(t, "a held message", func() bool { return w.delivered(deliver.Held) == 1 })
	receiver.quiet()
	w.route1.sendBody(wire.Relay, 0, relayed(t, 9, 7, 1, nil, 7))
	sender.gets(9, 7, 1)
	receiver.gets(7, 9, 2)
	sender.quiet()
}

// A conversation of several users on this server, all of them talking at once:
// everybody sees one order, without gaps and repeats.
func TestOneOrderForAll(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	members := []uint32{1, 2, 3, 4}
	w.db1.does(storing(t, map[uint32][]uint32{500: members}))
	w.route1.does(func(received) bool { return true })
	var users []*user
	for _, id := range members {
		users = append(users, w.login(id, im.Mac), w.login(id, im.Android))
	}
	const each = 40
	seen := make([][]uint32, len(users))
	var talking sync.WaitGroup
	for i, u := range users {
		for seq := range uint16(each) {
			u.send(wire.MsgData, seq+1, say(inside, 500, "x"))
		}
		talking.Go(func() {
			own := map[uint32]bool{}
			for len(own)+len(seen[i]) < each*len(users) {
				pdu, err := u.Receive(t.Context())
				if err != nil {
					t.Error(err)
					return
				}
				if pdu.Command == wire.MsgDataAck {
					own[decode(t, pdu.Body, new(message.IMMsgDataAck)).GetMsgId()] = true
				} else {
					seen[i] = append(seen[i], decode(t, pdu.Body, new(message.IMMsgData)).GetMsgId())
				}
			}
			for id := range own {
				if slices.Contains(seen[i], id) {
					t.Errorf("message %d came back to its sender", id)
				}
			}
		})
	}
	talking.Wait()
	for i, ids := range seen {
		if !slices.IsSorted(ids) || len(slices.Compact(ids)) != each*(len(users)-1) {
			t.Errorf("connection %d: %d messages, in order %v", i, len(ids), slices.IsSorted(ids))
		}
	}
}

// What our route_servers hand on besides messages. An envelope without targets
// is for everybody.
func TestRelayedPushes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	pc, phone, other := w.login(7, im.Mac), w.login(7, im.IOS), w.login(8, im.Windows)
	relay := func(command wire.Command, body []byte, targets ...uint32) {
		w.route1.send(wire.Relay, 55, &extension.IMRelay{
			Targets: targets, Command: proto.Uint32(uint32(command)), Body: body,
		})
	}
	relay(wire.MsgReadNotify, []byte("read"), 7, 99)
	relay(wire.SignInfoChangedNotify, []byte("sign"))
	w.route1.sendBody(wire.Relay, 0, []byte{0xff})
	w.route1.sendBody(wire.FileNotify, 0, nil) // lacks everything
	w.route1.sendBody(0x07ff, 0, nil)
	for _, u := range []*user{pc, phone} {
		if pdu := u.want(wire.MsgReadNotify, nil); string(pdu.Body) != "read" || pdu.Seq != 0 {
			t.Errorf("0304: %v", pdu)
		}
	}
	for _, u := range []*user{pc, phone, other} {
		if pdu := u.want(wire.SignInfoChangedNotify, nil); string(pdu.Body) != "sign" || pdu.Seq != 0 {
			t.Errorf("0215: %v", pdu)
		}
	}
	linktest.Eventually(t, "unknown commands", func() bool {
		return w.dropped("unknown_command") == 1 && w.dropped("bad_body") == 2
	})
	for _, u := range []*user{pc, phone, other} {
		u.quiet()
	}
}

// What an original route_server sends plain finds its targets by its body.
// Nothing of ours reaches it. Source: docs/protocol/flows.md §4 to §13.
func TestOriginalRouteServer(t *testing.T) {
	t.Parallel()
	w := newWorldOf(t, setup{routes: []*neighbour{originalRoute(t), ourRoute(t)}})
	pc, phone, other := w.login(7, im.Mac), w.login(7, im.IOS), w.login(8, im.Windows)
	none := []*user{}
	msg := say(single, 7, "text")
	msg.FromUserId, msg.MsgId = proto.Uint32(8), proto.Uint32(1)
	clean := proto.Clone(msg)
	msg.AttachData = []byte("handle")
	cases := []struct {
		command wire.Command
		m, want proto.Message
		to      []*user
	}{
		{wire.MsgData, msg, clean, []*user{pc, phone, other}},
		{wire.MsgData, msg, clean, none}, // again
		{wire.MsgReadNotify, &message.IMMsgDataReadNotify{
			UserId: proto.Uint32(7), SessionId: proto.Uint32(8), MsgId: proto.Uint32(1), SessionType: basedefine.SessionType_SESSION_TYPE_SINGLE.Enum(),
		}, nil, []*user{pc, phone}},
		{wire.RemoveSessionNotify, &buddy.IMRemoveSessionNotify{
			UserId: proto.Uint32(7), SessionId: proto.Uint32(8), SessionType: basedefine.SessionType_SESSION_TYPE_SINGLE.Enum(),
		}, nil, []*user{pc, phone}},
		{wire.P2PCommand, &switchservice.IMP2PCmdMsg{
			FromUserId: proto.Uint32(8), ToUserId: proto.Uint32(7), CmdMsgData: proto.String("{}"),
		}, nil, []*user{pc, phone, other}},
		{wire.P2PCommand, &switchservice.IMP2PCmdMsg{
			FromUserId: proto.Uint32(8), ToUserId: proto.Uint32(8), CmdMsgData: proto.String("{}"),
		}, nil, []*user{other}},
		{wire.GroupChangeMemberNotify, &group.IMGroupChangeMemberNotify{
			UserId: proto.Uint32(1), ChangeType: basedefine.GroupModifyType_GROUP_MODIFY_TYPE_ADD.Enum(), GroupId: proto.Uint32(500),
			CurUserIdList: []uint32{1, 7}, ChgUserIdList: []uint32{7},
		}, nil, []*user{pc, phone}},
		{wire.SignInfoChangedNotify, &buddy.IMSignInfoChangedNotify{
			ChangedUserId: proto.Uint32(8), SignInfo: proto.String("s"),
		}, nil, []*user{pc, phone, other}},
	}
	for _, tc := range cases {
		w.route1.send(tc.command, 66, tc.m)
		if tc.want == nil {
			tc.want = tc.m
		}
		for _, u := range tc.to {
			got := tc.want.ProtoReflect().New().Interface()
			if u.push(tc.command, got); !proto.Equal(got, tc.want) {
				t.Errorf("%v: user %d got %v", tc.command, u.id, got)
			}
		}
	}
	for _, command := range []wire.Command{wire.MsgData, wire.MsgReadNotify, wire.RemoveSessionNotify, wire.P2PCommand, wire.GroupChangeMemberNotify} {
		w.route1.sendBody(command, 0, []byte{0xff})
	}
	linktest.Eventually(t, "garbage", func() bool { return w.dropped("bad_body") == 5 })
	for _, u := range []*user{pc, phone, other} {
		u.quiet()
	}
}

// While an original route_server is linked, a message goes over one route
// only: an original drops no repeats. Source: docs/protocol/defects.md A11.
func TestOneRouteBesideAnOriginal(t *testing.T) {
	t.Parallel()
	for name, routes := range map[string][]*neighbour{
		"originals": {originalRoute(t), originalRoute(t)}, "ours": {ourRoute(t), ourRoute(t)},
		"both": {originalRoute(t), ourRoute(t)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorldOf(t, setup{routes: routes})
			w.db1.does(storing(t, nil))
			u := w.login(7, im.Mac)
			got := make(chan wire.Command, 10)
			for _, n := range routes {
				n.does(func(r received) bool {
					if !swallowNews(r) {
						got <- r.Command
					}
					return true
				})
			}
			u.send(wire.MsgData, 1, say(single, 9, "x"))
			u.acked(1)
			// The marker goes over one route in any case, behind the message.
			u.send(wire.P2PCommand, 0, &switchservice.IMP2PCmdMsg{
				FromUserId: proto.Uint32(0), ToUserId: proto.Uint32(9), CmdMsgData: proto.String("{}"),
			})
			want := map[string]int{"originals": 2, "ours": 3, "both": 2}[name]
			for range want {
				linktest.Wait(t, got, "a relay")
			}
			u.quiet()
			if len(got) > 0 {
				t.Errorf("another relay: %v", <-got)
			}
		})
	}
}
