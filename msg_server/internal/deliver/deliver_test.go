package deliver

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"teamtalk/internal/im"
)

// line is one conversation under a clock of the test.
type line struct {
	t      testing.TB
	order  *Order
	now    time.Time
	pushed []im.MsgID
}

var conversation = im.SingleOf(7, 9)

func newLine(t testing.TB) *line {
	t.Helper()
	l := &line{t: t, now: time.Unix(1_700_000_000, 0)}
	l.order = New(func() time.Time { return l.now })
	return l
}

func (l *line) offer(id im.MsgID, since time.Duration) Outcome {
	return l.order.Offer(&Message{
		Conv: conversation, ID: id, SincePrevious: since, Push: func() { l.pushed = append(l.pushed, id) },
	})
}

func (l *line) pass(d time.Duration) {
	l.now = l.now.Add(d)
	l.order.Expire()
}

func (l *line) want(ids ...im.MsgID) {
	l.t.Helper()
	if !slices.Equal(l.pushed, ids) {
		l.t.Errorf("pushed %v, want %v", l.pushed, ids)
	}
}

const soon = 100 * time.Millisecond // after the message before

func TestOutcomes(t *testing.T) {
	t.Parallel()
	type step struct {
		id    im.MsgID // 0: time passes
		since time.Duration
		want  Outcome
	}
	cases := map[string]struct {
		steps  []step
		pushed []im.MsgID
	}{
		"in order": {
			[]step{{1, Unknown, Pushed}, {2, soon, Pushed}, {3, soon, Pushed}}, []im.MsgID{1, 2, 3},
		},
		"swapped": {
			[]step{{1, Unknown, Pushed}, {3, soon, Held}, {2, soon, Pushed}}, []im.MsgID{1, 2, 3},
		},
		"the first of all comes second": {
			[]step{{2, soon, Held}, {1, Unknown, Pushed}}, []im.MsgID{1, 2},
		},
		"three in reverse": {
			[]step{{1, 0, Pushed}, {4, soon, Held}, {3, 0, Held}, {2, soon, Pushed}}, []im.MsgID{1, 2, 3, 4},
		},
		"twice": {
			[]step{{1, 0, Pushed}, {1, 0, Late}, {3, 0, Held}, {3, 0, Duplicate}, {2, 0, Pushed}, {3, 0, Late}},
			[]im.MsgID{1, 2, 3},
		},
		"the one before was delivered long ago": {
			[]step{{57, RecentFor, Pushed}, {58, soon, Pushed}, {70, time.Hour, Pushed}}, []im.MsgID{57, 58, 70},
		},
		"cold, and the one before is under way": {
			[]step{{57, soon, Held}, {56, time.Hour, Pushed}}, []im.MsgID{56, 57},
		},
		"nobody said": {
			[]step{{5, Unknown, Pushed}, {9, Unknown, Pushed}, {7, Unknown, Late}}, []im.MsgID{5, 9},
		},
		"held ones go before a later one that waits for nothing": {
			[]step{{1, 0, Pushed}, {3, soon, Held}, {4, soon, Held}, {9, Unknown, Pushed}, {2, 0, Late}},
			[]im.MsgID{1, 3, 4, 9},
		},
		"its time is over": {
			[]step{{1, 0, Pushed}, {3, soon, Held}, {0, HoldFor, ""}, {2, soon, Late}, {4, soon, Pushed}},
			[]im.MsgID{1, 3, 4},
		},
		"not before its time": {
			[]step{{1, 0, Pushed}, {3, soon, Held}, {0, HoldFor - 1, ""}, {2, soon, Pushed}}, []im.MsgID{1, 2, 3},
		},
		"what follows goes with it": {
			[]step{{1, 0, Pushed}, {3, soon, Held}, {0, HoldFor / 2, ""}, {4, soon, Held}, {6, soon, Held}, {0, HoldFor / 2, ""}},
			[]im.MsgID{1, 3, 4},
		},
		"nothing is held longer for what came after it": {
			[]step{{1, 0, Pushed}, {9, soon, Held}, {0, HoldFor - 1, ""}, {8, soon, Held}, {0, 1, ""}},
			[]im.MsgID{1, 8, 9},
		},
		"no id": {[]step{{0, -1, ""}}, nil},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLine(t)
			for _, s := range c.steps {
				if s.id == 0 && s.since >= 0 {
					l.pass(s.since)
					continue
				}
				if s.id == 0 {
					s.want = Late
				}
				if got := l.offer(s.id, s.since); got != s.want {
					t.Errorf("%d: %s, want %s", s.id, got, s.want)
				}
			}
			l.want(c.pushed...)
		})
	}
}

// What is held is bounded: the one too many releases all.
func TestHeldAreBounded(t *testing.T) {
	t.Parallel()
	l := newLine(t)
	l.offer(1, 0)
	for id := im.MsgID(3); id < 3+maxHeld; id++ {
		if got := l.offer(id, 0); got != Held {
			t.Fatalf("%d: %s", id, got)
		}
	}
	l.want(1)
	l.offer(3+maxHeld, 0)
	if len(l.pushed) != maxHeld+2 || !slices.IsSorted(l.pushed) {
		t.Errorf("%d pushed", len(l.pushed))
	}
	if n := l.states(func(s *shard) int { return len(s.holding) }); n != 0 {
		t.Errorf("%d conversations still hold something", n)
	}
}

func (l *line) states(count func(*shard) int) (n int) {
	for i := range l.order.shards {
		n += count(&l.order.shards[i])
	}
	return n
}

// Who stops waits for nothing: all that is held goes, in its order, and what
// was waited for is late.
func TestRelease(t *testing.T) {
	t.Parallel()
	l := newLine(t)
	l.offer(1, Unknown)
	l.offer(5, soon)
	l.offer(3, soon)
	l.want(1)
	l.order.Release()
	l.want(1, 3, 5)
	if outcome := l.offer(4, soon); outcome != Late {
		t.Errorf("4 is %s", outcome)
	}
	l.order.Release()
	l.offer(6, soon)
	l.want(1, 3, 5, 6)
}

// Conversations that fell silent are forgotten; those that hold something are
// not.
func TestConversationsAreBounded(t *testing.T) {
	t.Parallel()
	l := newLine(t)
	l.offer(1, 0)
	l.offer(3, soon)
	for g := range im.GroupID(2 * maxStates) {
		l.order.Offer(&Message{Conv: im.GroupOf(g + 1), ID: 1, SincePrevious: Unknown, Push: func() {}})
	}
	n := l.states(func(s *shard) int { return len(s.young) + len(s.old) })
	if n > maxStates+shardCount {
		t.Errorf("%d conversations remembered", n)
	}
	l.offer(2, soon)
	l.want(1, 2, 3)
}

// A push may offer on: nothing is locked meanwhile.
func TestPushMayOffer(t *testing.T) {
	t.Parallel()
	l := newLine(t)
	l.order.Offer(&Message{Conv: conversation, ID: 1, SincePrevious: Unknown, Push: func() {
		l.offer(2, 0)
		l.pushed = append(l.pushed, 1)
	}})
	l.want(1, 2)
}

// Whatever comes in whatever order at whatever time: ids rise, none twice,
// what nothing can precede is pushed at once, and nothing is held for longer
// than HoldFor.
func TestAnySchedule(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(r *rapid.T) {
		l := newLine(t)
		offered := map[im.MsgID]time.Time{}
		held := map[im.MsgID]time.Time{}
		for range rapid.IntRange(1, 60).Draw(r, "steps") {
			if rapid.IntRange(0, 4).Draw(r, "what") == 0 {
				l.pass(time.Duration(rapid.IntRange(0, 1200).Draw(r, "ms")) * time.Millisecond)
			} else {
				id := im.MsgID(rapid.IntRange(1, 20).Draw(r, "id"))
				since := rapid.SampledFrom([]time.Duration{
					Unknown, 0, RecentFor / 4, RecentFor - 1, RecentFor, time.Hour,
				}).Draw(r, "since")
				before := len(l.pushed)
				outcome := l.offer(id, since)
				_, again := offered[id]
				newest := im.MsgID(0)
				if before > 0 {
					newest = l.pushed[before-1]
				}
				switch {
				case outcome == Pushed && (again || !slices.Contains(l.pushed[before:], id)):
					r.Fatalf("%d: pushed, again %v, %v", id, again, l.pushed)
				case outcome == Late && id > newest, outcome != Late && id <= newest:
					r.Fatalf("%d: %s after %d", id, outcome, newest)
				case outcome == Held && (since < 0 || since >= RecentFor || id == newest+1):
					r.Fatalf("%d: held, %v since the one before, after %d", id, since, newest)
				}
				if !again && outcome != Late {
					offered[id] = l.now
				}
				if outcome == Held {
					held[id] = l.now
				}
			}
			for i := 1; i < len(l.pushed); i++ {
				if l.pushed[i] <= l.pushed[i-1] {
					r.Fatalf("pushed %v", l.pushed)
				}
			}
			for _, id := range l.pushed {
				delete(held, id)
			}
			for id, at := range held {
				if l.order.Expire(); l.now.Sub(at) >= HoldFor && !slices.Contains(l.pushed, id) {
					r.Fatalf("%d held since %v", id, l.now.Sub(at))
				}
			}
		}
		l.pass(HoldFor)
		for id := range offered {
			if !slices.Contains(l.pushed, id) {
				r.Fatalf("%d was taken and never pushed: %v", id, l.pushed)
			}
		}
	})
}

// Many goroutines offer the messages of several conversations, twice and out
// of order, while time passes: each conversation's ids rise, and all arrive.
func TestConcurrentOffers(t *testing.T) {
	t.Parallel()
	const conversations, messages, workers = 8, 500, 8
	var now atomic.Int64
	order := New(func() time.Time { return time.Unix(0, now.Load()) })
	pushed := make([][]im.MsgID, conversations) // each appended to by one goroutine at a time
	type offer struct {
		conv int
		id   im.MsgID
	}
	var offers []offer
	for conv := range conversations {
		for id := range im.MsgID(messages) {
			offers = append(offers, offer{conv, id + 1}, offer{conv, id + 1})
		}
	}
	// Disorder as networks make it: a little.
	slices.SortStableFunc(offers, func(a, b offer) int { return int(a.id) - int(b.id) })
	for i := range offers {
		j := min(len(offers)-1, i+rand.IntN(60))
		offers[i], offers[j] = offers[j], offers[i]
	}
	var group sync.WaitGroup
	next := atomic.Int64{}
	for range workers {
		group.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= len(offers) {
					return
				}
				o := offers[i]
				order.Offer(&Message{
					Conv: im.GroupOf(im.GroupID(o.conv + 1)), ID: o.id, SincePrevious: soon,
					Push: func() { pushed[o.conv] = append(pushed[o.conv], o.id) },
				})
				if i%100 == 0 {
					order.Expire()
				}
			}
		})
	}
	group.Wait()
	now.Store(int64(HoldFor))
	order.Expire()
	for conv, ids := range pushed {
		if len(ids) != messages || !slices.IsSorted(ids) {
			t.Errorf("conversation %d: %d of %d, in order %v", conv, len(ids), messages, slices.IsSorted(ids))
		}
	}
}

func BenchmarkOffer(b *testing.B) {
	for _, conversations := range []int{1, 10_000} {
		b.Run(fmt.Sprintf("conversations=%d", conversations), func(b *testing.B) {
			order := New(time.Now)
			push := func() {}
			b.ReportAllocs()
			for i := range b.N {
				order.Offer(&Message{
					Conv: im.GroupOf(im.GroupID(i%conversations + 1)), ID: im.MsgID(i/conversations + 1),
					SincePrevious: soon, Push: push,
				})
			}
		})
	}
}
