package msgserver

import (
	"time"

	"teamtalk/internal/im"
	"teamtalk/internal/trace"
	"teamtalk/msg_server/internal/deliver"
)

// What this role notes of messages for "teamtalk trace".

// traceSender notes an event of a message at the connection it came from.
func (s *Server) traceSender(p *pending, event trace.Event, id im.MsgID, at time.Time, detail uint32) {
	e := trace.Record{
		At: at.UnixNano(), Event: event, Conv: p.conv, Msg: id, Op: p.op, User: p.user, Conn: p.connID, Detail: detail,
	}
	if p.client != nil {
		if session := p.client.session.Load(); session != nil {
			e.Client = session.Client
		}
	}
	s.trace.Note(&e)
}

// traceMessage notes an event of a message without a terminal.
func (s *Server) traceMessage(event trace.Event, conv im.Conversation, id im.MsgID) {
	s.trace.Note(&trace.Record{Event: event, Conv: conv, Msg: id})
}

// traceOutcome notes what became of a message that was not pushed at once.
func (s *Server) traceOutcome(m *deliver.Message, outcome deliver.Outcome) {
	switch outcome {
	case deliver.Held:
		s.traceMessage(trace.Held, m.Conv, m.ID)
	case deliver.Late:
		s.traceMessage(trace.Late, m.Conv, m.ID)
	case deliver.Duplicate:
		s.traceMessage(trace.Duplicate, m.Conv, m.ID)
	case deliver.Pushed: // at each terminal
	}
}

// traceDelivered returns what notes that a message was pushed to a terminal.
func (s *Server) traceDelivered(conv im.Conversation, id im.MsgID) func(*Session) {
	var at int64
	return func(to *Session) {
		if at == 0 {
			at = s.clock().UnixNano()
		}
		s.trace.Note(&trace.Record{
			At: at, Event: trace.Delivered, Conv: conv, Msg: id, User: to.User, Conn: to.ConnID, Client: to.Client,
		})
	}
}

// traceTerminal notes what a client says of a message, or where it was sent
// it; of the messages of its conversation up to id where upTo is 1.
func (s *Server) traceTerminal(c *client, event trace.Event, conv im.Conversation, id im.MsgID, upTo uint32) {
	session := c.session.Load()
	if session == nil || id == 0 {
		return
	}
	s.trace.Note(&trace.Record{
		Event: event, Conv: conv, Msg: id, User: session.User, Conn: session.ConnID, Client: session.Client, Detail: upTo,
	})
}
