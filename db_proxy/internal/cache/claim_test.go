package cache

import (
	"testing"

	"teamtalk/db_proxy/internal/store"
	"teamtalk/internal/im"
)

// TestClaim: a number stays only if nobody else wrote since its writer did.
func TestClaim(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, f *fixture) {
		ctx := t.Context()
		other := newFixture(t, f.raw.Options().Addr)
		conv := im.SingleOf(me, 7)
		held := func(step, want string) {
			t.Helper()
			if got := f.raw.HGet(ctx, unreadKey(me), "7").Val(); got != want {
				t.Errorf("%s: Redis holds %q, want %q", step, got, want)
			}
		}
		write := func(f *fixture, n uint32) {
			t.Helper()
			if err := f.set(ctx, PeerUnread(me, 7, n)); err != nil {
				t.Fatal(err)
			}
		}
		write(f, 1)
		held("not claimed", "")
		if !f.claims[conv].Stamp().Held() {
			t.Error("the first write does not claim")
		}
		write(f, 2)
		write(f, 3)
		held("claimed", "3")
		early := f.claims[conv].Stamp()
		write(other, 0)
		held("another one begins", "")
		write(other, 5)
		held("another one goes on", "5")
		write(f, 4)
		held("the first one comes back", "")
		if err := f.SetUnread(ctx, []UnreadValue{PeerUnread(me, 7, 5).At(early)}); err != nil {
			t.Fatal(err)
		}
		held("known before it was lost", "")
		write(f, 1)
		held("known after", "1")
		f.raw.FlushDB(ctx)
		write(f, 2)
		held("emptied", "")
		write(f, 3)
		if err := other.ForgetUnread(ctx, []store.SessionKey{sessionOf(me, im.Single, 7)}); err != nil {
			t.Fatal(err)
		}
		write(f, 4)
		held("forgotten by somebody", "")
		f.raw.Set(ctx, sequenceKey(conv), "x", 0)
		write(f, 5)
		held("no sequence", "")
		write(f, 5)
		write(f, 6)
		held("a sequence again", "6")
		if ttl := f.raw.TTL(ctx, sequenceKey(conv)).Val(); ttl <= 0 || ttl > claimFor {
			t.Errorf("the sequence is kept for %v", ttl)
		}
	})
}

// TestClaimIsDropped: when it is not known what became of a write, nothing is
// written under what was known before.
func TestClaimIsDropped(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, f *fixture) {
		ctx := t.Context()
		for range 2 {
			if err := f.set(ctx, GroupTotal(10, 3)); err != nil {
				t.Fatal(err)
			}
		}
		stamp := f.claims[im.GroupOf(10)].Stamp()
		if !stamp.valid() || f.raw.HGet(ctx, groupTotalKey(10), countField).Val() != "3" {
			t.Error("not held")
		}
		f.claims[im.GroupOf(10)].drop()
		if now := f.claims[im.GroupOf(10)].Stamp(); now.Held() || stamp.valid() {
			t.Error("held although dropped")
		}
		if err := f.SetUnread(ctx, []UnreadValue{GroupTotal(10, 4).At(stamp)}); err != nil {
			t.Fatal(err)
		}
		if f.raw.Exists(ctx, groupTotalKey(10)).Val() != 0 {
			t.Error("written under an old stamp")
		}
	})
}

// TestGroupForgottenWhileRebuilt: what SQL said before a number was forgotten
// is not written after.
func TestGroupForgottenWhileRebuilt(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, f *fixture) {
		ctx := t.Context()
		r := &record{groups: map[im.GroupID][2]im.MsgID{10: {8, 3}}}
		r.during = func() {
			r.during = nil
			r.groups[10] = [2]im.MsgID{9, 9}
			if err := f.ForgetUnread(ctx, []store.SessionKey{sessionOf(me, im.Group, 10)}); err != nil {
				t.Error(err)
			}
		}
		if _, err := f.Unread(ctx, me, r.groupIDs(), r.rebuild); err != nil {
			t.Fatal(err)
		}
		f.check(t, r, "after the race")
		f.check(t, r, "and once more")
	})
}
