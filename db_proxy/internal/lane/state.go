package lane

import (
	"time"

	"teamtalk/db_proxy/internal/cache"
	"teamtalk/db_proxy/internal/store"
	"teamtalk/internal/im"
)

// state is what a lane remembers of an active conversation. The database is
// the record: a state can be forgotten at any time.
type state struct {
	last   im.MsgID
	lastAt time.Time // of the commit of last; zero if there is none
	// sessions says that the rows which make the conversation appear in the
	// recent lists exist. For a group that is true per sender.
	sessions map[im.UserID]bool
	// claim says whether this process alone writes counts of the conversation,
	// and stamp what unread and uncounted follow from.
	claim cache.Claim
	stamp cache.Stamp
	// unread counts the peer's messages after a user's cursor, single only;
	// a missing key means not known.
	unread map[im.UserID]uint32
	// uncounted says when a user had too many to count.
	uncounted map[im.UserID]time.Time
}

func newState(last store.Last) *state {
	st := &state{
		sessions: map[im.UserID]bool{}, unread: map[im.UserID]uint32{},
		uncounted: map[im.UserID]time.Time{},
	}
	if last.ID != 0 {
		st.moveTo(last)
	}
	st.stamp = st.claim.Stamp()
	return st
}

// moveTo takes the newest message that the database has.
func (st *state) moveTo(last store.Last) {
	st.last, st.lastAt = last.ID, time.Unix(int64(last.Created), 0)
}

// refresh drops the counts when another process has written some since they
// were read. To be called before anything is read from the database.
func (st *state) refresh() {
	if now := st.claim.Stamp(); now != st.stamp {
		st.doubt()
		st.stamp = now
	}
}

// doubt drops what another owner may have changed.
func (st *state) doubt() {
	clear(st.unread)
	clear(st.uncounted)
}

// states keeps the most recently used conversations of one lane, in two
// generations. It is owned by the lane's worker.
type states struct {
	limit      int
	young, old map[im.Conversation]*state
}

func newStates(limit int) *states {
	return &states{limit: max(limit/2, 1), young: map[im.Conversation]*state{}}
}

func (s *states) get(conv im.Conversation) *state {
	if st := s.young[conv]; st != nil {
		return st
	}
	st := s.old[conv]
	if st != nil {
		s.put(conv, st)
	}
	return st
}

func (s *states) put(conv im.Conversation, st *state) {
	if len(s.young) >= s.limit {
		s.old, s.young = s.young, make(map[im.Conversation]*state, s.limit/4)
	}
	s.young[conv] = st
}

func (s *states) forget(conv im.Conversation) {
	delete(s.young, conv)
	delete(s.old, conv)
}

// recent remembers the operations of the last messages, so that most repeats
// are answered without asking the database.
type recent struct {
	ids  map[sendKey]im.MsgID
	ring []sendKey
	next int
}

// sendKey is what makes two sends one: the same operation of the same sender in
// the same conversation.
type sendKey struct {
	conv im.Conversation
	from im.UserID
	op   im.OperationID
}

func (s *Send) key() sendKey { return sendKey{conv: s.Conv, from: s.From, op: s.Op} }

// keys are those under which the same send may have come before: an older
// msg_server beside this one knows the former id only.
func (s *Send) keys() []sendKey {
	if s.Former.IsZero() {
		return []sendKey{s.key()}
	}
	return []sendKey{s.key(), {conv: s.Conv, from: s.From, op: s.Former}}
}

// operation is the send as the database finds it.
func (s *Send) operation() store.Operation {
	return store.Operation{Conv: s.Conv, Relation: s.relation, From: s.From, ID: s.Op}
}

func newRecent(size int) *recent {
	return &recent{ids: make(map[sendKey]im.MsgID), ring: make([]sendKey, size)}
}

func (r *recent) find(key sendKey) im.MsgID { return r.ids[key] }

func (r *recent) add(key sendKey, id im.MsgID) {
	delete(r.ids, r.ring[r.next])
	r.ring[r.next] = key
	r.ids[key] = id
	r.next = (r.next + 1) % len(r.ring)
}
