package dbproxy

import (
	"context"
	"slices"
	"time"

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
	s.endIfClosed(im.UserID(change.Subject))
}

// endIfClosed ends the log-ins of an account that may not log in any more.
func (s *Server) endIfClosed(user im.UserID) {
	s.queries.Submit(func() { // refused: his sends are, and so is his next log-in
		ctx, cancel := context.WithTimeout(context.Background(), queryTimeout) //nolint:forbidigo // nobody waits for it
		defer cancel()
		if im.CodeOf(s.directory.Active(ctx, user)) == im.Denied {
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

// accountsEvery is how often the accounts are compared with those of before.
const accountsEvery = 4 * time.Second

// watchAccounts finds the accounts that were closed or deleted by plain SQL,
// of which no change log tells, and ends their log-ins.
func (s *Server) watchAccounts(ctx context.Context) {
	ticker := time.NewTicker(accountsEvery)
	defer ticker.Stop()
	var known activeAccounts
	for {
		if err := s.compareAccounts(ctx, &known); err != nil {
			s.log.Debug("accounts not compared", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// activeAccounts are those that may log in. The zero value: not known.
type activeAccounts struct {
	mark  store.ActiveMark
	users []im.UserID // ascending
	known bool
}

// compareAccounts ends the log-ins of those who were active before and are not
// any more.
func (s *Server) compareAccounts(ctx context.Context, before *activeAccounts) error {
	mark, err := s.store.ActiveMark(ctx)
	if err != nil || before.known && mark == before.mark {
		return err
	}
	users, err := s.store.ActiveUsers(ctx)
	if err != nil {
		return err
	}
	for _, user := range before.users {
		if _, still := slices.BinarySearch(users, user); !still {
			s.directory.ForgetUser(user)
			s.endIfClosed(user)
		}
	}
	*before = activeAccounts{mark: mark, users: users, known: true}
	return nil
}
