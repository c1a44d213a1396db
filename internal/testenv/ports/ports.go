// Package ports is the one place where tests take ports of 127.0.0.1. A port is
// reserved for its process before it is looked at, and until the process ends:
// no other test of this machine is given it, and a server may be stopped and
// started on it.
package ports

import (
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"sync"
)

// The ports that are given out: above those that services have, and below those
// that systems give to outgoing connections.
const (
	lowest  = 10_000
	highest = 28_000
)

// attempts bounds how many bases are looked at.
const attempts = 10_000

var given struct {
	mu    sync.Mutex
	ports map[int]net.Listener // with what reserves them
}

// Take returns a base port. The ports at these distances from it, none negative
// and each named once, are free, and nobody else is given one of them. It begins
// anywhere, so that processes that take ports at the same time rarely meet.
func Take(distances ...int) (base int, err error) {
	given.mu.Lock()
	defer given.mu.Unlock()
	if given.ports == nil {
		given.ports = map[int]net.Listener{}
	}
	room := highest - lowest - slices.Max(distances)
	for range attempts {
		if base = lowest + rand.IntN(room); take(base, distances) {
			return base, nil
		}
	}
	return 0, fmt.Errorf("no free ports from %d to %d", lowest, highest)
}

// take takes all ports of a base or none.
func take(base int, distances []int) bool {
	for i, d := range distances {
		if takeOne(base + d) {
			continue
		}
		for _, d := range distances[:i] {
			if r := given.ports[base+d]; r != nil {
				_ = r.Close()
			}
			delete(given.ports, base+d)
		}
		return false
	}
	return true
}

func takeOne(port int) bool {
	if _, ours := given.ports[port]; ours {
		return false
	}
	// Reserved first: even to look at a port takes it for a moment.
	reservation, ok := reserve(port)
	if !ok {
		return false
	}
	l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err == nil {
		err = l.Close()
	}
	if err != nil {
		if reservation != nil {
			_ = reservation.Close()
		}
		return false
	}
	given.ports[port] = reservation
	return true
}
