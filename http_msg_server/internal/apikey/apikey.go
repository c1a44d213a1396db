// Package apikey decides which back end is asking, what it may do and how
// often. It remembers for a few seconds what the database said of a key, and
// never the key itself; how keys are made and stored is db_proxy's business.
package apikey

import (
	"context"
	"crypto/sha256"
	"math"
	"net/netip"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"teamtalk/internal/im"
)

// Key is what is known of a back end.
type Key struct {
	ID     string
	Name   string
	Scopes []string
	Rate   uint32 // requests per second
}

// Lookup asks the database; im.Denied: there is no such key.
type Lookup func(ctx context.Context, id string, hash [sha256.Size]byte) (Key, error)

// Bounds: how long an answer of the database counts, how many are kept, and
// how many wrong keys an address may try.
const (
	goodFor       = 5 * time.Second
	badFor        = 2 * time.Second
	maxRemembered = 10_000
	wrongPerSec   = 5
	wrongBurst    = 20
)

// Keys is safe from any goroutine.
type Keys struct {
	lookup Lookup
	clock  func() time.Time

	mu       sync.Mutex // guards the fields below; a leaf
	known    map[seen]verdict
	limiters map[string]*rate.Limiter // by key id
	wrong    map[netip.Addr]*rate.Limiter
}

// seen is a token without its secret.
type seen struct {
	id   string
	hash [sha256.Size]byte
}

type verdict struct {
	key   Key
	ok    bool
	until time.Time
}

// New returns Keys that know nothing yet.
func New(lookup Lookup, clock func() time.Time) *Keys {
	return &Keys{
		lookup: lookup, clock: clock, known: map[seen]verdict{},
		limiters: map[string]*rate.Limiter{}, wrong: map[netip.Addr]*rate.Limiter{},
	}
}

// Check returns the key of a token. im.Denied: there is no such key; im.Busy:
// this address tried too many; any other error: the database did not say.
func (k *Keys) Check(ctx context.Context, token string, from netip.Addr) (Key, error) {
	s, ok := parse(token)
	if !ok {
		return Key{}, k.deny(from)
	}
	now := k.clock()
	k.mu.Lock()
	v, remembered := k.known[s]
	k.mu.Unlock()
	if !remembered || !now.Before(v.until) {
		if k.blocked(from) {
			return Key{}, im.Errorf(im.Busy, "too many wrong keys")
		}
		key, err := k.lookup(ctx, s.id, s.hash)
		switch im.CodeOf(err) {
		case im.OK:
			v = verdict{key: key, ok: true, until: now.Add(goodFor)}
		case im.Denied:
			v = verdict{until: now.Add(badFor)}
		default:
			return Key{}, err
		}
		k.remember(s, v)
	}
	if !v.ok {
		return Key{}, k.deny(from)
	}
	return v.key, nil
}

// parse takes a token apart: tt_ID_SECRET.
func parse(token string) (seen, bool) {
	parts := strings.Split(token, "_")
	if len(parts) != 3 || parts[0] != "tt" || parts[1] == "" || parts[2] == "" || len(token) > 128 {
		return seen{}, false
	}
	return seen{id: parts[1], hash: sha256.Sum256([]byte(parts[2]))}, true
}

func (k *Keys) remember(s seen, v verdict) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.known) >= maxRemembered {
		clear(k.known)
	}
	k.known[s] = v
}

// deny counts a wrong key against an address.
func (k *Keys) deny(from netip.Addr) error {
	if !k.wrongOf(from).AllowN(k.clock(), 1) {
		return im.Errorf(im.Busy, "too many wrong keys")
	}
	return im.Errorf(im.Denied, "no such key")
}

// blocked reports whether an address has used up its wrong keys, so that
// guesses do not reach the database.
func (k *Keys) blocked(from netip.Addr) bool { return k.wrongOf(from).TokensAt(k.clock()) < 1 }

func (k *Keys) wrongOf(from netip.Addr) *rate.Limiter {
	k.mu.Lock()
	defer k.mu.Unlock()
	l := k.wrong[from]
	if l == nil {
		if len(k.wrong) >= maxRemembered {
			clear(k.wrong)
		}
		l = rate.NewLimiter(wrongPerSec, wrongBurst)
		k.wrong[from] = l
	}
	return l
}

// Allow takes one request of a key; if it has none left, wait says when it
// has.
func (k *Keys) Allow(key Key) (wait time.Duration, ok bool) {
	now := k.clock()
	burst := int(min(max(key.Rate, 1), math.MaxInt32))
	k.mu.Lock()
	l := k.limiters[key.ID]
	if l == nil {
		if len(k.limiters) >= maxRemembered {
			clear(k.limiters)
		}
		l = rate.NewLimiter(rate.Limit(burst), burst)
		k.limiters[key.ID] = l
	}
	k.mu.Unlock()
	if l.Burst() != burst {
		l.SetBurstAt(now, burst)
		l.SetLimitAt(now, rate.Limit(burst))
	}
	r := l.ReserveN(now, 1)
	if wait = r.DelayFrom(now); wait > 0 {
		r.CancelAt(now)
		return wait, false
	}
	return 0, true
}
