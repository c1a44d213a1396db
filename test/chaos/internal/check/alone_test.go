package check

import (
	"slices"
	"strings"
	"testing"

	"teamtalk/internal/im"
	"teamtalk/test/chaos/internal/event"
)

// plantsOfFaults are plants for what is promised while the log tells of faults.
var plantsOfFaults = []planted{
	{"one of two messages with one client_msg_id is not stored", Lost, true, func(s *story) {
		s.twoUnderOneName()
		s.sql = slices.DeleteFunc(s.sql, func(e event.Event) bool { return e.Key == "3.pc-b" })
	}},
	{"nothing is acknowledged although one may be away", Stalled, false, func(s *story) {
		s.alone(10*second, 22*second, false)
		s.add(11*second, event.Event{Name: event.Sent, C: "1.pc", N: 1, Conv: pair, Key: "1.pc-50"})
		s.add(12*second, event.Event{
			Name: event.Nacked, C: "1.pc", N: 1, Conv: pair, Key: "1.pc-50", Why: "away", Retry: true,
		})
	}},
	{"an acknowledgement comes late although one may be away", Stalled, false, func(s *story) {
		s.alone(10*second, 22*second, false)
		s.add(11*second, event.Event{Name: event.Sent, C: "1.pc", N: 1, Conv: pair, Key: "1.pc-50"})
		s.add(20*second, event.Event{Name: event.Acked, C: "1.pc", N: 1, Conv: pair, Key: "1.pc-50", ID: 5})
	}},
	{"an acknowledgement comes late to who is not told of refusals", Stalled, false, func(s *story) {
		s.alone(10*second, 22*second, false)
		s.add(11*second, event.Event{Name: event.Sent, C: "2.pc", N: 1, Conv: pair, Key: "2.pc-50"})
		s.add(20*second, event.Event{Name: event.Acked, C: "2.pc", N: 1, Conv: pair, Key: "2.pc-50", ID: 5})
	}},
	{"strangers cost a client its connection", Dropped, false, func(s *story) {
		s.alone(10*second, 22*second, true)
		s.add(15*second, event.Event{Name: event.Closed, C: "2.pc", N: 1, Why: "EOF"})
	}},
	{"what was acknowledged after ids went back is lost", Lost, true, func(s *story) {
		s.goBack()
		s.drop(func(e *event.Event) bool { return e.Name == event.Received && e.Key == "1.pc-new" })
		s.sql = slices.DeleteFunc(s.sql, func(e event.Event) bool { return e.Key == "1.pc-new" })
	}},
	{"what is gone is acknowledged again", Lost, true, func(s *story) {
		s.goBack()
		s.add(15*second, event.Event{Name: event.Sent, C: "2.pc", N: 1, Conv: pair, Key: "2.pc-6", Again: true})
		s.add(15*second+1000, event.Event{Name: event.Acked, C: "2.pc", N: 1, Conv: pair, Key: "2.pc-6", ID: 4})
	}},
	{"what is gone is shown long after", Phantom, true, func(s *story) {
		s.goBack()
		s.add(28*second, event.Event{Name: event.Received, C: "1.phone", N: 1, Conv: pair, Key: "2.pc-6", ID: 4})
	}},
	{"what was lost before ids went back was never there", Lost, true, func(s *story) {
		s.goBack()
		s.sql = slices.DeleteFunc(s.sql, func(e event.Event) bool { return e.Name == event.Gone })
	}},
	{"what was sent after ids went back is not pushed", Undelivered, true, func(s *story) {
		s.goBack()
		s.drop(func(e *event.Event) bool { return e.Name == event.Received && e.C == "1.phone" && e.Key == "1.pc-new" })
	}},
	{"after ids went back some are left out", Gap, true, func(s *story) {
		s.goBack()
		for _, events := range [][]event.Event{s.log, s.sql} {
			for i := range events {
				if e := &events[i]; e.Key == "1.pc-new" && e.ID != 0 {
					e.ID = 9
				}
			}
		}
	}},
	{"after ids went back a push comes twice", PushOrder, true, func(s *story) {
		s.goBack()
		e := *s.received("1.pc-new")
		s.add(e.T+1, e)
	}},
}

// alone puts one fault, which everybody is to survive, into the story.
func (s *story) alone(from, to int64, unnoticed bool) {
	s.add(from, event.Event{Name: event.Fault, N: 1, Why: "dbaway", Survive: true, Unnoticed: unnoticed})
	s.add(to, event.Event{Name: event.Healed, N: 1})
}

// twoUnderOneName lets user 3 use one client_msg_id in two conversations.
func (s *story) twoUnderOneName() {
	for _, m := range []struct {
		key, conv string
		id        uint32
	}{{"3.pc-a", "single:2-3", 1}, {"3.pc-b", "single:1-3", 1}} {
		s.add(10*second, event.Event{Name: event.Sent, C: "3.pc", N: 1, Conv: m.conv, Key: m.key, Own: "same"})
		s.add(10*second+1000, event.Event{Name: event.Acked, C: "3.pc", N: 1, Conv: m.conv, Key: m.key, ID: 1})
		s.sql = append(s.sql, event.Event{Name: event.Stored, Conv: m.conv, ID: 1, Key: m.key, User: 3})
	}
}

// What is no broken promise during a fault that everybody is to survive.
func TestOnlyWhatIsPromisedIsJudged(t *testing.T) {
	t.Parallel()
	sent := event.Event{Name: event.Sent, C: "1.pc", N: 1, Conv: pair, Key: "1.pc-50"}
	for name, plant := range map[string]func(s *story){
		"something else is wrong": func(s *story) {
			s.alone(10*second, 22*second, true)
			s.add(10*second, event.Event{Name: event.Fault, N: 2, Why: "kill"})
			s.add(22*second, event.Event{Name: event.Healed, N: 2})
			s.add(11*second, sent)
			s.add(15*second, event.Event{Name: event.Closed, C: "2.pc", N: 1, Why: "EOF"})
		},
		"something else was wrong a moment ago": func(s *story) {
			s.add(9*second, event.Event{Name: event.Fault, N: 2, Why: "kill"})
			s.add(10*second, event.Event{Name: event.Healed, N: 2})
			s.alone(11*second, 21*second, true)
			s.add(12*second, sent)
			s.add(14*second, event.Event{Name: event.Closed, C: "2.pc", N: 1, Why: "EOF"})
		},
		"it goes on within seconds": func(s *story) {
			s.alone(10*second, 22*second, false)
			s.add(11*second, sent)
			again := sent
			again.Again = true
			s.add(15*second, again)
			s.add(17*second, event.Event{Name: event.Acked, C: "1.pc", N: 1, Conv: pair, Key: sent.Key, ID: 5})
			s.add(21*second, event.Event{Name: event.Sent, C: "1.pc", N: 1, Conv: pair, Key: "1.pc-51"})
		},
		"the client went away itself": func(s *story) {
			s.alone(10*second, 22*second, true)
			s.add(11*second, sent)
			s.add(15*second, event.Event{Name: event.Closed, C: "1.pc", N: 1, Why: ownClose})
		},
		"it was refused, and nobody says so": func(s *story) {
			s.alone(10*second, 22*second, true)
			s.add(11*second, event.Event{Name: event.Sent, C: "2.pc", N: 1, Conv: pair, Key: "2.pc-50"})
		},
		"it was refused for ever": func(s *story) {
			s.alone(10*second, 22*second, true)
			s.add(11*second, sent)
			s.add(12*second, event.Event{Name: event.Nacked, C: "1.pc", N: 1, Conv: pair, Key: sent.Key, Why: "denied"})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := tell(t)
			plant(s)
			if r := s.run(true); r.Counts[Stalled]+r.Counts[Dropped] != 0 {
				t.Error(r.Violations)
			}
		})
	}
}

// goBack lets the story lose the newest message of the pair, 2.pc-6, which was
// #4, and give #4 to a new one.
func (s *story) goBack() {
	gone := *s.row(pair, 4)
	gone.Name = event.Gone
	for i := range s.sql {
		if s.sql[i].Name == event.Stored && s.sql[i].Key == gone.Key {
			s.sql[i] = gone
		}
	}
	s.add(12*second, event.Event{Name: event.Restored})
	s.add(13*second, event.Event{Name: event.Sent, C: "1.pc", N: 1, Conv: pair, Key: "1.pc-new"})
	s.add(13*second+1000, event.Event{Name: event.Acked, C: "1.pc", N: 1, Conv: pair, Key: "1.pc-new", ID: 4})
	for _, c := range []string{"1.phone", "2.pc"} {
		s.add(13*second+2000, event.Event{Name: event.Received, C: c, N: 1, Conv: pair, Key: "1.pc-new", ID: 4})
	}
	s.sql = append(s.sql, event.Event{Name: event.Stored, Conv: pair, ID: 4, Key: "1.pc-new", User: 1})
	page := find(s.log, func(e *event.Event) bool { return e.Name == event.History })
	page.Page = []event.Item{{ID: 4, Key: "1.pc-new"}, {ID: 3, Key: "2.pc-3"}}
	for i := range s.log {
		e := &s.log[i]
		if e.Name != event.Unread || len(e.Counts) == 0 {
			continue
		}
		counts := append([]event.Count(nil), e.Counts...)
		switch e.C[0] {
		case '1': // it is his own
			counts[0].Unread--
			e.Total--
		case '2': // and this was
			counts[0].Unread++
			e.Total++
		}
		if counts[0].Unread == 0 {
			counts = counts[1:]
		}
		e.Counts = counts
	}
}

// What was acknowledged and pushed before ids went back may be gone, and its
// ids may be given again; what is under way then still comes.
func TestIDsGoBack(t *testing.T) {
	t.Parallel()
	late := func(s *story) {
		s.add(12*second-10, event.Event{Name: event.Sent, C: "2.pc", N: 1, Conv: pair, Key: "2.pc-late"})
		s.sql = append(s.sql, event.Event{Name: event.Gone, Conv: pair, ID: 5, Key: "2.pc-late", User: 2})
		s.add(12*second+10, event.Event{Name: event.Acked, C: "2.pc", N: 1, Conv: pair, Key: "2.pc-late", ID: 5})
		s.add(12*second+20, event.Event{Name: event.Received, C: "1.phone", N: 1, Conv: pair, Key: "2.pc-late", ID: 5})
	}
	behind := func(s *story) { // ids do not go back: those that are gone are left out
		for _, events := range [][]event.Event{s.log, s.sql} {
			for i := range events {
				e := &events[i]
				if e.Key == "1.pc-new" && e.ID != 0 {
					e.ID = 5
				}
				if e.Name == event.History {
					e.ID, e.Page = 5, []event.Item{{ID: 5, Key: "1.pc-new"}, {ID: 3, Key: "2.pc-3"}}
				}
				for j := range e.Counts {
					if c := &e.Counts[j]; c.Conv == pair && c.Unread > 0 {
						c.Latest = 5
					}
				}
			}
		}
	}
	for name, plant := range map[string]func(*story){"": func(*story) {}, "late": late, "behind": behind} {
		s := tell(t)
		s.goBack()
		plant(s)
		if r := s.run(true); len(r.Violations) != 0 || r.Gone == 0 {
			t.Errorf("%s: %d gone, %v", name, r.Gone, r.Violations)
		}
	}
}

func TestWithoutSQLNobodyKnowsWhatIsGone(t *testing.T) {
	t.Parallel()
	c := New()
	err := c.Event(&event.Event{Name: event.Restored})
	if err == nil || !strings.Contains(err.Error(), "SQL") {
		t.Error(err)
	}
}

func TestIDSetCut(t *testing.T) {
	t.Parallel()
	for _, from := range []im.MsgID{0, 1, 63, 64, 65, 128, 500} {
		s := &idSet{}
		for id := im.MsgID(1); id <= 130; id++ {
			s.add(id)
		}
		s.cut(from)
		for id := im.MsgID(1); id <= 130; id++ {
			if s.has(id) != (id < from) {
				t.Errorf("cut from #%d: has #%d is %v", from, id, s.has(id))
			}
		}
	}
}
