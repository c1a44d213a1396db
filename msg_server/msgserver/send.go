package msgserver

import (
	"time"

	"google.golang.org/protobuf/proto"

	"teamtalk/internal/dblink"
	"teamtalk/internal/im"
	"teamtalk/internal/link"
	"teamtalk/internal/trace"
	"teamtalk/internal/wire"
	"teamtalk/msg_server/internal/deliver"
	"teamtalk/pb/basedefine"
	"teamtalk/pb/extension"
	"teamtalk/pb/message"
)

// sendMessage has a message stored, 0301. The sender is acknowledged when it
// is committed. Source: docs/protocol/flows.md §6 and §7, in the order of their
// checks.
func (s *Server) sendMessage(c *client, pdu wire.PDU) {
	m := new(message.IMMsgData)
	if err := proto.Unmarshal(pdu.Body, m); err != nil {
		s.metrics.dropped("bad_body")
		return
	}
	if reason, code := s.refusal(c, m); reason != "" {
		s.metrics.sends.WithLabelValues(reason).Inc()
		c.refuseSend(pdu.Seq, m, code)
		return
	}
	if int(c.inFlight.Load()) >= s.cfg.MaxInFlight {
		s.metrics.sends.WithLabelValues("inbound_overflow").Inc()
		c.close(reasonOverflow)
		return
	}
	p := &pending{client: c, connID: c.conn.ID(), user: c.user(), seq: pdu.Seq, created: s.clock()}
	// seq 0 is the seq of a client that does not number what it sends: two equal
	// messages of it are two messages.
	if !c.ownIDs.Load() && pdu.Seq != 0 {
		if epoch := s.epoch.Load(); c.repeats == nil || c.repeats.epoch != epoch {
			c.repeats = newRepeats(epoch)
		}
		p.repeat = c.repeats.find(pdu.Seq, pdu.Body, p.created)
		if p.repeat != nil && !p.repeat.again() {
			s.metrics.sends.WithLabelValues("repeat").Inc()
			p.repeat.answerAgain(c)
			return
		}
		if p.repeat == nil {
			p.repeat = c.repeats.add(pdu.Seq, pdu.Body, p.created)
		}
	}
	p.conv = im.ConversationOf(p.user, im.MsgType(m.GetMsgType()).Kind(), m.GetToSessionId())
	p.identify(m.GetClientMsgId())
	p.msg = &message.IMMsgData{
		FromUserId:  proto.Uint32(uint32(p.user)),
		ToSessionId: m.ToSessionId,
		MsgId:       proto.Uint32(0),
		CreateTime:  proto.Uint32(uint32(p.created.Unix())),
		MsgType:     m.MsgType,
		MsgData:     m.GetMsgData(),
	}
	c.inFlight.Add(1)
	var delay time.Duration
	if s.cfg.MaxMsgsPerSec > 0 {
		if c.allowance == nil {
			c.allowance = newAllowance(s.cfg.MaxMsgsPerSec)
		}
		delay = c.allowance.take(p.created)
	}
	s.traceSender(p, trace.Received, 0, p.created, 0)
	s.sends.start(p, delay)
}

// identify gives a message its operation id: that of the first attempt, one of
// its client_msg_id, or a new one.
func (p *pending) identify(clientMsgID string) {
	switch {
	case p.repeat != nil:
		p.op = p.repeat.op
	case clientMsgID != "":
		p.clientMsgID = clientMsgID
		p.op, p.former = im.OperationOf(im.OfClient, p.conv, clientMsgID), im.FormerOperationOf(clientMsgID)
	default:
		p.op = im.NewOperationID(p.created)
	}
}

// maxClientMsgID is the longest client_msg_id, in bytes: a UUID with dashes.
const maxClientMsgID = 36

// refusal says why a message is not stored, as a metric label and as a code
// for the client; "" if it is.
func (s *Server) refusal(c *client, m *message.IMMsgData) (reason string, code im.Code) {
	kind := im.MsgType(m.GetMsgType()).Kind()
	_, known := basedefine.MsgType_name[int32(m.GetMsgType())]
	switch {
	case s.stopping.Load():
		return "stopping", im.Unavailable
	case !known:
		return "unknown_type", im.Invalid
	case len(m.GetMsgData()) == 0:
		return "empty", im.Invalid
	case m.GetToSessionId() == 0:
		return "to_nobody", im.Invalid
	case kind == im.Single && im.UserID(m.GetToSessionId()) == c.user():
		return "to_oneself", im.Invalid
	case im.MsgType(m.GetMsgType()).Audio():
		if len(m.GetMsgData()) <= 4 { // a duration without a sound: docs/protocol/wire.md §6
			return "empty", im.Invalid
		}
		if len(m.GetMsgData()) > im.MaxVoice {
			return "too_long", im.TooLarge
		}
	case len(m.GetMsgData()) > s.cfg.MaxTextBytes:
		return "too_long", im.TooLarge
	case c.ownIDs.Load() && len(m.GetClientMsgId()) > maxClientMsgID:
		return "bad_client_msg_id", im.Invalid
	}
	return "", im.OK
}

// refuseSend tells a client that understands it that a message was not
// stored, 0381; others hear nothing, which they understand.
func (c *client) refuseSend(seq uint16, m *message.IMMsgData, code im.Code) {
	if !c.nack.Load() {
		return
	}
	nack := &extension.IMMsgNack{
		SessionId:   proto.Uint32(m.GetToSessionId()),
		SessionType: sessionType(im.MsgType(m.GetMsgType()).Kind()).Enum(),
		ClientMsgId: m.ClientMsgId,
		Reason:      proto.Uint32(uint32(code)),
		Retryable:   proto.Bool(code.Retryable()),
	}
	if code.Retryable() {
		nack.RetryAfterMs = proto.Uint32(uint32(retryAfter.Milliseconds()))
	}
	c.conn.SendMessage(wire.MsgNack, seq, nack)
}

// retryAfter is what a client is asked to wait before it repeats a message.
const retryAfter = 500 * time.Millisecond

func sessionType(kind im.Kind) basedefine.SessionType {
	if kind == im.Group {
		return basedefine.SessionType_SESSION_TYPE_GROUP
	}
	return basedefine.SessionType_SESSION_TYPE_SINGLE
}

// stored takes the answer of a db_proxy to a message, 0301: acknowledge,
// relay, deliver, in this order. Source: docs/protocol/flows.md §6.
func (s *Server) stored(l *link.Link, pdu wire.PDU) {
	m := new(message.IMMsgData)
	if err := proto.Unmarshal(pdu.Body, m); err != nil {
		s.metrics.dropped("bad_body")
		return
	}
	p := s.sends.finish(attached(attachKindSend, m.GetAttachData()))
	if p == nil {
		s.metrics.dropped("send_unknown")
		return
	}
	ours := l.Has(link.CapStore)
	if m.GetMsgId() == 0 {
		code := im.Internal
		if ours {
			code = im.Code(m.GetSincePreviousMs())
		}
		s.fail(p, code)
		return
	}
	// A msg_id over the range is a fault of Redis in the original, which
	// would poison what clients know as the newest.
	// Source: docs/protocol/defects.md A5.
	if im.MsgID(m.GetMsgId()) > im.MaxMsgID {
		s.fail(p, im.Internal)
		return
	}
	repeat := ours && m.GetSincePreviousMs() == storedBefore
	// What had been stored before may be there under an id of an earlier version,
	// and would look as if it was lost.
	if ours && !repeat {
		s.db.Stored(dblink.Mark{Conv: p.conv, From: p.user, ID: im.MsgID(m.GetMsgId()), Op: p.op})
	}
	s.acknowledge(p, m.GetMsgId())
	now := s.clock()
	s.traceSender(p, trace.Acknowledged, im.MsgID(m.GetMsgId()), now, 0)
	if repeat && p.tries == 1 && p.shared == nil {
		return // the sender's own repeat: everybody was sent it the first time
	}
	p.msg.MsgId = proto.Uint32(m.GetMsgId())
	p.msg.CreateTime = proto.Uint32(m.GetCreateTime())
	out := &outgoing{
		msg: p.msg, conv: p.conv, from: p.user, except: p.connID,
		since: deliver.Unknown, members: m.GetMembers(), at: now.UnixNano(),
	}
	if ours && !repeat && m.SincePreviousMs != nil {
		out.since = time.Duration(m.GetSincePreviousMs()) * time.Millisecond
	}
	if p.conv.Kind == im.Group && !ours {
		s.askMembers(out, true)
		return
	}
	s.publish(out)
	s.deliver(out)
	s.notifyPhones(out)
	if p.shared != nil {
		s.fileReady(out, p.shared)
	}
}

// storedBefore stands in since_previous_ms of the answer to a repeat.
// Source: docs/protocol.md.
const storedBefore = ^uint32(0)

// acknowledge answers the sender, 0302, before anybody else hears of the
// message.
func (s *Server) acknowledge(p *pending, id uint32) {
	s.metrics.acked.Inc()
	if p.shared != nil {
		s.answerShared(p.shared, im.OK, id)
		return
	}
	ack := &message.IMMsgDataAck{
		UserId:      proto.Uint32(uint32(p.user)),
		SessionId:   p.msg.ToSessionId,
		MsgId:       proto.Uint32(id),
		SessionType: sessionType(p.conv.Kind).Enum(),
	}
	if p.clientMsgID != "" {
		ack.ClientMsgId = proto.String(p.clientMsgID)
	}
	p.client.conn.SendMessage(wire.MsgDataAck, p.seq, ack)
	if p.repeat != nil {
		p.repeat.acked(ack)
	}
}

// fail ends a send that was not stored.
func (s *Server) fail(p *pending, code im.Code) {
	s.metrics.sends.WithLabelValues("failed_" + code.String()).Inc()
	s.traceSender(p, trace.Failed, 0, s.clock(), uint32(code))
	if p.shared != nil {
		s.answerShared(p.shared, code, 0)
		return
	}
	m := p.msg
	if p.clientMsgID != "" {
		m.ClientMsgId = proto.String(p.clientMsgID)
	}
	p.client.refuseSend(p.seq, m, code)
	if p.repeat != nil {
		p.repeat.fail()
	}
}

// outgoing is a stored message on its way to connections.
type outgoing struct {
	msg     *message.IMMsgData // without a field that clients do not know
	conv    im.Conversation
	from    im.UserID
	except  uint64 // the connection it came from
	since   time.Duration
	members []uint32 // of a group
	at      int64    // when it was acknowledged, Unix nanoseconds; 0: not here
	body    []byte   // encoded once, by encode
}

// encode encodes the message for clients and relays alike.
func (o *outgoing) encode() []byte {
	if o.body == nil {
		body, err := proto.Marshal(o.msg)
		if err != nil {
			return nil // every required field was set from a parsed message
		}
		o.body = body
	}
	return o.body
}

// targets are the users who get the message: of a group all members, of a
// single chat both, because the sender has other terminals.
func (o *outgoing) targets() []uint32 {
	if o.conv.Kind == im.Group {
		return o.members
	}
	return []uint32{uint32(o.conv.Pair.Small), uint32(o.conv.Pair.Big)}
}

// deliver pushes a message to the connections of its users here, in the order
// of the conversation.
func (s *Server) deliver(o *outgoing) {
	frame := wire.Append(make([]byte, 0, wire.HeaderSize+len(o.encode())), wire.MsgData, 0, o.encode())
	s.offer(&deliver.Message{Conv: o.conv, ID: im.MsgID(o.msg.GetMsgId()), SincePrevious: o.since},
		o.targets(), o.except, frame)
}

// offer has a message pushed to the connections of targets but one, when its
// turn has come.
func (s *Server) offer(m *deliver.Message, targets []uint32, except uint64, frame []byte) {
	m.Push = func() { s.pushMessage(m, targets, except, frame, s.traceDelivered(m.Conv, m.ID)) }
	outcome := s.order.Offer(m)
	s.traceOutcome(m, outcome)
	s.metrics.delivered.WithLabelValues(string(outcome)).Inc()
}

// pushMessage is push for a message whose turn has come: a terminal that
// acknowledges gets it when it is the next one for it.
func (s *Server) pushMessage(
	m *deliver.Message, targets []uint32, except uint64, frame []byte, told func(*Session),
) {
	pushed := 0
	for _, user := range targets {
		for _, session := range s.sessions.Of(im.UserID(user)) {
			own := session.ConnID == except
			var taken bool
			if t := session.Conn.terminal; t != nil {
				taken = t.Offer(m.Conv, m.ID, frame, own, s.engine.Now())
			} else {
				taken = !own && session.Conn.push(frame)
			}
			if taken {
				told(session)
				pushed++
			}
		}
	}
	s.metrics.pushed.Add(float64(pushed))
}

// push sends one frame to every connection of the users but one.
func (s *Server) push(targets []uint32, except uint64, frame []byte) {
	pushed := 0
	for _, user := range targets {
		for _, session := range s.sessions.Of(im.UserID(user)) {
			if session.ConnID != except && session.Conn.push(frame) {
				pushed++
			}
		}
	}
	s.metrics.pushed.Add(float64(pushed))
}
