package notify

import (
	"testing"

	"teamtalk/internal/im"
)

func TestShorten(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]string{
		"":             "",
		"bob:short":    "bob:short",
		"bob:" + x(33): "bob:" + x(33), // 37 bytes
		"bob:" + x(34): "bob:" + x(33) + "...",
		"b:我们明天早上九点在办公室开会":  "b:我们明天早上九点在办公...", // 2 + 11 x 3 = 35, a twelfth would be cut
		"bob:👍👍👍👍👍👍👍👍👍":     "bob:👍👍👍👍👍👍👍👍...",
		"我们明天早上九点在办公室开会议吧我": "我们明天早上九点在办公室...",
	} {
		if got := shorten(line); got != want {
			t.Errorf("%q: %q, want %q", line, got, want)
		}
	}
}

// x returns a text of n bytes.
func x(n int) string {
	text := make([]byte, n)
	for i := range text {
		text[i] = 'x'
	}
	return string(text)
}

func TestReadable(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"plain":                             "plain",
		"你好 👍":                              "你好 👍",
		"thumb \xed\xa0\xbd\xed\xb1\x8d up": "thumb 👍 up", // as Android writes it
		"half \xed\xa0\xbd of one":          "half  of one",
		"\xed\xb1\x8d\xed\xa0\xbd":          "",
		"zero \xc0\x80 here":                "zero  here",
		"cut \xe4\xbd":                      "cut ",
		"\xed\xa0":                          "",
	} {
		if got := readable(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func TestData(t *testing.T) {
	t.Parallel()
	for want, m := range map[string]*Message{
		`{"msg_type":1,"from_id":3}`:               {From: 3, Conv: im.SingleOf(3, 4), Type: im.SingleText},
		`{"msg_type":18,"from_id":3,"group_id":9}`: {From: 3, Conv: im.GroupOf(9), Type: im.GroupAudio},
	} {
		if got := data(m); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}
