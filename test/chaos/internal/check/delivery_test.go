package check

import (
	"testing"

	"teamtalk/internal/im"
	"teamtalk/test/chaos/internal/event"
)

// What a terminal that acknowledges was sent is all right as long as every id
// came, was marked, or was its own.
func TestTerminalsThatAcknowledge(t *testing.T) {
	t.Parallel()
	stories := map[string]func(s *story){
		"sent again":  func(s *story) { s.again(); s.resend(2, 4) },
		"only later":  func(s *story) { s.silence(3, 4); s.again(); s.resend(3, 4) },
		"all of it":   func(s *story) { s.silence(1, 4); s.again(); s.resend(1, 4) },
		"not granted": func(s *story) { s.ungranted(3, 4); s.again(); s.resend(3, 4) },
		"stored before its first log-in": func(s *story) {
			find(s.log, func(e *event.Event) bool { return e.Name == event.Connected && e.C == "1.phone" }).T = second + 1
			e := *s.received("1.pc-1")
			s.silence(1, 1)
			s.history(10*second, &e)
		},
		"too much": func(s *story) {
			s.silence(3, 4)
			for id := im.MsgID(5); id <= 1004; id++ {
				s.message(10*second+int64(id), "2.pc", pair, id)
			}
			s.silence(5, 1004)
			s.again()
			s.add(20*second+10, event.Event{Name: event.Marked, C: "1.phone", N: 2, Conv: pair, ID: 3, Last: 4})
			s.resend(5, 1004)
			for id := im.MsgID(3); id <= 4; id++ {
				s.history(25*second, &event.Event{Conv: pair, ID: id, Key: s.row(pair, id).Key})
			}
			s.drop(func(e *event.Event) bool { return e.Name == event.Unread && e.C != "1.phone" })
			for i := range s.log {
				if e := &s.log[i]; e.Name == event.Unread {
					e.Counts = []event.Count{{Conv: pair, Unread: 1001, Latest: 1004}, e.Counts[1]}
					e.Total = 1002
				}
			}
		},
	}
	for name, change := range stories {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, withSQL := range []bool{true, false} {
				s := tell(t)
				change(s)
				r := s.run(withSQL)
				delete(r.Counts, NotRecovered) // those whose counts were taken out
				if len(r.Counts) != 0 || r.Capable == 0 {
					t.Errorf("SQL %v: %v", withSQL, r.Violations)
				}
			}
		})
	}
}

// silence takes pushes of the pair to 1.phone out.
func (s *story) silence(first, last im.MsgID) {
	s.drop(func(e *event.Event) bool {
		return e.Name == event.Received && e.C == "1.phone" && e.Conv == pair && first <= e.ID && e.ID <= last
	})
}

// resend pushes them over the second connection.
func (s *story) resend(first, last im.MsgID) {
	for id := first; id <= last; id++ {
		s.add(21*second+int64(id), event.Event{
			Name: event.Received, C: "1.phone", N: 2, Conv: pair, ID: id, Key: s.row(pair, id).Key,
		})
	}
}

// ungranted lets 1.phone have a connection in between that knows nothing of
// acknowledgements.
func (s *story) ungranted(first, last im.MsgID) {
	s.silence(first, last)
	s.add(15*second, event.Event{Name: event.Closed, C: "1.phone", N: 1})
	s.add(16*second, event.Event{Name: event.Connected, C: "1.phone", N: 7})
	s.add(17*second, event.Event{
		Name: event.Received, C: "1.phone", N: 7, Conv: pair, ID: last, Key: s.row(pair, last).Key,
	})
}

// While everything stands still, nobody can answer.
func TestStandstill(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		pulses []int64 // seconds
		silent int
	}{
		"no pulses":     {nil, 1},
		"pulses":        {[]int64{9, 10, 11, 13, 16, 19, 22, 25, 28, 31, 33}, 1},
		"a standstill":  {[]int64{9, 10, 11, 31, 32, 33}, 0},
		"until the end": {[]int64{9, 10, 11}, 0},
	} {
		s := tell(t)
		for _, at := range tc.pulses {
			s.add(at*second, event.Event{Name: event.Pulse})
		}
		s.add(12*second, event.Event{Name: event.Sent, C: "3.pc", N: 1, Conv: group, Key: "3.pc-y"})
		s.add(13*second, event.Event{Name: event.Sent, C: "3.pc", N: 1, Conv: group, Key: "3.pc-z"})
		s.add(13*second+1, event.Event{Name: event.Nacked, C: "3.pc", N: 1, Conv: group, Key: "3.pc-z", Retry: true})
		if r := s.run(true); r.Counts[Silence] != tc.silent || len(r.Violations) != tc.silent {
			t.Errorf("%s: %v", name, r.Violations)
		}
	}
}

// history lets 1.phone find a message there.
func (s *story) history(at int64, e *event.Event) {
	s.add(at, event.Event{
		Name: event.History, C: "1.phone", Conv: e.Conv, ID: e.ID, Count: 1, Asked: at,
		Page: []event.Item{{ID: e.ID, Key: e.Key}},
	})
}

// again lets 1.phone log in once more.
func (s *story) again() {
	const at = 20 * second
	s.add(at, event.Event{Name: event.Closed, C: "1.phone", N: 1})
	s.add(at+1, event.Event{Name: event.Connected, C: "1.phone", N: 2, Delivers: true})
}
