package chat

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"teamtalk/client/textcrypt"
)

// maxText is the longest text in bytes that one message holds.
const maxText = textcrypt.MaxPlain

// split cuts a text into texts of messages that each fit limit bytes: where a
// line ends if that leaves at least half a message, else behind a word, else
// between two characters. Nothing is lost: one line break at a cut becomes the
// border of two messages, everything else stays.
func split(text string, limit int) []string {
	var parts []string
	for len(text) > limit {
		n := within(text, limit)
		switch line, word := strings.LastIndexByte(text[:n+1], '\n'), lastSpace(text[:n]); {
		case line >= limit/2:
			parts, text = append(parts, text[:line]), text[line+1:]
			continue
		case word >= limit/2:
			n = word
		default:
			n = border(text, n)
		}
		parts, text = append(parts, text[:n]), text[n:]
	}
	if text != "" {
		parts = append(parts, text)
	}
	return parts
}

// lastSpace returns the offset behind the last white space, 0 if there is none.
func lastSpace(text string) int {
	at := strings.LastIndexFunc(text, unicode.IsSpace)
	if at < 0 {
		return 0
	}
	_, size := utf8.DecodeRuneInString(text[at:])
	return at + size
}

// border returns the last border of two clusters in text[:n], which is not the
// whole text; n if one cluster is that long.
func border(text string, n int) int {
	var c clusters
	end := within(text, n+maxCluster)
	last := c.border([]byte(text[:n]))
	for at := last; at <= n; at += c.next([]byte(text[at:end])) {
		last = at
	}
	if last == 0 {
		return n
	}
	return last
}
