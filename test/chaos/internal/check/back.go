package check

import (
	"slices"

	"teamtalk/internal/im"
	"teamtalk/test/chaos/internal/event"
)

// What is known of ids that went back.

// What is under way to clients when ids go back still comes, for so long.
const (
	ackLate  = 3e6
	showLate = giveUp
)

// goneRow takes a row that was there until the data went back.
func (c *Checker) goneRow(in *conv, e *event.Event) {
	if in.gone == nil {
		in.gone, in.low = map[im.MsgID]string{}, e.ID
	}
	in.gone[e.ID] = e.Key
	in.low = min(in.low, e.ID)
	c.result.Gone++
}

// wasThere reports that a message was stored under an id, which is gone, and
// that somebody may be told so at a moment.
func (c *Checker) wasThere(in *conv, id im.MsgID, key string, at, late int64) bool {
	return in.gone[id] == key && key != "" && (c.back == 0 || at <= c.back+late)
}

// restored forgets what was said of messages that are gone: their ids may be
// given again, and so may be what was refused or acknowledged.
func (c *Checker) restored(e *event.Event) {
	c.back = e.T
	for _, t := range c.clients {
		c.order(t)
		for i := range t.attempts {
			t.attempts[i].acked = 0
		}
		t.goBack()
	}
	for i := range c.messages {
		m := &c.messages[i]
		if m.conv.low == 0 {
			continue
		}
		m.floor = min(m.floor, m.conv.low-1)
		if m.acked >= m.conv.low {
			m.acked, m.ackedAt = 0, 0
		}
	}
	for _, in := range c.convs {
		if in.low > 0 {
			in.acked = min(in.acked, in.low-1)
		}
	}
}

// goBack lets a terminal forget the ids that may be given again.
func (t *terminal) goBack() {
	for in, id := range t.pushed {
		if in.low > 0 {
			t.pushed[in] = min(id, in.low-1)
		}
	}
	for in, seen := range t.seen {
		if in.low > 0 {
			seen.cut(in.low)
		}
	}
	for in, f := range t.flows {
		if in.low == 0 {
			continue
		}
		f.upto = min(f.upto, in.low-1)
		f.pushed.cut(in.low)
		f.marks, f.jumps = below(f.marks, in.low), below(f.jumps, in.low)
	}
}

// below leaves of spans what is below an id.
func below(spans []span, id im.MsgID) []span {
	spans = slices.DeleteFunc(spans, func(s span) bool { return s.first >= id })
	for i := range spans {
		spans[i].last = min(spans[i].last, id-1)
	}
	return spans
}
