package bench

import "time"

// stamp is what the text of a message says about it; the checks need no other
// memory of what was sent.
type stamp struct {
	run  uint32        // tells this run from earlier ones
	flow uint32        // index of the sender
	seq  uint32        // 0, 1, 2 … per sender
	at   time.Duration // intended send time since the start of the run
}

// stampSize is the length in bytes of a stamp in a text: hexadecimal digits of
// the four fields and a space.
const stampSize = 8 + 8 + 8 + 16 + 1

const hexDigits = "0123456789abcdef"

// appendText appends a text of size bytes that begins with the stamp.
func (s stamp) appendText(dst []byte, size int) []byte {
	start := len(dst)
	dst = appendHex(dst, uint64(s.run), 8)
	dst = appendHex(dst, uint64(s.flow), 8)
	dst = appendHex(dst, uint64(s.seq), 8)
	dst = appendHex(dst, uint64(s.at), 16)
	dst = append(dst, ' ')
	for len(dst)-start < size {
		dst = append(dst, '.')
	}
	return dst
}

// appendHex appends the low digits of n.
func appendHex(dst []byte, n uint64, digits int) []byte {
	for shift := 4 * (digits - 1); shift >= 0; shift -= 4 {
		dst = append(dst, hexDigits[n>>shift&15])
	}
	return dst
}

// parseStamp reads the stamp of a text; ok is false for a text of somebody
// else.
func parseStamp(text []byte) (s stamp, ok bool) {
	if len(text) < stampSize || text[stampSize-1] != ' ' {
		return stamp{}, false
	}
	run, ok1 := parseHex(text[0:8])
	flow, ok2 := parseHex(text[8:16])
	seq, ok3 := parseHex(text[16:24])
	at, ok4 := parseHex(text[24:40])
	return stamp{uint32(run), uint32(flow), uint32(seq), time.Duration(at)}, ok1 && ok2 && ok3 && ok4
}

// parseHex reads lowercase hexadecimal digits.
func parseHex(text []byte) (n uint64, ok bool) {
	for _, b := range text {
		switch {
		case b >= '0' && b <= '9':
			n = n<<4 | uint64(b-'0')
		case b >= 'a' && b <= 'f':
			n = n<<4 | uint64(b-'a'+10)
		default:
			return 0, false
		}
	}
	return n, true
}
