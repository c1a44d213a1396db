package main

import (
	"encoding/binary"
	"net"
	"slices"
	"strconv"
	"time"
)

// msgServer is an original msg_server. Source: docs/protocol/flows.md.
type msgServer struct {
	conf          config
	login         []*link // to db_proxy: the log-in pool
	general       []*link
	loginServers  []*link
	routes        []*link // oldest first: the first is the master
	files         []*link
	pushers       []*link           // the last one is used
	pcs           map[uint32]uint32 // what 070E said of users
	dbTurn        int
	handles       uint32
	terminals     map[uint32]*terminal // by handle
	users         map[uint32][]*terminal
	questions     []*question
	configuredDBs int
}

// terminal is the state of a client's link.
type terminal struct {
	l        *link
	handle   uint32
	opened   time.Time
	name     string
	kind     uint32
	status   uint32
	loginSeq uint16
	user     uint32 // 0 before the log-in
	nick     string
}

// question is a request that a db_proxy or route_server owes an answer to.
type question struct {
	l       *link
	command uint16 // of the answer
	seq     uint16
	attach  string
	user    uint32 // that the answer must name; 0 = no such field
	pdu     pdu    // of what waits for it
	m       *message
}

// Kinds of attach_data. Source: docs/protocol/wire.md §8.
const (
	attachHandle       = 1
	attachHandleAndPDU = 3
)

func shortAttach(handle uint32) string {
	b := binary.BigEndian.AppendUint32(nil, attachHandle)
	b = binary.BigEndian.AppendUint32(b, handle)
	return string(binary.BigEndian.AppendUint32(b, 0))
}

func longAttach(handle uint32, body []byte) string {
	b := binary.BigEndian.AppendUint32(nil, attachHandleAndPDU)
	b = binary.BigEndian.AppendUint32(b, handle)
	b = binary.BigEndian.AppendUint32(b, 0)
	b = binary.BigEndian.AppendUint32(b, uint32(len(body)))
	return string(append(b, body...))
}

func handleOf(attach string) uint32 { return binary.BigEndian.Uint32([]byte(attach)[4:]) }

func runMsgServer(c config) (ready func() bool) {
	s := &msgServer{conf: c, terminals: map[uint32]*terminal{}, users: map[uint32][]*terminal{}, pcs: map[uint32]uint32{}}
	entries := c.list("DBServer")
	if len(entries) < 2 {
		fatal("DBServerIP2 is missing: an original wants two entries")
	}
	perEntry := 10
	if n, err := strconv.Atoi(c["ConcurrentDBConnCnt"]); err == nil {
		perEntry = n
	}
	for i, addr := range entries {
		pool := &s.general
		if i < len(entries)/2 {
			pool = &s.login
		}
		for range perEntry {
			s.configuredDBs++
			s.keep(addr, "db_proxy", pool, s.dbGot, s.dbAccepts(), nil)
		}
	}
	for _, addr := range c.list("LoginServer") {
		s.keep(addr, "login_server", &s.loginServers, nil, []uint16{}, s.announceLoad)
	}
	for _, addr := range c.list("RouteServer") {
		s.keep(addr, "route_server", &s.routes, s.routeGot, []uint16{
			0x070D, 0x0203, 0x020B, 0x0304, 0x0301, 0x0601, 0x070E, 0x020F, 0x0215, 0x040B, 0x0508,
		}, s.announceUsers)
	}
	for _, addr := range c.list("FileServer") {
		s.keep(addr, "file_server", &s.files, s.fileGot, []uint16{0x0732, 0x0734}, s.askFileAddrs)
	}
	for _, addr := range c.list("PushServer") {
		s.keep(addr, "push_server", &s.pushers, s.pushGot, []uint16{0x0710}, nil)
	}
	listen(c.addr("ListenIP", "ListenPort"), s.accept)
	every(s.tick)
	return func() bool {
		return len(s.login)+len(s.general) == s.configuredDBs && len(s.loginServers) > 0 &&
			len(s.routes) == len(c.list("RouteServer")) && len(s.files) == len(c.list("FileServer")) &&
			len(s.pushers) == len(c.list("PushServer"))
	}
}

func (s *msgServer) keep(addr, role string, pool *[]*link, got func(*link, pdu, *message), accepts []uint16, up func(*link)) {
	keep(addr, func(conn net.Conn) *link {
		return &link{
			what: role + " " + addr, conn: conn, servers: true, accepts: accepts, got: got,
			gone: func(l *link) {
				*pool = without(*pool, l)
				s.questions = slices.DeleteFunc(s.questions, func(q *question) bool { return q.l == l })
			},
		}
	}, func(l *link) {
		*pool = append(slices.Clone(*pool), l)
		if up != nil {
			up(l)
		}
	})
}

func without(list []*link, l *link) []*link {
	return slices.DeleteFunc(slices.Clone(list), func(o *link) bool { return o == l })
}

func (s *msgServer) accept(conn net.Conn) {
	s.handles++
	t := &terminal{handle: s.handles, opened: time.Now()}
	t.l = &link{what: "client " + strconv.Itoa(int(t.handle)), conn: conn, state: t, got: s.clientGot, gone: s.clientGone}
	s.terminals[t.handle] = t
	t.l.start()
}

func (s *msgServer) tick() {
	for _, l := range slices.Concat(s.login, s.general, s.loginServers, s.routes, s.files, s.pushers) {
		l.tick()
	}
	for _, t := range s.terminals {
		if t.user == 0 && time.Since(t.opened) > 15*time.Second {
			t.l.close()
		}
	}
	for _, q := range s.questions {
		_ = q // an answer may take as long as it likes
	}
}

// announceLoad is 0709.
func (s *msgServer) announceLoad(l *link) {
	open := 0
	for _, all := range s.users {
		open += len(all)
	}
	ip2 := s.conf["IpAddr2"]
	if ip2 == "" {
		ip2 = s.conf.need("IpAddr1")
	}
	port, _ := strconv.Atoi(s.conf.need("ListenPort"))
	limit, _ := strconv.Atoi(s.conf["MaxConnCnt"])
	l.say(0x0709, 0, build("IMMsgServInfo", "ip1", s.conf.need("IpAddr1"), "ip2", ip2, "port", port,
		"max_conn_cnt", max(limit, 1000), "cur_conn_cnt", open, "host_name", "original"))
}

// announceUsers is 0707 for the first, and 0708.
func (s *msgServer) announceUsers(l *link) {
	if s.routes[0] == l {
		l.say(0x0707, 0, build("IMRoleSet", "master", 1))
	}
	var stats []*message
	for id, all := range s.users {
		for _, t := range all {
			stats = append(stats, build("ServerUserStat", "user_id", id, "status", t.status, "client_type", t.kind))
		}
	}
	l.say(0x0708, 0, build("IMOnlineUserInfo", "user_stat_list", stats))
}

// db picks a link of a pool, or of the other one; nil if none is open.
func (s *msgServer) db(pool, other []*link) *link {
	if len(pool) == 0 {
		pool = other
	}
	if len(pool) == 0 {
		return nil
	}
	s.dbTurn++
	return pool[s.dbTurn%len(pool)]
}

func (s *msgServer) dbLogin() *link   { return s.db(s.login, s.general) }
func (s *msgServer) dbGeneral() *link { return s.db(s.general, s.login) }

// ask sends a request and notes what must come back.
func (s *msgServer) ask(l *link, p pdu, m *message, q *question) {
	q.l, q.seq, q.m = l, p.seq, m
	if m.shape.byNumber(20) != nil {
		q.attach = m.text("attach_data")
	}
	s.questions = append(s.questions, q)
	l.send(p.withBody(m))
}

// answered finds the question that an answer belongs to: the same link, seq
// and attach_data, and the user who asked.
func (s *msgServer) answered(l *link, p pdu, m *message) *question {
	for i, q := range s.questions {
		if q.l != l || q.command != p.command || q.seq != p.seq || q.attach != m.text("attach_data") {
			continue
		}
		if q.user != 0 && m.shape.byName("user_id") != nil && m.num("user_id") != q.user {
			continue
		}
		s.questions = slices.Delete(slices.Clone(s.questions), i, i+1)
		return q
	}
	violate("%s: nobody asked for %v: %v, attach_data %x", l.what, p, m, m.text("attach_data"))
	return nil
}

// local are the open connections of some users, but one.
func (s *msgServer) local(except *terminal, users ...uint32) (found []*terminal) {
	for _, id := range users {
		for _, t := range s.users[id] {
			if t != except && !slices.Contains(found, t) {
				found = append(found, t)
			}
		}
	}
	return found
}

func (s *msgServer) push(p pdu, to []*terminal) {
	for _, t := range to {
		t.l.send(p)
	}
}

// relay sends to the master, if there is one.
func (s *msgServer) relay(p pdu) {
	if len(s.routes) > 0 {
		s.routes[0].send(p)
	}
}

func (s *msgServer) toAll(links []*link, command uint16, m *message) {
	for _, l := range links {
		l.say(command, 0, m)
	}
}
