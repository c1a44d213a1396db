package msgserver

import (
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"teamtalk/internal/wire"
	"teamtalk/pb/basedefine"
	"teamtalk/pb/buddy"
)

// presence collects who came and went, and tells every PC of it a few times
// a second. A PDU names one user only, so after a restart of a server with n
// users n² of them are due; collected, they cost one write per connection and
// round, and who came and went meanwhile costs nothing.
// Source: docs/protocol/flows.md §4.2.
type presence struct {
	mu      sync.Mutex // guards the field below
	changed map[uint32]basedefine.UserStatType
}

// presenceEvery is how long news of who is on-line may wait.
const presenceEvery = 200 * time.Millisecond

func (p *presence) note(user uint32, status basedefine.UserStatType) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.changed == nil {
		p.changed = map[uint32]basedefine.UserStatType{}
	}
	p.changed[user] = status
}

func (p *presence) take() map[uint32]basedefine.UserStatType {
	p.mu.Lock()
	defer p.mu.Unlock()
	taken := p.changed
	p.changed = nil
	return taken
}

// statusNotify takes the news of a route_server, 0203.
func (s *Server) statusNotify(body []byte, _ uint16) {
	m := new(buddy.IMUserStatNotify)
	if err := proto.Unmarshal(body, m); err != nil {
		s.metrics.dropped("bad_body")
		return
	}
	s.presence.note(m.GetUserStat().GetUserId(), m.GetUserStat().GetStatus())
}

// tellPresence pushes the collected news to the PCs; phones never get any.
func (s *Server) tellPresence() {
	changed := s.presence.take()
	if len(changed) == 0 {
		return
	}
	var frames []byte
	for user, status := range changed {
		frames = append(frames, mustFrame(wire.StatusNotify, &buddy.IMUserStatNotify{
			UserStat: &basedefine.UserStat{UserId: proto.Uint32(user), Status: status.Enum()},
		})...)
	}
	s.sessions.Each(func(session *Session) {
		if !session.Client.Mobile() {
			session.Conn.pushShared(frames)
		}
	})
}
