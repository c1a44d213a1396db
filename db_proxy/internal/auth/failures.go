package auth

import (
	"net/netip"
	"sync"
	"time"
)

// More than maxFailures within failureWindow, and a name is not looked at any
// more from that address. Source: docs/protocol/flows.md §3.
const (
	maxFailures   = 10
	failureWindow = 30 * time.Minute
	maxFailing    = 100_000 // names and addresses that are counted
)

// failureKey is who fails: a name, from an address if that is known, so that
// nobody locks the owner out from elsewhere.
// Source: docs/protocol/defects.md C11.
type failureKey struct {
	addr netip.Addr
	name string
}

// hostOf returns what of an address names the attacker: an IPv4 address, or
// the /64 network that one IPv6 host can use as it likes.
func hostOf(s string) netip.Addr {
	addr, err := netip.ParseAddr(s)
	if err != nil {
		withPort, err := netip.ParseAddrPort(s)
		if err != nil {
			return netip.Addr{}
		}
		addr = withPort.Addr()
	}
	addr = addr.Unmap().WithZone("")
	if addr.Is6() {
		if net, err := addr.Prefix(64); err == nil {
			addr = net.Addr()
		}
	}
	return addr
}

// failures counts failed log-ins in two generations: when the young one is
// full it becomes the old one, and whom nobody saw fail since is forgiven.
type failures struct {
	limit int // keys per generation, static

	mu         sync.Mutex // guards the fields below
	young, old map[failureKey]*lastFailures
}

// lastFailures are the times of the last failures in Unix seconds, oldest
// first; 0 is none.
type lastFailures [maxFailures + 1]int64

func newFailures(limit int) *failures {
	return &failures{limit: max(limit/2, 1), young: map[failureKey]*lastFailures{}}
}

func (f *failures) get(key failureKey) *lastFailures {
	if last := f.young[key]; last != nil {
		return last
	}
	return f.old[key]
}

// full reports whether there were too many failures.
func (f *failures) full(key failureKey, now time.Time) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	last := f.get(key)
	return last != nil && last.full(now)
}

func (l *lastFailures) full(now time.Time) bool {
	return l[0] != 0 && l[0] > now.Add(-failureWindow).Unix()
}

// add counts a failure unless there were too many before.
func (f *failures) add(key failureKey, now time.Time) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	last := f.get(key)
	if last == nil {
		last = new(lastFailures)
	}
	if last.full(now) {
		return false
	}
	copy(last[:], last[1:])
	last[maxFailures] = now.Unix()
	if f.young[key] == nil {
		if len(f.young) >= f.limit {
			f.old, f.young = f.young, make(map[failureKey]*lastFailures, f.limit/4)
		}
		f.young[key] = last
	}
	return true
}

// forgive takes back the last failure.
func (f *failures) forgive(key failureKey) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if last := f.get(key); last != nil {
		copy(last[1:], last[:maxFailures])
		last[0] = 0
	}
}

// clear forgets the failures, after a success.
func (f *failures) clear(key failureKey) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.young, key)
	delete(f.old, key)
}
