package lane

import (
	"slices"
	"time"
)

// A lane that stores less than comes in must not let everything wait until it
// is too late for all of it: it takes no more than it can store in time, and
// refuses the rest at once. These bound the two parts of the wait.
const (
	batchFor = 150 * time.Millisecond // of one commit; twice as long makes the next ones smaller
	waitFor  = time.Second
)

// Bounds of the operations in one commit. A lane that has little to do begins
// with startBatch when more comes, and doubles it from commit to commit while
// these are fast.
const (
	minBatch   = 8
	startBatch = 64
)

// What a lane can store is known after it was busy for a while: the first
// commits after a start, with cold caches, say little, and one commit that
// hangs says nothing. Until then nobody is refused for want of room.
const (
	enoughBatches = 16
	enoughTime    = time.Second
	// A lane that was busy for so long knows from fewer batches.
	plentyTime = 3 * enoughTime
	fewBatches = 3
)

// pace is how much a lane takes, learned from how long the last batches took.
type pace struct {
	maxBatch, maxRoom int

	batch int // operations in one commit
	room  int // operations that may wait

	// Of the batches that were full, or nearly:
	rates []float64     // operations a second of the last ones, at most enoughBatches
	busy  time.Duration // that all of them took
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
	rate := float64(n) / took.Seconds()
	if len(p.rates) == enoughBatches {
		p.rates = slices.Delete(p.rates, 0, 1)
	}
	p.rates = append(p.rates, rate)
	p.busy += took
	least := minBatch
	if !p.experienced() {
		least = startBatch
	}
	switch {
	case took > 2*batchFor:
		p.batch = max(int(rate*batchFor.Seconds()), least)
	case took < batchFor:
		p.batch *= 2
	}
	p.batch = min(p.batch, p.maxBatch)
	if p.experienced() {
		p.room = min(max(int(slices.Max(p.rates)*waitFor.Seconds()), p.batch), p.maxRoom)
	}
}

// experienced reports whether it is known what the lane can store: the most
// that one of the last batches did, since some are small or held up.
func (p *pace) experienced() bool {
	return len(p.rates) == enoughBatches && p.busy >= enoughTime ||
		len(p.rates) >= fewBatches && p.busy >= plentyTime
}
