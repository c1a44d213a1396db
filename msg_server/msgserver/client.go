package msgserver

import (
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/proto"

	"teamtalk/internal/im"
	"teamtalk/internal/link"
	"teamtalk/internal/transport"
	"teamtalk/internal/wire"
	"teamtalk/msg_server/internal/session"
	"teamtalk/msg_server/internal/terminal"
	"teamtalk/pb/login"
)

// Timers of a client connection. Source: docs/protocol/wire.md §2;
// docs/protocol/defects.md C1.
const (
	loginDeadline = 15 * time.Second
	idlePC        = 120 * time.Second
	idleMobile    = 300 * time.Second
	kickGrace     = 2 * time.Second
)

// Reasons a client connection is closed for.
const (
	reasonNoLogin  transport.CloseReason = "login_deadline"
	reasonIdle     transport.CloseReason = "idle"
	reasonRefused  transport.CloseReason = "login_refused"
	reasonKicked   transport.CloseReason = "kicked"
	reasonDisabled transport.CloseReason = "disabled"
	reasonLogout   transport.CloseReason = "logout"
	reasonOverflow transport.CloseReason = "inbound_overflow"
)

// Session is a log-in of a client.
type Session = session.Session[*client]

// client is one client connection.
type client struct {
	// Static after the connection is open.
	server *Server
	conn   *transport.Conn
	opened time.Time

	// Owned by the event loop of the connection.
	loginName  string // set by the first log-in request, finished or not
	clientType im.ClientType
	greeting   *login.IMLoginRes // waits until the log-in is known everywhere
	registered bool              // to the route_servers
	begun      bool              // to the db_proxies, as a terminal that acknowledges
	welcomed   bool              // 0104 was queued
	password   string            // until the log-in is answered
	loginSeq   uint16
	validating *link.Link // the db_proxy that was asked about the log-in
	status     uint8
	asked      []string // capabilities the client announced
	kicked     time.Time
	repeats    *repeats // of clients that send
	allowance  *allowance
	device     string // as the client announced it
	reads      []sentRead

	// terminal is set at the log-in of a client with the capability delivered,
	// before the session is known; nil for all others.
	terminal *terminal.Terminal

	queries   queries
	session   atomic.Pointer[Session]
	inFlight  atomic.Int32 // sends without an answer
	nack      atomic.Bool  // 0381 was granted
	ownIDs    atomic.Bool  // client_msg_id was granted
	moves     atomic.Bool  // 0181 was granted
	delivers  atomic.Bool  // 0382 was granted
	files     atomic.Bool  // 0581 was granted
	displaced atomic.Bool  // 0107 was sent

	// telling is held while the other servers are told that the log-in begins
	// or ends, so that they hear it in this order. Taken after announcing.
	telling sync.Mutex

	mu      sync.Mutex // guards the fields below
	greeted bool       // 0104 was queued
	early   []byte     // frames that came before it
}

// push queues a framed PDU; before the answer to the log-in it waits for
// that. Safe anywhere.
func (c *client) push(frame []byte) bool {
	c.mu.Lock()
	if !c.greeted {
		defer c.mu.Unlock()
		if len(c.early)+len(frame) > maxEarly {
			c.server.metrics.dropped("before_greeting")
			return false
		}
		c.early = append(c.early, frame...)
		return true
	}
	c.mu.Unlock()
	return c.conn.Send(frame)
}

// pushShared is push for frames that go to many connections: they are not
// copied and must not change afterwards. Safe anywhere.
func (c *client) pushShared(frames []byte) bool {
	c.mu.Lock()
	greeted := c.greeted
	c.mu.Unlock()
	if !greeted {
		return c.push(frames)
	}
	return c.conn.SendShared(nil, frames)
}

// maxEarly bounds what waits for the answer to a log-in; what does not fit is
// found by unread counts and history.
const maxEarly = 256 << 10

// greet queues the answer to the log-in and what waited for it.
func (c *client) greet(m proto.Message) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.conn.SendMessage(wire.LoginRes, c.loginSeq, m)
	if len(c.early) > 0 {
		c.conn.Send(c.early)
	}
	c.early, c.greeted = nil, true
}

// waits reports whether 0104 was not queued yet. Safe anywhere.
func (c *client) waits() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.greeted
}

// user is the id of the log-in, 0 before it.
func (c *client) user() im.UserID {
	if s := c.session.Load(); s != nil {
		return s.User
	}
	return 0
}

// OnOpen is transport.Handler's.
func (s *Server) OnOpen(conn *transport.Conn) {
	c := &client{server: s, conn: conn, opened: s.engine.Now()}
	conn.State = c
	s.clients.Store(conn.ID(), c)
}

// OnPDU is transport.Handler's: it looks the command up in the table.
func (s *Server) OnPDU(conn *transport.Conn, pdu wire.PDU) {
	c := conn.State.(*client)
	row := s.commands[pdu.Command]
	switch {
	case row == nil:
		s.metrics.dropped("unknown_command")
	case !row.anybody && !c.welcomed:
		s.metrics.dropped("before_login")
	default:
		row.handle(c, pdu)
	}
}

// OnTick is transport.Handler's.
func (s *Server) OnTick(conn *transport.Conn, now time.Time) {
	c := conn.State.(*client)
	if !c.kicked.IsZero() && now.Sub(c.kicked) > kickGrace {
		c.close(reasonKicked)
		return
	}
	if !c.welcomed {
		if now.Sub(c.opened) > loginDeadline {
			c.close(reasonNoLogin)
		}
		c.tickTerminal(now)
		return
	}
	limit := idlePC
	if c.session.Load().Client.Mobile() {
		limit = idleMobile
	}
	if now.Sub(conn.LastReceived()) > limit {
		c.close(reasonIdle)
		return
	}
	c.repeats.expire(now)
	c.tickTerminal(now)
}

// OnClose is transport.Handler's.
func (s *Server) OnClose(conn *transport.Conn, _ transport.CloseReason) {
	c := conn.State.(*client)
	s.clients.Delete(conn.ID())
	c.closeTerminal()
	c.endSession()
}

// close ends the connection after what is queued was written. The log-in is
// over at once, and the other servers hear so: a client that keeps its socket
// open is not there any more. Safe anywhere.
func (c *client) close(reason transport.CloseReason) {
	c.conn.Close(reason)
	c.endSession()
}

// endSession ends the log-in of the connection, if it has one that has not
// ended. Safe anywhere.
func (c *client) endSession() {
	s := c.server
	s.announcing.RLock()
	defer s.announcing.RUnlock()
	c.telling.Lock()
	defer c.telling.Unlock()
	if last := c.session.Load(); last != nil && s.sessions.Close(last) {
		s.announceClosed(last)
	}
}

// clientOf finds an open connection by its id.
func (s *Server) clientOf(connID uint64) *client {
	if c, ok := s.clients.Load(connID); ok {
		return c.(*client)
	}
	return nil
}
