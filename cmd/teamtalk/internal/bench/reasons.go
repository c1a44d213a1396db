package bench

import (
	"maps"
	"sync"
)

// maxReasons bounds how many different reasons are told apart.
const maxReasons = 20

// Reasons that no answer gives.
const (
	whyOther = "other reasons"
	whyOpen  = "no answer when the run ended"
)

// reasons counts why messages were not acknowledged. The zero value has none.
// Safe from any goroutine.
type reasons struct {
	mu    sync.Mutex
	count map[string]int64
}

func (r *reasons) add(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.count == nil {
		r.count = make(map[string]int64)
	}
	why := err.Error()
	if _, known := r.count[why]; !known && len(r.count) >= maxReasons {
		why = whyOther
	}
	r.count[why]++
}

// of returns the reasons of so many messages; those that got no answer at all
// are the rest.
func (r *reasons) of(unacked int64) map[string]int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := maps.Clone(r.count)
	for _, n := range all {
		unacked -= n
	}
	if unacked > 0 {
		if all == nil {
			all = make(map[string]int64)
		}
		all[whyOpen] = unacked
	}
	return all
}

// refuse takes note of a message that is not acknowledged.
func (r *run) refuse(err error) {
	r.why.add(err)
	r.refused.Add(1)
}
