package httpserver

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"teamtalk/internal/im"
)

const idempotencyHeader = "Idempotency-Key"

// idempotencyKey reads the header; "" if there is none.
func (c *call) idempotencyKey() (string, error) {
	values := c.r.Header.Values(idempotencyHeader)
	if len(values) == 0 {
		return "", nil
	}
	key := values[0]
	bad := strings.ContainsFunc(key, func(r rune) bool { return r <= ' ' || r > '~' })
	if len(values) > 1 || key == "" || len(key) > 255 || bad {
		return "", wrong(idempotencyHeader, "must be once 1 to 255 visible ASCII characters")
	}
	return key, nil
}

// operationIDs returns the id under which a message is stored, and the one an
// earlier version would have given it. That of a key is always the same for
// the same back end and conversation: by it, the database finds the first
// message, whatever was restarted since.
func operationIDs(apiKey, key string, from im.UserID, conv im.Conversation, now time.Time) (op, former im.OperationID) {
	if key == "" {
		return im.NewOperationID(now), former
	}
	return im.OperationOf(im.OfAPIKey(apiKey), conv, key), formerOperationID(apiKey, key, from, conv)
}

// formerOperationID begins with the time where the key is a UUIDv7.
func formerOperationID(apiKey, key string, from im.UserID, conv im.Conversation) (id im.OperationID) {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\x00%s\x00%d\x00%s", apiKey, key, from, conv))
	copy(id[:], sum[:])
	raw, err := hex.DecodeString(strings.ReplaceAll(key, "-", ""))
	if err == nil && len(raw) == len(id) && raw[6]>>4 == 7 {
		copy(id[:6], raw)
	}
	return id
}
