package lane

import (
	"context"
	"time"

	"teamtalk/db_proxy/internal/store"
	"teamtalk/internal/im"
)

// Lead is how far beyond the newest stored message the ids of a conversation go
// on when the database has gone back and nobody knows how many messages were
// lost: none of their ids is given to another message.
const Lead im.MsgID = 1000

// Reset drops everything that the lanes remember: the database went back. It
// happens behind what was submitted before.
func (l *Lanes) Reset() {
	for _, target := range l.lanes {
		target.submit(&Change{Run: func(context.Context) { target.forgetAll() }, Refused: func(error) {}})
	}
}

// submit queues what is never refused.
func (l *lane) submit(op Operation) {
	l.mu.Lock()
	l.waiting = append(l.waiting, op)
	start := !l.running
	l.running = true
	l.mu.Unlock()
	if start {
		l.Lanes.running.Add(1)
		if !l.deps.Go(l.run) {
			go l.run()
		}
	}
}

// forgetAll runs on the worker of the lane.
func (l *lane) forgetAll() {
	l.states = newStates(l.states.limit * 2)
	l.recent, l.givenUp = newRecent(len(l.recent.ring)), newRecent(len(l.givenUp.ring))
}

// isBefore reports whether the newest message of a conversation is older than
// the last time the database went back: others may have followed it.
func (l *lane) isBefore(at time.Time) bool {
	if l.deps.WentBack == nil {
		return false
	}
	back := l.deps.WentBack()
	return !back.IsZero() && !at.After(back)
}

// lead is the Reservation.Lead of a conversation.
func (l *lane) lead(st *state) im.MsgID {
	if st.last != 0 && l.isBefore(st.lastAt) {
		return Lead
	}
	return 0
}

func (l *lane) lostAfter(last store.Last) bool {
	return l.isBefore(time.Unix(int64(last.Created), 0))
}
