package chat

import (
	"bytes"
	"slices"
	"strings"
	"unicode"

	"github.com/charmbracelet/x/ansi"
)

// maxInput is the longest text in bytes that can be written at once.
const maxInput = 1 << 20

// maxSteps bounds the work per cell that is drawn: more is needed only where
// nearly nothing has a width.
const maxSteps = 50

// editor is a line of input. It moves by what people take for characters
// (grapheme clusters). A line break is part of the text and shown as a sign.
// The text has a gap at the cursor, so that typing costs the same in a long
// one.
type editor struct {
	buffer []byte // the text, but for buffer[cursor:after]
	cursor int    // byte offset in the text
	after  int    // where the text behind the cursor begins
	first  int    // byte offset of the leftmost cluster shown

	clusters clusters
}

func (e *editor) before() []byte { return e.buffer[:e.cursor] }

func (e *editor) behind() []byte { return e.buffer[e.after:] }

// size returns the length of the text in bytes.
func (e *editor) size() int { return len(e.buffer) - e.after + e.cursor }

// text returns what is written.
func (e *editor) text() string { return string(e.before()) + string(e.behind()) }

// begins reports whether the text begins with a prefix.
func (e *editor) begins(prefix string) bool {
	if e.cursor >= len(prefix) {
		return bytes.HasPrefix(e.before(), []byte(prefix))
	}
	return strings.HasPrefix(e.text(), prefix)
}

// clear empties the line.
func (e *editor) clear() { *e = editor{} }

// set replaces the line, with the cursor at its end.
func (e *editor) set(text string) {
	*e = editor{}
	e.insert(text)
}

// insert puts text at the cursor, without control characters. It reports
// whether there was room: what does not fit is not inserted at all.
func (e *editor) insert(text string) bool {
	text = typed(text)
	if e.size()+len(text) > maxInput {
		return false
	}
	if len(text) > e.after-e.cursor {
		e.widen(len(text))
	}
	e.cursor += copy(e.buffer[e.cursor:], text)
	return true
}

// widen makes the gap at least n bytes wide, and so much more that a text of
// single keys is copied only now and then.
func (e *editor) widen(n int) {
	behind := e.behind()
	wider := slices.Grow([]byte(nil), 2*e.size()+n)
	wider = wider[:cap(wider)]
	copy(wider, e.before())
	e.after = len(wider) - len(behind)
	copy(wider[e.after:], behind)
	e.buffer = wider
}

// typed returns a text as it can be in a message: without control characters,
// with the line breaks of Unix.
func typed(text string) string {
	if strings.ContainsRune(text, '\r') {
		text = strings.ReplaceAll(strings.ReplaceAll(text, "\r\n", "\n"), "\r", "\n")
	}
	return strings.Map(func(r rune) rune {
		if control(r) && r != '\n' && r != '\t' {
			return -1
		}
		return r
	}, text)
}

// move puts the cursor at a byte offset.
func (e *editor) move(to int) {
	if to < e.cursor {
		n := e.cursor - to
		copy(e.buffer[e.after-n:e.after], e.buffer[to:e.cursor])
		e.cursor, e.after = to, e.after-n
		return
	}
	n := copy(e.buffer[e.cursor:], e.buffer[e.after:e.after+to-e.cursor])
	e.cursor, e.after = to, e.after+n
}

// left and right return the offsets of the cluster borders beside the cursor.
func (e *editor) left() int { return e.cursor - e.clusters.previous(e.before()) }

func (e *editor) right() int { return e.cursor + e.clusters.next(e.behind()) }

// wordLeft returns the start of the word before the cursor.
func (e *editor) wordLeft() int {
	word := bytes.TrimRightFunc(e.before(), unicode.IsSpace)
	return bytes.LastIndexFunc(word, unicode.IsSpace) + 1
}

// wordRight returns the end of the word behind the cursor.
func (e *editor) wordRight() int {
	rest := bytes.TrimLeftFunc(e.behind(), unicode.IsSpace)
	if end := bytes.IndexFunc(rest, unicode.IsSpace); end >= 0 {
		rest = rest[end:]
	} else {
		rest = nil
	}
	return e.size() - len(rest)
}

// remove cuts the text from the cursor to an offset on either side.
func (e *editor) remove(to int) {
	if to < e.cursor {
		e.cursor = to
	} else {
		e.after += to - e.cursor
	}
}

// key takes a key and reports whether it was one of the line's.
func (e *editor) key(key string) bool {
	switch key {
	case "left", "ctrl+b":
		e.move(e.left())
	case "right", "ctrl+f":
		e.move(e.right())
	case "home", "ctrl+a":
		e.move(0)
	case "end", "ctrl+e":
		e.move(e.size())
	case "ctrl+left", "alt+left", "alt+b":
		e.move(e.wordLeft())
	case "ctrl+right", "alt+right", "alt+f":
		e.move(e.wordRight())
	case "backspace", "ctrl+h":
		e.remove(e.left())
	case "delete", "ctrl+d":
		e.remove(e.right())
	case "ctrl+w", "alt+backspace":
		e.remove(e.wordLeft())
	case "ctrl+u":
		e.remove(0)
	case "ctrl+k":
		e.remove(e.size())
	default:
		return false
	}
	return true
}

// view returns the part of the line that fits width cells, around the cursor,
// and the cursor's column. Only what is near the cursor is looked at.
func (e *editor) view(method ansi.Method, width int) (shown string, column int) {
	head, tail := e.before(), e.behind()
	first, room := e.first, width
	if first >= len(head) {
		first, room = 0, width/2 // what stands before the cursor comes back into sight
	}
	start := len(head)
	begin, most := e.clusters.steps, maxSteps*width
	for start > first && e.clusters.steps-begin < most {
		n := e.clusters.previous(head[:start])
		cells := method.StringWidth(display(method, head[start-n:start]))
		if column+cells >= room {
			break
		}
		column += cells
		start -= n
	}
	e.first = start
	var b strings.Builder
	for at := start; at < len(head); {
		n := e.clusters.next(head[at:])
		b.WriteString(display(method, head[at:at+n]))
		at += n
	}
	for cells := column; len(tail) > 0 && cells < width; {
		n := e.clusters.next(tail)
		text := display(method, tail[:n])
		b.WriteString(text)
		cells += max(1, method.StringWidth(text))
		tail = tail[n:]
	}
	return method.Truncate(b.String(), width, ""), column
}

// display returns how a cluster is shown on one line.
func display(method ansi.Method, cluster []byte) string {
	switch text := string(cluster); text {
	case "\n":
		return "⏎"
	case "\t":
		return " "
	default:
		return plainEmoji(method, text)
	}
}
