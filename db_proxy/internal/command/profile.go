package command

import (
	"context"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"

	"teamtalk/internal/im"
	"teamtalk/internal/wire"
	"teamtalk/pb/buddy"
)

// profileStore changes what a user shows of himself, and IMUser.updated with
// it. im.NotFound: there is no such user.
type profileStore interface {
	SetSignInfo(ctx context.Context, user im.UserID, text string) error
	SetAvatar(ctx context.Context, user im.UserID, avatar string) error
}

// userForgetter makes the next look-up of a user read SQL.
type userForgetter interface {
	ForgetUser(id im.UserID)
}

// profile answers 020C and 0213.
type profile struct {
	store profileStore
	users userForgetter
}

func profileCommands(p *profile) []Command {
	return []Command{
		{
			ID: wire.ChangeAvatarReq, Asker: ByUser, Reply: wire.ChangeAvatarRes, Query: p.setAvatar,
			Refusal: refusal[buddy.IMChangeAvatarReq, buddy.IMChangeAvatarRsp](),
		},
		{
			ID: wire.ChangeSignInfoReq, Asker: ByUser, Reply: wire.ChangeSignInfoRes, Query: p.setSignature,
			Refusal: refusal[buddy.IMChangeSignInfoReq, buddy.IMChangeSignInfoRsp](),
		},
	}
}

// Widths of IMUser.sign_info and IMUser.avatar in characters.
const (
	maxSignature = 128
	maxAvatar    = 255
)

// setSignature changes a user's signature, 0213 to 0214.
//
// Source: docs/protocol/flows.md §11, with the fixes of
// docs/protocol/defects.md B24 (the same signature again is no failure) and B25
// (characters are counted, not bytes).
func (p *profile) setSignature(ctx context.Context, r *Request) (proto.Message, error) {
	req := new(buddy.IMChangeSignInfoReq)
	if err := parse(r, req); err != nil {
		return nil, err
	}
	res := &buddy.IMChangeSignInfoRsp{
		UserId: proto.Uint32(req.GetUserId()), ResultCode: proto.Uint32(1), AttachData: req.GetAttachData(),
	}
	if err := checkLength("signature", req.GetSignInfo(), maxSignature); err != nil {
		return res, err
	}
	if err := p.store.SetSignInfo(ctx, im.UserID(req.GetUserId()), req.GetSignInfo()); err != nil {
		return res, err
	}
	p.users.ForgetUser(im.UserID(req.GetUserId()))
	res.ResultCode, res.SignInfo = proto.Uint32(0), proto.String(req.GetSignInfo())
	return res, nil
}

// setAvatar changes a user's avatar, a path on the image server or a URL,
// 020C to 020D.
//
// Source: docs/protocol/flows.md §11; docs/protocol/defects.md F4: the original
// never answered.
func (p *profile) setAvatar(ctx context.Context, r *Request) (proto.Message, error) {
	req := new(buddy.IMChangeAvatarReq)
	if err := parse(r, req); err != nil {
		return nil, err
	}
	res := &buddy.IMChangeAvatarRsp{
		UserId: proto.Uint32(req.GetUserId()), ResultCode: proto.Uint32(1), AttachData: req.GetAttachData(),
	}
	if err := checkLength("avatar", req.GetAvatarUrl(), maxAvatar); err != nil {
		return res, err
	}
	if err := p.store.SetAvatar(ctx, im.UserID(req.GetUserId()), req.GetAvatarUrl()); err != nil {
		return res, err
	}
	p.users.ForgetUser(im.UserID(req.GetUserId()))
	res.ResultCode = proto.Uint32(0)
	return res, nil
}

func checkLength(what, s string, limit int) error {
	if !utf8.ValidString(s) || utf8.RuneCountInString(s) > limit {
		return im.Errorf(im.TooLarge, "%s is not UTF-8 or has more than %d characters", what, limit)
	}
	return nil
}
