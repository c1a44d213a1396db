package timeline

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"teamtalk/internal/im"
	"teamtalk/internal/trace"
)

// maxPeople is how many receivers are printed; JSON has all.
const maxPeople = 50

// Print writes a timeline for people, times in their zone.
func (t *Timeline) Print(out io.Writer) error {
	var b strings.Builder
	if len(t.Places) > 0 {
		t.printPlaces(&b)
	} else {
		t.printHead(&b)
	}
	if t.Found() {
		t.printEvents(&b)
		t.printPeople(&b)
	}
	for _, r := range t.Roles {
		if r.Error != "" {
			fmt.Fprintf(&b, "\n%s: %s\n", r.Name, r.Error)
		}
	}
	_, err := io.WriteString(out, b.String())
	return err
}

// printEvents prints what happened, and then what did not or is not known.
func (t *Timeline) printEvents(b *strings.Builder) {
	b.WriteByte('\n')
	w := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	for _, e := range t.Events {
		fmt.Fprintf(w, "%s\t%s\t%v\t%s\n", clock(e.Time), e.By, e.Event, e.words())
	}
	for _, s := range t.Stages {
		switch {
		case s.State == Unknown:
			fmt.Fprintf(w, "?\t?\t%s\tunknown: %s\n", s.Stage, s.Why)
		case s.State == No:
			fmt.Fprintf(w, "-\t-\t%s\tno\n", s.Stage)
		case !t.has(func(e *Event) bool { return stageOf(e.Event) == s.Stage }):
			fmt.Fprintf(w, "%s\tdatabase\t%s\tthe row is there\n", date(t.Message.Created), s.Stage)
		}
	}
	_ = w.Flush() // into b
}

// stageOf is the step that an event belongs to, as addStages names it.
func stageOf(e trace.Event) string {
	switch e {
	case trace.Repeated:
		return trace.Committed.String()
	case trace.Arrived:
		return trace.Relayed.String()
	default:
		return e.String()
	}
}

// printPlaces lists the messages of a client_msg_id.
func (t *Timeline) printPlaces(b *strings.Builder) {
	fmt.Fprintf(b, "%d messages have this client_msg_id; name one with --from and --to, or --group:\n", len(t.Places))
	for _, p := range t.Places {
		number := "not stored"
		if p.ID != 0 {
			number = fmt.Sprintf("message %d", p.ID)
		}
		fmt.Fprintf(b, "%s\t%s\tfrom user %d\n", p.Conversation, number, p.From)
	}
}

func (t *Timeline) printHead(b *strings.Builder) {
	m := &t.Message
	switch {
	case m.Conversation == "" && m.OperationID == "":
		b.WriteString("a message of this client_msg_id")
	case m.Conversation == "":
		fmt.Fprintf(b, "operation %s", m.OperationID)
	case m.ID == 0:
		fmt.Fprintf(b, "%s, a message without a number", m.Conversation)
	default:
		fmt.Fprintf(b, "%s message %d", m.Conversation, m.ID)
	}
	if m.GroupName != "" {
		fmt.Fprintf(b, " in %s", m.GroupName)
	}
	switch {
	case t.Database != "":
		fmt.Fprintf(b, "\nthe database was not asked: %s\n", t.Database)
		return
	case !m.Stored:
		b.WriteString("\nnot stored")
		if m.Conversation != "" {
			fmt.Fprintf(b, "; the newest message is %d", m.Newest)
		}
		b.WriteByte('\n')
		return
	}
	what := "text"
	if im.MsgType(m.Type).Audio() {
		what = "voice"
	}
	fmt.Fprintf(b, ", %s from %s", what, person(m.From, m.Names[m.From]))
	fmt.Fprintf(b, "\nstored %s", date(m.Created))
	if m.OperationID != "" {
		fmt.Fprintf(b, ", operation %s", m.OperationID)
	}
	if m.Hidden {
		b.WriteString(", hidden from clients")
	}
	if m.Newest > m.ID {
		fmt.Fprintf(b, "; %s since", count(int(m.Newest-m.ID), "message"))
	}
	b.WriteByte('\n')
}

// words says where an event happened, and its detail.
func (e *Event) words() string {
	var parts []string
	if e.User != 0 {
		text := person(e.User, e.Name)
		if e.Terminal != "" {
			text += " on " + e.Terminal
		}
		if e.Conn != 0 {
			text += fmt.Sprintf(", connection %d", e.Conn)
		}
		parts = append(parts, text)
	}
	if e.Note != "" {
		parts = append(parts, e.Note)
	}
	return strings.Join(parts, "; ")
}

func (t *Timeline) printPeople(b *strings.Builder) {
	if len(t.People) > 0 {
		b.WriteByte('\n')
	}
	w := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	for i, p := range t.People {
		if i == maxPeople {
			fmt.Fprintf(w, "and %d more: see --json\n", len(t.People)-maxPeople)
			break
		}
		read := string(p.Read)
		if p.ReadUpto > 0 {
			read += fmt.Sprintf(" (cursor %d)", p.ReadUpto)
		}
		fmt.Fprintf(w, "%s\tdelivered %s\tconfirmed %s\tread %s\t%s\n",
			person(p.User, p.Name), p.Delivered, p.Confirmed, read, strings.Join(p.Terminals, ", "))
	}
	_ = w.Flush() // into b
}

func person(id uint32, name string) string {
	if name == "" {
		return fmt.Sprintf("user %d", id)
	}
	return fmt.Sprintf("%s (%d)", name, id)
}

func clock(t time.Time) string { return t.Local().Format("15:04:05.000000") }

func date(seconds uint32) string { return time.Unix(int64(seconds), 0).Local().Format(time.DateTime) }
