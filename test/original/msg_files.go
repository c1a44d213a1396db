package main

import (
	"encoding/binary"
	"slices"
)

// This file is what an original msg_server does with files.
// Source: docs/protocol/flows.md §16.

// attachFile is the kind of attach_data with the body of a 0731.
const attachFile = 5

// fileAttach is attach_data of that kind.
func fileAttach(handle uint32, body []byte) string {
	b := []byte(longAttach(handle, body))
	binary.BigEndian.PutUint32(b, attachFile)
	return string(b)
}

func kindOf(attach string) uint32 { return binary.BigEndian.Uint32([]byte(attach)) }

// innerOf is the body in the long form of attach_data.
func innerOf(name, attach string) *message {
	m, err := decode(name, []byte(attach)[16:])
	if err != nil {
		violate("attach_data %x: %v", attach, err)
	}
	return m
}

// announcedFiles are the addresses that a file_server gave.
type announcedFiles struct{ addrs []*message }

func (s *msgServer) askFileAddrs(l *link) {
	l.state = &announcedFiles{}
	l.say(0x0733, 0, build("IMFileServerIPReq"))
}

func (s *msgServer) fileGot(l *link, p pdu, m *message) {
	at := l.state.(*announcedFiles)
	if p.command == 0x0734 {
		if at.addrs != nil || len(m.subs("ip_addr_list")) == 0 || p.seq != 0 {
			violate("%s: %v, seq %d", l.what, m, p.seq)
		}
		at.addrs = m.subs("ip_addr_list")
		return
	}
	q := s.answered(l, p, m)
	req := q.m
	if m.num("from_user_id") != req.num("from_user_id") || m.num("to_user_id") != req.num("to_user_id") ||
		m.num("result_code") == 0 && (len(m.text("task_id")) != 36 || m.text("file_name") != req.text("file_name") ||
			m.num("file_size") != req.num("file_size") || m.num("trans_mode") != req.num("trans_mode")) {
		violate("%s: %v for %v", l.what, m, req)
	}
	t := s.terminals[handleOf(q.attach)]
	if t == nil {
		return
	}
	t.l.say(0x0507, q.pdu.seq, build("IMFileRsp", "result_code", m.num("result_code"), "from_user_id", m.num("from_user_id"),
		"to_user_id", m.num("to_user_id"), "file_name", req.text("file_name"), "task_id", m.text("task_id"),
		"ip_addr_list", at.addrs, "trans_mode", req.num("trans_mode")))
	if m.num("result_code") == 0 {
		s.notifyFile(req, m.text("task_id"), at.addrs, 0)
	}
}

// notifyFile is 0508 to the receiver's PCs here and, over route_server, to all
// his terminals elsewhere.
func (s *msgServer) notifyFile(m *message, task string, addrs []*message, ready int) {
	mode := uint32(offline)
	if m.shape.name == "IMFileTransferReq" {
		mode = m.num("trans_mode")
	}
	note := newPDU(0x0508, 0, build("IMFileNotify", "from_user_id", m.num("from_user_id"), "to_user_id", m.num("to_user_id"),
		"file_name", m.text("file_name"), "file_size", m.num("file_size"), "task_id", task, "ip_addr_list", addrs,
		"trans_mode", mode, "offline_ready", ready).encode())
	pcs := slices.DeleteFunc(s.local(nil, m.num("to_user_id")), func(t *terminal) bool { return t.kind >= 0x10 })
	s.push(note, pcs)
	s.relay(note)
}

// clientFile is 0506.
func (s *msgServer) clientFile(t *terminal, p pdu, m *message) {
	req := build("IMFileTransferReq", "from_user_id", t.user, "to_user_id", m.num("to_user_id"),
		"file_name", m.text("file_name"), "file_size", m.num("file_size"), "trans_mode", m.num("trans_mode"))
	to := m.num("to_user_id")
	here := len(s.users[to]) > 0 && s.pcStatus(to) != 0
	switch {
	case m.num("trans_mode") == offline || here:
		s.askTask(t.handle, p, req)
	case len(s.routes) > 0:
		ask := build("IMUsersStatReq", "user_id", t.user, "user_id_list", []uint32{to},
			"attach_data", fileAttach(t.handle, req.encode()))
		s.ask(s.routes[0], newPDU(0x020A, p.seq, nil), ask, &question{command: 0x020B, user: t.user, pdu: p})
	}
}

// askTask is 0731 at the first file_server that is there.
func (s *msgServer) askTask(handle uint32, p pdu, req *message) {
	t := s.terminals[handle]
	if len(s.files) == 0 {
		if t != nil {
			t.l.say(0x0507, p.seq, build("IMFileRsp", "result_code", 1, "from_user_id", t.user,
				"to_user_id", req.num("to_user_id"), "file_name", req.text("file_name"), "task_id", "",
				"trans_mode", req.num("trans_mode")))
		}
		return
	}
	req.set("attach_data", shortAttach(handle))
	s.ask(s.files[0], newPDU(0x0731, p.seq, nil), req, &question{command: 0x0732, pdu: p})
}

// fileStatus goes on with 0506 once a route_server has said who is on-line.
func (s *msgServer) fileStatus(q *question, m *message) {
	req := innerOf("IMFileTransferReq", q.attach)
	req.set("trans_mode", offline)
	if m.subs("user_stat_list")[0].num("status") == 1 {
		req.set("trans_mode", online)
	}
	s.askTask(handleOf(q.attach), q.pdu, req)
}

// offlineFile is 050B, and 050C, which only a db_proxy hears of.
func (s *msgServer) offlineFile(t *terminal, p pdu, m *message) {
	if db := s.dbGeneral(); db != nil {
		if p.command == 0x050B {
			m.set("from_user_id", t.user)
		}
		db.send(p.withBody(m))
	}
	if p.command == 0x050B && len(s.files) > 0 {
		s.notifyFile(m, m.text("task_id"), s.files[0].state.(*announcedFiles).addrs, 1)
	}
}

// pcStatus is what 070E said last of a user; 2 as long as it said nothing.
func (s *msgServer) pcStatus(user uint32) uint32 {
	if status, told := s.pcs[user]; told {
		return status
	}
	return 2
}
