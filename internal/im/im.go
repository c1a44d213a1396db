// Package im owns the vocabulary that every role shares: ids, kinds of
// conversations, message and client types, and the Error whose code may reach
// a client. It does no I/O and imports nothing of ours.
package im

import "fmt"

// UserID identifies an account (IMUser.id). 0 is nobody: it never logs in,
// never receives and is refused wherever a body names it.
type UserID uint32

// GroupID identifies a group (IMGroup.id). 0 is no group.
type GroupID uint32

// RelationID identifies a pair of users (IMRelationShip.id); single messages
// are sharded by it. 0 is no relation.
type RelationID uint32

// MsgID numbers the messages of one conversation: 1, 2, 3 … MaxMsgID.
// 0 is no message.
type MsgID uint32

// MaxMsgID is the last id a conversation may use: Android numbers its unsent
// messages from 90,000,000 up. Source: docs/protocol/flows.md §6.
const MaxMsgID MsgID = 89_999_999

// Shards is the number of message tables of each kind.
// Source: docs/protocol/storage.md §3.
const Shards = 8

// Kind is the kind of a conversation, with the numbers of SessionType.
type Kind uint8

// The kinds.
const (
	Single Kind = 1 // two users
	Group  Kind = 2
)

// Valid reports whether k is a kind that exists.
func (k Kind) Valid() bool { return k == Single || k == Group }

func (k Kind) String() string {
	switch k {
	case Single:
		return "single"
	case Group:
		return "group"
	}
	return fmt.Sprintf("kind(%d)", uint8(k))
}

// Pair is two users in ascending order, the key of a relation.
type Pair struct{ Small, Big UserID }

// PairOf orders two users.
func PairOf(a, b UserID) Pair {
	if a > b {
		a, b = b, a
	}
	return Pair{Small: a, Big: b}
}

// Peer returns the other user of the pair.
func (p Pair) Peer(u UserID) UserID {
	if u == p.Small {
		return p.Big
	}
	return p.Small
}

// Conversation names what has one order of messages: a pair of users or a
// group. It is comparable and serves as a map key. The zero value is none.
type Conversation struct {
	Kind  Kind
	Pair  Pair    // Single
	Group GroupID // Group
}

// SingleOf returns the conversation of two users.
func SingleOf(a, b UserID) Conversation { return Conversation{Kind: Single, Pair: PairOf(a, b)} }

// GroupOf returns the conversation of a group.
func GroupOf(g GroupID) Conversation { return Conversation{Kind: Group, Group: g} }

// ConversationOf returns the conversation that user me calls (kind, peer) on
// the wire, where peer is a user id or a group id.
func ConversationOf(me UserID, kind Kind, peer uint32) Conversation {
	if kind == Group {
		return GroupOf(GroupID(peer))
	}
	return SingleOf(me, UserID(peer))
}

// SessionID is the number user me knows the conversation by: the peer's id or
// the group id.
func (c Conversation) SessionID(me UserID) uint32 {
	if c.Kind == Group {
		return uint32(c.Group)
	}
	return uint32(c.Pair.Peer(me))
}

// Hash spreads conversations evenly; it is the same in every process, so all
// msg_servers choose the same owner.
func (c Conversation) Hash() uint64 {
	h := uint64(c.Kind)<<62 ^ uint64(c.Group)
	if c.Kind == Single {
		h ^= uint64(c.Pair.Small)<<32 ^ uint64(c.Pair.Big)
	}
	// The finaliser of splitmix64.
	h ^= h >> 30
	h *= 0xbf58476d1ce4e5b9
	h ^= h >> 27
	h *= 0x94d049bb133111eb
	return h ^ h>>31
}

func (c Conversation) String() string {
	if c.Kind == Group {
		return fmt.Sprintf("group:%d", c.Group)
	}
	return fmt.Sprintf("single:%d-%d", c.Pair.Small, c.Pair.Big)
}

// MsgType is the type of a message, with the numbers of the wire.
type MsgType uint8

// The message types. Source: docs/protocol/messages.md, MsgType.
const (
	SingleText  MsgType = 0x01
	SingleAudio MsgType = 0x02
	GroupText   MsgType = 0x11
	GroupAudio  MsgType = 0x12
)

// Kind returns the kind of conversation the type belongs to, 0 if the type
// does not exist.
func (t MsgType) Kind() Kind {
	switch t {
	case SingleText, SingleAudio:
		return Single
	case GroupText, GroupAudio:
		return Group
	}
	return 0
}

// Audio reports whether the message is a voice message.
func (t MsgType) Audio() bool { return t == SingleAudio || t == GroupAudio }

// Values of IMUser.status. Source: docs/protocol/storage.md.
const (
	StatusActive = 0 // may log in
	StatusLeft   = 3 // disabled; gets no messages any more
)

// ClientType is the type of a client, with the numbers of the wire.
type ClientType uint8

// The client types. Source: docs/protocol/messages.md, ClientType.
const (
	Windows ClientType = 0x01
	Mac     ClientType = 0x02
	IOS     ClientType = 0x11
	Android ClientType = 0x12
)

// Mobile reports whether the client is a phone; everything else is a PC.
// Source: docs/protocol/flows.md §4.
func (t ClientType) Mobile() bool { return t&0x10 != 0 }

// SameClass reports whether two clients of one user exclude each other.
func (t ClientType) SameClass(other ClientType) bool { return t.Mobile() == other.Mobile() }

// Limits of content. Source: docs/protocol/defects.md A10;
// docs/protocol/flows.md §9.
const (
	MaxText     = 4096      // bytes of Base64 in one text message
	MaxVoice    = 384 << 10 // bytes of a voice message; a minute of Speex has far less
	MaxHistory  = 100       // messages in one page of history
	MaxMembers  = 5000      // users one request adds to a group, removes, or makes one of; repeated ones count
	MaxSessions = 100       // sessions in one answer to 0201
)

// clockError is how far the clock of a phone may be ahead, in seconds.
const clockError = 24 * 60 * 60

// SafeSince returns the time from which on changes of accounts are sent to a
// client that says it knows those until a time, in Unix seconds, not 0. It is
// a day earlier, at least 1: Android sends a time of its own clock, and all
// clients merge what they know already. Source: docs/protocol/defects.md B20.
func SafeSince(known uint32) uint32 { return max(known, clockError+1) - clockError }
