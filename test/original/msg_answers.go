package main

import (
	"bytes"
	"slices"
)

// This file is what an original msg_server does with what the other servers
// send.

func (s *msgServer) dbAccepts() []uint16 {
	accepts := []uint16{stopReceive, 0x0704, 0x0706, 0x0712}
	for command := range forwarded {
		if answer := answers[command]; answer != 0 {
			accepts = append(accepts, answer)
		}
	}
	return append(accepts, 0x0109, 0x0301, 0x020D)
}

func (s *msgServer) dbGot(l *link, p pdu, m *message) {
	if p.command == stopReceive {
		if p.seq != 0 {
			violate("%s: seq %d in 0702", l.what, p.seq)
		}
		s.login, s.general = without(s.login, l), without(s.general, l)
		return
	}
	if p.command == 0x020D {
		// Nothing ever produces it in the original, but it can relay it.
		attach := m.text("attach_data")
		if t := s.terminals[handleOf(attach)]; t != nil {
			m.set("attach_data", nil)
			s.push(newPDU(0x020D, p.seq, m.encode()), s.local(nil, t.user))
		}
		return
	}
	q := s.answered(l, p, m)
	switch p.command {
	case 0x0109:
		return
	case 0x0706:
		s.pushTokens(q, m)
		return
	case 0x0712:
		s.checkShields(l, q, m)
		return
	}
	t := s.terminals[handleOf(q.attach)]
	switch {
	case p.command == 0x0301:
		s.stored(l, t, p, m)
	case p.command == 0x0404 && q.pdu.command == 0x0301:
		s.deliverGroup(q, m)
	case t == nil:
	case p.command == 0x0704:
		s.validated(t, m)
	case m.num("user_id") != t.user:
		violate("%s: %v, but user %d asked", l.what, m, t.user)
	default:
		m.set("attach_data", nil)
		if p.command == 0x050A && len(s.files) > 0 {
			m.set("ip_addr_list", s.files[0].state.(*announcedFiles).addrs)
		}
		t.l.say(p.command, p.seq, m)
		s.tell(t, p, m)
	}
}

// tell passes on what others have to hear of an answer.
func (s *msgServer) tell(t *terminal, p pdu, m *message) {
	switch {
	case p.command == 0x0214 && m.num("result_code") == 0:
		s.relay(newPDU(0x0215, 0, build("IMSignInfoChangedNotify", "changed_user_id", t.user,
			"sign_info", m.text("sign_info")).encode()))
	case p.command == 0x0408 && m.num("result_code") == 0:
		note := newPDU(0x040B, 0, build("IMGroupChangeMemberNotify", "user_id", t.user,
			"change_type", m.num("change_type"), "group_id", m.num("group_id"),
			"cur_user_id_list", m.nums("cur_user_id_list"), "chg_user_id_list", m.nums("chg_user_id_list")).encode())
		s.relay(note)
		s.push(note, s.local(t, m.nums("chg_user_id_list")...))
		s.push(note, s.local(t, m.nums("cur_user_id_list")...)) // the added ones get it twice
	}
}

// stored is the answer to a message. Source: docs/protocol/flows.md §6 and §7.
func (s *msgServer) stored(l *link, t *terminal, p pdu, m *message) {
	if m.num("msg_id") == 0 {
		return
	}
	kind := 1 + m.num("msg_type")>>4 // of the session
	if t != nil {
		t.l.say(0x0302, p.seq, build("IMMsgDataAck", "user_id", m.num("from_user_id"),
			"session_id", m.num("to_session_id"), "msg_id", m.num("msg_id"), "session_type", kind))
	}
	s.relay(p) // as it came: with the sender's seq and attach_data
	if kind == inside {
		s.askMembers(p, m)
		return
	}
	m.set("attach_data", nil)
	push := p.withBody(m)
	push.seq = 0
	s.push(push, s.local(t, m.num("from_user_id"), m.num("to_session_id")))
	s.ask(l, newPDU(0x0705, 0, nil),
		build("IMGetDeviceTokenReq", "user_id", m.num("to_session_id"), "attach_data", p.body), &question{command: 0x0706})
}

// askMembers asks who is to get a group message, 0403.
func (s *msgServer) askMembers(p pdu, m *message) {
	db := s.dbGeneral()
	if db == nil {
		return
	}
	handle := uint32(0)
	if m.has("attach_data") {
		handle = handleOf(m.text("attach_data"))
	}
	req := build("IMGroupInfoListReq", "user_id", m.num("from_user_id"),
		"group_version_list", build("GroupVersionInfo", "group_id", m.num("to_session_id"), "version", 0),
		"attach_data", longAttach(handle, p.body))
	s.ask(db, newPDU(0x0403, 0, nil), req, &question{command: 0x0404, pdu: p})
}

func (s *msgServer) deliverGroup(q *question, m *message) {
	sent, err := decode("IMMsgData", q.pdu.body)
	if err != nil {
		violate("%v", err)
	}
	if len(m.subs("group_info_list")) != 1 {
		violate("0404 with %d groups for a message", len(m.subs("group_info_list")))
	}
	members := m.subs("group_info_list")[0].nums("group_member_list")
	if !slices.Contains(members, sent.num("from_user_id")) {
		return
	}
	push := q.pdu
	push.seq = 0
	s.push(push, s.local(s.terminals[handleOf(q.attach)], members...))
	if db := s.dbGeneral(); db != nil {
		s.ask(db, newPDU(0x0711, 0, nil), build("IMGroupGetShieldReq", "group_id", sent.num("to_session_id"),
			"user_id", members, "attach_data", q.pdu.body), &question{command: 0x0712})
	}
}

func (s *msgServer) checkShields(l *link, q *question, m *message) {
	var asked, awake []uint32
	for _, status := range m.subs("shield_status_list") {
		asked = append(asked, status.num("user_id"))
		if status.num("shield_status") == 0 {
			awake = append(awake, status.num("user_id"))
		}
	}
	want := q.m.nums("user_id")
	slices.Sort(want)
	slices.Sort(asked)
	if !slices.Equal(want, asked) {
		violate("%s: 0712 for %v names %v", l.what, want, asked)
	}
	s.ask(l, newPDU(0x0705, 0, nil), build("IMGetDeviceTokenReq", "user_id", awake, "attach_data", q.attach),
		&question{command: 0x0706})
}

func (s *msgServer) checkTokens(m *message) {
	for _, info := range m.subs("user_token_info") {
		if info.num("user_type") < 0x10 || info.text("token") == "" || info.num("push_type") != 1 {
			violate("0706: %v", info)
		}
	}
}

func (s *msgServer) routeGot(l *link, p pdu, m *message) {
	if l.ours && p.seq != 0 && p.command != 0x020B {
		violate("%s: seq %d in %04X", l.what, p.seq, p.command)
	}
	switch p.command {
	case 0x020B:
		q := s.answered(l, p, m)
		if got := len(m.subs("user_stat_list")); got != len(q.m.nums("user_id_list")) {
			violate("%s: 020B with %d users for %d", l.what, got, len(q.m.nums("user_id_list")))
		}
		switch kindOf(q.attach) {
		case attachFile:
			s.fileStatus(q, m)
			return
		case attachPush:
			s.pushStatus(q, m)
			return
		}
		m.set("attach_data", nil)
		if t := s.terminals[handleOf(q.attach)]; t != nil {
			t.l.say(0x020B, p.seq, m)
		}
	case 0x070D:
		s.kick(m.num("user_id"), m.num("client_type"), m.num("reason"))
	case 0x0203:
		for _, all := range s.users {
			for _, t := range all {
				if t.kind < 0x10 {
					t.l.send(p)
				}
			}
		}
	case 0x070E:
		status := 2
		s.pcs[m.num("user_id")] = m.num("login_status")
		if m.num("login_status") == 1 {
			status = 1
		}
		for _, t := range s.users[m.num("user_id")] {
			if t.kind >= 0x10 {
				t.l.say(0x020E, 0, build("IMPCLoginStatusNotify", "user_id", m.num("user_id"), "login_stat", status))
			}
		}
	case 0x0301:
		s.routeMessage(l, p, m)
	case 0x0508:
		s.push(p, s.local(nil, m.num("to_user_id")))
	case 0x0304, 0x020F:
		s.push(p, s.local(nil, m.num("user_id")))
	case 0x0601:
		s.push(p, s.local(nil, m.num("from_user_id"), m.num("to_user_id")))
	case 0x040B:
		s.push(p, s.local(nil, slices.Concat(m.nums("chg_user_id_list"), m.nums("cur_user_id_list"))...))
	case 0x0215:
		for _, all := range s.users {
			s.push(p, all)
		}
	}
}

func (s *msgServer) routeMessage(l *link, p pdu, m *message) {
	if m.num("msg_id") == 0 || m.num("from_user_id") == 0 || l.ours && m.has("attach_data") {
		violate("%s: %v", l.what, m)
	}
	p.body = bytes.Clone(p.body)
	if m.num("msg_type") >= 0x10 {
		m.set("attach_data", nil)
		s.askMembers(p, m)
		return
	}
	s.push(p, s.local(nil, m.num("from_user_id"), m.num("to_session_id")))
}
