package command

import (
	"google.golang.org/protobuf/proto"

	"teamtalk/db_proxy/internal/lane"
	"teamtalk/internal/im"
	"teamtalk/pb/message"
)

// readAck moves the read cursor of a user, 0303. It is never answered.
//
// Source: docs/protocol/flows.md §8.1, with the fix of
// docs/protocol/defects.md B1: what came after the acknowledged message stays
// unread.
func readAck(lanes Lanes) Operation {
	return func(r *Request) error {
		ack := new(message.IMMsgDataReadAck)
		if err := proto.Unmarshal(r.Body, ack); err != nil {
			return im.Wrap(im.Invalid, "parse read acknowledgement", err)
		}
		user, kind := im.UserID(ack.GetUserId()), im.Kind(ack.GetSessionType())
		if user == 0 || ack.GetSessionId() == 0 || !kind.Valid() {
			return im.Errorf(im.Invalid, "read acknowledgement of nothing")
		}
		return lanes.Submit(&lane.Read{
			Conv: im.ConversationOf(user, kind, ack.GetSessionId()),
			User: user,
			Upto: im.MsgID(ack.GetMsgId()),
		})
	}
}
