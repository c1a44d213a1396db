package chat

import (
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	tea "charm.land/bubbletea/v2"

	"teamtalk/cmd/teamtalk/internal/words"
)

// long is a text that no single message holds, while the user is asked what to
// do with it. It stays in the input until it is sent.
type long struct {
	text  string
	parts []string
}

// longKey takes the answer.
func (s *screen) longKey(key string) tea.Cmd {
	asked := s.long
	switch key {
	case "enter":
		s.long = nil
		return s.compose(asked.parts...)
	case "f", "F", "shift+f":
		if !s.model.files {
			return nil
		}
		s.long = nil
		s.input.clear()
		return s.apply(SendFile{
			Key: s.model.Current, Path: "text-" + time.Now().Format("20060102-150405.000") + ".txt", Text: asked.text,
		})
	case "esc":
		s.long = nil
	}
	return nil
}

// question is what is asked about a text that is too long.
func (s *screen) question() string {
	id := words.AskSplitOnly
	if s.model.files {
		id = words.AskSplit
	}
	return s.say(id, thousands(utf8.RuneCountInString(s.long.text)), len(s.long.parts))
}

// typing says how much is written once it is worth knowing.
func (s *screen) typing() string {
	size := s.input.size()
	if size <= maxText*3/4 {
		return ""
	}
	count := thousands(utf8.RuneCount(s.input.before()) + utf8.RuneCount(s.input.behind()))
	if size <= maxText {
		return s.say(words.TypingSize, count)
	}
	return s.say(words.TypingParts, count, (size+maxText-1)/maxText)
}

// thousands writes a number with commas.
func thousands(n int) string {
	text := strconv.Itoa(n)
	for at := len(text) - 3; at > 0; at -= 3 {
		text = text[:at] + "," + text[at:]
	}
	return text
}

// overlay puts what cannot wait over the lowest rows of the conversation.
func (s *screen) overlay(rows []string, width int) []string {
	if s.long == nil {
		return rows
	}
	lines := strings.Split(s.method.Wrap(s.question(), max(1, width-2), ""), "\n")
	for i, text := range lines[:min(len(lines), len(rows))] {
		rows[len(rows)-min(len(lines), len(rows))+i] = fit(s.method, paint(yellow, " "+text), width)
	}
	return rows
}
