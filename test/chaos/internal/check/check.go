// Package check decides whether the system kept its promises. It knows only
// what clients logged and what SQL holds in the end: every message that was
// acknowledged must be stored, once, under that id, in order; every terminal
// must have seen what is stored; counts and presence must be true. Each broken
// promise is a Violation that names its rule.
package check

import (
	"fmt"

	"teamtalk/internal/im"
	"teamtalk/test/chaos/internal/event"
)

// Rule names a promise. docs/guarantees.md says what each means to a client.
type Rule string

// The rules.
const (
	Lost         Rule = "lost"          // acknowledged, not stored under that id
	Twice        Rule = "twice"         // one message under two ids, or two under one
	AckChanged   Rule = "ack_changed"   // a repeat was acknowledged with another id
	RefusedKept  Rule = "refused_kept"  // refused for ever, yet stored
	Phantom      Rule = "phantom"       // shown to a client, not stored, or not like that
	Gap          Rule = "gap"           // an id is missing and nothing had to be given up or made again then
	TimeOrder    Rule = "time_order"    // sent after an acknowledgement, numbered before it
	SenderOrder  Rule = "sender_order"  // two messages of one connection changed places
	PushOrder    Rule = "push_order"    // pushed again, or behind a later one
	PushGap      Rule = "push_gap"      // pushed over a message that is neither marked nor the terminal's own
	Undelivered  Rule = "undelivered"   // a terminal never found a message, or one that acknowledges was never sent it
	Hidden       Rule = "hidden"        // a page of history leaves out what was stored
	UnreadDrift  Rule = "unread_drift"  // an unread count differs from the recount
	ReadLost     Rule = "read_lost"     // read, but the cursor is before it
	CursorAhead  Rule = "cursor_ahead"  // the cursor is behind what anybody read
	FalseStatus  Rule = "presence"      // shown on-line and is not, or the reverse
	Silence      Rule = "silence"       // a failure was not said
	NotRecovered Rule = "not_recovered" // a terminal found no way back
	Stalled      Rule = "stalled"       // nothing of a conversation was acknowledged although others could have done it
	Dropped      Rule = "dropped"       // a connection ended because of what strangers or other users did
	BadLog       Rule = "bad_log"       // the log contradicts itself
)

// Rules returns every rule.
func Rules() []Rule {
	return []Rule{
		Lost, Twice, AckChanged, RefusedKept, Phantom, Gap, TimeOrder, SenderOrder, PushOrder, PushGap, Undelivered,
		Hidden, UnreadDrift, ReadLost, CursorAhead, FalseStatus, Silence, NotRecovered,
		Stalled, Dropped, BadLog,
	}
}

// Violation is one broken promise.
type Violation struct {
	Rule   Rule     `json:"rule"`
	T      int64    `json:"t"` // microseconds since the run began, when it can be told
	Conv   string   `json:"conv,omitempty"`
	ID     im.MsgID `json:"id,omitempty"`
	Key    string   `json:"key,omitempty"`
	Client string   `json:"client,omitempty"`
	Text   string   `json:"text"`
}

func (v Violation) String() string {
	return fmt.Sprintf("%9.3fs %-13s %s", float64(v.T)/1e6, v.Rule, v.Text)
}

// Result is what came out.
type Result struct {
	Sent     int // messages, repeats not counted
	Acked    int // messages
	Failed   int // attempts without an acknowledgement
	Repeats  int // attempts under the key of an earlier one
	Received int // pushes
	Capable  int // pushes to terminals that acknowledge them
	Marked   int // gaps that these were told of
	Stored   int // rows; without SQL: messages that any client was shown
	Gaps     int // ids that are missing because storing was given up
	Late     int // messages that a terminal found later, or too late to be pushed
	Final    int // terminals that were asked at rest
	Gone     int // rows that were lost with the primary when ids went back
	SQL      bool

	// Stalls are the longest times in microseconds in which a conversation had no
	// acknowledgement, by the number of the fault that was in force alone.
	Stalls map[int]int64

	// Violations are the first of each rule; Counts has all.
	Violations []Violation
	Counts     map[Rule]int
}

// keep is how many violations of one rule are kept in full.
const keep = 50

// Files checks the events of several files against what SQL holds, which is a
// file of its own; "" leaves SQL out, and what clients were shown takes its
// place.
func Files(events []string, sql string) (*Result, error) {
	c := New()
	if sql != "" {
		if err := event.ReadFile(sql, c.SQL); err != nil {
			return nil, err
		}
	}
	if err := event.ReadFiles(events, c.Event); err != nil {
		return nil, err
	}
	return c.Finish(), nil
}

// New returns a checker. SQL takes all rows first, then Event all events in
// the order of time, then Finish is called once.
func New() *Checker {
	return &Checker{
		keys: map[string]int32{}, convs: map[string]*conv{}, clients: map[string]*terminal{},
		cursors: map[reader]im.MsgID{}, reads: map[reader]im.MsgID{}, finalReads: map[reader]im.MsgID{},
		scene:  scene{faults: map[int]inForce{}},
		result: Result{Counts: map[Rule]int{}, Stalls: map[int]int64{}},
	}
}

// Checker holds what is known so far.
type Checker struct {
	keys     map[string]int32 // into messages
	messages []message
	convs    map[string]*conv
	clients  map[string]*terminal

	cursors    map[reader]im.MsgID // in SQL
	reads      map[reader]im.MsgID // the highest that any terminal of the user reported
	finalReads map[reader]im.MsgID
	finals     []unreadList

	pulse  int64 // the last one
	pulsed bool
	stood  int64 // how long everything stood still before it

	scene scene
	back  int64 // when ids went back; 0: not yet

	result Result
}

// reader is a user in a conversation.
type reader struct {
	user uint32
	conv string
}

// message is one key.
type message struct {
	key    string
	conv   *conv
	client *terminal // who sent it; nil if nobody logged that
	user   uint32    // sender by SQL, else by the log
	id     im.MsgID  // under which it is stored, or was shown first

	stored   bool     // id is from SQL
	acked    im.MsgID // first acknowledgement
	ackedAt  int64
	sentAt   int64 // first attempt; -1: never seen
	lastAt   int64 // last attempt
	open     bool  // the last attempt has no answer
	attempts int32
	refused  bool     // for ever
	floor    im.MsgID // acknowledged in the conversation before it was sent
	attempt  int      // the last one's place in its connection
}

// conv is one conversation.
type conv struct {
	name  string
	conv  im.Conversation
	users []uint32
	rows  map[im.MsgID]int32 // into messages
	max   im.MsgID
	acked im.MsgID   // highest so far
	hurt  []int64    // when attempts were sent that have no acknowledgement, or a late one
	ids   []im.MsgID // what sorted returns

	gone    map[im.MsgID]string // keys of what was stored before ids went back
	low     im.MsgID            // its lowest id
	waiting []waiting
}

// violate records a broken promise.
func (c *Checker) violate(v Violation, format string, args ...any) {
	c.result.Counts[v.Rule]++
	if c.result.Counts[v.Rule] <= keep {
		v.Text = fmt.Sprintf(format, args...)
		c.result.Violations = append(c.result.Violations, v)
	}
}

// conversation returns the state of a conversation; nil if the name is none.
func (c *Checker) conversation(name string) *conv {
	if v := c.convs[name]; v != nil {
		return v
	}
	parsed, err := event.ParseConv(name)
	if err != nil {
		c.violate(Violation{Rule: BadLog}, "%v", err)
		return nil
	}
	v := &conv{name: name, conv: parsed, rows: map[im.MsgID]int32{}}
	if parsed.Kind == im.Single {
		v.users = []uint32{uint32(parsed.Pair.Small), uint32(parsed.Pair.Big)}
	}
	c.convs[name] = v
	return v
}

// message returns the index of a key, which it makes if need be.
func (c *Checker) message(key string, in *conv) int32 {
	if i, ok := c.keys[key]; ok {
		return i
	}
	i := int32(len(c.messages))
	c.messages = append(c.messages, message{key: key, conv: in, sentAt: -1})
	c.keys[key] = i
	return i
}

// SQL takes a row that SQL holds.
func (c *Checker) SQL(e *event.Event) error {
	c.result.SQL = true
	in := c.conversation(e.Conv)
	if in == nil {
		return nil
	}
	switch e.Name {
	case event.Cursor:
		c.cursors[reader{e.User, e.Conv}] = e.ID
	case event.Stored:
		i := c.message(e.Key, in)
		m := &c.messages[i]
		switch {
		case m.stored:
			c.violate(Violation{Rule: Twice, Conv: in.name, ID: e.ID, Key: e.Key},
				"%s is stored as %s #%d and again as %s #%d", e.Key, m.conv.name, m.id, in.name, e.ID)
		case in.rows[e.ID] != 0:
			c.violate(Violation{Rule: Twice, Conv: in.name, ID: e.ID, Key: e.Key},
				"%s #%d is stored twice", in.name, e.ID)
		case e.ID == 0:
			c.violate(Violation{Rule: Phantom, Conv: in.name, Key: e.Key}, "%s is stored without an id", e.Key)
		}
		m.conv, m.id, m.stored, m.user = in, e.ID, true, e.User
		in.put(e.ID, i)
	case event.Gone:
		c.goneRow(in, e)
	default:
		return fmt.Errorf("%q is nothing that SQL holds", e.Name)
	}
	return nil
}

// put notes which message an id stands for; indexes are kept from 1.
func (v *conv) put(id im.MsgID, i int32) {
	v.rows[id] = i + 1
	v.max = max(v.max, id)
}

// at returns the message under an id.
func (v *conv) at(id im.MsgID) (int32, bool) {
	i := v.rows[id]
	return i - 1, i != 0
}
