package client

import (
	"net"
	"strconv"
	"time"

	"google.golang.org/protobuf/proto"

	"teamtalk/internal/im"
	"teamtalk/internal/wire"
	"teamtalk/pb/basedefine"
	"teamtalk/pb/buddy"
	"teamtalk/pb/extension"
	"teamtalk/pb/group"
	"teamtalk/pb/login"
	"teamtalk/pb/message"
	"teamtalk/pb/switchservice"
)

// Event is something the server sent on its own, or the end of the connection.
// It is one of the pointer types below; unknown commands come as *Raw.
type Event interface{ event() }

// ReadNotice says that another terminal of this user has read a conversation
// up to ID (0x0304).
type ReadNotice struct {
	Kind    im.Kind
	Session uint32 // peer or group
	ID      im.MsgID
}

// Kick says that this log-in was displaced (0x0107). The connection ends.
type Kick struct{ Reason basedefine.KickReasonType }

// Presence says that a user's PC went on-line or off-line (0x0203). Only PC
// types get it.
type Presence struct {
	User   im.UserID
	Status basedefine.UserStatType
}

// PCPresence says that this user's own PC went on-line or off-line (0x020E).
// Only mobile types get it.
type PCPresence struct{ Online bool }

// SessionRemoved says that another terminal removed a conversation from the
// list (0x020F).
type SessionRemoved struct {
	Kind    im.Kind
	Session uint32
}

// AvatarChanged says that a user has a new picture (0x0212).
type AvatarChanged struct {
	User im.UserID
	URL  string
}

// SignatureChanged says that a user has a new signature (0x0215).
type SignatureChanged struct {
	User      im.UserID
	Signature string
}

// GroupChanged says that members of a group were added or removed (0x040B).
type GroupChanged struct {
	By      im.UserID
	Group   im.GroupID
	Removed bool // Changed were removed, not added
	Members []uint32
	Changed []uint32
}

// PeerCommand is a command from another user, such as "is typing" (0x0601).
// Source: docs/protocol/wire.md §10.
type PeerCommand struct {
	From, To im.UserID
	Data     string // JSON
}

// Delivered says that messages up to ID have reached the peer (0x0382).
type Delivered struct {
	Kind    im.Kind
	Session uint32
	ID      im.MsgID
}

// Gap says that the messages First to Last are not pushed, because too many
// waited or some cannot be shown: history has what there is (0x0383). It comes
// only with CapDelivered.
type Gap struct {
	Kind        im.Kind
	Session     uint32
	First, Last im.MsgID
}

// Move asks to connect elsewhere (0x0181). The connection ends with a
// *MovedError.
type Move struct {
	Addr  string // empty: ask the login_server
	After time.Duration
}

// Raw is a PDU that no request waits for and no other event describes,
// replies that came too late included.
type Raw struct{ PDU wire.PDU }

// Closed is the last event of a connection.
type Closed struct{ Err error }

func (*Message) event()          {}
func (*ReadNotice) event()       {}
func (*Kick) event()             {}
func (*Presence) event()         {}
func (*PCPresence) event()       {}
func (*SessionRemoved) event()   {}
func (*AvatarChanged) event()    {}
func (*SignatureChanged) event() {}
func (*GroupChanged) event()     {}
func (*PeerCommand) event()      {}
func (*Delivered) event()        {}
func (*Gap) event()              {}
func (*Move) event()             {}
func (*Raw) event()              {}
func (*Closed) event()           {}

// dispatch takes one received PDU. It runs on the reader.
func (c *Client) dispatch(pdu wire.PDU) {
	if c.opts.OnPDU != nil {
		c.opts.OnPDU(pdu)
	}
	if pdu.Command == wire.Heartbeat {
		return
	}
	if pdu.Seq != 0 && c.complete(pdu) {
		return
	}
	if pdu.Command == wire.MsgData {
		c.dispatchMessage(pdu)
		return
	}
	e := parseEvent(pdu)
	c.emit(e)
	switch e := e.(type) {
	case *Kick:
		if !c.opts.StayAfterKick {
			c.fail(&KickedError{Reason: e.Reason})
		}
	case *Move:
		c.fail(&MovedError{Addr: e.Addr, After: e.After})
	}
}

// emit calls the Handler.
func (c *Client) emit(e Event) {
	if c.opts.Handler != nil {
		c.opts.Handler(c, e)
	}
}

// dispatchMessage delivers a pushed message and acknowledges it.
func (c *Client) dispatchMessage(pdu wire.PDU) {
	c.msg = Message{Seq: pdu.Seq}
	if err := parseMsgData(pdu.Body, &c.msg); err != nil {
		c.emit(&Raw{PDU: pdu})
		return
	}
	if !c.repeated(&c.msg) {
		c.emit(&c.msg)
	}
	if !c.opts.NoReceipts {
		c.receipt(&c.msg)
	}
}

// repeated reports whether a message was sent again that has arrived already:
// the ids of a conversation come in their order. It runs on the reader.
func (c *Client) repeated(m *Message) bool {
	if !c.cumulative {
		return false
	}
	key := conversationKey{m.Kind(), m.Session(c.User())}
	if m.ID <= c.arrived[key] {
		return true
	}
	c.arrived[key] = m.ID
	return false
}

// parseEvent decodes a push; what does not decode comes as Raw.
func parseEvent(pdu wire.PDU) Event {
	parse, ok := eventParsers[pdu.Command]
	if !ok {
		return &Raw{PDU: pdu}
	}
	e, err := parse(pdu.Body)
	if err != nil {
		return &Raw{PDU: pdu}
	}
	return e
}

// eventParsers decodes the body of every push but 0x0301.
var eventParsers = map[wire.Command]func([]byte) (Event, error){
	wire.MsgReadNotify: func(b []byte) (Event, error) {
		var m message.IMMsgDataReadNotify
		err := proto.Unmarshal(b, &m)
		return &ReadNotice{
			Kind: im.Kind(m.GetSessionType()), Session: m.GetSessionId(), ID: im.MsgID(m.GetMsgId()),
		}, err
	},
	wire.KickUser: func(b []byte) (Event, error) {
		var m login.IMKickUser
		err := proto.Unmarshal(b, &m)
		return &Kick{Reason: m.GetKickReason()}, err
	},
	wire.StatusNotify: func(b []byte) (Event, error) {
		var m buddy.IMUserStatNotify
		err := proto.Unmarshal(b, &m)
		return &Presence{
			User: im.UserID(m.GetUserStat().GetUserId()), Status: m.GetUserStat().GetStatus(),
		}, err
	},
	wire.PCLoginStatusNotify: func(b []byte) (Event, error) {
		var m buddy.IMPCLoginStatusNotify
		err := proto.Unmarshal(b, &m)
		return &PCPresence{Online: m.GetLoginStat() == basedefine.UserStatType_USER_STATUS_ONLINE}, err
	},
	wire.RemoveSessionNotify: func(b []byte) (Event, error) {
		var m buddy.IMRemoveSessionNotify
		err := proto.Unmarshal(b, &m)
		return &SessionRemoved{Kind: im.Kind(m.GetSessionType()), Session: m.GetSessionId()}, err
	},
	wire.AvatarChangedNotify: func(b []byte) (Event, error) {
		var m buddy.IMAvatarChangedNotify
		err := proto.Unmarshal(b, &m)
		return &AvatarChanged{User: im.UserID(m.GetChangedUserId()), URL: m.GetAvatarUrl()}, err
	},
	wire.SignInfoChangedNotify: func(b []byte) (Event, error) {
		var m buddy.IMSignInfoChangedNotify
		err := proto.Unmarshal(b, &m)
		return &SignatureChanged{User: im.UserID(m.GetChangedUserId()), Signature: m.GetSignInfo()}, err
	},
	wire.GroupChangeMemberNotify: func(b []byte) (Event, error) {
		var m group.IMGroupChangeMemberNotify
		err := proto.Unmarshal(b, &m)
		return &GroupChanged{
			By: im.UserID(m.GetUserId()), Group: im.GroupID(m.GetGroupId()),
			Removed: m.GetChangeType() == basedefine.GroupModifyType_GROUP_MODIFY_TYPE_DEL,
			Members: m.GetCurUserIdList(), Changed: m.GetChgUserIdList(),
		}, err
	},
	wire.P2PCommand: func(b []byte) (Event, error) {
		var m switchservice.IMP2PCmdMsg
		err := proto.Unmarshal(b, &m)
		return &PeerCommand{
			From: im.UserID(m.GetFromUserId()), To: im.UserID(m.GetToUserId()), Data: m.GetCmdMsgData(),
		}, err
	},
	wire.MsgDelivered: func(b []byte) (Event, error) {
		var m extension.IMMsgDelivered
		err := proto.Unmarshal(b, &m)
		return &Delivered{
			Kind: im.Kind(m.GetSessionType()), Session: m.GetSessionId(), ID: im.MsgID(m.GetMsgId()),
		}, err
	},
	wire.MsgGap: func(b []byte) (Event, error) {
		var m extension.IMMsgGap
		err := proto.Unmarshal(b, &m)
		return &Gap{
			Kind: im.Kind(m.GetSessionType()), Session: m.GetSessionId(),
			First: im.MsgID(m.GetFirst()), Last: im.MsgID(m.GetLast()),
		}, err
	},
	wire.FileReady: parseFileReady,
	wire.FileMoved: parseFileMoved,
	wire.MoveServer: func(b []byte) (Event, error) {
		var m extension.IMMoveServer
		err := proto.Unmarshal(b, &m)
		e := &Move{After: time.Duration(m.GetRetryAfterMs()) * time.Millisecond}
		if m.GetIp() != "" {
			e.Addr = net.JoinHostPort(m.GetIp(), strconv.FormatUint(uint64(m.GetPort()), 10))
		}
		return e, err
	},
}
