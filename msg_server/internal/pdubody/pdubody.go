// Package pdubody edits encoded protobuf bodies without decoding them: it
// takes our attach_data out of replies and cuts long lists into pieces. What
// it does not look at stays as it was, byte for byte.
package pdubody

import (
	"slices"

	"google.golang.org/protobuf/encoding/protowire"
)

// attachField is attach_data in every message that has it.
const attachField = 20

// TakeAttach returns the attach_data of a body and the body without it. The
// results alias body, which is not changed; a body without the field comes
// back as it is. ok is false for a body that is not protobuf.
func TakeAttach(body []byte) (attach, rest []byte, ok bool) {
	rest = body
	cut := false // rest is a copy, to which the other fields are added
	for pos := 0; pos < len(body); {
		number, kind, n := protowire.ConsumeTag(body[pos:])
		if n < 0 {
			return nil, nil, false
		}
		size := protowire.ConsumeFieldValue(number, kind, body[pos+n:])
		if size < 0 {
			return nil, nil, false
		}
		end := pos + n + size
		switch {
		case number == attachField && kind == protowire.BytesType:
			attach, _ = protowire.ConsumeBytes(body[pos+n:])
			if !cut && end == len(body) {
				return attach, body[:pos:pos], true
			}
			if !cut {
				rest, cut = append(make([]byte, 0, len(body)), body[:pos]...), true
			}
		case cut:
			rest = append(rest, body[pos:end]...)
		}
		pos = end
	}
	return attach, rest, true
}

// Split cuts a body into bodies of at most limit bytes, each with the same
// other fields and a part of the repeated field list. An entry that is longer
// than limit alone is left out. ok is false for a body that is not protobuf.
func Split(body []byte, list protowire.Number, limit int) (parts [][]byte, ok bool) {
	var common []byte
	var entries [][]byte
	for rest := body; len(rest) > 0; {
		number, kind, n := protowire.ConsumeTag(rest)
		if n < 0 {
			return nil, false
		}
		size := protowire.ConsumeFieldValue(number, kind, rest[n:])
		if size < 0 {
			return nil, false
		}
		field := rest[:n+size]
		rest = rest[n+size:]
		if number == list {
			entries = append(entries, field)
		} else {
			common = append(common, field...)
		}
	}
	part := slices.Clip(common)
	for _, entry := range entries {
		if len(common)+len(entry) > limit {
			continue
		}
		if len(part)+len(entry) > limit {
			parts = append(parts, part)
			part = slices.Clip(common)
		}
		part = append(part, entry...)
	}
	return append(parts, part), true
}
