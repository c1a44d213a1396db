package client

import (
	"errors"
	"fmt"
	"time"

	"teamtalk/internal/im"
	"teamtalk/internal/wire"
	"teamtalk/pb/basedefine"
)

// Errors of a Client that callers branch on.
var (
	ErrClosed     = errors.New("client: closed")
	ErrDead       = errors.New("client: no answer to the heartbeat")
	ErrQueueFull  = errors.New("client: too much queued or unanswered")
	ErrAckTimeout = errors.New("client: message not acknowledged in time")
	ErrOffline    = errors.New("client: not connected")
	ErrNoFiles    = errors.New("client: the server takes no files of messages")
	ErrWrongReply = errors.New("client: reply does not fit the request")
	ErrTooLong    = errors.New("client: text too long or empty")
	ErrNoLogin    = errors.New("client: locate: the answer is not that of a login_server")
)

// LoginError is a log-in that the server refused.
type LoginError struct {
	Code basedefine.ResultType
	Text string // for people, in the server's language; may be empty
}

func (e *LoginError) Error() string {
	return fmt.Sprintf("client: log-in refused: %d %s", int32(e.Code), e.Text)
}

// Permanent reports whether repeating the log-in is useless: the name or the
// password is wrong. Everything else is a state of the servers.
func (e *LoginError) Permanent() bool {
	return e.Code == basedefine.ResultType_REFUSE_REASON_DB_VALIDATE_FAILED
}

// KickedError ends a connection whose log-in was displaced: by a log-in of the
// same class elsewhere, or from the user's phone.
type KickedError struct {
	Reason basedefine.KickReasonType
}

func (e *KickedError) Error() string {
	if e.Reason == basedefine.KickReasonType_KICK_REASON_MOBILE_KICK {
		return "client: logged off from the phone"
	}
	return "client: logged in elsewhere"
}

// MovedError ends a connection after 0x0181: log in elsewhere.
type MovedError struct {
	Addr  string        // empty: ask the login_server again
	After time.Duration // not earlier
}

func (e *MovedError) Error() string { return "client: server asks to connect elsewhere" }

// NackError is a message that the server refused with 0x0381 and did not
// store.
type NackError struct {
	Code      im.Code
	Retryable bool
	After     time.Duration // wait at least so long before repeating
}

func (e *NackError) Error() string { return fmt.Sprintf("client: message refused: %v", e.Code) }

// ResultError is a reply whose result code is not 0.
type ResultError struct {
	Command wire.Command // of the reply
	Code    uint32
}

func (e *ResultError) Error() string {
	return fmt.Sprintf("client: %v: result %d", e.Command, e.Code)
}

// result turns a result code into an error.
func result(reply wire.Command, code uint32) error {
	if code == 0 {
		return nil
	}
	return &ResultError{Command: reply, Code: code}
}
