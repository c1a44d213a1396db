package check

import (
	"maps"
	"slices"

	"teamtalk/test/chaos/internal/event"
)

// What is promised while one fault is in force and nothing else is wrong: of
// some kinds everybody is to survive, that conversations go on within seconds;
// of some of these, that no connection of a client ends.

// Times in microseconds.
const (
	// goesOn is how long a conversation may be without an acknowledgement:
	// four seconds until a server is known to hang, and some to turn to another.
	goesOn = 8e6
	// aftermath is how long after other faults nothing is judged.
	aftermath = 5e6
)

// ownClose is why a connection ended that its client closed.
const ownClose = "client: closed"

// scene is what is wrong at a moment.
type scene struct {
	faults map[int]inForce
	healed int64    // when the last one ended that is not to be survived
	judged *inForce // nil: too much is wrong to judge
	from   int64    // when that began
}

// inForce is a fault that has begun.
type inForce struct {
	n                  int
	name               string
	survive, unnoticed bool
}

// waiting is an attempt in a judged time, since which its conversation has had
// no acknowledgement.
type waiting struct {
	message int32
	client  *terminal
	conn    int
	at      int64
	stood   int64
}

func (c *Checker) fault(e *event.Event) {
	c.look(e.T)
	c.scene.faults[e.N] = inForce{e.N, e.Why, e.Survive, e.Unnoticed}
	c.scene.open(e.T)
}

func (c *Checker) healedFault(e *event.Event) {
	c.look(e.T)
	if f, ok := c.scene.faults[e.N]; ok && !f.survive {
		c.scene.healed = e.T
	}
	delete(c.scene.faults, e.N)
	c.scene.open(e.T)
}

// open begins a judged time if there is one fault and it is to be survived.
func (s *scene) open(now int64) {
	s.judged = nil
	if len(s.faults) != 1 {
		return
	}
	for _, f := range s.faults {
		if f.survive {
			s.judged, s.from = &f, max(now, s.healed+aftermath)
		}
	}
}

// judging returns the fault that is judged at a moment; nil if none is.
func (s *scene) judging(at int64) *inForce {
	if s.judged != nil && at >= s.from {
		return s.judged
	}
	return nil
}

// look ends a judged time: what is still without an acknowledgement may have
// been so for too long.
func (c *Checker) look(now int64) {
	if c.scene.judged == nil {
		return
	}
	for _, name := range slices.Sorted(maps.Keys(c.convs)) {
		c.stall(c.convs[name], noMessage, now)
	}
}

// awaits notes an attempt.
func (c *Checker) awaits(t *terminal, in *conv, i int32, at int64) {
	if t.up && c.scene.judging(at) != nil {
		in.waiting = append(in.waiting, waiting{i, t, t.conn, at, c.stoodUntil(at)})
	}
}

// noMessage is no index of a message.
const noMessage int32 = -1

// stall judges how long a conversation was without an acknowledgement, which
// comes now, of a message, or is given up. A client that is not told of refusals
// may wait for an acknowledgement that never comes, and send nothing meanwhile:
// what it sent is judged by its own acknowledgement only.
func (c *Checker) stall(in *conv, acked int32, now int64) {
	for i := range in.waiting {
		w := &in.waiting[i]
		if m := &c.messages[w.message]; !w.client.up || w.client.conn != w.conn || m.refused ||
			!w.client.acks && w.message != acked {
			continue // nobody owes an answer to it
		}
		took := now - w.at - (c.stoodUntil(now) - w.stood)
		f := c.scene.judging(w.at)
		if f == nil {
			break
		}
		c.result.Stalls[f.n] = max(c.result.Stalls[f.n], took)
		if took > goesOn {
			m := &c.messages[w.message]
			c.violate(Violation{Rule: Stalled, T: w.at, Conv: in.name, Key: m.key, Client: w.client.name},
				"nothing of %s was acknowledged for %.1f s after %s was sent, while only fault #%d, %s, was in force",
				in.name, float64(took)/1e6, m.key, f.n, f.name)
		}
		break // the others waited less
	}
	in.waiting = in.waiting[:0]
}

// drops judges the end of a connection.
func (c *Checker) drops(t *terminal, e *event.Event) {
	f := c.scene.judging(e.T)
	if f == nil || !f.unnoticed || !t.up || e.N != t.conn || t.since > e.T || e.Why == ownClose {
		return
	}
	c.violate(Violation{Rule: Dropped, T: e.T, Client: t.name},
		"connection %d of %s ended (%s) while only fault #%d, %s, was in force", e.N, t.name, e.Why, f.n, f.name)
}
