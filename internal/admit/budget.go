// Package admit decides which connections a process takes in. It shares the
// file descriptors of the process among all its listeners, so that strangers
// cannot use up those that databases, files and links to other servers need,
// and it outlives every error of accepting a connection: a listener pauses,
// says so, and goes on.
package admit

import (
	"sync"
	"syscall"
)

// Class says who comes to a listener, and so which share of the descriptors
// its connections may take.
type Class uint8

// The classes.
const (
	// Public is a port for clients, which anybody may find.
	Public Class = iota
	// Link is a port for our servers, whose addresses are on an allow-list.
	Link
	// Operator is a port for those who run the server: health, metrics and
	// commands. Such a listener has a bound of its own.
	Operator
)

// The shares, in percent of the descriptors. What is left is for databases,
// files, connections that the process opens itself, and operators.
const (
	publicShare = 80 // public connections
	linkShare   = 90 // these and links together

	// A descriptor is always the lowest free number, so a high one says that
	// nearly all are in use, by whatever it may be.
	publicBelow = 90
	linkBelow   = 95
)

// Budget is the file descriptors of one process. Safe from any goroutine.
type Budget struct {
	nofile int
	mu     sync.Mutex // guards the fields below
	public int
	links  int
}

// NewBudget returns the budget of a process that may open so many descriptors.
func NewBudget(nofile int) *Budget { return &Budget{nofile: nofile} }

// process is one because the limit is that of the process.
var process = sync.OnceValue(func() *Budget { return NewBudget(raiseLimit()) })

// Process returns the budget of this process; all its listeners share it. The
// first call raises the limit of the system as far as it may.
func Process() *Budget { return process() }

// MaxPublic returns how many public connections are taken at a time.
func (b *Budget) MaxPublic() int { return b.nofile * publicShare / 100 }

// take notes a connection, whose descriptor is fd, and reports whether there
// is room for it.
func (b *Budget) take(class Class, fd int) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	together := b.public + b.links
	switch class {
	case Public:
		if fd >= b.nofile*publicBelow/100 || b.public >= b.MaxPublic() || together >= b.nofile*linkShare/100 {
			return false
		}
		b.public++
	case Link:
		if fd >= b.nofile*linkBelow/100 || together >= b.nofile*linkShare/100 {
			return false
		}
		b.links++
	case Operator:
	}
	return true
}

// leave gives the place of a connection back.
func (b *Budget) leave(class Class) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch class {
	case Public:
		b.public--
	case Link:
		b.links--
	case Operator:
	}
}

// Bounds of what is assumed of the limit of a system.
const (
	unknownLimit = 1000
	highestLimit = 10_000_000
)

// raiseLimit raises the soft limit of descriptors to the hard one and returns
// it.
func raiseLimit() int {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return unknownLimit
	}
	if limit.Cur < limit.Max {
		raised := syscall.Rlimit{Cur: limit.Max, Max: limit.Max}
		if syscall.Setrlimit(syscall.RLIMIT_NOFILE, &raised) == nil {
			limit = raised
		}
	}
	return int(min(limit.Cur, highestLimit))
}
