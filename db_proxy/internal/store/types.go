// Package store owns the database: every SQL statement of the servers stands
// here, beside the code that scans it. It speaks domain types, knows nothing
// of the wire, and runs the same text on MySQL, MariaDB and SQLite.
//
// An exported method is one transaction (or one read) unless it says
// otherwise. Errors carry a code: im.Unavailable when the database is away or
// busy and the call may be repeated, im.NotFound, im.Invalid; ErrDuplicate
// where a unique key refused rows. Reads marked "may lag" go to the slave
// pool when it is known to have caught up; everything else reads the master.
package store

import (
	"errors"

	"teamtalk/internal/im"
)

// ErrDuplicate says that a unique key refused a batch of messages: another
// db_proxy numbered the conversation meanwhile, or an operation was stored
// before. Nothing of the batch was stored. The caller asks LastMessages and
// FindOperations, and tries again.
var ErrDuplicate = errors.New("store: duplicate key")

// User is an account as others see it.
// Source: docs/protocol/storage.md, IMUser.
type User struct {
	ID         im.UserID
	Name       string // log-in name, at most 32 characters
	Nick       string
	Domain     string
	Sex        uint8 // 0 unknown, 1 man, 2 woman
	Phone      string
	Email      string
	Avatar     string // relative path or URL; NULL reads as ""
	Department uint32
	Status     uint8 // 0 normal (may log in), 1 probation, 2 regular, 3 left, 4 intern
	SignInfo   string
	Updated    uint32 // Unix seconds
}

// Credentials is what a log-in is checked against.
// Source: docs/protocol/wire.md §7.
type Credentials struct {
	Legacy string // IMUser.password: md5 hex of (client md5 + salt), "" when blanked
	Salt   string
	Hash   string // IMUser.password_hash: argon2id of the client's md5 in PHC form, "" before the first log-in
}

// Department is a row of IMDepart. Status is 0 or 1 (deleted).
type Department struct {
	ID, Priority, Parent uint32
	Name                 string
	Status               uint8
	Updated              uint32
}

// GroupInfo is a group with its members.
// Source: docs/protocol/storage.md, IMGroup.
type GroupInfo struct {
	ID         im.GroupID
	Name       string
	Avatar     string
	Creator    im.UserID
	Type       uint8 // 1 normal, 2 temporary
	Version    uint32
	Updated    uint32
	LastChated uint32
	Deleted    bool
	// Orphaned says that nobody governs a temporary group: its creator is gone,
	// and Succeed was not called since. Lists without members do not tell.
	Orphaned bool
	Members  []Member // status 0 only, ascending by user
}

// Member is one member of a group and when they joined (Unix seconds). History
// before the join time is not shown to them.
// Source: docs/protocol/flows.md §9.1.
type Member struct {
	User   im.UserID
	Joined uint32
	Since  Since
}

// Since is where the part of a conversation begins that a user may see. The
// zero value: at its first message.
type Since struct {
	After im.MsgID // the newest message when he joined
	Time  uint32   // Unix seconds; where that is not known: who joined through an original, or long ago
}

// Shows reports whether a message is in that part.
func (s Since) Shows(m *Message) bool { return m.ID > s.After && m.Created >= s.Time }

// Message is a row of a message table.
type Message struct {
	Conv     im.Conversation
	Relation im.RelationID // Single only
	ID       im.MsgID
	From     im.UserID
	To       im.UserID // Single only
	Type     im.MsgType
	Content  string
	Created  uint32 // Unix seconds
	Op       im.OperationID
}

// ConvRef is a conversation and, for a single one, the relation that finds its
// messages.
type ConvRef struct {
	Conv     im.Conversation
	Relation im.RelationID
}

// Last is the newest message id of a conversation and when it was stored.
// The zero value: no message yet.
type Last struct {
	ID      im.MsgID
	Created uint32
}

// Operation names one send of one sender.
type Operation struct {
	Conv     im.Conversation
	Relation im.RelationID
	From     im.UserID
	ID       im.OperationID
}

// SessionKey names a row of IMRecentSession: what user sees as one line of
// his recent list. Peer is a user id or a group id.
type SessionKey struct {
	User im.UserID
	Kind im.Kind
	Peer uint32
}

// SessionTouch creates or revives a session (status 0) with this activity
// time; the stored time never goes back.
type SessionTouch struct {
	SessionKey
	Updated uint32
}

// Session is a line of the recent list.
type Session struct {
	SessionKey
	Updated  uint32
	Relation im.RelationID // Single only, 0 when the pair has none
}

// Cursor is the last message a user has read in a conversation. It only
// moves forward.
type Cursor struct {
	SessionKey
	Read im.MsgID
}

// Unread is how many messages of others stand after the cursor.
type Unread struct {
	SessionKey
	Relation im.RelationID // Single only
	Count    uint32
	Latest   Last
}

// Batch is what one commit stores. All of it or nothing.
type Batch struct {
	// Messages in any order; rows of one conversation in ascending id.
	Messages []Message
	// Sessions that must exist for the messages to be found.
	Sessions []SessionTouch
	// Cursors that the senders of group messages move by sending.
	Cursors []Cursor
	// Epoch is the one in which the relations and ids above were found out. If
	// another one is believed when they are to be stored, the error is
	// ErrWentBack: the ids may have been given to messages that are lost, the
	// relations to other pairs.
	Epoch Epoch
}

// Activity is what is written behind, at most a second late: times only.
type Activity struct {
	Sessions []SessionTouch        // update existing rows, create none
	Groups   map[im.GroupID]uint32 // IMGroup.lastChated, which moves the lines of all members
}

// ChangeKind says what kind of row a Change is about.
type ChangeKind uint8

// The kinds of changes. They are stored: append, never renumber.
const (
	UserChanged    ChangeKind = 1 // subject: user id
	GroupChanged   ChangeKind = 2 // subject: group id; members included
	SessionRemoved ChangeKind = 3 // subject: user id
)

// Change is an entry of the change log IMChange, by which every db_proxy
// learns within half a second what another one or an operator changed.
type Change struct {
	ID      uint64
	Kind    ChangeKind
	Subject uint32
}

// NewUser is an account to create. Hash is the argon2id hash of the client's
// md5 of the password; Legacy and Salt may be empty.
type NewUser struct {
	Name, Nick string
	Department uint32
	Credentials
}

// CreatedUser is the answer to one NewUser.
type CreatedUser struct {
	ID      im.UserID
	Existed bool // the name was taken; that account was left alone
}

// DeviceToken is where a user's phone receives pushes.
type DeviceToken struct {
	User       im.UserID
	ClientType im.ClientType
	Token      string
}

// NewGroup is a group to create. Members are stored as given, without
// duplicates; the creator is not added.
type NewGroup struct {
	Name, Avatar string
	Creator      im.UserID
	Type         uint8
	Members      []im.UserID
	// Attempt, unless it is zero, makes the group once: a later attempt of the
	// same request finds it. im.Busy: another attempt has taken over.
	Attempt Attempt
}
