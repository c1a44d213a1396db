package command

import (
	"context"

	"google.golang.org/protobuf/proto"

	"teamtalk/db_proxy/internal/store"
	"teamtalk/internal/im"
	"teamtalk/internal/wire"
	"teamtalk/pb/message"
)

// messageStore reads single messages.
type messageStore interface {
	// ByIDs returns those that exist, newest first; of a group only those
	// that a member may see.
	ByIDs(ctx context.Context, ref store.ConvRef, ids []im.MsgID, since store.Since) ([]store.Message, error)
}

// byID answers 030D.
type byID struct {
	store  messageStore
	access access
	voice  VoiceKeeper
}

func byIDCommands(b *byID) []Command {
	return []Command{{ID: wire.MsgByIDReq, Asker: ByUser, Reply: wire.MsgByIDRes, Query: b.messages}}
}

// messages answers with the messages asked for, newest first, 030D to 030E;
// at most the im.MaxHistory newest, and none if the user has no part in the
// conversation.
//
// Source: docs/protocol/flows.md §9.2, with the same fixes as in history.
func (b *byID) messages(ctx context.Context, r *Request) (proto.Message, error) {
	req := new(message.IMGetMsgByIdReq)
	if err := parse(r, req); err != nil {
		return nil, err
	}
	kind, err := parseKind(req.GetSessionType())
	if err != nil {
		return nil, err
	}
	k := store.SessionKey{User: im.UserID(req.GetUserId()), Kind: kind, Peer: req.GetSessionId()}
	ref, since, ok, err := b.access.of(ctx, k)
	if err != nil {
		return nil, err
	}
	ids := make([]im.MsgID, 0, len(req.GetMsgIdList()))
	for _, id := range req.GetMsgIdList() {
		if id != 0 && im.MsgID(id) <= im.MaxMsgID {
			ids = append(ids, im.MsgID(id))
		}
	}
	var found []store.Message
	if ok && len(ids) > 0 {
		if found, err = b.store.ByIDs(ctx, ref, ids, since); err != nil {
			return nil, err
		}
		b.voice.Fill(ctx, found)
	}
	return &message.IMGetMsgByIdRsp{
		UserId:      proto.Uint32(req.GetUserId()),
		SessionType: req.GetSessionType().Enum(),
		SessionId:   proto.Uint32(req.GetSessionId()),
		MsgList:     messageInfos(found),
		AttachData:  req.GetAttachData(),
	}, nil
}
