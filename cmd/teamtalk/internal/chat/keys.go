package chat

import (
	"slices"

	tea "charm.land/bubbletea/v2"

	"teamtalk/cmd/teamtalk/internal/words"
)

// keyHelp explains the keys; one page of 80x24 must hold it.
var keyHelp = [...]struct {
	keys  string
	about words.ID
}{
	{"Tab", words.HelpTab},
	{"Up, Down", words.HelpArrows},
	{"Enter", words.HelpEnter},
	{"/", words.HelpSearch},
	{"PgUp, PgDn", words.HelpPages},
	{"Esc", words.HelpEsc},
	{"Ctrl-N", words.HelpUnread},
	{"Ctrl-R", words.HelpRetry},
	{"Ctrl-J, Alt-Enter", words.HelpBreak},
	{"Ctrl-A, -E, -W, -U, -K", words.HelpEdit},
	{":COMMAND, /COMMAND", words.HelpCommands},
	{"::TEXT, //TEXT", words.HelpEscape},
	{"F2", words.HelpDetails},
	{"F1, or ? in the list", words.HelpHelp},
	{"Ctrl-C", words.HelpLeave},
	{"", words.NoWords},
	{"…  ✓  ✗", words.HelpMarks},
	{"●  ○", words.HelpPresence},
}

// key takes a key.
func (s *screen) key(msg tea.KeyPressMsg) tea.Cmd {
	key := msg.Keystroke()
	s.flash, s.news = "", ""
	switch {
	case key == "ctrl+c":
		return tea.Quit
	case s.help, s.details:
		s.pageKey(key)
		return nil
	case s.model.Final && key == "enter":
		return s.apply(TakeBack{})
	case s.long != nil:
		return s.longKey(key)
	case key == "f1", key == "?" && s.focus == onList:
		s.help, s.helpTop = true, 0
		return nil
	case key == "f2":
		s.details, s.helpTop = true, 0
		return nil
	case key == "ctrl+n":
		return s.open(s.nextUnread())
	case key == "ctrl+r":
		return s.apply(Retry{s.model.Current})
	case key == "pgup":
		return s.scroll(-s.page())
	case key == "pgdown":
		return s.scroll(s.page())
	}
	switch s.focus {
	case onSearch:
		return s.searchKey(key, msg.Text)
	case onList:
		return s.listKey(key, msg.Text)
	case onInput:
		return s.inputKey(key, msg.Text)
	}
	return nil
}

// pageKey takes a key while a page is shown: any other than these closes it.
func (s *screen) pageKey(key string) {
	switch key {
	case "up":
		s.helpTop--
	case "down":
		s.helpTop++
	case "pgup":
		s.helpTop -= s.height
	case "pgdown":
		s.helpTop += s.height
	default:
		s.help, s.details = false, false
	}
}

// listKey takes a key while the list has the focus.
func (s *screen) listKey(key, text string) tea.Cmd {
	switch key {
	case "up":
		s.choose(-1)
	case "down":
		s.choose(1)
	case "home":
		s.choose(-len(s.entries()))
	case "end":
		s.choose(len(s.entries()))
	case "enter", "right":
		return s.open(s.selected)
	case "tab", "shift+tab":
		if s.model.Current != (Key{}) {
			s.focus = onInput
		}
	case "esc":
		s.bottom = place{}
	case "/":
		s.focus = onSearch
	default:
		if text != "" && s.model.Current != (Key{}) {
			s.focus = onInput
			s.insert(text)
		}
	}
	return nil
}

// searchKey takes a key while the user searches.
func (s *screen) searchKey(key, text string) tea.Cmd {
	switch key {
	case "up":
		s.choose(-1)
		return nil
	case "down":
		s.choose(1)
		return nil
	case "enter":
		found := s.selected
		s.endSearch()
		return s.open(found)
	case "esc", "tab":
		s.endSearch()
		return nil
	}
	if key == "backspace" && s.search.size() == 0 {
		s.endSearch()
		return nil
	}
	if !s.search.key(key) && text != "" {
		s.search.insert(text)
	}
	s.list()
	if all := s.entries(); len(all) > 0 {
		s.selected = all[0]
	}
	return nil
}

// endSearch shows everybody again.
func (s *screen) endSearch() {
	s.search.clear()
	s.focus = onList
	s.list()
}

// inputKey takes a key while the input has the focus.
func (s *screen) inputKey(key, text string) tea.Cmd {
	switch key {
	case "enter":
		return s.send()
	case "ctrl+j", "alt+enter", "shift+enter":
		s.insert("\n")
	case "tab":
		if cmd, ok := s.complete(); ok {
			return cmd
		}
		s.focus = onList
	case "shift+tab":
		s.focus = onList
	case "up":
		return s.scroll(-1)
	case "down":
		return s.scroll(1)
	case "esc":
		if s.bottom == (place{}) {
			s.focus = onList
		}
		s.bottom = place{}
	default:
		if !s.input.key(key) && text != "" {
			s.insert(text)
		}
	}
	return nil
}

// choose moves the selection in the list.
func (s *screen) choose(by int) {
	all := s.entries()
	if len(all) == 0 {
		return
	}
	at := max(0, slices.Index(all, s.selected))
	s.selected = all[min(max(0, at+by), len(all)-1)]
}

// nextUnread returns the next conversation with unread messages after the
// current one in the list, zero if there is none.
func (s *screen) nextUnread() Key {
	all := slices.Concat(s.model.Contacts(""), s.model.Groups(""))
	start := slices.Index(all, s.model.Current) + 1
	for i := range all {
		k := all[(start+i)%len(all)]
		if c := s.model.Conversation(k); c != nil && c.Unread > 0 {
			return k
		}
	}
	return Key{}
}

// page is how far PgUp scrolls: a screen less one line of context.
func (s *screen) page() int { return max(1, s.conversationHeight()-1) }

// scroll moves the view of the conversation by lines and asks for older
// messages above the top.
func (s *screen) scroll(by int) tea.Cmd {
	k := s.model.Current
	c := s.model.Conversation(k)
	if c == nil {
		return nil
	}
	lines := s.transcript.lines(s.model, c, s.method, s.conversationWidth())
	height := s.conversationHeight()
	last := s.lastShown(lines) + by
	atTop := last < height
	last = min(max(last, height-1), len(lines)-1)
	s.bottom = place{}
	if last < len(lines)-1 {
		s.bottom = place{lines[last].msg, lines[last].part}
	}
	if atTop && by < 0 {
		return s.apply(Older{k})
	}
	return nil
}

// lastShown returns the index of the lowest line to show.
func (s *screen) lastShown(lines []line) int {
	if s.bottom != (place{}) {
		for i := range slices.Backward(lines) {
			if lines[i].msg == s.bottom.msg && lines[i].part <= s.bottom.part {
				return i
			}
		}
	}
	return len(lines) - 1
}
