package chat

import (
	"strings"

	tea "charm.land/bubbletea/v2"

	"teamtalk/cmd/teamtalk/internal/words"
)

// complete completes what the input begins: a command, a path or a name. It
// reports whether there was something to complete.
func (s *screen) complete() (cmd tea.Cmd, ok bool) {
	if !s.input.begins(":") && !s.input.begins("/") || len(s.input.behind()) > 0 {
		return nil, false
	}
	text := s.input.text()
	name, rest, argument := strings.Cut(text[1:], " ")
	switch {
	case argument && name == "file":
		return s.apply(FindPath{rest}), true
	case argument && name == "to":
		s.offer(text[:len(text)-len(rest)], rest, s.names(rest))
	case !argument && name != "" && letter(name[0]):
		var names []string
		for _, c := range commands {
			if strings.HasPrefix(c.name, name) {
				names = append(names, c.name)
			}
		}
		s.offer(text[:1], name, names)
	default:
		return nil, false
	}
	return nil, true
}

// offer replaces what is typed behind a prefix by what all names begin with.
func (s *screen) offer(prefix, typed string, names []string) {
	switch len(names) {
	case 0:
		s.complain(s.say(words.NoPathLike, typed))
	case 1:
		end := ""
		if len(prefix) == 1 {
			end = " "
		}
		s.input.set(prefix + names[0] + end)
	default:
		s.input.set(prefix + common(names))
		s.tell(strings.Join(names, "  "), true)
	}
}

// names returns the names of conversations that begin so.
func (s *screen) names(typed string) []string {
	var names []string
	for _, k := range append(s.model.Contacts(""), s.model.Groups("")...) {
		if name := s.model.Name(k); strings.HasPrefix(name, typed) && len(names) < maxOptions {
			names = append(names, name)
		}
	}
	return names
}

// pathFound takes the answer to a FindPath, unless the user has gone on.
func (s *screen) pathFound(e PathFound) {
	sign := ":"
	if s.input.begins("/") {
		sign = "/"
	}
	if s.input.text() != sign+"file "+e.Typed {
		return
	}
	s.input.set(sign + "file " + e.Path)
	switch {
	case e.Err != nil:
		s.complain(s.model.Lang.Explain(e.Err))
	case len(e.Options) > 0:
		s.tell(strings.Join(e.Options, "  "), true)
	}
}
