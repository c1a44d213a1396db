package dialog

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Script is a parsed scenario.
type Script struct {
	Name  string   // of the file, for messages
	Uses  []string // words of the use line
	Users []string // of all terminals and of "users" words, in order of appearance
	steps []step
}

// step is one line.
type step struct {
	line     int
	kind     stepKind
	terminal string   // "alice", "alice.phone"
	server   string   // "" unless given
	options  []string // profile and key=value, behind the server
	words    []word
}

type stepKind byte

// The kinds of lines, by the character that marks them.
const (
	stepSend   stepKind = '>'
	stepExpect stepKind = '<'
	stepWorld  stepKind = '!'
)

// word is one word of a line, or what stood in quotes.
type word struct {
	text   string
	quoted bool
}

func (w word) String() string {
	if w.quoted {
		return strconv.Quote(w.text)
	}
	return w.text
}

// render joins words as they stand in a script.
func render(words []word) string {
	parts := make([]string, len(words))
	for i, w := range words {
		parts[i] = w.String()
	}
	return strings.Join(parts, " ")
}

// Parse reads a script; name is what errors call it.
func Parse(name string, r io.Reader) (*Script, error) {
	s := &Script{Name: name}
	users := make(map[string]bool)
	lines := bufio.NewScanner(r)
	for n := 1; lines.Scan(); n++ {
		text := strings.TrimSpace(lines.Text())
		if text == "" || strings.HasPrefix(text, "#") {
			continue
		}
		if rest, ok := strings.CutPrefix(text, "use "); ok {
			if len(s.steps) > 0 || s.Uses != nil {
				return nil, fmt.Errorf("%s:%d: use must be the first line", name, n)
			}
			s.Uses = strings.Fields(rest)
			continue
		}
		st, err := parseStep(text)
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w", name, n, err)
		}
		st.line = n
		s.steps = append(s.steps, st)
		for _, user := range st.users() {
			users[user] = true
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	s.Users = slices.Sorted(maps.Keys(users))
	return s, nil
}

// users returns who needs an account because of a line.
func (st step) users() []string {
	switch {
	case st.terminal != "":
		return []string{userOf(st.terminal)}
	case st.words[0].text == "users":
		var all []string
		for _, w := range st.words[1:] {
			all = append(all, w.text)
		}
		return all
	}
	return nil
}

// Deeds returns what the script does to its world, the first word of each.
func (s *Script) Deeds() []string {
	var all []string
	for _, st := range s.steps {
		if st.kind == stepWorld && !slices.Contains(all, st.words[0].text) {
			all = append(all, st.words[0].text)
		}
	}
	return all
}

// userOf returns the user of a terminal's name.
func userOf(terminal string) string {
	user, _, _ := strings.Cut(terminal, ".")
	return user
}

// parseStep parses one line.
func parseStep(text string) (step, error) {
	if rest, ok := strings.CutPrefix(text, "!"); ok {
		words, err := split(rest)
		if err == nil && len(words) == 0 {
			err = errors.New("nothing behind the exclamation mark")
		}
		return step{kind: stepWorld, words: words}, err
	}
	at := strings.IndexAny(text, "<>")
	if at < 0 {
		return step{}, fmt.Errorf("neither >, < nor ! in %q", text)
	}
	st := step{kind: stepKind(text[at])}
	head := strings.Fields(text[:at])
	if len(head) == 0 {
		return step{}, fmt.Errorf("no terminal before %c", text[at])
	}
	st.terminal, st.server, _ = strings.Cut(head[0], "@")
	st.options = head[1:]
	switch {
	case st.terminal == "" || strings.ContainsAny(st.terminal, `$"*`):
		return step{}, fmt.Errorf("%q is no terminal", head[0])
	case st.server == "" && (len(st.options) > 0 || strings.Contains(head[0], "@")):
		return step{}, fmt.Errorf("%q: options need a server: name@server", text[:at])
	}
	var err error
	if st.words, err = split(text[at+1:]); err == nil && len(st.words) == 0 {
		err = fmt.Errorf("nothing behind %c", text[at])
	}
	return st, err
}

// split splits a line into words; what stands in double quotes, with the
// escapes of Go, is one.
func split(text string) ([]word, error) {
	var words []word
	for text = strings.TrimSpace(text); text != ""; text = strings.TrimSpace(text) {
		if text[0] != '"' {
			end := strings.IndexAny(text, " \t")
			if end < 0 {
				end = len(text)
			}
			words, text = append(words, word{text: text[:end]}), text[end:]
			continue
		}
		quoted, err := strconv.QuotedPrefix(text)
		if err != nil {
			return nil, fmt.Errorf("open quotes: %s", text)
		}
		plain, err := strconv.Unquote(quoted)
		if err != nil {
			return nil, fmt.Errorf("quotes: %s: %w", quoted, err)
		}
		words, text = append(words, word{plain, true}), text[len(quoted):]
	}
	return words, nil
}
