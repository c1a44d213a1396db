package config

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Error is one complaint about a file. It reads FILE:LINE: KEY: reason. The
// reason never repeats the value of a secret.
type Error struct {
	File   string
	Line   int    // counted from 1; where a key is missing, the last line; 0 when the file could not be read
	Key    string // may be empty when a line names none
	Reason string
}

func (e *Error) Error() string {
	switch {
	case e.Line == 0:
		return fmt.Sprintf("%s: %s", e.File, e.Reason)
	case e.Key == "":
		return fmt.Sprintf("%s:%d: %s", e.File, e.Line, e.Reason)
	default:
		return fmt.Sprintf("%s:%d: %s: %s", e.File, e.Line, e.Key, e.Reason)
	}
}

// Errors are all complaints about one file, by line; its text has one line for
// each.
type Errors []*Error

func (es Errors) Error() string {
	lines := make([]string, len(es))
	for i, e := range es {
		lines[i] = e.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap lets errors.As find a single complaint.
func (es Errors) Unwrap() []error {
	errs := make([]error, len(es))
	for i, e := range es {
		errs[i] = e
	}
	return errs
}

// IsConfig reports whether err says that a file is wrong, which is for its
// author to mend, and not that the machine failed.
func IsConfig(err error) bool {
	_, ok := errors.AsType[*Error](err)
	return ok
}

// sort orders complaints as the reader meets them in the file.
func (es Errors) sort() {
	slices.SortStableFunc(es, func(a, b *Error) int { return a.Line - b.Line })
}
