package msgserver

import (
	"slices"
	"sync"
	"time"
)

// queryFor is how long an answer may be on its way: later none comes, as none
// does when the database cannot say.
const queryFor = 10 * time.Second

// queries are the questions of one connection that are not answered. Safe from
// any goroutine; the zero value is ready.
type queries struct {
	mu   sync.Mutex  // guards the field below; a leaf
	sent []time.Time // oldest first
}

// start takes a place for a question and reports whether there was one.
func (q *queries) start(now time.Time, limit int) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.sent) >= limit {
		q.sent = slices.DeleteFunc(q.sent, func(at time.Time) bool { return now.Sub(at) > queryFor })
	}
	if len(q.sent) >= limit {
		return false
	}
	q.sent = append(q.sent, now)
	return true
}

// end gives a place back. Whose answer it was does not matter for the number.
func (q *queries) end() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.sent) > 0 {
		q.sent = slices.Delete(q.sent, 0, 1)
	}
}

// mayAsk takes a place for a question of the client; without one its
// connection is closed: it would fill the queues of the db_proxies, which
// serve everybody.
func (c *client) mayAsk() bool {
	s := c.server
	if c.queries.start(s.clock(), s.cfg.MaxQueries) {
		return true
	}
	s.metrics.dropped("too_many_queries")
	c.close(reasonOverflow)
	return false
}
