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
		{750, 3750, [2]int{600, 800}},      // so much can be stored in time
		{750, 200, [2]int{50_000, 50_000}}, // nobody waits
		{50_000, 60_000, [2]int{30_000, 50_000}},
		{20, 1000, [2]int{8, 25}},
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

// coldLane is a lane over a database with cold caches: the first message of each
// conversation, and the first commit, take longer.
type coldLane struct {
	pace
	now           time.Time
	perSecond     int
	firstCommit   time.Duration
	firstOfEach   time.Duration
	conversations int
	stored        int
}

// run stores a batch and returns how many operations were in it.
func (c *coldLane) run(waiting int) int {
	n := min(waiting, c.batch)
	took := time.Millisecond + time.Duration(n)*time.Second/time.Duration(c.perSecond)
	if c.stored == 0 {
		took += c.firstCommit
	}
	fresh := min(c.conversations, (n+31)/32) // each sender's window comes in one piece
	c.conversations -= fresh
	took += time.Duration(fresh) * c.firstOfEach
	c.stored += n
	c.now = c.now.Add(took)
	c.learn(n, took)
	return n
}

// Senders with a full window find a lane that was started a moment ago: nobody
// is refused, because everything is stored in time.
func TestNobodyIsRefusedForWantOfExperience(t *testing.T) {
	t.Parallel()
	for _, c := range []coldLane{
		{perSecond: 3000, firstCommit: 300 * time.Millisecond, firstOfEach: 5 * time.Millisecond},
		{perSecond: 3000, firstCommit: 2 * time.Second, firstOfEach: 10 * time.Millisecond},
		{perSecond: 2000, firstCommit: time.Second, firstOfEach: 20 * time.Millisecond},
		{perSecond: 50_000, firstCommit: 100 * time.Millisecond, firstOfEach: time.Millisecond},
	} {
		c.pace, c.conversations = newPace(1000, 50_000), 50
		const inFlight = 50 * 32
		start := time.Unix(0, 0)
		waiting, refused := inFlight, 0
		for c.now = start; c.now.Sub(start) < time.Minute; {
			n := c.run(waiting)
			waiting -= n
			// Whoever was answered sends the next one.
			taken := max(min(n, c.room-waiting), 0)
			refused += n - taken
			waiting += n // a refused one is sent again
		}
		if refused > 0 {
			t.Errorf("%d/s, first commit %v: %d of %d were refused", c.perSecond, c.firstCommit, refused, c.stored)
		}
	}
}

// Five times as much is offered as can be stored, from the first moment on:
// soon everything that is taken is stored in time, and the database is never
// idle.
func TestOverloadFromTheStart(t *testing.T) {
	t.Parallel()
	for _, perSecond := range []int{300, 1500, 3000} {
		c := coldLane{
			pace: newPace(1000, 50_000), perSecond: perSecond, conversations: 50,
			firstCommit: 300 * time.Millisecond, firstOfEach: 5 * time.Millisecond,
		}
		const patience = 3500 * time.Millisecond
		start := time.Unix(0, 0)
		c.now = start
		queue := []time.Time{start} // when each arrived
		inTime := 0
		offered := 0
		for c.now.Sub(start) < time.Minute {
			for ; offered < int(c.now.Sub(start).Seconds()*5*float64(perSecond)); offered++ {
				if len(queue) < c.room {
					queue = append(queue, start.Add(time.Duration(offered)*time.Second/time.Duration(5*perSecond)))
				}
			}
			for len(queue) > 0 && c.now.Sub(queue[0]) > patience {
				queue = queue[1:] // waited too long
			}
			if len(queue) == 0 {
				c.now = c.now.Add(time.Millisecond)
				continue
			}
			oldest := queue[0]
			n := c.run(len(queue))
			queue = queue[n:]
			inTime += n
			if wait := c.now.Sub(oldest); c.now.Sub(start) > 10*time.Second && wait > waitFor+4*batchFor {
				t.Errorf("%d/s: a message was answered after %v", perSecond, wait)
				break
			}
		}
		if want := 60 * perSecond * 8 / 10; inTime < want {
			t.Errorf("%d/s: %d were stored, want %d", perSecond, inTime, want)
		}
	}
}

// A commit that hangs for once costs nobody their place.
func TestPaceForgetsAHangingCommit(t *testing.T) {
	t.Parallel()
	p := newPace(1000, 50_000)
	p.learn(30, 3*time.Second) // few were in it: nothing is known
	if p.batch != startBatch || p.room != 50_000 {
		t.Errorf("after a small batch: %+v", p)
	}
	p.learn(p.batch, 3*time.Second)
	if p.batch > startBatch || p.room != 50_000 {
		t.Errorf("after a slow batch: %+v", p)
	}
	for range 200 {
		p.learn(p.batch, 20*time.Millisecond)
	}
	if p.batch != 1000 || p.room != 50_000 {
		t.Errorf("after fast ones: %+v", p)
	}
	p.learn(p.batch, 3*time.Second)
	if p.room < 40_000 {
		t.Errorf("after a slow batch among fast ones: %+v", p)
	}
	for range enoughBatches {
		p.learn(p.batch, 3*time.Second)
	}
	if p.batch != minBatch || p.room > startBatch {
		t.Errorf("after slow ones: %+v", p)
	}
}
