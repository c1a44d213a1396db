// Package timeline puts together what became of one message: the events that
// the roles remember and the facts of the database. It decides what is known,
// what did not happen, and what nobody can know any more. Asking is its
// caller's business.
package timeline

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"teamtalk/db_proxy/dbproxy"
	"teamtalk/internal/im"
	"teamtalk/internal/trace"
)

// Source is one role and what it answered.
type Source struct {
	Name   string // such as msg_server_1
	Answer trace.Answer
	Err    error // why it did not answer
}

// role is what the source is, also when it did not answer.
func (s *Source) role() string {
	if s.Answer.Role != "" {
		return s.Answer.Role
	}
	return strings.TrimRight(s.Name, "_0123456789")
}

// Timeline is what became of a message.
type Timeline struct {
	Message  dbproxy.MessageFacts `json:"message"`
	Database string               `json:"database_error,omitempty"` // why it was not asked
	Roles    []Role               `json:"roles"`
	Events   []Event              `json:"events"`
	Stages   []Stage              `json:"stages"`
	People   []Person             `json:"people"` // who is to get it
	// Places are the messages of a client_msg_id that was used in several
	// conversations, or by several senders; the rest is then empty.
	Places []dbproxy.PlaceFact `json:"places,omitempty"`
}

// Role is a role that was asked.
type Role struct {
	Name  string    `json:"name"`
	Since time.Time `json:"complete_since,omitzero"` // before, events may be missing
	Error string    `json:"error,omitempty"`
}

// Event is one event, at its role.
type Event struct {
	Time     time.Time   `json:"time"`
	By       string      `json:"by"` // name of the role
	Event    trace.Event `json:"event"`
	User     uint32      `json:"user,omitempty"`
	Name     string      `json:"name,omitempty"`
	Terminal string      `json:"terminal,omitempty"` // windows, mac, ios, android
	Conn     uint64      `json:"conn,omitempty"`
	Upto     uint32      `json:"upto,omitempty"`   // the event is about all messages up to this one
	Detail   uint32      `json:"detail,omitempty"` // see trace.Event
	Note     string      `json:"note,omitempty"`   // the detail in words
}

// State says whether something happened.
type State string

// The states.
const (
	Yes     State = "yes"
	No      State = "no"
	Unknown State = "unknown" // who could tell does not remember, or was not asked
)

// Stage is a step that every message takes.
type Stage struct {
	Stage string `json:"stage"`
	State State  `json:"state"`
	Why   string `json:"why,omitempty"` // it is not known
}

// Person is a user who is to get the message.
type Person struct {
	User      uint32   `json:"user"`
	Name      string   `json:"name,omitempty"`
	Delivered State    `json:"delivered"`
	Confirmed State    `json:"confirmed"` // by at least one terminal
	Read      State    `json:"read"`
	Terminals []string `json:"terminals,omitempty"` // that it was delivered to, or that confirmed it
	ReadUpto  uint32   `json:"read_upto,omitempty"` // his read cursor
}

// Roles that messages come in at.
const (
	clientRole = "msg_server"
	apiRole    = "http_msg_server"
)

// Build puts a timeline together. Of facts, dbErr says that they are not
// known.
func Build(facts dbproxy.MessageFacts, dbErr error, sources []Source) *Timeline {
	t := &Timeline{
		Message: facts, Roles: []Role{}, Events: []Event{}, Stages: []Stage{}, People: []Person{},
	}
	if dbErr != nil {
		t.Database = dbErr.Error()
	}
	for _, s := range sources {
		r := Role{Name: s.Name}
		if s.Err != nil {
			r.Error = s.Err.Error()
		} else {
			r.Since = time.Unix(0, s.Answer.Since)
			t.addEvents(&s)
		}
		t.Roles = append(t.Roles, r)
	}
	if t.Places = places(&facts, sources); len(t.Places) > 1 {
		t.Message, t.Events = dbproxy.MessageFacts{Places: t.Places, Names: facts.Names}, []Event{}
		return t
	}
	t.Places = nil
	slices.SortStableFunc(t.Events, func(a, b Event) int {
		return cmp.Or(a.Time.Compare(b.Time), cmp.Compare(a.Event, b.Event))
	})
	t.addStages(sources)
	t.addPeople(sources, dbErr)
	return t
}

// places returns the messages that a client_msg_id stands for: those that are
// stored, and those that a role knows of.
func places(facts *dbproxy.MessageFacts, sources []Source) []dbproxy.PlaceFact {
	all := slices.Clone(facts.Places)
	if facts.OperationID != "" {
		return all // one was asked for
	}
	for _, s := range sources {
		for _, e := range s.Answer.Events {
			same := func(p dbproxy.PlaceFact) bool { return p.Conversation == e.Conv && p.From == uint32(e.User) }
			if e.Event == trace.Received && !slices.ContainsFunc(all, same) {
				all = append(all, dbproxy.PlaceFact{Conversation: e.Conv, ID: uint32(e.Msg), From: uint32(e.User)})
			}
		}
	}
	return all
}

// Found reports whether anything is known of the message.
func (t *Timeline) Found() bool { return t.Message.Stored || len(t.Events) > 0 || len(t.Places) > 0 }

// addEvents takes what one role remembers. A message that the database does
// not have is numbered by the events, if at all.
func (t *Timeline) addEvents(s *Source) {
	for _, e := range s.Answer.Events {
		if t.Message.ID == 0 {
			t.Message.ID = uint32(e.Msg)
		}
		if t.Message.Conversation == "" {
			t.Message.Conversation = e.Conv
		}
		event := Event{
			Time: time.Unix(0, e.At), By: s.Name, Event: e.Event, User: uint32(e.User),
			Name: t.Message.Names[uint32(e.User)], Terminal: terminalName(e.Client), Conn: e.Conn, Detail: e.Detail,
		}
		if e.Event == trace.Read || e.Event == trace.Confirmed && e.Detail == 1 {
			event.Upto = uint32(e.Msg)
		}
		event.Note = note(&e, s.role())
		t.Events = append(t.Events, event)
	}
}

// terminalName is the type of a client in a word.
func terminalName(c im.ClientType) string {
	switch c {
	case im.Windows:
		return "windows"
	case im.Mac:
		return "mac"
	case im.IOS:
		return "ios"
	case im.Android:
		return "android"
	case 0:
		return ""
	}
	return fmt.Sprintf("client %#x", uint8(c))
}

// note says the detail of an event in words.
func note(e *trace.Entry, role string) string {
	switch e.Event {
	case trace.Forwarded:
		return fmt.Sprintf("to a db_proxy, attempt %d", e.Detail)
	case trace.Committed:
		if e.Detail > 1 {
			return "with " + count(int(e.Detail)-1, "other")
		}
		return "alone"
	case trace.Repeated:
		return "it had been stored before"
	case trace.Failed:
		return im.Code(e.Detail).String()
	case trace.Relayed:
		if role == "route_server" {
			return "to " + count(int(e.Detail), "msg_server")
		}
		return "to " + count(int(e.Detail), "route_server")
	case trace.Arrived:
		return "from another msg_server"
	case trace.Held:
		return "for the message before it"
	case trace.Late:
		return "after a later one: left to unread and history"
	case trace.Duplicate:
		return "held already"
	case trace.Read, trace.Confirmed:
		if e.Event == trace.Read || e.Detail == 1 {
			return fmt.Sprintf("up to %d", e.Msg)
		}
	case trace.Received, trace.Acknowledged:
		if role == apiRole {
			return "over HTTP"
		}
	case trace.Delivered:
	}
	return ""
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// addStages says of each step whether it was taken.
func (t *Timeline) addStages(sources []Source) {
	entrances := []string{clientRole, apiRole}
	for _, stage := range []struct {
		name   string
		roles  []string
		events []trace.Event
		proven bool
	}{
		{"received", entrances, []trace.Event{trace.Received}, false},
		{"committed", []string{"db_proxy"}, []trace.Event{trace.Committed, trace.Repeated}, t.Message.Stored},
		{"acknowledged", entrances, []trace.Event{trace.Acknowledged}, false},
		{"relayed", entrances, []trace.Event{trace.Relayed, trace.Arrived}, false},
	} {
		s := Stage{Stage: stage.name, State: Yes}
		switch {
		case stage.proven || t.has(func(e *Event) bool { return slices.Contains(stage.events, e.Event) }):
		case stage.name == "committed" && t.Database == "":
			s.State = No // there is no row
		default:
			s.State, s.Why = t.absent(sources, stage.roles...)
		}
		t.Stages = append(t.Stages, s)
	}
}

func (t *Timeline) has(match func(*Event) bool) bool {
	return slices.ContainsFunc(t.Events, func(e Event) bool { return match(&e) })
}

// absent says what it means that no role of some kinds remembers an event: that
// it did not happen, if all of them would. There is one of the first kind in
// any case.
func (t *Timeline) absent(sources []Source, roles ...string) (State, string) {
	asked, sent := false, t.sent()
	for _, s := range sources {
		if !slices.Contains(roles, s.role()) {
			continue
		}
		asked = asked || s.role() == roles[0]
		switch {
		case errors.Is(s.Err, trace.ErrRefused):
			return Unknown, s.Name + " refused to answer"
		case s.Err != nil:
			return Unknown, s.Name + " did not answer"
		case sent.IsZero():
			return Unknown, "nobody knows when it was sent"
		case s.Answer.Since > sent.UnixNano():
			return Unknown, fmt.Sprintf("%s remembers only since %s", s.Name, clock(time.Unix(0, s.Answer.Since)))
		}
	}
	if !asked {
		return Unknown, "no " + roles[0] + " was asked"
	}
	return No, ""
}

// sent is a time before which nothing happened to the message; zero if nobody
// knows one.
func (t *Timeline) sent() time.Time {
	if t.Message.Created != 0 {
		return time.Unix(int64(t.Message.Created), 0)
	}
	for _, e := range t.Events {
		if e.Event == trace.Received {
			return e.Time
		}
	}
	return time.Time{}
}

// addPeople says of everybody in the conversation, but the sender, what he got.
func (t *Timeline) addPeople(sources []Source, dbErr error) {
	m := &t.Message
	for _, e := range t.Events {
		if m.From == 0 && e.Event == trace.Received {
			m.From = e.User
		}
	}
	silent, _ := t.absent(sources, clientRole)
	for _, user := range m.Users {
		if user == m.From {
			continue
		}
		p := Person{User: user, Name: m.Names[user], Delivered: silent, Confirmed: silent, Read: No}
		if dbErr != nil {
			p.Read = Unknown
		}
		for _, e := range t.Events {
			if e.User == user {
				p.take(&e)
			}
		}
		p.follow(m)
		t.People = append(t.People, p)
	}
}

// follow takes what the cursors say of a person.
func (p *Person) follow(m *dbproxy.MessageFacts) {
	for _, c := range m.Delivered {
		if c.User == p.User && c.Upto >= m.ID {
			p.Delivered, p.Confirmed = Yes, Yes
			p.at(c.Terminal)
		}
	}
	for _, c := range m.Read {
		if c.User != p.User {
			continue
		}
		if p.ReadUpto = c.Upto; c.Upto >= m.ID {
			p.Read = Yes
		}
	}
}

// take takes what an event says of a person.
func (p *Person) take(e *Event) {
	switch e.Event {
	case trace.Delivered:
		p.Delivered = Yes
		p.at(e.Terminal)
	case trace.Confirmed:
		p.Delivered, p.Confirmed = Yes, Yes
		p.at(e.Terminal)
	case trace.Read:
		p.Read = Yes
	default:
	}
}

func (p *Person) at(terminal string) {
	if terminal != "" && !slices.Contains(p.Terminals, terminal) {
		p.Terminals = append(p.Terminals, terminal)
	}
}
