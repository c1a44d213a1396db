package chat

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/charmbracelet/x/ansi"

	"teamtalk/client"
	"teamtalk/cmd/teamtalk/internal/words"
	"teamtalk/internal/im"
)

// maxSaid bounds what the page of details lists.
const maxSaid = 100

// said is something that the status bar has shown.
type said struct {
	at   time.Time
	text string
}

// say returns a text in the user's language.
func (s *screen) say(id words.ID, args ...any) string { return s.model.Lang.Say(id, args...) }

// complain shows a trouble until the next key.
func (s *screen) complain(text string) {
	s.flash = text
	s.keep(text)
}

// tell shows news; those that only pass are not kept.
func (s *screen) tell(text string, passing bool) {
	s.flash, s.news = "", text
	if !passing {
		s.keep(text)
	}
}

// keep has the page of details list a text.
func (s *screen) keep(text string) {
	s.said = append(s.said, said{time.Now(), text})
	if len(s.said) > maxSaid {
		s.said = slices.Delete(s.said, 0, len(s.said)-maxSaid)
	}
}

// noteState has the page of details list a change of the connection.
func (s *screen) noteState(n StateNotice) {
	if n.State == client.Online {
		s.keep(s.say(words.Online) + " " + n.Addr)
	} else {
		s.keep(s.say(words.Offline) + ": " + s.model.Lang.Explain(n.Err))
	}
}

// statusBar draws the lowest line.
func (s *screen) statusBar() string {
	state := s.state()
	if s.flash != "" {
		state = paint(red, " "+cleanLine(s.flash))
	}
	right := s.say(words.HelpHint)
	switch {
	case s.help, s.details:
		right = s.say(words.HelpCloses)
	case s.method.StringWidth(state)+s.method.StringWidth(right) >= s.width:
		right = s.say(words.MoreHint)
	}
	if n, in := s.model.UnreadTotal(); n > 0 {
		unread := paint(bold+";"+yellow, s.say(words.UnreadIn, n, in)) + "  "
		if s.method.StringWidth(state+unread+right) < s.width {
			right = unread + right
		}
	}
	if room := s.width - s.method.StringWidth(right) - 1; room >= 10 && s.method.StringWidth(state) > room {
		state = s.method.Truncate(plainEmoji(s.method, state), room, "…")
	}
	return fit(s.method, ends(s.method, state, right, s.width), s.width)
}

// state says how the session is.
func (s *screen) state() string {
	problem := cleanLine(s.model.Lang.Explain(s.model.Problem))
	switch {
	case s.model.Final && kicked(s.model.Problem):
		return paint(red, " ✗ "+s.say(words.PressToTakeBack, problem))
	case s.model.State == client.Online && !s.model.Ready():
		return paint(yellow, " ◌") + " " + s.say(words.Loading)
	case s.model.State == client.Online && s.news != "":
		return paint(green, " ●") + " " + cleanLine(s.news)
	case s.model.State == client.Online:
		return paint(green, " ●") + " " + s.say(words.Online) + " " + s.model.Addr
	case s.model.Problem != nil:
		return paint(red, " ✗ "+s.say(words.Reconnecting, problem))
	}
	return paint(yellow, " ◌") + " " + s.say(words.Connecting)
}

// detailLines is the page that holds what did not fit elsewhere.
func (s *screen) detailLines() []string {
	lines := []string{paint(bold, s.say(words.DetailsTitle))}
	add := func(text string) {
		for part := range strings.SplitSeq(s.method.Wrap(plainEmoji(s.method, clean(text)), max(1, s.width-3), ""), "\n") {
			lines = append(lines, "   "+part)
		}
	}
	if k := s.model.Current; k != (Key{}) {
		add(s.model.Title(k) + "  (" + s.model.Name(k) + ")")
		if k.Kind == im.Group {
			var names []string
			for _, u := range s.model.Group(im.GroupID(k.ID)).Members {
				names = append(names, s.model.Nick(u))
			}
			slices.Sort(names)
			add(s.about(k) + ": " + strings.Join(names, ", "))
		} else {
			add(s.about(k))
		}
	}
	add(strings.TrimSpace(ansi.Strip(s.state())))
	lines = append(lines, "", paint(bold, s.say(words.DetailsNews)))
	if len(s.said) == 0 {
		add(s.say(words.DetailsNothing))
	}
	for _, what := range slices.Backward(s.said) {
		add(fmt.Sprintf("%s  %s", what.at.Local().Format("15:04:05"), what.text))
	}
	return lines
}
