package command

import (
	"context"
	"log/slog"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"teamtalk/db_proxy/internal/cache"
	"teamtalk/db_proxy/internal/lane"
	"teamtalk/db_proxy/internal/store"
	"teamtalk/internal/im"
	"teamtalk/internal/wire"
	"teamtalk/pb/basedefine"
	"teamtalk/pb/group"
)

// GroupStore changes groups.
type GroupStore interface {
	CreateGroup(ctx context.Context, g store.NewGroup) (im.GroupID, error)
	// ChangeMembers adds and removes in one transaction and returns the users
	// it really added or removed.
	ChangeMembers(ctx context.Context, g im.GroupID, add, remove []im.UserID) ([]im.UserID, error)
	// ExistingUsers returns those who have an account.
	ExistingUsers(ctx context.Context, ids []im.UserID) ([]im.UserID, error)
	// Standing returns what a user is in a group that exists.
	Standing(ctx context.Context, g im.GroupID, user im.UserID) (store.Standing, error)
	// Succeed gives groups that nobody governs a creator.
	Succeed(ctx context.Context, groups []im.GroupID) error
}

// Groups looks groups up and forgets what was changed.
type Groups interface {
	Group(ctx context.Context, id im.GroupID) (*store.GroupInfo, error)
	ForgetGroup(id im.GroupID)
}

// MemberMirror keeps the member list where old neighbours and tools look.
type MemberMirror interface {
	SetMembers(ctx context.Context, g im.GroupID, members []store.Member) error
}

// Turns runs what takes long: of one who asks one task after the other, of all
// in turn. It reports whether there was room, and never blocks.
type Turns func(who uint64, weight int, task func()) bool

// groupOps are the commands that change groups.
type groupOps struct {
	store  GroupStore
	groups Groups
	mirror MemberMirror
	lanes  Lanes
	turns  Turns
	behind countForgetter
	log    *slog.Logger
}

// changeSize is how many members one transaction changes: messages of other
// conversations wait for it in their lane.
const changeSize = 200

// changePatience is how long a change in parts may take: clients give up after
// ten seconds.
const changePatience = 6 * time.Second

// changeMembers adds or removes members, 0407 to 0408. A few take one turn in
// the group's lane: what a removed member sent before is stored, what they send
// after is refused. Many are looked up before the lane and take a turn for every
// changeSize of them; if that fails on the way, the answer has those who were
// changed.
//
// Source: docs/protocol/flows.md §12.4, with the fixes of
// docs/protocol/defects.md B17 (only real changes count), B19 (a member may
// leave), D1 and D9 (only a member adds to a temporary group), D14 (at most
// im.MaxMembers), F5 (an unknown group is answered).
func (g *groupOps) changeMembers(r *Request) error {
	req := new(group.IMGroupChangeMemberReq)
	if err := parse(r, req); err != nil {
		return err
	}
	var err error
	switch n := len(req.GetMemberIdList()); {
	case n > im.MaxMembers:
		err = im.Errorf(im.TooLarge, "change of %d members", n)
	case n > changeSize:
		user := uint64(req.GetUserId())
		if user == 0 {
			user = turnOf(req)
		}
		if !g.turns(user, 1+n/changeSize, func() { g.inParts(r, req) }) {
			err = im.Errorf(im.Busy, "too many changes of members wait")
		}
	default:
		users := userIDs(req.GetMemberIdList())
		err = g.lanes.Submit(g.turn(req, users, func(ctx context.Context) ([]im.UserID, error) {
			return g.change(ctx, req, users, users)
		}, func(changed []im.UserID, err error) { g.answer(r, req, changed, err) }))
	}
	if err != nil {
		g.refuse(r, req, err)
	}
	return err
}

// turnOf is whose turn it is when a group is read again, one after the other.
func turnOf(req *group.IMGroupChangeMemberReq) uint64 { return 1<<62 | uint64(req.GetGroupId()) }

// turn is a turn of the group's lane in which run changes members.
func (g *groupOps) turn(
	req *group.IMGroupChangeMemberReq, users []im.UserID, run func(context.Context) ([]im.UserID, error),
	done func([]im.UserID, error),
) *lane.Change {
	return &lane.Change{
		Conv:    im.GroupOf(im.GroupID(req.GetGroupId())),
		Asker:   im.UserID(req.GetUserId()),
		Refused: func(err error) { done(nil, err) },
		Run: func(ctx context.Context) {
			var changed []im.UserID
			var err error = im.Errorf(im.Internal, "change of members panicked")
			defer func() { done(changed, err) }()
			if err = g.mayChange(ctx, req, users); err == nil {
				changed, err = run(ctx)
			}
		},
	}
}

// change changes those of part, in the lane; users are all that were asked for.
func (g *groupOps) change(
	ctx context.Context, req *group.IMGroupChangeMemberReq, users, part []im.UserID,
) (_ []im.UserID, err error) {
	if isAdding(req) && len(users) <= changeSize {
		if part, err = g.store.ExistingUsers(ctx, part); err != nil {
			return nil, err
		}
	}
	return g.write(ctx, im.GroupID(req.GetGroupId()), part, isAdding(req))
}

// inParts changes many members, in the turn of who asks.
func (g *groupOps) inParts(r *Request, req *group.IMGroupChangeMemberReq) {
	ctx, cancel := context.WithTimeout(context.Background(), changePatience) //nolint:forbidigo // a PDU has no context
	defer cancel()
	users := userIDs(req.GetMemberIdList())
	wanted, err := users, g.mayChange(ctx, req, users)
	if err == nil && isAdding(req) {
		wanted, err = g.store.ExistingUsers(ctx, users)
	}
	var changed []im.UserID
	for part := range slices.Chunk(askerLast(wanted, req), changeSize) {
		if err != nil {
			break
		}
		var some []im.UserID
		some, err = g.await(ctx, req, users, part)
		changed = append(changed, some...)
	}
	g.tell(r, req, changed, err)
}

// askerLast puts who asks behind all others: a creator who removes many and
// leaves with them may not do so any more once he is gone.
func askerLast(users []im.UserID, req *group.IMGroupChangeMemberReq) []im.UserID {
	asker := im.UserID(req.GetUserId())
	if i, found := slices.BinarySearch(users, asker); found {
		users = append(slices.Delete(slices.Clone(users), i, i+1), asker)
	}
	return users
}

// await changes a part in a turn of the lane and waits for it. What nobody
// waits for any more is not done.
func (g *groupOps) await(
	asked context.Context, req *group.IMGroupChangeMemberReq, users, part []im.UserID,
) ([]im.UserID, error) {
	type outcome struct {
		changed []im.UserID
		err     error
	}
	done := make(chan outcome, 1)
	err := g.lanes.Submit(g.turn(req, users, func(ctx context.Context) ([]im.UserID, error) {
		if asked.Err() != nil {
			return nil, im.Wrap(im.Busy, "change members", asked.Err())
		}
		return g.change(ctx, req, users, part)
	}, func(changed []im.UserID, err error) { done <- outcome{changed, err} }))
	if err != nil {
		return nil, err
	}
	o := <-done
	return o.changed, o.err
}

// answer reads a group that was changed again and answers, beside the lane
// and behind other readings of the group.
func (g *groupOps) answer(r *Request, req *group.IMGroupChangeMemberReq, changed []im.UserID, err error) {
	if err != nil && len(changed) == 0 {
		g.refuse(r, req, err)
		return
	}
	tell := func() { g.tell(r, req, changed, err) }
	if !g.turns(turnOf(req), 1, tell) {
		tell()
	}
}

// tell answers with the members as they are, and mirrors them. The change is
// done, however long it took: reading has a time of its own.
func (g *groupOps) tell(r *Request, req *group.IMGroupChangeMemberReq, changed []im.UserID, err error) {
	if err != nil && len(changed) == 0 {
		g.refuse(r, req, err)
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), changePatience) //nolint:forbidigo // a PDU has no context
	defer cancel()
	now, failed := g.told(ctx, im.GroupID(req.GetGroupId()))
	switch {
	case failed != nil:
		g.refuse(r, req, failed)
	case len(changed) == 0:
		g.refuse(r, req, im.Errorf(im.Invalid, "nobody to change in group %d", req.GetGroupId()))
	default:
		if err != nil {
			g.log.Warn("members changed in part", "group_id", req.GetGroupId(), "changed", len(changed), "error", err)
		}
		r.Reply(wire.GroupChangeMemberRes, changeAnswer(req, 0, now, changed))
	}
}

func (g *groupOps) refuse(r *Request, req *group.IMGroupChangeMemberReq, err error) {
	g.log.Info("members not changed", "group_id", req.GetGroupId(), "user_id", req.GetUserId(), "error", err)
	r.Reply(wire.GroupChangeMemberRes, changeAnswer(req, 1, nil, nil))
}

func isAdding(req *group.IMGroupChangeMemberReq) bool {
	return req.GetChangeType() == basedefine.GroupModifyType_GROUP_MODIFY_TYPE_ADD
}

// write changes members, and forgets what was remembered of them and the group.
func (g *groupOps) write(ctx context.Context, id im.GroupID, users []im.UserID, adding bool) ([]im.UserID, error) {
	add, remove := users, []im.UserID(nil)
	if !adding {
		add, remove = nil, users
	}
	changed, err := g.store.ChangeMembers(ctx, id, add, remove)
	g.groups.ForgetGroup(id)
	for _, m := range users { // who comes back begins anew
		g.behind.ForgetUnread(cache.Stamp{}, store.SessionKey{User: m, Kind: im.Group, Peer: uint32(id)})
	}
	return changed, err
}

// told returns the members of a group that was changed, and mirrors them. Also
// where nothing was changed: this may be the repeat of a change whose answer
// was lost.
func (g *groupOps) told(ctx context.Context, id im.GroupID) ([]store.Member, error) {
	g.groups.ForgetGroup(id)
	info, err := g.groups.Group(ctx, id)
	if err != nil { // the change is done: ask again
		info, err = g.groups.Group(ctx, id)
	}
	if err != nil {
		return nil, err
	}
	if err := g.mirror.SetMembers(ctx, id, info.Members); err != nil {
		g.log.Debug("member list not mirrored", "group_id", id, "error", err)
	}
	return info.Members, nil
}

// mayChange refuses an asker who may not change a group as asked. One that
// nobody governs is given a creator before.
func (g *groupOps) mayChange(ctx context.Context, req *group.IMGroupChangeMemberReq, users []im.UserID) error {
	id, user := im.GroupID(req.GetGroupId()), im.UserID(req.GetUserId())
	st, err := g.store.Standing(ctx, id, user)
	if err == nil && st.Orphaned {
		if err = g.store.Succeed(ctx, []im.GroupID{id}); err == nil {
			st, err = g.store.Standing(ctx, id, user)
		}
	}
	if err == nil && !mayChange(st, user, isAdding(req), users) {
		err = im.Errorf(im.Denied, "user %d may not change group %d", user, id)
	}
	return err
}

// mayChange says who may change a group: its creator everything; a member of
// a temporary group may add; everybody may leave. The user id 0 is that of
// http_msg_server, which a msg_server never sends.
func mayChange(st store.Standing, user im.UserID, adding bool, asked []im.UserID) bool {
	switch {
	case user == 0 || user == st.Creator:
		return true
	case adding:
		return st.Type == groupTemporary && st.Member
	default:
		return len(asked) == 1 && asked[0] == user
	}
}

// Values of IMGroup.type. Source: docs/protocol/storage.md.
const (
	groupNormal    = 1
	groupTemporary = 2
)

func changeAnswer(
	req *group.IMGroupChangeMemberReq, result uint32, now []store.Member, changed []im.UserID,
) *group.IMGroupChangeMemberRsp {
	res := &group.IMGroupChangeMemberRsp{
		UserId:        proto.Uint32(req.GetUserId()),
		ChangeType:    req.GetChangeType().Enum(),
		ResultCode:    proto.Uint32(result),
		GroupId:       proto.Uint32(req.GetGroupId()),
		ChgUserIdList: wireIDs(changed),
		AttachData:    req.GetAttachData(),
	}
	for _, m := range now {
		res.CurUserIdList = append(res.CurUserIdList, uint32(m.User))
	}
	return res
}

// createGroup makes a group, 0405 to 0406.
//
// Source: docs/protocol/flows.md §12.3. Clients make temporary groups only: a
// normal one is refused with an answer (docs/protocol/defects.md F5).
// http_msg_server makes both: that of the original as user 0, ours also for a
// creator.
func (g *groupOps) createGroup(ctx context.Context, r *Request) (proto.Message, error) {
	req := new(group.IMGroupCreateReq)
	if err := proto.Unmarshal(r.Body, req); err != nil {
		return nil, im.Wrap(im.Invalid, "parse creation of group", err)
	}
	members := userIDs(req.GetMemberIdList()[:min(len(req.GetMemberIdList()), im.MaxMembers)])
	res := &group.IMGroupCreateRsp{
		UserId:     proto.Uint32(req.GetUserId()),
		ResultCode: proto.Uint32(1),
		GroupName:  proto.String(req.GetGroupName()),
		UserIdList: wireIDs(members),
		AttachData: req.GetAttachData(),
	}
	kind := uint8(req.GetGroupType())
	switch {
	case req.GetGroupName() == "" || len(members) == 0:
		return res, im.Errorf(im.Invalid, "group without a name or members")
	case len(req.GetMemberIdList()) > im.MaxMembers:
		res.UserIdList = nil
		return res, im.Errorf(im.TooLarge, "group of %d members", len(req.GetMemberIdList()))
	case len([]rune(req.GetGroupName())) > maxGroupName:
		return res, im.Errorf(im.TooLarge, "name of group")
	case kind != groupTemporary && req.GetUserId() != 0 && !r.API:
		return res, im.Errorf(im.Denied, "a client makes temporary groups only")
	}
	members, err := g.store.ExistingUsers(ctx, members)
	if err != nil {
		return res, err
	}
	if len(members) == 0 {
		return res, im.Errorf(im.Invalid, "group of nobody")
	}
	var attempt store.Attempt
	if r.API && req.AttemptRequest != nil {
		if attempt, err = parseAttempt(req.GetAttemptRequest(), req.GetAttemptToken()); err != nil {
			return res, err
		}
	}
	id, err := g.store.CreateGroup(ctx, store.NewGroup{
		Name: req.GetGroupName(), Avatar: req.GetGroupAvatar(),
		Creator: im.UserID(req.GetUserId()), Type: kind, Members: members, Attempt: attempt,
	})
	if err != nil {
		return res, err
	}
	res.ResultCode, res.GroupId, res.UserIdList = proto.Uint32(0), proto.Uint32(uint32(id)), wireIDs(members)
	if _, err := g.told(ctx, id); err != nil { // the group is made, and who repeats this makes another one
		g.log.Debug("member list not mirrored", "group_id", id, "error", err)
	}
	return res, nil
}

// maxGroupName is the width of IMGroup.name in characters.
const maxGroupName = 256

// userIDs returns the ids in ascending order, each once, without 0.
func userIDs(list []uint32) []im.UserID {
	out := make([]im.UserID, 0, len(list))
	for _, id := range list {
		if id != 0 {
			out = append(out, im.UserID(id))
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func wireIDs(users []im.UserID) []uint32 {
	out := make([]uint32, len(users))
	for i, id := range users {
		out[i] = uint32(id)
	}
	return out
}
