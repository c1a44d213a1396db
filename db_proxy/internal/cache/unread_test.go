package cache

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"

	"teamtalk/db_proxy/internal/store"
	"teamtalk/internal/im"
)

const me im.UserID = 5

// record plays SQL: what is unread of me, and how often it was asked.
type record struct {
	peers  map[im.UserID]uint32
	groups map[im.GroupID][2]im.MsgID // newest, read
	asked  int
	during func() // runs after the record was read, before it is written back
}

func (r *record) rebuild(context.Context) ([]store.Unread, error) {
	r.asked++
	var rows []store.Unread
	for peer, n := range r.peers {
		if n > 0 {
			rows = append(rows, store.Unread{SessionKey: sessionOf(me, im.Single, uint32(peer)), Count: n})
		}
	}
	for group, g := range r.groups {
		rows = append(rows, store.Unread{
			SessionKey: sessionOf(me, im.Group, uint32(group)),
			Count:      uint32(g[0] - g[1]), Latest: store.Last{ID: g[0]},
		})
	}
	if r.during != nil {
		r.during()
	}
	return rows, nil
}

func (r *record) groupIDs() []im.GroupID {
	var ids []im.GroupID
	for id := range r.groups {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

// want is the answer that SQL alone would give.
func (r *record) want() string {
	s := unreadSeen{peers: r.peers, groups: map[im.GroupID]uint32{}}
	for id, g := range r.groups {
		s.groups[id] = uint32(g[0] - g[1])
	}
	return fmt.Sprint(s.list(me, r.groupIDs()))
}

// hold claims what the record has, so that numbers can be written.
func (f *fixture) hold(t *testing.T, r *record) {
	t.Helper()
	var values []UnreadValue
	for peer := range r.peers {
		values = append(values, f.stamp(PeerUnread(me, peer, 0)))
	}
	for group := range r.groups {
		values = append(values, f.stamp(GroupTotal(group, 0)))
	}
	if err := f.SetUnread(t.Context(), values); err != nil {
		t.Fatal(err)
	}
}

// stamp makes a number one of a process that knows it right now.
func (f *fixture) stamp(v UnreadValue) UnreadValue {
	if f.claims[v.conv] == nil {
		f.claims[v.conv] = new(Claim)
	}
	return v.At(f.claims[v.conv].Stamp())
}

// set writes numbers, stamped.
func (f *fixture) set(ctx context.Context, values ...UnreadValue) error {
	for i := range values {
		values[i] = f.stamp(values[i])
	}
	return f.SetUnread(ctx, values)
}

func (f *fixture) check(t *testing.T, r *record, when string) {
	t.Helper()
	got, err := f.Unread(t.Context(), me, r.groupIDs(), r.rebuild)
	if err != nil || fmt.Sprint(got) != r.want() {
		t.Errorf("%s: got %v, %v, want %s", when, got, err, r.want())
	}
}

func TestUnread(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, f *fixture) {
		ctx := t.Context()
		r := &record{
			peers:  map[im.UserID]uint32{7: 3, 2: 1, 9: 0},
			groups: map[im.GroupID][2]im.MsgID{10: {8, 3}, 11: {4, 4}, 12: {0, 0}},
		}
		f.hold(t, r)
		f.check(t, r, "first")
		f.check(t, r, "again")
		if r.asked != 1 {
			t.Errorf("SQL asked %d times, want once", r.asked)
		}
		set := func(values ...UnreadValue) {
			t.Helper()
			if err := f.set(ctx, values...); err != nil {
				t.Fatal(err)
			}
		}
		r.peers[7], r.peers[9], r.groups[10] = 4, 1, [2]im.MsgID{9, 3}
		set(PeerUnread(me, 7, 4), PeerUnread(me, 9, 1), GroupTotal(10, 9))
		f.check(t, r, "messages came")
		r.peers[7], r.groups[10] = 0, [2]im.MsgID{9, 9}
		set(PeerUnread(me, 7, 0), GroupRead(me, 10, 9))
		f.check(t, r, "read")
		if f.raw.HExists(ctx, unreadKey(me), "7").Val() {
			t.Error("a zero is listed")
		}
		if r.asked != 1 {
			t.Errorf("SQL asked %d times, want once", r.asked)
		}
		f.raw.FlushDB(ctx)
		f.check(t, r, "emptied")
		f.raw.FlushDB(ctx)
		r.peers[9] = 2
		set(PeerUnread(me, 9, 2)) // alone in a new hash
		f.check(t, r, "emptied before a message")
		f.raw.Del(ctx, groupTotalKey(10), groupReadKey(me, 11))
		f.check(t, r, "evicted in part")
		if r.asked != 4 {
			t.Errorf("SQL asked %d times, want 4", r.asked)
		}
		r.groups[10] = [2]im.MsgID{12, 9}
		set(GroupTotal(10, 12))
		f.raw.HSet(ctx, groupReadKey(me, 11), countField, 99)
		f.check(t, r, "cursor beyond the newest")
	})
}

func TestUnreadMarkExpires(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, f *fixture) {
		r := &record{peers: map[im.UserID]uint32{7: 3}, groups: map[im.GroupID][2]im.MsgID{10: {8, 3}}}
		f.check(t, r, "first")
		// Writes that nobody made known.
		r.peers[7], r.groups[10] = 0, [2]im.MsgID{9, 8}
		f.now = f.now.Add(defaultMaxAge)
		f.check(t, r, "after the mark expired")
	})
}

func TestUnreadIgnoredByOriginals(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, f *fixture) {
		r := &record{peers: map[im.UserID]uint32{7: 3}}
		f.check(t, r, "first")
		for field, value := range f.raw.HGetAll(t.Context(), unreadKey(me)).Val() {
			if field != "7" && (field[0] >= '0' && field[0] <= '9' || value[0] >= '0' && value[0] <= '9') {
				t.Errorf("atoi makes a number of %q: %q", field, value)
			}
		}
	})
}

// A count that changes while it is rebuilt is never replaced by an older one.
func TestUnreadRebuildRace(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ before, after uint32 }{
		"message comes": {3, 4},
		"read":          {3, 0},
		"first message": {0, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			both(t, func(t *testing.T, f *fixture) {
				ctx := t.Context()
				r := &record{peers: map[im.UserID]uint32{7: tt.before}, groups: map[im.GroupID][2]im.MsgID{10: {8, 3}}}
				f.hold(t, r)
				r.during = func() {
					r.during = nil
					r.peers[7], r.groups[10] = tt.after, [2]im.MsgID{9, 9}
					err := f.set(ctx, PeerUnread(me, 7, tt.after), GroupTotal(10, 9), GroupRead(me, 10, 9))
					if err != nil {
						t.Error(err)
					}
				}
				if _, err := f.Unread(ctx, me, r.groupIDs(), r.rebuild); err != nil {
					t.Fatal(err)
				}
				f.check(t, r, "after the race")
				if r.asked > 2 {
					t.Errorf("SQL asked %d times, want at most twice", r.asked)
				}
			})
		})
	}
}

func TestUnreadWritesLost(t *testing.T) {
	t.Parallel()
	srv := miniredis.RunT(t)
	f := newFixture(t, srv.Addr())
	ctx := t.Context()
	r := &record{peers: map[im.UserID]uint32{7: 3}, groups: map[im.GroupID][2]im.MsgID{10: {8, 3}}}
	f.hold(t, r)
	f.check(t, r, "first")
	srv.SetError("LOADING for the test")
	r.peers[7], r.groups[10] = 0, [2]im.MsgID{9, 9}
	for _, v := range []UnreadValue{PeerUnread(me, 7, 0), GroupTotal(10, 9), GroupRead(me, 10, 9)} {
		if err := f.set(ctx, v); !errors.Is(err, ErrUnavailable) {
			t.Fatalf("lost write: %v", err)
		}
	}
	if _, err := f.Unread(ctx, me, r.groupIDs(), r.rebuild); !errors.Is(err, ErrUnavailable) {
		t.Fatalf("while Redis is away: %v", err)
	}
	srv.SetError("")
	f.now = f.now.Add(maxPause)
	f.check(t, r, "Redis is back")
}

func TestUnreadManyWritesLost(t *testing.T) {
	t.Parallel()
	f := newFixture(t, miniredis.RunT(t).Addr())
	r := &record{peers: map[im.UserID]uint32{7: 3}}
	f.check(t, r, "first")
	r.peers[7] = 0
	f.now = f.now.Add(time.Second)
	f.owed.limit = 100
	for i := range f.owed.limit + 1 {
		f.owed.add(f.now, unreadKey(im.UserID(1000+i)))
	}
	f.check(t, r, "the lost writes are too many to remember")
}

func TestUnreadSourceFails(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, f *fixture) {
		broken := im.Errorf(im.Internal, "no such table")
		_, err := f.Unread(t.Context(), me, nil, func(context.Context) ([]store.Unread, error) { return nil, broken })
		if !errors.Is(err, broken) || errors.Is(err, ErrUnavailable) {
			t.Errorf("got %v", err)
		}
		f.check(t, &record{peers: map[im.UserID]uint32{7: 3}}, "SQL is back")
	})
}

func TestUnreadWrongTypes(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, f *fixture) {
		ctx := t.Context()
		r := &record{peers: map[im.UserID]uint32{7: 3}, groups: map[im.GroupID][2]im.MsgID{10: {8, 3}}}
		f.raw.Set(ctx, unreadKey(me), "x", 0)
		f.raw.Set(ctx, groupTotalKey(10), "x", 0)
		f.check(t, r, "strings")
		if err := f.set(ctx, PeerUnread(me, 7, 3)); err != nil {
			t.Error(err)
		}
		f.raw.HSet(ctx, unreadKey(me), "7", "many")
		f.check(t, r, "no number")
	})
}

func TestForgetUnread(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, f *fixture) {
		ctx := t.Context()
		r := &record{peers: map[im.UserID]uint32{7: 3, 8: 1}, groups: map[im.GroupID][2]im.MsgID{10: {8, 3}}}
		f.check(t, r, "first")
		r.peers[7], r.groups[10] = 0, [2]im.MsgID{8, 8}
		err := f.ForgetUnread(ctx, []store.SessionKey{sessionOf(me, im.Single, 7), sessionOf(me, im.Group, 10)})
		if err != nil {
			t.Fatal(err)
		}
		if f.raw.HGet(ctx, unreadKey(me), "8").Val() != "1" {
			t.Error("other sessions were lost")
		}
		f.check(t, r, "after it was forgotten")
		r.peers[8], r.groups[10] = 2, [2]im.MsgID{9, 7}
		err = f.SetUnread(ctx, []UnreadValue{
			PeerUnread(me, 8, 0).Forgotten(), GroupTotal(10, 0).Forgotten(), GroupRead(me, 10, 0).Forgotten(),
		})
		if err != nil {
			t.Fatal(err)
		}
		f.check(t, r, "after numbers were forgotten")
	})
}
