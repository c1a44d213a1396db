package chat

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"
	"github.com/rivo/uniseg"

	"teamtalk/client"
)

// longTexts are texts of n characters that make an editor work.
func longTexts(n int) map[string]string {
	return map[string]string{
		"ascii": strings.Repeat("a", n), "words": strings.Repeat("word ", n/5), "wide": strings.Repeat("世界", n/2),
		"combining": strings.Repeat("e\u0301", n/2), "emoji": strings.Repeat("👩‍👩‍👧", n/5), "flags": strings.Repeat("🇩🇪", n/2),
		"lines": strings.Repeat("line\n", n/5), "one cluster": "a" + strings.Repeat("\u0301", n), "hangul": strings.Repeat("한국", n/2),
	}
}

// The work per key and per drawing depends on what is near the cursor, not on
// how much is written, wherever the cursor is.
func TestLongInputCostsNoMore(t *testing.T) {
	t.Parallel()
	const width, limit = 60, 100 * 60
	for name, text := range longTexts(100_000) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, method := range []ansi.Method{ansi.WcWidth, ansi.GraphemeWidth} {
				var e editor
				if !e.insert(text) || e.text() != text {
					t.Fatal("not inserted")
				}
				for _, key := range []string{"", "left", "left", "backspace", "home", "right", "delete", "end", "ctrl+left", "ctrl+right"} {
					e.clusters.steps = 0
					if key != "" {
						e.key(key)
					}
					shown, column := e.view(method, width)
					if e.clusters.steps > limit {
						t.Errorf("%q: %d steps", key, e.clusters.steps)
					}
					if method.StringWidth(shown) > width || column >= width {
						t.Errorf("%q: cursor at %d in %q", key, column, shown)
					}
				}
			}
		})
	}
}

// A terminal that pastes as keys is drawn once a frame, and each key costs
// little.
func TestPasteAsKeys(t *testing.T) {
	t.Parallel()
	s := newTestScreen(t, 80, 24)
	press(s, "enter")
	now := time.Unix(0, 0)
	p := &paced{screen: s, now: func() time.Time { return now }}
	p.View()
	drawn := s.input.clusters.steps
	for range 10_000 {
		p.Update(tea.KeyPressMsg{Code: '世', Text: "世"})
		p.View()
	}
	if s.input.clusters.steps != drawn || s.input.size() != 30_000 {
		t.Errorf("%d steps for %d bytes without a frame", s.input.clusters.steps-drawn, s.input.size())
	}
	p.Update(frameEnd{})
	if text := ansi.Strip(p.View().Content); !strings.Contains(text, "世世世世") || !strings.Contains(text, "10,000 characters: 10 messages") {
		t.Errorf("the last frame is not drawn:\n%s", text)
	}
	if s.input.clusters.steps-drawn > 10_000 {
		t.Errorf("%d steps for one drawing", s.input.clusters.steps-drawn)
	}
	now = now.Add(time.Second)
	p.Update(tea.KeyPressMsg{Code: 'x', Text: "x"})
	if p.View(); p.owed || !strings.Contains(ansi.Strip(p.View().Content), "世x") {
		t.Error("a key after a pause waits")
	}
}

// previous agrees with a segmentation from the start, as far as people write.
func TestPreviousCluster(t *testing.T) {
	t.Parallel()
	parts := slices.Concat(nasty, []string{
		"\r\n", "\n", " ", "e\u0301", "🇩🇪", "🇩", "👍🏽", "한국", "ᄒ", "ᅡ", "ᆫ", "นำ", "ﾊﾟ", "क्ष", "1️⃣", "\u200d", "👩", "世", "a",
	})
	random := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		var some []string
		for range 1 + random.IntN(8) {
			some = append(some, parts[random.IntN(len(parts))])
		}
		text := strings.Join(some, "")
		var c clusters
		want := []int{}
		for state, rest := -1, text; rest != ""; {
			var cluster string
			cluster, rest, _, state = uniseg.FirstGraphemeClusterInString(rest, state)
			want = append(want, len(text)-len(rest)-len(cluster))
		}
		at := len(text)
		for _, start := range slices.Backward(want) {
			if at -= c.previous([]byte(text[:at])); at != start {
				t.Fatalf("%q: border at %d, want %d", text, at, start)
			}
		}
	}
}

// Nothing is lost and nothing is torn, and the cost grows with the text only.
func TestSplit(t *testing.T) {
	t.Parallel()
	texts := longTexts(20_000)
	delete(texts, "one cluster")
	for name, text := range texts {
		parts := split(text, maxText)
		if got := strings.Join(parts, ""); got != text && strings.Join(parts, "\n") != text {
			t.Errorf("%s: %d bytes became %d", name, len(text), len(got))
		}
		for i, part := range parts {
			if part == "" || len(part) > maxText || !utf8.ValidString(part) || i+1 < len(parts) && len(part) < maxText/2 {
				t.Errorf("%s: part %d has %d bytes", name, i, len(part))
			}
		}
	}
	for text, want := range map[string][]string{
		"":                             nil,
		"one two three":                {"one two ", "three"},
		"one\ntwo three":               {"one\ntwo ", "three"},
		"onetwothreefour":              {"onetwothre", "efour"},
		"one two\nthree four":          {"one two", "three four"},
		"e\u0301e\u0301e\u0301e\u0301": {"e\u0301e\u0301e\u0301", "e\u0301"},
		"0123456789\nx":                {"0123456789", "x"},
		"01234567🇩🇪🇩🇪":                 {"01234567", "🇩🇪", "🇩🇪"},
		"\n\n\n\n\n\n\n\n\n\n\n":       {"\n\n\n\n\n\n\n\n\n\n"},
	} {
		if got := split(text, 10); !slices.Equal(got, want) {
			t.Errorf("%q is cut into %q, want %q", text, got, want)
		}
	}
	if parts := split("a"+strings.Repeat("\u0301", 5000), maxText); len(parts) != 4 {
		t.Errorf("a cluster that fits no message becomes %d parts", len(parts))
	}
}

// A text that no message holds is not sent before the user has said how.
func TestAsksAboutLongText(t *testing.T) {
	t.Parallel()
	text := strings.Repeat("ten chars ", 1000)
	asked := func(files bool) *screen {
		s := newTestScreen(t, 80, 24)
		s.Update(happened{StateChanged{State: client.Online, Addr: "a:1", Me: meID, Safe: true, Files: files}})
		s.Update(happened{Synced{}})
		press(s, "enter")
		s.Update(tea.PasteMsg{Content: text})
		press(s, "enter")
		if n := len(s.model.Conversation(bob).outbox); n != 0 || s.long == nil {
			t.Fatalf("%d messages are sent at once", n)
		}
		return s
	}
	s := asked(true)
	if text := shown(s); !strings.Contains(text, "10,000 characters fit no single message") || !strings.Contains(text, "f: send as a file") {
		t.Errorf("asks\n%s", text)
	}
	press(s, "esc")
	if s.long != nil || s.input.text() != text {
		t.Error("the text is gone")
	}
	press(s, "enter", "enter")
	var sent strings.Builder
	for _, m := range s.model.Conversation(bob).outbox {
		sent.WriteString(m.Text)
	}
	if sent.String() != text || s.input.size() != 0 {
		t.Errorf("%d bytes sent, %d left", sent.Len(), s.input.size())
	}
	s = asked(false)
	if strings.Contains(shown(s), "as a file") {
		t.Error("a file is offered to a server without files")
	}
	press(s, "f")
	if s.long == nil {
		t.Error("a file is sent to a server without files")
	}
	s = asked(true)
	var files []DoFile
	s.exec = nil
	s.model.effects = nil
	press(s, "f")
	for _, e := range s.model.effects {
		if f, ok := e.(DoFile); ok {
			files = append(files, f)
		}
	}
	if len(files) != 1 || files[0].Text != text || !strings.HasSuffix(files[0].Path, ".txt") || s.input.size() != 0 {
		t.Errorf("files %v", files)
	}
}

// A paste that is too long even for that is refused whole, and one that finds
// no room in the conversation stays in the input.
func TestNothingIsCut(t *testing.T) {
	t.Parallel()
	s := newTestScreen(t, 80, 24)
	press(s, "enter", "mine ")
	s.Update(tea.PasteMsg{Content: strings.Repeat("x", maxInput)})
	if s.input.text() != "mine " || !strings.Contains(shown(s), "too long to paste") {
		t.Errorf("%d bytes taken", s.input.size())
	}
	for range maxOutbox - 1 {
		s.apply(Compose{Key: bob, ClientMsgID: "x", Text: "x", At: epoch})
	}
	s.Update(tea.PasteMsg{Content: strings.Repeat("y", 2*maxText)})
	press(s, "enter", "enter")
	if n := len(s.model.Conversation(bob).outbox); n != maxOutbox-1 || s.input.size() != 5+2*maxText {
		t.Errorf("%d messages, %d bytes kept", n, s.input.size())
	}
	if !strings.Contains(shown(s), "room for 1 more") {
		t.Errorf("does not say so:\n%s", shown(s))
	}
}
