package check

import (
	"cmp"
	"maps"
	"slices"

	"teamtalk/internal/im"
	"teamtalk/test/chaos/internal/event"
)

// Finish judges what can only be judged when everything is known.
func (c *Checker) Finish() *Result {
	for _, name := range slices.Sorted(maps.Keys(c.clients)) {
		t := c.clients[name]
		c.endConnection(t, never)
		if t.final {
			c.result.Final++
		}
	}
	for i := range c.messages {
		c.finishMessage(&c.messages[i])
	}
	for _, name := range slices.Sorted(maps.Keys(c.convs)) {
		c.finishConv(c.convs[name])
	}
	c.finishTerminals()
	c.finishReads()
	for _, list := range c.finals {
		c.recount(list)
	}
	slices.SortStableFunc(c.result.Violations, func(a, b Violation) int { return cmp.Compare(a.T, b.T) })
	return &c.result
}

func (c *Checker) finishMessage(m *message) {
	if m.open {
		c.fail(m, m.lastAt)
	}
	if m.id == 0 {
		return
	}
	c.result.Stored++
	v := Violation{T: m.sentAt, Conv: m.conv.name, ID: m.id, Key: m.key}
	switch {
	case m.client == nil:
		v.Rule = Phantom
		c.violate(v, "%s is stored as %s #%d and nobody sent it", m.key, m.conv.name, m.id)
		return
	case m.user != m.client.user:
		v.Rule = Phantom
		c.violate(v, "%s of user %d is stored as %s #%d of user %d", m.key, m.client.user, m.conv.name, m.id, m.user)
	case m.refused && m.acked == 0:
		v.Rule = RefusedKept
		c.violate(v, "%s was refused for ever and is stored as %s #%d", m.key, m.conv.name, m.id)
	}
	if m.id <= m.floor {
		v.Rule = TimeOrder
		c.violate(v, "%s became %s #%d although #%d had been acknowledged before it was sent",
			m.key, m.conv.name, m.id, m.floor)
	}
}

// giveUp is how long after it was sent an attempt may still use up an id, in
// microseconds: msg_server and db_proxy have four seconds each.
const giveUp = 12e6

// finishConv explains the ids that are missing: each by an attempt that was
// under way between its neighbours and was not acknowledged, or late.
func (c *Checker) finishConv(v *conv) {
	if c.result.SQL {
		slices.Sort(v.hurt)
		for from := im.MsgID(1); from <= v.max; from++ {
			if v.rows[from] != 0 {
				continue
			}
			to := from
			for to < v.max && v.rows[to+1] == 0 {
				to++
			}
			c.explain(v, from, to)
			from = to
		}
	}
}

// explain judges one run of missing ids. The first one after the last stored
// row is never missing: nothing follows it.
func (c *Checker) explain(v *conv, from, to im.MsgID) {
	earliest, latest := int64(0), int64(1)<<62
	if i, ok := v.at(from - 1); ok && c.messages[i].client != nil {
		earliest = c.messages[i].sentAt
	}
	i, ok := v.at(to + 1)
	if ok && c.messages[i].acked != 0 {
		latest = c.messages[i].ackedAt
	}
	first, _ := slices.BinarySearch(v.hurt, earliest-giveUp)
	last, _ := slices.BinarySearch(v.hurt, latest)
	missing := 0
	for id := from; id <= to; id++ {
		if _, gone := v.gone[id]; !gone {
			missing++
		}
	}
	if last-first >= missing {
		c.result.Gaps += missing
		return
	}
	at := earliest
	c.violate(Violation{Rule: Gap, T: at, Conv: v.name, ID: from},
		"%s lacks #%d to #%d; %d attempts failed or were slow in that time", v.name, from, to, max(last-first, 0))
}

// finishTerminals looks for messages that a terminal never found.
func (c *Checker) finishTerminals() {
	byUser := map[uint32][]*terminal{}
	for _, name := range slices.Sorted(maps.Keys(c.clients)) {
		t := c.clients[name]
		byUser[t.user] = append(byUser[t.user], t)
		c.recovered(t)
	}
	for _, name := range slices.Sorted(maps.Keys(c.convs)) {
		v := c.convs[name]
		for _, user := range v.users {
			for _, t := range byUser[user] {
				if t.final {
					c.found(t, v)
				}
				if t.first >= 0 {
					c.delivered(t, v)
				}
			}
		}
		v.ids = nil
	}
}

// recovered looks whether a terminal was there at rest, as what it is.
func (c *Checker) recovered(t *terminal) {
	v := Violation{Rule: NotRecovered, T: t.since, Client: t.name}
	switch {
	case !t.final && c.result.Final > 0:
		c.violate(v, "%s was not there at the end", t.name)
	case t.final && t.delivers && !t.capable:
		c.violate(v, "%s cannot acknowledge what arrives on its last connection", t.name)
	}
}

// sorted returns the ids of all rows, ascending.
func (v *conv) sorted() []im.MsgID {
	if v.ids == nil {
		v.ids = slices.Sorted(maps.Keys(v.rows))
	}
	return v.ids
}

// found looks for what one terminal misses of one conversation.
func (c *Checker) found(t *terminal, v *conv) {
	seen := t.seen[v]
	for _, id := range v.sorted() {
		if seen.has(id) {
			continue
		}
		m := &c.messages[v.rows[id]-1]
		c.violate(Violation{Rule: Undelivered, T: m.sentAt, Conv: v.name, ID: id, Key: m.key, Client: t.name},
			"%s never found %s, %s #%d", t.name, m.key, v.name, id)
	}
}

// presence compares a list with who is connected. Only at rest is that known.
func (c *Checker) presence(t *terminal, _ *conv, e *event.Event) {
	if !e.Final {
		return
	}
	online := map[uint32]bool{}
	for _, other := range c.clients {
		if other.pc && other.up {
			online[other.user] = true
		}
	}
	tell := func(users []uint32, want bool, word string) {
		for _, user := range users {
			if online[user] != want {
				c.violate(Violation{Rule: FalseStatus, T: e.T, Client: t.name}, "%s is told that user %d is %s", t.name, user, word)
			}
		}
	}
	tell(e.Online, true, "on-line")
	tell(e.Offline, false, "off-line")
}

// unreadList is an answer at rest.
type unreadList struct {
	at       int64
	terminal *terminal
	counts   []event.Count
}

func (c *Checker) unread(t *terminal, _ *conv, e *event.Event) {
	sum := 0
	for _, count := range e.Counts {
		sum += count.Unread
	}
	if sum != e.Total {
		c.violate(Violation{Rule: UnreadDrift, T: e.T, Client: t.name},
			"%s has %d unread in total and %d in the list", t.name, e.Total, sum)
	}
	if e.Final {
		t.final = true
		c.finals = append(c.finals, unreadList{e.T, t, slices.Clone(e.Counts)})
	}
}

// finishReads compares the read cursors with what was read.
func (c *Checker) finishReads() {
	if !c.result.SQL {
		return
	}
	for r, id := range c.finalReads {
		if c.cursors[r] < id {
			c.violate(Violation{Rule: ReadLost, Conv: r.conv, ID: id},
				"user %d has read %s up to #%d; the cursor is #%d", r.user, r.conv, id, c.cursors[r])
		}
	}
	for r, cursor := range c.cursors {
		if highest := c.highestRead(r); cursor > highest {
			c.violate(Violation{Rule: CursorAhead, Conv: r.conv, ID: cursor},
				"the cursor of user %d in %s is #%d; he has read up to #%d", r.user, r.conv, cursor, highest)
		}
	}
}

// highestRead is the furthest that a user's cursor can be: what he reported,
// and in a group what he sent.
func (c *Checker) highestRead(r reader) im.MsgID {
	highest := c.reads[r]
	v := c.convs[r.conv]
	if v == nil || v.conv.Kind != im.Group {
		return highest
	}
	for id, i := range v.rows {
		if id > highest && c.messages[i-1].user == r.user {
			highest = id
		}
	}
	return highest
}

// recount compares an unread list with the messages of others behind the
// cursors. Without SQL only what was read at rest has a known cursor.
func (c *Checker) recount(list unreadList) {
	told := map[string]event.Count{}
	for _, count := range list.counts {
		told[count.Conv] = count
	}
	user := list.terminal.user
	for _, name := range slices.Sorted(maps.Keys(c.convs)) {
		v := c.convs[name]
		if !slices.Contains(v.users, user) {
			continue
		}
		cursor := c.cursors[reader{user, name}]
		if !c.result.SQL {
			read, ok := c.finalReads[reader{user, name}]
			if !ok {
				delete(told, name)
				continue
			}
			cursor = max(read, c.highestRead(reader{user, name}))
		}
		want, latest := 0, im.MsgID(0)
		for id, i := range v.rows {
			latest = max(latest, id)
			if id > cursor && c.messages[i-1].user != user {
				want++
			}
		}
		got := told[name]
		delete(told, name)
		at := Violation{Rule: UnreadDrift, T: list.at, Conv: name, ID: cursor, Client: list.terminal.name}
		if got.Unread != want {
			c.violate(at, "%s has %d unread in %s; %d were sent after #%d", list.terminal.name, got.Unread, name, want, cursor)
		} else if want > 0 && got.Latest != latest {
			c.violate(at, "%s is told that %s ends with #%d; it ends with #%d", list.terminal.name, name, got.Latest, latest)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(told)) {
		c.violate(Violation{Rule: UnreadDrift, T: list.at, Conv: name, Client: list.terminal.name},
			"%s has unread messages in %s, which is not his", list.terminal.name, name)
	}
}
