package lane

import (
	"context"
	"testing"

	"teamtalk/internal/im"
)

// Who asks what is unread waits for his own reads and for nobody else's.
func TestAfterReads(t *testing.T) {
	t.Parallel()
	b := newFixture(t)
	send(t, b.Lanes, text(1, 2))
	now := make(chan string, 10)
	b.AfterReads(2, func() { now <- "at once" })
	if len(now) != 1 {
		t.Fatal("waits for nothing")
	}
	<-now
	started, release := make(chan struct{}), make(chan struct{})
	conv := im.SingleOf(1, 2)
	if err := b.Submit(&Change{Conv: conv, Refused: func(error) {}, Run: func(context.Context) {
		close(started)
		<-release
	}}); err != nil {
		t.Fatal(err)
	}
	<-started
	for range 2 {
		if err := b.Submit(&Read{Conv: conv, User: 2, Upto: 1, Done: func(error) { now <- "read" }}); err != nil {
			t.Fatal(err)
		}
	}
	b.AfterReads(2, func() { now <- "after" })
	b.AfterReads(1, func() { now <- "somebody else" })
	if got := <-now; got != "somebody else" {
		t.Errorf("%s comes first", got)
	}
	close(release)
	for _, want := range []string{"read", "read", "after"} {
		if got := <-now; got != want {
			t.Errorf("%s instead of %s", got, want)
		}
	}
	b.Wait()
	if len(b.reading.users) != 0 || len(now) != 0 {
		t.Errorf("%d users and %d calls left", len(b.reading.users), len(now))
	}
}

// A lane that hangs keeps nobody waiting for long.
func TestAfterReadsIsBounded(t *testing.T) {
	t.Parallel()
	b := newFixture(t)
	b.cfg.Waiting = 2
	started, release := make(chan struct{}), make(chan struct{})
	conv := im.SingleOf(1, 2)
	if err := b.Submit(&Change{Conv: conv, Refused: func(error) {}, Run: func(context.Context) {
		close(started)
		<-release
	}}); err != nil {
		t.Fatal(err)
	}
	<-started
	for range 3 { // the last is refused
		_ = b.Submit(&Read{Conv: conv, User: 2, Upto: 1})
	}
	asked := make(chan struct{})
	b.AfterReads(2, func() { close(asked) })
	<-asked
	close(release)
	b.Wait()
	if len(b.reading.users) != 0 {
		t.Errorf("%d users left", len(b.reading.users))
	}
}
