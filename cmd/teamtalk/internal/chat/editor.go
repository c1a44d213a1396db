package chat

import (
	"strings"
	"unicode"

	"github.com/charmbracelet/x/ansi"
	"github.com/rivo/uniseg"

	"teamtalk/client/textcrypt"
)

// editor is a line of input. It moves by what people take for characters
// (grapheme clusters). A line break is part of the text and shown as a sign.
type editor struct {
	text   string
	cursor int // byte offset, at the start of a cluster or the end
	first  int // byte offset of the leftmost cluster shown
}

// clear empties the line and returns what was in it.
func (e *editor) clear() string {
	text := e.text
	*e = editor{}
	return text
}

// insert puts text at the cursor, without control characters. It reports
// whether there was room for all of it: a message is at most
// textcrypt.MaxPlain bytes.
func (e *editor) insert(text string) bool {
	text = strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(text)
	text = strings.Map(func(r rune) rune {
		if control(r) && r != '\n' && r != '\t' {
			return -1
		}
		return r
	}, text)
	room := textcrypt.MaxPlain - len(e.text)
	fits := len(text) <= room
	for !fits && len(text) > room {
		text = text[:previous(text, len(text))]
	}
	e.text = e.text[:e.cursor] + text + e.text[e.cursor:]
	e.cursor += len(text)
	return fits
}

// previous returns the start of the cluster before at.
func previous(text string, at int) int {
	last := 0
	for pos := 0; pos < at; {
		cluster, _, _, _ := uniseg.FirstGraphemeClusterInString(text[pos:], -1)
		last = pos
		pos += len(cluster)
	}
	return last
}

// next returns the end of the cluster that begins at at.
func next(text string, at int) int {
	cluster, _, _, _ := uniseg.FirstGraphemeClusterInString(text[at:], -1)
	return at + len(cluster)
}

// wordLeft returns the start of the word before at.
func wordLeft(text string, at int) int {
	before := strings.TrimRightFunc(text[:at], unicode.IsSpace)
	return strings.LastIndexFunc(before, unicode.IsSpace) + 1
}

// wordRight returns the end of the word after at.
func wordRight(text string, at int) int {
	rest := strings.TrimLeftFunc(text[at:], unicode.IsSpace)
	at = len(text) - len(rest)
	if end := strings.IndexFunc(rest, unicode.IsSpace); end >= 0 {
		return at + end
	}
	return len(text)
}

// remove cuts text[from:to] and leaves the cursor there.
func (e *editor) remove(from, to int) {
	e.text = e.text[:from] + e.text[to:]
	e.cursor = from
}

// key takes a key and reports whether it was one of the line's.
func (e *editor) key(key string) bool {
	switch key {
	case "left", "ctrl+b":
		e.cursor = previous(e.text, e.cursor)
	case "right", "ctrl+f":
		e.cursor = next(e.text, e.cursor)
	case "home", "ctrl+a":
		e.cursor = 0
	case "end", "ctrl+e":
		e.cursor = len(e.text)
	case "ctrl+left", "alt+left", "alt+b":
		e.cursor = wordLeft(e.text, e.cursor)
	case "ctrl+right", "alt+right", "alt+f":
		e.cursor = wordRight(e.text, e.cursor)
	case "backspace", "ctrl+h":
		e.remove(previous(e.text, e.cursor), e.cursor)
	case "delete", "ctrl+d":
		e.remove(e.cursor, next(e.text, e.cursor))
	case "ctrl+w", "alt+backspace":
		e.remove(wordLeft(e.text, e.cursor), e.cursor)
	case "ctrl+u":
		e.remove(0, e.cursor)
	case "ctrl+k":
		e.remove(e.cursor, len(e.text))
	default:
		return false
	}
	return true
}

// view returns the part of the line that fits width cells, around the cursor,
// and the cursor's column.
func (e *editor) view(method ansi.Method, width int) (shown string, column int) {
	e.first = min(e.first, e.cursor)
	for method.StringWidth(display(method, e.text[e.first:e.cursor])) >= width && e.first < e.cursor {
		e.first = next(e.text, e.first)
	}
	column = method.StringWidth(display(method, e.text[e.first:e.cursor]))
	return method.Truncate(display(method, e.text[e.first:]), width, ""), column
}

// display returns how a text is shown on one line.
func display(method ansi.Method, text string) string {
	text = plainEmoji(method, text)
	if !strings.ContainsAny(text, "\n\t") {
		return text
	}
	return strings.NewReplacer("\n", "⏎", "\t", " ").Replace(text)
}
