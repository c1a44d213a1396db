package client

import (
	"context"
	"fmt"
	"time"
	"unicode/utf8"

	"teamtalk/client/textcrypt"
	"teamtalk/internal/im"
	"teamtalk/internal/wire"
	"teamtalk/pb/basedefine"
)

// Message is one chat message, pushed or read from history. A pushed one is
// valid until the Handler returns; Clone keeps it.
type Message struct {
	From        im.UserID
	To          uint32 // the receiver's id or the group's, as sent
	ID          im.MsgID
	Created     uint32 // Unix seconds by the server's clock
	Type        im.MsgType
	Data        []byte // as on the wire: text is encrypted
	ClientMsgID string // only when the sender gave one and this server passes it on
	Seq         uint16 // of the PDU; a correct server pushes with 0
}

// Kind returns the kind of the conversation.
func (m *Message) Kind() im.Kind { return m.Type.Kind() }

// Session returns the number under which user me knows the conversation: the
// peer or the group.
func (m *Message) Session(me im.UserID) uint32 {
	if m.Kind() == im.Single && im.UserID(m.To) == me {
		return uint32(m.From)
	}
	return m.To
}

// Text returns the text of the message. Data that is not encrypted text is
// returned as it is when it is readable; a voice message has no text.
func (m *Message) Text() string { return Text(m.Type, m.Data) }

// Audio returns the duration in seconds and the sound file (Ogg with Speex) of
// a voice message; sound aliases Data.
func (m *Message) Audio() (seconds uint32, sound []byte, ok bool) {
	if !m.Type.Audio() {
		return 0, nil, false
	}
	return splitAudio(m.Data)
}

// Clone returns a copy that the caller may keep.
func (m *Message) Clone() *Message {
	k := *m
	k.Data = clip(m.Data)
	return &k
}

// Text returns the text of message data as it comes in messages, unread lists
// and sessions, by the rules of Message.Text.
func Text(t im.MsgType, data []byte) string {
	if plain, err := textcrypt.Standard().Decrypt(data); err == nil && utf8.ValidString(plain) {
		return plain
	}
	if t.Audio() || !utf8.Valid(data) {
		return ""
	}
	return string(data)
}

// textType returns the type of text in a conversation of the kind.
func textType(kind im.Kind) im.MsgType {
	if kind == im.Group {
		return im.GroupText
	}
	return im.SingleText
}

// SendText encrypts and sends a text and waits for the acknowledgement. to is
// the user's or the group's id. It returns the id the server gave the message.
func (c *Client) SendText(ctx context.Context, kind im.Kind, to uint32, text string) (im.MsgID, error) {
	return c.SendTextID(ctx, kind, to, text, "")
}

// SendTextID is SendText with a client_msg_id of at most 36 characters, under
// which a repeat finds the first id if the server granted CapClientMsgID.
func (c *Client) SendTextID(ctx context.Context, kind im.Kind, to uint32, text, clientMsgID string,
) (im.MsgID, error) {
	if text == "" || len(text) > textcrypt.MaxPlain {
		return 0, ErrTooLong
	}
	return c.Send(ctx, &Message{
		To: to, Type: textType(kind), Data: textcrypt.Standard().Encrypt(text), ClientMsgID: clientMsgID,
	})
}

// sent is what Send waits for.
type sent struct {
	id  im.MsgID
	err error
}

// Send sends a message of any type with Data as it goes over the wire and
// waits for the acknowledgement. From, ID, Created and Seq of m are not used.
func (c *Client) Send(ctx context.Context, m *Message) (im.MsgID, error) {
	answer := make(chan sent, 1)
	p := pending{
		want: wire.MsgDataAck, session: m.To,
		ack: func(_ uint64, id im.MsgID, err error) { answer <- sent{id, err} },
		// The context is the bound; the timer only cleans up behind it.
		deadline: time.Now().Add(max(time.Hour, c.opts.AckTimeout)),
	}
	seq, err := c.sendMessage(m, p)
	if err != nil {
		return 0, fmt.Errorf("send message: %w", err)
	}
	var resend <-chan time.Time
	if after := c.opts.Profile.ResendAfter; after > 0 {
		timer := time.NewTimer(after)
		defer timer.Stop()
		resend = timer.C
	}
	for {
		select {
		case a := <-answer:
			return a.id, a.err
		case <-resend:
			c.repeat(m, seq)
		case <-ctx.Done():
			c.forgetSend(seq)
			return 0, fmt.Errorf("client: wait for acknowledgement: %w", ctx.Err())
		}
	}
}

// SendAsync sends a message and calls done with the token once the server has
// acknowledged or refused it, the connection has ended or AckTimeout has
// passed. m and its Data are not used after SendAsync returned. A caller that
// passes the same done every time causes no garbage. An error means that done
// will not be called. It may be called from the Handler and from done.
func (c *Client) SendAsync(m *Message, token uint64, done AckFunc) error {
	_, err := c.sendMessage(m, pending{
		want: wire.MsgDataAck, session: m.To, ack: done, token: token,
		deadline: time.Now().Add(c.opts.AckTimeout),
	})
	return err
}

// sendMessage registers and queues a message.
func (c *Client) sendMessage(m *Message, p pending) (uint16, error) {
	c.mu.Lock()
	seq, err := c.register(wire.MsgData, p)
	if err != nil {
		c.mu.Unlock()
		return 0, err
	}
	c.async++
	if c.clock.timer == nil || c.clock.next.After(p.deadline) {
		c.schedule(time.Now())
	}
	c.appendMsg(m, seq)
	c.mu.Unlock()
	c.flush()
	return seq, nil
}

// appendMsg queues the PDU of a message. Caller holds c.mu.
func (c *Client) appendMsg(m *Message, seq uint16) {
	p := &c.opts.Profile
	out := Message{
		From: c.User(), To: m.To, ID: p.TempMsgID, Type: m.Type, Data: m.Data, ClientMsgID: m.ClientMsgID,
	}
	if p.FromZero {
		out.From = 0
	}
	start := c.beginPDU(wire.MsgData, seq)
	c.out = appendMsgData(c.out, &out)
	c.stamp(start)
}

// repeat sends a message again under its seq if it still waits.
func (c *Client) repeat(m *Message, seq uint16) {
	c.mu.Lock()
	if _, waiting := c.pending[seq]; waiting && c.writable() == nil {
		c.appendMsg(m, seq)
	}
	c.mu.Unlock()
	c.flush()
}

// forgetSend removes a send whose caller has gone.
func (c *Client) forgetSend(seq uint16) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if p, ok := c.pending[seq]; ok && p.wait == nil {
		delete(c.pending, seq)
		c.async--
	}
}

// receipt acknowledges a received single message as old clients do, or
// remembers it for one cumulative receipt. It runs on the reader.
func (c *Client) receipt(m *Message) {
	if c.cumulative {
		key := conversationKey{m.Kind(), m.Session(c.User())}
		c.received[key] = max(c.received[key], m.ID)
		return
	}
	if m.Kind() != im.Single {
		return // servers ignore receipts in groups
	}
	session := uint32(m.From)
	if c.opts.Profile.OwnIDReceipts {
		session = c.user.Load()
	}
	c.mu.Lock()
	if c.writable() == nil {
		c.appendReceipt(wire.MsgDataAck, session, m.ID, im.Single)
	}
	c.mu.Unlock()
}

// flushReceipts queues the cumulative receipts of a batch. It runs on the
// reader.
func (c *Client) flushReceipts() {
	if len(c.received) == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for key, id := range c.received {
		if c.writable() == nil {
			start := c.beginPDU(wire.MsgDelivered, c.nextSeq(wire.MsgDelivered))
			c.out = appendDelivered(c.out, key, id)
			c.stamp(start)
		}
	}
	clear(c.received)
}

// appendDelivered appends the body of 0x0382.
func appendDelivered(dst []byte, key conversationKey, id im.MsgID) []byte {
	dst = appendVarint(dst, 1, key.session)
	dst = appendVarint(dst, 2, uint32(key.kind))
	return appendVarint(dst, 3, uint32(id))
}

// sessionType returns the wire form of a kind.
func sessionType(kind im.Kind) *basedefine.SessionType {
	return basedefine.SessionType(kind).Enum()
}
