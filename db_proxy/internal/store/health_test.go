package store

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"teamtalk/internal/im"
	"teamtalk/internal/testenv"
)

// A server that hangs, and one that is gone, cost their callers nothing once
// that is known; when it is back, so are the answers.
func TestServerAway(t *testing.T) {
	t.Parallel()
	db, server := testenv.OwnMariaDB(t)
	deps := testDeps()
	deps.Clock = time.Now
	s, err := Open(t.Context(), Config{Driver: MySQL, Master: Pool{
		Host: db.Host, Port: db.Port, DB: db.Name, User: db.User, Password: db.Password, MaxConns: 4,
		AcquireTimeout: 500 * time.Millisecond,
	}}, deps)
	check(t, err)
	defer s.Close()
	ask := func() error {
		ctx, cancel := context.WithTimeout(t.Context(), 6*time.Second)
		defer cancel()
		_, err := s.LatestUserUpdate(ctx)
		return err
	}
	away := func() bool { return errors.Is(ask(), errAway) }
	back := func() bool { return ask() == nil }
	// Those who are under way when it stops answering, more than there are
	// connections, run out of time.
	check(t, server.Pause())
	var all sync.WaitGroup
	for range 12 {
		all.Go(func() {
			if err := ask(); im.CodeOf(err) != im.Unavailable {
				t.Errorf("a server that hangs: %v", err)
			}
		})
	}
	testenv.Eventually(t, 30*time.Second, away, "everybody waits for a server that hangs")
	if err := s.Ping(t.Context()); !errors.Is(err, errAway) {
		t.Errorf("ready on a database that is away: %v", err)
	}
	all.Wait()
	check(t, server.Resume())
	testenv.Eventually(t, 30*time.Second, back, "nobody notices that it goes on")

	check(t, server.Kill())
	testenv.Eventually(t, 30*time.Second, away, "everybody asks a server that is gone")
	check(t, server.Start(t.Context()))
	testenv.Eventually(t, 30*time.Second, back, "nobody notices that it is back")

	// A statement that takes long is no reason to leave a server alone.
	err = s.read(t.Context(), "slow", s.exact, func(q querier) error {
		_, err := number(t.Context(), q, "SELECT SLEEP(1.5)")
		return err
	})
	check(t, err)
	if away() {
		t.Error("a server that answers is left alone")
	}
}
