package store

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"teamtalk/internal/im"
	"teamtalk/internal/secret"
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
		Host: db.Host, Port: db.Port, DB: db.Name, User: db.User, Password: secret.New(db.Password), MaxConns: 4,
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
	away := func() bool { return errors.Is(ask(), ErrAway) }
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
	patient := make(chan error, 1) // longer than the socket's own patience, 30 s
	go func() {
		_, err := s.LatestUserUpdate(context.WithoutCancel(t.Context()))
		patient <- err
	}()
	testenv.Eventually(t, 30*time.Second, away, "everybody waits for a server that hangs")
	select {
	case err := <-patient:
		if im.CodeOf(err) != im.Unavailable {
			t.Errorf("a call under way: %v", err)
		}
	case <-time.After(20 * time.Second):
		t.Error("a call under way goes on although the server is known to be away")
	}
	if err := s.Ping(t.Context()); !errors.Is(err, ErrAway) {
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

// Whoever closes a store while its server is away does not hear that it is
// back.
func TestNothingIsBackAtAStop(t *testing.T) {
	t.Parallel()
	db, server := testenv.OwnMariaDB(t)
	var log testenv.Output
	deps := testDeps()
	deps.Clock, deps.Log = time.Now, slog.New(slog.NewTextHandler(&log, nil))
	s, err := Open(t.Context(), Config{Driver: MySQL, Master: Pool{
		Host: db.Host, Port: db.Port, DB: db.Name, User: db.User, MaxConns: 4,
	}}, deps)
	check(t, err)
	check(t, server.Pause())
	testenv.Eventually(t, 30*time.Second, func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := s.LatestUserUpdate(ctx)
		return errors.Is(err, ErrAway)
	}, "nobody notices that it hangs")
	check(t, s.Close())
	check(t, server.Resume())
	if text := log.String(); !strings.Contains(text, "is away") || strings.Contains(text, "is back") {
		t.Errorf("the log says:\n%s", text)
	}
}

// A password that was changed at the server, and then here, is used for the
// connections that are made from then on.
func TestPasswordIsReplaced(t *testing.T) {
	t.Parallel()
	db, server := testenv.OwnMariaDB(t)
	for _, text := range []string{
		"CREATE USER ordinary@'%' IDENTIFIED BY 'first'", "GRANT ALL ON " + db.Name + ".* TO ordinary@'%'",
	} {
		check(t, server.Exec(t.Context(), text))
	}
	password := secret.New("first")
	deps := testDeps()
	deps.Clock = time.Now
	s, err := Open(t.Context(), Config{Driver: MySQL, Master: Pool{
		Host: db.Host, Port: db.Port, DB: db.Name, User: "ordinary", Password: password, MaxConns: 4,
	}}, deps)
	check(t, err)
	defer s.Close()
	check(t, server.Exec(t.Context(), "ALTER USER ordinary@'%' IDENTIFIED BY 'second'"))
	check(t, server.Exec(t.Context(), "KILL USER ordinary"))
	if _, err := s.LatestUserUpdate(t.Context()); err == nil {
		t.Fatal("the password that was changed still opens the database")
	}
	password.Replace(secret.New("second"))
	testenv.Eventually(t, 30*time.Second, func() bool {
		_, err := s.LatestUserUpdate(t.Context())
		return err == nil
	}, "the new password is not used")
}
