package command

import (
	"cmp"
	"context"
	"slices"

	"google.golang.org/protobuf/proto"

	"teamtalk/db_proxy/internal/store"
	"teamtalk/internal/im"
	"teamtalk/internal/wire"
	"teamtalk/pb/buddy"
)

// userStore reads accounts.
type userStore interface {
	// Users returns those that exist, of any status, ascending by id.
	Users(ctx context.Context, ids []im.UserID) ([]store.User, error)
	// UsersSince returns, for t = 0, everybody but those who left, else
	// everybody changed at t or later.
	UsersSince(ctx context.Context, t uint32) ([]store.User, uint32, error)
	// UsersPage returns those above an id who have not left, ascending.
	UsersPage(ctx context.Context, after im.UserID, limit int) ([]store.User, error)
	// UsersChanged returns those of any status that changed after since, or at
	// since and with a higher id, ascending by time and id.
	UsersChanged(ctx context.Context, since uint32, after im.UserID, limit int) ([]store.User, error)
	// LatestUserUpdate returns the time of the newest change, 0 for none.
	LatestUserUpdate(ctx context.Context) (uint32, error)
}

// users answers 0204 and 0208.
type users struct {
	store userStore
}

func userCommands(u *users) []Command {
	return []Command{
		{ID: wire.UserInfoReq, Asker: ByUser, Reply: wire.UserInfoRes, Query: u.byID},
		{ID: wire.AllUsersReq, Asker: ByUser, Reply: wire.AllUsersRes, Query: u.all},
	}
}

// byID answers with the accounts asked for, 0204 to 0205; unknown ids are
// left out.
//
// Source: docs/protocol/flows.md §11.
func (u *users) byID(ctx context.Context, r *Request) (proto.Message, error) {
	req := new(buddy.IMUsersInfoReq)
	if err := parse(r, req); err != nil {
		return nil, err
	}
	res := &buddy.IMUsersInfoRsp{UserId: proto.Uint32(req.GetUserId()), AttachData: req.GetAttachData()}
	ids := userIDs(req.GetUserIdList())
	if len(ids) == 0 {
		return res, nil
	}
	found, err := u.store.Users(ctx, ids)
	if err != nil {
		return nil, err
	}
	for _, user := range fitting(found) {
		res.UserInfoList = append(res.UserInfoList, userInfo(&user))
	}
	return res, nil
}

// all answers with the accounts changed since the time given, 0208 to 0209.
//
// Source: docs/protocol/flows.md §11, with the fixes of
// docs/protocol/defects.md B20 (a little more is sent than was asked for, which
// clients merge) and B21 (the newest change is read from SQL). A client that is
// up to date gets an empty list and its own time.
func (u *users) all(ctx context.Context, r *Request) (proto.Message, error) {
	req := new(buddy.IMAllUserReq)
	if err := parse(r, req); err != nil {
		return nil, err
	}
	if r.Capable && req.GetPageSize() > 0 {
		return u.page(ctx, req)
	}
	known := req.GetLatestUpdateTime()
	res := &buddy.IMAllUserRsp{
		UserId:           proto.Uint32(req.GetUserId()),
		LatestUpdateTime: proto.Uint32(known),
		AttachData:       req.GetAttachData(),
	}
	since := known
	if known > 0 {
		newest, err := u.store.LatestUserUpdate(ctx)
		if err != nil {
			return nil, err
		}
		since = im.SafeSince(known)
		if newest == known || newest < since {
			return res, nil
		}
	}
	changed, latest, err := u.store.UsersSince(ctx, since)
	if err != nil {
		return nil, err
	}
	if len(changed) == 0 {
		return res, nil
	}
	if fit := fitting(changed); len(fit) < len(changed) {
		// The rest is sent when the client asks again from here on.
		slices.SortStableFunc(changed, func(a, b store.User) int { return cmp.Compare(a.Updated, b.Updated) })
		changed = fitting(changed)
		latest = changed[len(changed)-1].Updated
	}
	res.LatestUpdateTime = proto.Uint32(latest)
	for i := range changed {
		res.UserList = append(res.UserList, userInfo(&changed[i]))
	}
	return res, nil
}

// maxUserPage bounds a page of users; a user takes some 100 bytes.
const maxUserPage = 10_000

// page answers a msg_server that keeps the list of all users for its clients:
// nothing if nothing changed since the time it knows, else page after page.
// The time is read before the users, so a change meanwhile is seen next time.
func (u *users) page(ctx context.Context, req *buddy.IMAllUserReq) (proto.Message, error) {
	newest, err := u.store.LatestUserUpdate(ctx)
	if err != nil {
		return nil, err
	}
	res := &buddy.IMAllUserRsp{
		UserId:           proto.Uint32(req.GetUserId()),
		LatestUpdateTime: proto.Uint32(newest),
		AttachData:       req.GetAttachData(),
	}
	if req.GetLatestUpdateTime() == newest && newest != 0 {
		return res, nil
	}
	limit := int(min(req.GetPageSize(), maxUserPage))
	after := im.UserID(req.GetAfterUserId())
	var found []store.User
	if req.ChangedAfter != nil {
		found, err = u.store.UsersChanged(ctx, req.GetChangedAfter(), after, limit)
	} else {
		found, err = u.store.UsersPage(ctx, after, limit)
	}
	if err != nil {
		return nil, err
	}
	for i := range found {
		res.UserList = append(res.UserList, userInfo(&found[i]))
		if req.ChangedAfter != nil {
			res.ChangedAt = append(res.ChangedAt, found[i].Updated)
		}
	}
	if len(found) == limit {
		res.More = proto.Bool(true)
	}
	return res, nil
}

// fitting returns as many users as fit into a reply.
func fitting(all []store.User) []store.User {
	size := 0
	for i := range all {
		if size += userSize(&all[i]); size > maxReply {
			return all[:i]
		}
	}
	return all
}
