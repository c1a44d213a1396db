package cache

import (
	"sync"
	"time"
)

// How long Redis is left alone after a failure; doubled while it keeps failing.
const (
	firstPause = 100 * time.Millisecond
	maxPause   = 2 * time.Second
)

// breaker keeps callers from waiting for a Redis that just failed. After a
// pause one caller tries again; the others go on without until it succeeded.
// The zero value is closed.
type breaker struct {
	mu      sync.Mutex // guards the fields below
	until   time.Time  // zero: all is well
	pause   time.Duration
	probing bool
}

// allow reports whether Redis may be asked; every true is followed by ok,
// fail or release.
func (b *breaker) allow(now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.until.IsZero():
		return true
	case b.probing || now.Before(b.until):
		return false
	}
	b.probing = true
	return true
}

// ok reports whether Redis had been left alone before.
func (b *breaker) ok() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	back := !b.until.IsZero()
	b.until, b.pause, b.probing = time.Time{}, 0, false
	return back
}

// fail reports whether all had been well before.
func (b *breaker) fail(now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	first := b.until.IsZero()
	// Of the callers that failed together only the first one counts.
	if first || b.probing {
		b.pause = min(max(2*b.pause, firstPause), maxPause)
		b.until = now.Add(b.pause)
	}
	b.probing = false
	return first
}

// release ends a try that says nothing about Redis.
func (b *breaker) release() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.probing = false
}
