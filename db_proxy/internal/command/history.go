package command

import (
	"context"

	"google.golang.org/protobuf/proto"

	"teamtalk/db_proxy/internal/store"
	"teamtalk/internal/im"
	"teamtalk/internal/wire"
	"teamtalk/pb/basedefine"
	"teamtalk/pb/message"
)

// historyStore reads a page of a conversation.
type historyStore interface {
	// History returns at most count messages with an id of at most begin,
	// 0 meaning the newest, newest first; of a group only those
	// that a member may see.
	History(ctx context.Context, ref store.ConvRef, begin im.MsgID, count int, since store.Since) ([]store.Message, error)
}

// history answers 0309.
type history struct {
	store  historyStore
	access access
	voice  VoiceKeeper
}

func historyCommands(h *history) []Command {
	return []Command{{ID: wire.MsgListReq, Asker: ByUser, Reply: wire.MsgListRes, Query: h.page}}
}

// page answers with messages of a conversation, newest first, 0309 to 030A;
// with none if the user has no part in it.
//
// Source: docs/protocol/flows.md §9.1, with the fixes of
// docs/protocol/defects.md B26 (ordered by id), D14 (at most im.MaxHistory) and
// F6 (no answer when SQL fails: an empty one would look like an empty
// conversation).
func (h *history) page(ctx context.Context, r *Request) (proto.Message, error) {
	req := new(message.IMGetMsgListReq)
	if err := parse(r, req); err != nil {
		return nil, err
	}
	kind, err := parseKind(req.GetSessionType())
	if err != nil {
		return nil, err
	}
	k := store.SessionKey{User: im.UserID(req.GetUserId()), Kind: kind, Peer: req.GetSessionId()}
	ref, since, ok, err := h.access.of(ctx, k)
	if err != nil {
		return nil, err
	}
	var found []store.Message
	if count := min(req.GetMsgCnt(), im.MaxHistory); ok && count > 0 {
		found, err = h.store.History(ctx, ref, im.MsgID(req.GetMsgIdBegin()), int(count), since)
		if err != nil {
			return nil, err
		}
		h.voice.Fill(ctx, found)
	}
	return &message.IMGetMsgListRsp{
		UserId:      proto.Uint32(req.GetUserId()),
		SessionType: req.GetSessionType().Enum(),
		SessionId:   proto.Uint32(req.GetSessionId()),
		MsgIdBegin:  proto.Uint32(req.GetMsgIdBegin()),
		MsgList:     messageInfos(found),
		AttachData:  req.GetAttachData(),
	}, nil
}

// maxPage bounds the messages of one reply in bytes: what is larger Android
// does not read. Source: docs/protocol/defects.md F10.
const maxPage = wire.MaxAndroid - 8<<10

// messageInfos encodes as many messages as fit into one reply, in order; what
// is left off the client asks for by id.
func messageInfos(all []store.Message) []*basedefine.MsgInfo {
	const numbersAndTags = 32
	list := make([]*basedefine.MsgInfo, 0, len(all))
	size := 0
	for i := range all {
		m := &all[i]
		if size += numbersAndTags + len(m.Content); size > maxPage && i > 0 {
			break
		}
		list = append(list, &basedefine.MsgInfo{
			MsgId:         proto.Uint32(uint32(m.ID)),
			FromSessionId: proto.Uint32(uint32(m.From)),
			CreateTime:    proto.Uint32(m.Created),
			MsgType:       basedefine.MsgType(m.Type).Enum(),
			MsgData:       []byte(m.Content),
		})
	}
	return list
}
