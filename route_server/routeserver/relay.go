package routeserver

import (
	"teamtalk/internal/link"
	"teamtalk/internal/trace"
	"teamtalk/internal/wire"
	"teamtalk/route_server/internal/envelope"
	"teamtalk/route_server/internal/presence"
)

// workspace is what one relay needs while it is passed on.
type workspace struct {
	relay  envelope.Relay
	routes presence.Routes
	frame  []byte
}

// maxKept keeps one large relay from pinning memory for ever.
const maxKept = 256 << 10

// relay passes an envelope (0783) on to the other msg_servers that hold a
// connection of one of its targets, with those targets only; without targets,
// to all of them. An original cannot read envelopes: it gets the letter, which
// it delivers to whom it knows.
func (s *Server) relay(from *link.Link, pdu wire.PDU) {
	if !from.Has(link.CapRelay) {
		s.metrics.notCapable.Inc()
		return
	}
	w := s.opened.Get().(*workspace)
	defer s.release(w)
	if err := w.relay.Scan(pdu.Body); err != nil {
		s.metrics.badBody.Inc()
		return
	}
	links := s.links.Load()
	if len(w.relay.Targets) > 0 {
		s.metrics.targeted.Inc()
		passed := uint32(0)
		for _, group := range s.presence.Locate(w.relay.Targets, serverOf(from), &w.routes) {
			if l := links.byID[group.Server]; l != nil && l.Has(link.CapRelay) {
				w.frame = w.relay.AppendTo(w.frame[:0], group.Targets)
				s.sent(l.Send(w.frame))
				passed++
			}
		}
		if conv, id, ok := w.relay.Place(); ok {
			s.trace.Note(&trace.Record{Event: trace.Relayed, Conv: conv, Msg: id, Conn: from.ID(), Detail: passed})
		}
	} else {
		s.metrics.broadcast.Inc()
	}
	for _, l := range links.all {
		switch {
		case l == from:
		case l.Has(link.CapRelay):
			if len(w.relay.Targets) == 0 {
				s.sent(l.SendPDU(wire.Relay, 0, pdu.Body))
			}
		case original(w.relay.Command):
			s.sent(l.SendPDU(w.relay.Command, 0, envelope.Original(w.relay.Body)))
		}
	}
}

func (s *Server) release(w *workspace) {
	if cap(w.frame) <= maxKept && cap(w.relay.Targets) <= maxKept {
		w.relay.Forget()
		s.opened.Put(w)
	}
}

// original reports whether original msg_servers take a command from a
// route_server. Source: docs/protocol/commands.md.
func original(command wire.Command) bool {
	switch command {
	case wire.MsgData, wire.P2PCommand, wire.MsgReadNotify, wire.ServerKickUser, wire.GroupChangeMemberNotify,
		wire.FileNotify, wire.RemoveSessionNotify, wire.SignInfoChangedNotify:
		return true
	}
	return false
}
