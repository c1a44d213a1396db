package lane

import (
	"testing"
	"time"
)

// A database that stores so many rows a second, and needs a moment for each
// commit, is offered more or less than that.
func TestPace(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		perSecond, offered int
		room               [2]int
	}{
		{750, 3750, [2]int{400, 600}},      // so much can be stored in time
		{750, 200, [2]int{50_000, 50_000}}, // nobody waits
		{50_000, 60_000, [2]int{30_000, 50_000}},
		{20, 1000, [2]int{8, 20}},
	} {
		p := newPace(1000, 50_000)
		waiting := 0.0
		for range 400 {
			n := min(int(waiting)+1, p.batch)
			took := time.Millisecond + time.Duration(n)*time.Second/time.Duration(c.perSecond)
			waiting = min(max(waiting-float64(n), 0)+took.Seconds()*float64(c.offered), float64(p.room))
			p.learn(n, took)
		}
		if p.room < c.room[0] || p.room > c.room[1] {
			t.Errorf("%d/s of %d/s: %d may wait, want %v", c.offered, c.perSecond, p.room, c.room)
		}
		if took := time.Duration(p.batch) * time.Second / time.Duration(c.perSecond); p.batch > minBatch && c.offered > c.perSecond && took > 2*batchFor+batchFor/10 {
			t.Errorf("%d/s: a batch of %d takes %v", c.perSecond, p.batch, took)
		}
	}
}

// A commit that hangs for once costs nobody his place when there is room.
func TestPaceForgetsAHangingCommit(t *testing.T) {
	t.Parallel()
	p := newPace(1000, 50_000)
	p.learn(30, 3*time.Second) // few were in it: nothing is known
	if p.batch != startBatch || p.room != 50_000 {
		t.Errorf("after a small batch: %+v", p)
	}
	p.learn(p.batch, 3*time.Second)
	if p.batch >= startBatch || p.room >= startBatch {
		t.Errorf("after a slow batch: %+v", p)
	}
	for range 8 {
		p.learn(p.batch, 2*time.Millisecond)
	}
	if p.batch != 1000 || p.room != 50_000 {
		t.Errorf("after fast ones: %+v", p)
	}
}
