package link

import (
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
)

// Set is the links of one kind that are up, in the order in which they came
// up. The oldest leads: it is the master of an original route_server. The zero
// Set has no link. Safe from any goroutine.
type Set struct {
	mu  sync.Mutex              // one change at a time; a leaf
	all atomic.Pointer[[]*Link] // oldest first; replaced, never changed
}

// Add takes a link in, and reports whether it leads.
func (s *Set) Add(l *Link) (leads bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := append(slices.Clone(s.All()), l)
	s.all.Store(&all)
	return len(all) == 1
}

// Remove lets a link go. If it led, heir is the one that leads now; nil if it
// did not lead, or no link is left.
func (s *Set) Remove(l *Link) (heir *Link) {
	s.mu.Lock()
	defer s.mu.Unlock()
	led := s.Oldest() == l
	all := slices.DeleteFunc(slices.Clone(s.All()), func(o *Link) bool { return o == l })
	s.all.Store(&all)
	if !led {
		return nil
	}
	return s.Oldest()
}

// All returns the links, oldest first. The slice must not be changed.
func (s *Set) All() []*Link {
	if all := s.all.Load(); all != nil {
		return *all
	}
	return nil
}

// Oldest returns the link that leads; nil if there is none.
func (s *Set) Oldest() *Link {
	if all := s.All(); len(all) > 0 {
		return all[0]
	}
	return nil
}

// Any returns one of the links at random; nil if there is none.
func (s *Set) Any() *Link {
	if all := s.All(); len(all) > 0 {
		return all[rand.IntN(len(all))]
	}
	return nil
}

// Empty reports whether no link is up.
func (s *Set) Empty() bool { return len(s.All()) == 0 }
