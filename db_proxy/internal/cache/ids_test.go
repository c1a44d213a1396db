package cache

import (
	"slices"
	"sync"
	"testing"

	"teamtalk/internal/im"
)

func TestReserveIDs(t *testing.T) {
	t.Parallel()
	const key = "msg_id_7"
	for name, tt := range map[string]struct {
		before any // nil: absent
		known  im.MsgID
		count  uint32
		first  im.MsgID
		after  string
	}{
		"absent, new":       {nil, 0, 1, 1, "1"},
		"absent, known":     {nil, 41, 3, 42, "44"},
		"in step":           {41, 41, 2, 42, "43"},
		"ahead":             {50, 41, 2, 51, "52"},
		"behind":            {3, 41, 5, 42, "46"},
		"just behind":       {40, 41, 5, 42, "46"},
		"negative":          {-1, 41, 1, 42, "42"},
		"minus a lot":       {-1 << 62, 41, 1, 42, "42"},
		"poisoned":          {int64(4294967295), 41, 1, 42, "42"},
		"overflow":          {int64(1<<63 - 1), 41, 1, 42, "42"},
		"not a number":      {"x", 41, 1, 42, "42"},
		"last id":           {int64(im.MaxMsgID) - 1, im.MaxMsgID - 1, 1, im.MaxMsgID, "89999999"},
		"full":              {int64(im.MaxMsgID), im.MaxMsgID, 1, im.MaxMsgID + 1, "90000000"},
		"full and poisoned": {int64(4294967295), im.MaxMsgID, 1, im.MaxMsgID + 1, "4294967296"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			both(t, func(t *testing.T, f *fixture) {
				ctx := t.Context()
				if tt.before != nil {
					f.raw.Set(ctx, key, tt.before, 0)
				}
				got, err := f.ReserveIDs(ctx, []Reservation{{Conv: im.SingleOf(1, 2), Relation: 7, Count: tt.count, Known: tt.known}})
				if err != nil || got[0] != tt.first {
					t.Fatalf("got %v, %v, want %d", got, err, tt.first)
				}
				if after := f.raw.Get(ctx, key).Val(); after != tt.after {
					t.Errorf("counter is %s, want %s", after, tt.after)
				}
			})
		})
	}
}

func TestReserveIDsWrongType(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, f *fixture) {
		ctx := t.Context()
		f.raw.HSet(ctx, "group_msg_id_9", "count", 1)
		got, err := f.ReserveIDs(ctx, []Reservation{
			{Conv: im.SingleOf(1, 2), Relation: 7, Count: 2, Known: 10},
			{Conv: im.GroupOf(9), Count: 3, Known: 20},
		})
		if err != nil || !slices.Equal(got, []im.MsgID{11, 21}) {
			t.Fatalf("got %v, %v", got, err)
		}
		if after := f.raw.Get(ctx, "group_msg_id_9").Val(); after != "23" {
			t.Errorf("counter is %q", after)
		}
	})
}

// Many callers find the counter lost at once: they settle on one, no id is
// given twice and hardly any is left out.
func TestReserveIDsRace(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, f *fixture) {
		const callers, each = 4, 3
		var wg sync.WaitGroup
		firsts := make([]im.MsgID, callers)
		for i := range callers {
			wg.Go(func() {
				for {
					got, err := f.ReserveIDs(t.Context(), []Reservation{{Conv: im.GroupOf(9), Count: each, Known: 1000}})
					if err == nil {
						firsts[i] = got[0]
						return
					}
					if t.Context().Err() != nil {
						return
					}
				}
			})
		}
		wg.Wait()
		slices.Sort(firsts)
		for i, first := range firsts {
			if first <= 1000 || i > 0 && first < firsts[i-1]+each {
				t.Errorf("overlapping or known ids: %v", firsts)
			}
		}
		if last := firsts[callers-1]; last > 1000+callers*each*watchTries {
			t.Errorf("ids jumped to %d", last)
		}
	})
}

func TestReturnIDs(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, f *fixture) {
		ctx := t.Context()
		r := Reservation{Conv: im.GroupOf(9), Count: 5, Known: 10}
		if _, err := f.ReserveIDs(ctx, []Reservation{r}); err != nil {
			t.Fatal(err)
		}
		// Two of the five were used.
		if err := f.ReturnIDs(ctx, []Reservation{{Conv: im.GroupOf(9), Count: 3, Known: 12}}); err != nil {
			t.Fatal(err)
		}
		if got := f.raw.Get(ctx, "group_msg_id_9").Val(); got != "12" {
			t.Errorf("counter is %s, want 12", got)
		}
		// Somebody else went on: nothing can be given back.
		f.raw.Set(ctx, "group_msg_id_9", 30, 0)
		if err := f.ReturnIDs(ctx, []Reservation{{Conv: im.GroupOf(9), Count: 3, Known: 12}}); err != nil {
			t.Fatal(err)
		}
		if got := f.raw.Get(ctx, "group_msg_id_9").Val(); got != "30" {
			t.Errorf("counter is %s, want 30", got)
		}
		f.raw.FlushDB(ctx)
		if err := f.ReturnIDs(ctx, []Reservation{{Conv: im.GroupOf(9), Count: 3, Known: 12}}); err != nil {
			t.Fatal(err)
		}
		if n := f.raw.Exists(ctx, "group_msg_id_9").Val(); n != 0 {
			t.Error("an absent counter was made")
		}
	})
}
