package main

import "slices"

// This file is what an original msg_server does with what clients send.

// forwarded are the requests that a db_proxy answers, and whether by the
// log-in pool. Source: docs/protocol/config.md §4.
var forwarded = map[uint16]bool{
	0x0201: true, 0x0204: true, 0x0307: true, 0x0309: true, 0x030D: true,
	0x0208: false, 0x0210: false, 0x0213: false, 0x020C: false, 0x010C: false, 0x010E: false, 0x030B: false,
	0x0206: false, 0x0401: false, 0x0403: false, 0x0405: false, 0x0407: false, 0x0409: false, 0x0509: false,
}

func (s *msgServer) clientGot(l *link, p pdu, m *message) {
	t := l.state.(*terminal)
	switch {
	case p.command == heartbeat:
		l.send(p)
		return
	case p.command == 0x0103:
		s.clientLogin(t, p, m)
		return
	case p.command == 0x0105:
		s.logout(t, p)
		return
	case m == nil || t.user == 0:
		return // no server knows it, or nobody is logged in
	}
	if m.shape.byNumber(1) != nil && m.shape.fields[0].name == "user_id" {
		m.set("user_id", t.user)
	}
	switch p.command {
	case 0x0301:
		s.clientMessage(t, p, m)
	case 0x0302:
	case 0x0303:
		s.clientRead(t, p, m)
	case 0x0305:
		l.say(0x0306, p.seq, build("IMClientTimeRsp", "server_time", now()))
	case 0x0108:
		if t.kind < 0x10 {
			return
		}
		l.send(newPDU(0x0109, p.seq, nil))
		s.forward(t, p, m)
	case 0x010A:
		s.kickPC(t, p)
	case 0x020A:
		if len(s.routes) > 0 {
			m.set("attach_data", shortAttach(t.handle))
			s.ask(s.routes[0], p, m, &question{command: 0x020B, user: t.user})
		}
	case 0x0206:
		s.forward(t, p, m)
		if m.num("session_type") == single {
			note := newPDU(0x020F, 0, build("IMRemoveSessionNotify", "user_id", t.user,
				"session_type", single, "session_id", m.num("session_id")).encode())
			s.push(note, s.local(t, t.user))
			s.relay(note)
		}
	case 0x0506:
		s.clientFile(t, p, m)
	case 0x050B, 0x050C:
		s.offlineFile(t, p, m)
	case 0x0601:
		s.push(p, s.local(t, t.user, m.num("to_user_id")))
		s.relay(p)
	default:
		if _, known := forwarded[p.command]; known {
			s.forward(t, p, m)
		}
	}
}

// forward sends a request to a db_proxy, with the handle of who asked.
func (s *msgServer) forward(t *terminal, p pdu, m *message) {
	l := s.dbGeneral()
	if forwarded[p.command] {
		l = s.dbLogin()
	}
	if l == nil {
		s.noDB(t, p, m)
		return
	}
	m.set("attach_data", shortAttach(t.handle))
	s.ask(l, p, m, &question{command: answers[p.command], user: t.user})
}

// noDB answers what has a field for a result.
// Source: docs/protocol/flows.md §20.
func (s *msgServer) noDB(t *terminal, p pdu, m *message) {
	switch p.command {
	case 0x0401:
		t.l.send(newPDU(0x0402, p.seq, nil))
	case 0x0403:
		t.l.say(0x0404, p.seq, build("IMGroupInfoListRsp", "user_id", t.user))
	case 0x0405:
		t.l.say(0x0406, p.seq, build("IMGroupCreateRsp", "user_id", t.user, "result_code", 1, "group_name", m.text("group_name")))
	case 0x0407:
		t.l.say(0x0408, p.seq, build("IMGroupChangeMemberRsp", "user_id", t.user, "result_code", 1,
			"change_type", m.num("change_type"), "group_id", m.num("group_id")))
	}
}

// clientLogin is 0103. Source: docs/protocol/flows.md §3.
func (s *msgServer) clientLogin(t *terminal, p pdu, m *message) {
	if t.name != "" {
		return
	}
	refuse := func(code int) {
		t.l.say(0x0104, p.seq, build("IMLoginRes", "server_time", now(), "result_code", code, "result_string", "服务端异常"))
		t.l.close()
	}
	db := s.dbLogin()
	switch {
	case db == nil:
		refuse(3)
		return
	case len(s.loginServers) == 0:
		refuse(4)
		return
	case len(s.routes) == 0:
		refuse(5)
		return
	}
	t.name, t.kind, t.status, t.loginSeq = m.text("user_name"), m.num("client_type"), m.num("online_status"), p.seq
	req := build("IMValidateReq", "user_name", t.name, "password", m.text("password"), "attach_data", shortAttach(t.handle))
	s.ask(db, newPDU(0x0703, p.seq, nil), req, &question{command: 0x0704})
}

func (s *msgServer) validated(t *terminal, m *message) {
	if m.text("user_name") != t.name || m.text("result_string") == "" {
		violate("0704 for %s: %v", t.name, m)
	}
	if m.num("result_code") != 0 {
		t.l.say(0x0104, t.loginSeq, build("IMLoginRes", "server_time", now(), "result_code", 6,
			"result_string", m.text("result_string")))
		t.l.close()
		return
	}
	info := m.sub("user_info")
	if info == nil || info.num("user_id") == 0 || info.num("status") != 0 || !info.has("sign_info") {
		violate("0704 for %s: %v", t.name, m)
	}
	user := info.num("user_id")
	s.kick(user, t.kind, 1)
	t.user, t.nick = user, info.text("user_nick_name")
	s.users[user] = append(slices.Clone(s.users[user]), t)
	s.relay(newPDU(0x070D, 0, build("IMServerKickUser", "user_id", user, "client_type", t.kind, "reason", 1).encode()))
	s.toAll(s.loginServers, 0x070B, build("IMUserCntUpdate", "user_action", 1, "user_id", user))
	s.toAll(s.routes, 0x070A, build("IMUserStatusUpdate", "user_status", 1, "user_id", user, "client_type", t.kind))
	t.l.say(0x0104, t.loginSeq, build("IMLoginRes", "server_time", now(), "result_code", 0, "result_string", "成功",
		"online_status", t.status, "user_info", info))
}

// kick sends 0107 to the first log-in of the class of a client type. Its
// connection stays: the client closes it.
func (s *msgServer) kick(user, kind, reason uint32) {
	for _, t := range s.users[user] {
		if t.kind>>4 == kind>>4 {
			t.l.say(0x0107, 0, build("IMKickUser", "user_id", user, "kick_reason", reason))
			return
		}
	}
}

func (s *msgServer) kickPC(t *terminal, p pdu) {
	if t.kind < 0x10 {
		return
	}
	s.kick(t.user, 2, 2)
	s.relay(newPDU(0x070D, 0, build("IMServerKickUser", "user_id", t.user, "client_type", 2, "reason", 2).encode()))
	t.l.say(0x010B, p.seq, build("IMKickPCClientRsp", "user_id", t.user, "result_code", 0))
}

func (s *msgServer) logout(t *terminal, p pdu) {
	if db := s.dbGeneral(); db != nil && t.user != 0 {
		// 0109 to it is only logged.
		s.ask(db, newPDU(0x0108, 0, nil), build("IMDeviceTokenReq", "user_id", t.user, "device_token", ""),
			&question{command: 0x0109})
	}
	t.l.say(0x0106, p.seq, build("IMLogoutRsp", "result_code", 0))
	t.l.close()
}

func (s *msgServer) clientGone(l *link) {
	t := l.state.(*terminal)
	delete(s.terminals, t.handle)
	if t.user == 0 {
		return
	}
	s.users[t.user] = slices.DeleteFunc(slices.Clone(s.users[t.user]), func(o *terminal) bool { return o == t })
	s.toAll(s.loginServers, 0x070B, build("IMUserCntUpdate", "user_action", 2, "user_id", t.user))
	s.toAll(s.routes, 0x070A, build("IMUserStatusUpdate", "user_status", 2, "user_id", t.user, "client_type", t.kind))
}

// clientMessage is 0301. Source: docs/protocol/flows.md §6.
func (s *msgServer) clientMessage(t *terminal, p pdu, m *message) {
	db := s.dbGeneral()
	if m.text("msg_data") == "" || db == nil {
		return
	}
	if m.num("msg_type") < 0x10 && m.num("from_user_id") == m.num("to_session_id") {
		return
	}
	m.set("from_user_id", t.user)
	m.set("create_time", now())
	m.set("attach_data", shortAttach(t.handle))
	s.ask(db, p, m, &question{command: 0x0301})
}

func (s *msgServer) clientRead(t *terminal, p pdu, m *message) {
	if db := s.dbGeneral(); db != nil {
		db.send(p.withBody(m))
	}
	note := newPDU(0x0304, 0, build("IMMsgDataReadNotify", "user_id", t.user, "session_id", m.num("session_id"),
		"msg_id", m.num("msg_id"), "session_type", m.num("session_type")).encode())
	s.push(note, s.local(t, t.user))
	s.relay(note)
}
