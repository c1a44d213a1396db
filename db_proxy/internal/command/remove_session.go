package command

import (
	"context"

	"google.golang.org/protobuf/proto"

	"teamtalk/db_proxy/internal/cache"
	"teamtalk/db_proxy/internal/lane"
	"teamtalk/db_proxy/internal/store"
	"teamtalk/internal/im"
	"teamtalk/internal/wire"
	"teamtalk/pb/buddy"
)

// sessionRemover takes lines off the recent list.
type sessionRemover interface {
	// RemoveSession also moves the cursor to the newest message. found is
	// false when the line was not there.
	RemoveSession(ctx context.Context, k store.SessionKey) (found bool, err error)
}

// countForgetter writes unread counts behind.
type countForgetter interface {
	// ForgetUnread makes a count be read from SQL when it is needed next.
	ForgetUnread(stamp cache.Stamp, k store.SessionKey)
}

// removeSession answers 0206.
type removeSession struct {
	store  sessionRemover
	lanes  QueryLanes
	behind interface {
		activitySettler
		countForgetter
	}
}

func removeSessionCommands(s *removeSession) []Command {
	return []Command{{ID: wire.RemoveSessionReq, Asker: InLane, Reply: wire.RemoveSessionRes, Operation: s.remove}}
}

// remove takes a line off the recent list and marks its messages as read,
// 0206 to 0207. It takes its turn in the conversation's lane, so that the next
// message finds the line removed and brings it back.
//
// Source: docs/protocol/flows.md §10.2.
func (s *removeSession) remove(r *Request) error {
	req := new(buddy.IMRemoveSessionReq)
	if err := parse(r, req); err != nil {
		return err
	}
	kind, err := parseKind(req.GetSessionType())
	if err != nil {
		return err
	}
	k := store.SessionKey{User: im.UserID(req.GetUserId()), Kind: kind, Peer: req.GetSessionId()}
	conv := im.ConversationOf(k.User, k.Kind, k.Peer)
	answer := func(result uint32) {
		r.Reply(wire.RemoveSessionRes, &buddy.IMRemoveSessionRsp{
			UserId:      proto.Uint32(req.GetUserId()),
			ResultCode:  proto.Uint32(result),
			SessionType: req.GetSessionType().Enum(),
			SessionId:   proto.Uint32(req.GetSessionId()),
			AttachData:  req.GetAttachData(),
		})
	}
	err = s.lanes.Submit(&lane.Change{
		Conv:    conv,
		Asker:   k.User,
		Refused: func(error) { answer(1) },
		Forgets: true,
		Run: func(ctx context.Context) {
			s.behind.SettleActivity(ctx) // the line of a group follows from it
			found, err := s.store.RemoveSession(ctx, k)
			if err == nil && !found {
				answer(1)
				return
			}
			s.behind.ForgetUnread(cache.Stamp{}, k) // also when it may have been done
			if err != nil {
				answer(1)
				return
			}
			answer(0)
		},
	})
	if err != nil {
		answer(1)
	}
	return err
}
