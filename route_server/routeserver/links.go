package routeserver

import (
	"slices"

	"teamtalk/internal/link"
	"teamtalk/internal/wire"
	"teamtalk/route_server/internal/envelope"
	"teamtalk/route_server/internal/presence"
)

// roster is the links that are up. It is never changed, only replaced.
type roster struct {
	all  []*link.Link // in the order in which they came up
	byID map[presence.Server]*link.Link
}

func newRoster(all []*link.Link) *roster {
	r := &roster{all: all, byID: make(map[presence.Server]*link.Link, len(all))}
	for _, l := range all {
		r.byID[serverOf(l)] = l
	}
	return r
}

// serverOf is the number by which presence knows a link.
func serverOf(l *link.Link) presence.Server { return presence.Server(l.ID()) }

// LinkUp is link.Handler's.
func (s *Server) LinkUp(l *link.Link) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.links.Store(newRoster(append(slices.Clone(s.links.Load().all), l)))
}

// LinkDown is link.Handler's. Users whose msg_server is lost are off-line
// until it announces them again. Source: docs/protocol/defects.md C5, C6.
func (s *Server) LinkDown(l *link.Link) {
	s.mu.Lock()
	rest := slices.DeleteFunc(slices.Clone(s.links.Load().all), func(other *link.Link) bool { return other == l })
	s.links.Store(newRoster(rest))
	s.mu.Unlock()
	if s.stopping.Load() {
		return
	}
	if users := s.presence.Remove(serverOf(l)); users > 0 {
		s.log.Warn("users lost with their msg_server", "peer", l.Addr(), "users", users)
	}
	s.presence.Publish(s.notify)
}

// LinkPDU is link.Handler's. What a link says is handled before anything it
// says later: a relay that follows a 070A sees its effect, and so reaches users
// who have just logged in.
func (s *Server) LinkPDU(l *link.Link, pdu wire.PDU) {
	handle, ok := s.commands[pdu.Command]
	if !ok {
		s.metrics.unknownCommand.Inc()
		s.log.Debug("unknown command", "peer", l.Addr(), "cmd", uint16(pdu.Command))
		return
	}
	handle(l, pdu)
}

// others sends one PDU to every link but one, to originals as they know it.
func (s *Server) others(from *link.Link, command wire.Command, body []byte) {
	known := envelope.Original(body)
	for _, l := range s.links.Load().all {
		switch {
		case l == from:
		case l.Has(link.CapRelay):
			s.sent(l.SendPDU(command, 0, body))
		default:
			s.sent(l.SendPDU(command, 0, known))
		}
	}
}

// sent counts what a link did not take: it is closing, or its peer does not
// read and it will be closed.
func (s *Server) sent(taken bool) {
	if !taken {
		s.metrics.linkClosing.Inc()
	}
}
