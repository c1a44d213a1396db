package msgserver

import (
	"encoding/binary"
	"slices"

	"google.golang.org/protobuf/proto"

	"teamtalk/internal/im"
	"teamtalk/internal/link"
	"teamtalk/internal/transport"
	"teamtalk/internal/wire"
	"teamtalk/pb/basedefine"
	"teamtalk/pb/extension"
	"teamtalk/pb/login"
	"teamtalk/pb/server"
)

// Capabilities that clients may announce. Source: docs/protocol.md.
const (
	capClientMsgID = "client_msg_id"
	capNack        = "nack"
	capMove        = "move"
	capDelivered   = "delivered"
	capFiles       = "files"
)

// Texts of 0104. Source: docs/protocol/flows.md §3.
const (
	textOK    = "成功"
	textFault = "服务端异常"
)

// login starts a log-in, 0103. The answer 0104 follows when a db_proxy has
// validated it. Source: docs/protocol/flows.md §3, in the order of its checks.
func (s *Server) login(c *client, pdu wire.PDU) {
	if c.loginName != "" {
		s.metrics.dropped("second_login")
		return
	}
	c.loginSeq = pdu.Seq
	db := s.db.Login(c.conn.ID())
	switch {
	case db == nil:
		c.refuseLogin(basedefine.ResultType_REFUSE_REASON_NO_DB_SERVER, textFault)
		return
	case !s.logins.open():
		c.refuseLogin(basedefine.ResultType_REFUSE_REASON_NO_LOGIN_SERVER, textFault)
		return
	case !s.routes.open():
		c.refuseLogin(basedefine.ResultType_REFUSE_REASON_NO_ROUTE_SERVER, textFault)
		return
	}
	req := new(login.IMLoginReq)
	if err := proto.Unmarshal(pdu.Body, req); err != nil || !validLogin(req) {
		s.metrics.dropped("bad_body")
		return
	}
	c.loginName = req.GetUserName()
	c.clientType = im.ClientType(req.GetClientType())
	c.status = uint8(req.GetOnlineStatus())
	c.asked = req.GetCapabilities()
	c.device = req.GetDeviceId()
	c.password = req.GetPassword()
	c.validate(db)
}

// validate asks a db_proxy about the log-in, 0703.
func (c *client) validate(db *link.Link) {
	c.validating = db
	req := &server.IMValidateReq{
		UserName: proto.String(c.loginName), Password: proto.String(c.password), AttachData: attachConn(c.conn.ID()),
	}
	if db.Has(link.CapStore) {
		req.ClientAddr = proto.String(c.conn.Peer().Addr().String())
	}
	db.SendMessage(wire.ValidateReq, c.loginSeq, req)
}

// revalidate asks another db_proxy about the log-ins that l did not answer, or
// may not have.
func (s *Server) revalidate(l *link.Link) {
	s.clients.Range(func(_, value any) bool {
		c, _ := value.(*client)
		if !c.waits() {
			return true
		}
		c.conn.Do(func() {
			if c.conn.Closing() {
				return
			}
			if c.greeting != nil && c.terminal != nil && !c.begun {
				c.terminal.Start(s.engine.Now())
			}
			if c.validating != l {
				return
			}
			if db := s.db.Login(c.conn.ID()); db != nil {
				c.validate(db)
				return
			}
			c.refuseLogin(basedefine.ResultType_REFUSE_REASON_NO_DB_SERVER, textFault)
		})
		return true
	})
}

// validLogin refuses what the original's parser does not take. An empty name
// would read as no log-in at all.
func validLogin(req *login.IMLoginReq) bool {
	status := req.GetOnlineStatus()
	return req.GetUserName() != "" && validClient(req.GetClientType()) &&
		status >= basedefine.UserStatType_USER_STATUS_ONLINE && status <= basedefine.UserStatType_USER_STATUS_LEAVE
}

func validClient(t basedefine.ClientType) bool {
	_, known := basedefine.ClientType_name[int32(t)]
	return known
}

// refuseLogin answers and closes once the answer is written.
func (c *client) refuseLogin(result basedefine.ResultType, text string) {
	c.server.metrics.logins.WithLabelValues(result.String()).Inc()
	c.server.log.Info("login refused", "conn_id", c.conn.ID(), "peer", c.conn.Peer().String(), "result", result.String())
	c.conn.SendMessage(wire.LoginRes, c.loginSeq, &login.IMLoginRes{
		ServerTime:   proto.Uint32(uint32(c.server.clock().Unix())),
		ResultCode:   result.Enum(),
		ResultString: proto.String(text),
	})
	c.close(reasonRefused)
}

// validated takes the answer of a db_proxy, 0704, to the event loop of the
// client.
func (s *Server) validated(l *link.Link, pdu wire.PDU) {
	res := new(server.IMValidateRsp)
	if err := proto.Unmarshal(pdu.Body, res); err != nil {
		s.metrics.dropped("bad_body")
		return
	}
	c := s.clientOf(connOf(res.GetAttachData()))
	if c == nil {
		s.metrics.dropped("client_gone")
		return
	}
	c.conn.Do(func() {
		if res.GetResultCode() == validateFault && c.validating != l {
			return // another db_proxy is asked meanwhile
		}
		c.finishLogin(res)
	})
}

func (c *client) finishLogin(res *server.IMValidateRsp) {
	s := c.server
	if c.conn.Closing() || c.session.Load() != nil || c.loginName == "" {
		s.metrics.dropped("client_gone")
		return
	}
	c.validating, c.password = nil, ""
	user := res.GetUserInfo()
	if res.GetResultCode() == validateFault {
		// The original says 6 here, which clients show as a wrong password.
		c.refuseLogin(basedefine.ResultType_REFUSE_REASON_NO_DB_SERVER, res.GetResultString())
		return
	}
	if res.GetResultCode() != 0 || user.GetUserId() == 0 {
		c.refuseLogin(basedefine.ResultType_REFUSE_REASON_DB_VALIDATE_FAILED, res.GetResultString())
		return
	}
	session := &Session{
		ConnID: c.conn.ID(), User: im.UserID(user.GetUserId()), Client: c.clientType, Status: c.status, Conn: c,
		Opened: s.clock().UnixMilli(),
	}
	granted := c.grant()
	if c.delivers.Load() {
		c.newTerminal(session)
	}
	user.Status = proto.Uint32(0)
	c.greeting = &login.IMLoginRes{
		ServerTime:   proto.Uint32(uint32(s.clock().Unix())),
		ResultCode:   basedefine.ResultType_REFUSE_REASON_NONE.Enum(),
		ResultString: proto.String(textOK),
		OnlineStatus: basedefine.UserStatType(c.status).Enum(),
		UserInfo:     user,
		Capabilities: granted,
	}
	s.open(session)
	s.metrics.logins.WithLabelValues("ok").Inc()
	if c.terminal != nil {
		c.terminal.Start(s.engine.Now())
	}
}

// welcome answers the log-in as soon as it is known everywhere: the
// route_servers must know where the user is, and the db_proxies from where on
// what is stored waits for his terminal.
func (c *client) welcome() {
	if c.greeting == nil || !c.registered || c.terminal != nil && !c.begun || c.conn.Closing() {
		return
	}
	c.greet(c.greeting)
	c.greeting, c.welcomed = nil, true
}

// open makes a session known, here and to the other servers. The client hears
// nothing before the route_servers know of it, so that a message to him finds
// him.
func (s *Server) open(session *Session) {
	s.announcing.RLock()
	defer s.announcing.RUnlock()
	session.Conn.telling.Lock()
	defer session.Conn.telling.Unlock()
	older := s.sessions.Open(session)
	session.Conn.session.Store(session)
	for _, o := range older {
		s.kick(o, basedefine.KickReasonType_KICK_REASON_DUPLICATE_USER)
	}
	s.announceOpened(session)
	s.joins.start(session.Conn, s.routes.live.All())
}

// validateFault is the result of 0704 when the database could not say.
const validateFault = 2

// grant returns the announced capabilities that this server has. An original
// db_proxy does not know the first message from its repeat, and keeps no
// cursors.
func (c *client) grant() (granted []string) {
	for name, set := range map[string]interface{ Store(bool) }{
		capClientMsgID: &c.ownIDs, capNack: &c.nack, capMove: &c.moves, capDelivered: &c.delivers,
		capFiles: &c.files,
	} {
		if name == capClientMsgID && c.server.db.Originals() || name == capDelivered && !c.server.db.All(link.CapDelivery) ||
			name == capFiles && (c.server.signer == nil || len(c.server.fileServers.addrs) == 0) {
			continue
		}
		if slices.Contains(c.asked, name) {
			set.Store(true)
			granted = append(granted, name)
		}
	}
	slices.Sort(granted)
	return granted
}

// announceOpened tells the other servers. Source: docs/protocol/flows.md §3.
func (s *Server) announceOpened(session *Session) {
	s.metrics.online.Inc()
	s.routes.displace(session)
	s.logins.counted(session.User, 1)
	s.routes.status(session, basedefine.UserStatType_USER_STATUS_ONLINE)
}

func (s *Server) announceClosed(session *Session) {
	s.metrics.online.Dec()
	s.logins.counted(session.User, 2)
	s.routes.status(session, basedefine.UserStatType_USER_STATUS_OFFLINE)
}

// kick tells a log-in that it must give way, 0107, and closes its connection
// shortly after: clients close on their own, and must see the reason first.
// They see one, whatever else displaces them meanwhile.
// Source: docs/protocol/flows.md §4; docs/protocol/defects.md C1.
func (s *Server) kick(session *Session, reason basedefine.KickReasonType) {
	c := session.Conn
	if c.displaced.Swap(true) {
		return
	}
	s.log.Info("session kicked", "user_id", session.User, "conn_id", session.ConnID, "reason", reason.String())
	s.metrics.kicks.WithLabelValues(reason.String()).Inc()
	c.conn.Do(func() { c.kicked = s.engine.Now() })
	c.push(mustFrame(wire.KickUser, &login.IMKickUser{
		UserId: proto.Uint32(uint32(session.User)), KickReason: reason.Enum(),
	}))
}

// userClosed ends the log-ins of an account that was disabled, 0795. No 0107:
// its reasons say that the user is logged in elsewhere. Clients log in again
// and are refused.
func (s *Server) userClosed(_ *link.Link, pdu wire.PDU) {
	m := new(extension.IMUserClosed)
	if err := proto.Unmarshal(pdu.Body, m); err != nil {
		s.metrics.dropped("bad_body")
		return
	}
	for _, session := range s.sessions.Of(im.UserID(m.GetUserId())) {
		session.Conn.close(reasonDisabled)
	}
}

// kickPC lets a phone log its user's PC off, 010A to 010B.
// Source: docs/protocol/flows.md §4.
func (s *Server) kickPC(c *client, pdu wire.PDU) {
	session := c.session.Load()
	if !session.Client.Mobile() {
		s.metrics.dropped("not_mobile")
		return
	}
	if err := proto.Unmarshal(pdu.Body, new(login.IMKickPCClientReq)); err != nil {
		s.metrics.dropped("bad_body")
		return
	}
	for _, other := range s.sessions.Of(session.User) {
		if !other.Client.Mobile() {
			s.kick(other, basedefine.KickReasonType_KICK_REASON_MOBILE_KICK)
		}
	}
	s.routes.one(wire.ServerKickUser, &server.IMServerKickUser{
		UserId:     proto.Uint32(uint32(session.User)),
		ClientType: basedefine.ClientType_CLIENT_TYPE_MAC.Enum(),
		Reason:     proto.Uint32(uint32(basedefine.KickReasonType_KICK_REASON_MOBILE_KICK)),
	})
	c.conn.SendMessage(wire.KickPCRes, pdu.Seq, &login.IMKickPCClientRsp{
		UserId: proto.Uint32(uint32(session.User)), ResultCode: proto.Uint32(0),
	})
}

// logout answers 0105 with 0106 and closes; it works before a log-in, too.
// A phone that logs out takes its device token with it.
// Source: docs/protocol/flows.md §5; docs/protocol/defects.md C8.
func (s *Server) logout(c *client, pdu wire.PDU) {
	if session := c.session.Load(); session != nil && session.Client.Mobile() {
		if db := s.db.General(c.conn.ID()); db != nil {
			db.SendMessage(wire.DeviceTokenReq, 0, &login.IMDeviceTokenReq{
				UserId: proto.Uint32(uint32(session.User)), DeviceToken: proto.String(""),
				ClientType: basedefine.ClientType(session.Client).Enum(),
			})
		}
	}
	c.conn.SendMessage(wire.LogoutRes, pdu.Seq, &login.IMLogoutRsp{ResultCode: proto.Uint32(0)})
	c.close(reasonLogout)
}

// heartbeat returns the PDU byte for byte, ahead of everything that is asked
// of other servers. Source: docs/protocol/wire.md §2.
func (s *Server) heartbeat(c *client, pdu wire.PDU) {
	frame := make([]byte, 0, wire.HeaderSize+len(pdu.Body))
	frame = binary.BigEndian.AppendUint32(frame, pdu.Length)
	for _, field := range []uint16{pdu.Version, pdu.Flag, pdu.Service, uint16(pdu.Command), pdu.Seq, pdu.Reserved} {
		frame = binary.BigEndian.AppendUint16(frame, field)
	}
	c.conn.Send(append(frame, pdu.Body...))
}

// The kinds of our attach_data: a kind, then a number that is never used
// again. Source: docs/protocol/wire.md §8.
const (
	attachKindConn   byte = 1 // a client connection
	attachKindSend   byte = 2 // a message being stored
	attachKindAsk    byte = 3 // a question of this server's own
	attachKindRound  byte = 4 // a question that another one waits for
	attachKindAvatar byte = 5 // a client connection; the new avatar follows
	attachKindFile   byte = 6 // a question about a file
	attachKindJoin   byte = 7 // a question to a route_server that a log-in waits for
)

const attachSize = 12

func attach(kind byte, id uint64) []byte {
	b := make([]byte, attachSize)
	b[0] = kind
	binary.BigEndian.PutUint64(b[attachSize-8:], id)
	return b
}

func attachConn(id uint64) []byte { return attach(attachKindConn, id) }

// attached reads attach_data of the given kind; 0 for any other.
func attached(kind byte, b []byte) uint64 {
	if len(b) != attachSize || b[0] != kind {
		return 0
	}
	return binary.BigEndian.Uint64(b[attachSize-8:])
}

func connOf(b []byte) uint64 { return attached(attachKindConn, b) }

var _ transport.Handler = (*Server)(nil)
