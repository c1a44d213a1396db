package chat

import (
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"teamtalk/client"
	"teamtalk/client/clienttest"
	"teamtalk/internal/im"
	"teamtalk/internal/wire"
	"teamtalk/pb/basedefine"
	"teamtalk/pb/buddy"
	"teamtalk/pb/group"
	"teamtalk/pb/login"
	pbmessage "teamtalk/pb/message"
)

// patience bounds every wait of the tests.
const patience = 20 * time.Second

// office is a clienttest.Network that also answers what a chat client asks
// after its log-in: accounts, presence, groups, conversations, unread counts.
type office struct {
	*clienttest.Network
	addr string

	mu       sync.Mutex // guards the fields below
	names    []string   // of the users from clienttest.FirstUser on
	groups   map[im.GroupID]string
	members  map[im.GroupID][]uint32
	sessions map[im.UserID][]*basedefine.ContactSessionInfo
	unread   map[im.UserID][]*basedefine.UnreadInfo
	reads    []*pbmessage.IMMsgDataReadAck
	refuse   string // the connections of this user are closed
	mute     bool   // swallows messages
}

// newOffice starts an office with the users in the order of their ids.
func newOffice(t *testing.T, names ...string) *office {
	t.Helper()
	o := &office{
		Network: clienttest.New(), names: names,
		groups: make(map[im.GroupID]string), members: make(map[im.GroupID][]uint32),
		sessions: make(map[im.UserID][]*basedefine.ContactSessionInfo),
		unread:   make(map[im.UserID][]*basedefine.UnreadInfo),
	}
	o.Grant = client.AllCapabilities()
	o.Hook = o.answer
	o.addr = o.Listen(t)
	for _, name := range names { // ids are given in the order of the first log-in
		c, err := client.Dial(t.Context(), client.Options{Addr: o.addr, User: name, Password: clienttest.Password})
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
	}
	return o
}

// id returns the id of a user.
func (o *office) id(name string) uint32 {
	for i, n := range o.names {
		if n == name {
			return uint32(clienttest.FirstUser + i)
		}
	}
	return 0
}

// answer answers what clienttest does not.
func (o *office) answer(c *clienttest.Conn, pdu wire.PDU) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	me := proto.Uint32(uint32(c.User()))
	switch pdu.Command {
	case wire.LoginReq:
		var req login.IMLoginReq
		if proto.Unmarshal(pdu.Body, &req) != nil || req.GetUserName() != o.refuse {
			return false
		}
		c.Close()
	case wire.MsgData:
		return o.mute
	case wire.AllUsersReq:
		c.Send(wire.AllUsersRes, pdu.Seq, &buddy.IMAllUserRsp{
			UserId: me, LatestUpdateTime: proto.Uint32(1), UserList: o.users(),
		})
	case wire.UserInfoReq:
		c.Send(wire.UserInfoRes, pdu.Seq, &buddy.IMUsersInfoRsp{UserId: me, UserInfoList: o.users()})
	case wire.UsersStatusReq:
		c.Send(wire.UsersStatusRes, pdu.Seq, &buddy.IMUsersStatRsp{UserId: me, UserStatList: []*basedefine.UserStat{
			{UserId: proto.Uint32(o.id("bob")), Status: basedefine.UserStatType_USER_STATUS_ONLINE.Enum()},
		}})
	case wire.GroupListReq:
		res := &group.IMNormalGroupListRsp{UserId: me}
		for id := range o.groups {
			res.GroupVersionList = append(res.GroupVersionList, &basedefine.GroupVersionInfo{
				GroupId: proto.Uint32(uint32(id)), Version: proto.Uint32(1),
			})
		}
		c.Send(wire.GroupListRes, pdu.Seq, res)
	case wire.GroupInfoReq:
		o.groupInfo(c, pdu, me)
	case wire.RecentSessionsReq:
		c.Send(wire.RecentSessionsRes, pdu.Seq, &buddy.IMRecentContactSessionRsp{
			UserId: me, ContactSessionList: o.sessions[c.User()],
		})
	case wire.UnreadCountReq:
		c.Send(wire.UnreadCountRes, pdu.Seq, &pbmessage.IMUnreadMsgCntRsp{
			UserId: me, TotalCnt: proto.Uint32(0), UnreadinfoList: o.unread[c.User()],
		})
	case wire.MsgReadAck:
		ack := &pbmessage.IMMsgDataReadAck{}
		if proto.Unmarshal(pdu.Body, ack) == nil {
			o.reads = append(o.reads, ack)
		}
	default:
		return false
	}
	return true
}

// groupInfo answers 0403.
func (o *office) groupInfo(c *clienttest.Conn, pdu wire.PDU, me *uint32) {
	res := &group.IMGroupInfoListRsp{UserId: me}
	for id, name := range o.groups {
		res.GroupInfoList = append(res.GroupInfoList, &basedefine.GroupInfo{
			GroupId: proto.Uint32(uint32(id)), GroupName: proto.String(name), GroupAvatar: proto.String(""),
			GroupCreatorId: proto.Uint32(1), GroupType: basedefine.GroupType_GROUP_TYPE_NORMAL.Enum(),
			Version: proto.Uint32(1), ShieldStatus: proto.Uint32(0), GroupMemberList: o.members[id],
		})
	}
	c.Send(wire.GroupInfoRes, pdu.Seq, res)
}

// users returns every account.
func (o *office) users() []*basedefine.UserInfo {
	var list []*basedefine.UserInfo
	none := proto.String("")
	for _, name := range o.names {
		list = append(list, &basedefine.UserInfo{
			UserId: proto.Uint32(o.id(name)), UserGender: proto.Uint32(1), UserNickName: proto.String("Nick " + name),
			AvatarUrl: none, DepartmentId: proto.Uint32(1), Email: none, UserRealName: proto.String(name),
			UserTel: none, UserDomain: none, Status: proto.Uint32(0),
		})
	}
	return list
}

// found gives a user a recent conversation with unread messages.
func (o *office) found(user string, k Key, latest im.MsgID, count int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	id, kind := im.UserID(o.id(user)), basedefine.SessionType(k.Kind).Enum()
	o.sessions[id] = []*basedefine.ContactSessionInfo{{
		SessionId: proto.Uint32(k.ID), SessionType: kind,
		SessionStatus: basedefine.SessionStatusType_SESSION_STATUS_OK.Enum(), UpdatedTime: proto.Uint32(1_700_000_000),
		LatestMsgId: proto.Uint32(uint32(latest)), LatestMsgData: []byte("x"),
		LatestMsgType: basedefine.MsgType_MSG_TYPE_SINGLE_TEXT.Enum(), LatestMsgFromUserId: proto.Uint32(k.ID),
	}}
	o.unread[id] = nil
	if count > 0 {
		o.unread[id] = []*basedefine.UnreadInfo{{
			SessionId: proto.Uint32(k.ID), SessionType: kind, UnreadCnt: proto.Uint32(uint32(count)),
			LatestMsgId: proto.Uint32(uint32(latest)), LatestMsgData: []byte("x"),
			LatestMsgType: basedefine.MsgType_MSG_TYPE_SINGLE_TEXT.Enum(), LatestMsgFromUserId: proto.Uint32(k.ID),
		}}
	}
}

// shut closes the door to a user, or opens it again for everybody.
func (o *office) shut(user string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.refuse = user
}

// dial logs a plain client in.
func (o *office) dial(t *testing.T, name string) *client.Client {
	t.Helper()
	c, err := client.Dial(t.Context(), client.Options{Addr: o.addr, User: name, Password: clienttest.Password})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}
