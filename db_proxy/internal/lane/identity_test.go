package lane

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"pgregory.net/rapid"

	"teamtalk/db_proxy/internal/store"
	"teamtalk/internal/im"
)

// picky is a database with moods.
type picky struct {
	Store
	commits    atomic.Int64
	refuses    string       // contents that it cannot store
	duplicates atomic.Int64 // commits that it calls duplicates for no reason
	former     bool         // an earlier version stored messages
}

func (p *picky) Commit(ctx context.Context, b *store.Batch) error {
	p.commits.Add(1)
	if p.duplicates.Add(-1) >= 0 {
		return fmt.Errorf("commit: %w", store.ErrDuplicate)
	}
	for _, m := range b.Messages {
		if p.refuses != "" && strings.HasPrefix(m.Content, p.refuses) {
			return im.Errorf(im.Invalid, "a value is not allowed")
		}
	}
	return p.Store.Commit(ctx, b)
}

func (p *picky) FindFormer(ctx context.Context, ops []store.FormerOperation) (map[store.Operation]im.MsgID, error) {
	if !p.former {
		return nil, nil
	}
	found := map[store.Operation]im.MsgID{}
	for _, o := range ops {
		now := o.Operation
		o.ID = o.Former
		some, err := p.FindOperations(ctx, []store.Operation{o.Operation})
		if err != nil {
			return nil, err
		}
		if id := some[o.Operation]; id != 0 {
			found[now] = id
		}
	}
	return found, nil
}

// moody lets the lanes of a fixture work on a picky database, and give up soon.
func moody(t *testing.T) (*fixture, *picky) {
	t.Helper()
	b := newFixture(t)
	p := &picky{Store: b.store}
	b.deps.Store = p
	b.cfg.Lanes = 1
	b.lanes = b.lanes[:1]
	return b, p
}

// together submits sends so that one batch takes all of them, and returns their
// outcomes in the same order.
func (b *fixture) together(t testing.TB, sends ...*Send) []outcome {
	t.Helper()
	release := make(chan struct{})
	hold := &Change{Conv: sends[0].Conv, Refused: func(error) {}, Run: func(context.Context) { <-release }}
	if err := b.Submit(hold); err != nil {
		t.Fatal(err)
	}
	got := make([]outcome, len(sends))
	var all sync.WaitGroup
	for i, s := range sends {
		all.Add(1)
		s.Done = func(sent Sent, err error) {
			got[i] = outcome{sent, err}
			all.Done()
		}
		if err := b.Submit(s); err != nil {
			t.Fatal(err)
		}
	}
	close(release)
	all.Wait()
	return got
}

// relations makes the relations of pairs one after the other.
func (b *fixture) relations(t testing.TB, pairs ...im.Pair) map[im.Pair]im.RelationID {
	t.Helper()
	all := map[im.Pair]im.RelationID{}
	for _, pair := range pairs {
		made, err := b.store.EnsureRelations(t.Context(), []im.Pair{pair})
		if err != nil {
			t.Fatal(err)
		}
		all[pair] = made[pair]
	}
	return all
}

// sameTable returns two conversations of user 2 that share a message table.
func (b *fixture) sameTable(t testing.TB) (one, other im.Conversation) {
	t.Helper()
	var pairs []im.Pair
	for peer := im.UserID(2); peer <= 9; peer++ {
		pairs = append(pairs, im.PairOf(1, peer))
	}
	made := b.relations(t, append(pairs, im.PairOf(2, 3))...)
	if made[im.PairOf(1, 2)]%im.Shards != made[im.PairOf(2, 3)]%im.Shards {
		t.Fatalf("not in one table: %v", made)
	}
	return im.SingleOf(1, 2), im.SingleOf(2, 3)
}

// rows returns what is stored in a conversation, oldest first.
func (b *fixture) rows(ctx context.Context, t reporter, conv im.Conversation) []store.Message {
	t.Helper()
	ref := store.ConvRef{Conv: conv}
	if conv.Kind == im.Single {
		relations, err := b.store.EnsureRelations(ctx, []im.Pair{conv.Pair})
		if err != nil {
			t.Fatalf("%v", err)
		}
		ref.Relation = relations[conv.Pair]
	}
	rows, err := b.store.History(ctx, ref, 0, store.MaxPage, store.Since{})
	if err != nil {
		t.Fatalf("%v", err)
	}
	slices.Reverse(rows)
	return rows
}

func named(conv im.Conversation, from im.UserID, content string, op im.OperationID) *Send {
	t := im.SingleText
	if conv.Kind == im.Group {
		t = im.GroupText
	}
	return &Send{Conv: conv, From: from, Type: t, Content: content, Op: op}
}

// One operation id in several conversations is several messages, in one batch
// and one after the other, even if its maker did not make it so.
func TestAnOperationBelongsToItsConversation(t *testing.T) {
	t.Parallel()
	b, _ := moody(t)
	op := im.OperationID{1}
	convs := []im.Conversation{im.GroupOf(b.group)}
	for peer := im.UserID(2); peer <= 9; peer++ {
		convs = append(convs, im.SingleOf(1, peer))
	}
	var sends []*Send
	for i, conv := range convs[:5] {
		sends = append(sends, named(conv, 1, fmt.Sprintf("to %d", i), op))
	}
	got := b.together(t, sends...)
	for i, conv := range convs[5:] {
		got = append(got, send(t, b.Lanes, named(conv, 1, fmt.Sprintf("to %d", i+5), op)))
	}
	for i, conv := range convs {
		if got[i].err != nil || got[i].ID != 1 || got[i].Repeat {
			t.Errorf("%s: %+v, %v", conv, got[i].Sent, got[i].err)
		}
		if rows := b.rows(t.Context(), t, conv); len(rows) != 1 || rows[0].Content != fmt.Sprintf("to %d", i) {
			t.Errorf("%s holds %v", conv, rows)
		}
		if again := send(t, b.Lanes, named(conv, 1, "again", op)); again.err != nil || again.ID != 1 || !again.Repeat {
			t.Errorf("%s, repeated: %+v, %v", conv, again.Sent, again.err)
		}
	}
}

// The database takes an operation id once of each sender in a table. Who uses it
// in another conversation of the table fails alone, for good, and at once.
func TestAnOperationTakenElsewhereFailsAlone(t *testing.T) {
	t.Parallel()
	for _, before := range []bool{true, false} {
		b, p := moody(t)
		one, other := b.sameTable(t)
		op := im.OperationID{1}
		first, second := named(one, 2, "first", op), named(other, 2, "second", op)
		var got []outcome
		if before {
			got = append(got, send(t, b.Lanes, first))
			p.commits.Store(0)
			got = append(got, b.together(t, second, text(4, 5), text(6, 7))...)
		} else {
			got = b.together(t, first, second, text(4, 5), text(6, 7))
		}
		for i, o := range got {
			if i == 1 {
				if code := im.CodeOf(o.err); code != im.Invalid {
					t.Errorf("stored before %v: the second was told %v", before, o.err)
				}
			} else if o.err != nil || o.ID != 1 {
				t.Errorf("stored before %v: message %d: %+v, %v", before, i, o.Sent, o.err)
			}
		}
		if n := p.commits.Load(); n > 8 {
			t.Errorf("stored before %v: %d commits", before, n)
		}
		if next := send(t, b.Lanes, text(2, 3)); next.err != nil || next.ID != 1 {
			t.Errorf("stored before %v: the next message is #%d, %v", before, next.ID, next.err)
		}
	}
}

// A database that calls everything a duplicate is not asked in a loop: what it
// does not take is refused after a few attempts, and not to be repeated.
func TestUnexplainedDuplicates(t *testing.T) {
	t.Parallel()
	b, p := moody(t)
	p.duplicates.Store(1000)
	got := b.together(t, text(1, 2), text(3, 4), text(5, 6), text(7, 8))
	for i, o := range got {
		if im.CodeOf(o.err).Retryable() || o.err == nil {
			t.Errorf("message %d: %+v, %v", i, o.Sent, o.err)
		}
	}
	if n := p.commits.Load(); n > 30 {
		t.Errorf("%d commits of four messages", n)
	}
	p.duplicates.Store(1) // a race that is over when one looks
	if got := send(t, b.Lanes, text(1, 3)); got.err != nil {
		t.Errorf("after one duplicate: %v", got.err)
	}
}

// Four messages, of which the database cannot store the last one; it is away
// from the second commit on.
func TestWhatAHalfCommittedIsComplete(t *testing.T) {
	t.Parallel()
	b, p := moody(t)
	b.cfg.Patience = 5 * time.Second
	p.refuses = "bad"
	var sends []*Send
	for i, content := range []string{"a", "b", "c", "bad"} {
		sends = append(sends, named(im.SingleOf(1, 2), 1, content, im.OperationID{byte(i + 1)}))
	}
	b.faults.plan("commit", append([]error{nil}, slices.Repeat([]error{im.Errorf(im.Unavailable, "away")}, 1000)...)...)
	got := b.together(t, sends...)
	for i, o := range got[:2] {
		if o.err != nil || o.ID != im.MsgID(i+1) {
			t.Errorf("message %d: %+v, %v", i+1, o.Sent, o.err)
		}
	}
	for i, o := range got[2:] {
		if im.CodeOf(o.err) != im.Unavailable {
			t.Errorf("message %d: %+v, %v", i+3, o.Sent, o.err)
		}
	}
	if rows := b.rows(t.Context(), t, im.SingleOf(1, 2)); len(rows) != 2 {
		t.Errorf("%d rows: %v", len(rows), rows)
	}
	b.faults.forget("commit")
	b.Wait()
	b.cfg.Patience = time.Minute
	if o := send(t, b.Lanes, named(im.SingleOf(1, 2), 1, "c", im.OperationID{3})); o.err != nil || o.ID != 3 || o.Repeat {
		t.Errorf("sent again: %+v, %v", o.Sent, o.err)
	}
	if n := testutil.ToFloat64(b.metrics.gaps); n != 0 {
		t.Errorf("%v gaps", n)
	}
}

// The outcome of the first half is not known: its ids are not given to others,
// those of the second half are.
func TestAHalfOfUnknownOutcome(t *testing.T) {
	t.Parallel()
	b, p := moody(t)
	b.cfg.Patience = 5 * time.Second
	p.refuses = "bad"
	conv := im.SingleOf(1, 2)
	sends := make([]*Send, 4)
	for i, content := range []string{"a", "b", "c", "bad"} {
		sends[i] = named(conv, 1, content, im.OperationID{byte(i + 1)})
	}
	b.faults.plan("commit:done", errTimedOut)
	b.faults.plan("find_operations", slices.Repeat([]error{errTimedOut}, 1000)...)
	for i, o := range b.together(t, sends...) {
		if im.CodeOf(o.err) != im.Unavailable {
			t.Errorf("message %d: %+v, %v", i+1, o.Sent, o.err)
		}
	}
	b.faults.forget("find_operations")
	b.Wait()
	b.cfg.Patience = time.Minute
	for i, content := range []string{"a", "b", "c"} {
		again := send(t, b.Lanes, named(conv, 1, content, im.OperationID{byte(i + 1)}))
		if again.err != nil || again.ID != im.MsgID(i+1) {
			t.Errorf("%s, sent again: %+v, %v", content, again.Sent, again.err)
		}
	}
	if rows := b.rows(t.Context(), t, conv); len(rows) != 3 {
		t.Errorf("%d rows: %v", len(rows), rows)
	}
}

// A content that no database takes uses up no id: nobody waits for it.
func TestContentIsRefusedBeforeItIsNumbered(t *testing.T) {
	t.Parallel()
	b, p := moody(t)
	bad := []string{"\xff", "a\xc3", "\xed\xa0\x80", strings.Repeat("x", im.MaxText+1), strings.Repeat("\U0001f600", im.MaxText+1)}
	good := []string{"a\x00b", "\x00", "\U0010ffff\U0001f600", "\ufffe", strings.Repeat("\U0001f600", im.MaxText), "'\\\"\x1a%_"}
	var sends []*Send
	for i := range bad {
		sends = append(sends, named(im.SingleOf(1, 2), 1, good[i], im.OperationID{}), named(im.SingleOf(1, 2), 1, bad[i], im.OperationID{}))
	}
	sends = append(sends, named(im.SingleOf(1, 2), 1, good[5], im.OperationID{}))
	next := im.MsgID(1)
	for i, o := range b.together(t, sends...) {
		if i%2 == 1 {
			if o.err == nil || im.CodeOf(o.err).Retryable() {
				t.Errorf("%.20q: %+v, %v", sends[i].Content, o.Sent, o.err)
			}
			continue
		}
		if o.err != nil || o.ID != next {
			t.Errorf("%.20q: #%d, %v; want #%d", sends[i].Content, o.ID, o.err, next)
		}
		next++
	}
	if p.commits.Load() != 1 {
		t.Errorf("%d commits", p.commits.Load())
	}
	for i, row := range b.rows(t.Context(), t, im.SingleOf(1, 2)) {
		if row.Content != good[i] {
			t.Errorf("%.20q is stored as %.20q", good[i], row.Content)
		}
	}
}

// Who repeats a message in the same batch shares its outcome, also when that is
// a refusal.
func TestARepeatSharesARefusal(t *testing.T) {
	t.Parallel()
	b, p := moody(t)
	p.refuses = "bad"
	op, op2 := im.OperationID{1}, im.OperationID{2}
	got := b.together(t, named(im.SingleOf(1, 2), 1, "bad", op), named(im.SingleOf(1, 2), 1, "bad", op),
		named(im.GroupOf(b.group), 9, "no member", op2), named(im.GroupOf(b.group), 9, "no member", op2), text(1, 2))
	for i, code := range []im.Code{im.Invalid, im.Invalid, im.Denied, im.Denied, im.OK} {
		if im.CodeOf(got[i].err) != code {
			t.Errorf("message %d: %+v, %v; want %v", i+1, got[i].Sent, got[i].err, code)
		}
	}
}

// What an earlier version stored is found under the id that it had there: in
// the database, in memory and in the batch.
func TestFormerIDsAreFound(t *testing.T) {
	t.Parallel()
	b, p := moody(t)
	p.former = true
	conv := im.SingleOf(1, 2)
	op := func(id string) *Send {
		s := named(conv, 1, id, im.OperationOf(im.OfClient, conv, id))
		s.Former = im.FormerOperationOf(id)
		return s
	}
	before := send(t, b.Lanes, named(conv, 1, "m1", im.FormerOperationOf("m1")))
	for name, owner := range map[string]*Lanes{"same owner": b.Lanes, "another owner": b.another(t)} {
		owner.deps.Store = p
		if got := send(t, owner, op("m1")); got.err != nil || got.ID != before.ID || !got.Repeat {
			t.Errorf("%s: %+v, %v", name, got.Sent, got.err)
		}
	}
	for i, o := range b.together(t, named(conv, 1, "m2", im.FormerOperationOf("m2")), op("m2"), op("m2"), op("m3")) {
		if want := []im.MsgID{2, 2, 2, 3}[i]; o.err != nil || o.ID != want {
			t.Errorf("message %d: #%d, %v; want #%d", i, o.ID, o.err, want)
		}
	}
}

// TestAnyBatch sends batches in which the database refuses some rows, while
// calls fail before and after their effect, at any commit of any half. What is
// acknowledged is stored under its id, what is refused for good is not stored,
// and everything else can be sent again.
func TestAnyBatch(t *testing.T) {
	t.Parallel()
	fewer(t, 20)
	away := im.Errorf(im.Unavailable, "away")
	points := []string{"commit", "commit:done", "find_operations", "last_messages"}
	rapid.Check(t, func(rt *rapid.T) {
		b, p := moody(t)
		p.refuses = "bad"
		b.cfg.Patience = 150 * time.Millisecond
		convs := []im.Conversation{im.SingleOf(1, 2), im.SingleOf(1, 3), im.GroupOf(b.group)}
		var sends []*Send
		for i := range rapid.IntRange(2, 9).Draw(rt, "sends") {
			content := fmt.Sprintf("m%d", i)
			if rapid.IntRange(0, 3).Draw(rt, "bad") == 0 {
				content = "bad" + content
			}
			conv := rapid.SampledFrom(convs).Draw(rt, "conversation")
			sends = append(sends, named(conv, 1, content, im.OperationID{byte(i + 1)}))
		}
		for _, point := range points {
			errs := rapid.SliceOfN(rapid.SampledFrom([]error{nil, nil, away, errTimedOut}), 0, 6).Draw(rt, point)
			if rapid.IntRange(0, 3).Draw(rt, point+" stays away") == 0 {
				errs = append(errs, slices.Repeat([]error{errTimedOut}, 1000)...)
			}
			if strings.HasSuffix(point, ":done") { // the effect is there: what happened is never known
				for i := range errs {
					if errs[i] != nil {
						errs[i] = errTimedOut
					}
				}
			}
			b.faults.plan(point, errs...)
		}
		got := b.together(t, sends...)
		for _, point := range points {
			b.faults.forget(point)
		}
		b.Wait()
		b.cfg.Patience = time.Minute
		want := map[im.Conversation]map[im.MsgID]string{}
		for i, s := range sends {
			if got[i].err != nil && im.CodeOf(got[i].err).Retryable() {
				got[i] = send(t, b.Lanes, named(s.Conv, s.From, s.Content, s.Op))
			}
			bad := strings.HasPrefix(s.Content, "bad")
			if bad != (got[i].err != nil) {
				rt.Fatalf("%s in %s: #%d, %v", s.Content, s.Conv, got[i].ID, got[i].err)
			}
			if bad {
				continue
			}
			if want[s.Conv] == nil {
				want[s.Conv] = map[im.MsgID]string{}
			}
			if other := want[s.Conv][got[i].ID]; other != "" {
				rt.Fatalf("%s and %s are both #%d of %s", other, s.Content, got[i].ID, s.Conv)
			}
			want[s.Conv][got[i].ID] = s.Content
		}
		for _, conv := range convs {
			rows := b.rows(t.Context(), rt, conv)
			for _, row := range rows {
				if want[conv][row.ID] != row.Content {
					rt.Errorf("%s: #%d is %s, acknowledged was %q", conv, row.ID, row.Content, want[conv][row.ID])
				}
			}
			if len(rows) != len(want[conv]) {
				rt.Errorf("%s: %d rows, %d acknowledged", conv, len(rows), len(want[conv]))
			}
		}
	})
}
