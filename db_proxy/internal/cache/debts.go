package cache

import (
	"maps"
	"slices"
	"sync"
	"time"
)

// maxDebts bounds the keys remembered while Redis is away.
const maxDebts = 50_000

// debts are the unread keys whose last write was lost. They are deleted
// before anything else as soon as Redis is back, and then built again from
// SQL on first need. The zero value is empty.
type debts struct {
	limit int // keys remembered at most; static

	mu   sync.Mutex // guards the fields below
	keys map[string]struct{}
	// since is when more keys were lost than are remembered: marks made
	// before it are void. Zero: never.
	since time.Time
}

func (d *debts) add(now time.Time, keys ...string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.keys == nil {
		d.keys = map[string]struct{}{}
	}
	for _, key := range keys {
		if len(d.keys) >= d.limit {
			d.since = now
			return
		}
		d.keys[key] = struct{}{}
	}
}

// take empties the debts; the caller pays them or adds them again.
func (d *debts) take() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.keys) == 0 {
		return nil
	}
	keys := slices.Collect(maps.Keys(d.keys))
	d.keys = nil
	return keys
}

// voidBefore is the time before which no mark is to be believed.
func (d *debts) voidBefore() time.Time {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.since
}

// void makes marks of before a time void.
func (d *debts) void(before time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if before.After(d.since) {
		d.since = before
	}
}
