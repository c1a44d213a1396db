package dbproxy

import (
	"context"

	"google.golang.org/protobuf/proto"

	"teamtalk/db_proxy/internal/store"
	"teamtalk/internal/im"
	"teamtalk/internal/link"
	"teamtalk/internal/wire"
	"teamtalk/pb/extension"
)

// userChanged hears of every change of an account, and ends its log-ins when
// it may not log in any more: whoever changed it, over whichever db_proxy.
func (s *Server) userChanged(change store.Change) {
	if change.Kind != store.UserChanged {
		return
	}
	user := im.UserID(change.Subject)
	s.queries.Submit(func() { // refused: his sends are, and so is his next log-in
		ctx, cancel := context.WithTimeout(context.Background(), queryTimeout) //nolint:forbidigo // nobody waits for it
		defer cancel()
		account, err := s.directory.User(ctx, user)
		if im.CodeOf(err) == im.NotFound || err == nil && account.Status != 0 {
			s.tellAll(link.CapDelivery, wire.UserClosed, &extension.IMUserClosed{UserId: proto.Uint32(uint32(user))})
		}
	})
}

// tellAll sends to every peer with a capability.
func (s *Server) tellAll(capability string, command wire.Command, m proto.Message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for l := range s.links {
		if l.Has(capability) {
			l.SendMessage(command, 0, m)
		}
	}
}
