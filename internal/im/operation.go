package im

import (
	"cmp"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"strings"
	"time"
)

// OperationID makes a message unique for its sender and its conversation,
// across retries, servers and restarts: 16 bytes that rise with time where the
// time is known. The zero value is none.
type OperationID [16]byte

// IsZero reports whether there is no operation id.
func (id OperationID) IsZero() bool { return id == OperationID{} }

// Compare orders operation ids by their bytes, and so by time.
func (id OperationID) Compare(other OperationID) int {
	for i := range id {
		if c := cmp.Compare(id[i], other[i]); c != 0 {
			return c
		}
	}
	return 0
}

// Time returns when the id was made, as its maker's clock had it; false for an
// id that does not say.
func (id OperationID) Time() (time.Time, bool) {
	if id[6]>>4 != timed {
		return time.Time{}, false
	}
	return time.UnixMilli(int64(binary.BigEndian.Uint64(append([]byte{0, 0}, id[:6]...)))), true
}

// The versions of operation ids, which are those of RFC 9562: 7 begins with
// the time in milliseconds, 8 is a digest.
const (
	timed  = 7
	digest = 8
)

// marked returns the id with the version and the variant of RFC 9562.
func (id OperationID) marked(version byte) OperationID {
	id[6] = id[6]&0x0f | version<<4
	id[8] = id[8]&0x3f | 0x80
	return id
}

// NewOperationID makes an id for a message that nobody can repeat by an id of
// their own.
func NewOperationID(now time.Time) (id OperationID) {
	_, _ = rand.Read(id[6:]) // never fails
	var ms [8]byte
	binary.BigEndian.PutUint64(ms[:], uint64(now.UnixMilli()))
	copy(id[:6], ms[2:])
	return id.marked(timed)
}

// Origin says whose id an operation id is made of. It is part of the digest:
// append, never rename.
type Origin string

// The origins that need no name; see OfAPIKey.
const (
	OfClient Origin = "client" // the client_msg_id of a message
	OfFile   Origin = "file"   // the id of a file, of its message
)

// OfAPIKey is the origin of the Idempotency-Keys of one back end.
func OfAPIKey(id string) Origin { return Origin("api\x00" + id) }

// OperationOf makes the operation id of a message that was given an id by
// whoever sends it: the same on every server and at any time, another one in
// every conversation. It begins with the time where the given id is a UUID of
// version 7, because ids that rise are cheap to store; the rest is a digest.
// This is the only place that makes one. Source: docs/protocol.md.
func OperationOf(origin Origin, conv Conversation, given string) (id OperationID) {
	raw, isUUID := parseUUID(given)
	if isUUID {
		given = string(raw[:]) // however it is written
	}
	sum := sha256.Sum256([]byte(string(origin) + "\x00" + conv.String() + "\x00" + given))
	copy(id[:], sum[:])
	if isUUID && raw[6]>>4 == timed && raw[8]>>6 == 2 {
		copy(id[:6], raw[:])
		return id.marked(timed)
	}
	return id.marked(digest)
}

// FormerOperationOf makes the id under which a message with a client_msg_id
// was stored while operation ids did not belong to a conversation: the UUID
// itself where it is one, a digest of it where it is not.
func FormerOperationOf(clientMsgID string) OperationID {
	if raw, ok := parseUUID(clientMsgID); ok {
		return raw
	}
	sum := sha256.Sum256([]byte(clientMsgID))
	return OperationID(sum[:len(OperationID{})])
}

// parseUUID reads 32 hexadecimal digits, with dashes or without.
func parseUUID(s string) (raw OperationID, ok bool) {
	b, err := hex.DecodeString(strings.ReplaceAll(s, "-", ""))
	if err != nil || len(b) != len(raw) {
		return raw, false
	}
	return OperationID(b), true
}
