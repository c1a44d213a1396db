package chat

import (
	"errors"
	"time"

	"teamtalk/client"
	"teamtalk/cmd/teamtalk/internal/words"
	"teamtalk/internal/im"
)

// compose adds an own message and sends it when its turn comes.
func (m *Model) compose(e Compose) {
	c := m.conversation(e.Key)
	switch {
	case e.Text == "" || len(e.Text) > maxText:
		m.trouble(client.ErrTooLong, words.SendTrouble)
		return
	case len(c.outbox) >= maxOutbox:
		m.trouble(errOutboxFull, words.SendTrouble)
		return
	}
	msg := &Message{From: m.Me, At: e.At, Text: e.Text, clientMsgID: e.ClientMsgID}
	c.compose(msg)
	if m.Final {
		m.fail(e.Key, msg, m.Problem)
		return
	}
	m.send(c)
}

var (
	errOutboxFull = words.Errorf(words.OutboxFull)
	errUncertain  = words.Errorf(words.Uncertain)
)

// send sends the next message of a conversation if there is one and nothing
// is in the way.
func (m *Model) send(c *Conversation) {
	if m.State != client.Online {
		return
	}
	for msg := c.next(); msg != nil; msg = c.next() {
		if msg.attempted && !m.safe {
			m.fail(c.Key, msg, errUncertain) // a repeat could be stored twice
			continue
		}
		msg.attempted = true
		m.do(DoSend{c.Key, msg.clientMsgID, msg.Text})
		return
	}
}

// sent takes the answer to a send.
func (m *Model) sent(e Sent) {
	c := m.conversation(e.Key)
	msg := c.outgoing(e.ClientMsgID)
	if msg == nil {
		return
	}
	if c.inFlight == msg {
		c.inFlight = nil
	}
	switch {
	case e.Err == nil:
		m.stored(c, msg, e.ID)
	case m.keep(msg, e.Err):
		wait := time.Second
		if nack, ok := errors.AsType[*client.NackError](e.Err); ok {
			wait = max(nack.After, wait)
		}
		m.do(DoLater{wait, resend{e.Key}})
		return
	default:
		m.fail(e.Key, msg, e.Err)
	}
	m.send(c)
}

// stored takes the id of an own message.
func (m *Model) stored(c *Conversation, msg *Message, id im.MsgID) {
	c.Updated = msg.At
	fresh := c.settle(msg, id)
	m.progress(c)
	if fresh {
		m.say(SentNotice{c.Key, msg})
	}
}

// keep reports whether a message that was not acknowledged stays pending: it
// never left, or the server stores a repeat once and the connection is gone,
// or the server asked to come back.
func (m *Model) keep(msg *Message, err error) bool {
	if m.Final {
		return false
	}
	if nack, ok := errors.AsType[*client.NackError](err); ok {
		msg.attempts++
		msg.attempted = false // refused is not stored
		return nack.Retryable && msg.attempts <= maxRefusals
	}
	var lost *lostError
	if !errors.As(err, &lost) {
		return false
	}
	msg.attempted = lost.written
	return !lost.written || m.safe
}

// lostError is a send whose connection ended before the answer.
type lostError struct {
	written bool // it may have reached the server
	err     error
}

func (e *lostError) Error() string {
	return e.Unwrap().Error()
}

func (e *lostError) Unwrap() error {
	if e.written {
		return errUncertain
	}
	return e.err
}

// fail gives a message up.
func (m *Model) fail(k Key, msg *Message, err error) {
	msg.Status, msg.Reason = Failed, m.Lang.Explain(err)
	if c := m.conversations[k]; c != nil && c.inFlight == msg {
		c.inFlight = nil
	}
	m.say(FailedNotice{k, msg})
}
