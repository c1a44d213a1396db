package lane

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"teamtalk/db_proxy/internal/cache"
	"teamtalk/db_proxy/internal/store"
	"teamtalk/db_proxy/internal/store/storetest"
	"teamtalk/internal/im"
)

// fixture is a set of lanes over a real database file, with users 1 … 9 and
// one group of users 1, 2 and 3.
type fixture struct {
	*Lanes
	store  *store.Store
	faults *faults
	ids    *counters
	redis  *miniredis.Miniredis
	owners []*owner // the first is that of Lanes
	group  im.GroupID
}

// faults fails calls of the store by point; ":done" points fail after the
// effect.
type faults struct {
	mu     sync.Mutex
	points map[string][]error
	seen   map[string]int // calls by point; nil while nobody counts
}

// record begins to count the calls of every point.
func (f *faults) record() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.seen = map[string]int{}
}

func (f *faults) recorded() map[string]int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return maps.Clone(f.seen)
}

func (f *faults) plan(point string, errs ...error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.points[point] = append(f.points[point], errs...)
}

func (f *faults) forget(point string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.points, point)
}

func (f *faults) hook(_ context.Context, point string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.seen != nil {
		f.seen[point]++
	}
	planned := f.points[point]
	if len(planned) == 0 {
		return nil
	}
	f.points[point] = planned[1:]
	return planned[0]
}

// counters stands for Redis.
type counters struct {
	mu   sync.Mutex
	last map[im.Conversation]im.MsgID
	down bool
}

func (c *counters) ReserveIDs(_ context.Context, want []cache.Reservation) ([]im.MsgID, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.down {
		return nil, errors.New("redis is away")
	}
	first := make([]im.MsgID, len(want))
	for i, w := range want {
		c.last[w.Conv] = max(c.last[w.Conv], w.Known)
		first[i] = c.last[w.Conv] + 1
		c.last[w.Conv] += im.MsgID(w.Count)
	}
	return first, nil
}

func (c *counters) ReturnIDs(_ context.Context, back []cache.Reservation) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, b := range back {
		if c.last[b.Conv] == b.Known+im.MsgID(b.Count) {
			c.last[b.Conv] = b.Known
		}
	}
	return nil
}

func newFixture(t testing.TB) *fixture {
	t.Helper()
	b := &fixture{faults: &faults{points: map[string][]error{}}}
	ctx, log := t.Context(), slog.New(slog.DiscardHandler)
	var err error
	b.store, err = store.Open(ctx, store.Config{Driver: store.SQLite, Path: storetest.File(t)},
		store.Deps{Log: log, Clock: time.Now, Fault: b.faults.hook})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.store.Close() })
	var users []store.NewUser
	for i := range 9 {
		users = append(users, store.NewUser{Name: fmt.Sprintf("u%d", i+1)})
	}
	if _, err := b.store.CreateUsers(ctx, users); err != nil {
		t.Fatal(err)
	}
	b.group, err = b.store.CreateGroup(ctx, store.NewGroup{Name: "g", Creator: 1, Type: 2, Members: []im.UserID{1, 2, 3}})
	if err != nil {
		t.Fatal(err)
	}
	b.ids = &counters{last: map[im.Conversation]im.MsgID{}}
	b.redis = miniredis.RunT(t)
	b.Lanes = b.another(t)
	return b
}

type outcome struct {
	Sent
	err error
}

// send submits and waits for the outcome.
func send(t testing.TB, l *Lanes, s *Send) outcome {
	t.Helper()
	done := make(chan outcome, 1)
	s.Done = func(sent Sent, err error) { done <- outcome{sent, err} }
	if err := l.Submit(s); err != nil {
		t.Fatal(err)
	}
	return <-done
}

func text(from, to im.UserID) *Send {
	return &Send{Conv: im.SingleOf(from, to), From: from, Type: im.SingleText, Content: "hello"}
}

func groupText(from im.UserID, g im.GroupID) *Send {
	return &Send{Conv: im.GroupOf(g), From: from, Type: im.GroupText, Content: "hello"}
}

func TestIDsFollowArrival(t *testing.T) {
	t.Parallel()
	b := newFixture(t)
	const n = 500
	var mu sync.Mutex
	got := map[im.Conversation][]im.MsgID{}
	var all sync.WaitGroup
	for i := range n {
		s := text(im.UserID(i%2+1), im.UserID((i+1)%2+1))
		if i%3 == 0 {
			s = groupText(2, b.group)
		}
		all.Add(1)
		s.Done = func(sent Sent, err error) {
			defer all.Done()
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			got[s.Conv] = append(got[s.Conv], sent.ID)
		}
		if err := b.Submit(s); err != nil {
			t.Fatal(err)
		}
	}
	all.Wait()
	for conv, ids := range got {
		for i, id := range ids {
			if id != im.MsgID(i+1) {
				t.Fatalf("%s: message %d got id %d", conv, i+1, id)
			}
		}
	}
	if len(got) != 2 {
		t.Fatalf("%d conversations", len(got))
	}
}

func TestWhoMayNotSend(t *testing.T) {
	t.Parallel()
	b := newFixture(t)
	if err := b.store.SetUserStatus(t.Context(), "u9", 3); err != nil {
		t.Fatal(err)
	}
	cases := map[string]struct {
		send *Send
		code im.Code
	}{
		"receiver does not exist": {text(1, 77), im.NotFound},
		"receiver has left":       {text(1, 9), im.NotFound},
		"sender has left":         {text(9, 1), im.Denied},
		"group does not exist":    {groupText(1, 4711), im.NotFound},
		"sender is not a member":  {groupText(4, b.group), im.Denied},
		"nobody":                  {text(0, 1), im.Denied},
		"content is not UTF-8":    {&Send{Conv: im.SingleOf(1, 2), From: 1, Type: im.SingleText, Content: "\xff"}, im.Invalid},
		"content over the column": {&Send{Conv: im.SingleOf(1, 2), From: 1, Type: im.SingleText, Content: string(make([]byte, 5000))}, im.TooLarge},
		"type of the other kind":  {&Send{Conv: im.SingleOf(1, 2), From: 1, Type: im.GroupText, Content: "x"}, im.Invalid},
	}
	for name, c := range cases {
		if got := send(t, b.Lanes, c.send); im.CodeOf(got.err) != c.code || got.ID != 0 {
			t.Errorf("%s: id %d, err %v; want %v", name, got.ID, got.err, c.code)
		}
	}
}

func TestABadRowFailsAlone(t *testing.T) {
	t.Parallel()
	b := newFixture(t)
	// One worker run takes all of them: a Change in front holds the lane.
	release := make(chan struct{})
	hold := &Change{Conv: im.SingleOf(1, 2), Refused: func(error) {}, Run: func(context.Context) { <-release }}
	if err := b.Submit(hold); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var ids []im.MsgID
	bad := 0
	var all sync.WaitGroup
	for i := range 20 {
		s := text(1, 2)
		if i == 7 {
			s.Content = "\xff"
		}
		all.Add(1)
		s.Done = func(sent Sent, err error) {
			defer all.Done()
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				bad++
				return
			}
			ids = append(ids, sent.ID)
		}
		if err := b.Submit(s); err != nil {
			t.Fatal(err)
		}
	}
	close(release)
	all.Wait()
	if bad != 1 || len(ids) != 19 || !slices.IsSorted(ids) {
		t.Fatalf("%d refused, ids %v", bad, ids)
	}
}

func TestRepeatFindsTheFirstID(t *testing.T) {
	t.Parallel()
	b := newFixture(t)
	op := im.NewOperationID(time.Now())
	first := text(1, 2)
	first.Op = op
	want := send(t, b.Lanes, first)
	if want.err != nil {
		t.Fatal(want.err)
	}
	owners := map[string]*Lanes{"same owner": b.Lanes, "another owner": b.another(t)}
	for name, owner := range owners {
		again := text(1, 2)
		again.Op = op
		if got := send(t, owner, again); got.err != nil || got.ID != want.ID || !got.Repeat {
			t.Errorf("%s: %+v, want a repeat of %d", name, got, want.ID)
		}
	}
	if next := send(t, b.Lanes, text(2, 1)); next.ID != want.ID+1 {
		t.Errorf("next id %d, want %d: a repeat must leave no gap", next.ID, want.ID+1)
	}
}

// What the database stored after it was given up, and nobody was told of, is
// new to whoever repeats it.
func TestStoredAfterItWasGivenUp(t *testing.T) {
	t.Parallel()
	b := newFixture(t)
	b.cfg.Patience = 2 * time.Second
	message := text(1, 2)
	message.Op = im.NewOperationID(time.Now())
	again := *message
	// The answer is lost, and so is every later one while somebody waits.
	b.faults.plan("commit:done", errTimedOut)
	b.faults.plan("find_operations", slices.Repeat([]error{errTimedOut}, 1000)...)
	if got := send(t, b.Lanes, message); im.CodeOf(got.err) != im.Unavailable {
		t.Fatalf("%+v, %v", got.Sent, got.err)
	}
	b.faults.forget("find_operations")
	b.Wait()
	b.cfg.Patience = time.Minute
	if got := send(t, b.Lanes, &again); got.err != nil || got.ID != 1 || got.Repeat {
		t.Errorf("%+v, %v", got.Sent, got.err)
	}
	again.ended = false
	if got := send(t, b.Lanes, &again); got.err != nil || got.ID != 1 || !got.Repeat {
		t.Errorf("told, and repeated: %+v, %v", got.Sent, got.err)
	}
}

func TestLostAnswerOfACommit(t *testing.T) {
	t.Parallel()
	b := newFixture(t)
	lost := im.Errorf(im.Unavailable, "connection lost")
	b.faults.plan("commit:done", errTimedOut)
	if got := send(t, b.Lanes, text(1, 2)); got.err != nil || got.ID != 1 || got.Repeat {
		t.Fatalf("after a lost answer: %+v, %v", got.Sent, got.err)
	}
	b.faults.plan("commit", lost, lost)
	if got := send(t, b.Lanes, text(1, 2)); got.err != nil || got.ID != 2 {
		t.Fatalf("after two failed commits: %+v, %v", got.Sent, got.err)
	}
	last, err := b.store.History(t.Context(), store.ConvRef{Conv: im.SingleOf(1, 2), Relation: 1}, 0, 10, store.Since{})
	if err != nil || len(last) != 2 {
		t.Fatalf("%d rows, %v; want 2", len(last), err)
	}
}

// tardy is a database that goes on with a transaction after the connection it
// came over was lost: it is committed after the question whether it was.
type tardy struct {
	Store
	lose int // of the next commits, how many
	lost []*store.Batch
}

func (d *tardy) Commit(ctx context.Context, b *store.Batch) error {
	if d.lose > 0 {
		d.lose--
		d.lost = append(d.lost, b)
		return errTimedOut
	}
	for _, lost := range d.lost {
		if err := d.Store.Commit(ctx, lost); err != nil {
			return err
		}
	}
	d.lost = nil
	return d.Store.Commit(ctx, b)
}

// A message is new to everybody, and counted, although the commit whose answer
// was lost was done only after it was looked for.
func TestACommitThatIsLate(t *testing.T) {
	t.Parallel()
	b := newFixture(t)
	d := &tardy{Store: b.store}
	b.deps.Store = d
	if got := send(t, b.Lanes, text(1, 2)); got.err != nil || got.ID != 1 {
		t.Fatalf("%+v, %v", got.Sent, got.err)
	}
	if _, err := b.ask(t.Context(), b.owners[0], 2); err != nil {
		t.Fatal(err)
	}
	d.lose = 1
	if got := send(t, b.Lanes, text(1, 2)); got.err != nil || got.ID != 2 || got.Repeat {
		t.Errorf("after a commit that was late: %+v, %v", got.Sent, got.err)
	}
	b.owners[0].settle()
	key := store.SessionKey{User: 2, Kind: im.Single, Peer: 1}
	if n, known := b.held(t, key); known && n != 2 {
		t.Errorf("Redis has %d unread, want 2", n)
	}
}

func TestStorageAwayIsSaid(t *testing.T) {
	t.Parallel()
	b := newFixture(t)
	b.cfg.Patience = 100 * time.Millisecond
	away := make([]error, 1000)
	for i := range away {
		away[i] = im.Errorf(im.Unavailable, "away")
	}
	b.faults.plan("commit", away...)
	if got := send(t, b.Lanes, text(1, 2)); im.CodeOf(got.err) != im.Unavailable {
		t.Fatalf("%+v, %v", got.Sent, got.err)
	}
	if n := testutil.ToFloat64(b.metrics.gaps); n != 0 {
		t.Errorf("%v gaps counted although the id could be given back", n)
	}
	b.faults.forget("commit")
	b.Wait()
	b.cfg.Patience = time.Minute
	if got := send(t, b.Lanes, text(1, 2)); got.err != nil || got.ID != 1 {
		t.Errorf("after the storage is back: %+v, %v; want id 1", got.Sent, got.err)
	}
}

func TestTwoOwners(t *testing.T) {
	t.Parallel()
	b := newFixture(t)
	b.ids.down = true // only the fence in SQL is left
	owners := []*Lanes{b.Lanes, b.another(t)}
	const each = 100
	var mu sync.Mutex
	seen := map[im.MsgID]int{}
	var all sync.WaitGroup
	for i := range 2 * each {
		s := text(1, 2)
		all.Add(1)
		s.Done = func(sent Sent, err error) {
			defer all.Done()
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			seen[sent.ID]++
		}
		if err := owners[i%2].Submit(s); err != nil {
			t.Fatal(err)
		}
	}
	all.Wait()
	for id := im.MsgID(1); id <= 2*each; id++ {
		if seen[id] != 1 {
			t.Fatalf("id %d given %d times", id, seen[id])
		}
	}
}

// TestIDsSetAsideAreTakenAgain: a db_proxy that died between setting ids aside
// and storing leaves no hole, in the counter as little as in the messages.
func TestIDsSetAsideAreTakenAgain(t *testing.T) {
	t.Parallel()
	b := newFixture(t)
	conv := im.SingleOf(1, 2)
	send(t, b.Lanes, text(1, 2))
	b.ids.mu.Lock()
	b.ids.last[conv] += 3
	b.ids.mu.Unlock()
	for want := im.MsgID(2); want <= 4; want++ {
		if got := send(t, b.Lanes, text(1, 2)); got.err != nil || got.ID != want {
			t.Errorf("id %d, %v; want %d", got.ID, got.err, want)
		}
	}
	if b.ids.last[conv] != 4 {
		t.Errorf("the counter stands at %d, want 4", b.ids.last[conv])
	}
	// Who has stored under them meanwhile keeps them.
	send(t, b.another(t), text(2, 1))
	if got := send(t, b.Lanes, text(1, 2)); got.err != nil || got.ID != 6 {
		t.Errorf("id %d, %v; want 6", got.ID, got.err)
	}
}

func TestFullLaneRefuses(t *testing.T) {
	t.Parallel()
	b := newFixture(t)
	b.cfg.Waiting = 2
	release := make(chan struct{})
	started := make(chan struct{})
	conv := im.SingleOf(1, 2)
	nothing := func(error) {}
	_ = b.Submit(&Change{Conv: conv, Refused: nothing, Run: func(context.Context) { close(started); <-release }})
	<-started
	for range 2 {
		if err := b.Submit(&Change{Conv: conv, Refused: nothing, Run: func(context.Context) {}}); err != nil {
			t.Fatal(err)
		}
	}
	s := text(1, 2)
	s.Done = func(Sent, error) { t.Error("completed although refused") }
	if err := b.Submit(s); im.CodeOf(err) != im.Busy {
		t.Errorf("Submit = %v, want busy", err)
	}
	close(release)
	b.Wait()
}

// A database that is known to be away keeps nobody waiting to the end of their
// patience: another db_proxy may serve them.
func TestAwayForLong(t *testing.T) {
	t.Parallel()
	b := newFixture(t)
	b.faults.plan("commit", slices.Repeat([]error{store.ErrAway}, 1000)...)
	b.faults.plan("find_operations", slices.Repeat([]error{store.ErrAway}, 1000)...)
	for range 2 { // the second one waits no longer
		if got := send(t, b.Lanes, text(1, 2)); !errors.Is(got.err, store.ErrAway) {
			t.Fatalf("%+v, %v", got.Sent, got.err)
		}
	}
	b.faults.forget("commit")
	b.faults.forget("find_operations")
	if got := send(t, b.Lanes, text(1, 2)); got.err != nil || got.ID != 1 {
		t.Errorf("once it is back: %+v, %v", got.Sent, got.err)
	}
}
