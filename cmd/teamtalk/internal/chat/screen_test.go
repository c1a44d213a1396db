package chat

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"

	"teamtalk/client"
	"teamtalk/internal/im"
)

// nasty are texts that are hard to lay out.
var nasty = []string{
	"hello", "", "世界你好世界你好世界你好世界你好世界你好世界你好世界你好", "👩‍👩‍👧👍🏽🇩🇪❤️1️⃣ family and flags",
	"a\nb\n\nc", "tab\there", "\x1b[31mred\x1b[2J\u009b1m", strings.Repeat("longword", 30), "e\u0301e\u0301 नि 한국어",
	"\u202eright to left", "   leading and trailing   ", strings.Repeat("word ", 200),
}

// newTestScreen returns a screen of alice with messages in two conversations.
func newTestScreen(t *testing.T, width, height int) *screen {
	t.Helper()
	s := newScreen(t.Context(), func(context.Context, Effect) Event { return nil }, "alice")
	s.Update(tea.WindowSizeMsg{Width: width, Height: height})
	users := []Contact{{ID: 1, Name: "alice"}, {ID: 2, Name: "bob", Nick: "Bob 世界", Signature: "out 👋\n"}}
	for i, text := range nasty {
		users = append(users, Contact{ID: im.UserID(3 + i), Name: text, Nick: text})
	}
	s.Update(happened{StateChanged{State: client.Online, Addr: "127.0.0.1:8000", Me: 1, Safe: true}})
	s.Update(happened{Synced{
		Users: users, Online: []im.UserID{2}, Groups: []Group{{ID: 7, Name: "everyone", Members: []im.UserID{1, 2}}},
		Sessions: []Session{{Key: bob, Latest: 0, Updated: epoch}},
	}})
	for i := range 60 {
		s.Update(happened{Received{bob, Message{
			ID: im.MsgID(i + 1), From: im.UserID(1 + i%2), Mine: i%2 == 0, Text: nasty[i%len(nasty)],
			At: epoch.Add(time.Duration(i) * time.Hour),
		}}})
	}
	return s
}

// press types keys: a name such as "enter", or the text of a key.
func press(s *screen, keys ...string) {
	codes := map[string]rune{
		"enter": tea.KeyEnter, "tab": tea.KeyTab, "esc": tea.KeyEscape, "up": tea.KeyUp, "down": tea.KeyDown,
		"pgup": tea.KeyPgUp, "pgdown": tea.KeyPgDown, "f1": tea.KeyF1, "backspace": tea.KeyBackspace,
		"left": tea.KeyLeft, "home": tea.KeyHome,
	}
	for _, key := range keys {
		if code, ok := codes[key]; ok {
			s.Update(tea.KeyPressMsg{Code: code})
			continue
		}
		if letter, ok := strings.CutPrefix(key, "ctrl+"); ok {
			s.Update(tea.KeyPressMsg{Code: rune(letter[0]), Mod: tea.ModCtrl})
			continue
		}
		for _, r := range key {
			s.Update(tea.KeyPressMsg{Code: r, Text: string(r)})
		}
	}
}

// shown returns the screen without colours.
func shown(s *screen) string { return ansi.Strip(s.View().Content) }

func TestScreenFits(t *testing.T) {
	t.Parallel()
	scenes := map[string][]string{
		"list": nil, "conversation": {"enter"}, "scrolled": {"enter", "pgup"}, "top": {"enter", "pgup", "pgup", "pgup", "pgup", "pgup"},
		"search": {"/", "世"}, "nothing found": {"/", "zzz"}, "help": {"f1"}, "typing": {"enter", "世界👩‍👩‍👧 typing a rather long line of input", "left"},
		"no conversation": {"tab", "x"}, "draft": {"enter", "draft", "tab", "down", "down", "enter"},
	}
	for name, keys := range scenes {
		for _, method := range []ansi.Method{ansi.WcWidth, ansi.GraphemeWidth} {
			for _, size := range [][2]int{{80, 24}, {40, 10}, {60, 12}, {61, 5}, {20, 6}, {200, 60}, {10, 5}, {5, 2}} {
				s := newTestScreen(t, size[0], size[1])
				s.method = method
				press(s, keys...)
				v := s.View()
				rows := strings.Split(v.Content, "\n")
				if size[0] >= 10 && len(rows) != size[1] {
					t.Errorf("%s %v: %d rows", name, size, len(rows))
				}
				for i, row := range rows {
					if w := method.StringWidth(row); size[0] >= 10 && w != size[0] {
						t.Errorf("%s %v: row %d has %d cells: %q", name, size, i, w, row)
					}
				}
				if v.Cursor != nil && (v.Cursor.X >= size[0] || v.Cursor.Y >= size[1] || v.Cursor.X < 0) {
					t.Errorf("%s %v: cursor at %v", name, size, v.Cursor.Position)
				}
			}
		}
	}
}

func TestScreenObeysNoText(t *testing.T) {
	t.Parallel()
	s := newTestScreen(t, 100, 400)
	press(s, "enter")
	if text := s.View().Content; strings.Contains(text, "\x1b[2J") || strings.ContainsRune(text, 0x9b) {
		t.Error("a message moves the cursor")
	}
}

func TestScreenSends(t *testing.T) {
	t.Parallel()
	s := newTestScreen(t, 80, 24)
	press(s, "enter", "hello")
	s.Update(tea.PasteMsg{Content: " wörld\r\nnew\x07 line"})
	press(s, "enter")
	c := s.model.Conversation(bob)
	if len(c.outbox) != 1 || c.outbox[0].Text != "hello wörld\nnew line" {
		t.Fatalf("outbox %v", c.outbox)
	}
	if text := shown(s); !strings.Contains(text, "new line …") {
		t.Errorf("not pending:\n%s", text)
	}
	s.Update(happened{Sent{Key: bob, ClientMsgID: c.outbox[0].clientMsgID, Err: client.ErrAckTimeout}})
	if text := shown(s); !strings.Contains(text, "✗ press ctrl-r") {
		t.Errorf("not failed:\n%s", text)
	}
	press(s, "ctrl+r")
	s.Update(happened{Sent{Key: bob, ClientMsgID: c.outbox[0].clientMsgID, ID: 61}})
	if text := shown(s); !strings.Contains(text, "new line ✓") {
		t.Errorf("not sent:\n%s", text)
	}
}

func TestScreenMarksRead(t *testing.T) {
	t.Parallel()
	s := newTestScreen(t, 80, 24)
	if n, _ := s.model.UnreadTotal(); n != 30 {
		t.Fatalf("%d unread", n)
	}
	press(s, "enter")
	s.Update(happened{Page{Key: bob}})
	if n, _ := s.model.UnreadTotal(); n != 0 {
		t.Errorf("%d unread after looking", n)
	}
	next := im.MsgID(61)
	arrive := func() {
		s.Update(happened{Received{bob, Message{ID: next, From: bobID, Text: "new", At: epoch}}})
		next++
	}
	check := func(when string, want int) {
		t.Helper()
		arrive()
		if n, _ := s.model.UnreadTotal(); n != want {
			t.Errorf("%s: %d unread, want %d", when, n, want)
		}
	}
	check("before the eyes", 0)
	s.Update(tea.BlurMsg{})
	check("in the background", 1)
	s.Update(tea.FocusMsg{})
	check("looked at again", 0)
	press(s, "pgup")
	check("scrolled up", 1)
	press(s, "esc")
	check("at the end", 0)
	press(s, "f1")
	check("behind the help", 1)
}

func TestScreenScrollStays(t *testing.T) {
	t.Parallel()
	s := newTestScreen(t, 80, 24)
	press(s, "enter", "pgup", "pgup")
	before := shown(s)
	s.Update(happened{Received{bob, Message{ID: 61, From: bobID, Text: "new", At: epoch.Add(100 * time.Hour)}}})
	body := func(text string) string { // without the list and the count of lines below
		var rows []string
		for row := range strings.Lines(text) {
			if _, right, ok := strings.Cut(row, "│"); ok && !strings.Contains(right, "lines below") {
				rows = append(rows, right)
			}
		}
		return strings.Join(rows, "")
	}
	if after := shown(s); body(after) != body(before) {
		t.Errorf("moved:\n%s\nwas:\n%s", after, before)
	}
}

func TestScreenEnds(t *testing.T) {
	t.Parallel()
	s := newTestScreen(t, 80, 24)
	_, cmd := s.Update(happened{Ended{&client.LoginError{Code: 6}}})
	if cmd == nil || !s.model.Final {
		t.Error("stays after a refused log-in")
	}
	s = newTestScreen(t, 80, 24)
	s.Update(happened{Ended{&client.KickedError{}}})
	if text := shown(s); !strings.Contains(text, "logged in elsewhere: Enter takes the session back") {
		t.Errorf("does not say why:\n%s", text)
	}
	if !errors.As(s.model.Problem, new(*client.KickedError)) {
		t.Error("no reason")
	}
}

func TestScreenSearch(t *testing.T) {
	t.Parallel()
	s := newTestScreen(t, 80, 24)
	press(s, "/", "every")
	if got := s.entries(); len(got) != 1 || got[0] != everyone {
		t.Fatalf("found %v", got)
	}
	press(s, "enter")
	if s.model.Current != everyone || s.focus != onInput || s.search.size() != 0 {
		t.Errorf("opened %v", s.model.Current)
	}
	press(s, "ctrl+n")
	if s.model.Current != bob {
		t.Errorf("next unread is %v", s.model.Current)
	}
}

func TestEditor(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		text string
		keys []string
		want string // with | at the cursor
	}{
		"move by clusters":  {"a👩‍👩‍👧b", []string{"left", "left", "backspace"}, "|👩‍👩‍👧b"},
		"delete a cluster":  {"e\u0301x", []string{"home", "delete"}, "|x"},
		"words":             {"one two  three", []string{"ctrl+left", "ctrl+w"}, "one |three"},
		"to the end":        {"one two", []string{"home", "ctrl+right", "ctrl+k"}, "one|"},
		"to the start":      {"one two", []string{"ctrl+left", "ctrl+u"}, "|two"},
		"nothing to delete": {"", []string{"backspace", "delete", "left", "right", "ctrl+w"}, "|"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var e editor
			e.insert(test.text)
			for _, k := range test.keys {
				if !e.key(k) {
					t.Errorf("key %s not taken", k)
				}
			}
			if got := string(e.before()) + "|" + string(e.behind()); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
	var e editor
	if !e.insert(strings.Repeat("世", 2000)) || e.insert(strings.Repeat("x", maxInput)) || e.size() != 6000 {
		t.Errorf("took %d bytes", e.size())
	}
	if shown, column := e.view(ansi.WcWidth, 11); column > 10 || ansi.StringWidth(shown) > 11 {
		t.Errorf("cursor at %d in %q", column, shown)
	}
}

func TestPlainEmoji(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{"👩‍👩‍👧 x": "👩 x", "🇩🇪": "DE", "👍🏽": "👍", "e\u0301 世": "e\u0301 世", "1️⃣": "1"} {
		if got := plainEmoji(ansi.WcWidth, text); got != want {
			t.Errorf("%q becomes %q, want %q", text, got, want)
		}
		if got := plainEmoji(ansi.GraphemeWidth, text); got != text {
			t.Errorf("%q becomes %q", text, got)
		}
	}
}
