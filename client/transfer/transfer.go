// Package transfer sends and fetches files of messages over HTTP: uploads in
// the tus protocol, downloads in ranges. A transfer that is cut goes on where
// it stood; both ends are compared by SHA-256. Source: docs/files.md.
package transfer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"teamtalk/client"
	"teamtalk/internal/im"
)

// The errors that callers tell apart.
var (
	// ErrRefused: the server does not take or give the file; trying again
	// does not help.
	ErrRefused = errors.New("transfer: refused")
	// ErrNoSpace: a disk is full, that of the server or our own. It comes with
	// ErrRefused; what has arrived stays, and a later attempt goes on.
	ErrNoSpace = errors.New("no space left")
	// ErrContent: what arrived is not what was sent, or the file changed.
	ErrContent = errors.New("transfer: the content differs")
)

// The reasons behind an ErrRefused or ErrContent, for those who tell people.
var (
	ErrDenied        = errors.New("nobody you can write to, or no group of yours")
	ErrGone          = errors.New("there is no such file here, or not any more")
	ErrQuota         = errors.New("your files on the server would be too many or too large")
	ErrTooLarge      = errors.New("too large")
	ErrUndeliverable = errors.New("it has arrived, but the receiver cannot be written to")
	ErrChanged       = errors.New("the file changed while it was sent")
	ErrDamaged       = errors.New("what came is damaged and was removed, begin again")
)

// ExistsError comes with ErrRefused: nothing is overwritten.
type ExistsError struct{ Path string }

func (e *ExistsError) Error() string { return e.Path + " exists" }

// SilenceError is a transfer that was given up.
type SilenceError struct {
	After time.Duration // without a byte
	Err   error         // of the last attempt
}

func (e *SilenceError) Error() string {
	return fmt.Sprintf("transfer: given up after %v without a byte: %v", e.After, e.Err)
}

func (e *SilenceError) Unwrap() error { return e.Err }

// Access asks a msg_server for the access to a file; id is "" for a new one.
type Access func(ctx context.Context, id string) (client.FileAccess, error)

// Options of a transfer. Access is needed.
type Options struct {
	Access Access
	// Progress is told how many bytes have arrived of how many; may be nil.
	// After a cut, done may go back.
	Progress func(done, total int64)
	// Patience is how long nothing may arrive before the transfer is given up;
	// 0 is ten minutes.
	Patience time.Duration
	HTTP     *http.Client // nil: one of its own
}

// Bounds of the wait between attempts.
const (
	minBackoff = 100 * time.Millisecond
	maxBackoff = 5 * time.Second
	askFor     = 20 * time.Second // for an answer of few bytes
	stallAfter = time.Minute      // a connection on which nothing moves
)

// attempts repeats a step until it succeeds, is refused, or nothing has
// arrived for too long.
type attempts struct {
	Options
	access  client.FileAccess
	total   int64
	ahead   int64 // how much of the file was at the server when it was not whole
	backoff time.Duration
	last    time.Time   // when something arrived
	stall   *time.Timer // ends a request on which nothing moves; nil without one
}

func newAttempts(o Options) *attempts {
	if o.Patience == 0 {
		o.Patience = 10 * time.Minute
	}
	if o.HTTP == nil {
		t := http.DefaultTransport.(*http.Transport).Clone()
		t.DisableCompression = true
		t.WriteBufferSize, t.ReadBufferSize = 128<<10, 128<<10
		t.ResponseHeaderTimeout = 0
		o.HTTP = &http.Client{Transport: t}
	}
	return &attempts{Options: o, backoff: minBackoff, last: time.Now()}
}

// watch ends what is done under the returned context when nothing moves: a
// network that is gone does not say so.
func (a *attempts) watch(ctx context.Context) (watched context.Context, stop func()) {
	watched, cancel := context.WithCancel(ctx)
	a.stall = time.AfterFunc(stallAfter, cancel)
	return watched, func() { a.stall.Stop(); cancel() }
}

// arrived notes progress.
func (a *attempts) arrived(done int64) {
	a.backoff = minBackoff
	a.moved(done)
}

// moved notes bytes that move: the peer is alive.
func (a *attempts) moved(done int64) {
	a.last = time.Now()
	if a.stall != nil {
		a.stall.Reset(stallAfter)
	}
	if a.Progress != nil {
		a.Progress(done, a.total)
	}
}

// repeat runs step until it succeeds. A token that is over is replaced.
func (a *attempts) repeat(ctx context.Context, step func(context.Context) error) error {
	for {
		err := step(ctx)
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, ErrRefused), errors.Is(err, ErrContent):
			return err
		case errors.Is(err, errToken):
			a.access.Token = ""
		}
		if time.Since(a.last) > a.Patience {
			return &SilenceError{a.Patience, err}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(a.backoff):
		}
		a.backoff = min(2*a.backoff, maxBackoff)
	}
}

// authorise makes sure that there is a token.
func (a *attempts) authorise(ctx context.Context) error {
	if a.access.Token != "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, askFor)
	defer cancel()
	access, err := a.Access(ctx, a.access.ID)
	if nack, ok := errors.AsType[*client.NackError](err); ok && !nack.Retryable {
		if nack.Code == im.Denied {
			return fmt.Errorf("%w: %w", ErrRefused, ErrDenied)
		}
		return fmt.Errorf("%w: %w", ErrRefused, nack)
	}
	if errors.Is(err, client.ErrNoFiles) {
		return fmt.Errorf("%w: %w", ErrRefused, err)
	}
	if err == nil {
		a.access = access
	}
	return err
}

// errToken says that a token is over.
var errToken = errors.New("transfer: token not valid any more")

// refusal turns a status that a request did not expect into an error.
func refusal(r *http.Response) error {
	switch r.StatusCode {
	case http.StatusUnauthorized:
		return errToken
	case http.StatusNotFound:
		return fmt.Errorf("%w: %w", ErrRefused, ErrGone)
	case http.StatusRequestEntityTooLarge:
		word, _ := io.ReadAll(io.LimitReader(r.Body, 64))
		if strings.HasPrefix(string(word), "quota") {
			return fmt.Errorf("%w: %w", ErrRefused, ErrQuota)
		}
		return fmt.Errorf("%w: %w", ErrRefused, ErrTooLarge)
	case http.StatusInsufficientStorage:
		return fmt.Errorf("%w: %w on the server", ErrRefused, ErrNoSpace)
	case http.StatusConflict, http.StatusLocked, http.StatusRequestTimeout, http.StatusTooManyRequests:
		return fmt.Errorf("transfer: %s", r.Status)
	}
	if r.StatusCode >= http.StatusInternalServerError {
		return fmt.Errorf("transfer: %s", r.Status)
	}
	return fmt.Errorf("%w: %s", ErrRefused, r.Status)
}

// request makes one with the token.
func (a *attempts) request(ctx context.Context, method, url string) (*http.Request, error) {
	r, err := http.NewRequestWithContext(ctx, method, url, http.NoBody)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRefused, err)
	}
	r.Header.Set("Authorization", "Bearer "+a.access.Token)
	return r, nil
}
