package msgserver

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"teamtalk/internal/dblink"
	"teamtalk/internal/im"
	"teamtalk/internal/link"
	"teamtalk/pb/message"
)

// sendsWithoutDB returns the sends of a server that has no db_proxy, and a
// clock that the test moves.
func sendsWithoutDB(t testing.TB) (*sends, *time.Time) {
	t.Helper()
	now := time.Now()
	s := &Server{
		clock: func() time.Time { return now }, metrics: newMetrics(prometheus.NewRegistry()),
		db: dblink.New(nil, 1, nil, nil),
	}
	return newSends(s), &now
}

func (s *sends) check(t *testing.T) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	n, waiting := 0, 0
	for p, before := s.oldest, uint64(0); p != nil; p = p.younger {
		if p.id <= before || s.pending[p.id] != p {
			t.Fatalf("send %d stands behind %d", p.id, before)
		}
		before = p.id
		n++
		if p.link == nil {
			waiting++
		}
	}
	if n != len(s.pending) {
		t.Fatalf("%d of %d sends are linked", n, len(s.pending))
	}
	for _, l := range s.lines.byTurn {
		before := uint64(0)
		for p := l.first; p != nil; p = p.behind {
			if p.id <= before || p.line != l {
				t.Fatalf("send %d waits behind %d", p.id, before)
			}
			before = p.id
			waiting--
			if p.behind == nil && l.last != p {
				t.Fatal("the last of a line is another one")
			}
		}
		if l.first == nil && l.sent == 0 && l.standing == nowhere {
			t.Fatal("an empty line is remembered")
		}
		if l.first != nil && l.standing == nowhere {
			t.Fatal("nobody looks at a line that waits")
		}
	}
	if waiting != 0 {
		t.Fatalf("%d sends wait in no line", waiting)
	}
}

// Whatever comes, goes and is delayed: every send is in its line, in order,
// until its answer or the end of its time.
func TestSendsKeepTheirOrder(t *testing.T) {
	t.Parallel()
	s, now := sendsWithoutDB(t)
	random := rand.New(rand.NewPCG(1, 2))
	born := map[uint64]time.Time{}
	for step := range 20_000 {
		switch random.IntN(4) {
		case 0, 1:
			p := waitingSend(*now, uint64(random.IntN(20)), uint32(1+random.IntN(5)))
			s.start(p, time.Duration(random.IntN(3))*time.Second*time.Duration(random.IntN(2)))
			born[p.id] = *now
		case 2:
			for id := range born {
				s.finish(id)
				delete(born, id)
				break
			}
		case 3:
			*now = now.Add(time.Duration(random.IntN(300)) * time.Millisecond)
			s.sweep()
			for id, at := range born {
				if now.Sub(at) > sendPatience {
					delete(born, id)
				}
			}
		}
		if s.count() != len(born) {
			t.Fatalf("step %d: %d under way, want %d", step, s.count(), len(born))
		}
		if step%50 == 0 {
			s.check(t)
		}
	}
	*now = now.Add(2 * sendPatience)
	s.sweep()
	s.sweep()
	s.check(t)
	if s.count() != 0 || len(s.lines.byTurn) != 0 || len(s.lines.delayed) != 0 {
		t.Errorf("%d sends, %d lines, %d delayed are left", s.count(), len(s.lines.byTurn), len(s.lines.delayed))
	}
}

// Sends that cannot be made do not cost more with their number: a sweep tries
// some lines, and the others next time.
func TestLinesThatWait(t *testing.T) {
	t.Parallel()
	s, now := sendsWithoutDB(t)
	const lines = 3 * maxStuck
	for i := range uint64(lines) {
		s.start(waitingSend(*now, i, 1), 0)
	}
	tried := map[uint64]int{}
	for round := 1; round <= 3; round++ {
		calls := 0
		s.lines.send(*now, func(p *pending) bool { calls++; tried[p.connID]++; return false })
		if calls != maxStuck || len(tried) != round*maxStuck {
			t.Fatalf("round %d: %d calls, %d lines tried", round, calls, len(tried))
		}
	}
	s.lines.send(*now, func(*pending) bool { return true })
	if len(s.lines.ready) != 0 {
		t.Errorf("%d lines wait although all may go", len(s.lines.ready))
	}
}

func waitingSend(now time.Time, conn uint64, to uint32) *pending {
	return &pending{
		connID: conn, conv: im.ConversationOf(1, im.Single, to+1), created: now, msg: new(message.IMMsgData),
		client: new(client),
	}
}

// BenchmarkSweep is what every send waits for 40 times a second, with so many
// others under way: unanswered at a db_proxy, or waiting for one.
func BenchmarkSweep(b *testing.B) {
	for _, n := range []int{1000, 100_000} {
		b.Run(fmt.Sprintf("unanswered=%d", n), func(b *testing.B) {
			s, now := sendsWithoutDB(b)
			l := new(link.Link)
			for i := range n {
				p := waitingSend(*now, uint64(i), 1)
				s.add(p)
				p.line = s.lines.of(p.turn())
				p.link, p.line.link, p.line.sent = l, l, 1
			}
			for b.Loop() {
				s.sweep()
			}
		})
		b.Run(fmt.Sprintf("waiting=%d", n), func(b *testing.B) {
			s, now := sendsWithoutDB(b)
			for i := range n {
				s.start(waitingSend(*now, uint64(i), 1), 0)
			}
			for b.Loop() {
				s.lines.send(*now, s.dispatch)
			}
		})
	}
}
