package lane

import (
	"testing"

	"teamtalk/db_proxy/internal/store"
	"teamtalk/internal/im"
)

// TestManyUnreadAreNotCounted: after a start nobody waits until thousands of
// unread messages are counted. The count is forgotten, until it is read.
func TestManyUnreadAreNotCounted(t *testing.T) {
	t.Parallel()
	b := newFixture(t)
	const many = maxCounted + 1
	done := make(chan error, many)
	for range many {
		s := text(1, 2)
		s.Done = func(_ Sent, err error) { done <- err }
		if err := b.Submit(s); err != nil {
			t.Fatal(err)
		}
	}
	for range many {
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	key := store.SessionKey{User: 2, Kind: im.Single, Peer: 1}
	want := func(step string, n uint32) {
		t.Helper()
		b.behind.mu.Lock()
		defer b.behind.mu.Unlock()
		if got := b.behind.unread[key]; got != n {
			t.Errorf("%s: %d unread, want %d", step, got, n)
		}
	}
	want("counted from the first message on", many)

	after := b.another(t)
	send(t, after, text(1, 2))
	want("after a start", forgotten)
	read := make(chan error, 1)
	if err := after.Submit(&Read{Conv: im.SingleOf(1, 2), User: 2, Done: func(err error) { read <- err }}); err != nil {
		t.Fatal(err)
	}
	if err := <-read; err != nil {
		t.Fatal(err)
	}
	want("everything is read", 0)
	send(t, after, text(1, 2))
	want("and counted from there", 1)
}
