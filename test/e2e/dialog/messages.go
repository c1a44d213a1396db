package dialog

import (
	"encoding/binary"
	"errors"
	"strings"

	"google.golang.org/protobuf/proto"

	"teamtalk/client"
	"teamtalk/client/textcrypt"
	"teamtalk/internal/im"
	"teamtalk/internal/wire"
	"teamtalk/pb/basedefine"
	"teamtalk/pb/extension"
	"teamtalk/pb/message"
)

// messageVerbs: sending and reading.
var messageVerbs = map[string]verb{
	// say TO "text" [id CLIENT_MSG_ID] [from USER] [type N]
	"say": func(p *Player, t *terminal, args []word) error {
		if len(args) < 2 {
			return errors.New(`say TO "text"`)
		}
		data := []byte{} // not nil, which would leave the field out
		if args[1].text != "" {
			data = textcrypt.Standard().Encrypt(args[1].text)
		}
		return p.sendMessage(t, args[0], data, args[2:])
	},

	// blob TO N: a message of N bytes that are no encrypted text.
	"blob": func(p *Player, t *terminal, args []word) error {
		if len(args) < 2 {
			return errors.New("blob TO N")
		}
		n, err := number(args[1])
		if err != nil {
			return err
		}
		return p.sendMessage(t, args[0], []byte(strings.Repeat("x", int(n))), args[2:])
	},

	// audio TO SECONDS "sound"
	"audio": func(p *Player, t *terminal, args []word) error {
		if len(args) < 3 {
			return errors.New(`audio TO SECONDS "sound"`)
		}
		seconds, err := number(args[1])
		if err != nil {
			return err
		}
		data := append(binary.BigEndian.AppendUint32(nil, seconds), args[2].text...)
		return p.sendMessage(t, args[0], data, append(args[3:], word{text: "type"}, word{text: "audio"}))
	},

	// read SESSION ID [as USER]: everything up to ID was read.
	"read": func(p *Player, t *terminal, args []word) error {
		if len(args) < 2 {
			return errors.New("read SESSION ID")
		}
		values, err := named(args[2:], "as")
		if err != nil {
			return err
		}
		kind, session, err := p.session(args[0])
		if err != nil {
			return err
		}
		id, err := number(args[1])
		if err != nil {
			return err
		}
		me := t.meID()
		if w, ok := values["as"]; ok {
			user, err := p.user(w)
			if err != nil {
				return err
			}
			me = proto.Uint32(uint32(user))
		}
		_, err = t.send(wire.MsgReadAck, &message.IMMsgDataReadAck{
			UserId: me, SessionId: proto.Uint32(session), MsgId: proto.Uint32(id),
			SessionType: basedefine.SessionType(kind).Enum(),
		}, 0, "")
		return err
	},

	// got SESSION ID: everything up to ID has arrived.
	"got": func(p *Player, t *terminal, args []word) error {
		if len(args) != 2 {
			return errors.New("got SESSION ID")
		}
		kind, session, err := p.session(args[0])
		if err != nil {
			return err
		}
		id, err := number(args[1])
		if err != nil {
			return err
		}
		_, err = t.send(wire.MsgDelivered, &extension.IMMsgDelivered{
			SessionId: proto.Uint32(session), SessionType: basedefine.SessionType(kind).Enum(), MsgId: proto.Uint32(id),
		}, 0, "")
		return err
	},

	"unread": simple(wire.UnreadCountReq, wire.UnreadCountRes, func(t *terminal) proto.Message {
		return &message.IMUnreadMsgCntReq{UserId: t.meID()}
	}),
}

// sendMessage sends 0x0301.
func (p *Player) sendMessage(t *terminal, to word, data []byte, rest []word) error {
	values, err := named(rest, "id", "from", "type")
	if err != nil {
		return err
	}
	kind, session, err := p.session(to)
	if err != nil {
		return err
	}
	sort, err := msgType(kind, values["type"])
	if err != nil {
		return err
	}
	m := &message.IMMsgData{
		FromUserId: t.meID(), ToSessionId: proto.Uint32(session), MsgId: proto.Uint32(uint32(t.profile.TempMsgID)),
		CreateTime: proto.Uint32(0), MsgType: basedefine.MsgType(sort).Enum(), MsgData: data,
	}
	if w, ok := values["from"]; ok {
		id, err := p.user(w)
		if err != nil {
			return err
		}
		m.FromUserId = proto.Uint32(uint32(id))
	}
	if w, ok := values["id"]; ok {
		m.ClientMsgId = proto.String(p.tag + "-" + w.text)
	}
	_, err = t.send(wire.MsgData, m, wire.MsgDataAck, to.text)
	return err
}

// msgType returns the type of a message: text of the kind, "audio", or a
// number that need not exist.
func msgType(kind im.Kind, given word) (im.MsgType, error) {
	text, audio := im.SingleText, im.SingleAudio
	if kind == im.Group {
		text, audio = im.GroupText, im.GroupAudio
	}
	switch given.text {
	case "":
		return text, nil
	case "audio":
		return audio, nil
	}
	n, err := number(given)
	return im.MsgType(n), err
}

// messageDecoders are what follows from messageVerbs.
var messageDecoders = map[wire.Command]decoder{
	wire.MsgDataAck: answer(func(p *Player, _ *terminal, _ *request, m *message.IMMsgDataAck) []event {
		return []event{say("ack", p.sessionName(im.Kind(m.GetSessionType()), m.GetSessionId()), m.GetMsgId())}
	}),
	wire.MsgNack: answer(func(p *Player, _ *terminal, _ *request, m *extension.IMMsgNack) []event {
		return []event{say("nack", p.sessionName(im.Kind(m.GetSessionType()), m.GetSessionId()), im.Code(m.GetReason()))}
	}),
	wire.MsgData: push(func(p *Player, t *terminal, m *message.IMMsgData) []event {
		msg := client.Message{
			From: im.UserID(m.GetFromUserId()), To: m.GetToSessionId(), ID: im.MsgID(m.GetMsgId()),
			Type: im.MsgType(m.GetMsgType()), Data: m.GetMsgData(),
		}
		if !now(m.GetCreateTime()) {
			return []event{say("message of", m.GetCreateTime())}
		}
		t.receipt(&msg)
		return []event{p.describe("message "+p.sessionName(msg.Kind(), msg.Session(t.me)), msg.Session(t.me), &msg)}
	}),
	wire.MsgGap: push(func(p *Player, _ *terminal, m *extension.IMMsgGap) []event {
		return []event{say("gap", p.sessionName(im.Kind(m.GetSessionType()), m.GetSessionId()), m.GetFirst(), m.GetLast())}
	}),
	wire.MsgReadNotify: push(func(p *Player, t *terminal, m *message.IMMsgDataReadNotify) []event {
		if im.UserID(m.GetUserId()) != t.me {
			return []event{say("read by", p.userName(m.GetUserId()))}
		}
		return []event{say("read", p.sessionName(im.Kind(m.GetSessionType()), m.GetSessionId()), m.GetMsgId())}
	}),
	wire.UnreadCountRes: answer(func(p *Player, _ *terminal, _ *request, m *message.IMUnreadMsgCntRsp) []event {
		var all []event
		for _, u := range m.GetUnreadinfoList() {
			msg := client.Message{
				From: im.UserID(u.GetLatestMsgFromUserId()), ID: im.MsgID(u.GetLatestMsgId()),
				Type: im.MsgType(u.GetLatestMsgType()), Data: u.GetLatestMsgData(),
			}
			session := p.sessionName(im.Kind(u.GetSessionType()), u.GetSessionId())
			all = append(all, p.describe("unread "+session+" "+itoa(u.GetUnreadCnt())+" last", u.GetSessionId(), &msg))
		}
		return append(all, say("unread total", m.GetTotalCnt()))
	}),
}

// describe makes the event of a message: what it is, its id and text, and who
// wrote it where the session does not say so.
func (p *Player) describe(what string, session uint32, m *client.Message) event {
	parts := []any{what, uint32(m.ID)}
	if seconds, sound, ok := m.Audio(); ok && m.Text() == "" {
		parts = append(parts, "audio", seconds, text(sound))
	} else {
		parts = append(parts, text(m.Text()))
	}
	if m.Kind() == im.Group || uint32(m.From) != session {
		parts = append(parts, "by", p.userName(uint32(m.From)))
	}
	return say(parts...)
}

// receipt acknowledges a single message as this client type does. Servers
// must not care.
func (t *terminal) receipt(m *client.Message) {
	if m.Kind() != im.Single || t.conn == nil {
		return
	}
	session := uint32(m.From)
	if t.profile.OwnIDReceipts {
		session = uint32(t.me)
	}
	last := t.lastPDU
	_, _ = t.send(wire.MsgDataAck, &message.IMMsgDataAck{
		UserId: t.meID(), SessionId: proto.Uint32(session), MsgId: proto.Uint32(uint32(m.ID)),
		SessionType: basedefine.SessionType(im.Single).Enum(),
	}, 0, "")
	t.lastPDU = last
}
