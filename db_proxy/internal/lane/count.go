package lane

import (
	"context"
	"time"

	"teamtalk/db_proxy/internal/store"
	"teamtalk/internal/im"
)

// count brings the unread counts and activity times of a committed batch up
// to date. All values are absolute, so writing one twice, or only the last of
// several, does no harm.
func (l *lane) count(b *batch) {
	touched := map[store.SessionKey]im.Conversation{}
	for _, s := range b.sends {
		st := l.states.get(s.Conv)
		st.sessions[s.From] = true
		l.deps.Behind.Touch(s.Conv, s.Created)
		if s.Conv.Kind == im.Group {
			l.deps.Behind.SetGroup(s.Conv.Group, s.id)
			l.deps.Behind.SetRead(s.Conv.Group, s.From, s.id)
			continue
		}
		to := s.Conv.Pair.Peer(s.From)
		st.sessions[to] = true
		if n, known := st.unread[to]; known {
			st.unread[to] = n + 1
		} else if c := st.counting[to]; c != nil {
			c.later = append(c.later, s.id)
		}
		touched[store.SessionKey{User: to, Kind: im.Single, Peer: uint32(s.From)}] = s.Conv
	}
	for _, r := range b.reads {
		st := l.states.get(r.Conv)
		if r.Conv.Kind == im.Group {
			l.countGroup(r, st)
			continue
		}
		delete(st.counting, r.User) // what is being counted is not after this cursor
		if r.cursor >= st.last {
			st.unread[r.User] = 0
		} else {
			delete(st.unread, r.User)
		}
		touched[store.SessionKey{User: r.User, Kind: im.Single, Peer: r.Conv.SessionID(r.User)}] = r.Conv
	}
	for key, conv := range touched {
		st := l.states.get(conv)
		if count, known := st.unread[key.User]; known {
			l.deps.Behind.SetUnread(key, count)
			continue
		}
		l.deps.Behind.ForgetUnread(key)
		l.recount(key, conv, st)
	}
}

// counting is an unread count that is being read from the database.
type counting struct {
	begun time.Time
	later []im.MsgID // messages to the user that were committed since
}

// How many counts may be read at the same time, so that they take neither all
// workers nor all connections, and when a reader counts as lost.
const (
	maxCounting  = 2
	countingLost = time.Minute
)

// recount reads a count that is not known beside the lane: after a start, or
// after another owner, there may be ten thousands of messages to count, and
// nobody's message waits for that. Until it is known, the count stays
// forgotten, and whoever wants it asks the database.
func (l *lane) recount(key store.SessionKey, conv im.Conversation, st *state) {
	now := l.deps.Clock()
	if c := st.counting[key.User]; c != nil && now.Sub(c.begun) < countingLost {
		return
	}
	if l.counts.Add(1) > maxCounting {
		l.counts.Add(-1)
		return // with the next message
	}
	c := &counting{begun: now}
	if st.counting == nil {
		st.counting = map[im.UserID]*counting{}
	}
	st.counting[key.User] = c
	l.Lanes.running.Add(1)
	task := func() {
		defer l.Lanes.running.Done()
		ctx, cancel := l.patience()
		defer cancel()
		unread, err := l.deps.Store.UnreadOf(ctx, key)
		l.counts.Add(-1)
		if err != nil {
			l.deps.Log.Warn("unread count not read", "error", err)
		}
		_ = l.Submit(&Change{ // refused: begun again when it counts as lost
			Conv:    conv,
			Run:     func(context.Context) { l.counted(key, conv, c, unread, err) },
			Refused: func(error) {},
		})
	}
	if !l.deps.Go(task) {
		go task()
	}
}

// counted takes a count into the state, and with it what was committed after
// the database had counted.
func (l *lane) counted(key store.SessionKey, conv im.Conversation, c *counting, unread store.Unread, err error) {
	st := l.states.get(conv)
	if st == nil || st.counting[key.User] != c {
		return // the state is another one, or the cursor has moved
	}
	delete(st.counting, key.User)
	if err != nil {
		return
	}
	count := unread.Count
	for _, id := range c.later {
		if id > unread.Latest.ID {
			count++
		}
	}
	st.unread[key.User] = count
	l.deps.Behind.SetUnread(key, count)
}

// forgetCounts makes the counts that a message would have changed be read from
// the database again.
func (l *lane) forgetCounts(s *Send) {
	if s.Conv.Kind == im.Group {
		l.deps.Behind.ForgetGroup(s.Conv.Group)
		l.deps.Behind.ForgetUnread(store.SessionKey{User: s.From, Kind: im.Group, Peer: uint32(s.Conv.Group)})
		return
	}
	l.deps.Behind.ForgetUnread(store.SessionKey{User: s.Conv.Pair.Peer(s.From), Kind: im.Single, Peer: uint32(s.From)})
}

// countGroup writes where a member of a group stands: so that newest minus
// his value is what he has not read. A cursor that did not reach the newest
// message may have been behind the stored one, and the messages after it may
// be his own: such a count is read from the database when it is asked for.
func (l *lane) countGroup(r *Read, st *state) {
	if r.cursor < st.last {
		l.deps.Behind.ForgetUnread(store.SessionKey{User: r.User, Kind: im.Group, Peer: uint32(r.Conv.Group)})
		return
	}
	l.deps.Behind.SetRead(r.Conv.Group, r.User, r.cursor)
}
