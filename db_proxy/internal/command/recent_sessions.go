package command

import (
	"context"

	"google.golang.org/protobuf/proto"

	"teamtalk/db_proxy/internal/store"
	"teamtalk/internal/im"
	"teamtalk/internal/wire"
	"teamtalk/pb/basedefine"
	"teamtalk/pb/buddy"
)

// sessionStore reads recent lists.
type sessionStore interface {
	previewStore
	// Sessions returns at most limit lines with activity after since, newest
	// first, without removed ones.
	Sessions(ctx context.Context, user im.UserID, since uint32, limit int) ([]store.Session, error)
}

// activitySettler writes behind.
type activitySettler interface {
	// SettleActivity returns when the activity noted before is in SQL, or ctx
	// ends.
	SettleActivity(ctx context.Context)
}

// sessions answers 0201.
type sessions struct {
	store  sessionStore
	access access
	behind activitySettler
	voice  string
}

func sessionCommands(s *sessions) []Command {
	return []Command{{ID: wire.RecentSessionsReq, Asker: ByUser, Reply: wire.RecentSessionsRes, Query: s.recent}}
}

// recent answers with the recent list since the time given, 0201 to 0202:
// newest first, at most im.MaxSessions, without lines whose newest message
// cannot be shown.
//
// Source: docs/protocol/flows.md §10.1, with the fix of
// docs/protocol/defects.md B6. When SQL fails there is no answer: an empty one
// would look like an empty list.
func (s *sessions) recent(ctx context.Context, r *Request) (proto.Message, error) {
	req := new(buddy.IMRecentContactSessionReq)
	if err := parse(r, req); err != nil {
		return nil, err
	}
	s.behind.SettleActivity(ctx)
	lines, err := s.store.Sessions(ctx, im.UserID(req.GetUserId()), req.GetLatestUpdateTime(), im.MaxSessions)
	if err != nil {
		return nil, err
	}
	keys := make([]store.SessionKey, len(lines))
	for i, line := range lines {
		keys[i] = line.SessionKey
	}
	previews, err := s.access.previews(ctx, s.store, keys)
	if err != nil {
		return nil, err
	}
	res := &buddy.IMRecentContactSessionRsp{UserId: proto.Uint32(req.GetUserId()), AttachData: req.GetAttachData()}
	for _, line := range lines {
		m, ok := previews[line.SessionKey]
		if !ok {
			continue
		}
		res.ContactSessionList = append(res.ContactSessionList, &basedefine.ContactSessionInfo{
			SessionId:           proto.Uint32(line.Peer),
			SessionType:         basedefine.SessionType(line.Kind).Enum(),
			SessionStatus:       basedefine.SessionStatusType_SESSION_STATUS_OK.Enum(),
			UpdatedTime:         proto.Uint32(line.Updated),
			LatestMsgId:         proto.Uint32(uint32(m.ID)),
			LatestMsgData:       preview(&m, s.voice),
			LatestMsgType:       basedefine.MsgType(m.Type).Enum(),
			LatestMsgFromUserId: proto.Uint32(previewFrom(line.SessionKey, &m)),
		})
	}
	return res, nil
}
