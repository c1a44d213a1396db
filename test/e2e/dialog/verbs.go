package dialog

import (
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"strings"

	"teamtalk/internal/wire"
)

// verb is something a terminal can do.
type verb func(p *Player, t *terminal, args []word) error

// verbs are all of them, by their one or two words.
var verbs = join(plainVerbs, accountVerbs, messageVerbs, historyVerbs, groupVerbs)

// decoders are all PDUs a client understands.
var decoders = join(accountDecoders, messageDecoders, historyDecoders, groupDecoders)

func join[K comparable, V any](tables ...map[K]V) map[K]V {
	all := make(map[K]V)
	for _, t := range tables {
		maps.Copy(all, t)
	}
	return all
}

// plainVerbs concern the connection and single PDUs.
var plainVerbs = map[string]verb{
	// connect: the connection is open already.
	"connect": func(*Player, *terminal, []word) error { return nil },

	// hang up: close the connection, as PC clients leave.
	"hang up": func(_ *Player, t *terminal, _ []word) error {
		t.close()
		return nil
	},

	// stop reading, go on reading: a peer whose buffers fill up.
	"stop reading": func(_ *Player, t *terminal, _ []word) error {
		t.inbox.pause()
		return nil
	},
	"go on": func(_ *Player, t *terminal, _ []word) error {
		t.inbox.resume()
		return nil
	},

	// forget: close, and do not check what is left over.
	"forget": func(_ *Player, t *terminal, _ []word) error {
		t.forgotten = true
		t.close()
		return nil
	},

	// bytes HEX...: bytes as they are.
	"bytes": func(_ *Player, t *terminal, args []word) error {
		data, err := hexOf(args)
		if err != nil {
			return err
		}
		if len(data) >= wire.HeaderSize && data[10] == 0x07 && data[11] == 0x01 {
			t.heartbeat = data
		}
		return t.write(data)
	},

	// pdu 0x0735 HEX...: any command with any body, and a seq of its own.
	"pdu": func(_ *Player, t *terminal, args []word) error {
		if len(args) == 0 {
			return errors.New("pdu COMMAND [HEX]")
		}
		command, err := strconv.ParseUint(args[0].text, 0, 16)
		if err != nil {
			return err
		}
		body, err := hexOf(args[1:])
		if err != nil {
			return err
		}
		_, err = t.sendBody(wire.Command(command), body, 0, "")
		return err
	},

	// heartbeat: one with the header of this client type.
	"heartbeat": func(_ *Player, t *terminal, _ []word) error {
		_, err := t.sendBody(wire.Heartbeat, nil, 0, "")
		t.heartbeat = t.lastPDU
		return err
	},

	// repeat: the last PDU once more, byte for byte.
	"repeat": func(_ *Player, t *terminal, _ []word) error { return t.repeat() },

	// repeat hastily: the same before the answer is there; one answer may do for
	// both.
	"repeat hastily": func(_ *Player, t *terminal, _ []word) error {
		for _, r := range t.pending {
			r.quiet = r.quiet || r.want == wire.MsgDataAck
		}
		return t.repeat()
	},
}

// hexOf decodes hex digits, with blanks anywhere.
func hexOf(args []word) ([]byte, error) {
	var digits strings.Builder
	for _, a := range args {
		digits.WriteString(a.text)
	}
	return hex.DecodeString(digits.String())
}

// number parses a number that fits a field.
func number(w word) (uint32, error) {
	n, err := strconv.ParseUint(w.text, 10, 32)
	if err != nil {
		return 0, fmt.Errorf("%q is no number", w.text)
	}
	return uint32(n), nil
}

// named parses pairs of a name and a value, such as "from 5 count 10".
func named(args []word, allowed ...string) (map[string]word, error) {
	values := make(map[string]word)
	for len(args) > 0 {
		ok := false
		for _, name := range allowed {
			ok = ok || name == args[0].text
		}
		if !ok || len(args) < 2 {
			return nil, fmt.Errorf("%q: only %s, each with a value", args[0].text, strings.Join(allowed, ", "))
		}
		values[args[0].text] = args[1]
		args = args[2:]
	}
	return values, nil
}

// numberOr returns a named number or, when it is not given, what it is then.
func numberOr(values map[string]word, name string, otherwise uint32) (uint32, error) {
	w, ok := values[name]
	if !ok {
		return otherwise, nil
	}
	return number(w)
}
