package main

import (
	"crypto/rand"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
)

// fileServer is an original file_server. Source: docs/protocol/flows.md §16.
type fileServer struct {
	addrs []*message // for clients
	links []*link    // to msg_servers
	tasks map[string]*task
}

// Values of TransferFileType, ClientFileRole and ClientFileState.
const (
	online, offline = 1, 2

	roleSender, roleReceiver, roleUpload, roleDownload = 1, 2, 3, 4

	peerReady, transferDone = 0, 3
)

// blockSize is how much an original moves at a time off-line.
const blockSize = 32768

// task is a file on its way.
type task struct {
	id               string
	from, to, size   uint32
	mode             uint32
	sender, receiver *link
	data             []byte
	lastPull         uint16 // seq of the receiver's last 0504
}

// mover is the state of a client's link.
type mover struct {
	t      *task
	role   uint32
	user   uint32
	blocks uint32
}

func runFileServer(c config) {
	s := &fileServer{tasks: map[string]*task{}}
	port, err := strconv.Atoi(c.need("ClientListenPort"))
	if err != nil {
		fatal("ClientListenPort: %v", err)
	}
	for ip := range strings.SplitSeq(c.need("FileServerIp"), ";") {
		s.addrs = append(s.addrs, build("IpAddr", "ip", ip, "port", port))
	}
	listen(c.addr("ClientListenIP", "ClientListenPort"), func(conn net.Conn) {
		l := &link{what: "client " + conn.RemoteAddr().String(), conn: conn, got: s.clientGot, gone: s.clientGone, state: &mover{}}
		l.start()
	})
	listen(c.addr("MsgServerListenIP", "MsgServerListenPort"), func(conn net.Conn) {
		asked := false
		l := &link{
			what: "msg_server " + conn.RemoteAddr().String(), conn: conn, servers: true, echoes: true,
			accepts: []uint16{0x0731, 0x0733},
			got:     func(l *link, p pdu, m *message) { s.got(l, p, m, &asked) },
			gone: func(l *link) {
				s.links = without(s.links, l)
			},
		}
		s.links = append(s.links, l)
		l.start()
	})
	every(func() {
		for _, l := range s.links {
			l.tick()
		}
	})
}

// got takes what a msg_server asks.
func (s *fileServer) got(l *link, p pdu, m *message, asked *bool) {
	if p.command == 0x0733 {
		if *asked {
			violate("%s: 0733 a second time", l.what)
		}
		*asked = true
		l.say(0x0734, p.seq, build("IMFileServerIPRsp", "ip_addr_list", s.addrs))
		return
	}
	if !*asked || m.num("from_user_id") == 0 || m.num("to_user_id") == 0 || m.text("file_name") == "" ||
		m.num("file_size") == 0 || m.text("attach_data") == "" {
		violate("%s: %v", l.what, m)
	}
	random := make([]byte, 16)
	_, _ = rand.Read(random)
	t := &task{
		id:   fmt.Sprintf("%X-%X-%X-%X-%X", random[:4], random[4:6], random[6:8], random[8:10], random[10:]),
		from: m.num("from_user_id"), to: m.num("to_user_id"), size: m.num("file_size"), mode: m.num("trans_mode"),
	}
	s.tasks[t.id] = t
	l.say(0x0732, p.seq, build("IMFileTransferRsp", "result_code", 0, "from_user_id", t.from, "to_user_id", t.to,
		"file_name", m.text("file_name"), "file_size", t.size, "task_id", t.id, "trans_mode", t.mode,
		"attach_data", m.text("attach_data")))
}

func (s *fileServer) clientGot(l *link, p pdu, m *message) {
	at := l.state.(*mover)
	switch {
	case p.command == heartbeat:
		l.send(p)
	case p.command == 0x0501 && m != nil && at.t == nil:
		s.enter(l, p, m)
	case at.t == nil || m == nil || m.text("task_id") != at.t.id || m.num("user_id") != at.user:
		l.close()
	case at.t.mode == online:
		s.pass(l, p)
	default:
		s.store(l, p, m)
	}
}

// enter is 0501. Source: docs/protocol/flows.md §16.2.
func (s *fileServer) enter(l *link, p pdu, m *message) {
	at, t, user := l.state.(*mover), s.tasks[m.text("task_id")], m.num("user_id")
	role := m.num("file_role")
	allowed := t != nil && map[uint32]bool{
		roleSender:   t.mode == online && user == t.from,
		roleReceiver: t.mode == online && user == t.to,
		roleUpload:   t.mode == offline && user == t.from && t.data == nil,
		roleDownload: t.mode == offline && user == t.to && uint32(len(t.data)) == t.size,
	}[role]
	if !allowed {
		l.say(0x0502, p.seq, build("IMFileLoginRsp", "result_code", 1, "task_id", m.text("task_id")))
		l.close()
		return
	}
	*at = mover{t: t, role: role, user: user}
	l.say(0x0502, p.seq, build("IMFileLoginRsp", "result_code", 0, "task_id", t.id))
	switch role {
	case roleSender:
		t.sender = l
	case roleReceiver:
		t.receiver = l
	case roleUpload:
		s.pull(l, at)
	}
	if t.sender != nil && t.receiver != nil {
		t.receiver.say(0x0503, 0, build("IMFileState", "state", peerReady, "task_id", t.id, "user_id", t.from))
	}
}

// pull asks for the next block of an upload.
func (s *fileServer) pull(l *link, at *mover) {
	offset := at.blocks * blockSize
	l.say(0x0504, 0, build("IMFilePullDataReq", "task_id", at.t.id, "user_id", at.user, "trans_mode", offline,
		"offset", offset, "data_size", min(blockSize, at.t.size-offset)))
}

// pass is the on-line mode. Source: docs/protocol/flows.md §16.3.
func (s *fileServer) pass(l *link, p pdu) {
	t := l.state.(*mover).t
	other := t.sender
	if l == t.sender {
		other = t.receiver
	}
	switch {
	case other == nil:
		l.close()
	case p.command == 0x0504 && l == t.receiver:
		t.lastPull = p.seq
		other.send(p)
	case p.command == 0x0505 && l == t.sender:
		p.seq = t.lastPull
		other.send(p)
	case p.command == 0x0503:
		other.send(p)
		l.close()
		other.close()
	default:
		l.close()
	}
}

// store is the off-line mode. Source: docs/protocol/flows.md §16.4, §16.5.
func (s *fileServer) store(l *link, p pdu, m *message) {
	at := l.state.(*mover)
	t := at.t
	done := func(user uint32) {
		l.say(0x0503, 0, build("IMFileState", "state", transferDone, "task_id", t.id, "user_id", user))
		l.close()
	}
	switch {
	case (p.command != 0x0504 && p.command != 0x0505) || m.num("offset") != at.blocks*blockSize:
		l.close()
	case p.command == 0x0505 && at.role == roleUpload:
		t.data = append(t.data, m.text("file_data")...)
		at.blocks++
		if at.blocks*blockSize < t.size {
			s.pull(l, at)
			return
		}
		done(t.from)
	case p.command == 0x0504 && at.role == roleDownload:
		offset := at.blocks * blockSize
		at.blocks++
		end := min(offset+blockSize, t.size)
		l.say(0x0505, p.seq, build("IMFilePullDataRsp", "result_code", 0, "task_id", t.id, "user_id", at.user,
			"offset", offset, "file_data", string(t.data[offset:end])))
		if end == t.size {
			done(t.from)
		}
	default:
		l.close()
	}
}

// clientGone: an on-line transfer ends with either of its sides.
func (s *fileServer) clientGone(l *link) {
	if t := l.state.(*mover).t; t != nil && t.mode == online {
		for _, other := range slices.DeleteFunc([]*link{t.sender, t.receiver}, func(o *link) bool { return o == nil || o == l }) {
			other.close()
		}
	}
}
