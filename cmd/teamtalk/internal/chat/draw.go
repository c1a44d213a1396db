package chat

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	tea "charm.land/bubbletea/v2"

	"teamtalk/cmd/teamtalk/internal/words"
	"teamtalk/internal/im"
)

// narrow is the width in cells below which list and conversation take turns.
const narrow = 60

// Rows that are neither list nor conversation.
const (
	headRows  = 1
	inputRows = 2 // a rule and the input
	footRows  = 1
)

// View implements tea.Model.
func (s *screen) View() tea.View {
	var v tea.View
	v.AltScreen, v.ReportFocus = true, true
	v.WindowTitle = "TeamTalk " + cleanLine(s.own())
	if n, _ := s.model.UnreadTotal(); n > 0 {
		v.WindowTitle += fmt.Sprintf(" (%d)", n)
	}
	if s.width < 10 || s.height < 5 {
		v.SetContent(s.say(words.TooSmall))
		return v
	}
	rows := s.body(&v)
	rows = append(rows, s.statusBar())
	v.SetContent(strings.Join(rows, "\n"))
	return v
}

// body draws everything but the status bar and sets the cursor.
func (s *screen) body(v *tea.View) []string {
	height := s.height - footRows
	switch {
	case s.help:
		return s.pageOf(s.helpLines(), height)
	case s.details:
		return s.pageOf(s.detailLines(), height)
	case s.width >= narrow:
		left := s.sidebar(s.listWidth(), height)
		right := s.conversation(s.conversationWidth(), height)
		rows := make([]string, height)
		for i := range rows {
			rows[i] = left[i] + paint(dim, "│") + right[i]
		}
		s.placeCursor(v, s.listWidth()+1)
		return rows
	case s.showsConversation():
		s.placeCursor(v, 0)
		return s.conversation(s.width, height)
	default:
		s.placeCursor(v, 0)
		return s.sidebar(s.width, height)
	}
}

// showsConversation reports whether the conversation is on the screen.
func (s *screen) showsConversation() bool {
	return s.width >= narrow || (s.focus == onInput && s.model.Current != (Key{}))
}

// listWidth is the width of the list beside the conversation.
func (s *screen) listWidth() int { return min(max(s.width*3/10, 18), 34) }

// conversationWidth is the width of the conversation.
func (s *screen) conversationWidth() int {
	if s.width >= narrow {
		return s.width - s.listWidth() - 1
	}
	return s.width
}

// conversationHeight is how many lines of the conversation are shown.
func (s *screen) conversationHeight() int {
	return max(1, s.height-headRows-inputRows-footRows)
}

// placeCursor puts the cursor where text is typed; column is where the
// conversation begins.
func (s *screen) placeCursor(v *tea.View, column int) {
	switch {
	case s.focus == onSearch:
		_, x := s.search.view(s.method, s.searchWidth())
		v.Cursor = tea.NewCursor(1+x, 0)
	case s.long != nil: // a question, not a line to write on
	case s.focus == onInput && s.model.Current != (Key{}):
		_, x := s.input.view(s.method, s.inputWidth())
		v.Cursor = tea.NewCursor(column+2+x, s.height-footRows-1)
	}
}

// searchWidth and inputWidth are the cells there is to type in.
func (s *screen) searchWidth() int {
	if s.width >= narrow {
		return s.listWidth() - 1
	}
	return s.width - 1
}

func (s *screen) inputWidth() int { return s.conversationWidth() - 2 }

// own returns the name of the own account.
func (s *screen) own() string {
	if s.model.Ready() {
		return s.model.Nick(s.model.Me)
	}
	return s.user
}

// sidebar draws contacts and groups.
func (s *screen) sidebar(width, height int) []string {
	head := fit(s.method, paint(bold, " "+cleanLine(s.own())), width)
	if s.focus == onSearch {
		typed, _ := s.search.view(s.method, s.searchWidth())
		head = fit(s.method, paint(yellow, "/")+cleanLine(typed), width)
	}
	rows := []string{head}
	room := height - headRows
	groupRows := 0
	if len(s.groups) > 0 {
		groupRows = min(len(s.groups)+1, max(2, room/3))
	}
	contactRows := room - groupRows
	s.contactTop = window(s.contactTop, slices.Index(s.contacts, s.selected), contactRows, len(s.contacts))
	rows = append(rows, s.listed(s.contacts, s.contactTop, contactRows, width)...)
	if groupRows > 0 {
		s.groupTop = window(s.groupTop, slices.Index(s.groups, s.selected), groupRows-1, len(s.groups))
		rows = append(rows, s.rule("─ "+s.say(words.Groups)+" ", width))
		rows = append(rows, s.listed(s.groups, s.groupTop, groupRows-1, width)...)
	}
	return rows
}

// rule draws a line across, after a text.
func (s *screen) rule(text string, width int) string {
	return paint(dim, s.method.Truncate(text+strings.Repeat("─", width), width, ""))
}

// window returns the first entry to show so that the selected one is visible.
func window(first, selected, rows, count int) int {
	if selected >= 0 {
		first = min(max(first, selected-rows+1), selected)
	}
	return max(0, min(first, count-rows))
}

// listed draws a part of a list, filled up with empty rows.
func (s *screen) listed(keys []Key, first, rows, width int) []string {
	drawn := make([]string, 0, rows)
	for _, k := range keys[min(first, len(keys)):min(first+rows, len(keys))] {
		drawn = append(drawn, s.entry(k, width))
	}
	for len(drawn) < rows {
		drawn = append(drawn, strings.Repeat(" ", width))
	}
	return drawn
}

// entry draws one contact or group.
func (s *screen) entry(k Key, width int) string {
	sign := paint(dim, "○")
	if k.Kind == im.Group {
		sign = paint(dim, "#")
	} else if s.model.online[im.UserID(k.ID)] {
		sign = paint(green, "●")
	}
	badge := ""
	if c := s.model.Conversation(k); c != nil && c.Unread > 0 {
		count := strconv.Itoa(c.Unread)
		if c.Unread > 999 {
			count = "999+"
		}
		badge = paint(bold+";"+yellow, count) + " "
	}
	name := s.method.Truncate(plainEmoji(s.method, cleanLine(s.model.Title(k))), width-3-s.method.StringWidth(badge), "…")
	switch {
	case k == s.selected && s.focus != onInput:
		name = paint(reverse, " "+name+" ")
	case k == s.model.Current:
		name = " " + paint(bold, name)
	default:
		name = " " + name
	}
	return fit(s.method, ends(s.method, sign+name, badge, width), width)
}

// conversation draws the open conversation with its input.
func (s *screen) conversation(width, height int) []string {
	k := s.model.Current
	c := s.model.Conversation(k)
	if k == (Key{}) || c == nil {
		return s.welcome(width, height)
	}
	rows := []string{s.head(k, width)}
	lines := s.transcript.lines(s.model, c, s.method, width)
	last, room := s.lastShown(lines), s.conversationHeight()
	shown := lines[max(0, last+1-room) : last+1]
	for range room - len(shown) {
		rows = append(rows, strings.Repeat(" ", width))
	}
	for _, l := range shown {
		rows = append(rows, fit(s.method, l.text, width))
	}
	rule := s.typing()
	if below := len(lines) - 1 - last; below > 0 {
		rule = s.say(words.LinesBelow, below)
	}
	rows = append(rows, s.rule("──"+rule, width))
	typed, _ := s.input.view(s.method, s.inputWidth())
	prompt := paint(dim, "> ")
	if s.focus == onInput {
		prompt = paint(bold, "> ")
		if s.input.size() == 0 {
			typed = paint(dim, s.say(words.InputHint))
		}
	}
	rows = append(rows, fit(s.method, prompt+typed, width))
	return s.overlay(rows, width)
}

// head draws the line above a conversation.
func (s *screen) head(k Key, width int) string {
	title := paint(bold, " "+cleanLine(s.model.Title(k)))
	return fit(s.method, ends(s.method, title, paint(dim, s.about(k)+" "), width), width)
}

// about returns what to know about a conversation before reading it.
func (s *screen) about(k Key) string {
	if k.Kind == im.Group {
		return s.say(words.Members, len(s.model.Group(im.GroupID(k.ID)).Members))
	}
	contact := s.model.Contact(im.UserID(k.ID))
	if contact.Signature != "" {
		return cleanLine(contact.Signature)
	}
	if contact.Online {
		return s.say(words.Online)
	}
	return s.say(words.Offline)
}

// welcome fills the place of the conversation while none is open.
func (s *screen) welcome(width, height int) []string {
	rows := make([]string, height)
	for i := range rows {
		rows[i] = strings.Repeat(" ", width)
	}
	text := []string{"TeamTalk", "", s.say(words.WelcomeOpen), s.say(words.WelcomeKeys)}
	if len(s.contacts) == 0 && s.model.Ready() && s.search.size() == 0 {
		text[2] = s.say(words.WelcomeNobody)
	}
	for i, t := range text {
		if at := height/2 - len(text)/2 + i; at >= 0 && at < height {
			rows[at] = paint(dim, centre(s.method, t, width))
		}
	}
	return rows
}

// helpLines explains the keys in lines of the screen's width.
func (s *screen) helpLines() []string {
	lines := []string{paint(bold, s.say(words.HelpTitle))}
	const column = 25
	for _, h := range keyHelp {
		about := s.say(h.about)
		if column+1+s.method.StringWidth(about) <= s.width {
			lines = append(lines, " "+fit(s.method, h.keys, column)+about)
			continue
		}
		lines = append(lines, " "+paint(bold, h.keys))
		for text := range strings.SplitSeq(s.method.Wrap(about, max(1, s.width-3), ""), "\n") {
			lines = append(lines, "   "+text)
		}
	}
	return lines
}

// pageOf draws the part of a page that is scrolled to.
func (s *screen) pageOf(lines []string, height int) []string {
	s.helpTop = max(0, min(s.helpTop, len(lines)-height))
	rows := make([]string, height)
	for i := range rows {
		text := ""
		if s.helpTop+i < len(lines) {
			text = lines[s.helpTop+i]
		}
		rows[i] = fit(s.method, text, s.width)
	}
	return rows
}
