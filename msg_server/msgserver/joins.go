package msgserver

import (
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"teamtalk/internal/link"
	"teamtalk/internal/wire"
	"teamtalk/pb/buddy"
)

// join is a log-in whose answer waits until the route_servers know of it. What
// is relayed from then on finds the client; what was relayed before is stored,
// and he finds it in what he asks for.
type join struct {
	client *client
	at     time.Time
	left   int // questions without an answer; 0 when he is registered
}

// joinQuestion is what one route_server was asked for one log-in.
type joinQuestion struct {
	join *join
	link *link.Link
}

// joins are the log-ins that wait. Safe from any goroutine.
type joins struct {
	server *Server

	mu      sync.Mutex // guards the fields below; a leaf
	nextID  uint64
	waiting map[uint64]joinQuestion
	silent  map[*link.Link]bool // an answer is overdue: nobody waits for these
}

// joinFor is how long a log-in waits for a route_server.
const joinFor = 300 * time.Millisecond

func newJoins(s *Server) *joins {
	return &joins{server: s, waiting: map[uint64]joinQuestion{}, silent: map[*link.Link]bool{}}
}

// register notes that the route_servers know of a log-in. Safe anywhere.
func (c *client) register() {
	c.conn.Do(func() {
		c.registered = true
		c.welcome()
	})
}

// start asks the route_servers anything, 020A, behind the 070A of the log-in:
// they keep the order of a link, so that whoever answers knows of him. The
// client is registered when all have answered.
func (j *joins) start(c *client, links []*link.Link) {
	ask := &join{client: c, at: j.server.clock()}
	asked := make(map[uint64]*link.Link, len(links))
	j.mu.Lock()
	for _, l := range links {
		if !j.silent[l] {
			j.nextID++
			ask.left++
			asked[j.nextID], j.waiting[j.nextID] = l, joinQuestion{ask, l}
		}
	}
	j.mu.Unlock()
	if len(asked) == 0 {
		c.register()
		return
	}
	user := uint32(c.user())
	for id, l := range asked {
		sent := l.SendMessage(wire.UsersStatusReq, 0, &buddy.IMUsersStatReq{
			UserId: proto.Uint32(user), UserIdList: []uint32{user}, AttachData: attach(attachKindJoin, id),
		})
		if !sent {
			j.answered(id)
		}
	}
}

// answered takes the answer to a question. A route_server that answers late is
// waited for again.
func (j *joins) answered(id uint64) {
	j.mu.Lock()
	q, ok := j.waiting[id]
	delete(j.waiting, id)
	delete(j.silent, q.link)
	last := ok && q.join.less()
	j.mu.Unlock()
	if last {
		q.join.client.register()
	}
}

// less counts an answer and reports whether it was the last. Called with
// joins.mu held.
func (a *join) less() bool {
	if a.left > 0 {
		a.left--
		return a.left == 0
	}
	return false // it did not wait that long
}

// lost ends the questions of a link that is gone.
func (j *joins) lost(l *link.Link) {
	j.mu.Lock()
	var done []*client
	for id, q := range j.waiting {
		if q.link == l {
			delete(j.waiting, id)
			if q.join.less() {
				done = append(done, q.join.client)
			}
		}
	}
	delete(j.silent, l)
	j.mu.Unlock()
	for _, c := range done {
		c.register()
	}
}

// sweep lets in who has waited long enough: a route_server that does not
// answer must not keep everybody out.
func (j *joins) sweep() {
	now := j.server.clock()
	j.mu.Lock()
	var done []*client
	for _, q := range j.waiting {
		if now.Sub(q.join.at) <= joinFor {
			continue
		}
		j.silent[q.link] = true
		if q.join.left > 0 {
			q.join.left = 0
			done = append(done, q.join.client)
		}
	}
	j.mu.Unlock()
	for _, c := range done {
		j.server.metrics.unregistered.Inc()
		c.register()
	}
}
