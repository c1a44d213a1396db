// Package trace remembers what happened to the last messages of a role: a
// bounded ring of events of fixed size, cheap enough to be on always, and the
// answer to the question what became of one message, over the health port.
// Nothing is written to disk. What was overwritten is not known any more, and
// the answer says from when on it is complete.
//
// What the events mean to an operator is the business of "teamtalk trace".
package trace

import (
	"sync"
	"time"

	"teamtalk/internal/im"
)

// Record is one event in the life of one message. Fields that an event does
// not have are zero.
type Record struct {
	At     int64 // Unix nanoseconds; 0 lets Note take the time
	Conv   im.Conversation
	Op     im.OperationID
	Conn   uint64   // connection of the terminal or server, unique in the process
	Msg    im.MsgID // 0: not numbered yet
	User   im.UserID
	Detail uint32 // what it says depends on the event
	Event  Event
	Client im.ClientType // type of the terminal
}

// Event says what happened.
type Event uint8

// The events, in the order in which a message meets them. A role notes those
// that it is named beside.
const (
	// Received (msg_server): User sent it on Conn. (http_msg_server): a back end
	// sent it as User.
	Received Event = iota + 1
	// Forwarded (msg_server, http_msg_server): sent to a db_proxy again; Detail counts the
	// attempts.
	Forwarded
	// Committed (db_proxy): it stands in the database. Detail is the number of
	// messages in the same commit.
	Committed
	// Repeated (db_proxy): the operation had been stored before, under Msg.
	Repeated
	// Failed (db_proxy, msg_server, http_msg_server): it was not stored, or nobody knows
	// whether; Detail is the im.Code.
	Failed
	// Acknowledged (msg_server): 0302 was queued for the sender, User.
	// (http_msg_server): the back end is told its number.
	Acknowledged
	// Relayed (msg_server, http_msg_server): sent to the route_servers; Detail is how many.
	// (route_server): passed on; Detail is to how many msg_servers.
	Relayed
	// Arrived (msg_server): another server's message came in.
	Arrived
	// Held (msg_server): it waits for the message before it.
	Held
	// Late (msg_server): it came after a later one and was not pushed.
	Late
	// Duplicate (msg_server): it was being held already.
	Duplicate
	// Delivered (msg_server): queued for User's terminal on Conn.
	Delivered
	// Confirmed (msg_server): User's terminal on Conn says that it has this
	// message, Detail 1: and all before it.
	Confirmed
	// Read (msg_server): User has read this message and all before it.
	Read
	eventEnd
)

// names are the events on the wire and on the screen.
var names = [eventEnd]string{ //nolint:gochecknoglobals // a table
	Received: "received", Forwarded: "forwarded", Committed: "committed", Repeated: "repeated", Failed: "failed",
	Acknowledged: "acknowledged", Relayed: "relayed", Arrived: "arrived", Held: "held", Late: "late",
	Duplicate: "duplicate", Delivered: "delivered", Confirmed: "confirmed", Read: "read",
}

// String returns the name of an event, "" for one that does not exist.
func (e Event) String() string {
	if e < eventEnd {
		return names[e]
	}
	return ""
}

// MarshalText writes the name.
func (e Event) MarshalText() ([]byte, error) { return []byte(e.String()), nil }

// UnmarshalText reads a name; one of a later version becomes 0.
func (e *Event) UnmarshalText(text []byte) error {
	*e = 0
	for i := Received; i < eventEnd; i++ {
		if names[i] == string(text) {
			*e = i
		}
	}
	return nil
}

// upTo reports whether the event speaks of the messages before Msg, too.
func (r *Record) upTo() bool { return r.Event == Read || r.Event == Confirmed && r.Detail == 1 }

const (
	shardCount = 32 // a power of two
	// DefaultEvents is how many events a role remembers unless told otherwise:
	// 8 MiB.
	DefaultEvents = 1 << 17
	maxFound      = 20_000 // events in one answer
	scanChunk     = 512    // records looked at before the lock is given back
)

// Recorder remembers events. Safe from any goroutine; a nil Recorder
// remembers nothing.
type Recorder struct {
	started int64 // Unix nanoseconds
	shards  [shardCount]shard
}

// shard holds the events of the conversations that hash to it, so that a
// question about one message looks at one shard, and busy conversations push
// out nobody's events but those of their shard. Its lock is held for a few
// nanoseconds.
type shard struct {
	mu   sync.Mutex // guards the fields below; a leaf
	next uint64     // events ever noted
	ring []Record   // event n is at n % len
	_    [64]byte   // a cache line of its own
}

// New returns a Recorder for at least so many events, of 64 bytes each; nil
// for 0.
func New(events int) *Recorder {
	if events <= 0 {
		return nil
	}
	r := &Recorder{started: time.Now().UnixNano()} //nolint:forbidigo // what is measured is real
	per := 1
	for per*shardCount < events {
		per *= 2
	}
	ring := make([]Record, per*shardCount) // pages that nobody writes to take no memory
	for i := range r.shards {
		r.shards[i].ring = ring[i*per : (i+1)*per : (i+1)*per]
	}
	return r
}

// Note remembers a copy of an event. It allocates nothing and waits for nobody
// but another Note of the same shard. To look at the clock takes longer than
// all the rest: a caller who knows the time gives it.
func (r *Recorder) Note(e *Record) {
	if r == nil {
		return
	}
	at := e.At
	if at == 0 {
		at = time.Now().UnixNano() //nolint:forbidigo // see New
	}
	s := &r.shards[e.Conv.Hash()%shardCount]
	s.mu.Lock()
	slot := &s.ring[s.next&uint64(len(s.ring)-1)]
	*slot = *e
	slot.At = at
	s.next++
	s.mu.Unlock()
}
