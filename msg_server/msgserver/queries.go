package msgserver

import (
	"slices"
	"sync"
	"time"

	"teamtalk/internal/link"
	"teamtalk/internal/wire"
)

// queryFor is how long an answer may be on its way: later none comes, as none
// does when the database cannot say.
const queryFor = 10 * time.Second

// queryBytes of a question weigh as much as a short one.
const queryBytes = 4 << 10

// queries are the questions of one connection that are not answered. A long
// one weighs as much as many short ones. Safe from any goroutine; the zero
// value is ready.
type queries struct {
	mu     sync.Mutex // guards the fields below; a leaf
	asked  []query    // oldest first
	weight int        // of all together
}

type query struct {
	at     time.Time
	seq    uint16
	weight int

	// Of a question that changes nothing, to ask it again elsewhere.
	command wire.Command
	request request // nil: it is asked once
	link    *link.Link
	// answered says that the client has its answer, and another db_proxy that
	// was asked may answer as well.
	answered bool
}

// start takes a place for a question and reports whether there was one: what
// is under way must be below the limit, so that a question of any size is asked
// when little else is.
func (q *queries) start(now time.Time, pdu wire.PDU, limit int) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.weight >= limit {
		q.drop(func(a query) bool { return now.Sub(a.at) > queryFor })
	}
	if q.weight >= limit {
		return false
	}
	a := query{at: now, seq: pdu.Seq, weight: 1 + len(pdu.Body)/queryBytes}
	q.asked, q.weight = append(q.asked, a), q.weight+a.weight
	return true
}

// repeatable notes the request behind the newest question with this seq, and
// who was asked. A client that numbers its questions 0 is not asked for again:
// nobody could tell the answers apart.
func (q *queries) repeatable(pdu wire.PDU, r request, l *link.Link) {
	if pdu.Seq == 0 {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	for i := len(q.asked) - 1; i >= 0; i-- {
		if a := &q.asked[i]; a.seq == pdu.Seq && !a.answered {
			a.command, a.request, a.link = pdu.Command, r, l
			return
		}
	}
}

// elsewhere returns what l was asked and can be asked again, which is noted to
// be asked of other.
func (q *queries) elsewhere(now time.Time, l, other *link.Link) (again []query) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.drop(func(a query) bool { return now.Sub(a.at) > queryFor })
	for i := range q.asked {
		if a := &q.asked[i]; a.link == l && a.request != nil && !a.answered {
			a.link = other
			again = append(again, *a)
			a.request = nil // three db_proxies that are away in turn are no reason to go on
		}
	}
	return again
}

// end gives the place of the oldest question with this seq back; of the oldest
// of all if a client asked something else. It reports false if the client has
// its answer already, from another db_proxy.
func (q *queries) end(seq uint16) (wanted bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	i := slices.IndexFunc(q.asked, func(a query) bool { return a.seq == seq && !a.answered })
	if i < 0 {
		if twice := slices.IndexFunc(q.asked, func(a query) bool { return a.seq == seq }); twice >= 0 {
			q.asked = slices.Delete(q.asked, twice, twice+1)
			return false
		}
		if i = slices.IndexFunc(q.asked, func(a query) bool { return !a.answered }); i < 0 {
			return true
		}
	}
	q.weight -= q.asked[i].weight
	if a := &q.asked[i]; a.link != nil && a.request == nil { // two were asked
		a.answered, a.weight = true, 0
		return true
	}
	q.asked = slices.Delete(q.asked, i, i+1)
	return true
}

// drop is called with mu held.
func (q *queries) drop(old func(query) bool) {
	q.asked = slices.DeleteFunc(q.asked, func(a query) bool {
		if old(a) {
			q.weight -= a.weight
			return true
		}
		return false
	})
}

// mayAsk takes a place for a question of the client; without one its
// connection is closed: it would fill the queues of the db_proxies, which
// serve everybody.
func (c *client) mayAsk(pdu wire.PDU) bool {
	s := c.server
	if c.queries.start(s.clock(), pdu, s.cfg.MaxQueries) {
		return true
	}
	s.metrics.dropped("too_many_queries")
	c.close(reasonOverflow)
	return false
}
