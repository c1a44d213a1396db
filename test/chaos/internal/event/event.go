// Package event is the log of what clients did and were told: one JSON object
// a line, in the order in which it happened. A load writes it, the checker
// reads it, and anybody can change a line to see whether the checker notices.
// What SQL holds is written down in the same form, in a file of its own.
package event

import (
	"fmt"
	"strconv"
	"strings"

	"teamtalk/internal/im"
)

// Name says what happened.
type Name string

// What clients log. Every line has T and C; what else it has stands here.
const (
	Group     Name = "group"     // before all others: Conv and its Users
	Terminal  Name = "terminal"  // before its others: User, PC, Acks, Delivers
	Fault     Name = "fault"     // fault N begins: Why, and perhaps Survive and Unnoticed
	Healed    Name = "healed"    // it is over
	Restored  Name = "restored"  // the database went back to an earlier state; what it had more is Gone
	Pulse     Name = "pulse"     // the clients live: once a second, of none of them
	Connected Name = "connected" // logged in as connection N; Delivers if that was granted
	Closed    Name = "closed"    // connection N has ended: Why

	// Sent: message Key is on its way to Conv over connection N; Again when
	// it was sent before. Each is answered by Acked with ID, Nacked with Why
	// and perhaps Retry, or not at all.
	Sent   Name = "sent"
	Acked  Name = "acked"
	Nacked Name = "nacked"

	Received Name = "received" // pushed over connection N: Conv, ID, Key
	Marked   Name = "marked"   // told over connection N that ID to Last of Conv are not pushed
	History  Name = "history"  // Conv: at most Count messages from ID (0: the newest) down, asked at Asked: Page
	Read     Name = "read"     // told the server that Conv is read up to ID; Final: at rest
	Unread   Name = "unread"   // Counts and Total; Final: at rest
	Presence Name = "presence" // who is on-line: Online and Offline; Final: at rest
)

// What SQL holds.
const (
	Stored Name = "stored" // Conv, ID, Key, User (the sender)
	Cursor Name = "cursor" // User has read Conv up to ID
	Gone   Name = "gone"   // as Stored, until the database went back
)

// Event is one line.
type Event struct {
	T    int64  `json:"t,omitempty"` // microseconds since the run began
	Name Name   `json:"e"`
	C    string `json:"c,omitempty"` // the terminal, such as "u7.pc"
	N    int    `json:"n,omitempty"` // its connection, counted from 1

	Conv string   `json:"conv,omitempty"` // "single:3-7", "group:2"
	ID   im.MsgID `json:"id,omitempty"`
	Last im.MsgID `json:"last,omitempty"`
	Key  string   `json:"k,omitempty"` // names a message for ever; it is the first word of its text

	User  uint32   `json:"u,omitempty"`
	PC    bool     `json:"pc,omitempty"`   // counts for presence
	Acks  bool     `json:"acks,omitempty"` // is told of failures and repeats under its own ids
	Users []uint32 `json:"users,omitempty"`

	// Delivers: it acknowledges what arrives, and gets the rest again.
	Delivers bool `json:"delivers,omitempty"`

	// Survive: everybody is promised to go on. Unnoticed: on the same connections.
	Survive   bool `json:"survive,omitempty"`
	Unnoticed bool `json:"unnoticed,omitempty"`

	Own     string   `json:"own,omitempty"` // the client_msg_id, when several messages share it
	Again   bool     `json:"again,omitempty"`
	Retry   bool     `json:"retry,omitempty"`
	Final   bool     `json:"final,omitempty"`
	Why     string   `json:"why,omitempty"`
	Asked   int64    `json:"asked,omitempty"` // as T
	Count   int      `json:"count,omitempty"`
	Page    []Item   `json:"page,omitempty"`
	Counts  []Count  `json:"counts,omitempty"`
	Total   int      `json:"total,omitempty"`
	Online  []uint32 `json:"online,omitempty"`
	Offline []uint32 `json:"offline,omitempty"`
}

// Item is a message in a page of history.
type Item struct {
	ID  im.MsgID `json:"id"`
	Key string   `json:"k"`
}

// Count is an entry of the unread list.
type Count struct {
	Conv   string   `json:"conv"`
	Unread int      `json:"n"`
	Latest im.MsgID `json:"latest"`
}

// Key is the first word of a message's text.
func Key(text string) string {
	key, _, _ := strings.Cut(text, " ")
	return key
}

// ParseConv reads the form of im.Conversation.String.
func ParseConv(s string) (im.Conversation, error) {
	kind, rest, _ := strings.Cut(s, ":")
	switch kind {
	case "group":
		id, err := strconv.ParseUint(rest, 10, 32)
		if err == nil && id > 0 {
			return im.GroupOf(im.GroupID(id)), nil
		}
	case "single":
		a, b, _ := strings.Cut(rest, "-")
		small, err1 := strconv.ParseUint(a, 10, 32)
		big, err2 := strconv.ParseUint(b, 10, 32)
		if err1 == nil && err2 == nil && 0 < small && small < big {
			return im.SingleOf(im.UserID(small), im.UserID(big)), nil
		}
	}
	return im.Conversation{}, fmt.Errorf("%q is no conversation", s)
}
