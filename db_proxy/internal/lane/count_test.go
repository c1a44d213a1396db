package lane

import (
	"context"
	"testing"

	"teamtalk/db_proxy/internal/store"
	"teamtalk/internal/im"
)

// slowCounter holds the counts of a store back, after they were read.
type slowCounter struct {
	Store
	read, release chan struct{}
}

func (s slowCounter) UnreadOf(ctx context.Context, key store.SessionKey) (store.Unread, error) {
	unread, err := s.Store.UnreadOf(ctx, key)
	s.read <- struct{}{}
	<-s.release
	return unread, err
}

// TestNobodyWaitsForACount: messages are stored and answered while an unread
// count is being read, and the count has them all in the end.
func TestNobodyWaitsForACount(t *testing.T) {
	t.Parallel()
	b := newFixture(t)
	slow := slowCounter{b.store, make(chan struct{}), make(chan struct{})}
	b.Lanes.deps.Store = slow
	key := store.SessionKey{User: 2, Kind: im.Single, Peer: 1}

	send(t, b.Lanes, text(1, 2))
	<-slow.read
	for range 3 {
		if got := send(t, b.Lanes, text(1, 2)); got.err != nil {
			t.Fatal(got.err)
		}
		b.behind.mu.Lock()
		if got := b.behind.unread[key]; got != forgotten {
			t.Errorf("%d unread while nobody knows", got)
		}
		b.behind.mu.Unlock()
	}
	send(t, b.Lanes, text(2, 1)) // begins the count of the other one
	<-slow.read
	close(slow.release)
	b.Wait()
	if got := b.behind.unread[key]; got != 4 {
		t.Errorf("%d unread, want 4", got)
	}
	if got := b.behind.unread[store.SessionKey{User: 1, Kind: im.Single, Peer: 2}]; got != 1 {
		t.Errorf("%d unread of the other one, want 1", got)
	}

	// A read makes the count known; one that is under way is of no use then.
	other := b.another(t)
	slow.release = make(chan struct{})
	other.deps.Store = slow
	send(t, other, text(1, 2))
	<-slow.read
	done := make(chan error, 1)
	if err := other.Submit(&Read{Conv: im.SingleOf(1, 2), User: 2, Done: func(err error) { done <- err }}); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	close(slow.release)
	other.Wait()
	if got := b.behind.unread[key]; got != 0 {
		t.Errorf("%d unread after everything was read", got)
	}
}
