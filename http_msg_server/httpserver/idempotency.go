package httpserver

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
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

// fingerprint tells requests apart.
func fingerprint(m *newMessage) [sha256.Size]byte {
	text, err := json.Marshal(m)
	if err != nil {
		return [sha256.Size]byte{} // numbers and text always encode
	}
	return sha256.Sum256(text)
}

// maxRecentKeys bounds each of the two generations.
const maxRecentKeys = 50_000

// recentKeys remembers what the latest idempotency keys were used for, so
// that one used for another receiver is refused; the text is compared with
// the database. Safe from any goroutine.
type recentKeys struct {
	mu         sync.Mutex // guards the fields below; a leaf
	young, old map[[sha256.Size]byte][sha256.Size]byte
}

func newRecentKeys() *recentKeys {
	return &recentKeys{young: map[[sha256.Size]byte][sha256.Size]byte{}}
}

func nameOf(apiKey, key string) [sha256.Size]byte {
	return sha256.Sum256([]byte(apiKey + "\x00" + key))
}

// fits reports whether a key is new or was used for just this.
func (r *recentKeys) fits(apiKey, key string, use [sha256.Size]byte) bool {
	name := nameOf(apiKey, key)
	r.mu.Lock()
	defer r.mu.Unlock()
	first, ok := r.young[name]
	if !ok {
		first, ok = r.old[name]
	}
	return !ok || first == use
}

// add remembers what a key was used for, once that is done.
func (r *recentKeys) add(apiKey, key string, use [sha256.Size]byte) {
	name := nameOf(apiKey, key)
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.young) >= maxRecentKeys {
		r.old, r.young = r.young, make(map[[sha256.Size]byte][sha256.Size]byte, maxRecentKeys)
	}
	r.young[name] = use
}
