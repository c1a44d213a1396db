package deliver

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"teamtalk/internal/im"
)

// TestModel compares with what is promised: whatever comes in whatever order,
// each message is pushed once or not at all, in rising order, none is held
// beyond its time, and none is lost that was neither late nor there before.
func TestModel(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		now := time.Unix(1_700_000_000, 0)
		order := New(func() time.Time { return now })
		conv := im.SingleOf(1, 2)
		var pushed []im.MsgID
		heldAt := map[im.MsgID]time.Time{} // what is held, since when
		offer := func(id im.MsgID, since time.Duration) {
			before := len(pushed)
			m := &Message{Conv: conv, ID: id, SincePrevious: since, Push: func() {
				pushed = append(pushed, id)
				delete(heldAt, id)
			}}
			_, waits := heldAt[id]
			last := im.MsgID(0)
			if before > 0 {
				last = pushed[before-1]
			}
			switch outcome := order.Offer(m); {
			case outcome == Late && id > last:
				t.Fatalf("#%d is late after #%d", id, last)
			case outcome != Late && id <= last:
				t.Fatalf("#%d is %s after #%d was pushed", id, outcome, last)
			case (outcome == Duplicate) != (waits && id > last):
				t.Fatalf("#%d is %s, and waits: %v", id, outcome, waits)
			case outcome == Held:
				if since < 0 || since >= RecentFor || id == last+1 {
					t.Fatalf("#%d waits for nothing (%v, after #%d)", id, since, last)
				}
				heldAt[id] = now
			case outcome == Pushed && len(pushed) == before:
				t.Fatalf("#%d was not pushed", id)
			}
		}
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			switch rapid.IntRange(0, 5).Draw(t, "step") {
			case 0:
				now = now.Add(time.Duration(rapid.IntRange(1, 1500).Draw(t, "ms")) * time.Millisecond)
				order.Expire()
				for id, since := range heldAt {
					if now.Sub(since) >= HoldFor {
						t.Fatalf("#%d is held for %v", id, now.Sub(since))
					}
				}
			default:
				since := rapid.SampledFrom([]time.Duration{Unknown, 0, time.Millisecond, RecentFor - 1, RecentFor, time.Hour}).Draw(t, "since")
				offer(im.MsgID(rapid.IntRange(1, 20).Draw(t, "id")), since)
			}
		}
		order.Release()
		if len(heldAt) > 0 {
			t.Fatalf("held for ever: %v", heldAt)
		}
		for i := 1; i < len(pushed); i++ {
			if pushed[i] <= pushed[i-1] {
				t.Fatalf("pushed in the order %v", pushed)
			}
		}
	})
}
