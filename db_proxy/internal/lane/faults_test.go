package lane

import (
	"context"
	"flag"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"teamtalk/db_proxy/internal/cache"
	"teamtalk/db_proxy/internal/store"
	"teamtalk/internal/im"
)

// errTimedOut is what a caller is told whose call may have been done.
var errTimedOut = im.Wrap(im.Unavailable, "call", fmt.Errorf("%w: %w", store.ErrOutcomeUnknown, context.DeadlineExceeded))

// timedIDs lets calls of the counters fail as those of the store do, before
// or after the effect.
type timedIDs struct {
	*counters
	faults *faults
}

func (i timedIDs) ReserveIDs(ctx context.Context, want []cache.Reservation) ([]im.MsgID, error) {
	if err := i.faults.hook(ctx, "reserve_ids"); err != nil {
		return nil, err
	}
	first, err := i.counters.ReserveIDs(ctx, want)
	if err == nil {
		err = i.faults.hook(ctx, "reserve_ids:done")
	}
	return first, err
}

func (i timedIDs) ReturnIDs(ctx context.Context, back []cache.Reservation) error {
	if err := i.faults.hook(ctx, "return_ids"); err != nil {
		return err
	}
	if err := i.counters.ReturnIDs(ctx, back); err != nil {
		return err
	}
	return i.faults.hook(ctx, "return_ids:done")
}

// reporter is what *testing.T and *rapid.T have in common.
type reporter interface {
	Helper()
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
}

// story is what was done to a fixture, and what its callers were told.
type story struct {
	tb     testing.TB
	t      reporter
	ctx    context.Context //nolint:containedctx // that of the test
	b      *fixture
	owners []*owner
	acked  map[im.Conversation]map[string]im.MsgID // by content
	read   map[store.SessionKey]im.MsgID
	serial int
}

func newStory(t testing.TB, report reporter) *story {
	t.Helper()
	b := newFixture(t)
	b.another(t)
	for _, o := range b.owners {
		o.paused.Store(true)
	}
	return &story{
		tb: t, t: report, ctx: t.Context(), b: b, owners: b.owners,
		acked: map[im.Conversation]map[string]im.MsgID{}, read: map[store.SessionKey]im.MsgID{},
	}
}

// tries is how often a message is sent under one operation id.
const tries = 5

// send sends a new message until it is acknowledged, as a msg_server does:
// perhaps to another owner each time. A sender has one message under way at a
// time.
func (s *story) send(conv im.Conversation, from im.UserID, owner int, change bool) *Send {
	s.t.Helper()
	s.serial++
	m := Send{Conv: conv, From: from, Type: im.SingleText, Content: fmt.Sprintf("m%d", s.serial), Op: im.NewOperationID(time.Now())}
	if conv.Kind == im.Group {
		m.Type = im.GroupText
	}
	for try := range tries {
		again := m
		got := s.submit(&again, owner+try*bit(change))
		if got.err == nil {
			s.told(&m, got.ID)
			return &m
		}
		if !im.CodeOf(got.err).Retryable() {
			s.t.Fatalf("%s from %d: %v", conv, from, got.err)
		}
	}
	s.t.Fatalf("%s from %d is never acknowledged", conv, from)
	return nil
}

// submit makes one attempt.
func (s *story) submit(m *Send, owner int) outcome {
	s.t.Helper()
	done := make(chan outcome, 1)
	m.Done = func(sent Sent, err error) { done <- outcome{sent, err} }
	if err := s.owners[owner%len(s.owners)].Submit(m); err != nil {
		s.t.Fatalf("%v", err)
	}
	return <-done
}

func bit(b bool) int {
	if b {
		return 1
	}
	return 0
}

// told notes an acknowledgement: no id twice, none below what was
// acknowledged before it was sent.
func (s *story) told(m *Send, id im.MsgID) {
	s.t.Helper()
	if s.acked[m.Conv] == nil {
		s.acked[m.Conv] = map[string]im.MsgID{}
	}
	for other, has := range s.acked[m.Conv] {
		if has >= id {
			s.t.Fatalf("%s: %s is #%d after %s was #%d", m.Conv, m.Content, id, other, has)
		}
	}
	s.acked[m.Conv][m.Content] = id
}

// repeat sends what was acknowledged once more.
func (s *story) repeat(m *Send, owner int) {
	s.t.Helper()
	again := *m
	again.ended = false
	got := s.submit(&again, owner)
	if want := s.acked[m.Conv][m.Content]; got.err == nil && (got.ID != want || !got.Repeat && !s.newest(m.Conv, want)) {
		s.t.Fatalf("%s: a repeat of #%d is #%d (%v)", m.Conv, want, got.ID, got.Repeat)
	}
}

// newest reports whether nothing was stored after a message: then it may count
// as new once more, because whoever has it is not sent it again.
func (s *story) newest(conv im.Conversation, id im.MsgID) bool {
	for _, other := range s.acked[conv] {
		if other > id {
			return false
		}
	}
	return true
}

// readUpto moves a read cursor until that is said to be done.
func (s *story) readUpto(conv im.Conversation, user im.UserID, upto im.MsgID, owner int) {
	s.t.Helper()
	for range tries {
		done := make(chan error, 1)
		r := &Read{Conv: conv, User: user, Upto: upto, Done: func(err error) { done <- err }}
		if err := s.owners[owner%len(s.owners)].Submit(r); err != nil {
			s.t.Fatalf("%v", err)
		}
		switch err := <-done; {
		case err == nil:
			s.read[store.SessionKey{User: user, Kind: conv.Kind, Peer: conv.SessionID(user)}] = upto
			return
		case im.CodeOf(err) == im.NotFound:
			return // nothing was said yet
		case !im.CodeOf(err).Retryable():
			s.t.Fatalf("%v", err)
		}
	}
	s.t.Fatalf("%s: the cursor of %d does not move", conv, user)
}

// check compares with what is stored: everything acknowledged, under its id,
// nothing else, nothing twice, and counts that a recount confirms.
func (s *story) check() {
	s.t.Helper()
	ctx := s.ctx
	for conv, acked := range s.acked {
		ref := store.ConvRef{Conv: conv}
		if conv.Kind == im.Single {
			relations, err := s.b.store.EnsureRelations(ctx, []im.Pair{conv.Pair})
			if err != nil {
				s.t.Fatalf("%v", err)
			}
			ref.Relation = relations[conv.Pair]
		}
		rows, err := s.b.store.History(ctx, ref, 0, store.MaxPage, store.Since{})
		if err != nil {
			s.t.Fatalf("%v", err)
		}
		seen := map[string]bool{}
		for _, row := range rows {
			if acked[row.Content] != row.ID || seen[row.Content] {
				s.t.Errorf("%s: %s is stored as #%d and was acknowledged as #%d", conv, row.Content, row.ID, acked[row.Content])
			}
			seen[row.Content] = true
		}
		if len(rows) != len(acked) {
			s.t.Errorf("%s: %d are stored, %d were acknowledged", conv, len(rows), len(acked))
		}
	}
	for key, upto := range s.read {
		cursors, err := s.b.store.Cursors(ctx, key.User)
		if err != nil {
			s.t.Fatalf("%v", err)
		}
		if !slices.ContainsFunc(cursors, func(c store.Cursor) bool { return c.SessionKey == key && c.Read >= upto }) {
			s.t.Errorf("the cursor of %+v is not at %d: %v", key, upto, cursors)
		}
	}
	s.checkCounts()
}

// checkCounts lets everything come to Redis that was left to be written
// behind, and compares what it then holds with a recount, and with what users
// are answered.
func (s *story) checkCounts() {
	s.t.Helper()
	for range 2 { // what fails is written again
		for _, o := range s.owners {
			o.flush()
		}
	}
	for user := im.UserID(1); user <= 3; user++ {
		var keys []store.SessionKey
		for peer := im.UserID(1); peer <= 3; peer++ {
			if peer != user {
				keys = append(keys, store.SessionKey{User: user, Kind: im.Single, Peer: uint32(peer)})
			}
		}
		keys = append(keys, store.SessionKey{User: user, Kind: im.Group, Peer: uint32(s.b.group)})
		for _, key := range keys {
			if got, known := s.b.held(s.tb, key); known && got != s.b.recount(s.tb, key) {
				s.t.Errorf("%+v: Redis holds %d unread, a recount says %d", key, got, s.b.recount(s.tb, key))
			}
		}
		for range 2 { // read from the database, and from what was then kept
			answer, err := s.b.ask(s.ctx, s.owners[0], user)
			if err != nil {
				s.t.Fatalf("%v", err)
			}
			for _, key := range keys {
				if want := s.b.recount(s.tb, key); answer[key] != want {
					s.t.Errorf("%+v: %d unread are shown, a recount says %d", key, answer[key], want)
				}
			}
		}
	}
}

// login asks for the counts of a user at one owner, as far as Redis answers.
func (s *story) login(user im.UserID, owner int) {
	s.t.Helper()
	if _, err := s.b.ask(s.ctx, s.owners[owner], user); err != nil && !im.CodeOf(err).Retryable() {
		s.t.Fatalf("%v", err)
	}
}

// tell runs one story through every storage call that the lanes make.
func (s *story) tell() {
	s.t.Helper()
	pair, group := im.SingleOf(1, 2), im.GroupOf(s.b.group)
	first := s.send(pair, 1, 0, false)
	s.owners[0].flush()
	s.login(2, 0)
	s.send(pair, 2, 0, false)
	s.send(pair, 1, 0, false)
	s.send(group, 1, 0, false)
	s.repeat(first, 0)
	s.owners[0].flush()
	s.send(pair, 1, 1, true) // the other owner numbers on
	s.send(group, 2, 1, true)
	s.repeat(first, 1)
	s.readUpto(pair, 2, 2, 1)
	s.owners[1].flush()
	s.login(2, 1)
	s.send(pair, 1, 0, true)
	s.readUpto(group, 3, 1, 0)
	s.owners[0].flush()
	s.login(3, 1)
	s.send(group, 1, 0, true)
	s.owners[0].flush()
	s.send(group, 3, 0, true)
}

// Every call that reaches the database or the counters is enumerated by
// running the story once; then each of them in turn times out, before its
// effect and after it. A new call is found by itself.
func TestAnyCallTimesOut(t *testing.T) {
	t.Parallel()
	clean := newStory(t, t)
	clean.b.faults.record()
	clean.tell()
	calls := clean.b.faults.recorded()
	clean.check()
	for _, needed := range []string{"commit", "commit:done", "last_messages", "reserve_ids:done", "unread_of", "redis:done"} {
		if calls[needed] == 0 {
			t.Errorf("the story does not come by %s: %v", needed, calls)
		}
	}
	for point, n := range calls {
		for nth := range n {
			t.Run(fmt.Sprintf("%s_%d", strings.ReplaceAll(point, ":", "_"), nth+1), func(t *testing.T) {
				t.Parallel()
				s := newStory(t, t)
				s.b.faults.plan(point, append(make([]error, nth), errTimedOut)...)
				s.tell()
				s.check()
			})
		}
	}
}

// fewer makes rapid run fewer stories than its hundred, each of which has a
// database of its own; the flag decides where it is given.
func fewer(t *testing.T, stories int) {
	t.Helper()
	if f := flag.Lookup("rapid.checks"); f.Value.String() == f.DefValue {
		if err := flag.Set(f.Name, strconv.Itoa(stories)); err != nil {
			t.Fatal(err)
		}
	}
}

// TestAnyStory lets two owners, who know nothing of each other, do anything in
// any order, while calls fail now and then. What they write to Redis comes
// there late.
func TestAnyStory(t *testing.T) {
	t.Parallel()
	fewer(t, 20)
	points := []string{
		"commit", "commit:done", "last_messages", "find_operations", "reserve_ids", "reserve_ids:done", "return_ids",
		"unread_of", "redis", "redis:done",
	}
	rapid.Check(t, func(rt *rapid.T) {
		s := newStory(t, rt)
		var sent []*Send
		for range rapid.IntRange(1, 15).Draw(rt, "steps") {
			if rapid.IntRange(0, 3).Draw(rt, "fails") == 0 {
				err := rapid.SampledFrom([]error{errTimedOut, im.Errorf(im.Unavailable, "away")}).Draw(rt, "error")
				point := rapid.SampledFrom(points).Draw(rt, "point")
				if strings.HasSuffix(point, ":done") {
					err = errTimedOut
				}
				s.b.faults.plan(point, err)
			}
			user, owner := im.UserID(rapid.IntRange(1, 3).Draw(rt, "user")), rapid.IntRange(0, 1).Draw(rt, "owner")
			conv := im.GroupOf(s.b.group)
			if peer := im.UserID(rapid.IntRange(1, 4).Draw(rt, "peer")); peer < 4 && peer != user {
				conv = im.SingleOf(user, peer)
			}
			switch step := rapid.IntRange(0, 8).Draw(rt, "step"); {
			case step == 0 && len(sent) > 0:
				s.repeat(rapid.SampledFrom(sent).Draw(rt, "message"), owner)
			case step == 1 && len(s.acked[conv]) > 0:
				s.readUpto(conv, user, im.MsgID(rapid.IntRange(1, len(s.acked[conv])).Draw(rt, "upto")), owner)
			case step == 2:
				s.owners[owner].flush()
			case step == 3:
				s.login(user, owner)
			default:
				sent = append(sent, s.send(conv, user, owner, rapid.Bool().Draw(rt, "fail over")))
			}
		}
		for _, point := range points {
			s.b.faults.forget(point)
		}
		if rapid.Bool().Draw(rt, "the second owner writes first") {
			s.owners[1].flush()
		}
		s.check()
	})
}
