package lane

import (
	"time"

	"teamtalk/db_proxy/internal/store"
	"teamtalk/internal/im"
)

// Lead is how far beyond the newest stored message the ids of a conversation go
// on when the database has gone back and nobody knows how many messages were
// lost: none of their ids is given to another message.
const Lead im.MsgID = 1000

// enter drops everything that the lane remembers if the database went back
// since: ids, relations and what was stored belong to an epoch.
func (l *lane) enter() {
	epoch := l.deps.Store.Believed()
	if epoch == l.epoch {
		return
	}
	l.epoch = epoch
	l.states = newStates(l.states.limit * 2)
	l.recent, l.givenUp = newRecent(len(l.recent.ring)), newRecent(len(l.givenUp.ring))
}

// isBefore reports whether the newest message of a conversation is older than
// the last time the database went back: others may have followed it.
func (l *lane) isBefore(at time.Time) bool {
	began := l.epoch.Began
	return !began.IsZero() && !at.After(began)
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
