package command

import (
	"slices"
	"testing"

	"google.golang.org/protobuf/proto"

	"teamtalk/client/textcrypt"
	"teamtalk/internal/im"
	"teamtalk/internal/wire"
	"teamtalk/pb/buddy"
	"teamtalk/pb/group"
	"teamtalk/pb/login"
	"teamtalk/pb/message"
	"teamtalk/pb/server"
)

var attach = []byte{0, 0, 0, 1, 0xff, 0xfe, 9, 9, 0, 0, 0, 0}

func TestTable(t *testing.T) {
	t.Parallel()
	rows := Queries(QueryDeps{})
	if !slices.IsSortedFunc(rows, func(a, b Command) int { return int(a.ID) - int(b.ID) }) {
		t.Error("not sorted")
	}
	for _, row := range rows {
		if (row.Query == nil) == (row.Operation == nil) || row.Reply != 0 && row.Reply != row.ID+1 {
			t.Errorf("%v: wrong row", row.ID)
		}
	}
	if len(rows) != 34 {
		t.Errorf("%d commands", len(rows))
	}
}

func TestStandardVoice(t *testing.T) {
	t.Parallel()
	c, err := textcrypt.New([]byte(textcrypt.StandardKey))
	if err != nil {
		t.Fatal(err)
	}
	if got := string(c.Encrypt("[语音]")); got != standardVoice {
		t.Errorf("%s, want %s", standardVoice, got)
	}
}

// What does not parse is dropped, whatever the command.
// Source: docs/protocol/flows.md §20.
func TestUnparsable(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	for id := range e.rows {
		want := im.Invalid
		if id >= wire.APIKeyReq && id <= wire.APIAuditRes || id >= wire.APIClaimReq && id <= wire.APIEndRes {
			want = im.Denied // whatever it says: the link has not the capability
		}
		for _, body := range [][]byte{{0xff}, {0x08}} {
			if m, err := e.do(id, body); m != nil || im.CodeOf(err) != want {
				t.Errorf("%v: %v, %v", id, m, err)
			}
		}
	}
	// A session type that does not exist, written as a foreign client could.
	for _, id := range []wire.Command{wire.RemoveSessionReq, wire.MsgListReq, wire.LatestMsgIDReq, wire.MsgByIDReq} {
		for _, kind := range []byte{0, 3, 0x81} {
			body := []byte{0x08, 1, 0x10, kind, 0x18, 2, 0x20, 0, 0x28, 9}
			switch {
			case kind == 0x81: // 257, which is 1 in eight bits
				body = []byte{0x08, 1, 0x10, 0x81, 0x02, 0x18, 2, 0x20, 0, 0x28, 9}
			case id == wire.RemoveSessionReq:
				body = []byte{0x08, 1, 0x10, kind, 0x18, 2}
			}
			if m, err := e.do(id, body); m != nil || im.CodeOf(err) != im.Invalid {
				t.Errorf("%v, kind %d: %v, %v", id, kind, m, err)
			}
		}
	}
}

// An empty list when SQL fails would look as if nothing were there: no answer.
func TestSilentWithoutSQL(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	me := proto.Uint32(uint32(e.alice))
	zero, one := proto.Uint32(0), proto.Uint32(1)
	single := single.Enum()
	requests := map[wire.Command]proto.Message{
		wire.DeviceTokenReq:    &login.IMDeviceTokenReq{UserId: me, DeviceToken: proto.String("")},
		wire.RecentSessionsReq: &buddy.IMRecentContactSessionReq{UserId: me, LatestUpdateTime: zero},
		wire.UserInfoReq:       &buddy.IMUsersInfoReq{UserId: me, UserIdList: []uint32{1}},
		wire.AllUsersReq:       &buddy.IMAllUserReq{UserId: me, LatestUpdateTime: zero},
		wire.DepartmentsReq:    &buddy.IMDepartmentReq{UserId: me, LatestUpdateTime: zero},
		wire.UnreadCountReq:    &message.IMUnreadMsgCntReq{UserId: me},
		wire.MsgListReq:        &message.IMGetMsgListReq{UserId: me, SessionType: single, SessionId: proto.Uint32(2), MsgIdBegin: zero, MsgCnt: one},
		wire.LatestMsgIDReq:    &message.IMGetLatestMsgIdReq{UserId: me, SessionType: single, SessionId: proto.Uint32(2)},
		wire.MsgByIDReq:        &message.IMGetMsgByIdReq{UserId: me, SessionType: single, SessionId: proto.Uint32(2), MsgIdList: []uint32{1}},
		wire.GroupListReq:      &group.IMNormalGroupListReq{UserId: me},
		wire.GroupInfoReq:      &group.IMGroupInfoListReq{UserId: me, GroupVersionList: versions(1, 0)},
		wire.DeviceTokensReq:   &server.IMGetDeviceTokenReq{UserId: []uint32{1}},
		wire.GroupShieldsReq:   &server.IMGroupGetShieldReq{GroupId: one, UserId: []uint32{1}},
	}
	e.broken.Store(true)
	for id, req := range requests {
		e.silent(id, req, "without SQL")
	}
}

// Where a result field can say it, it does.
func TestFailureIsAnswered(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	me, one := proto.Uint32(uint32(e.alice)), proto.Uint32(1)
	e.broken.Store(true)
	requests := map[wire.Command]struct {
		req proto.Message
		res interface {
			proto.Message
			GetResultCode() uint32
			GetAttachData() []byte
		}
		silentError bool // the error is not that of the call
	}{
		wire.PushShieldReq:      {&login.IMPushShieldReq{UserId: me, ShieldStatus: one, AttachData: attach}, &login.IMPushShieldRsp{}, false},
		wire.QueryPushShieldReq: {&login.IMQueryPushShieldReq{UserId: me, AttachData: attach}, &login.IMQueryPushShieldRsp{}, false},
		wire.ChangeAvatarReq:    {&buddy.IMChangeAvatarReq{UserId: me, AvatarUrl: proto.String("a"), AttachData: attach}, &buddy.IMChangeAvatarRsp{}, false},
		wire.ChangeSignInfoReq:  {&buddy.IMChangeSignInfoReq{UserId: me, SignInfo: proto.String("a"), AttachData: attach}, &buddy.IMChangeSignInfoRsp{}, false},
		wire.GroupShieldReq:     {&group.IMGroupShieldReq{UserId: me, GroupId: one, ShieldStatus: one, AttachData: attach}, &group.IMGroupShieldRsp{}, false},
		wire.RemoveSessionReq: {&buddy.IMRemoveSessionReq{
			UserId: me, SessionType: single.Enum(), SessionId: proto.Uint32(uint32(e.bob)), AttachData: attach,
		}, &buddy.IMRemoveSessionRsp{}, true},
	}
	for id, tt := range requests {
		err := e.ask(id, tt.req, tt.res)
		if tt.res.GetResultCode() != 1 || string(tt.res.GetAttachData()) != string(attach) || (err == nil) != tt.silentError {
			t.Errorf("%v: %v, %v", id, tt.res, err)
		}
	}
}
