package msgserver

import (
	"slices"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"teamtalk/internal/im"
	"teamtalk/internal/wire"
	"teamtalk/pb/basedefine"
	"teamtalk/pb/group"
)

// asks are this server's own questions about the members of groups, which an
// original db_proxy does not tell with the message. Safe from any goroutine.
type asks struct {
	clock func() time.Time

	mu      sync.Mutex // guards the fields below; a leaf
	nextID  uint64
	waiting map[uint64]*membersAsk
}

type membersAsk struct {
	out     *outgoing
	publish bool
	at      time.Time
}

// Bounds of the questions under way.
const (
	maxAsks = 10_000
	asksFor = 5 * time.Second
)

func newAsks(clock func() time.Time) *asks {
	return &asks{clock: clock, waiting: map[uint64]*membersAsk{}}
}

func (a *asks) add(out *outgoing, publish bool) (id uint64, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.waiting) >= maxAsks {
		return 0, false
	}
	a.nextID++
	a.waiting[a.nextID] = &membersAsk{out: out, publish: publish, at: a.clock()}
	return a.nextID, true
}

// number returns the id of a question that keeps its own account.
func (a *asks) number() uint64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.nextID++
	return a.nextID
}

func (a *asks) take(id uint64) *membersAsk {
	a.mu.Lock()
	defer a.mu.Unlock()
	ask := a.waiting[id]
	delete(a.waiting, id)
	return ask
}

// sweep forgets questions that nobody answered, and returns how many.
func (a *asks) sweep() (forgotten int) {
	now := a.clock()
	a.mu.Lock()
	defer a.mu.Unlock()
	for id, ask := range a.waiting {
		if now.Sub(ask.at) > asksFor {
			delete(a.waiting, id)
			forgotten++
		}
	}
	return forgotten
}

// askMembers asks who belongs to the group of a message, 0403, before it is
// delivered and, if it came from here, published.
// Source: docs/protocol/flows.md §7.
func (s *Server) askMembers(o *outgoing, publish bool) {
	l := s.db.Owner(o.conv)
	if l == nil {
		s.metrics.dropped("members_unknown")
		return
	}
	id, ok := s.asks.add(o, publish)
	if !ok {
		s.metrics.dropped("members_unknown")
		return
	}
	l.SendMessage(wire.GroupInfoReq, 0, &group.IMGroupInfoListReq{
		UserId: proto.Uint32(uint32(o.from)),
		GroupVersionList: []*basedefine.GroupVersionInfo{
			{GroupId: proto.Uint32(uint32(o.conv.Group)), Version: proto.Uint32(0)},
		},
		AttachData: attach(attachKindAsk, id),
	})
}

// membersAnswered delivers the message that a question was about; only if its
// sender is a member.
func (s *Server) membersAnswered(id uint64, body []byte) {
	ask := s.asks.take(id)
	res := new(group.IMGroupInfoListRsp)
	if err := proto.Unmarshal(body, res); err != nil || ask == nil || len(res.GetGroupInfoList()) == 0 {
		s.metrics.dropped("members_unknown")
		return
	}
	o := ask.out
	o.members = res.GetGroupInfoList()[0].GetGroupMemberList()
	if !slices.Contains(o.members, uint32(o.from)) {
		s.metrics.dropped("sender_not_member")
		return
	}
	if ask.publish {
		s.publish(o)
		s.notifyPhones(o)
	}
	s.deliver(o)
}

// noticeBytes is what one change of members may send to the clients of this
// server: every notice lists all members, so that the bytes rise with the
// square of the group.
const noticeBytes = 64 << 20

// membersNotice passes a change of members on that was made elsewhere, 040B.
func (s *Server) membersNotice(body []byte, _ uint16) {
	note := new(group.IMGroupChangeMemberNotify)
	if err := proto.Unmarshal(body, note); err != nil {
		s.metrics.dropped("bad_body")
		return
	}
	s.tellMembers(note, 0, wire.Append(nil, wire.GroupChangeMemberNotify, 0, body))
}

// tellMembers pushes a change of members once to every connection of those who
// came or went, and then of the members, but for one connection. The frame is
// shared by all. Beyond noticeBytes the rest is not told: they see the members
// when they ask for the group next, whose version has risen.
func (s *Server) tellMembers(note *group.IMGroupChangeMemberNotify, except uint64, frame []byte) {
	told := make(map[uint32]bool, len(note.GetChgUserIdList())+len(note.GetCurUserIdList()))
	room, pushed, left := noticeBytes, 0, 0
	for _, user := range slices.Concat(note.GetChgUserIdList(), note.GetCurUserIdList()) {
		if told[user] {
			continue
		}
		told[user] = true
		for _, session := range s.sessions.Of(im.UserID(user)) {
			switch {
			case session.ConnID == except:
			case room < len(frame):
				left++
			case session.Conn.pushShared(frame):
				room -= len(frame)
				pushed++
			}
		}
	}
	s.metrics.pushed.Add(float64(pushed))
	if left > 0 {
		s.metrics.drops.WithLabelValues("member_notices").Add(float64(left))
	}
}
