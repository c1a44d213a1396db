package loginserver

import (
	"maps"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"teamtalk/internal/link"
	"teamtalk/internal/transport"
	"teamtalk/internal/wire"
	"teamtalk/login_server/internal/balance"
	"teamtalk/pb/basedefine"
	"teamtalk/pb/login"
	"teamtalk/pb/server"
)

// Reasons connections are closed for.
const (
	reasonAnswered transport.CloseReason = "answered"
	reasonIdle     transport.CloseReason = "idle"
)

// msgServers serves the port for msg_servers.
type msgServers struct{ *Server }

// LinkUp is link.Handler's. A msg_server counts once it says who it is.
func (m *msgServers) LinkUp(*link.Link) {}

// LinkDown is link.Handler's.
func (m *msgServers) LinkDown(l *link.Link) { m.table.Remove(balance.Server(l.ID())) }

// LinkPDU is link.Handler's.
func (m *msgServers) LinkPDU(l *link.Link, pdu wire.PDU) {
	handle := m.ofServers[pdu.Command]
	if handle == nil {
		m.metrics.unknownCommand.Inc()
		m.log.Debug("unknown command", "peer", l.Addr(), "cmd", uint16(pdu.Command))
		return
	}
	handle(l, pdu)
}

// commands is the table of what comes to the port for msg_servers.
// Source: docs/protocol/commands.md.
func (m *msgServers) commands() map[wire.Command]func(*link.Link, wire.PDU) {
	return map[wire.Command]func(*link.Link, wire.PDU){
		wire.MsgServerInfo:   func(l *link.Link, pdu wire.PDU) { m.register(l, pdu.Body) },
		wire.UserCountUpdate: func(l *link.Link, pdu wire.PDU) { m.count(l, pdu.Body) },
		wire.MsgServerReq: func(l *link.Link, pdu wire.PDU) { // a client here; the original answers at this port only
			l.SendMessage(wire.MsgServerRes, pdu.Seq, m.answerTCP())
			l.Close(reasonAnswered)
		},
	}
}

// maxText is how long a name or address in a 0709 may be, in bytes.
const maxText = 255

// register takes a 0709, also a repeated one: its values are absolute.
// Source: docs/protocol/defects.md C12.
func (m *msgServers) register(l *link.Link, body []byte) {
	msg := new(server.IMMsgServInfo)
	err := proto.Unmarshal(body, msg)
	port := msg.GetPort()
	if err != nil || msg.GetIp1() == "" || port == 0 || port > 65535 ||
		max(len(msg.GetIp1()), len(msg.GetIp2()), len(msg.GetHostName())) > maxText {
		m.metrics.badBody.Inc()
		m.log.Warn("msg_server not registered: its description makes no sense", "peer", l.Addr(), "error", err)
		return
	}
	info := balance.Info{
		IP1: msg.GetIp1(), IP2: msg.GetIp2(), Port: uint16(port),
		Max: int(msg.GetMaxConnCnt()), Current: int(msg.GetCurConnCnt()), Host: msg.GetHostName(),
	}
	m.table.Set(balance.Server(l.ID()), info)
	m.log.Info("msg_server registered", "peer", l.Addr(), "ip", info.IP1, "port", info.Port,
		"host", info.Host, "log_ins", info.Current, "max", info.Max)
}

// count takes a 070B.
func (m *msgServers) count(l *link.Link, body []byte) {
	const loggedIn, loggedOut = 1, 2
	msg := new(server.IMUserCntUpdate)
	if err := proto.Unmarshal(body, msg); err != nil {
		m.metrics.badBody.Inc()
		return
	}
	known := false
	switch msg.GetUserAction() {
	case loggedIn:
		known = m.table.LoggedIn(balance.Server(l.ID()))
	case loggedOut:
		known = m.table.LoggedOut(balance.Server(l.ID()))
	}
	if !known {
		m.metrics.badCount.Inc()
	}
}

// clients serves the TCP port for clients. The original accepts there and
// never answers. Source: docs/protocol/flows.md §1.2;
// docs/protocol/defects.md C13.
type clients struct{ *Server }

// idleTimeout is how long a client may say nothing.
// Source: docs/protocol/wire.md §2.
const idleTimeout = 120 * time.Second

// OnOpen is transport.Handler's.
func (c *clients) OnOpen(*transport.Conn) {}

// OnPDU is transport.Handler's.
func (c *clients) OnPDU(conn *transport.Conn, pdu wire.PDU) {
	handle := c.ofClients[pdu.Command]
	if handle == nil {
		c.metrics.unknownCommand.Inc()
		return
	}
	handle(conn, pdu)
}

// commands is the table of what comes to the TCP port for clients.
func (c *clients) commands() map[wire.Command]func(*transport.Conn, wire.PDU) {
	return map[wire.Command]func(*transport.Conn, wire.PDU){
		wire.MsgServerReq: func(conn *transport.Conn, pdu wire.PDU) {
			conn.SendMessage(wire.MsgServerRes, pdu.Seq, c.answerTCP())
			conn.Close(reasonAnswered)
		},
		wire.Heartbeat: func(*transport.Conn, wire.PDU) {}, // never answered here
	}
}

// Commands returns what this server handles, by who sends it, for
// docs/protocol.md.
func (s *Server) Commands() map[string][]wire.Command {
	return map[string][]wire.Command{
		"client":     slices.Collect(maps.Keys(s.ofClients)),
		"msg_server": slices.Collect(maps.Keys(s.ofServers)),
	}
}

// OnTick is transport.Handler's.
func (c *clients) OnTick(conn *transport.Conn, now time.Time) {
	if now.Sub(conn.LastReceived()) > idleTimeout {
		conn.Close(reasonIdle)
	}
}

// OnClose is transport.Handler's.
func (c *clients) OnClose(*transport.Conn, transport.CloseReason) {}

// answerTCP is what a client gets over TCP (0102).
func (s *Server) answerTCP() *login.IMMsgServRsp {
	info, result := s.pick(&s.metrics.tcp)
	switch result {
	case balance.None:
		return &login.IMMsgServRsp{ResultCode: basedefine.ResultType_REFUSE_REASON_NO_MSG_SERVER.Enum()}
	case balance.Full:
		return &login.IMMsgServRsp{ResultCode: basedefine.ResultType_REFUSE_REASON_MSG_SERVER_FULL.Enum()}
	case balance.Found:
	}
	return &login.IMMsgServRsp{
		ResultCode: basedefine.ResultType_REFUSE_REASON_NONE.Enum(),
		PriorIp:    proto.String(info.IP1),
		BackipIp:   proto.String(info.IP2),
		Port:       proto.Uint32(uint32(info.Port)),
	}
}
