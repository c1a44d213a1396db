// Package exit names the exit codes of the command, which scripts rely on, and
// ties them to errors. A command returns an error; only main ends the process.
package exit

import (
	"errors"
	"fmt"
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
