package client

import (
	"encoding/binary"
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"

	"teamtalk/internal/im"
	"teamtalk/internal/wire"
)

// The three messages of the way of a message are encoded and decoded by hand:
// a load generator handles hundreds of thousands of them per second. Tests
// compare with the generated code. Source: docs/protocol/messages.md.

// Field numbers of IMMsgData and IMMsgDataAck.
const (
	fieldFrom, fieldTo, fieldMsgID, fieldCreated, fieldType, fieldData = 1, 2, 3, 4, 5, 6

	fieldAckUser, fieldAckSession, fieldAckMsgID, fieldAckKind = 1, 2, 3, 4

	fieldClientMsgID = 100 // in both
)

// appendVarint appends a varint field.
func appendVarint(dst []byte, field protowire.Number, v uint32) []byte {
	dst = protowire.AppendTag(dst, field, protowire.VarintType)
	return protowire.AppendVarint(dst, uint64(v))
}

// appendMsgData appends the body of 0x0301.
func appendMsgData(dst []byte, m *Message) []byte {
	dst = appendVarint(dst, fieldFrom, uint32(m.From))
	dst = appendVarint(dst, fieldTo, m.To)
	dst = appendVarint(dst, fieldMsgID, uint32(m.ID))
	dst = appendVarint(dst, fieldCreated, m.Created)
	dst = appendVarint(dst, fieldType, uint32(m.Type))
	dst = protowire.AppendTag(dst, fieldData, protowire.BytesType)
	dst = protowire.AppendBytes(dst, m.Data)
	if m.ClientMsgID != "" {
		dst = protowire.AppendTag(dst, fieldClientMsgID, protowire.BytesType)
		dst = protowire.AppendString(dst, m.ClientMsgID)
	}
	return dst
}

// appendAck appends the body of 0x0302, and of every other message with these
// four fields.
func appendAck(dst []byte, user, session uint32, id im.MsgID, kind im.Kind) []byte {
	dst = appendVarint(dst, fieldAckUser, user)
	dst = appendVarint(dst, fieldAckSession, session)
	dst = appendVarint(dst, fieldAckMsgID, uint32(id))
	return appendVarint(dst, fieldAckKind, uint32(kind))
}

// fields calls visit for every field of a body: n is the number of a varint
// field, data the content of a bytes field, which aliases body.
func fields(body []byte, visit func(field protowire.Number, n uint64, data []byte)) error {
	for len(body) > 0 {
		field, kind, size := protowire.ConsumeTag(body)
		if size < 0 {
			return protowire.ParseError(size)
		}
		body = body[size:]
		switch kind {
		case protowire.VarintType:
			var n uint64
			if n, size = protowire.ConsumeVarint(body); size >= 0 {
				visit(field, n, nil)
			}
		case protowire.BytesType:
			var data []byte
			if data, size = protowire.ConsumeBytes(body); size >= 0 {
				visit(field, 0, data)
			}
		default:
			size = protowire.ConsumeFieldValue(field, kind, body)
		}
		if size < 0 {
			return protowire.ParseError(size)
		}
		body = body[size:]
	}
	return nil
}

// Bits of required fields that were seen: bit n for field n.
const (
	requiredMsgData = 1<<fieldFrom | 1<<fieldTo | 1<<fieldMsgID | 1<<fieldCreated | 1<<fieldType | 1<<fieldData
	requiredAck     = 1<<fieldAckUser | 1<<fieldAckSession | 1<<fieldAckMsgID | 1<<fieldAckKind
)

// parseMsgData decodes the body of 0x0301 into m; Data aliases body.
func parseMsgData(body []byte, m *Message) error {
	seen := uint32(0)
	err := fields(body, func(field protowire.Number, n uint64, data []byte) {
		switch field {
		case fieldFrom:
			m.From = im.UserID(n)
		case fieldTo:
			m.To = uint32(n)
		case fieldMsgID:
			m.ID = im.MsgID(n)
		case fieldCreated:
			m.Created = uint32(n)
		case fieldType:
			m.Type = im.MsgType(n)
		case fieldData:
			m.Data = data
		case fieldClientMsgID:
			m.ClientMsgID = string(data)
			return
		default:
			return
		}
		seen |= 1 << field
	})
	switch {
	case err != nil:
		return fmt.Errorf("client: decode %v: %w", wire.MsgData, err)
	case seen != requiredMsgData:
		return fmt.Errorf("%w: %v lacks a required field", ErrWrongReply, wire.MsgData)
	case m.Type.Kind() == 0:
		return fmt.Errorf("%w: %v of type %d", ErrWrongReply, wire.MsgData, m.Type)
	}
	return nil
}

// parseAck decodes the body of 0x0302 and returns the id; session is the one
// the message was sent to.
func parseAck(body []byte, session uint32) (im.MsgID, error) {
	seen, named, id := uint32(0), uint32(0), im.MsgID(0)
	err := fields(body, func(field protowire.Number, n uint64, _ []byte) {
		switch field {
		case fieldAckSession:
			named = uint32(n)
		case fieldAckMsgID:
			id = im.MsgID(n)
		case fieldAckUser, fieldAckKind:
		default:
			return
		}
		seen |= 1 << field
	})
	switch {
	case err != nil:
		return 0, fmt.Errorf("client: decode %v: %w", wire.MsgDataAck, err)
	case seen != requiredAck:
		return 0, fmt.Errorf("%w: %v lacks a required field", ErrWrongReply, wire.MsgDataAck)
	case named != session:
		return 0, fmt.Errorf("%w: %v names another session", ErrWrongReply, wire.MsgDataAck)
	case id == 0:
		return 0, fmt.Errorf("%w: %v without an id", ErrWrongReply, wire.MsgDataAck)
	}
	return id, nil
}

// appendPDU queues a PDU whose body encode appends. Caller holds c.mu.
func (c *Client) beginPDU(command wire.Command, seq uint16) (start int) {
	start = len(c.out)
	c.out = wire.AppendHeader(c.out, command, seq, 0, 0)
	return start
}

// appendReceipt queues a body of the four fields of an ack. Caller holds c.mu.
func (c *Client) appendReceipt(command wire.Command, session uint32, id im.MsgID, kind im.Kind) {
	start := c.beginPDU(command, c.nextSeq(command))
	c.out = appendAck(c.out, c.user.Load(), session, id, kind)
	c.stamp(start)
}

// binarySeconds is the size in bytes of the duration in front of a voice
// message. Source: docs/protocol/wire.md §6.
const binarySeconds = 4

// splitAudio splits the data of a voice message.
func splitAudio(data []byte) (seconds uint32, sound []byte, ok bool) {
	if len(data) <= binarySeconds {
		return 0, nil, false
	}
	return binary.BigEndian.Uint32(data), data[binarySeconds:], true
}
