package directory

import (
	"sync"
	"time"
)

// cache keeps the most recently used entries in two generations: when the
// young one is full it becomes the old one, and what nobody asked for since is
// forgotten with the one before. Entries expire ttl after they were loaded;
// ttl 0 means never. Safe from any goroutine.
type cache[K comparable, V any] struct {
	ttl   time.Duration
	limit int // entries per generation

	mu         sync.Mutex // guards the fields below
	young, old map[K]entry[V]
	// epoch rises with every removal, so that a value which was read before
	// the removal is not put in after it.
	epoch uint64
}

type entry[V any] struct {
	value  V
	loaded time.Time
}

func newCache[K comparable, V any](limit int, ttl time.Duration) *cache[K, V] {
	return &cache[K, V]{ttl: ttl, limit: max(limit/2, 1), young: map[K]entry[V]{}}
}

// split returns the fresh values of keys, the keys that must be loaded, and
// the epoch to pass to put.
func (c *cache[K, V]) split(keys []K, now time.Time) (found map[K]V, missing []K, epoch uint64) {
	found = make(map[K]V, len(keys))
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, key := range keys {
		if _, seen := found[key]; seen {
			continue
		}
		e, ok := c.young[key]
		if !ok {
			if e, ok = c.old[key]; ok {
				c.insert(key, e)
			}
		}
		if ok && (c.ttl == 0 || now.Sub(e.loaded) < c.ttl) {
			found[key] = e.value
			continue
		}
		missing = append(missing, key)
	}
	return found, missing, c.epoch
}

// put stores a loaded value unless something was removed since epoch.
func (c *cache[K, V]) put(key K, value V, now time.Time, epoch uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.epoch == epoch {
		c.insert(key, entry[V]{value: value, loaded: now})
	}
}

func (c *cache[K, V]) insert(key K, e entry[V]) {
	if len(c.young) >= c.limit {
		c.old, c.young = c.young, make(map[K]entry[V], c.limit/4)
	}
	c.young[key] = e
}

func (c *cache[K, V]) remove(key K) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.young, key)
	delete(c.old, key)
	c.epoch++
}

func (c *cache[K, V]) clear() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.young, c.old = map[K]entry[V]{}, nil
	c.epoch++
}
