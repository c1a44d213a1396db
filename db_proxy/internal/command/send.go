package command

import (
	"context"
	"log/slog"

	"google.golang.org/protobuf/proto"

	"teamtalk/db_proxy/internal/lane"
	"teamtalk/db_proxy/internal/store"
	"teamtalk/internal/im"
	"teamtalk/internal/wire"
	"teamtalk/pb/basedefine"
	"teamtalk/pb/message"
)

// Lanes take the operations that change a conversation.
type Lanes interface {
	Submit(op lane.Operation) error
}

// VoiceKeeper keeps the sound of voice messages.
type VoiceKeeper interface {
	// Keep calls done with the content of the message, or returns an error.
	Keep(ctx context.Context, from im.UserID, to uint32, data []byte, done func(content string, err error)) error
	// Fill puts sounds into a page, as far as they can be had.
	Fill(ctx context.Context, page []store.Message)
}

// StoredBefore stands in since_previous_ms of the answer to a message that
// had been stored before: the sender is answered, nobody is sent it again.
const StoredBefore = ^uint32(0)

// sendMessage stores a message and answers with its id, 0301 to 0301.
//
// Source: docs/protocol/flows.md §6 and §7. Safe to repeat: the operation id
// finds the first message. A message that is not stored is answered to our own
// msg_servers with msg_id 0 and the im.Code in since_previous_ms; to an
// original with msg_id 0 in a single chat, and not at all in a group, as the
// original does.
func sendMessage(lanes Lanes, voice VoiceKeeper, log *slog.Logger) Operation {
	return func(r *Request) error {
		m := new(message.IMMsgData)
		if err := proto.Unmarshal(r.Body, m); err != nil {
			return im.Wrap(im.Invalid, "parse message", err)
		}
		send, err := parseSend(m)
		if err != nil {
			refuseSend(r, m, err)
			return err
		}
		send.Outsider = r.API && m.GetOutsider()
		send.Done = func(sent lane.Sent, err error) {
			if err != nil {
				log.Info("message not stored", "conversation", send.Conv.String(), "user_id", send.From, "error", err)
				refuseSend(r, m, err)
				return
			}
			answerSend(r, m, sent)
		}
		if !send.Type.Audio() {
			err = lanes.Submit(send)
		} else {
			err = sendVoice(lanes, voice, send, m)
		}
		if err != nil {
			refuseSend(r, m, err)
		}
		return err
	}
}

// sendVoice stores a voice message once its sound is kept.
func sendVoice(lanes Lanes, voice VoiceKeeper, send *lane.Send, m *message.IMMsgData) error {
	ctx := context.Background() //nolint:forbidigo // it outlives the request; Keep bounds it
	return voice.Keep(ctx, send.From, m.GetToSessionId(), m.GetMsgData(), func(content string, err error) {
		if send.Content = content; err == nil {
			err = lanes.Submit(send)
		}
		if err != nil {
			send.Done(lane.Sent{}, err)
		}
	})
}

// parseSend checks what needs no look-up. The sender was set by the
// msg_server from the log-in.
func parseSend(m *message.IMMsgData) (*lane.Send, error) {
	send := &lane.Send{
		From:    im.UserID(m.GetFromUserId()),
		Type:    im.MsgType(m.GetMsgType()),
		Content: string(m.GetMsgData()),
		Created: m.GetCreateTime(),
	}
	send.Conv = im.ConversationOf(send.From, send.Type.Kind(), m.GetToSessionId())
	switch {
	case send.From == 0 || m.GetToSessionId() == 0:
		return nil, im.Errorf(im.Invalid, "message from or to nobody")
	case send.Conv.Kind == im.Single && send.Conv.Pair.Small == send.Conv.Pair.Big:
		return nil, im.Errorf(im.Invalid, "message to oneself")
	case len(send.Content) == 0:
		return nil, im.Errorf(im.Invalid, "empty message")
	case !send.Type.Audio() && len(send.Content) > im.MaxText:
		return nil, im.Errorf(im.TooLarge, "message of %d bytes", len(send.Content))
	}
	if op := m.GetOperationId(); len(op) == len(send.Op) {
		copy(send.Op[:], op)
	}
	if op := m.GetFormerOperationId(); len(op) == len(send.Former) {
		copy(send.Former[:], op)
	}
	return send, nil
}

func answerSend(r *Request, m *message.IMMsgData, sent lane.Sent) {
	m.MsgId = proto.Uint32(uint32(sent.ID))
	m.CreateTime = proto.Uint32(sent.Created)
	m.OperationId, m.FormerOperationId, m.Outsider = nil, nil, nil
	if !r.Capable {
		m.ClientMsgId = nil
		r.Reply(wire.MsgData, m)
		return
	}
	switch {
	case sent.Repeat:
		m.SincePreviousMs = proto.Uint32(StoredBefore)
	case sent.SincePrevious < lane.NoPrevious:
		m.SincePreviousMs = proto.Uint32(uint32(sent.SincePrevious.Milliseconds()))
	}
	if sent.Group != nil {
		m.Members = sent.Group.Wire
	}
	r.Reply(wire.MsgData, m)
}

func refuseSend(r *Request, m *message.IMMsgData, err error) {
	if !r.Capable && m.GetMsgType() >= basedefine.MsgType_MSG_TYPE_GROUP_TEXT {
		return
	}
	m.MsgId = proto.Uint32(0)
	m.OperationId, m.FormerOperationId, m.Members, m.SincePreviousMs = nil, nil, nil, nil
	if r.Capable {
		m.SincePreviousMs = proto.Uint32(uint32(im.CodeOf(err)))
	}
	r.Reply(wire.MsgData, m)
}
