package chat

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	tea "charm.land/bubbletea/v2"

	"teamtalk/client"
	"teamtalk/cmd/teamtalk/internal/words"
)

func TestParseInput(t *testing.T) {
	t.Parallel()
	for typed, want := range map[string]string{
		"hello": "text hello", "//x": "text /x", "::x": "text :x", ":)": "text :)", ":-(": "text :-(", "/:x": "text /:x",
		"：文字": "text ：文字", ":你好": "text :你好", " :file x": "text  :file x", "///": "text //",
		":file a b": "file a b", "/file a b": "file a b", ": file  x ": "file x", "/get": "get ", ":quit": "quit ", "/to\t#g": "to #g",
		":fiel x": "refused unknown command :fiel: did you mean :file? ::fiel sends it as a text",
		"/dance":  "refused unknown command /dance: /help lists them; //dance sends it as a text",
		":file":   "refused usage: :file PATH", "/stop now": "refused usage: /stop", ":": "refused unknown command :: /help lists them; :: sends it as a text",
		"/etc/hosts is wrong": "refused unknown command /etc/hosts: /help lists them; //etc/hosts sends it as a text",
	} {
		text, r, err := parseInput(typed)
		got := "text " + text
		switch {
		case err != nil:
			got = "refused " + err.Error()
		case r != nil:
			got = r.name + " " + r.rest
		}
		if got != want {
			t.Errorf("%q: %s, want %s", typed, got, want)
		}
	}
}

func TestUnquote(t *testing.T) {
	t.Parallel()
	home, err := os.UserHomeDir()
	if err != nil {
		t.Fatal(err)
	}
	for typed, want := range map[string]string{
		"a b.txt": "a b.txt", `"a b.txt"`: "a b.txt", `'a b.txt' `: "a b.txt", `a\ b.txt`: "a b.txt", `it's here`: "it's here",
		`"say \"x\""`: `say "x"`, `a\b`: `a\b`, `'a\ b'`: `a\ b`, "file:///tmp/a%20b": "/tmp/a b", "~": home, "~/x y": home + "/x y",
		`"~/x"`: home + "/x", "~nobody-here/x": "~nobody-here/x", `"open`: "refused", "": "",
	} {
		got, err := unquote(typed)
		if got = atHome(got); err != nil {
			got = "refused"
		}
		if got != want {
			t.Errorf("%q: %q, want %q", typed, got, want)
		}
		if again, err := unquote(quoted(got)); err != nil || again != got {
			t.Errorf("%q is quoted as %q, which is %q, %v", got, quoted(got), again, err)
		}
	}
}

func TestCompletePath(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, name := range []string{"my notes.txt", "my other.txt", `back\slash`, ".hidden", "世界一", "世界二", "folder/inner"} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for typed, want := range map[string]string{
		"/my n": "/my notes.txt", "/my": "/my ", "/f": "/folder/", "/folder/": "/folder/inner", "/世": "/世界", "/.h": "/.hidden",
		"/nothing": "refused", "/none/x": "refused", "/": "/",
	} {
		found, _ := findPath(DoPath{dir + typed}).(PathFound)
		got := strings.TrimPrefix(strings.TrimPrefix(found.Path, `"`), dir)
		if found.Err != nil {
			got = "refused"
		}
		if got != want {
			t.Errorf("%q: %q, want %q", typed, got, want)
		}
	}
	found, _ := findPath(DoPath{`"` + dir + `/back`}).(PathFound)
	if path, err := unquote(found.Path); err != nil || path != dir+`/back\slash` {
		t.Errorf("%q is %q, %v", found.Path, path, err)
	}
	if found, _ := findPath(DoPath{dir + "/my"}).(PathFound); !slices.Equal(found.Options, []string{"my notes.txt", "my other.txt"}) {
		t.Errorf("options %q", found.Options)
	}
}

// What is no command is not sent; what is one is done behind both signs.
func TestScreenCommands(t *testing.T) {
	t.Parallel()
	outbox := func(s *screen) int { return len(s.model.Conversation(bob).outbox) }
	for _, sign := range []string{":", "/"} {
		s := newTestScreen(t, 120, 24)
		press(s, "enter", sign+"fiel x", "enter")
		if outbox(s) != 0 || s.input.text() != sign+"fiel x" || !strings.Contains(shown(s), "did you mean "+sign+"file?") {
			t.Errorf("sent, or lost:\n%s", shown(s))
		}
		press(s, "ctrl+u", sign+sign+"fiel", "enter")
		if n := outbox(s); n != 1 || s.model.Conversation(bob).outbox[0].Text != sign+"fiel" {
			t.Errorf("%d messages", n)
		}
		press(s, sign+"to #every", "tab")
		if got := s.input.text(); got != sign+"to #everyone" {
			t.Errorf("completed to %q", got)
		}
		press(s, "enter")
		if s.model.Current != everyone {
			t.Errorf("opened %v", s.model.Current)
		}
		press(s, sign+"fi", "tab")
		if got := s.input.text(); got != sign+"file " {
			t.Errorf("completed to %q", got)
		}
		press(s, "ctrl+u", sign+"help", "enter")
		if !s.help {
			t.Error("no help")
		}
		press(s, "esc", sign+"to nobody", "enter")
		if s.model.Current != everyone || !strings.Contains(shown(s), `nobody is called "nobody"`) {
			t.Error("somebody else is opened")
		}
		press(s, "ctrl+u", sign+"quit")
		if _, cmd := s.Update(tea.KeyPressMsg{Code: tea.KeyEnter}); cmd == nil {
			t.Error("does not leave")
		}
	}
}

// A path is completed by Tab; news of a path that is not written any more is
// dropped.
func TestScreenCompletesPath(t *testing.T) {
	t.Parallel()
	s := newTestScreen(t, 80, 24)
	press(s, "enter", ":file ~/no", "tab")
	s.Update(happened{PathFound{Typed: "~/nothing", Path: "x"}})
	if got := s.input.text(); got != ":file ~/no" {
		t.Errorf("%q", got)
	}
	s.Update(happened{PathFound{Typed: "~/no", Path: "~/notes", Options: []string{"notes.txt", "notes.md"}}})
	if text := shown(s); s.input.text() != ":file ~/notes" || !strings.Contains(text, "notes.txt  notes.md") {
		t.Errorf("%q\n%s", s.input.text(), text)
	}
	press(s, "ctrl+u", "text", "tab")
	if s.focus != onList {
		t.Error("Tab does not go to the list")
	}
}

// Who was displaced can take the session back, and can read everything that
// did not fit in the status bar.
func TestScreenTakesBack(t *testing.T) {
	t.Parallel()
	s := newTestScreen(t, 40, 12)
	s.Update(happened{Ended{&client.KickedError{}}})
	press(s, "x")
	if !s.model.Final {
		t.Error("any key takes back")
	}
	if text := shown(s); !strings.Contains(text, "F2") {
		t.Errorf("no way to read on:\n%s", text)
	}
	s.Update(tea.KeyPressMsg{Code: tea.KeyF2})
	if text := strings.Join(strings.Fields(shown(s)), " "); !strings.Contains(text, "Enter takes the session back, Ctrl-C leaves") {
		t.Errorf("cut:\n%s", text)
	}
	press(s, "esc")
	s.model.effects = nil
	press(s, "enter")
	if !slices.Contains(s.model.effects, Effect(DoLogin{})) || s.model.Final || s.model.State != client.Connecting {
		t.Errorf("effects %v", s.model.effects)
	}
}

// The screen speaks Chinese where the user does, and fits all the same.
func TestScreenInChinese(t *testing.T) {
	t.Parallel()
	for _, size := range [][2]int{{80, 24}, {60, 12}, {40, 10}, {20, 6}} {
		s := newTestScreen(t, size[0], size[1])
		s.model.Lang = words.Chinese
		for _, keys := range [][]string{nil, {"enter"}, {"f1"}, {"esc", "tab", ":fiel x", "enter"}} {
			press(s, keys...)
			for i, row := range strings.Split(s.View().Content, "\n") {
				if w := s.method.StringWidth(row); w != size[0] {
					t.Errorf("%v %v: row %d has %d cells: %q", size, keys, i, w, row)
				}
			}
		}
		if size[0] == 80 && !strings.Contains(shown(s), "没有命令 :fiel") {
			t.Errorf("not Chinese:\n%s", shown(s))
		}
	}
}
