package chat

import (
	"unicode"
	"unicode/utf8"

	"github.com/rivo/uniseg"
)

// clusters finds the borders of grapheme clusters, what people take for
// characters, near a place in a text. The cost of a step depends on what stands
// there, never on the length of the text.
type clusters struct {
	steps int // clusters and characters looked at, for tests
}

// maxCluster bounds a cluster in bytes: nobody reads a letter with hundreds of
// marks, and it must not make every key slow.
const maxCluster = 512

// next returns the length of the first cluster of a text, 0 if it is empty.
func (c *clusters) next(text []byte) int {
	c.steps++
	cluster, _, _, _ := uniseg.FirstGraphemeCluster(text[:within(text, maxCluster)], -1)
	return len(cluster)
}

// previous returns the length of the last cluster of a text, 0 if it is empty.
func (c *clusters) previous(text []byte) int {
	text = text[c.border(text):]
	last := 0
	for len(text) > 0 {
		last = c.next(text)
		text = text[last:]
	}
	return last
}

// border returns a place before the last cluster of a text that surely is a
// border.
func (c *clusters) border(text []byte) int {
	at := len(text)
	right, size := utf8.DecodeLastRune(text)
	for at > 0 && len(text)-at < maxCluster {
		at -= size
		c.steps++
		var left rune
		left, size = utf8.DecodeLastRune(text[:at])
		if alone(right) && (alone(left) || closes(left)) && (left != '\r' || right != '\n') {
			return at
		}
		right = left
	}
	return at
}

// alone reports whether a character makes no cluster with another one of which
// the same is true. It knows fewer than there are.
func alone(r rune) bool {
	switch {
	case r < 0x300: // CR LF is the one exception
		return true
	case unicode.In(r, unicode.M, unicode.Cf), joins(r):
		return false
	case r >= 0x1100 && r <= 0x11ff, r >= 0xa960 && r <= 0xa97f, r >= 0xd7b0 && r <= 0xd7ff: // parts of Hangul syllables
		return false
	case r == 0xe33, r == 0xeb3, r == 0xff9e, r == 0xff9f: // letters by name, marks by use
		return false
	case r == 0xd4e, r >= 0x11000 && r <= 0x11fff: // letters that join the next one
		return false
	}
	return true
}

// closes reports whether a character belongs to the one before it and never to
// one after it that is alone.
func closes(r rune) bool {
	const emojiStyle = 0xfe0f
	return r >= 0x300 && r <= 0x36f || r >= 0x1f3fb && r <= 0x1f3ff || r == emojiStyle
}

// within returns the length of the longest start of a text that has at most
// limit bytes and no part of a character.
func within[T string | []byte](text T, limit int) int {
	if len(text) <= limit {
		return len(text)
	}
	for at := limit; at > limit-utf8.UTFMax; at-- {
		if utf8.RuneStart(text[at]) {
			return at
		}
	}
	return limit // not UTF-8
}
