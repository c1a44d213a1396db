package lane

import (
	"slices"
	"testing"
	"time"

	"teamtalk/db_proxy/internal/store"
	"teamtalk/internal/im"
)

// TestManyUnreadAreNotCounted: after a start nobody waits until thousands of
// unread messages are counted. The count is forgotten, until it is read.
func TestManyUnreadAreNotCounted(t *testing.T) {
	t.Parallel()
	b := newFixture(t)
	const many = maxCounted + 1
	b.owners[0].paused.Store(true)
	done := make(chan error, many)
	for range many {
		s := text(1, 2)
		s.Done = func(_ Sent, err error) { done <- err }
		if err := b.Submit(s); err != nil {
			t.Fatal(err)
		}
	}
	for range many {
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	b.owners[0].paused.Store(false)
	b.owners[0].flush()
	key := store.SessionKey{User: 2, Kind: im.Single, Peer: 1}
	want := func(step string, n uint32, known bool) {
		t.Helper()
		if got, ok := b.held(t, key); ok != known || known && got != n {
			t.Errorf("%s: %d unread (%v), want %d (%v)", step, got, ok, n, known)
		}
	}
	send(t, b.Lanes, text(1, 2))
	want("too many when the lane begins to count", 0, false)

	read := make(chan error, 1)
	if err := b.Submit(&Read{Conv: im.SingleOf(1, 2), User: 2, Done: func(err error) { read <- err }}); err != nil {
		t.Fatal(err)
	}
	if err := <-read; err != nil {
		t.Fatal(err)
	}
	send(t, b.Lanes, text(1, 2))
	want("counted from what was read", 1, true)
}

// readUpto moves the cursor of user 2.
func readUpto(t *testing.T, l *Lanes, conv im.Conversation, upto im.MsgID) {
	t.Helper()
	done := make(chan error, 1)
	err := l.Submit(&Read{Conv: conv, User: 2, Upto: upto, Done: func(err error) { done <- err }})
	if err == nil {
		err = <-done
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestUnreadFollowsSendsAndReads(t *testing.T) {
	t.Parallel()
	b := newFixture(t)
	of2 := store.SessionKey{User: 2, Kind: im.Single, Peer: 1}
	want := func(step string, n uint32) {
		t.Helper()
		if got, known := b.held(t, of2); got != n || !known {
			t.Errorf("%s: %d unread (%v), want %d", step, got, known, n)
		}
		if sql := b.recount(t, of2); sql != n {
			t.Errorf("%s: SQL says %d, want %d", step, sql, n)
		}
	}
	send(t, b.Lanes, text(1, 2))
	if _, known := b.held(t, of2); known {
		t.Error("a number was written before the claim was held")
	}
	if got, err := b.ask(t.Context(), b.owners[0], 2); err != nil || got[of2] != 1 {
		t.Errorf("unread %v, %v", got, err)
	}
	for range 2 {
		send(t, b.Lanes, text(1, 2))
	}
	send(t, b.Lanes, text(2, 1)) // one's own message is never unread
	send(t, b.Lanes, text(1, 2))
	want("four received", 4)
	readUpto(t, b.Lanes, im.SingleOf(1, 2), 2)
	want("two read", 2)
	readUpto(t, b.Lanes, im.SingleOf(1, 2), 1)
	want("a cursor does not go back", 2)
	readUpto(t, b.Lanes, im.SingleOf(1, 2), 4_000_000_000)
	want("a future id is the newest", 0)
	send(t, b.Lanes, text(1, 2))
	want("one more", 1)
	readUpto(t, b.Lanes, im.SingleOf(1, 2), 0)
	want("0 is everything", 0)
}

func TestGroupCursorMovesBySending(t *testing.T) {
	t.Parallel()
	b := newFixture(t)
	for range 3 {
		send(t, b.Lanes, groupText(1, b.group))
	}
	send(t, b.Lanes, groupText(2, b.group))
	for user, want := range map[im.UserID]uint32{1: 1, 2: 0, 3: 4} {
		key := store.SessionKey{User: user, Kind: im.Group, Peer: uint32(b.group)}
		if got := b.recount(t, key); got != want {
			t.Errorf("user %d: %d unread, want %d", user, got, want)
		}
		if got, known := b.held(t, key); known != (user != 3) || known && got != want {
			t.Errorf("user %d: Redis holds %d (%v), want %d", user, got, known, want)
		}
	}
}

// TestCountsSurviveAnotherOwner lets a conversation go to another db_proxy and
// come back: what the first one remembers is then too old.
func TestCountsSurviveAnotherOwner(t *testing.T) {
	t.Parallel()
	b := newFixture(t)
	first, second := b.Lanes, b.another(t)
	single := store.SessionKey{User: 2, Kind: im.Single, Peer: 1}
	group := store.SessionKey{User: 2, Kind: im.Group, Peer: uint32(b.group)}
	want := func(step string) {
		t.Helper()
		for range 2 {
			for _, key := range []store.SessionKey{single, group} {
				if got, known := b.held(t, key); known && got != b.recount(t, key) {
					t.Errorf("%s: %d unread of %+v, SQL says %d", step, got, key, b.recount(t, key))
				}
			}
			answer, err := b.ask(t.Context(), b.owners[1], 2) // and once more with all of it held
			if err != nil || answer[single] != b.recount(t, single) || answer[group] != b.recount(t, group) {
				t.Errorf("%s: the answer is %v, %v", step, answer, err)
			}
		}
	}
	for range 2 {
		send(t, first, text(1, 2))
		send(t, first, groupText(1, b.group))
	}
	want("one owner")
	for range 3 {
		send(t, second, text(1, 2))
		send(t, second, groupText(1, b.group))
	}
	readUpto(t, second, im.SingleOf(1, 2), 4)
	readUpto(t, second, im.GroupOf(b.group), 4)
	want("the other owner")
	send(t, first, text(1, 2))
	send(t, first, groupText(1, b.group))
	want("back again")
	send(t, second, text(1, 2))
	send(t, second, groupText(1, b.group))
	readUpto(t, first, im.SingleOf(1, 2), 7)
	readUpto(t, first, im.GroupOf(b.group), 7)
	want("read here what came there")
	send(t, second, groupText(1, b.group))
	readUpto(t, first, im.GroupOf(b.group), 7)
	want("read here before what came there")
	readUpto(t, second, im.SingleOf(1, 2), 0)
	send(t, first, text(1, 2))
	want("read there, and a message here")
}

// TestALateWriteOfAnotherOwner: one owner reads and stores a message while
// what another one has to write is on its way.
func TestALateWriteOfAnotherOwner(t *testing.T) {
	t.Parallel()
	b := newFixture(t)
	first, second := b.Lanes, b.another(t)
	key := store.SessionKey{User: 2, Kind: im.Single, Peer: 1}
	for range 3 {
		send(t, first, text(1, 2))
	}
	if _, err := b.ask(t.Context(), b.owners[0], 2); err != nil {
		t.Fatal(err)
	}
	b.owners[0].paused.Store(true)
	send(t, first, text(1, 2)) // 4 are unread
	readUpto(t, second, im.SingleOf(1, 2), 0)
	for range 2 {
		send(t, second, text(1, 2)) // 2 are unread, and that is known
	}
	if _, err := b.ask(t.Context(), b.owners[1], 2); err != nil {
		t.Fatal(err)
	}
	b.owners[0].flush()
	if got, known := b.held(t, key); known && got != 2 {
		t.Errorf("%d unread, want 2", got)
	}
	if got, err := b.ask(t.Context(), b.owners[0], 2); err != nil || got[key] != 2 {
		t.Errorf("the answer is %v, %v, want 2", got, err)
	}
}

// TestCountsAreForgottenWithWhatIsGivenUp: nobody knows whether a message that
// was given up was stored, so nobody knows the counts.
func TestCountsAreForgottenWithWhatIsGivenUp(t *testing.T) {
	t.Parallel()
	b := newFixture(t)
	for range 2 {
		send(t, b.Lanes, text(1, 2))
		send(t, b.Lanes, groupText(1, b.group))
	}
	single := store.SessionKey{User: 2, Kind: im.Single, Peer: 1}
	group := store.SessionKey{User: 1, Kind: im.Group, Peer: uint32(b.group)}
	if _, err := b.ask(t.Context(), b.owners[0], 2); err != nil {
		t.Fatal(err)
	}
	_, known := b.held(t, single)
	if _, too := b.held(t, group); !known || !too {
		t.Fatal("nothing is held")
	}
	b.Wait()
	b.cfg.Patience = 100 * time.Millisecond
	away := slices.Repeat([]error{im.Errorf(im.Unavailable, "away")}, 1000)
	b.faults.plan("commit:done", away...)
	b.faults.plan("find_operations", away...)
	send(t, b.Lanes, text(1, 2))
	send(t, b.Lanes, groupText(1, b.group))
	b.Wait()
	_, known = b.held(t, single)
	if _, too := b.held(t, group); known || too {
		t.Error("counts are believed")
	}
}
