// Package password gets the password for a command: from a flag, a file, the
// environment or the terminal, in this order.
package password

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"

	"teamtalk/cmd/teamtalk/internal/exit"
	"teamtalk/cmd/teamtalk/internal/words"
)

// maxLine is the longest password in bytes that is read from a file.
const maxLine = 4096

// Source says where a password may come from.
type Source struct {
	Literal string   // taken if not empty
	File    string   // its first line; "-" is standard input
	Env     string   // name of an environment variable; empty: none
	Prompt  string   // asked on a terminal, without echo; empty: do not ask
	Stdin   *os.File // the terminal, and the file "-"
	Stderr  io.Writer
}

// Read returns the password, which is not empty.
func Read(s Source) (string, error) {
	switch {
	case s.Literal != "":
		return s.Literal, nil
	case s.File != "":
		return s.fromFile()
	}
	if s.Env != "" {
		if p := os.Getenv(s.Env); p != "" {
			return p, nil
		}
	}
	if s.Prompt != "" && s.Stdin != nil && term.IsTerminal(int(s.Stdin.Fd())) {
		return s.ask()
	}
	where := "--password-file"
	if s.Env != "" {
		where += ", " + s.Env
	}
	return "", exit.Bad(words.PasswordMissing, where)
}

// fromFile reads the first line of the file.
func (s Source) fromFile() (string, error) {
	in := io.Reader(s.Stdin)
	if s.File != "-" {
		f, err := os.Open(s.File)
		if err != nil {
			return "", words.Errorf(words.ReadPasswordFile, err)
		}
		defer func() { _ = f.Close() }()
		in = f
	}
	line, err := readLine(in)
	if err != nil {
		return "", words.Errorf(words.ReadPasswordFile, err)
	}
	line = strings.TrimRight(line, "\r")
	if line == "" {
		return "", exit.Bad(words.PasswordFileEmpty, s.File)
	}
	return line, nil
}

// readLine reads up to the end of a line and not a byte more: the rest of
// standard input belongs to the command.
func readLine(in io.Reader) (string, error) {
	var line []byte
	for one := make([]byte, 1); len(line) < maxLine; {
		switch _, err := io.ReadFull(in, one); {
		case errors.Is(err, io.EOF), err == nil && one[0] == '\n':
			return string(line), nil
		case err != nil:
			return "", err
		}
		line = append(line, one[0])
	}
	return "", exit.Bad(words.PasswordTooLong, maxLine)
}

// ask reads the password from the terminal.
func (s Source) ask() (string, error) {
	_, _ = fmt.Fprint(s.Stderr, s.Prompt)
	p, err := term.ReadPassword(int(s.Stdin.Fd()))
	_, _ = fmt.Fprintln(s.Stderr)
	if err != nil {
		return "", fmt.Errorf("read password: %w", err)
	}
	if len(p) == 0 {
		return "", exit.Bad(words.PasswordEmpty)
	}
	return string(p), nil
}
