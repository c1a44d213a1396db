package clienttest

import (
	"net"
	"slices"
	"sync"

	"google.golang.org/protobuf/proto"

	"teamtalk/internal/im"
	"teamtalk/internal/wire"
	"teamtalk/pb/basedefine"
	"teamtalk/pb/group"
	"teamtalk/pb/login"
	"teamtalk/pb/message"
)

// Conn is one client connection of a Network.
type Conn struct {
	n    *Network
	nc   net.Conn
	user im.UserID // guarded by n.mu

	mu sync.Mutex // serialises writes
}

// User returns who is logged in, 0 if nobody.
func (c *Conn) User() im.UserID {
	c.n.mu.Lock()
	defer c.n.mu.Unlock()
	return c.user
}

// Write sends bytes as they are.
func (c *Conn) Write(p []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, _ = c.nc.Write(p) // a client that has gone needs nothing
}

// Send sends a PDU.
func (c *Conn) Send(command wire.Command, seq uint16, m proto.Message) {
	if pdu, err := wire.AppendMessage(nil, command, seq, m); err == nil {
		c.Write(pdu)
	}
}

// Close closes the connection.
func (c *Conn) Close() { _ = c.nc.Close() }

// serve reads PDUs until the client goes or sends something that is none.
func (n *Network) serve(nc net.Conn) {
	c := &Conn{n: n, nc: nc}
	n.mu.Lock()
	n.conns[c] = true
	n.mu.Unlock()
	defer func() {
		n.mu.Lock()
		delete(n.conns, c)
		n.mu.Unlock()
		_ = nc.Close()
	}()
	var buf []byte
	chunk := make([]byte, 16<<10)
	for {
		size, err := nc.Read(chunk)
		if err != nil {
			return
		}
		buf = append(buf, chunk[:size]...)
		for {
			pdu, size, _, err := wire.Next(buf, wire.MaxClientPDU)
			if err != nil {
				return
			}
			if size == 0 {
				break
			}
			if n.Hook == nil || !n.Hook(c, pdu) {
				c.handle(pdu)
			}
			buf = buf[size:]
		}
	}
}

// handle answers one PDU.
func (c *Conn) handle(pdu wire.PDU) {
	switch pdu.Command {
	case wire.Heartbeat:
		c.Write(wire.Append(nil, wire.Heartbeat, pdu.Seq, nil))
	case wire.LoginReq:
		c.login(pdu)
	case wire.LogoutReq:
		c.Send(wire.LogoutRes, pdu.Seq, &login.IMLogoutRsp{ResultCode: proto.Uint32(0)})
		c.Close()
	case wire.TimeReq:
		c.Send(wire.TimeRes, pdu.Seq, &message.IMClientTimeRsp{ServerTime: proto.Uint32(1_700_000_000)})
	case wire.MsgData:
		c.message(pdu)
	case wire.MsgDataAck, wire.MsgDelivered:
		c.n.mu.Lock()
		c.n.receipts++
		c.n.mu.Unlock()
	case wire.MsgListReq:
		c.history(pdu)
	case wire.LatestMsgIDReq:
		c.latest(pdu)
	case wire.UnreadCountReq: // everybody has read everything
		c.Send(wire.UnreadCountRes, pdu.Seq, &message.IMUnreadMsgCntRsp{
			UserId: proto.Uint32(uint32(c.User())), TotalCnt: proto.Uint32(0),
		})
	case wire.GroupCreateReq:
		c.createGroup(pdu)
	}
}

// login answers 0x0103.
func (c *Conn) login(pdu wire.PDU) {
	var req login.IMLoginReq
	if proto.Unmarshal(pdu.Body, &req) != nil {
		return
	}
	res := &login.IMLoginRes{
		ServerTime: proto.Uint32(1_700_000_000),
		ResultCode: basedefine.ResultType_REFUSE_REASON_NONE.Enum(),
	}
	id, ok := c.n.login(req.GetUserName(), req.GetPassword())
	if !ok {
		res.ResultCode = basedefine.ResultType_REFUSE_REASON_DB_VALIDATE_FAILED.Enum()
		res.ResultString = proto.String("wrong password")
		c.Send(wire.LoginRes, pdu.Seq, res)
		c.Close()
		return
	}
	for _, capability := range req.GetCapabilities() {
		if slices.Contains(c.n.Grant, capability) {
			res.Capabilities = append(res.Capabilities, capability)
		}
	}
	empty := proto.String("")
	res.UserInfo = &basedefine.UserInfo{
		UserId: proto.Uint32(uint32(id)), UserNickName: req.UserName, UserRealName: req.UserName,
		UserGender: proto.Uint32(1), AvatarUrl: empty, DepartmentId: proto.Uint32(1), Email: empty,
		UserTel: empty, UserDomain: empty, Status: proto.Uint32(0),
	}
	c.n.mu.Lock()
	c.user = id
	c.n.mu.Unlock()
	c.Send(wire.LoginRes, pdu.Seq, res)
}

// message answers 0x0301.
func (c *Conn) message(pdu wire.PDU) {
	m := &message.IMMsgData{}
	if proto.Unmarshal(pdu.Body, m) != nil {
		return
	}
	m.FromUserId = proto.Uint32(uint32(c.User()))
	m.CreateTime = proto.Uint32(1_700_000_000)
	kind := im.MsgType(m.GetMsgType()).Kind()
	c.n.store(c, m, func(id im.MsgID) {
		c.Send(wire.MsgDataAck, pdu.Seq, &message.IMMsgDataAck{
			UserId: m.FromUserId, SessionId: m.ToSessionId, MsgId: proto.Uint32(uint32(id)),
			SessionType: basedefine.SessionType(kind).Enum(),
		})
	})
}

// history answers 0x0309.
func (c *Conn) history(pdu wire.PDU) {
	var req message.IMGetMsgListReq
	if proto.Unmarshal(pdu.Body, &req) != nil {
		return
	}
	res := &message.IMGetMsgListRsp{
		UserId: proto.Uint32(uint32(c.User())), SessionType: req.SessionType,
		SessionId: req.SessionId, MsgIdBegin: req.MsgIdBegin,
	}
	conv := im.ConversationOf(c.User(), im.Kind(req.GetSessionType()), req.GetSessionId())
	for _, m := range c.n.page(conv, im.MsgID(req.GetMsgIdBegin()), int(req.GetMsgCnt())) {
		res.MsgList = append(res.MsgList, &basedefine.MsgInfo{
			MsgId: m.MsgId, FromSessionId: m.FromUserId, CreateTime: m.CreateTime,
			MsgType: m.MsgType, MsgData: m.GetMsgData(),
		})
	}
	c.Send(wire.MsgListRes, pdu.Seq, res)
}

// latest answers 0x030B.
func (c *Conn) latest(pdu wire.PDU) {
	var req message.IMGetLatestMsgIdReq
	if proto.Unmarshal(pdu.Body, &req) != nil {
		return
	}
	conv := im.ConversationOf(c.User(), im.Kind(req.GetSessionType()), req.GetSessionId())
	c.n.mu.Lock()
	id := c.n.latest[conv]
	c.n.mu.Unlock()
	c.Send(wire.LatestMsgIDRes, pdu.Seq, &message.IMGetLatestMsgIdRsp{
		UserId: proto.Uint32(uint32(c.User())), SessionType: req.SessionType,
		SessionId: req.SessionId, LatestMsgId: proto.Uint32(uint32(id)),
	})
}

// createGroup answers 0x0405.
func (c *Conn) createGroup(pdu wire.PDU) {
	var req group.IMGroupCreateReq
	if proto.Unmarshal(pdu.Body, &req) != nil {
		return
	}
	c.n.mu.Lock()
	id := im.GroupID(len(c.n.groups) + 1)
	for _, u := range req.GetMemberIdList() {
		c.n.groups[id] = append(c.n.groups[id], im.UserID(u))
	}
	c.n.mu.Unlock()
	c.Send(wire.GroupCreateRes, pdu.Seq, &group.IMGroupCreateRsp{
		UserId: proto.Uint32(uint32(c.User())), ResultCode: proto.Uint32(0),
		GroupId: proto.Uint32(uint32(id)), GroupName: req.GroupName, UserIdList: req.GetMemberIdList(),
	})
}

// setID gives a message an id.
func setID(m *message.IMMsgData, id im.MsgID) { m.MsgId = proto.Uint32(uint32(id)) }

// copyMessage returns a copy of m whose id can change.
func copyMessage(m *message.IMMsgData) *message.IMMsgData {
	k, _ := proto.Clone(m).(*message.IMMsgData)
	return k
}
