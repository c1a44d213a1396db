package chat

import (
	"slices"
	"strings"

	"teamtalk/cmd/teamtalk/internal/words"
	"teamtalk/internal/nearest"
)

// command is what can be asked for in a conversation, behind a : or a /.
type command struct {
	name  string
	takes string // its argument, as the help shows it; "" for none
	must  bool   // the argument may not be missing
	needs bool   // an open conversation
}

// commands are those of both views.
var commands = [...]command{
	{name: "to", takes: "NAME|#GROUP", must: true},
	{name: "history", takes: "[N]", needs: true},
	{name: "read", needs: true},
	{name: "retry", needs: true},
	{name: "file", takes: "PATH", must: true, needs: true},
	{name: "get", takes: "[ID|NAME]", needs: true},
	{name: "stop"},
	{name: "who"},
	{name: "groups"},
	{name: "help"},
	{name: "quit"},
}

// signs are what a command begins with; twice, it begins a text.
const signs = ":/"

// request is a command as it was typed.
type request struct {
	command
	sign string // : or /
	rest string // what stands behind the name
}

// parseInput reads what somebody typed: a text to send, or a command. A smiley
// such as :) is a text. What looks like a command and is none is refused.
func parseInput(typed string) (text string, r *request, err error) {
	if typed == "" || !strings.Contains(signs, typed[:1]) {
		return typed, nil, nil
	}
	sign := typed[:1]
	if strings.HasPrefix(typed[1:], sign) {
		return typed[1:], nil, nil
	}
	body := strings.TrimSpace(typed[1:])
	if body != "" && !letter(body[0]) {
		return typed, nil, nil
	}
	name, rest := body, ""
	if end := strings.IndexAny(body, " \t\n"); end >= 0 {
		name, rest = body[:end], strings.TrimSpace(body[end:])
	}
	at := slices.IndexFunc(commands[:], func(c command) bool { return c.name == name })
	if at < 0 {
		return "", nil, unknown(sign, name)
	}
	r = &request{commands[at], sign, rest}
	if r.must && rest == "" || r.takes == "" && rest != "" {
		return "", nil, words.Errorf(words.CommandTakes, strings.TrimSpace(sign+name+" "+r.takes))
	}
	return "", r, nil
}

// letter reports whether a command could begin with a byte.
func letter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }

// unknown refuses a command that does not exist.
func unknown(sign, name string) error {
	names := make([]string, len(commands))
	for i, c := range commands {
		names[i] = c.name
	}
	if runes := []rune(name); len(runes) > 20 { // no typing error, but a text
		name = string(runes[:20]) + "…"
	}
	if meant := nearest.Of(name, names); meant != "" {
		return words.Errorf(words.NoCommandMeant, sign+name, sign+sign+name, sign+meant)
	}
	return words.Errorf(words.NoCommand, sign+name, sign+sign+name)
}

// about is what the commands about files and messages ask of the model; nil for
// the others.
func (r *request) about(k Key) (Event, error) {
	switch r.name {
	case "read":
		return MarkRead{k}, nil
	case "retry":
		return Retry{k}, nil
	case "stop":
		return StopFiles{}, nil
	case "get":
		what, err := unquote(r.rest)
		return GetFile{k, what}, err
	case "file":
		path, err := unquote(r.rest)
		return SendFile{Key: k, Path: atHome(path)}, err
	}
	return nil, nil
}
