package msgserver

import (
	"slices"
	"sync"
	"time"

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

// end gives the place of the oldest question with this seq back; of the oldest
// of all if a client asked something else.
func (q *queries) end(seq uint16) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.asked) == 0 {
		return
	}
	i := max(slices.IndexFunc(q.asked, func(a query) bool { return a.seq == seq }), 0)
	q.weight -= q.asked[i].weight
	q.asked = slices.Delete(q.asked, i, i+1)
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
