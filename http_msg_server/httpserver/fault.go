package httpserver

import (
	"errors"
	"net/http"
	"time"

	"teamtalk/internal/im"
)

// fault is an error as the caller sees it.
type fault struct {
	Status  int    // of HTTP
	Code    string // for programs
	Message string // for people
	Field   string // which part of the request is wrong; may be empty
	Wait    time.Duration
}

func (f *fault) Error() string { return f.Code + ": " + f.Message }

// wrong complains about one field, 400.
func wrong(field, message string) *fault {
	return &fault{Status: http.StatusBadRequest, Code: "invalid", Message: message, Field: field}
}

func missing(what, field string) *fault {
	return &fault{Status: http.StatusNotFound, Code: "not_found", Message: what + " does not exist", Field: field}
}

func conflict(field, message string) *fault {
	return &fault{Status: http.StatusConflict, Code: "conflict", Message: message, Field: field}
}

func tooLarge(field, message string) *fault {
	return &fault{Status: http.StatusRequestEntityTooLarge, Code: "too_large", Message: message, Field: field}
}

// retryAfter is what a caller is asked to wait when a server is away or full.
const retryAfter = time.Second

// faultOf turns any error into what the caller may know of it.
func faultOf(err error) *fault {
	if f, ok := errors.AsType[*fault](err); ok {
		return f
	}
	switch im.CodeOf(err) {
	case im.Invalid:
		return &fault{Status: http.StatusBadRequest, Code: "invalid", Message: "the request was refused"}
	case im.Denied:
		return &fault{Status: http.StatusConflict, Code: "denied", Message: "the user may not do this"}
	case im.NotFound:
		return &fault{Status: http.StatusNotFound, Code: "not_found", Message: "a user or group does not exist"}
	case im.TooLarge:
		return tooLarge("", "the content is over the limit")
	case im.Busy, im.Unavailable:
		return &fault{
			Status: http.StatusServiceUnavailable, Code: "unavailable",
			Message: "a server is away or busy; repeat the request", Wait: retryAfter,
		}
	case im.OK, im.Internal:
	}
	return &fault{
		Status: http.StatusInternalServerError, Code: "internal", Message: "a fault of the server; repeat the request",
	}
}
