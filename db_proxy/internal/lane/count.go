package lane

import (
	"context"
	"time"

	"teamtalk/db_proxy/internal/cache"
	"teamtalk/db_proxy/internal/store"
	"teamtalk/internal/im"
)

// count brings the unread counts and activity times of a committed batch up
// to date. All values are absolute, so writing one twice, or only the last of
// several, does no harm. Until the claim of a conversation is held its counts
// are forgotten: another db_proxy may have written them.
func (l *lane) count(ctx context.Context, b *batch) {
	touched := map[store.SessionKey]im.Conversation{}
	for _, s := range b.sends {
		st := l.states.get(s.Conv)
		st.sessions[s.From] = true
		l.deps.Behind.Touch(s.Conv, s.Created)
		if s.Conv.Kind == im.Group {
			l.deps.Behind.SetGroup(st.stamp, s.Conv.Group, st.last)
			l.deps.Behind.SetRead(st.stamp, s.Conv.Group, s.From, s.id)
			continue
		}
		to := s.Conv.Pair.Peer(s.From)
		st.sessions[to] = true
		if n, known := st.unread[to]; known {
			st.unread[to] = n + 1
		}
		touched[store.SessionKey{User: to, Kind: im.Single, Peer: uint32(s.From)}] = s.Conv
	}
	for _, r := range b.reads {
		st := l.states.get(r.Conv)
		if r.Conv.Kind == im.Group {
			l.countGroup(r, st)
			continue
		}
		delete(st.uncounted, r.User)
		if r.cursor >= st.last {
			st.unread[r.User] = 0
		} else {
			delete(st.unread, r.User)
		}
		touched[store.SessionKey{User: r.User, Kind: im.Single, Peer: r.Conv.SessionID(r.User)}] = r.Conv
	}
	for key, conv := range touched {
		st := l.states.get(conv)
		count, known := st.unread[key.User]
		switch {
		case !st.stamp.Held():
			l.deps.Behind.ForgetUnread(st.stamp, key)
		case known:
			l.deps.Behind.SetUnread(st.stamp, key, count)
		default:
			l.recount(ctx, key, st)
		}
	}
}

// A count that is not known is read from the database, but no message waits
// for tens of thousands to be counted, as they may stand unread after a start:
// such a count stays forgotten until it is read or asked for, and is tried
// again only now and then.
const (
	maxCounted = 1000
	tryAgain   = time.Minute
)

// recount reads a count that is not known.
func (l *lane) recount(ctx context.Context, key store.SessionKey, st *state) {
	now := l.deps.Clock()
	if now.Sub(st.uncounted[key.User]) < tryAgain {
		l.deps.Behind.ForgetUnread(st.stamp, key)
		return
	}
	count, all, err := l.deps.Store.UnreadOf(ctx, key, maxCounted)
	if err != nil || !all {
		if err != nil {
			l.deps.Log.Warn("unread count not read", "error", err)
		} else {
			st.uncounted[key.User] = now
		}
		l.deps.Behind.ForgetUnread(st.stamp, key)
		return
	}
	delete(st.uncounted, key.User)
	st.unread[key.User] = count
	l.deps.Behind.SetUnread(st.stamp, key, count)
}

// forgetCounts makes the counts that a message would have changed be read from
// the database again.
func (l *lane) forgetCounts(s *Send) {
	if s.Conv.Kind == im.Group {
		l.deps.Behind.ForgetGroup(cache.Stamp{}, s.Conv.Group)
		l.deps.Behind.ForgetUnread(cache.Stamp{}, store.SessionKey{User: s.From, Kind: im.Group, Peer: uint32(s.Conv.Group)})
		return
	}
	key := store.SessionKey{User: s.Conv.Pair.Peer(s.From), Kind: im.Single, Peer: uint32(s.From)}
	l.deps.Behind.ForgetUnread(cache.Stamp{}, key)
}

// countGroup writes where a member of a group stands: so that newest minus
// his value is what he has not read. A cursor that did not reach the newest
// message may have been behind the stored one, and the messages after it may
// be his own: such a count is read from the database when it is asked for.
func (l *lane) countGroup(r *Read, st *state) {
	if r.cursor < st.last {
		l.deps.Behind.ForgetUnread(st.stamp, store.SessionKey{User: r.User, Kind: im.Group, Peer: uint32(r.Conv.Group)})
		return
	}
	l.deps.Behind.SetRead(st.stamp, r.Conv.Group, r.User, r.cursor)
}
