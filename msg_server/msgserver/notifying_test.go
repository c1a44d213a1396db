package msgserver

import (
	"fmt"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"teamtalk/client/textcrypt"
	"teamtalk/internal/im"
	"teamtalk/internal/link"
	"teamtalk/internal/wire"
	"teamtalk/pb/basedefine"
	"teamtalk/pb/buddy"
	"teamtalk/pb/extension"
	"teamtalk/pb/message"
	"teamtalk/pb/server"
)

// The users of a pushWorld, by what is with their phones.
const (
	away, atPC, noPhone, phoneElsewhere, phoneHere, muting = 20, 21, 22, 23, 24, 25

	team = 500
)

// pushWorld is a world with a push_server. Between them, its db_proxy and its
// route_server know what a notification takes.
func pushWorld(t *testing.T) (w *world, push *neighbour) {
	t.Helper()
	push = original(t)
	db := ours(t, link.Config{Role: "db_proxy", Capabilities: []string{link.CapStore}})
	db.does(pushDB(t))
	route := ours(t, link.Config{Role: "route_server", Capabilities: []string{link.CapRelay, link.CapPresence}})
	route.does(func(r received) bool {
		if r.Command != wire.APIPresenceReq {
			return swallowNews(r) || r.Command == wire.Relay
		}
		req := decode(t, r.Body, new(extension.IMApiPresenceReq))
		r.answer(t, wire.APIPresenceRes, &extension.IMApiPresenceRsp{
			Code: n(0), AttachData: req.GetAttachData(), Users: []*extension.ApiPresence{
				{UserId: n(phoneElsewhere), ClientTypes: []basedefine.ClientType{basedefine.ClientType_CLIENT_TYPE_ANDROID}},
				{UserId: n(atPC), ClientTypes: []basedefine.ClientType{basedefine.ClientType_CLIENT_TYPE_WINDOWS}},
			},
		})
		return true
	})
	w = newWorldOf(t, setup{
		conf: fmt.Sprintf("PushServerIP1=127.0.0.1\nPushServerPort1=%d\n", push.port),
		dbs:  []*neighbour{db}, routes: []*neighbour{route},
	})
	push.connected(1)
	return w, push
}

// pushDB stores messages, and answers what is asked for a notification.
func pushDB(t *testing.T) func(received) bool {
	t.Helper()
	store := storing(t, map[uint32][]uint32{team: {7, away, atPC, noPhone, phoneElsewhere, phoneHere, muting}})
	return func(r received) bool {
		switch r.Command {
		case wire.GroupShieldsReq:
			req := decode(t, r.Body, new(server.IMGroupGetShieldReq))
			res := &server.IMGroupGetShieldRsp{GroupId: req.GroupId, AttachData: req.GetAttachData()}
			for _, user := range req.GetUserId() {
				muted := uint32(0)
				if user == muting {
					muted = 1
				}
				res.ShieldStatusList = append(res.ShieldStatusList,
					&basedefine.ShieldStatus{UserId: n(user), GroupId: req.GroupId, ShieldStatus: n(muted)})
			}
			r.answer(t, wire.GroupShieldsRes, res)
		case wire.DeviceTokensReq:
			req := decode(t, r.Body, new(server.IMGetDeviceTokenReq))
			res := &server.IMGetDeviceTokenRsp{AttachData: req.GetAttachData()}
			for _, user := range req.GetUserId() {
				if user == noPhone {
					continue
				}
				kind := basedefine.ClientType_CLIENT_TYPE_IOS
				if user == atPC {
					kind = basedefine.ClientType_CLIENT_TYPE_ANDROID
				}
				res.UserTokenInfo = append(res.UserTokenInfo, &basedefine.UserTokenInfo{
					UserId: n(user), UserType: kind.Enum(), Token: proto.String(fmt.Sprint("of ", user)), PushCount: n(3), PushType: n(1),
				})
			}
			r.answer(t, wire.DeviceTokensRes, res)
		case wire.UserInfoReq:
			req := decode(t, r.Body, new(buddy.IMUsersInfoReq))
			who := account(req.GetUserIdList()[0])
			who.UserNickName = proto.String("鲍勃")
			r.answer(t, wire.UserInfoRes, &buddy.IMUsersInfoRsp{
				UserId: req.UserId, UserInfoList: []*basedefine.UserInfo{who}, AttachData: req.GetAttachData(),
			})
		default:
			return store(r)
		}
		return true
	}
}

// pushed returns the line, the data and "kind:token:count:type" of each phone
// of the next notification.
func (n *neighbour) pushed() (flash, data, phones string) {
	n.t.Helper()
	req := decode(n.t, n.want(wire.PushToUserReq).Body, new(server.IMPushToUserReq))
	var all []string
	for _, p := range req.GetUserTokenList() {
		all = append(all, fmt.Sprintf("%#x:%s:%d:%d", int32(p.GetUserType()), p.GetToken(), p.GetPushCount(), p.GetPushType()))
	}
	return req.GetFlash(), req.GetData(), strings.Join(all, ", ")
}

// says sends an encrypted text.
func (u *user) says(kind basedefine.MsgType, to uint32, text string) {
	u.t.Helper()
	u.seq++
	u.send(wire.MsgData, u.seq, say(kind, to, string(textcrypt.Standard().Encrypt(text))))
	u.acked(u.seq)
}

// Phones are notified that do not get the message otherwise: not those that
// are connected, here or elsewhere, nor of who muted the group. Who sits at a
// PC gets a number and no alert. Source: docs/protocol/flows.md §15;
// docs/protocol/defects.md E2, E5, E6.
func TestNotifiesPhones(t *testing.T) {
	t.Parallel()
	w, push := pushWorld(t)
	u := w.login(7, im.Windows)
	w.login(phoneHere, im.IOS)
	u.says(inside, team, "to all")
	flash, data, phones := push.pushed()
	if flash != "鲍勃:to all" || data != `{"msg_type":17,"from_id":7,"group_id":500}` {
		t.Errorf("%q, %s", flash, data)
	}
	if want := "0x11:of 20:3:1, 0x12:of 21:3:2"; phones != want {
		t.Errorf("notified %s, want %s", phones, want)
	}
	u.says(single, away, "to you")
	if flash, data, phones = push.pushed(); flash != "鲍勃:to you" || data != `{"msg_type":1,"from_id":7}` || phones != "0x11:of 20:3:1" {
		t.Errorf("%q, %s to %s", flash, data, phones)
	}
	push.quiet()
}

// Of a message that came in at another server, that one notifies phones; and
// its sender has a name here, wherever they are.
// Source: docs/protocol/defects.md E1.
func TestNotifiesOnce(t *testing.T) {
	t.Parallel()
	w, push := pushWorld(t)
	u, pc := w.login(7, im.Windows), w.login(away, im.Mac)
	for id := range uint32(3) {
		envelope := decode(t, relayed(t, 8, away, id+1, n(0), away), new(extension.IMRelay))
		m := decode(t, envelope.GetBody(), new(message.IMMsgData))
		m.MsgData = textcrypt.Standard().Encrypt("elsewhere")
		envelope.Body = encode(t, m)
		w.route1.send(wire.Relay, 0, envelope)
		pc.gets(8, away, id+1)
	}
	for range 3 {
		u.says(single, away, "once")
		if flash, _, _ := push.pushed(); flash != "鲍勃:once" {
			t.Errorf("notified of %q", flash)
		}
	}
	push.quiet()
}
