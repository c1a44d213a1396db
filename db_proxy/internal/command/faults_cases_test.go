package command

import (
	"bytes"

	"google.golang.org/protobuf/proto"

	"teamtalk/internal/wire"
	"teamtalk/pb/basedefine"
	"teamtalk/pb/buddy"
	"teamtalk/pb/extension"
	"teamtalk/pb/file"
	"teamtalk/pb/group"
	"teamtalk/pb/login"
	"teamtalk/pb/message"
	"teamtalk/pb/server"
)

// requests returns one or more requests of every command, in the world that
// populate makes: group 1 is that of all three, group 2 of alice and bob.
func (e *env) requests() map[string]faultCase {
	alice, bob, carol := proto.Uint32(uint32(e.alice)), proto.Uint32(uint32(e.bob)), proto.Uint32(uint32(e.carol))
	n, s := proto.Uint32, proto.String
	single, inGroup := basedefine.SessionType_SESSION_TYPE_SINGLE.Enum(), basedefine.SessionType_SESSION_TYPE_GROUP.Enum()
	op := []byte("operation-id-016")
	attempt := &extension.ApiAttempt{RequestId: bytes.Repeat([]byte{1}, 32), Token: bytes.Repeat([]byte{2}, 16)} // begun
	fresh := &extension.ApiAttempt{RequestId: bytes.Repeat([]byte{3}, 32), Token: bytes.Repeat([]byte{4}, 16)}
	text := func(kind basedefine.MsgType, to *uint32) proto.Message {
		return &message.IMMsgData{
			FromUserId: alice, ToSessionId: to, MsgId: n(0), CreateTime: n(0), MsgType: kind.Enum(), MsgData: []byte("x"),
			OperationId: op,
		}
	}
	return map[string]faultCase{
		"message":            {wire.MsgData, text(basedefine.MsgType_MSG_TYPE_SINGLE_TEXT, bob)},
		"first message":      {wire.MsgData, text(basedefine.MsgType_MSG_TYPE_SINGLE_TEXT, carol)},
		"group message":      {wire.MsgData, text(basedefine.MsgType_MSG_TYPE_GROUP_TEXT, n(1))},
		"read":               {wire.MsgReadAck, &message.IMMsgDataReadAck{UserId: bob, SessionId: alice, MsgId: n(2), SessionType: single}},
		"all read":           {wire.MsgReadAck, &message.IMMsgDataReadAck{UserId: bob, SessionId: alice, MsgId: n(3), SessionType: single}},
		"read in group":      {wire.MsgReadAck, &message.IMMsgDataReadAck{UserId: bob, SessionId: n(1), MsgId: n(2), SessionType: inGroup}},
		"line removed":       {wire.RemoveSessionReq, &buddy.IMRemoveSessionReq{UserId: bob, SessionType: single, SessionId: alice}},
		"group line removed": {wire.RemoveSessionReq, &buddy.IMRemoveSessionReq{UserId: bob, SessionType: inGroup, SessionId: n(1)}},
		"group created": {wire.GroupCreateReq, &group.IMGroupCreateReq{
			UserId: alice, GroupType: basedefine.GroupType_GROUP_TYPE_TMP.Enum(), GroupName: s("new"), GroupAvatar: s(""),
			MemberIdList: []uint32{*alice, *bob},
		}},
		"member added": {wire.GroupChangeMemberReq, &group.IMGroupChangeMemberReq{
			UserId: alice, ChangeType: basedefine.GroupModifyType_GROUP_MODIFY_TYPE_ADD.Enum(), GroupId: n(2),
			MemberIdList: []uint32{*carol},
		}},
		"member removed": {wire.GroupChangeMemberReq, &group.IMGroupChangeMemberReq{
			UserId: bob, ChangeType: basedefine.GroupModifyType_GROUP_MODIFY_TYPE_DEL.Enum(), GroupId: n(1),
			MemberIdList: []uint32{*bob},
		}},
		"group muted":   {wire.GroupShieldReq, &group.IMGroupShieldReq{UserId: bob, GroupId: n(1), ShieldStatus: n(1)}},
		"sign info":     {wire.ChangeSignInfoReq, &buddy.IMChangeSignInfoReq{UserId: bob, SignInfo: s("away")}},
		"avatar":        {wire.ChangeAvatarReq, &buddy.IMChangeAvatarReq{UserId: bob, AvatarUrl: s("g0/2.png")}},
		"push shield":   {wire.PushShieldReq, &login.IMPushShieldReq{UserId: bob, ShieldStatus: n(1)}},
		"token":         {wire.DeviceTokenReq, &login.IMDeviceTokenReq{UserId: bob, DeviceToken: s("t1"), ClientType: basedefine.ClientType_CLIENT_TYPE_IOS.Enum()}},
		"token gone":    {wire.PushTokensGone, &extension.IMPushTokensGone{Tokens: []string{"t0"}}},
		"file waits":    {wire.FileAddOfflineReq, &file.IMFileAddOfflineReq{FromUserId: alice, ToUserId: bob, TaskId: s("f1"), FileName: s("x"), FileSize: n(5), FileServer: s("10.0.0.1:8600")}},
		"file received": {wire.FileDelOfflineReq, &file.IMFileDelOfflineReq{FromUserId: alice, ToUserId: bob, TaskId: s("f0")}},
		"terminal":      {wire.TerminalReq, &extension.IMTerminalReq{UserId: bob, Terminal: s("device:2")}},
		"delivered": {wire.DeliveryCursors, &extension.IMDeliveryCursors{Cursors: []*extension.DeliveryCursor{
			{UserId: bob, Terminal: s("device:1"), SessionType: single, SessionId: alice, MsgId: n(3)},
		}}},
		"log-in": {wire.ValidateReq, &server.IMValidateReq{UserName: s("alice"), Password: s(clientMD5("12345"))}},

		"account saved": {wire.APIUserSaveReq, &extension.IMApiUserSaveReq{Name: s("dave"), Nick: s("Dave")}},
		"audit": {wire.APIAuditReq, &extension.IMApiAuditReq{Changes: []*extension.ApiChange{{
			AtMs: proto.Uint64(1), KeyId: s("k"), Action: s("a"), Subject: s("s"), RequestId: s("r"), Remote: s("::1"), Status: n(200),
		}}}},

		"api request":           {wire.APIClaimReq, &extension.IMApiClaimReq{Attempt: fresh, Fingerprint: make([]byte, 32)}},
		"api answer":            {wire.APIEndReq, &extension.IMApiEndReq{Attempt: attempt, Status: n(201), Answer: []byte("{}")}},
		"api request left":      {wire.APIEndReq, &extension.IMApiEndReq{Attempt: attempt}},
		"api request forgotten": {wire.APIEndReq, &extension.IMApiEndReq{Attempt: attempt, NothingDone: proto.Bool(true)}},
		"account saved once":    {wire.APIUserSaveReq, &extension.IMApiUserSaveReq{Name: s("eve"), Nick: s("Eve"), Attempt: attempt}},
		"group made once": {wire.GroupCreateReq, &group.IMGroupCreateReq{
			UserId: alice, GroupType: basedefine.GroupType_GROUP_TYPE_NORMAL.Enum(), GroupName: s("once"), GroupAvatar: s(""),
			MemberIdList: []uint32{*alice, *bob}, AttemptRequest: attempt.GetRequestId(), AttemptToken: attempt.GetToken(),
		}},

		"api users":           {wire.APIUsersReq, &extension.IMApiUsersReq{}},
		"api groups":          {wire.APIGroupsReq, &extension.IMApiGroupsReq{}},
		"api history":         {wire.APIHistoryReq, &extension.IMApiHistoryReq{SessionType: inGroup, First: n(1), Limit: n(10)}},
		"api key":             {wire.APIKeyReq, &extension.IMApiKeyReq{KeyId: s("k"), SecretHash: make([]byte, 32)}},
		"unread":              {wire.UnreadCountReq, &message.IMUnreadMsgCntReq{UserId: bob}},
		"unread, asked first": {wire.UnreadCountReq, &message.IMUnreadMsgCntReq{UserId: carol}},
		"sessions":            {wire.RecentSessionsReq, &buddy.IMRecentContactSessionReq{UserId: bob, LatestUpdateTime: n(0)}},
		"history":             {wire.MsgListReq, &message.IMGetMsgListReq{UserId: bob, SessionType: single, SessionId: alice, MsgIdBegin: n(3), MsgCnt: n(3)}},
		"by id":               {wire.MsgByIDReq, &message.IMGetMsgByIdReq{UserId: bob, SessionType: inGroup, SessionId: n(1), MsgIdList: []uint32{1}}},
		"newest id":           {wire.LatestMsgIDReq, &message.IMGetLatestMsgIdReq{UserId: bob, SessionType: single, SessionId: alice}},
		"backlog": {wire.BacklogReq, &extension.IMBacklogReq{
			UserId: bob, SessionType: single, SessionId: alice, Terminal: s("device:1"),
			After: n(1), Newest: n(3), Limit: n(10),
		}},
		"groups":         {wire.GroupListReq, &group.IMNormalGroupListReq{UserId: bob}},
		"group":          {wire.GroupInfoReq, &group.IMGroupInfoListReq{UserId: bob, GroupVersionList: []*basedefine.GroupVersionInfo{{GroupId: n(1), Version: n(0)}}}},
		"who muted":      {wire.GroupShieldsReq, &server.IMGroupGetShieldReq{GroupId: n(1), UserId: []uint32{*bob}}},
		"tokens":         {wire.DeviceTokensReq, &server.IMGetDeviceTokenReq{UserId: []uint32{*bob}}},
		"waiting files":  {wire.FileHasOfflineReq, &file.IMFileHasOfflineReq{UserId: bob}},
		"all users":      {wire.AllUsersReq, &buddy.IMAllUserReq{UserId: bob, LatestUpdateTime: n(0)}},
		"user":           {wire.UserInfoReq, &buddy.IMUsersInfoReq{UserId: bob, UserIdList: []uint32{*alice}}},
		"departments":    {wire.DepartmentsReq, &buddy.IMDepartmentReq{UserId: bob, LatestUpdateTime: n(0)}},
		"is push shield": {wire.QueryPushShieldReq, &login.IMQueryPushShieldReq{UserId: bob}},
	}
}

// faultCase is a command and a request of it.
type faultCase struct {
	command wire.Command
	request proto.Message
}

// reading are the commands that change nothing, also not in Redis.
var reading = []wire.Command{ //nolint:gochecknoglobals // a table
	wire.APIUsersReq, wire.APIGroupsReq, wire.APIHistoryReq, wire.APIKeyReq, wire.RecentSessionsReq, wire.MsgListReq,
	wire.MsgByIDReq, wire.LatestMsgIDReq, wire.BacklogReq, wire.GroupListReq, wire.GroupInfoReq, wire.GroupShieldsReq,
	wire.DeviceTokensReq, wire.FileHasOfflineReq, wire.AllUsersReq, wire.UserInfoReq, wire.DepartmentsReq,
	wire.QueryPushShieldReq,
}

// counting are the commands that change unread counts.
var counting = []wire.Command{ //nolint:gochecknoglobals // a table
	wire.MsgData, wire.MsgReadAck, wire.RemoveSessionReq, wire.GroupCreateReq, wire.GroupChangeMemberReq, wire.UnreadCountReq,
}
