// Package envelope reads and rewrites the messages route_server passes on
// without opening what is inside: an IMRelay (0783) gets other targets, a
// message (0301) loses its attach_data. Everything else is copied as it came,
// unknown fields included.
//
// Source: pb/IM.Extension.proto; docs/protocol/defects.md A15.
package envelope

import (
	"errors"
	"math"

	"google.golang.org/protobuf/encoding/protowire"

	"teamtalk/internal/im"
	"teamtalk/internal/wire"
)

// errMalformed says that bytes are not the message they should be.
var errMalformed = errors.New("envelope: malformed body")

// Fields of IMRelay, and attach_data of every message that has it.
const (
	fieldTargets = 1
	fieldCommand = 2
	fieldBody    = 3
	fieldOrder   = 4
	fieldAttach  = 20
)

// Relay is an opened IMRelay. Scan fills it; its slices are valid as long as
// the scanned bytes, and until the next Scan.
type Relay struct {
	Targets []uint32 // none means every connection
	Command wire.Command
	Body    []byte

	order []byte // the encoded Order; nil if there is none

	rest []byte // all fields but the targets, as they came
	own  []byte // storage for rest when targets stand in its midst
}

// Scan opens an IMRelay. It does not look into body and order; Place does.
func (r *Relay) Scan(b []byte) error {
	r.Targets, r.Command, r.Body, r.order = r.Targets[:0], 0, nil, nil
	var (
		command             uint64 // as a parser does, the last one counts
		hasCommand, hasBody bool
	)
	keep := segments{own: r.own[:0]}
	for off := 0; off < len(b); {
		number, kind, n := protowire.ConsumeTag(b[off:])
		if n < 0 {
			return errMalformed
		}
		size := protowire.ConsumeFieldValue(number, kind, b[off+n:])
		if size < 0 {
			return errMalformed
		}
		value, end := b[off+n:off+n+size], off+n+size
		switch {
		case number == fieldTargets && (kind == protowire.BytesType || kind == protowire.VarintType):
			if !r.scanTargets(kind, value) {
				return errMalformed
			}
			off = end
			continue
		case number == fieldCommand && kind == protowire.VarintType:
			command, _ = protowire.ConsumeVarint(value)
			hasCommand = true
		case number == fieldBody && kind == protowire.BytesType:
			r.Body, _ = protowire.ConsumeBytes(value)
			hasBody = true
		case number == fieldOrder && kind == protowire.BytesType:
			r.order, _ = protowire.ConsumeBytes(value)
		}
		keep.add(b, off, end)
		off = end
	}
	r.rest, r.own = keep.bytes(b), keep.own
	if !hasCommand || !hasBody || uint32(command) > math.MaxUint16 {
		return errMalformed
	}
	r.Command = wire.Command(command)
	return nil
}

// Place says which message is inside; false if it is none, or its order is
// malformed, which is for its receivers to find.
func (r *Relay) Place() (conv im.Conversation, id im.MsgID, ok bool) {
	const fieldKind, fieldFirst, fieldSecond, fieldMsg = 1, 2, 3, 4
	var fields [fieldMsg + 1]uint32
	for b := r.order; len(b) > 0; {
		number, kind, n := protowire.ConsumeTag(b)
		if n < 0 || kind != protowire.VarintType {
			return conv, 0, false
		}
		value, size := protowire.ConsumeVarint(b[n:])
		if size < 0 {
			return conv, 0, false
		}
		if int(number) < len(fields) {
			fields[number] = uint32(value)
		}
		b = b[n+size:]
	}
	switch im.Kind(fields[fieldKind]) {
	case im.Single:
		conv = im.SingleOf(im.UserID(fields[fieldFirst]), im.UserID(fields[fieldSecond]))
	case im.Group:
		conv = im.GroupOf(im.GroupID(fields[fieldFirst]))
	}
	return conv, im.MsgID(fields[fieldMsg]), conv.Kind != 0 && fields[fieldMsg] != 0
}

// scanTargets reads one field of targets, packed or not: a parser accepts both.
func (r *Relay) scanTargets(kind protowire.Type, value []byte) bool {
	if kind == protowire.BytesType {
		value, _ = protowire.ConsumeBytes(value)
	}
	for len(value) > 0 {
		target, n := protowire.ConsumeVarint(value)
		if n < 0 {
			return false
		}
		r.Targets = append(r.Targets, uint32(target))
		value = value[n:]
	}
	return true
}

// Forget lets go of the scanned bytes.
func (r *Relay) Forget() { r.Body, r.order = nil, nil }

// AppendTo appends a whole 0783 PDU with other targets.
func (r *Relay) AppendTo(dst []byte, targets []uint32) []byte {
	packed := 0
	for _, target := range targets {
		packed += protowire.SizeVarint(uint64(target))
	}
	size := len(r.rest)
	if len(targets) > 0 {
		size += protowire.SizeTag(fieldTargets) + protowire.SizeBytes(packed)
	}
	dst = wire.AppendHeader(dst, wire.Relay, 0, 0, size)
	if len(targets) > 0 {
		dst = protowire.AppendTag(dst, fieldTargets, protowire.BytesType)
		dst = protowire.AppendVarint(dst, uint64(packed))
		for _, target := range targets {
			dst = protowire.AppendVarint(dst, uint64(target))
		}
	}
	return append(dst, r.rest...)
}

// WithoutAttach returns a message body without its attach_data (field 20),
// which is of use to its sender only. It returns b itself where there is
// none, as is usual, and an error where b is no protobuf message.
func WithoutAttach(b []byte) ([]byte, error) {
	return without(b, func(number protowire.Number) bool { return number == fieldAttach })
}

// firstOwn is the number from which on fields are ours. Source: docs/protocol.md.
const firstOwn = 100

// Original returns a body as the original servers know it, without fields of
// ours; b itself where there are none, or where it is no protobuf message.
func Original(b []byte) []byte {
	known, err := without(b, func(number protowire.Number) bool { return number >= firstOwn })
	if err != nil {
		return b
	}
	return known
}

func without(b []byte, drop func(protowire.Number) bool) ([]byte, error) {
	var keep segments
	for off := 0; off < len(b); {
		number, _, n := protowire.ConsumeField(b[off:])
		if n < 0 {
			return nil, errMalformed
		}
		if !drop(number) {
			keep.add(b, off, off+n)
		}
		off += n
	}
	return keep.bytes(b), nil
}

// segments collects parts of a buffer. It copies only when they do not adjoin.
type segments struct {
	from, to int
	own      []byte // holds everything as soon as there is a gap
	split    bool
}

func (s *segments) add(b []byte, from, to int) {
	switch {
	case s.split:
		s.own = append(s.own, b[from:to]...)
	case s.from == s.to:
		s.from, s.to = from, to
	case s.to == from:
		s.to = to
	default:
		s.split = true
		s.own = append(append(s.own[:0], b[s.from:s.to]...), b[from:to]...)
	}
}

func (s *segments) bytes(b []byte) []byte {
	if s.split {
		return s.own
	}
	return b[s.from:s.to]
}
