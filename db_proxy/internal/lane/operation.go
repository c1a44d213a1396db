// Package lane gives every conversation its order and every commit its batch.
//
// A conversation hashes to one lane. A lane runs on one worker at a time:
// it takes what is waiting, resolves it, reserves the message ids, stores all
// of it in one transaction, and then completes the operations in the order in
// which they came. What arrives meanwhile is the next batch; nothing is ever
// delayed to make a batch larger.
package lane

import (
	"context"
	"time"

	"teamtalk/db_proxy/internal/cache"
	"teamtalk/db_proxy/internal/directory"
	"teamtalk/db_proxy/internal/store"
	"teamtalk/internal/im"
)

// Operation is something to be done to one conversation, in its order:
// a *Send, a *Read or a *Change.
type Operation interface {
	conversation() im.Conversation
	// complete runs once, after the commit or with the error that ended the
	// operation.
	fail(err error)
}

// Send stores a message.
type Send struct {
	Conv    im.Conversation
	From    im.UserID
	Type    im.MsgType
	Content string
	Created uint32         // Unix seconds; 0 takes the server's clock
	Op      im.OperationID // zero: the lane takes one of its own
	// Former is what an earlier version made of the same id of the sender; zero:
	// nothing. It is looked up where the database may have such messages.
	Former im.OperationID
	// Outsider lets somebody who is no member send to a group.
	Outsider bool

	// Done gets the outcome, on the lane's worker: it must not block.
	Done func(Sent, error)

	// Owned by the lane.
	arrived  time.Time
	relation im.RelationID
	group    *directory.Group
	id       im.MsgID
	repeat   bool       // stored before
	unknown  bool       // a commit may have stored it although its answer was lost
	tried    []im.MsgID // ids of the commits whose answers were lost: one of them may be done yet
	since    time.Duration
	again    []*Send // the same operation, behind it in its batch: it shares the outcome
	ended    bool
}

// Sent is the outcome of a Send.
type Sent struct {
	ID im.MsgID
	// Repeat says that the operation had been stored before; nothing was now.
	Repeat bool
	// SincePrevious is the time between the commit of the message before and
	// this one; NoPrevious if there is none or it is not known.
	SincePrevious time.Duration
	Created       uint32
	// Group is set for group messages: the members at the commit.
	Group *directory.Group
}

// NoPrevious stands for a message without a known predecessor.
const NoPrevious = time.Duration(1<<31) * time.Millisecond

func (s *Send) conversation() im.Conversation { return s.Conv }

func (s *Send) fail(err error) {
	if !s.ended {
		s.ended = true
		s.Done(Sent{}, err)
	}
}

func (s *Send) succeed() {
	if !s.ended {
		s.ended = true
		s.Done(Sent{ID: s.id, Repeat: s.repeat, SincePrevious: s.since, Created: s.Created, Group: s.group}, nil)
	}
}

// Read moves the read cursor of one user. Up to 0 means everything; an id
// beyond the newest counts as the newest; the cursor never goes back.
type Read struct {
	Conv im.Conversation
	User im.UserID
	Upto im.MsgID

	// Done gets the outcome, on the lane's worker; nil if nobody asks.
	Done func(error)

	relation im.RelationID
	cursor   im.MsgID
	reading  *reading
	ended    bool
}

func (r *Read) conversation() im.Conversation { return r.Conv }

func (r *Read) fail(err error) { r.end(err) }
func (r *Read) succeed()       { r.end(nil) }

func (r *Read) end(err error) {
	if r.ended {
		return
	}
	r.ended = true
	if r.Done != nil {
		r.Done(err)
	}
	r.reading.end(r.User)
}

// Change is anything else that must happen between two messages, such as a
// change of members. Everything before it is committed first.
type Change struct {
	Conv im.Conversation
	// Asker is whose account must be active when the turn comes; 0: a server
	// asks for itself.
	Asker im.UserID
	// Run does it and must obey ctx.
	Run func(ctx context.Context)
	// Forgets says that what the lane remembers of the conversation does not
	// hold afterwards.
	Forgets bool
	// Refused is called instead of Run when the operation cannot be taken.
	Refused func(error)
}

func (c *Change) conversation() im.Conversation { return c.Conv }
func (c *Change) fail(err error)                { c.Refused(err) }

// Store is what the lanes need of the database.
type Store interface {
	LastMessages(ctx context.Context, convs []store.ConvRef) (map[im.Conversation]store.Last, error)
	FindOperations(ctx context.Context, ops []store.Operation) (map[store.Operation]im.MsgID, error)
	FindFormer(ctx context.Context, ops []store.FormerOperation) (map[store.Operation]im.MsgID, error)
	UnreadOf(ctx context.Context, key store.SessionKey, limit int) (count uint32, all bool, err error)
	Commit(ctx context.Context, b *store.Batch) error
	// Well returns what keeps the database from serving, nil if nothing does.
	Well() error
	// Believed returns the epoch that the database is taken to be in.
	Believed() store.Epoch
}

// Directory is what the lanes need to know of users, pairs and groups.
type Directory interface {
	Users(ctx context.Context, ids []im.UserID) (map[im.UserID]*store.User, error)
	Groups(ctx context.Context, ids []im.GroupID) (map[im.GroupID]*directory.Group, error)
	EnsureRelations(ctx context.Context, pairs []im.Pair) (map[im.Pair]im.RelationID, error)
	Relations(ctx context.Context, pairs []im.Pair) (map[im.Pair]im.RelationID, error)
}

// Behind is what is written after the commit, coalesced.
type Behind interface {
	// Touch notes the activity of a conversation.
	Touch(conv im.Conversation, at uint32)
	// SetUnread replaces a user's unread count of a single conversation.
	SetUnread(stamp cache.Stamp, key store.SessionKey, count uint32)
	// SetGroup replaces the newest id of a group, from which unread counts
	// are taken.
	SetGroup(stamp cache.Stamp, group im.GroupID, newest im.MsgID)
	// SetRead replaces a user's read cursor in a group.
	SetRead(stamp cache.Stamp, group im.GroupID, user im.UserID, read im.MsgID)
	// ForgetUnread makes a user's count of a session be read from the database
	// when it is needed next; ForgetGroup the newest id of a group. Without a
	// stamp every db_proxy reads its counts of the conversation again.
	ForgetUnread(stamp cache.Stamp, key store.SessionKey)
	ForgetGroup(stamp cache.Stamp, group im.GroupID)
}
