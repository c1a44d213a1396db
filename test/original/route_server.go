package main

import (
	"net"
	"slices"
)

// routeServer is an original route_server.
// Source: docs/protocol/flows.md §2 and §4.
type routeServer struct {
	links []*link
	users map[uint32]*presence
}

// presence is what a route_server knows of a user: how many log-ins of each
// client type there are, and through which links.
type presence struct {
	counts map[uint32]int
	at     map[*link]bool
}

// announced is the state of a link: what it has said so far.
type announced struct{ role, users bool }

func (p *presence) pc() bool { return p != nil && p.counts[1]+p.counts[2] > 0 }

func runRouteServer(c config) {
	r := &routeServer{users: map[uint32]*presence{}}
	listen(c.addr("ListenIP", "ListenMsgPort"), func(conn net.Conn) {
		l := &link{
			what: "msg_server " + conn.RemoteAddr().String(), conn: conn, servers: true, state: &announced{},
			accepts: []uint16{0x0707, 0x0708, 0x070A, 0x020A, 0x0301, 0x0601, 0x0304, 0x070D, 0x040B, 0x0508, 0x020F, 0x0215},
			got:     r.got, gone: r.gone,
		}
		r.links = append(r.links, l)
		l.start()
	})
	every(func() {
		for _, l := range r.links {
			l.tick()
		}
	})
}

func (r *routeServer) gone(l *link) {
	r.links = slices.DeleteFunc(slices.Clone(r.links), func(o *link) bool { return o == l })
	for id, p := range r.users {
		if delete(p.at, l); len(p.at) == 0 {
			delete(r.users, id) // and nobody is told
		}
	}
}

func (r *routeServer) got(l *link, p pdu, m *message) {
	said := l.state.(*announced)
	// A http_msg_server never says 0708, and tells of members only.
	if p.command != 0x0707 && p.command != 0x0708 && p.command != 0x040B && !said.users {
		violate("%s: %04X before 0708", l.what, p.command)
	}
	if p.seq != 0 && l.ours && p.command != 0x020A {
		violate("%s: seq %d in %04X", l.what, p.seq, p.command)
	}
	switch p.command {
	case 0x0707:
		if m.num("master") != 1 || said.role {
			violate("%s: %v, a second one: %v", l.what, m, said.role)
		}
		said.role = true
	case 0x0708:
		if said.users {
			violate("%s: 0708 a second time", l.what)
		}
		said.users = true
		for _, u := range m.subs("user_stat_list") {
			r.update(l, u.num("user_id"), u.num("client_type"), true)
		}
	case 0x070A:
		r.status(l, m)
	case 0x020A:
		r.query(l, p, m)
	case 0x0215:
		r.relay(nil, p)
	case 0x0301:
		if m.num("msg_id") == 0 || m.num("from_user_id") == 0 || l.ours && m.has("attach_data") {
			violate("%s: %v", l.what, m)
		}
		r.relay(l, p)
	default:
		r.relay(l, p)
	}
}

// relay sends a PDU as it came to all links but one.
func (r *routeServer) relay(from *link, p pdu) {
	for _, l := range r.links {
		if l != from {
			l.send(p)
		}
	}
}

func (r *routeServer) update(l *link, user, kind uint32, online bool) {
	p := r.users[user]
	if !online {
		if p == nil || p.counts[kind] == 0 {
			violate("%s: user %d goes off-line on a client type that he is not on-line with: %d", l.what, user, kind)
		}
		if p.counts[kind]--; p.counts[kind] == 0 {
			delete(p.counts, kind)
		}
		if len(p.counts) == 0 {
			delete(r.users, user)
		}
		return
	}
	if p == nil {
		p = &presence{counts: map[uint32]int{}, at: map[*link]bool{}}
		r.users[user] = p
	}
	p.counts[kind]++
	p.at[l] = true
}

func (r *routeServer) status(l *link, m *message) {
	user, kind, status := m.num("user_id"), m.num("client_type"), m.num("user_status")
	if user == 0 || status != 1 && status != 2 {
		violate("%s: %v", l.what, m)
	}
	r.update(l, user, kind, status == 1)
	known := r.users[user]
	tell := func(on int) {
		r.relay(nil, newPDU(0x070E, 0, build("IMServerPCLoginStatusNotify", "user_id", user, "login_status", on).encode()))
	}
	switch {
	case status == 2 && kind < 0x10 && known != nil && !known.pc():
		tell(0)
	case status == 1 && known.pc():
		tell(1)
	}
	if kind < 0x10 && (status == 1 || !known.pc()) {
		r.relay(nil, newPDU(0x0203, 0, build("IMUserStatNotify",
			"user_stat", build("UserStat", "user_id", user, "status", status)).encode()))
	}
}

func (r *routeServer) query(l *link, p pdu, m *message) {
	var stats []*message
	for _, id := range m.nums("user_id_list") {
		status := 2
		if r.users[id].pc() {
			status = 1
		}
		stats = append(stats, build("UserStat", "user_id", id, "status", status))
	}
	res := build("IMUsersStatRsp", "user_id", m.num("user_id"), "user_stat_list", stats)
	if m.has("attach_data") {
		res.set("attach_data", m.text("attach_data"))
	}
	l.say(0x020B, p.seq, res)
}
