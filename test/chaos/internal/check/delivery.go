package check

import (
	"slices"

	"teamtalk/internal/im"
	"teamtalk/test/chaos/internal/event"
)

// What terminals that acknowledge are promised: every message of their
// conversations, one after the other, or a marked gap. Source:
// docs/protocol.md, "Terminals".

// flow is what such a terminal was sent of one conversation.
type flow struct {
	upto   im.MsgID // pushed or marked, on any connection
	pushed idSet
	marks  []span
	jumps  []span // what was left out before a push or a mark, unmarked
}

// span is a run of ids, and when something was said of them.
type span struct {
	first, last im.MsgID
	at          int64
}

func (s *span) has(id im.MsgID) bool { return s.first <= id && id <= s.last }

// flow finds or makes the flow of a conversation.
func (t *terminal) flow(in *conv) *flow {
	f := t.flows[in]
	if f == nil {
		f = &flow{}
		t.flows[in] = f
	}
	return f
}

// push takes a message behind the last one of this connection, or, when that
// is 0, of the ones before.
func (f *flow) push(last, id im.MsgID, at int64) {
	f.reach(last, id, at)
	f.pushed.add(id)
	f.upto = max(f.upto, id)
}

// mark takes a gap, as push takes a message.
func (f *flow) mark(last im.MsgID, gap span) {
	f.reach(last, gap.first, gap.at)
	f.marks = append(f.marks, gap)
	f.upto = max(f.upto, gap.last)
}

func (f *flow) reach(last, id im.MsgID, at int64) {
	if last == 0 {
		last = f.upto
	}
	if id > last+1 {
		f.jumps = append(f.jumps, span{last + 1, id - 1, at})
	}
}

func (c *Checker) marked(t *terminal, in *conv, e *event.Event) {
	if e.ID == 0 || e.Last < e.ID || !t.capable {
		c.violate(Violation{Rule: PushGap, T: e.T, Conv: in.name, ID: e.ID, Client: t.name},
			"%s was told of a gap in %s from #%d to #%d", t.name, in.name, e.ID, e.Last)
		return
	}
	if t.pushed == nil || e.N != t.conn {
		return
	}
	c.result.Marked++
	t.flow(in).mark(t.pushed[in], span{e.ID, e.Last, e.T})
	t.pushed[in] = max(t.pushed[in], e.Last)
}

// backlog is how many messages of a conversation wait at most for a terminal;
// what is older may be marked instead.
const backlog = 1000

// delivered looks for what a terminal that acknowledges was not sent of one
// conversation since its first log-in, and for what was left out on the way.
func (c *Checker) delivered(t *terminal, v *conv) {
	f := t.flow(v)
	base := im.MsgID(0) // older ones are in unread and history
	for id, i := range v.rows {
		if m := &c.messages[i-1]; id > base && m.sentAt <= t.first {
			base = id
		}
	}
	for _, jump := range f.jumps {
		for id := max(jump.first, base+1); id <= jump.last; id++ {
			i, ok := v.at(id)
			if _, gone := v.gone[id]; ok && c.messages[i].client == t || !ok && gone {
				continue
			}
			c.violate(Violation{Rule: PushGap, T: jump.at, Conv: v.name, ID: id, Client: t.name},
				"%s was pushed %s #%d without #%d, which was not marked", t.name, v.name, jump.last+1, id)
		}
	}
	for _, id := range v.sorted() {
		m := &c.messages[v.rows[id]-1]
		if id <= base || m.client == t || m.acked == 0 || f.pushed.has(id) || c.tooMuch(v, f, id) {
			continue
		}
		c.violate(Violation{Rule: Undelivered, T: m.sentAt, Conv: v.name, ID: id, Key: m.key, Client: t.name},
			"%s acknowledges what arrives and was never sent %s, %s #%d", t.name, m.key, v.name, id)
	}
}

// tooMuch reports whether a message was marked because too many waited.
func (c *Checker) tooMuch(v *conv, f *flow, id im.MsgID) bool {
	for i := range f.marks {
		mark := &f.marks[i]
		if !mark.has(id) {
			continue
		}
		ids := v.sorted()
		next, _ := slices.BinarySearch(ids, mark.last+backlog)
		if next < len(ids) && c.messages[v.rows[ids[next]]-1].sentAt <= mark.at {
			return true
		}
	}
	return false
}
