package chat

import (
	"strings"
	"time"

	"github.com/charmbracelet/x/ansi"

	"teamtalk/cmd/teamtalk/internal/words"
	"teamtalk/internal/share"
)

// lull is how long a pause makes a sender be named again.
const lull = 5 * time.Minute

// line is one line of the shown conversation. Message and part name it, so
// that a place in the conversation survives new lines above and below.
type line struct {
	text string
	msg  *Message
	part int // of the message: its text from 0, what stands above it below 0
}

// wrapped is the text of a message cut into lines, and for which look.
type wrapped struct {
	width  int
	method ansi.Method
	status Status
	reason string
	lines  []string
}

// transcript turns a conversation into lines. It remembers how it wrapped each
// message, as only few change between two looks.
type transcript struct {
	key  Key
	memo map[*Message]wrapped
}

// lines returns the whole conversation in lines of at most width cells.
func (t *transcript) lines(m *Model, c *Conversation, method ansi.Method, width int) []line {
	if t.key != c.Key || t.memo == nil {
		t.key, t.memo = c.Key, make(map[*Message]wrapped)
	}
	messages := c.Messages()
	all := make([]line, 0, 2*len(messages)+1)
	all = append(all, line{text: t.top(m, c, method, width)})
	var before *Message
	for _, msg := range messages {
		newDay := before == nil || !sameDay(before.At, msg.At)
		if newDay {
			all = append(all, line{day(m.Lang, msg.At, method, width), msg, -2})
		}
		if newDay || before.From != msg.From || before.Mine != msg.Mine || msg.At.Sub(before.At) > lull {
			all = append(all, line{heading(m, msg, method, width), msg, -1})
		}
		for part, text := range t.wrap(m.Lang, msg, method, width) {
			all = append(all, line{text, msg, part})
		}
		before = msg
	}
	return all
}

// top returns the line above the oldest message.
func (t *transcript) top(m *Model, c *Conversation, method ansi.Method, width int) string {
	text := m.Lang.Say(words.LoadsOlder)
	switch {
	case c.Loading():
		text = m.Lang.Say(words.LoadingOlder)
	case c.Complete() || (c.Loaded() && c.oldest() == 1):
		text = m.Lang.Say(words.Beginning)
	}
	return paint(dim, centre(method, text, width))
}

// centre puts a text in the middle of a line.
func centre(method ansi.Method, text string, width int) string {
	return fit(method, strings.Repeat(" ", max(0, (width-method.StringWidth(text))/2))+text, width)
}

// sameDay reports whether two times fall on one local day.
func sameDay(a, b time.Time) bool {
	y1, m1, d1 := a.Local().Date()
	y2, m2, d2 := b.Local().Date()
	return y1 == y2 && m1 == m2 && d1 == d2
}

// day returns the separator before the first message of a day.
func day(l words.Lang, at time.Time, method ansi.Method, width int) string {
	text := at.Local().Format(l.Say(words.LongDate))
	if method.StringWidth(text) > width-4 {
		text = at.Local().Format(l.Say(words.ShortDate))
	}
	side := strings.Repeat("─", max(1, (width-method.StringWidth(text))/2))
	return paint(dim, method.Truncate(side+text+side, width, ""))
}

// heading returns the line with the sender and the time.
func heading(m *Model, msg *Message, method ansi.Method, width int) string {
	clock := msg.At.Local().Format("15:04")
	if msg.Mine {
		return paint(bold+";"+green, m.Lang.Say(words.You)) + "  " + paint(dim, clock)
	}
	name := method.Truncate(plainEmoji(method, cleanLine(m.Nick(msg.From))), max(1, width-len(clock)-2), "…")
	return paintName(msg.From, name) + "  " + paint(dim, clock)
}

// wrap returns the text of a message in lines, an own one with its mark.
func (t *transcript) wrap(l words.Lang, msg *Message, method ansi.Method, width int) []string {
	look := wrapped{width: width, method: method, status: msg.Status, reason: msg.Reason}
	if w, ok := t.memo[msg]; ok && w.same(look) {
		return w.lines
	}
	const indent = "  "
	inner := max(1, width-len(indent))
	lines := strings.Split(method.Wrap(plainEmoji(method, clean(readable(l, msg))), inner, ""), "\n")
	for i, text := range lines {
		// A character wider than the space there is cannot be wrapped.
		lines[i] = indent + method.Truncate(text, inner, "")
	}
	if msg.Mine {
		style, sign := mark(l, msg)
		lines = attach(lines, indent, style, sign, method, width)
	}
	if len(t.memo) > 2*maxKept {
		clear(t.memo) // most of it is of messages that were let go
	}
	look.lines = lines
	t.memo[msg] = look
	return lines
}

// readable returns the text of a message as people read it: the id of a file is
// for programs.
func readable(l words.Lang, msg *Message) string {
	if _, _, ok := share.ParseText(msg.Text); !ok {
		return msg.Text
	}
	text, _, _ := strings.Cut(msg.Text, "\n")
	if !msg.Mine {
		text = l.Say(words.GetFetches, text)
	}
	return "📎 " + text
}

// same reports whether two messages look the same apart from their text.
func (w wrapped) same(o wrapped) bool {
	return w.width == o.width && w.method == o.method && w.status == o.status && w.reason == o.reason
}

// mark returns the sign of how far an own message has come, and its style.
func mark(l words.Lang, msg *Message) (style, sign string) {
	switch msg.Status {
	case Pending:
		return dim, "…"
	case Failed:
		return red, l.Say(words.PressToRetry, cleanLine(msg.Reason))
	case Stored:
	}
	return green, "✓"
}

// attach puts a mark behind the last line, or on lines of its own.
func attach(lines []string, indent, style, mark string, method ansi.Method, width int) []string {
	last := len(lines) - 1
	if method.StringWidth(lines[last])+1+method.StringWidth(mark) <= width {
		lines[last] += " " + paint(style, mark)
		return lines
	}
	for text := range strings.SplitSeq(method.Wrap(mark, max(1, width-len(indent)), ""), "\n") {
		lines = append(lines, indent+paint(style, method.Truncate(text, max(1, width-len(indent)), "")))
	}
	return lines
}
