package fileserver

import (
	"maps"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"teamtalk/file_server/internal/task"
	"teamtalk/file_server/internal/turns"
	"teamtalk/internal/transport"
	"teamtalk/internal/wire"
	"teamtalk/pb/basedefine"
	"teamtalk/pb/file"
)

// Timers of a client connection. Source: docs/protocol/wire.md §2; the original
// has no deadline for the log-in.
const (
	loginDeadline = 15 * time.Second
	idleTimeout   = 120 * time.Second
)

// Reasons a client connection is closed for.
const (
	reasonNoLogin   transport.CloseReason = "login_deadline"
	reasonIdle      transport.CloseReason = "idle"
	reasonRefused   transport.CloseReason = "login_refused"
	reasonBad       transport.CloseReason = "bad_request" // against the rules of the transfer
	reasonDone      transport.CloseReason = "transfer_done"
	reasonCancelled transport.CloseReason = "transfer_cancelled"
	reasonFailed    transport.CloseReason = "transfer_failed"
	reasonOverflow  transport.CloseReason = "inbound_overflow"
)

// blockSize is that of the original for files it keeps, in bytes.
const blockSize = 32768

// maxPulls is how many blocks one client may have asked for at a time.
const maxPulls = 16

// clients serves the port for clients.
type clients struct{ *Server }

// client is one client connection; its transfer is decided by its log-in.
type client struct {
	// Static after the connection is open.
	server *Server
	conn   *transport.Conn
	opened time.Time
	lane   *turns.Lane

	// Owned by the event loop. user and taskID do not change after transfer
	// is set.
	asked    bool // it has tried to log in
	user     uint32
	taskID   string
	role     task.Role
	transfer transfer // nil before the log-in
}

// transfer is what a logged-in client does. The methods run on the event loop
// of its connection.
type transfer interface {
	// pull takes a 0504.
	pull(c *client, pdu wire.PDU, req *file.IMFilePullDataReq)
	// block takes a 0505.
	block(c *client, pdu wire.PDU, res *file.IMFilePullDataRsp)
	// state takes a 0503: cancelled, refused or done.
	state(c *client, pdu wire.PDU, state *file.IMFileState)
	// left is the last call: the connection is gone.
	left(c *client)
}

// OnOpen is transport.Handler's.
func (cs *clients) OnOpen(conn *transport.Conn) {
	conn.State = &client{server: cs.Server, conn: conn, opened: cs.engine.Now(), lane: cs.blocks.NewLane(maxPulls + 2)}
}

// OnPDU is transport.Handler's.
func (cs *clients) OnPDU(conn *transport.Conn, pdu wire.PDU) {
	if handle := cs.clientCommands[pdu.Command]; handle != nil {
		handle(conn.State.(*client), pdu)
		return
	}
	cs.metrics.dropped("unknown_command")
}

// ofClients is the table of what clients send.
// Source: docs/protocol/commands.md.
func (s *Server) ofClients() map[wire.Command]func(*client, wire.PDU) {
	return map[wire.Command]func(*client, wire.PDU){
		wire.Heartbeat: func(c *client, pdu wire.PDU) {
			c.conn.Send(wire.Append(nil, wire.Heartbeat, pdu.Seq, nil))
		},
		wire.FileLoginReq: s.login,
		wire.FilePullDataReq: func(c *client, pdu wire.PDU) {
			if req := new(file.IMFilePullDataReq); s.admit(c, pdu, req) {
				c.transfer.pull(c, pdu, req)
			}
		},
		wire.FilePullDataRes: func(c *client, pdu wire.PDU) {
			if res := new(file.IMFilePullDataRsp); s.admit(c, pdu, res) {
				c.transfer.block(c, pdu, res)
			}
		},
		wire.FileState: func(c *client, pdu wire.PDU) {
			if state := new(file.IMFileState); s.admit(c, pdu, state) {
				c.transfer.state(c, pdu, state)
			}
		},
	}
}

// Commands returns what this server handles, by who sends it, for
// docs/protocol.md.
func (s *Server) Commands() map[string][]wire.Command {
	return map[string][]wire.Command{
		"client":     slices.Collect(maps.Keys(s.clientCommands)),
		"msg_server": slices.Collect(maps.Keys(s.linkCommands)),
	}
}

// about is what every message of a transfer says of it.
type about interface {
	proto.Message
	GetTaskId() string
	GetUserId() uint32
}

// admit parses a message and checks that it is about the transfer that its
// sender logged in to. Anything else ends the connection.
func (s *Server) admit(c *client, pdu wire.PDU, m about) bool {
	if c.transfer == nil {
		s.metrics.dropped("before_login")
		return false
	}
	if err := proto.Unmarshal(pdu.Body, m); err != nil {
		s.metrics.dropped("bad_body")
		c.conn.Close(reasonBad)
		return false
	}
	if m.GetTaskId() != c.taskID || m.GetUserId() != c.user {
		s.metrics.dropped("not_allowed")
		c.conn.Close(reasonBad)
		return false
	}
	return true
}

// login lets a client into a task, 0501 to 0502.
// Source: docs/protocol/flows.md §16.2.
func (s *Server) login(c *client, pdu wire.PDU) {
	req := new(file.IMFileLoginReq)
	if err := proto.Unmarshal(pdu.Body, req); err != nil || c.asked {
		s.metrics.dropped("bad_body")
		c.conn.Close(reasonBad)
		return
	}
	c.asked = true
	c.user, c.taskID, c.role = req.GetUserId(), req.GetTaskId(), task.Role(req.GetFileRole())
	if !task.ValidID(c.taskID) {
		c.taskID = ""
		c.refuse(pdu.Seq, task.ErrUnknown)
		return
	}
	switch c.role {
	case task.Sender, task.Receiver:
		s.enterRelay(c, pdu.Seq)
	case task.Uploader:
		s.enterUpload(c, pdu.Seq)
	case task.Downloader:
		s.enterDownload(c, pdu.Seq)
	default:
		c.refuse(pdu.Seq, task.ErrUser)
	}
}

// welcome answers a log-in. Safe anywhere.
func (c *client) welcome(seq uint16) {
	c.server.metrics.logins.WithLabelValues(roleName(c.role), "ok").Inc()
	c.conn.SendMessage(wire.FileLoginRes, seq, &file.IMFileLoginRsp{
		ResultCode: proto.Uint32(0), TaskId: proto.String(c.taskID),
	})
}

// refuse answers a log-in that fails, and closes. Safe anywhere.
func (c *client) refuse(seq uint16, err error) {
	c.server.metrics.logins.WithLabelValues(roleName(c.role), "refused").Inc()
	c.server.log.Info("file log-in refused", "conn_id", c.conn.ID(), "user_id", c.user, "error", err)
	c.conn.SendMessage(wire.FileLoginRes, seq, &file.IMFileLoginRsp{
		ResultCode: proto.Uint32(1), TaskId: proto.String(c.taskID),
	})
	c.conn.Close(reasonRefused)
}

// tell sends a 0503 about user. Safe anywhere.
func (c *client) tell(state basedefine.ClientFileState, user uint32) {
	c.conn.SendMessage(wire.FileState, 0, &file.IMFileState{
		State: state.Enum(), TaskId: proto.String(c.taskID), UserId: proto.Uint32(user),
	})
}

// OnTick is transport.Handler's.
func (cs *clients) OnTick(conn *transport.Conn, now time.Time) {
	c := conn.State.(*client)
	switch {
	case now.Sub(conn.LastReceived()) > idleTimeout:
		conn.Close(reasonIdle)
	case c.transfer == nil && now.Sub(c.opened) > loginDeadline:
		conn.Close(reasonNoLogin)
	}
}

// OnClose is transport.Handler's.
func (cs *clients) OnClose(conn *transport.Conn, _ transport.CloseReason) {
	c := conn.State.(*client)
	if c.transfer != nil {
		c.transfer.left(c)
	}
}
