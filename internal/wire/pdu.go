// Package wire owns the framing of the TeamTalk protocol: the 16-byte PDU
// header, the command ids and the limits of a frame. It knows no sockets and,
// beyond marshalling a body in place, no messages.
//
// Byte layout, big-endian. Source: docs/protocol/wire.md §1.
//
//	 0  uint32  length   of the whole PDU, header included
//	 4  uint16  version  sender's; written as 1, never checked
//	 6  uint16  flag     0, never read
//	 8  uint16  service  high byte of the command; written, never read
//	10  uint16  command  the only field a server dispatches on
//	12  uint16  seq      opaque; a reply repeats it, a push has 0
//	14  uint16  reserved 0; Mark in the heartbeats of our own servers
package wire

import (
	"encoding/binary"
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"
)

// HeaderSize is the length of a PDU without a body, in bytes.
const HeaderSize = 16

// Default caps of a whole PDU in bytes, header included.
const (
	MaxClientPDU = 1 << 20  // from a client
	MaxServerPDU = 64 << 20 // on a link between servers
	MaxAndroid   = 409_600  // to an Android client, whose decoder refuses more
)

// Mark stands in the reserved field of the heartbeats our servers send to
// servers. The originals write 0 there and never read it, so seeing the mark
// tells one of ours from one of theirs.
const Mark uint16 = 0x5454

// Framing errors. Both mean that the stream cannot be trusted any more: the
// connection is closed.
var (
	ErrLength   = errors.New("wire: PDU length below header size")
	ErrTooLarge = errors.New("wire: PDU length over the limit")
)

// Header is the fixed part of a PDU.
type Header struct {
	Length   uint32 // whole PDU in bytes, at least HeaderSize
	Version  uint16
	Flag     uint16
	Service  uint16
	Command  Command
	Seq      uint16
	Reserved uint16
}

// PDU is one framed unit. Body aliases the buffer it was read from.
type PDU struct {
	Header
	Body []byte
}

// Next splits the first PDU off buf without copying. It returns its size in
// bytes, or 0 and the size that is needed in need when buf holds only a part;
// need is HeaderSize until the header is complete. limit caps the length.
func Next(buf []byte, limit int) (pdu PDU, size, need int, err error) {
	if len(buf) < HeaderSize {
		return PDU{}, 0, HeaderSize, nil
	}
	h := ParseHeader(buf)
	switch {
	case h.Length < HeaderSize:
		return PDU{}, 0, 0, fmt.Errorf("%w: %d", ErrLength, h.Length)
	case int64(h.Length) > int64(limit):
		return PDU{}, 0, 0, fmt.Errorf("%w: %d > %d", ErrTooLarge, h.Length, limit)
	}
	n := int(h.Length)
	if len(buf) < n {
		return PDU{}, 0, n, nil
	}
	return PDU{Header: h, Body: buf[HeaderSize:n:n]}, n, 0, nil
}

// ParseHeader reads the header at the start of buf, which must hold at least
// HeaderSize bytes. It checks nothing.
func ParseHeader(buf []byte) Header {
	_ = buf[HeaderSize-1]
	return Header{
		Length:   binary.BigEndian.Uint32(buf[0:]),
		Version:  binary.BigEndian.Uint16(buf[4:]),
		Flag:     binary.BigEndian.Uint16(buf[6:]),
		Service:  binary.BigEndian.Uint16(buf[8:]),
		Command:  Command(binary.BigEndian.Uint16(buf[10:])),
		Seq:      binary.BigEndian.Uint16(buf[12:]),
		Reserved: binary.BigEndian.Uint16(buf[14:]),
	}
}

// AppendHeader appends the header of a PDU with a body of the given length.
func AppendHeader(dst []byte, command Command, seq, reserved uint16, body int) []byte {
	dst = binary.BigEndian.AppendUint32(dst, uint32(HeaderSize+body))
	dst = binary.BigEndian.AppendUint16(dst, 1)
	dst = binary.BigEndian.AppendUint16(dst, 0)
	dst = binary.BigEndian.AppendUint16(dst, command.Service())
	dst = binary.BigEndian.AppendUint16(dst, uint16(command))
	dst = binary.BigEndian.AppendUint16(dst, seq)
	return binary.BigEndian.AppendUint16(dst, reserved)
}

// Append appends a whole PDU with an encoded body.
func Append(dst []byte, command Command, seq uint16, body []byte) []byte {
	dst = AppendHeader(dst, command, seq, 0, len(body))
	return append(dst, body...)
}

// AppendMessage appends a whole PDU and encodes its body in place. A message
// with a missing required field is refused and dst returned unchanged.
func AppendMessage(dst []byte, command Command, seq uint16, m proto.Message) ([]byte, error) {
	start := len(dst)
	out := AppendHeader(dst, command, seq, 0, 0)
	out, err := proto.MarshalOptions{}.MarshalAppend(out, m)
	if err != nil {
		return dst, fmt.Errorf("encode %v: %w", command, err)
	}
	binary.BigEndian.PutUint32(out[start:], uint32(len(out)-start))
	return out, nil
}

// AppendHeartbeat appends a heartbeat; reserved is Mark towards servers and 0
// towards clients.
func AppendHeartbeat(dst []byte, reserved uint16) []byte {
	return AppendHeader(dst, Heartbeat, 0, reserved, 0)
}
