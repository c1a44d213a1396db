// Package exit names the exit codes of the command, which scripts rely on, and
// ties them to errors. A command returns an error; only main ends the process.
package exit

import (
	"errors"
	"fmt"

	"teamtalk/cmd/teamtalk/internal/words"
)

// The exit codes.
const (
	Failed = 1 // it was tried and did not work; also of an error without a code
	Usage  = 2 // bad arguments
	Exists = 3 // what was to be created was there already

	// CannotRun is of commands whose Failed is a finding: nothing was found
	// out.
	CannotRun = 2
)

// coded is an error with an exit code.
type coded struct {
	code int
	err  error
}

func (e *coded) Error() string { return e.err.Error() }

func (e *coded) Unwrap() error { return e.err }

// ExitCode returns the exit code.
func (e *coded) ExitCode() int { return e.code }

// Usagef returns an error about bad arguments.
func Usagef(format string, args ...any) error {
	return &coded{Usage, fmt.Errorf(format, args...)}
}

// Bad returns an error about bad arguments that has words in every language.
func Bad(id words.ID, args ...any) error { return &coded{Usage, words.Errorf(id, args...)} }

// UsageErr gives an error without a code the code Usage.
func UsageErr(err error) error {
	if err == nil || Code(err) != Failed {
		return err
	}
	return &coded{Usage, err}
}

// told is an error that the user has read already.
type told struct{ error }

func (t told) Unwrap() error { return t.error }

// Told marks an error that a command has printed itself.
func Told(err error) error {
	if err == nil {
		return nil
	}
	return told{err}
}

// WasTold reports whether an error needs no printing any more.
func WasTold(err error) bool {
	_, ok := errors.AsType[told](err)
	return ok
}

// There returns an error, in every language, about something that was there
// already.
func There(id words.ID, args ...any) error { return &coded{Exists, words.Errorf(id, args...)} }

// Existsf returns an error about something that was there already.
func Existsf(format string, args ...any) error {
	return &coded{Exists, fmt.Errorf(format, args...)}
}

// CannotRunErr gives an error without a code the code CannotRun.
func CannotRunErr(err error) error {
	if err == nil || Code(err) != Failed {
		return err
	}
	return &coded{CannotRun, err}
}

// Code returns the exit code of an error: that of the first error in its chain
// which has a method ExitCode, Failed if none has one, 0 for nil.
func Code(err error) int {
	if err == nil {
		return 0
	}
	if e, ok := errors.AsType[interface {
		error
		ExitCode() int
	}](err); ok {
		return e.ExitCode()
	}
	return Failed
}
