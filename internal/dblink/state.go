package dblink

import (
	"bytes"
	"slices"
	"sync"

	"google.golang.org/protobuf/proto"

	"teamtalk/internal/im"
	"teamtalk/internal/link"
	"teamtalk/pb/basedefine"
	"teamtalk/pb/extension"
)

// Mark is a message that was stored, as its db_proxy said. A database that
// knows nothing of it has gone back to a state before it.
type Mark struct {
	Conv im.Conversation
	From im.UserID
	ID   im.MsgID
	Op   im.OperationID
}

// maxMarks is how many of the newest messages are remembered.
const maxMarks = 16

// storage is what is known of the database behind the db_proxies.
type storage struct {
	mu    sync.Mutex // guards the fields below, and away of slots and proxies; a leaf
	epoch []byte     // empty: not known
	marks [maxMarks]Mark
	next  int
}

// Stored remembers a message that a db_proxy of ours has stored.
func (l *Links) Stored(m Mark) {
	st := &l.storage
	st.mu.Lock()
	defer st.mu.Unlock()
	st.marks[st.next] = m
	st.next = (st.next + 1) % maxMarks
}

// seen is what a db_proxy is told first, 0796.
func (st *storage) seen() *extension.IMStorageSeen {
	st.mu.Lock()
	defer st.mu.Unlock()
	m := &extension.IMStorageSeen{Epoch: st.epoch}
	for i := range st.marks {
		if mark := &st.marks[i]; mark.ID != 0 {
			m.Marks = append(m.Marks, &extension.StorageMark{
				SessionType: basedefine.SessionType(mark.Conv.Kind).Enum(),
				FromUserId:  proto.Uint32(uint32(mark.From)),
				ToSessionId: proto.Uint32(mark.Conv.SessionID(mark.From)),
				MsgId:       proto.Uint32(uint32(mark.ID)),
				OperationId: mark.Op[:],
			})
		}
	}
	return m
}

// enter takes the epoch a db_proxy is in, and reports whether it is another one
// than before. Marks belong to an epoch.
func (st *storage) enter(epoch []byte) (other bool) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if len(epoch) == 0 || bytes.Equal(epoch, st.epoch) {
		return false
	}
	other = len(st.epoch) > 0
	if other {
		st.marks = [maxMarks]Mark{}
	}
	st.epoch = bytes.Clone(epoch)
	return other
}

// storageState takes how the database of a db_proxy is, 0797. The first one
// opens the link.
func (s *slot) storageState(l *link.Link, body []byte) {
	state := new(extension.IMStorageState)
	if err := proto.Unmarshal(body, state); err != nil {
		l.Close(link.ReasonBadHello)
		return
	}
	if s.links.storage.enter(state.GetEpoch()) {
		s.links.handler.DBEpoch()
	}
	moved := s.links.storageIs(s, !state.GetWell())
	if s.stopped != l {
		s.live.Store(l)
	}
	for _, other := range moved {
		s.links.handler.DBMoved(other)
	}
	if !state.GetWell() && s.links.anyWell() {
		s.links.handler.DBMoved(l)
	}
}

// storageIs takes whether the database behind a connection is away. When its
// db_proxy is well, it returns the connections to those that are not: what was
// asked there can be asked here now.
func (l *Links) storageIs(s *slot, away bool) (moved []*link.Link) {
	l.storage.mu.Lock()
	defer l.storage.mu.Unlock()
	s.away = away
	p := s.proxy
	p.away.Store(slices.ContainsFunc(p.slots(), func(s *slot) bool { return s.away }))
	if p.away.Load() {
		return nil
	}
	for _, other := range l.proxies {
		if !other.away.Load() {
			continue
		}
		for _, s := range other.slots() {
			if found := s.live.Load(); found != nil {
				moved = append(moved, found)
			}
		}
	}
	return moved
}

// anyWell reports whether a db_proxy can be asked whose database is not away.
func (l *Links) anyWell() bool {
	return slices.ContainsFunc(l.proxies, func(p *proxy) bool {
		return !p.away.Load() && p.generalFirst(0) != nil
	})
}

func (p *proxy) slots() []*slot { return slices.Concat(p.login, p.general) }
