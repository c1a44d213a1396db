// Package balance keeps the load of the msg_servers and chooses one for a
// client. It does no I/O: a server is a number, and the caller tells the time.
//
// Source: docs/protocol/flows.md §1; docs/protocol/defects.md C12.
package balance

import (
	"cmp"
	"slices"
	"sync"
	"time"
)

// Server names the link of one msg_server; a smaller number came first.
type Server uint64

// Info is what a msg_server says of itself.
type Info struct {
	IP1, IP2 string // addresses for clients
	Port     uint16
	Max      int // connections it takes
	Current  int // log-ins it has
	Host     string
}

// Result is the outcome of a choice, with the numbers of the wire.
type Result uint8

// The results.
const (
	Found Result = 0
	None  Result = 1 // no msg_server is registered
	Full  Result = 2 // all have as many log-ins as they take
)

// A client that was sent to a msg_server counts there for creditTime, or until
// it logs in: the msg_server does not know of it yet, and without the credit a
// thousand clients that ask at once would all be sent to the same one.
// maxCredit bounds what is remembered of one msg_server.
const (
	creditTime = 5 * time.Second
	maxCredit  = 4096
)

// Table is the registered msg_servers. All methods are safe anywhere.
type Table struct {
	mu      sync.Mutex // guards the field below
	servers []*entry   // by Server
}

type entry struct {
	server Server
	info   Info
	sent   []time.Time // when clients were sent there who have not logged in yet; oldest first
}

func (e *entry) load(now time.Time) int {
	old := 0
	for old < len(e.sent) && now.Sub(e.sent[old]) >= creditTime {
		old++
	}
	e.sent = slices.Delete(e.sent, 0, old)
	return e.info.Current + len(e.sent)
}

// Set registers a server or corrects what is known of it: all values are
// absolute.
func (t *Table) Set(s Server, info Info) {
	info.Current = max(info.Current, 0)
	t.mu.Lock()
	defer t.mu.Unlock()
	i, known := t.find(s)
	if known {
		t.servers[i].info, t.servers[i].sent = info, nil
		return
	}
	t.servers = slices.Insert(t.servers, i, &entry{server: s, info: info})
}

// LoggedIn counts one more log-in; it reports whether the server is known.
func (t *Table) LoggedIn(s Server) bool {
	return t.change(s, func(e *entry) {
		e.info.Current++
		if len(e.sent) > 0 {
			e.sent = slices.Delete(e.sent, 0, 1)
		}
	})
}

// LoggedOut counts one log-in less, never below none; it reports whether the
// server is known.
func (t *Table) LoggedOut(s Server) bool {
	return t.change(s, func(e *entry) { e.info.Current = max(e.info.Current-1, 0) })
}

func (t *Table) change(s Server, apply func(*entry)) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	i, known := t.find(s)
	if known {
		apply(t.servers[i])
	}
	return known
}

// Remove forgets a server.
func (t *Table) Remove(s Server) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if i, known := t.find(s); known {
		t.servers = slices.Delete(t.servers, i, i+1)
	}
}

// Pick chooses the least loaded server that is not full, the first of equals.
func (t *Table) Pick(now time.Time) (Info, Result) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.servers) == 0 {
		return Info{}, None
	}
	var best *entry
	least := 0
	for _, e := range t.servers {
		if e.info.Current >= e.info.Max {
			continue
		}
		if load := e.load(now); best == nil || load < least {
			best, least = e, load
		}
	}
	if best == nil {
		return Info{}, Full
	}
	if len(best.sent) == maxCredit {
		best.sent = slices.Delete(best.sent, 0, 1)
	}
	best.sent = append(best.sent, now)
	return best.info, Found
}

// Totals returns how many servers are registered and their log-ins together.
func (t *Table) Totals() (servers, logIns int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, e := range t.servers {
		logIns += e.info.Current
	}
	return len(t.servers), logIns
}

// find is called with t.mu held.
func (t *Table) find(s Server) (int, bool) {
	return slices.BinarySearchFunc(t.servers, s, func(e *entry, s Server) int { return cmp.Compare(e.server, s) })
}
