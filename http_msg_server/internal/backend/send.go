package backend

import (
	"context"
	"errors"
	"time"

	"google.golang.org/protobuf/proto"

	"teamtalk/internal/ask"
	"teamtalk/internal/dblink"
	"teamtalk/internal/im"
	"teamtalk/internal/link"
	"teamtalk/internal/notify"
	"teamtalk/internal/trace"
	"teamtalk/internal/wire"
	"teamtalk/pb/basedefine"
	"teamtalk/pb/extension"
	"teamtalk/pb/message"
)

// Message is a text to send.
type Message struct {
	From    im.UserID
	Conv    im.Conversation
	Content []byte         // as on the wire: encrypted, in Base64
	Created uint32         // Unix seconds
	Op      im.OperationID // a repeat finds the first msg_id by it
	Former  im.OperationID // what an earlier version made of the same key; zero: nothing
	// Outsider lets a sender who is no member write to a group.
	Outsider bool
}

// Sent is a stored message.
type Sent struct {
	ID      im.MsgID
	Created uint32
	Repeat  bool // it had been stored before; nobody was sent it again
	Found   bool // it was found, perhaps from a try of this Send: Created may not be what is stored
}

// storedBefore stands in since_previous_ms of the answer to a repeat.
// Source: docs/protocol.md.
const storedBefore = ^uint32(0)

// retryPause is the wait before a message is sent to another db_proxy.
const retryPause = 50 * time.Millisecond

// Send stores a message and relays it to whoever is on-line. A db_proxy that
// is lost meanwhile is replaced by another one, which finds by the operation
// what the first may have stored. An *im.Error says why it was not stored;
// im.Unavailable and im.Internal leave open whether it was.
func (b *Backend) Send(ctx context.Context, m *Message) (Sent, error) {
	b.note(m, trace.Received, 0, 0)
	sent, err := b.send(ctx, m)
	if err != nil {
		b.note(m, trace.Failed, 0, uint32(im.CodeOf(err)))
	} else {
		b.note(m, trace.Acknowledged, sent.ID, 0)
	}
	return sent, err
}

// note remembers an event for "teamtalk trace".
func (b *Backend) note(m *Message, event trace.Event, id im.MsgID, detail uint32) {
	b.trace.Note(&trace.Record{Event: event, Conv: m.Conv, Msg: id, Op: m.Op, User: m.From, Detail: detail})
}

// send is Send without a trace of its beginning and end.
func (b *Backend) send(ctx context.Context, m *Message) (Sent, error) {
	ctx, cancel := context.WithTimeout(ctx, b.wait)
	defer cancel()
	for tries := 1; ; tries++ {
		l := b.db.Owner(m.Conv)
		if l != nil && !l.Has(link.CapAPI) {
			return Sent{}, im.Errorf(im.Unavailable, "%s is an original server: it has no API", l.Addr())
		}
		if tries > 1 {
			b.note(m, trace.Forwarded, 0, uint32(tries))
		}
		body, err := b.calls.Exchange(ctx, l, m.request(), wire.MsgData, wire.MsgData)
		switch {
		case err == nil:
			return b.stored(m, body, tries)
		case errors.Is(err, ask.ErrTooMany):
			return Sent{}, im.Wrap(im.Busy, "send message", err)
		}
		select {
		case <-ctx.Done():
			return Sent{}, im.Wrap(im.Unavailable, "send message", err)
		case <-time.After(retryPause):
		}
	}
}

func (m *Message) request() *message.IMMsgData {
	req := &message.IMMsgData{
		FromUserId:  proto.Uint32(uint32(m.From)),
		ToSessionId: proto.Uint32(m.Conv.SessionID(m.From)),
		MsgId:       proto.Uint32(0),
		CreateTime:  proto.Uint32(m.Created),
		MsgType:     basedefine.MsgType_MSG_TYPE_SINGLE_TEXT.Enum(),
		MsgData:     m.Content,
		OperationId: m.Op[:],
	}
	if m.Conv.Kind == im.Group {
		req.MsgType = basedefine.MsgType_MSG_TYPE_GROUP_TEXT.Enum()
	}
	if !m.Former.IsZero() {
		req.FormerOperationId = m.Former[:]
	}
	if m.Outsider {
		req.Outsider = proto.Bool(true)
	}
	return req
}

// stored reads the answer of a db_proxy and relays what was stored now.
func (b *Backend) stored(m *Message, body []byte, tries int) (Sent, error) {
	res := new(message.IMMsgData)
	if err := proto.Unmarshal(body, res); err != nil {
		return Sent{}, im.Wrap(im.Internal, "read the answer to a message", err)
	}
	if res.GetMsgId() == 0 {
		code := im.Code(res.GetSincePreviousMs())
		if code == im.OK {
			code = im.Internal
		}
		return Sent{}, im.Errorf(code, "message refused")
	}
	repeat := res.GetSincePreviousMs() == storedBefore
	if !repeat { // what was stored before may be there under an id of an earlier version
		b.db.Stored(dblink.Mark{Conv: m.Conv, From: m.From, ID: im.MsgID(res.GetMsgId()), Op: m.Op})
	}
	sent := Sent{ID: im.MsgID(res.GetMsgId()), Created: res.GetCreateTime(), Repeat: repeat && tries == 1, Found: repeat}
	if sent.Repeat {
		return sent, nil // it was relayed the first time
	}
	b.relay(m, res, repeat)
	return sent, nil
}

// relay sends a stored message to the connections of its users.
func (b *Backend) relay(m *Message, res *message.IMMsgData, repeat bool) {
	body, err := proto.Marshal(&message.IMMsgData{
		FromUserId: proto.Uint32(uint32(m.From)), ToSessionId: proto.Uint32(m.Conv.SessionID(m.From)),
		MsgId: res.MsgId, CreateTime: res.CreateTime, MsgType: res.MsgType, MsgData: m.Content,
	})
	if err != nil {
		return // every required field is set
	}
	targets := res.GetMembers()
	order := &extension.Order{
		SessionType: basedefine.SessionType_SESSION_TYPE_GROUP.Enum(),
		First:       proto.Uint32(uint32(m.Conv.Group)),
		MsgId:       res.MsgId,
	}
	if m.Conv.Kind == im.Single {
		small, big := uint32(m.Conv.Pair.Small), uint32(m.Conv.Pair.Big)
		targets = []uint32{small, big}
		order.SessionType = basedefine.SessionType_SESSION_TYPE_SINGLE.Enum()
		order.First, order.Second = proto.Uint32(small), proto.Uint32(big)
	}
	if !repeat && res.SincePreviousMs != nil {
		order.SincePreviousMs = res.SincePreviousMs
	}
	links := b.routes.publish(targets, wire.MsgData, body, order)
	b.note(m, trace.Relayed, im.MsgID(res.GetMsgId()), uint32(links))
	b.phones.Offer(&notify.Message{
		From: m.From, Conv: m.Conv, Type: im.MsgType(res.GetMsgType()), Data: m.Content, Members: res.GetMembers(),
	})
}
