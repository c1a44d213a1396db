package msgserver

import (
	"container/heap"
	"time"

	"teamtalk/internal/im"
	"teamtalk/internal/link"
)

// turn is what one connection sends to one conversation: it keeps its order,
// and waits for nobody else's.
type turn struct {
	connID uint64
	conv   im.Conversation
}

// line is where the sends of a turn are: all that are being stored are on one
// link, so that none overtakes another when the conversation changes its
// owner, and all that wait are younger. Source: docs/protocol/defects.md A6.
type line struct {
	turn        turn
	sent        int        // on link, unanswered
	link        *link.Link // nil if sent is 0
	first, last *pending   // those that wait, linked by behind, in the order they came
	standing    standing
	due         time.Time // in delayed: when its first may be sent
	at          int       // in delayed: its index
}

// standing is which list of lines a line stands in.
type standing uint8

const (
	nowhere standing = iota
	inReady
	inDelayed
)

func (l *line) append(p *pending) {
	if l.last == nil {
		l.first = p
	} else {
		l.last.behind = p
	}
	l.last = p
}

func (l *line) prepend(p *pending) {
	p.behind = l.first
	l.first = p
	if l.last == nil {
		l.last = p
	}
}

// remove takes p out if it waits; it is nearly always the first.
func (l *line) remove(p *pending) {
	var before *pending
	for at := l.first; at != nil; before, at = at, at.behind {
		if at != p {
			continue
		}
		if before == nil {
			l.first = p.behind
		} else {
			before.behind = p.behind
		}
		if l.last == p {
			l.last = before
		}
		p.behind = nil
		return
	}
}

// lines are the lines with something under way. Their owner locks them.
type lines struct {
	byTurn map[turn]*line
	// ready are those whose first may be sent, delayed those whose first may
	// be sent later.
	ready   []*line
	delayed delayedLines
}

// of returns the line of a turn, which is new if nothing is under way.
func (ls *lines) of(t turn) *line {
	l := ls.byTurn[t]
	if l == nil {
		l = &line{turn: t}
		ls.byTurn[t] = l
	}
	return l
}

// settle puts a line where it belongs after a change: who waits is looked at
// when its time has come, a line with nothing under way is forgotten.
func (ls *lines) settle(l *line, now time.Time) {
	if l.standing == inDelayed {
		if l.first != nil && l.first.due.Equal(l.due) {
			return
		}
		heap.Remove(&ls.delayed, l.at)
		l.standing = nowhere
	}
	switch {
	case l.standing == inReady:
	case l.first == nil && l.sent == 0:
		delete(ls.byTurn, l.turn)
	case l.first == nil:
	case now.Before(l.first.due):
		l.standing, l.due = inDelayed, l.first.due
		heap.Push(&ls.delayed, l)
	default:
		l.standing = inReady
		ls.ready = append(ls.ready, l)
	}
}

// wake makes the delayed lines ready whose time has come.
func (ls *lines) wake(now time.Time) {
	for len(ls.delayed) > 0 && !now.Before(ls.delayed[0].due) {
		l := ls.delayed[0]
		heap.Pop(&ls.delayed)
		l.standing = inReady
		ls.ready = append(ls.ready, l)
	}
}

// send offers the first of each ready line, and those behind it, to dispatch,
// until it has refused maxStuck lines; these come last next time.
func (ls *lines) send(now time.Time, dispatch func(*pending) bool) {
	n := 0
	var refused []*line
	for n < len(ls.ready) && len(refused) < maxStuck {
		l := ls.ready[n]
		ls.ready[n] = nil
		n++
		for l.first != nil && !now.Before(l.first.due) && dispatch(l.first) {
			l.remove(l.first)
		}
		if l.first != nil && !now.Before(l.first.due) {
			refused = append(refused, l)
			continue
		}
		l.standing = nowhere
		ls.settle(l, now)
	}
	ls.ready = append(ls.ready[n:], refused...)
}

// delayedLines is a heap, the earliest first.
type delayedLines []*line

func (d *delayedLines) Len() int           { return len(*d) }
func (d *delayedLines) Less(i, j int) bool { return (*d)[i].due.Before((*d)[j].due) }

func (d *delayedLines) Swap(i, j int) {
	all := *d
	all[i], all[j] = all[j], all[i]
	all[i].at, all[j].at = i, j
}

// Push is heap.Interface's.
func (d *delayedLines) Push(x any) {
	l := x.(*line) //nolint:forcetypeassert // nothing else is pushed
	l.at = len(*d)
	*d = append(*d, l)
}

// Pop is heap.Interface's.
func (d *delayedLines) Pop() any {
	last := len(*d) - 1
	l := (*d)[last]
	(*d)[last] = nil
	*d = (*d)[:last]
	return l
}
