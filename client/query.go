package client

import (
	"context"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"teamtalk/internal/im"
	"teamtalk/internal/wire"
	"teamtalk/pb/basedefine"
	"teamtalk/pb/buddy"
	"teamtalk/pb/login"
	"teamtalk/pb/message"
	"teamtalk/pb/switchservice"
)

// me returns the own id as requests carry it.
func (c *Client) me() *uint32 { return proto.Uint32(c.user.Load()) }

// ReadAck reports that everything up to id has been read (0x0303). Servers do
// not answer it; the own other terminals learn of it.
func (c *Client) ReadAck(kind im.Kind, session uint32, id im.MsgID) error {
	return c.Notify(wire.MsgReadAck, &message.IMMsgDataReadAck{
		UserId: c.me(), SessionId: proto.Uint32(session), MsgId: proto.Uint32(uint32(id)),
		SessionType: sessionType(kind),
	})
}

// Unread returns the unread messages of every conversation that has some, and
// their total (0x0307). Text decrypts the latest data of each.
func (c *Client) Unread(ctx context.Context) (total int, list []*basedefine.UnreadInfo, err error) {
	var res message.IMUnreadMsgCntRsp
	err = c.Do(ctx, wire.UnreadCountReq, &message.IMUnreadMsgCntReq{UserId: c.me()}, wire.UnreadCountRes, &res)
	return int(res.GetTotalCnt()), res.GetUnreadinfoList(), err
}

// History returns at most count messages with ids up to begin, newest first;
// begin 0 starts at the newest (0x0309). Servers give at most im.MaxHistory.
func (c *Client) History(ctx context.Context, kind im.Kind, session uint32, begin im.MsgID, count int,
) ([]Message, error) {
	var res message.IMGetMsgListRsp
	err := c.Do(ctx, wire.MsgListReq, &message.IMGetMsgListReq{
		UserId: c.me(), SessionType: sessionType(kind), SessionId: proto.Uint32(session),
		MsgIdBegin: proto.Uint32(uint32(begin)), MsgCnt: proto.Uint32(uint32(max(count, 0))),
	}, wire.MsgListRes, &res)
	return c.messages(kind, session, res.GetMsgList()), err
}

// ByIDs returns the messages with these ids, newest first; missing ones are
// left out (0x030D).
func (c *Client) ByIDs(ctx context.Context, kind im.Kind, session uint32, ids ...im.MsgID) ([]Message, error) {
	req := &message.IMGetMsgByIdReq{
		UserId: c.me(), SessionType: sessionType(kind), SessionId: proto.Uint32(session),
	}
	for _, id := range ids {
		req.MsgIdList = append(req.MsgIdList, uint32(id))
	}
	var res message.IMGetMsgByIdRsp
	err := c.Do(ctx, wire.MsgByIDReq, req, wire.MsgByIDRes, &res)
	return c.messages(kind, session, res.GetMsgList()), err
}

// messages completes the entries of a message list, which do not name the
// receiver.
func (c *Client) messages(kind im.Kind, session uint32, list []*basedefine.MsgInfo) []Message {
	if len(list) == 0 {
		return nil
	}
	all := make([]Message, len(list))
	for i, m := range list {
		to := session
		if kind == im.Single && m.GetFromSessionId() == session {
			to = c.user.Load()
		}
		all[i] = Message{
			From: im.UserID(m.GetFromSessionId()), To: to, ID: im.MsgID(m.GetMsgId()),
			Created: m.GetCreateTime(), Type: im.MsgType(m.GetMsgType()), Data: m.GetMsgData(),
		}
	}
	return all
}

// LatestID returns the id of the newest message of a conversation, 0 if there
// is none (0x030B).
func (c *Client) LatestID(ctx context.Context, kind im.Kind, session uint32) (im.MsgID, error) {
	var res message.IMGetLatestMsgIdRsp
	err := c.Do(ctx, wire.LatestMsgIDReq, &message.IMGetLatestMsgIdReq{
		UserId: c.me(), SessionType: sessionType(kind), SessionId: proto.Uint32(session),
	}, wire.LatestMsgIDRes, &res)
	return im.MsgID(res.GetLatestMsgId()), err
}

// RecentSessions returns the conversations updated after since (Unix seconds),
// newest first (0x0201).
func (c *Client) RecentSessions(ctx context.Context, since uint32) ([]*basedefine.ContactSessionInfo, error) {
	var res buddy.IMRecentContactSessionRsp
	err := c.Do(ctx, wire.RecentSessionsReq, &buddy.IMRecentContactSessionReq{
		UserId: c.me(), LatestUpdateTime: proto.Uint32(since),
	}, wire.RecentSessionsRes, &res)
	return res.GetContactSessionList(), err
}

// RemoveSession takes a conversation off the list of recent ones (0x0206).
func (c *Client) RemoveSession(ctx context.Context, kind im.Kind, session uint32) error {
	var res buddy.IMRemoveSessionRsp
	err := c.Do(ctx, wire.RemoveSessionReq, &buddy.IMRemoveSessionReq{
		UserId: c.me(), SessionType: sessionType(kind), SessionId: proto.Uint32(session),
	}, wire.RemoveSessionRes, &res)
	if err != nil {
		return err
	}
	return result(wire.RemoveSessionRes, res.GetResultCode())
}

// AllUsers returns the users changed since a time (Unix seconds; 0 is all) and
// the time to ask with next (0x0208). A user who left has status 3.
func (c *Client) AllUsers(ctx context.Context, since uint32) ([]*basedefine.UserInfo, uint32, error) {
	req := &buddy.IMAllUserReq{UserId: c.me(), LatestUpdateTime: proto.Uint32(since)}
	var part buddy.IMAllUserRsp
	if !c.opts.Profile.MergeUsers {
		err := c.Do(ctx, wire.AllUsersReq, req, wire.AllUsersRes, &part)
		return part.GetUserList(), part.GetLatestUpdateTime(), err
	}
	// The parts share a seq and nothing marks the last one. The server queues
	// them at one time, so the answer to a request made after the first part
	// comes behind all of them.
	var (
		mu     sync.Mutex // a late part may still come while this returns
		users  []*basedefine.UserInfo
		latest uint32
	)
	w := newWaiter(&part)
	w.keep = true
	w.then = func(proto.Message) error {
		mu.Lock()
		defer mu.Unlock()
		users = append(users, part.GetUserList()...)
		latest = max(latest, part.GetLatestUpdateTime())
		return nil
	}
	seq, err := c.post(wire.AllUsersReq, req, pending{want: wire.AllUsersRes, wait: w})
	if err != nil {
		return nil, 0, err
	}
	if err := c.await(ctx, wire.AllUsersReq, seq, w); err != nil {
		c.forget(seq, w)
		return nil, 0, err
	}
	_, err = c.Time(ctx)
	if !c.forget(seq, w) && err == nil {
		err = c.Err()
	}
	if err != nil {
		return nil, 0, err
	}
	mu.Lock()
	defer mu.Unlock()
	return users, latest, nil
}

// UserInfo returns the accounts with these ids; unknown ones are left out
// (0x0204).
func (c *Client) UserInfo(ctx context.Context, ids ...uint32) ([]*basedefine.UserInfo, error) {
	var res buddy.IMUsersInfoRsp
	err := c.Do(ctx, wire.UserInfoReq, &buddy.IMUsersInfoReq{UserId: c.me(), UserIdList: ids},
		wire.UserInfoRes, &res)
	return res.GetUserInfoList(), err
}

// Departments returns the departments changed since a time (Unix seconds) and
// the time to ask with next (0x0210).
func (c *Client) Departments(ctx context.Context, since uint32) ([]*basedefine.DepartInfo, uint32, error) {
	var res buddy.IMDepartmentRsp
	err := c.Do(ctx, wire.DepartmentsReq, &buddy.IMDepartmentReq{
		UserId: c.me(), LatestUpdateTime: proto.Uint32(since),
	}, wire.DepartmentsRes, &res)
	return res.GetDeptList(), res.GetLatestUpdateTime(), err
}

// UsersStatus returns who is on-line on a PC, in the order asked (0x020A).
func (c *Client) UsersStatus(ctx context.Context, ids ...uint32) ([]*basedefine.UserStat, error) {
	var res buddy.IMUsersStatRsp
	err := c.Do(ctx, wire.UsersStatusReq, &buddy.IMUsersStatReq{UserId: c.me(), UserIdList: ids},
		wire.UsersStatusRes, &res)
	return res.GetUserStatList(), err
}

// ChangeSignature sets the own signature (0x0213).
func (c *Client) ChangeSignature(ctx context.Context, text string) error {
	var res buddy.IMChangeSignInfoRsp
	err := c.Do(ctx, wire.ChangeSignInfoReq, &buddy.IMChangeSignInfoReq{
		UserId: c.me(), SignInfo: proto.String(text),
	}, wire.ChangeSignInfoRes, &res)
	if err != nil {
		return err
	}
	return result(wire.ChangeSignInfoRes, res.GetResultCode())
}

// ChangeAvatar sets the own picture (0x020C). An original server never
// answers.
func (c *Client) ChangeAvatar(ctx context.Context, url string) error {
	var res buddy.IMChangeAvatarRsp
	err := c.Do(ctx, wire.ChangeAvatarReq, &buddy.IMChangeAvatarReq{
		UserId: c.me(), AvatarUrl: proto.String(url),
	}, wire.ChangeAvatarRes, &res)
	if err != nil {
		return err
	}
	return result(wire.ChangeAvatarRes, res.GetResultCode())
}

// KickPC logs this user's PC off; only mobile types may (0x010A).
func (c *Client) KickPC(ctx context.Context) error {
	var res login.IMKickPCClientRsp
	err := c.Do(ctx, wire.KickPCReq, &login.IMKickPCClientReq{UserId: c.me()}, wire.KickPCRes, &res)
	if err != nil {
		return err
	}
	return result(wire.KickPCRes, res.GetResultCode())
}

// SetDeviceToken registers the phone for push notifications; an empty token
// switches them off (0x0108). Originals answer with an empty body.
func (c *Client) SetDeviceToken(ctx context.Context, token string) error {
	return c.Do(ctx, wire.DeviceTokenReq, &login.IMDeviceTokenReq{
		UserId: c.me(), DeviceToken: proto.String(token),
		ClientType: basedefine.ClientType(c.opts.ClientType).Enum(),
	}, wire.DeviceTokenRes, nil)
}

// SetNightMode switches silent nights on or off (0x010C).
func (c *Client) SetNightMode(ctx context.Context, on bool) error {
	var res login.IMPushShieldRsp
	err := c.Do(ctx, wire.PushShieldReq, &login.IMPushShieldReq{
		UserId: c.me(), ShieldStatus: flag(on),
	}, wire.PushShieldRes, &res)
	if err != nil {
		return err
	}
	return result(wire.PushShieldRes, res.GetResultCode())
}

// NightMode reports whether nights are silent (0x010E).
func (c *Client) NightMode(ctx context.Context) (bool, error) {
	var res login.IMQueryPushShieldRsp
	err := c.Do(ctx, wire.QueryPushShieldReq, &login.IMQueryPushShieldReq{UserId: c.me()},
		wire.QueryPushShieldRes, &res)
	if err != nil {
		return false, err
	}
	return res.GetShieldStatus() == 1, result(wire.QueryPushShieldRes, res.GetResultCode())
}

// Time returns the server's clock (0x0305).
func (c *Client) Time(ctx context.Context) (time.Time, error) {
	var res message.IMClientTimeRsp
	if err := c.Do(ctx, wire.TimeReq, &message.IMClientTimeReq{}, wire.TimeRes, &res); err != nil {
		return time.Time{}, err
	}
	return time.Unix(int64(res.GetServerTime()), 0), nil
}

// SendCommand passes a command to another user's terminals (0x0601); data is
// the JSON of docs/protocol/wire.md §10. Nothing is stored and nobody answers.
func (c *Client) SendCommand(to im.UserID, data string) error {
	return c.Notify(wire.P2PCommand, &switchservice.IMP2PCmdMsg{
		FromUserId: c.me(), ToUserId: proto.Uint32(uint32(to)), CmdMsgData: proto.String(data),
	})
}

// flag returns the wire form of a switch.
func flag(on bool) *uint32 {
	if on {
		return proto.Uint32(1)
	}
	return proto.Uint32(0)
}
