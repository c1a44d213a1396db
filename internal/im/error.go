package im

import (
	"errors"
	"fmt"
)

// Code says in a word why a request was not carried out. Codes are part of the
// protocol with our own peers: append, never renumber.
type Code uint8

// The codes.
const (
	OK          Code = 0
	Internal    Code = 1 // a fault of ours; the request may be repeated
	Invalid     Code = 2 // the request can never succeed as it is
	Denied      Code = 3 // the user may not do this
	NotFound    Code = 4 // the user, group or message does not exist
	Busy        Code = 5 // a queue is full; repeat later
	Unavailable Code = 6 // a server or database is away; repeat later
	TooLarge    Code = 7 // content over the limit
)

var codeNames = [...]string{"ok", "internal", "invalid", "denied", "not_found", "busy", "unavailable", "too_large"}

// String returns a name that serves as a metric label.
func (c Code) String() string {
	if int(c) < len(codeNames) {
		return codeNames[c]
	}
	return "unknown"
}

// Retryable reports whether the same request can succeed later.
func (c Code) Retryable() bool { return c == Internal || c == Busy || c == Unavailable }

// Error is a failure with a code that may reach a client and a cause that
// never does.
type Error struct {
	Code  Code
	Msg   string // for our logs; static text
	Cause error  // may be nil
}

func (e *Error) Error() string {
	if e.Cause == nil {
		return fmt.Sprintf("%s: %s", e.Code, e.Msg)
	}
	return fmt.Sprintf("%s: %s: %v", e.Code, e.Msg, e.Cause)
}

func (e *Error) Unwrap() error { return e.Cause }

// Errorf returns an Error with a formatted message and no cause.
func Errorf(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Msg: fmt.Sprintf(format, args...)}
}

// Wrap gives err a code and says what was being done.
func Wrap(code Code, msg string, err error) *Error { return &Error{Code: code, Msg: msg, Cause: err} }

// CodeOf returns the code of err: OK for nil, Internal for a foreign error.
func CodeOf(err error) Code {
	if err == nil {
		return OK
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	return Internal
}
