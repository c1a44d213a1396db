package trace

import (
	"encoding/hex"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"teamtalk/internal/im"
)

// Query names one message: by its conversation and number, by its operation
// id, or by both, which finds most; or by the client_msg_id of its sender, which
// may stand for messages in several conversations. At least one of Msg, Op and
// Client is set; Msg needs Conv. Without Msg every event is looked at.
type Query struct {
	Conv   im.Conversation
	Msg    im.MsgID
	Op     im.OperationID
	Client string
}

// Answer is what one role remembers of a message, oldest event first.
type Answer struct {
	Role    string `json:"role"`
	Started int64  `json:"started"` // Unix nanoseconds; the role knows nothing from before
	// Since is the time from which on nothing is missing, Unix nanoseconds:
	// older events of this conversation may have been overwritten.
	Since     int64   `json:"since"`
	Truncated bool    `json:"truncated,omitempty"` // there were more
	Events    []Entry `json:"events"`
}

// Entry is a Record as it is told to others.
type Entry struct {
	At     int64         `json:"at"` // Unix nanoseconds
	Event  Event         `json:"event"`
	Conv   string        `json:"conversation"`
	Msg    im.MsgID      `json:"msg_id,omitempty"`
	User   im.UserID     `json:"user,omitempty"`
	Client im.ClientType `json:"client,omitempty"`
	Conn   uint64        `json:"conn,omitempty"`
	Detail uint32        `json:"detail,omitempty"`
	Op     string        `json:"operation_id,omitempty"` // hex
}

func (r *Record) entry() Entry {
	e := Entry{
		At: r.At, Event: r.Event, Conv: r.Conv.String(), Msg: r.Msg, User: r.User,
		Client: r.Client, Conn: r.Conn, Detail: r.Detail,
	}
	if !r.Op.IsZero() {
		e.Op = hex.EncodeToString(r.Op[:])
	}
	return e
}

// matches reports whether an event concerns the message.
func (q *Query) matches(r *Record) bool {
	if !q.Op.IsZero() && r.Op == q.Op {
		return true
	}
	return q.Msg != 0 && r.Conv == q.Conv && (r.Msg == q.Msg || r.upTo() && r.Msg > q.Msg)
}

// isClient reports whether an event concerns a message of the client_msg_id.
func (f *finder) isClient(r *Record) bool {
	if f.query.Client == "" || r.Op.IsZero() {
		return false
	}
	op, known := f.ops[r.Conv]
	if !known {
		op = im.OperationOf(im.OfClient, r.Conv, f.query.Client)
		f.ops[r.Conv] = op
	}
	return r.Op == op || r.Op == f.former
}

// Find returns what is remembered of a message. Of the events that speak of
// all messages up to a later one, the first of each terminal is enough.
func (r *Recorder) Find(q Query) Answer {
	if r == nil {
		return Answer{Events: []Entry{}}
	}
	f := finder{query: q, told: map[terminal]bool{}, ops: map[im.Conversation]im.OperationID{}, events: []Entry{}}
	if q.Client != "" {
		f.former = im.FormerOperationOf(q.Client)
	}
	a := Answer{Started: r.started, Since: r.started}
	if q.Msg != 0 {
		a.Since = max(a.Since, f.scan(&r.shards[q.Conv.Hash()%shardCount]))
	} else {
		for i := range r.shards {
			a.Since = max(a.Since, f.scan(&r.shards[i]))
		}
	}
	a.Events, a.Truncated = f.events, f.more
	return a
}

// terminal is who an event that speaks of several messages comes from.
type terminal struct {
	event Event
	user  im.UserID
	conn  uint64
}

// finder collects the events of one message.
type finder struct {
	query  Query
	told   map[terminal]bool
	ops    map[im.Conversation]im.OperationID // of the client_msg_id
	former im.OperationID                     // what earlier versions made of it
	events []Entry
	more   bool
}

// scan goes through a shard, oldest event first, and returns the time from
// which on it is complete. It gives the lock back often: nobody who notes an
// event waits for long. What is overwritten meanwhile is left out.
func (f *finder) scan(s *shard) (since int64) {
	size := uint64(len(s.ring))
	s.mu.Lock()
	end := s.next
	from := end - min(end, size)
	s.mu.Unlock()
	for at := from; at < end; {
		s.mu.Lock()
		if oldest := s.next - min(s.next, size); at < oldest {
			at = oldest
		}
		for stop := min(at+scanChunk, end); at < stop; at++ {
			r := &s.ring[at&(size-1)]
			if f.query.matches(r) || f.isClient(r) {
				f.add(r)
			}
		}
		s.mu.Unlock()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.next > size {
		since = s.ring[s.next&(size-1)].At
	}
	return since
}

func (f *finder) add(r *Record) {
	if r.upTo() {
		key := terminal{r.Event, r.User, r.Conn}
		if f.told[key] {
			return
		}
		f.told[key] = true
	}
	if len(f.events) >= maxFound {
		f.more = true
		return
	}
	f.events = append(f.events, r.entry())
}

// ParseConversation reads what im.Conversation.String writes: single:1-2 or
// group:3. Anything else is im.Invalid.
func ParseConversation(s string) (im.Conversation, error) {
	kind, rest, _ := strings.Cut(s, ":")
	switch kind {
	case "single":
		a, b, _ := strings.Cut(rest, "-")
		small, err1 := number(a)
		big, err2 := number(b)
		if err1 == nil && err2 == nil && small != big {
			return im.SingleOf(im.UserID(small), im.UserID(big)), nil
		}
	case "group":
		if group, err := number(rest); err == nil {
			return im.GroupOf(im.GroupID(group)), nil
		}
	}
	return im.Conversation{}, im.Errorf(im.Invalid, "%q is no conversation", s)
}

// number reads an id, which is not 0.
func number(s string) (uint32, error) {
	n, err := strconv.ParseUint(s, 10, 32)
	if err == nil && n == 0 {
		err = strconv.ErrRange
	}
	return uint32(n), err
}

// ParseOperation reads an operation id in hex.
func ParseOperation(s string) (id im.OperationID, err error) {
	raw, err := hex.DecodeString(s)
	if err != nil || len(raw) != len(id) {
		return id, im.Errorf(im.Invalid, "%q is no operation id", s)
	}
	return im.OperationID(raw), nil
}

// parse reads a Query from the parameters conv, msg, op and client.
func parse(get func(string) string) (q Query, err error) {
	if s := get("conv"); s != "" {
		if q.Conv, err = ParseConversation(s); err != nil {
			return q, err
		}
	}
	if s := get("msg"); s != "" {
		n, err := number(s)
		if err != nil {
			return q, im.Errorf(im.Invalid, "%q is no message id", s)
		}
		q.Msg = im.MsgID(n)
	}
	if s := get("op"); s != "" {
		if q.Op, err = ParseOperation(s); err != nil {
			return q, err
		}
	}
	q.Client = get("client")
	if q.Msg == 0 && q.Op.IsZero() && q.Client == "" || q.Msg != 0 && q.Conv.Kind == 0 {
		return q, im.Errorf(im.Invalid, "a message is named by conv and msg, by op, or by client")
	}
	return q, nil
}

// String is the query as parse reads it.
func (q *Query) String() string {
	var parts []string
	if q.Msg != 0 {
		parts = append(parts, fmt.Sprintf("conv=%s&msg=%d", q.Conv, q.Msg))
	}
	if !q.Op.IsZero() {
		parts = append(parts, "op="+hex.EncodeToString(q.Op[:]))
	}
	if q.Client != "" {
		parts = append(parts, "client="+url.QueryEscape(q.Client))
	}
	return strings.Join(parts, "&")
}
