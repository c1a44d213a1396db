package directory

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"time"

	"teamtalk/db_proxy/internal/store"
	"teamtalk/internal/im"
	"teamtalk/internal/testenv"
)

// changeLog is a Store of which only the change log is used.
type changeLog struct {
	Store

	mu      sync.Mutex
	entries []store.Change
	broken  bool
	failed  int
}

func (l *changeLog) add(kind store.ChangeKind, subject uint32) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.entries = append(l.entries, store.Change{ID: uint64(len(l.entries) + 1), Kind: kind, Subject: subject})
}

func (l *changeLog) breakDown(broken bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.broken, l.failed = broken, 0
}

func (l *changeLog) failures() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.failed
}

var errAway = errors.New("the database is away")

func (l *changeLog) LastChange(context.Context) (uint64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.broken {
		l.failed++
		return 0, errAway
	}
	return uint64(len(l.entries)), nil
}

func (l *changeLog) Changes(_ context.Context, after uint64, limit int) (all []store.Change, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.broken {
		l.failed++
		return nil, errAway
	}
	for _, c := range l.entries {
		if c.ID > after && len(all) < limit {
			all = append(all, c)
		}
	}
	return all, nil
}

func (l *changeLog) Users(_ context.Context, ids []im.UserID) (all []store.User, err error) {
	for _, id := range ids {
		all = append(all, store.User{ID: id})
	}
	return all, nil
}

// What happens while the log cannot be read is told afterwards, once, and what
// happened before the start is not.
func TestEveryChangeIsTold(t *testing.T) {
	t.Parallel()
	log := &changeLog{}
	log.add(store.UserChanged, 1)
	d := New(log, slog.New(slog.DiscardHandler), time.Now)
	told := make(chan uint32, 100)
	d.OnChange(func(c store.Change) { told <- c.Subject })
	if _, err := d.User(t.Context(), 7); err != nil {
		t.Fatal(err)
	}

	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { _ = d.Run(ctx) })
	defer running.Wait()
	defer cancel()
	cached := func() bool {
		_, missing, _ := d.users.split([]im.UserID{7}, time.Now())
		return len(missing) == 0
	}
	testenv.Eventually(t, time.Minute, func() bool { return !cached() }, "what was read before the start is not forgotten")

	wait := func(want uint32) {
		t.Helper()
		select {
		case got := <-told:
			if got != want {
				t.Fatalf("told of a change of %d, want %d", got, want)
			}
		case <-time.After(time.Minute):
			t.Fatalf("not told of the change of %d", want)
		}
	}
	log.add(store.UserChanged, 2)
	wait(2)
	log.breakDown(true)
	testenv.Eventually(t, time.Minute, func() bool { return log.failures() > 1 }, "the log was not read")
	log.add(store.UserChanged, 3)
	log.add(store.GroupChanged, 4)
	log.breakDown(false)
	wait(3)
	wait(4)
	log.add(store.SessionRemoved, 5)
	wait(5)
	if len(told) != 0 {
		t.Errorf("told of a change twice: of %d", <-told)
	}
}
