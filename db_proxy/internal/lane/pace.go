package lane

import "time"

// A lane that stores less than comes in must not let everything wait until it
// is too late for all of it: it takes no more than it can store in time, and
// refuses the rest at once. These bound the two parts of the wait.
const (
	batchFor = 150 * time.Millisecond // of one commit; twice as long makes the next ones smaller
	waitFor  = 700 * time.Millisecond
)

// Bounds of the operations in one commit. A lane that has little to do begins
// with startBatch when more comes, and doubles it from commit to commit while
// these are fast.
const (
	minBatch   = 8
	startBatch = 64
)

// pace is how much a lane takes, learned from how long the last batches took.
type pace struct {
	maxBatch, maxRoom int

	batch int // operations in one commit
	room  int // operations that may wait
}

func newPace(maxBatch, maxRoom int) pace {
	return pace{maxBatch: maxBatch, maxRoom: maxRoom, batch: min(startBatch, maxBatch), room: maxRoom}
}

// learn takes note of a batch. One that was not even half full says nothing
// about how many more there could have been: nobody had to wait.
func (p *pace) learn(n int, took time.Duration) {
	if n < p.batch/2 {
		p.room = p.maxRoom
		if n < p.batch/4 {
			p.batch = max(p.batch/2, min(startBatch, p.maxBatch))
		}
		return
	}
	took = max(took, time.Microsecond)
	within := func(d time.Duration) int { return int(int64(n) * int64(d) / int64(took)) }
	switch {
	case took > 2*batchFor:
		p.batch = within(batchFor)
	case took < batchFor:
		p.batch *= 2
	}
	p.batch = min(max(p.batch, minBatch), p.maxBatch)
	p.room = min(max(within(waitFor), p.batch), p.maxRoom)
}
