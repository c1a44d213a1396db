package command

import (
	"context"

	"google.golang.org/protobuf/proto"

	"teamtalk/db_proxy/internal/store"
	"teamtalk/internal/im"
	"teamtalk/internal/wire"
	"teamtalk/pb/message"
)

// latestStore is what latestID reads.
type latestStore = previewStore

// latestID answers 030B.
type latestID struct {
	store  latestStore
	access access
}

func latestIDCommands(l *latestID) []Command {
	return []Command{{ID: wire.LatestMsgIDReq, Asker: ByUser, Reply: wire.LatestMsgIDRes, Query: l.latest}}
}

// latest answers with the id of the newest message of a conversation, 030B to
// 030C; 0 if there is none.
//
// Source: docs/protocol/flows.md §9.3, with the fix of
// docs/protocol/defects.md D8: of a group only to its members.
func (l *latestID) latest(ctx context.Context, r *Request) (proto.Message, error) {
	req := new(message.IMGetLatestMsgIdReq)
	if err := parse(r, req); err != nil {
		return nil, err
	}
	kind, err := parseKind(req.GetSessionType())
	if err != nil {
		return nil, err
	}
	k := store.SessionKey{User: im.UserID(req.GetUserId()), Kind: kind, Peer: req.GetSessionId()}
	previews, err := l.access.previews(ctx, l.store, []store.SessionKey{k})
	if err != nil {
		return nil, err
	}
	return &message.IMGetLatestMsgIdRsp{
		UserId:      proto.Uint32(req.GetUserId()),
		SessionType: req.GetSessionType().Enum(),
		SessionId:   proto.Uint32(req.GetSessionId()),
		LatestMsgId: proto.Uint32(uint32(previews[k].ID)),
		AttachData:  req.GetAttachData(),
	}, nil
}
