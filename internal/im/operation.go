package im

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
)

// OperationOf makes the id under which a message with a client_msg_id is
// stored: the UUID itself where it is one, a digest of it where it is not.
// The same on every server. Source: docs/protocol.md.
func OperationOf(clientMsgID string) OperationID {
	raw, err := hex.DecodeString(strings.ReplaceAll(clientMsgID, "-", ""))
	if err == nil && len(raw) == len(OperationID{}) {
		return OperationID(raw)
	}
	sum := sha256.Sum256([]byte(clientMsgID))
	return OperationID(sum[:len(OperationID{})])
}
