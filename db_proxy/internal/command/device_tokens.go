package command

import (
	"context"
	"time"

	"google.golang.org/protobuf/proto"

	"teamtalk/db_proxy/internal/store"
	"teamtalk/internal/im"
	"teamtalk/internal/wire"
	"teamtalk/pb/basedefine"
	"teamtalk/pb/server"
)

// pushTargetStore reads who receives pushes where.
type pushTargetStore interface {
	// DeviceTokens returns the tokens of users, ascending by user.
	DeviceTokens(ctx context.Context, users []im.UserID) ([]store.DeviceToken, error)
	// PushShields tells of each user that exists whether he wants none at
	// night.
	PushShields(ctx context.Context, users []im.UserID) (map[im.UserID]bool, error)
}

// pushTargets answers 0705.
type pushTargets struct {
	store  pushTargetStore
	counts unreadCounts
	night  Night
	clock  func() time.Time
}

func pushTargetCommands(p *pushTargets) []Command {
	return []Command{{ID: wire.DeviceTokensReq, Asker: ByServer, Reply: wire.DeviceTokensRes, Query: p.tokens}}
}

// tokens answers with the push tokens of users and the number of their unread
// messages, 0705 to 0706. Users without a token are absent, as are at night
// those with an iPhone who want it so.
//
// Source: docs/protocol/flows.md §15, step 2; docs/protocol/defects.md E3.
func (p *pushTargets) tokens(ctx context.Context, r *Request) (proto.Message, error) {
	req := new(server.IMGetDeviceTokenReq)
	if err := parse(r, req); err != nil {
		return nil, err
	}
	tokens, err := p.store.DeviceTokens(ctx, userIDs(req.GetUserId()))
	if err != nil {
		return nil, err
	}
	sleeping, err := p.sleeping(ctx, tokens)
	if err != nil {
		return nil, err
	}
	users := make([]im.UserID, 0, len(tokens))
	for _, t := range tokens {
		if !sleeping[t.User] {
			users = append(users, t.User)
		}
	}
	totals, err := p.counts.totals(ctx, users)
	if err != nil {
		return nil, err
	}
	res := &server.IMGetDeviceTokenRsp{AttachData: req.GetAttachData()}
	for _, t := range tokens {
		if sleeping[t.User] {
			continue
		}
		res.UserTokenInfo = append(res.UserTokenInfo, &basedefine.UserTokenInfo{
			UserId:    proto.Uint32(uint32(t.User)),
			UserType:  basedefine.ClientType(t.ClientType).Enum(),
			Token:     proto.String(t.Token),
			PushCount: proto.Uint32(totals[t.User]),
			PushType:  proto.Uint32(pushNormal),
		})
	}
	return res, nil
}

// pushNormal is the push type; the msg_server makes some silent.
const pushNormal = 1

// Night is when nobody is notified who wants to sleep: from the hour Begins
// until before the hour Ends, over midnight where Ends is the smaller. The same
// hour twice is no night at all.
type Night struct{ Begins, Ends int }

func (n Night) includes(hour int) bool {
	if n.Begins <= n.Ends {
		return hour >= n.Begins && hour < n.Ends
	}
	return hour >= n.Begins || hour < n.Ends
}

// sleeping returns the users who want no push now.
func (p *pushTargets) sleeping(ctx context.Context, tokens []store.DeviceToken) (map[im.UserID]bool, error) {
	if !p.night.includes(p.clock().Hour()) {
		return nil, nil
	}
	var phones []im.UserID
	for _, t := range tokens {
		if t.ClientType == im.IOS {
			phones = append(phones, t.User)
		}
	}
	return p.store.PushShields(ctx, phones)
}
