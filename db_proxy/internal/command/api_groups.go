package command

import (
	"context"

	"google.golang.org/protobuf/proto"

	"teamtalk/db_proxy/internal/store"
	"teamtalk/internal/im"
	"teamtalk/pb/basedefine"
	"teamtalk/pb/extension"
)

// apiGroupStore reads groups for the API. Of several, none has its members.
type apiGroupStore interface {
	// Groups returns groups with their members, deleted ones included.
	Groups(ctx context.Context, ids []im.GroupID) ([]store.GroupInfo, error)
	GroupsOf(ctx context.Context, user im.UserID) ([]store.GroupInfo, error)
	GroupsAfter(ctx context.Context, after im.GroupID, limit int) ([]store.GroupInfo, error)
	MemberCounts(ctx context.Context, groups []im.GroupID) (map[im.GroupID]uint32, error)
}

// listGroups answers with groups, 07A6 to 07A7. It reads the database, not
// the directory: whoever changed a group sees the change.
func (a *api) listGroups(ctx context.Context, r *Request) (proto.Message, error) {
	req := new(extension.IMApiGroupsReq)
	if err := parse(r, req); err != nil {
		return nil, err
	}
	res := &extension.IMApiGroupsRsp{AttachData: req.GetAttachData()}
	found, more, err := a.groups(ctx, req)
	counts := map[im.GroupID]uint32{}
	if err == nil && len(req.GetGroupIds()) == 0 {
		ids := make([]im.GroupID, len(found))
		for i := range found {
			ids[i] = found[i].ID
		}
		counts, err = a.store.MemberCounts(ctx, ids)
	}
	res.Code = wireCode(err)
	if err != nil {
		return res, err
	}
	if more {
		res.More = proto.Bool(true)
	}
	for i := range found {
		g := &found[i]
		if g.Deleted {
			continue
		}
		info := &basedefine.GroupInfo{
			GroupId: proto.Uint32(uint32(g.ID)), Version: proto.Uint32(g.Version),
			GroupName: proto.String(g.Name), GroupAvatar: proto.String(g.Avatar),
			GroupCreatorId: proto.Uint32(uint32(g.Creator)), GroupType: basedefine.GroupType(g.Type).Enum(),
			ShieldStatus: proto.Uint32(0),
		}
		for _, m := range g.Members {
			info.GroupMemberList = append(info.GroupMemberList, uint32(m.User))
		}
		res.Groups = append(res.Groups, info)
		res.MemberCounts = append(res.MemberCounts, max(counts[g.ID], uint32(len(g.Members))))
	}
	return res, nil
}

func (a *api) groups(
	ctx context.Context, req *extension.IMApiGroupsReq,
) (found []store.GroupInfo, more bool, err error) {
	switch {
	case len(req.GetGroupIds()) > 0:
		ids := make([]im.GroupID, 0, len(req.GetGroupIds()))
		for _, id := range req.GetGroupIds() {
			ids = append(ids, im.GroupID(id))
		}
		found, err = a.store.Groups(ctx, ids)
		return found, false, err
	case req.UserId != nil:
		found, err = a.store.GroupsOf(ctx, im.UserID(req.GetUserId()))
		return found, false, err
	}
	limit := pageLimit(req.GetLimit())
	found, err = a.store.GroupsAfter(ctx, im.GroupID(req.GetAfterGroupId()), limit+1)
	if len(found) > limit {
		return found[:limit], true, err
	}
	return found, false, err
}

// history answers with a page of a conversation, newest first, 07A8 to 07A9.
func (a *api) history(ctx context.Context, r *Request) (proto.Message, error) {
	req := new(extension.IMApiHistoryReq)
	if err := parse(r, req); err != nil {
		return nil, err
	}
	res := &extension.IMApiHistoryRsp{AttachData: req.GetAttachData()}
	found, more, err := a.page(ctx, req)
	res.Code, res.Messages = wireCode(err), messageInfos(found)
	if more || len(res.GetMessages()) < len(found) {
		res.More = proto.Bool(true)
	}
	return res, err
}

func (a *api) page(ctx context.Context, req *extension.IMApiHistoryReq) (found []store.Message, more bool, err error) {
	kind, err := parseKind(req.GetSessionType())
	if err != nil {
		return nil, false, err
	}
	ref := store.ConvRef{Conv: im.GroupOf(im.GroupID(req.GetFirst()))}
	if kind == im.Single {
		ref.Conv = im.SingleOf(im.UserID(req.GetFirst()), im.UserID(req.GetSecond()))
		relations, err := a.relations.Relations(ctx, []im.Pair{ref.Conv.Pair})
		if ref.Relation = relations[ref.Conv.Pair]; err != nil || ref.Relation == 0 {
			return nil, false, err
		}
	}
	begin := im.MsgID(0)
	if before := req.GetBeforeMsgId(); before == 1 {
		return nil, false, nil
	} else if before > 1 {
		begin = im.MsgID(before - 1)
	}
	limit := min(pageLimit(req.GetLimit()), im.MaxHistory)
	found, err = a.store.History(ctx, ref, begin, limit+1, store.Since{})
	if len(found) > limit {
		return found[:limit], true, err
	}
	return found, false, err
}
