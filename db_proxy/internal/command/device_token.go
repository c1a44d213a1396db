package command

import (
	"context"

	"google.golang.org/protobuf/proto"

	"teamtalk/db_proxy/internal/store"
	"teamtalk/internal/im"
	"teamtalk/internal/wire"
	"teamtalk/pb/extension"
	"teamtalk/pb/login"
)

// deviceTokenStore keeps where a user's phone receives pushes.
type deviceTokenStore interface {
	// SetDeviceToken takes the token from whoever had it; "" means that the
	// user gets no pushes.
	SetDeviceToken(ctx context.Context, user im.UserID, client im.ClientType, token string) error
	// RemoveDeviceTokens forgets tokens and returns those that were there;
	// with an error, those that may be forgotten.
	RemoveDeviceTokens(ctx context.Context, tokens []string) ([]store.DeviceToken, error)
}

// tokenMirror keeps the tokens where old neighbours and tools look.
type tokenMirror interface {
	SetToken(ctx context.Context, user im.UserID, client im.ClientType, token string) error
}

// deviceToken answers 0108.
type deviceToken struct {
	store  deviceTokenStore
	mirror tokenMirror
}

func deviceTokenCommands(d *deviceToken) []Command {
	return []Command{
		{ID: wire.DeviceTokenReq, Asker: ByUser, Reply: wire.DeviceTokenRes, Query: d.set},
		{ID: wire.PushTokensGone, Asker: ByServer, Query: d.gone},
	}
}

// gone forgets tokens of which Apple or Google says that they are not valid
// any more, 07AE. Source: docs/protocol/defects.md E7.
func (d *deviceToken) gone(ctx context.Context, r *Request) (proto.Message, error) {
	req := new(extension.IMPushTokensGone)
	if err := parse(r, req); err != nil {
		return nil, err
	}
	removed, err := d.store.RemoveDeviceTokens(ctx, req.GetTokens())
	for _, t := range removed { // also those of which it is not known: they are of no use
		_ = d.mirror.SetToken(ctx, t.User, t.ClientType, "") // SQL has it; the mirror counts its own failures
	}
	return nil, err // nobody waits for an answer
}

// set registers the push token of a user's phone, 0108 to 0109. An empty one,
// as a log-out sends it, ends the pushes.
//
// Source: docs/protocol/flows.md §14, with the fixes of
// docs/protocol/defects.md C8 (a PC has no token and ends no pushes), C9 and
// C10. The log-out of an original msg_server names no client type and is taken
// for a phone's.
func (d *deviceToken) set(ctx context.Context, r *Request) (proto.Message, error) {
	req := new(login.IMDeviceTokenReq)
	if err := parse(r, req); err != nil {
		return nil, err
	}
	res := &login.IMDeviceTokenRsp{UserId: proto.Uint32(req.GetUserId()), AttachData: req.GetAttachData()}
	user, client, token := im.UserID(req.GetUserId()), im.ClientType(req.GetClientType()), req.GetDeviceToken()
	if req.ClientType == nil {
		client = 0
	}
	switch client {
	case im.IOS, im.Android:
	case im.Windows, im.Mac:
		return res, nil
	default:
		if req.ClientType != nil || token != "" {
			return nil, im.Errorf(im.Invalid, "device token of client type %d", client)
		}
	}
	if user == 0 {
		return nil, im.Errorf(im.Invalid, "device token of nobody")
	}
	if err := d.store.SetDeviceToken(ctx, user, client, token); err != nil {
		return nil, err
	}
	_ = d.mirror.SetToken(ctx, user, client, token) // SQL has it; the mirror counts its own failures
	return res, nil
}
