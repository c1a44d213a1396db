package main

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"time"
)

// store is what MySQL and Redis hold for an original db_proxy.
type store struct {
	users      map[uint32]*user
	byName     map[string]*user
	lastUpdate uint32
	talks      map[talk][]said // by ids from 1 upwards
	groups     map[uint32]*group
	recent     map[sessionKey]*session
	unreadOf   map[sessionKey]int
}

type user struct {
	id, updated, night, tokenType uint32
	name, sign, token             string
}

// talk is a conversation: two users, the smaller first, or a group and 0.
type talk struct{ group, a, b uint32 }

type said struct {
	from, created, kind uint32
	data                string
}

type group struct {
	id, version, creator uint32
	kind                 uint32 // 1 normal, 2 temporary
	name, avatar         string
	members              map[uint32]uint32 // and when they joined
	shields              map[uint32]uint32
}

type sessionKey struct{ user, kind, peer uint32 }

type session struct {
	updated uint32
	removed bool
	serial  int // order within a second
}

const (
	single = 1
	inside = 2 // of a group
)

func now() uint32 { return uint32(time.Now().Unix()) }

func newStore(users []account) *store {
	s := &store{
		users: map[uint32]*user{}, byName: map[string]*user{}, lastUpdate: now(), talks: map[talk][]said{},
		groups: map[uint32]*group{}, recent: map[sessionKey]*session{}, unreadOf: map[sessionKey]int{},
	}
	for _, a := range users {
		u := &user{id: a.id, name: a.name, updated: now()}
		s.users[a.id], s.byName[a.name] = u, u
	}
	return s
}

func (u *user) info() *message {
	return build("UserInfo", "user_id", u.id, "user_gender", 0, "user_nick_name", u.name, "avatar_url", "",
		"department_id", 0, "email", "", "user_real_name", u.name, "user_tel", "", "user_domain", "",
		"status", 0, "sign_info", u.sign)
}

func (s *store) sorted() []*user {
	return slices.SortedFunc(maps.Values(s.users), func(a, b *user) int { return cmp.Compare(a.id, b.id) })
}

// talkOf is the conversation that a user means by a session.
func talkOf(user, kind, peer uint32) talk {
	if kind == inside {
		return talk{group: peer}
	}
	return talk{a: min(user, peer), b: max(user, peer)}
}

func (g *group) sortedMembers() []uint32 {
	// The order of the ids as texts, as Redis has them.
	return slices.SortedFunc(maps.Keys(g.members), func(a, b uint32) int {
		return cmp.Compare(strconv.Itoa(int(a)), strconv.Itoa(int(b)))
	})
}

func (s *store) newGroup(name, avatar string, creator uint32, members []uint32) *group {
	g := &group{
		id: uint32(len(s.groups) + 1), version: 1, creator: creator, name: name, avatar: avatar,
		members: map[uint32]uint32{}, shields: map[uint32]uint32{},
	}
	s.groups[g.id] = g
	for _, id := range members {
		s.change(g, id, true)
	}
	return g
}

// change adds or removes a member.
func (s *store) change(g *group, id uint32, add bool) {
	key := sessionKey{id, inside, g.id}
	delete(s.unreadOf, key)
	if add {
		g.members[id] = now()
		return
	}
	delete(g.members, id)
	if r := s.recent[key]; r != nil {
		r.removed = true
	}
}

// touch makes a session recent.
func (s *store) touch(key sessionKey) {
	serial := 0
	for _, r := range s.recent {
		serial = max(serial, r.serial+1)
	}
	s.recent[key] = &session{updated: now(), serial: serial}
}

func (s *store) sendMessage(m *message) *message {
	from, peer, kind := m.num("from_user_id"), m.num("to_session_id"), m.num("msg_type")
	res := m.clone()
	res.set("msg_id", 0)
	if kind < 0x10 {
		if from == peer {
			return res
		}
		s.touch(sessionKey{from, single, peer})
		s.touch(sessionKey{peer, single, from})
		s.unreadOf[sessionKey{peer, single, from}]++
		res.set("msg_id", s.append(talkOf(from, single, peer), m))
		return res
	}
	g := s.groups[peer]
	if g == nil {
		return nil
	}
	if _, member := g.members[from]; !member {
		return nil
	}
	for id := range g.members {
		s.touch(sessionKey{id, inside, g.id})
		s.unreadOf[sessionKey{id, inside, g.id}]++
	}
	delete(s.unreadOf, sessionKey{from, inside, g.id})
	res.set("msg_id", s.append(talk{group: g.id}, m))
	return res
}

func (s *store) append(t talk, m *message) uint32 {
	s.talks[t] = append(s.talks[t], said{
		from: m.num("from_user_id"), created: m.num("create_time"), kind: m.num("msg_type"), data: m.text("msg_data"),
	})
	return uint32(len(s.talks[t]))
}

func (s *store) readAck(m *message) *message {
	delete(s.unreadOf, sessionKey{m.num("user_id"), m.num("session_type"), m.num("session_id")})
	return nil
}

// last sets the fields of the newest message; false if there is none.
func (s *store) last(m *message, key sessionKey) bool {
	all := s.talks[talkOf(key.user, key.kind, key.peer)]
	if len(all) == 0 {
		return false
	}
	newest := all[len(all)-1]
	m.set("session_id", key.peer)
	m.set("session_type", key.kind)
	m.set("latest_msg_id", uint32(len(all)))
	m.set("latest_msg_data", newest.data)
	m.set("latest_msg_type", newest.kind)
	m.set("latest_msg_from_user_id", newest.from)
	if key.kind == single {
		m.set("latest_msg_from_user_id", key.peer)
	}
	return true
}

func (s *store) sessions(m *message) *message {
	me, since := m.num("user_id"), m.num("latest_update_time")
	var keys []sessionKey
	for key, r := range s.recent {
		if key.user == me && !r.removed && r.updated > since {
			keys = append(keys, key)
		}
	}
	slices.SortFunc(keys, func(a, b sessionKey) int { return cmp.Compare(s.recent[b].serial, s.recent[a].serial) })
	var list []*message
	for _, key := range keys {
		info := build("ContactSessionInfo", "session_status", 0, "updated_time", s.recent[key].updated)
		if s.last(info, key) {
			list = append(list, info)
		}
	}
	return build("IMRecentContactSessionRsp", "user_id", me, "contact_session_list", list)
}

func (s *store) removeSession(m *message) *message {
	key := sessionKey{m.num("user_id"), m.num("session_type"), m.num("session_id")}
	res := build("IMRemoveSessionRsp", "user_id", key.user, "result_code", 1, "session_type", key.kind, "session_id", key.peer)
	if r := s.recent[key]; r != nil && !r.removed {
		r.removed = true
		delete(s.unreadOf, key)
		res.set("result_code", 0)
	}
	return res
}

func (s *store) unreadTotal(user uint32) (total int) {
	for key, n := range s.unreadOf {
		if key.user == user {
			total += n
		}
	}
	return total
}

func (s *store) unread(m *message) *message {
	me := m.num("user_id")
	var list []*message
	for _, kind := range []uint32{single, inside} {
		for key, n := range s.unreadOf {
			info := build("UnreadInfo", "unread_cnt", n)
			if key.user == me && key.kind == kind && n > 0 && s.last(info, key) {
				list = append(list, info)
			}
		}
	}
	return build("IMUnreadMsgCntRsp", "user_id", me, "total_cnt", s.unreadTotal(me), "unreadinfo_list", list)
}

// infos are the messages of a session that a user may see and wants, newest
// first.
func (s *store) infos(m *message, limit int, want func(id uint32) bool) (list []*message) {
	me, kind, peer := m.num("user_id"), m.num("session_type"), m.num("session_id")
	all := s.talks[talkOf(me, kind, peer)]
	joined := uint32(0)
	if kind == inside {
		g := s.groups[peer]
		if g == nil {
			return nil
		}
		at, member := g.members[me]
		if !member {
			return nil
		}
		joined = at
	}
	for i := len(all); i > 0 && len(list) < limit; i-- {
		if t := all[i-1]; want(uint32(i)) && t.created >= joined {
			list = append(list, build("MsgInfo", "msg_id", i, "from_session_id", t.from, "create_time", t.created,
				"msg_type", t.kind, "msg_data", t.data))
		}
	}
	return list
}

func (s *store) history(m *message) *message {
	begin := m.num("msg_id_begin")
	list := s.infos(m, int(m.num("msg_cnt")), func(id uint32) bool { return begin == 0 || id <= begin })
	return build("IMGetMsgListRsp", "user_id", m.num("user_id"), "session_type", m.num("session_type"),
		"session_id", m.num("session_id"), "msg_id_begin", begin, "msg_list", list)
}

func (s *store) byID(m *message) *message {
	list := s.infos(m, 100, func(id uint32) bool { return slices.Contains(m.nums("msg_id_list"), id) })
	return build("IMGetMsgByIdRsp", "user_id", m.num("user_id"), "session_type", m.num("session_type"),
		"session_id", m.num("session_id"), "msg_list", list)
}

func (s *store) latestID(m *message) *message {
	all := s.talks[talkOf(m.num("user_id"), m.num("session_type"), m.num("session_id"))]
	return build("IMGetLatestMsgIdRsp", "user_id", m.num("user_id"), "session_type", m.num("session_type"),
		"session_id", m.num("session_id"), "latest_msg_id", uint32(len(all)))
}
