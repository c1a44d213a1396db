package check

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"teamtalk/internal/im"
	"teamtalk/test/chaos/internal/event"
)

// story is a run that kept every promise: users 1 and 2 talk, with 3 in a
// group; 1 has a phone, too, which acknowledges what arrives. Tests change one
// thing in it.
type story struct {
	t      *testing.T
	log    []event.Event
	sql    []event.Event
	serial int
}

const second = int64(1e6)

func (s *story) add(at int64, e event.Event) {
	e.T = at
	s.log = append(s.log, e)
}

const pair, group = "single:1-2", "group:7"

func terminals() []event.Event {
	return []event.Event{
		{Name: event.Terminal, C: "1.pc", User: 1, PC: true, Acks: true},
		{Name: event.Terminal, C: "1.phone", User: 1, Delivers: true},
		{Name: event.Terminal, C: "2.pc", User: 2, PC: true},
		{Name: event.Terminal, C: "3.pc", User: 3, PC: true, Acks: true},
	}
}

// message lets a terminal send one that everybody else gets.
func (s *story) message(at int64, from, conv string, id im.MsgID) {
	s.serial++
	key := fmt.Sprintf("%s-%d", from, s.serial)
	user := uint32(from[0] - '0')
	s.add(at, event.Event{Name: event.Sent, C: from, N: 1, Conv: conv, Key: key})
	s.add(at+1000, event.Event{Name: event.Acked, C: from, N: 1, Conv: conv, Key: key, ID: id})
	for _, t := range terminals() {
		if t.C != from && (conv == group || t.User < 3) {
			s.add(at+2000, event.Event{Name: event.Received, C: t.C, N: 1, Conv: conv, Key: key, ID: id})
		}
	}
	s.sql = append(s.sql, event.Event{Name: event.Stored, Conv: conv, ID: id, Key: key, User: user})
}

// tell is the story.
func tell(t *testing.T) *story {
	t.Helper()
	s := &story{t: t}
	s.add(0, event.Event{Name: event.Group, Conv: group, Users: []uint32{1, 2, 3}})
	for _, e := range terminals() {
		s.add(0, e)
		s.add(1, event.Event{Name: event.Connected, C: e.C, N: 1, Delivers: e.Delivers})
	}
	s.message(1*second, "1.pc", pair, 1) // 1.pc-1
	s.message(2*second, "1.pc", pair, 2) // 1.pc-2
	s.message(3*second, "2.pc", pair, 3) // 2.pc-3
	s.message(4*second, "3.pc", group, 1)
	s.message(5*second, "1.phone", group, 2)
	s.message(6*second, "2.pc", pair, 4) // 2.pc-6
	s.add(7*second, event.Event{Name: event.Sent, C: "3.pc", N: 1, Conv: group, Key: "3.pc-x"})
	s.add(8*second, event.Event{Name: event.Nacked, C: "3.pc", N: 1, Conv: group, Key: "3.pc-x", Why: "denied"})
	s.message(9*second, "3.pc", group, 3)
	s.add(30*second, event.Event{
		Name: event.History, C: "2.pc", Conv: pair, ID: 4, Count: 2, Asked: 29 * second,
		Page: []event.Item{{ID: 4, Key: "2.pc-6"}, {ID: 3, Key: "2.pc-3"}},
	})
	s.add(31*second, event.Event{Name: event.Read, C: "1.pc", Conv: pair, ID: 3, Final: true})
	s.sql = append(s.sql,
		event.Event{Name: event.Cursor, User: 1, Conv: pair, ID: 3},
		event.Event{Name: event.Cursor, User: 1, Conv: group, ID: 2},
		event.Event{Name: event.Cursor, User: 3, Conv: group, ID: 3})
	unread := map[uint32][]event.Count{
		1: {{Conv: pair, Unread: 1, Latest: 4}, {Conv: group, Unread: 1, Latest: 3}},
		2: {{Conv: pair, Unread: 2, Latest: 4}, {Conv: group, Unread: 3, Latest: 3}},
	}
	for _, e := range terminals() {
		total := 0
		for _, c := range unread[e.User] {
			total += c.Unread
		}
		s.add(33*second, event.Event{Name: event.Unread, C: e.C, Counts: unread[e.User], Total: total, Final: true})
	}
	s.add(34*second, event.Event{Name: event.Closed, C: "3.pc", N: 1})
	s.add(35*second, event.Event{Name: event.Presence, C: "1.pc", Online: []uint32{1, 2}, Offline: []uint32{3}, Final: true})
	return s
}

// run checks the story through files, as the command does.
func (s *story) run(withSQL bool) *Result {
	s.t.Helper()
	dir := s.t.TempDir()
	write := func(name string, events []event.Event) string {
		var b strings.Builder
		for _, e := range events {
			line, err := json.Marshal(e)
			if err != nil {
				s.t.Fatal(err)
			}
			b.Write(append(line, '\n'))
		}
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(b.String()), 0o600); err != nil {
			s.t.Fatal(err)
		}
		return path
	}
	slices.SortStableFunc(s.log, func(a, b event.Event) int { return int(a.T - b.T) })
	events, sql := write("events", s.log), ""
	if withSQL {
		sql = write("sql", s.sql)
	}
	r, err := Files([]string{events}, sql)
	if err != nil {
		s.t.Fatal(err)
	}
	return r
}

// find returns the first event that matches.
func find(events []event.Event, match func(*event.Event) bool) *event.Event {
	for i := range events {
		if match(&events[i]) {
			return &events[i]
		}
	}
	return nil
}

// received finds the push of a message to 1.phone.
func (s *story) received(key string) *event.Event {
	s.t.Helper()
	e := find(s.log, func(e *event.Event) bool { return e.Name == event.Received && e.C == "1.phone" && e.Key == key })
	if e == nil {
		s.t.Fatalf("the story has no push of %s", key)
	}
	return e
}

func (s *story) row(conv string, id im.MsgID) *event.Event {
	return find(s.sql, func(e *event.Event) bool { return e.Name == event.Stored && e.Conv == conv && e.ID == id })
}

func (s *story) drop(match func(*event.Event) bool) {
	s.log = slices.DeleteFunc(s.log, func(e event.Event) bool { return match(&e) })
}

func TestCleanRun(t *testing.T) {
	t.Parallel()
	for _, withSQL := range []bool{true, false} {
		r := tell(t).run(withSQL)
		if len(r.Violations) != 0 {
			t.Errorf("SQL %v: %v", withSQL, r.Violations)
		}
		if r.Sent != 8 || r.Acked != 7 || r.Stored != 7 || r.Failed != 1 || r.Final != 4 || r.SQL != withSQL {
			t.Errorf("SQL %v: %+v", withSQL, r)
		}
	}
}

// planted is one of them.
type planted struct {
	name  string
	rule  Rule
	blind bool
	plant func(s *story)
}

// plants change the story so that a promise is broken, and name the rule that
// must notice. blind ones need SQL.
var plants = []planted{
	{"a row is lost", Lost, true, func(s *story) {
		s.sql = slices.DeleteFunc(s.sql, func(e event.Event) bool { return e.Key == "2.pc-6" })
	}},
	{"an acknowledgement was made up", Lost, true, func(s *story) {
		s.add(10*second, event.Event{Name: event.Sent, C: "1.pc", N: 1, Conv: pair, Key: "1.pc-99"})
		s.add(11*second, event.Event{Name: event.Acked, C: "1.pc", N: 1, Conv: pair, Key: "1.pc-99", ID: 5})
	}},
	{"nobody was shown what was acknowledged", Undelivered, false, func(s *story) {
		s.add(10*second, event.Event{Name: event.Sent, C: "1.pc", N: 1, Conv: pair, Key: "1.pc-99"})
		s.add(11*second, event.Event{Name: event.Acked, C: "1.pc", N: 1, Conv: pair, Key: "1.pc-99", ID: 5})
		s.sql = append(s.sql, event.Event{Name: event.Stored, Conv: pair, ID: 5, Key: "1.pc-99", User: 1})
	}},
	{"a row has another id", Lost, true, func(s *story) { s.row(pair, 4).ID = 9 }},
	{"a row is stored twice", Twice, true, func(s *story) {
		again := *s.row(pair, 2)
		again.ID = 5
		s.sql = append(s.sql, again)
	}},
	{"two rows have one id", Twice, true, func(s *story) { s.row(pair, 4).ID = 3 }},
	{"a message was pushed under two ids", Twice, false, func(s *story) {
		s.received("2.pc-6").ID = 5
	}},
	{"one id stands for two messages", Twice, false, func(s *story) {
		s.received("2.pc-6").Key = "2.pc-3"
	}},
	{"a repeat is acknowledged with a new id", AckChanged, false, func(s *story) {
		s.add(2*second+500, event.Event{Name: event.Sent, C: "1.pc", N: 1, Conv: pair, Key: "1.pc-1", Again: true})
		s.add(2*second+600, event.Event{Name: event.Acked, C: "1.pc", N: 1, Conv: pair, Key: "1.pc-1", ID: 2})
	}},
	{"what was refused is stored", RefusedKept, true, func(s *story) {
		s.sql = append(s.sql, event.Event{Name: event.Stored, Conv: group, ID: 4, Key: "3.pc-x", User: 3})
	}},
	{"what nobody sent is stored", Phantom, true, func(s *story) {
		s.sql = append(s.sql, event.Event{Name: event.Stored, Conv: group, ID: 4, Key: "who", User: 3})
	}},
	{"what is not stored is pushed", Phantom, true, func(s *story) {
		s.add(12*second, event.Event{Name: event.Received, C: "1.pc", N: 1, Conv: pair, Key: "2.pc-50", ID: 8})
	}},
	{"a message is another user's", Phantom, true, func(s *story) { s.row(pair, 4).User = 1 }},
	{"ids are left out", Gap, true, func(s *story) {
		for i := range s.log {
			if s.log[i].Key == "1.pc-2" {
				s.log[i].ID = 20
			}
		}
		s.row(pair, 2).ID = 20
	}},
	{"ids do not begin at 1", Gap, true, func(s *story) {
		s.drop(func(e *event.Event) bool { return e.Key == "3.pc-x" })
		for _, events := range [][]event.Event{s.log, s.sql} {
			for i := range events {
				if e := &events[i]; e.Conv == group && e.ID != 0 {
					e.ID++
				}
			}
		}
	}},
	{"ids start again", TimeOrder, false, func(s *story) {
		for i := range s.log {
			if e := &s.log[i]; e.Key == "2.pc-6" {
				e.ID = 1
			} else if e.Key == "1.pc-1" {
				e.ID = 4
			}
		}
		s.row(pair, 4).Key, s.row(pair, 1).Key = "1.pc-1", "2.pc-6"
	}},
	{"two messages of one sender change places", SenderOrder, false, func(s *story) {
		for i := range s.log {
			if e := &s.log[i]; e.Key == "1.pc-1" && e.ID != 0 {
				e.ID = 2
			} else if e.Key == "1.pc-2" && e.ID != 0 {
				e.ID = 1
			}
		}
		s.row(pair, 1).Key, s.row(pair, 2).Key = "1.pc-2", "1.pc-1"
	}},
	{"pushes change places", PushOrder, false, func(s *story) {
		a, b := s.received("1.pc-1"), s.received("1.pc-2")
		a.ID, a.Key, b.ID, b.Key = b.ID, b.Key, a.ID, a.Key
	}},
	{"a push comes twice", PushOrder, false, func(s *story) {
		e := *s.received("1.pc-1")
		s.add(e.T+1, e)
	}},
	{"a terminal never gets a message", Undelivered, false, func(s *story) {
		s.drop(func(e *event.Event) bool {
			return e.Name == event.Received && e.C == "1.phone" && e.Key == "2.pc-3"
		})
	}},
	{"one that acknowledges finds a message in history only", Undelivered, false, func(s *story) {
		e := *s.received("2.pc-6")
		s.drop(func(o *event.Event) bool { return o.Name == event.Received && o.C == e.C && o.Key == e.Key })
		s.history(10*second, &e)
	}},
	{"what waited for it is not sent again", Undelivered, false, func(s *story) {
		e := *s.received("2.pc-6")
		s.drop(func(o *event.Event) bool { return o.Name == event.Received && o.C == e.C && o.Key == e.Key })
		s.history(10*second, &e)
		s.again()
		s.add(21*second, event.Event{Name: event.Received, C: e.C, N: 2, Conv: pair, ID: 3, Key: "2.pc-3"})
	}},
	{"what is there is marked as a gap", Undelivered, false, func(s *story) {
		e := *s.received("2.pc-6")
		s.drop(func(o *event.Event) bool { return o.Name == event.Received && o.C == e.C && o.Key == e.Key })
		s.add(e.T, event.Event{Name: event.Marked, C: e.C, N: 1, Conv: pair, ID: 4, Last: 4})
		s.history(10*second, &e)
	}},
	{"a push leaves one out that comes later", PushGap, false, func(s *story) {
		e := *s.received("2.pc-3")
		s.drop(func(o *event.Event) bool { return o.Name == event.Received && o.C == e.C && o.Key == e.Key })
		s.again()
		e.N = 2
		s.add(21*second, e)
	}},
	{"a log-in begins behind what waits", PushGap, false, func(s *story) {
		e := *s.received("2.pc-6")
		s.drop(func(o *event.Event) bool {
			return o.Name == event.Received && o.C == e.C && (o.Key == "2.pc-3" || o.Key == e.Key)
		})
		s.again()
		e.N = 2
		s.add(21*second, e)
	}},
	{"a gap leaves one out", PushGap, false, func(s *story) {
		s.drop(func(o *event.Event) bool {
			return o.Name == event.Received && o.C == "1.phone" && o.Conv == pair && o.ID > 2
		})
		s.add(7*second, event.Event{Name: event.Marked, C: "1.phone", N: 1, Conv: pair, ID: 4, Last: 9})
	}},
	{"a gap of nothing", PushGap, false, func(s *story) {
		s.add(7*second, event.Event{Name: event.Marked, C: "1.phone", N: 1, Conv: pair, ID: 9, Last: 8})
	}},
	{"a terminal that never asked for gaps gets one", PushGap, false, func(s *story) {
		s.add(7*second, event.Event{Name: event.Marked, C: "2.pc", N: 1, Conv: pair, ID: 5, Last: 5})
	}},
	{"one that acknowledges may not in the end", NotRecovered, false, func(s *story) {
		s.add(20*second, event.Event{Name: event.Connected, C: "1.phone", N: 2})
	}},
	{"a page of history leaves a message out", Hidden, false, func(s *story) {
		e := find(s.log, func(e *event.Event) bool { return e.Name == event.History })
		e.Page = []event.Item{{ID: 4, Key: "2.pc-6"}, {ID: 2, Key: "1.pc-2"}}
	}},
	{"history shows another text", Phantom, true, func(s *story) {
		find(s.log, func(e *event.Event) bool { return e.Name == event.History }).Page[0].Key = "2.pc-3"
	}},
	{"a count is too high", UnreadDrift, false, func(s *story) {
		e := find(s.log, func(e *event.Event) bool { return e.Name == event.Unread && e.C == "1.phone" })
		e.Counts = slices.Clone(e.Counts)
		e.Counts[0].Unread++
		e.Total++
	}},
	{"a count is missing", UnreadDrift, true, func(s *story) {
		e := find(s.log, func(e *event.Event) bool { return e.Name == event.Unread && e.C == "2.pc" })
		e.Total -= e.Counts[0].Unread
		e.Counts = e.Counts[1:]
	}},
	{"the total is wrong", UnreadDrift, false, func(s *story) {
		find(s.log, func(e *event.Event) bool { return e.Name == event.Unread }).Total++
	}},
	{"a read is forgotten", ReadLost, true, func(s *story) {
		find(s.sql, func(e *event.Event) bool { return e.Name == event.Cursor && e.Conv == pair }).ID = 2
	}},
	{"more was read than anybody read", CursorAhead, true, func(s *story) {
		s.sql = append(s.sql, event.Event{Name: event.Cursor, User: 2, Conv: pair, ID: 1})
	}},
	{"somebody who left is shown on-line", FalseStatus, false, func(s *story) {
		s.drop(func(e *event.Event) bool { return e.Name == event.Closed })
		find(s.log, func(e *event.Event) bool { return e.Name == event.Presence }).Online = []uint32{1, 2}
	}},
	{"somebody who is there is shown off-line", FalseStatus, false, func(s *story) {
		e := find(s.log, func(e *event.Event) bool { return e.Name == event.Presence })
		e.Online, e.Offline = []uint32{1}, []uint32{2, 3}
	}},
	{"a failure is not said", Silence, false, func(s *story) {
		s.drop(func(e *event.Event) bool { return e.Name == event.Nacked })
		s.add(34*second-1, event.Event{Name: event.Sent, C: "3.pc", N: 1, Conv: group, Key: "3.pc-y"})
	}},
	{"a terminal does not come back", NotRecovered, false, func(s *story) {
		s.drop(func(e *event.Event) bool { return e.Name == event.Unread && e.C == "2.pc" })
	}},
	{"an answer to nothing", BadLog, false, func(s *story) {
		s.add(3*second, event.Event{Name: event.Acked, C: "1.pc", N: 1, Conv: pair, Key: "2.pc-3", ID: 3})
	}},
}

func TestPlantedFaultsAreCaught(t *testing.T) {
	t.Parallel()
	tested := map[Rule]bool{}
	for _, p := range slices.Concat(plants, plantsOfFaults) {
		tested[p.rule] = true
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			for _, withSQL := range []bool{true, false} {
				if p.blind && !withSQL {
					continue // SQL is what shows it
				}
				s := tell(t)
				p.plant(s)
				r := s.run(withSQL)
				if r.Counts[p.rule] == 0 && (p.rule != Twice || r.Counts[Phantom] == 0) {
					t.Errorf("SQL %v: not caught; %v", withSQL, r.Violations)
				}
			}
		})
	}
	for _, rule := range Rules() {
		if !tested[rule] {
			t.Errorf("no fault is planted for %q", rule)
		}
	}
}

func TestGapsAreExplainedByFailures(t *testing.T) {
	t.Parallel()
	s := tell(t)
	// 3.pc-x was refused while #3 was to be given: the next message has #4.
	for i := range s.log {
		if e := &s.log[i]; e.Conv == group && e.ID == 3 {
			e.ID = 4
		}
		for j := range s.log[i].Counts {
			if c := &s.log[i].Counts[j]; c.Conv == group {
				s.log[i].Counts = slices.Clone(s.log[i].Counts)
				s.log[i].Counts[j].Latest = 4
			}
		}
	}
	s.row(group, 3).ID = 4
	s.add(9*second, event.Event{Name: event.Marked, C: "1.phone", N: 1, Conv: group, ID: 3, Last: 3})
	find(s.sql, func(e *event.Event) bool { return e.Name == event.Cursor && e.User == 3 }).ID = 4
	if r := s.run(true); len(r.Violations) != 0 || r.Gaps != 1 {
		t.Errorf("%d gaps, %v", r.Gaps, r.Violations)
	}
}

func TestSeveralLogsAreOneStory(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := tell(t)
	files := map[string]*strings.Builder{}
	for _, e := range s.log {
		b := files[e.C]
		if b == nil {
			b = &strings.Builder{}
			files[e.C] = b
		}
		line, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		b.Write(append(line, '\n'))
	}
	var paths []string
	for name, b := range files {
		path := filepath.Join(dir, "log"+name)
		if err := os.WriteFile(path, []byte(b.String()), 0o600); err != nil {
			t.Fatal(err)
		}
		paths = append(paths, path)
	}
	r, err := Files(paths, "")
	if err != nil || len(r.Violations) != 0 || r.Acked != 7 {
		t.Errorf("%v %+v", err, r)
	}
	if err := os.WriteFile(paths[1], []byte("{}\nnonsense\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Files(paths, ""); err == nil {
		t.Error("nonsense is read")
	}
}
