package chat

import (
	"time"

	"teamtalk/client"
	"teamtalk/internal/im"
)

// Event is something that happened: on the network, or because the user asked.
// Model.Update applies it.
type Event interface{ event() }

// What the network reports.
type (
	// StateChanged says that the session connects, is on-line or waits.
	StateChanged struct {
		State client.State
		Addr  string // of the msg_server; Online only
		Me    im.UserID
		Safe  bool  // Online only: a repeated send is stored once
		Files bool  // Online only: the server takes files of messages
		Err   error // why it is Offline
	}
	// Ended says that the session will not reconnect by itself.
	Ended struct{ Err error }
	// Synced is everything asked for after a log-in.
	Synced struct {
		Users    []Contact
		Online   []im.UserID
		Groups   []Group
		Sessions []Session // recent conversations
		Unread   []Unread
	}
	// SyncFailed says that asking failed although the connection stands.
	SyncFailed struct{ Err error }
	// Received is a pushed message, the own ones of other terminals included.
	Received struct {
		Key
		Message
	}
	// Sent is the answer to a DoSend.
	Sent struct {
		Key
		ClientMsgID string
		ID          im.MsgID
		Err         error
	}
	// Page is the answer to a DoHistory: ascending ids.
	Page struct {
		Key
		Begin    im.MsgID // as asked
		Messages []Message
		Err      error
	}
	// Filled is the answer to a DoFill: everything in (After, UpTo], ascending.
	Filled struct {
		Key
		After, UpTo im.MsgID
		Messages    []Message
		Err         error
	}
	// ReadElsewhere says that another terminal of this user has read up to ID.
	ReadElsewhere struct {
		Key
		ID im.MsgID
	}
	// PresenceChanged says that a user's PC went on-line or off-line.
	PresenceChanged struct {
		User   im.UserID
		Online bool
	}
	// UsersLoaded answers DoUsers; Users lacks those that do not exist.
	UsersLoaded struct {
		IDs   []im.UserID // as asked
		Users []Contact
	}
	// GroupsLoaded answers DoGroups.
	GroupsLoaded struct{ Groups []Group }
	// MembersChanged says who joined or left a group.
	MembersChanged struct {
		Group   im.GroupID
		Removed bool
		Changed []im.UserID
	}
	// SignatureChanged brings the new signature of a user.
	SignatureChanged struct {
		User im.UserID
		Text string
	}
	// Due brings back what a DoLater put off.
	Due struct{ Then Event }
)

// What the user asks for.
type (
	// Open makes a conversation the current one and loads its newest page.
	Open struct{ Key }
	// Compose sends a text to a conversation.
	Compose struct {
		Key
		ClientMsgID string // unique
		Text        string
		At          time.Time
	}
	// Older asks for messages before the oldest one known.
	Older struct{ Key }
	// Newest asks for the newest Count messages whatever is known.
	Newest struct {
		Key
		Count int
	}
	// MarkRead marks everything known of a conversation as read.
	MarkRead struct{ Key }
	// Watch says whether the newest messages of the current conversation are
	// before the user's eyes; what is displayed is marked as read.
	Watch struct{ On bool }
	// Retry sends failed messages of a conversation again.
	Retry struct{ Key }
	// TakeBack logs in again after a log-in elsewhere took the place.
	TakeBack struct{}
)

// Internal events that Due brings back.
type (
	checkGap  struct{ Key }
	resend    struct{ Key }
	syncAgain struct{}
)

// Effect is something to do outside the model; a Link does it.
type Effect interface{ effect() }

// The effects.
type (
	// DoLogin begins the session anew after it was displaced.
	DoLogin struct{}
	// DoSync asks for users, groups, recent conversations and unread counts.
	DoSync struct{}
	// DoSend sends a text once.
	DoSend struct {
		Key
		ClientMsgID string
		Text        string
	}
	// DoRead reports what has been read.
	DoRead struct {
		Key
		ID im.MsgID
	}
	// DoHistory asks for Count messages up to Begin; 0 is the newest.
	DoHistory struct {
		Key
		Begin im.MsgID
		Count int
	}
	// DoFill asks for the messages in (After, UpTo].
	DoFill struct {
		Key
		After, UpTo im.MsgID
	}
	// DoUsers asks for accounts that were not on the list.
	DoUsers struct{ IDs []im.UserID }
	// DoGroups asks for groups.
	DoGroups struct{ IDs []im.GroupID }
	// DoLater brings Then back as a Due after a while.
	DoLater struct {
		After time.Duration
		Then  Event
	}
)

// Notice is what a line-oriented view prints. A full-screen view draws the
// model instead and shows only the *Trouble ones.
type Notice interface{ notice() }

// The notices.
type (
	// StateNotice is told when the session is on-line and the roster known, is
	// off-line, or has ended.
	StateNotice struct {
		State client.State
		Addr  string
		Err   error
		Final bool
	}
	// MessageNotice is a new message, stored: received, or of another terminal.
	MessageNotice struct {
		Key
		*Message
	}
	// SentNotice and FailedNotice tell what became of an own message.
	SentNotice struct {
		Key
		*Message
	}
	// FailedNotice is a message that was given up.
	FailedNotice struct {
		Key
		*Message
	}
	// HistoryNotice is the answer to Newest or Older.
	HistoryNotice struct {
		Key
		Messages []Message
	}
	// UnreadNotice tells unread messages after a log-in.
	UnreadNotice struct {
		Key
		Count int
	}
	// ReadNotice tells what was read on another terminal.
	ReadNotice struct {
		Key
		ID im.MsgID
	}
	// PresenceNotice tells that a contact came or went.
	PresenceNotice struct {
		User   im.UserID
		Online bool
	}
	// MembersNotice tells that members of a group changed.
	MembersNotice struct{ MembersChanged }
	// Trouble is a failure the user should know of; What says of what.
	Trouble struct {
		What string
		Err  error
	}
)

// Contact is a user.
type Contact struct {
	ID        im.UserID
	Name      string // of the log-in
	Nick      string // to show; may be empty
	Signature string
	Online    bool
	Left      bool // has left the organisation
}

// Group is a group this user belongs to.
type Group struct {
	ID      im.GroupID
	Name    string
	Members []im.UserID
}

// Session is an entry of the list of recent conversations.
type Session struct {
	Key
	Updated time.Time
	Latest  im.MsgID
}

// Unread is an entry of the list of unread conversations.
type Unread struct {
	Key
	Count  int
	Latest im.MsgID
}

func (StateChanged) event()     {}
func (Ended) event()            {}
func (Synced) event()           {}
func (SyncFailed) event()       {}
func (Received) event()         {}
func (Sent) event()             {}
func (Page) event()             {}
func (Filled) event()           {}
func (ReadElsewhere) event()    {}
func (PresenceChanged) event()  {}
func (UsersLoaded) event()      {}
func (GroupsLoaded) event()     {}
func (MembersChanged) event()   {}
func (SignatureChanged) event() {}
func (Due) event()              {}
func (Open) event()             {}
func (Compose) event()          {}
func (Older) event()            {}
func (Newest) event()           {}
func (MarkRead) event()         {}
func (Watch) event()            {}
func (Retry) event()            {}
func (TakeBack) event()         {}
func (checkGap) event()         {}
func (resend) event()           {}
func (syncAgain) event()        {}

func (DoLogin) effect()   {}
func (DoSync) effect()    {}
func (DoSend) effect()    {}
func (DoRead) effect()    {}
func (DoHistory) effect() {}
func (DoFill) effect()    {}
func (DoUsers) effect()   {}
func (DoGroups) effect()  {}
func (DoLater) effect()   {}

func (StateNotice) notice()    {}
func (MessageNotice) notice()  {}
func (SentNotice) notice()     {}
func (FailedNotice) notice()   {}
func (HistoryNotice) notice()  {}
func (UnreadNotice) notice()   {}
func (ReadNotice) notice()     {}
func (PresenceNotice) notice() {}
func (MembersNotice) notice()  {}
func (Trouble) notice()        {}
