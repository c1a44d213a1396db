package chat

import (
	"strings"
	"unicode/utf8"

	"github.com/charmbracelet/x/ansi"
	"github.com/rivo/uniseg"

	"teamtalk/internal/im"
)

// The styles, as parameters of SGR. The sixteen basic colours follow the
// theme of the terminal.
const (
	dim     = "2"
	bold    = "1"
	reverse = "7"
	green   = "32"
	red     = "31"
	yellow  = "33"
)

// nameColours are given to people by their ids.
var nameColours = [...]string{"36", "35", "34", "33", "96", "95", "94", "93"}

// paint gives a text a style.
func paint(style, text string) string {
	if text == "" {
		return ""
	}
	return "\x1b[" + style + "m" + text + "\x1b[m"
}

// paintName gives a person's name their colour.
func paintName(id im.UserID, name string) string {
	return paint(bold+";"+nameColours[int(id)%len(nameColours)], name)
}

// clean takes from a text what a terminal would obey instead of showing it.
// Line breaks stay.
func clean(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n':
			return r
		case r == '\t':
			return ' '
		case control(r):
			return '·'
		case r >= 0x202a && r <= 0x202e, r >= 0x2066 && r <= 0x2069: // change the direction of what follows
			return -1
		}
		return r
	}, text)
}

// cleanLine is clean for what must stay on one line.
func cleanLine(text string) string { return strings.ReplaceAll(clean(text), "\n", " ") }

// plainEmoji reduces emoji made of several characters to their first one, and
// flags to letters, for terminals that do not say that they measure clusters:
// no two of them give such emoji the same width, and a wrong guess shifts the
// rest of the line.
func plainEmoji(method ansi.Method, text string) string {
	if method == ansi.GraphemeWidth || strings.IndexFunc(text, joins) < 0 {
		return text
	}
	var b strings.Builder
	for text != "" {
		var cluster string
		cluster, text, _, _ = uniseg.FirstGraphemeClusterInString(text, -1)
		first, size := utf8.DecodeRuneInString(cluster)
		switch {
		case strings.IndexFunc(cluster, joins) < 0:
			b.WriteString(cluster)
		case regional(first):
			for _, r := range cluster {
				b.WriteRune(r - firstRegional + 'A')
			}
		default:
			b.WriteString(cluster[:size])
		}
	}
	return b.String()
}

// The regional indicators, two of which make a flag.
const firstRegional, lastRegional = 0x1f1e6, 0x1f1ff

// regional reports whether a character is half a flag.
func regional(r rune) bool { return r >= firstRegional && r <= lastRegional }

// joins reports whether a character makes one emoji of several characters.
func joins(r rune) bool {
	const joiner, emojiStyle = 0x200d, 0xfe0f
	return r == joiner || r == emojiStyle || (r >= 0x1f3fb && r <= 0x1f3ff) || regional(r)
}

// fit makes a text exactly width cells wide.
func fit(method ansi.Method, text string, width int) string {
	if width <= 0 {
		return ""
	}
	text = method.Truncate(plainEmoji(method, text), width, "…")
	return text + strings.Repeat(" ", max(0, width-method.StringWidth(text)))
}

// ends puts one text at each end of a line of width cells; the right one gives
// way.
func ends(method ansi.Method, left, right string, width int) string {
	left, right = plainEmoji(method, left), plainEmoji(method, right)
	space := width - method.StringWidth(left) - method.StringWidth(right)
	if space < 1 {
		return fit(method, left, width)
	}
	return left + strings.Repeat(" ", space) + right
}
