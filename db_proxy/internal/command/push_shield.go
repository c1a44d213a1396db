package command

import (
	"context"

	"google.golang.org/protobuf/proto"

	"teamtalk/internal/im"
	"teamtalk/internal/wire"
	"teamtalk/pb/login"
)

// pushShieldStore keeps who wants no push at night. im.NotFound: there is no
// such user.
type pushShieldStore interface {
	SetPushShield(ctx context.Context, user im.UserID, on bool) error
	PushShield(ctx context.Context, user im.UserID) (bool, error)
}

// pushShield answers 010C and 010E.
type pushShield struct {
	store pushShieldStore
}

func pushShieldCommands(p *pushShield) []Command {
	return []Command{
		{
			ID: wire.PushShieldReq, Asker: ByUser, Reply: wire.PushShieldRes, Query: p.set,
			Refusal: refusal[login.IMPushShieldReq, login.IMPushShieldRsp](),
		},
		{
			ID: wire.QueryPushShieldReq, Asker: ByUser, Reply: wire.QueryPushShieldRes, Query: p.query,
			Refusal: refusal[login.IMQueryPushShieldReq, login.IMQueryPushShieldRsp](),
		},
	}
}

// set switches night mode, 010C to 010D.
//
// Source: docs/protocol/flows.md §14.
func (p *pushShield) set(ctx context.Context, r *Request) (proto.Message, error) {
	req := new(login.IMPushShieldReq)
	if err := parse(r, req); err != nil {
		return nil, err
	}
	res := &login.IMPushShieldRsp{
		UserId: proto.Uint32(req.GetUserId()), ResultCode: proto.Uint32(1), AttachData: req.GetAttachData(),
	}
	status := req.GetShieldStatus()
	if status > 1 {
		return res, im.Errorf(im.Invalid, "shield status %d", status)
	}
	if err := p.store.SetPushShield(ctx, im.UserID(req.GetUserId()), status == 1); err != nil {
		return res, err
	}
	res.ResultCode, res.ShieldStatus = proto.Uint32(0), proto.Uint32(status)
	return res, nil
}

// query tells whether night mode is on, 010E to 010F.
//
// Source: docs/protocol/flows.md §14.
func (p *pushShield) query(ctx context.Context, r *Request) (proto.Message, error) {
	req := new(login.IMQueryPushShieldReq)
	if err := parse(r, req); err != nil {
		return nil, err
	}
	res := &login.IMQueryPushShieldRsp{
		UserId: proto.Uint32(req.GetUserId()), ResultCode: proto.Uint32(1), AttachData: req.GetAttachData(),
	}
	on, err := p.store.PushShield(ctx, im.UserID(req.GetUserId()))
	if err != nil {
		return res, err
	}
	res.ResultCode, res.ShieldStatus = proto.Uint32(0), proto.Uint32(wireFlag(on))
	return res, nil
}

func wireFlag(on bool) uint32 {
	if on {
		return 1
	}
	return 0
}
