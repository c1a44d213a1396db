package notify

import (
	"context"
	"encoding/json"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"teamtalk/internal/im"
)

// What phones show. Source: docs/protocol/flows.md §15.
const (
	somethingCame = "您收到了一条消息"
	voiceInGroup  = "在群聊中发送了一条语音消息"
	voiceToYou    = "给您发送了一条语音消息"

	imageBegins = "&$#@~^@[{:" // around the URL of an image in a text; docs/protocol/wire.md §4
	imageEnds   = ":}]&$~@#@"

	maxFlash = 37 // bytes, before the dots
)

// flash is the line that a phone shows. An error means that the text cannot be
// read: then nobody is notified, as in the original.
func (n *Notifier) flash(ctx context.Context, m *Message) (string, error) {
	text := ""
	if !m.Type.Audio() {
		plain, err := n.texts.Decrypt(m.Data)
		if err != nil {
			return "", err
		}
		text = readable(plain)
		if _, rest, found := strings.Cut(text, imageBegins); found && strings.Contains(rest, imageEnds) {
			return somethingCame, nil
		}
	}
	nick, err := n.nick(ctx, m.From)
	if err != nil {
		return somethingCame, nil //nolint:nilerr // the name is not worth losing the notification
	}
	switch m.Type {
	case im.GroupAudio:
		return shorten(nick + voiceInGroup), nil
	case im.SingleAudio:
		return shorten(nick + voiceToYou), nil
	case im.SingleText, im.GroupText:
	}
	return shorten(nick + ":" + text), nil
}

// shorten cuts a line at a character. Source: docs/protocol/defects.md E4.
func shorten(line string) string {
	if len(line) <= maxFlash {
		return line
	}
	end := maxFlash
	for end > 0 && !utf8.RuneStart(line[end]) {
		end--
	}
	return line[:end] + "..."
}

// readable makes UTF-8 of what clients send. Android writes characters outside
// the basic plane as two surrogates of three bytes, and 0 as C0 80.
// Source: docs/protocol/wire.md §4.
func readable(text string) string {
	if utf8.ValidString(text) {
		return text
	}
	var out strings.Builder
	for i := 0; i < len(text); {
		if high, ok := surrogate(text[i:]); ok {
			if low, ok := surrogate(text[i+3:]); ok {
				if r := utf16.DecodeRune(high, low); r != utf8.RuneError {
					out.WriteRune(r)
					i += 6
					continue
				}
			}
			i += 3
			continue
		}
		r, size := utf8.DecodeRuneInString(text[i:])
		if r != utf8.RuneError || size > 1 {
			out.WriteRune(r)
		}
		i += size
	}
	return out.String()
}

// surrogate reads half a character in three bytes.
func surrogate(s string) (rune, bool) {
	if len(s) < 3 || s[0] != 0xed || s[1] < 0xa0 || s[2]&0xc0 != 0x80 {
		return 0, false
	}
	return rune(s[0]&0x0f)<<12 | rune(s[1]&0x3f)<<6 | rune(s[2]&0x3f), true
}

// data is what the app gets beside the line.
// Source: docs/protocol/flows.md §15.
func data(m *Message) string {
	custom := struct {
		Type  uint8  `json:"msg_type"`
		From  uint32 `json:"from_id"`
		Group uint32 `json:"group_id,omitempty"`
	}{uint8(m.Type), uint32(m.From), uint32(m.Conv.Group)}
	text, err := json.Marshal(custom)
	if err != nil {
		return "{}" // numbers always encode
	}
	return string(text)
}
