package store

import (
	"context"
	"database/sql/driver"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/go-sql-driver/mysql"

	"teamtalk/internal/im"
)

// How long a call may take before the server is asked whether it lives, how
// long it has for the answer, and how long it is left alone between questions.
// The patience grows to maxPatience: a server that hangs answers the question
// that waits as soon as it goes on, and it counts questions that were broken
// off, to lock out whoever breaks off too many.
const (
	suspectAfter  = time.Second
	firstPatience = 3 * time.Second
	maxPatience   = 8 * time.Second
	firstPause    = 50 * time.Millisecond
	maxPause      = 500 * time.Millisecond
)

// errAway is the answer to every call while the server is away.
var errAway = im.Errorf(im.Unavailable, "the database server is away")

// health knows whether a database server answers. While it does not, calls are
// refused at once instead of waiting one after the other until their callers
// have gone; connections of its own find out when the server is back. A slow
// statement proves nothing: only a server that also refuses, or leaves
// unanswered, a new connection is away. Safe from any goroutine; nil is always
// well.
type health struct {
	// Static after newHealth.
	connect driver.Connector
	log     *slog.Logger
	clock   func() time.Time
	ctx     context.Context //nolint:containedctx // ends with close
	cancel  context.CancelFunc
	asking  sync.WaitGroup

	mu       sync.Mutex // guards the fields below
	answered time.Time  // when the server did so last
	away     bool
	busy     bool // somebody is asking
	closed   bool
}

func newHealth(connect driver.Connector, log *slog.Logger, clock func() time.Time) *health {
	h := &health{connect: connect, log: log, clock: clock}
	h.ctx, h.cancel = context.WithCancel(context.Background()) //nolint:forbidigo // lives as long as the pool
	return h
}

// close ends the questions.
func (h *health) close() {
	if h == nil {
		return
	}
	h.mu.Lock()
	h.closed = true
	h.mu.Unlock()
	h.cancel()
	h.asking.Wait()
}

// watch runs one call of the server, unless it is away.
func (h *health) watch(call func() error) error {
	if h == nil {
		return call()
	}
	h.mu.Lock()
	away := h.away
	h.mu.Unlock()
	if away {
		return errAway
	}
	began := h.clock()
	timer := time.AfterFunc(suspectAfter, func() { h.suspect(began) })
	err := call()
	timer.Stop()
	switch {
	case silent(err):
		h.suspect(began)
	case err == nil || fromServer(err):
		h.mu.Lock()
		h.answered = h.clock()
		h.mu.Unlock()
	}
	return err
}

// silent reports whether a call failed for want of an answer. Callers that ran
// out of time say so by the timer.
func silent(err error) bool {
	return err != nil && !fromServer(err) &&
		(isNet(err) || errors.Is(err, driver.ErrBadConn) || errors.Is(err, mysql.ErrInvalidConn))
}

// fromServer reports whether the server answered with an error.
func fromServer(err error) bool {
	_, ok := mysqlNumber(err)
	return ok
}

// suspect asks the server whether it lives, unless it answered somebody since
// a call began.
func (h *health) suspect(began time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.answered.After(began) || h.busy || h.closed {
		return
	}
	h.busy = true
	h.asking.Go(h.ask)
}

// ask connects until the server answers.
func (h *health) ask() {
	patience, rest := firstPatience, firstPause
	for {
		err := h.question(patience)
		h.mu.Lock()
		was := h.away
		h.away = err != nil
		if err == nil || h.ctx.Err() != nil {
			h.answered, h.busy = h.clock(), false
			h.mu.Unlock()
			if was {
				h.log.Info("database is back")
			}
			return
		}
		h.mu.Unlock()
		if !was {
			h.log.Warn("database is away", "error", err)
		}
		timer := time.NewTimer(rest)
		select {
		case <-timer.C:
		case <-h.ctx.Done():
			timer.Stop()
		}
		patience, rest = min(2*patience, maxPatience), min(2*rest, maxPause)
	}
}

// question opens a connection and closes it. Any answer is a sign of life,
// also that there is no room for another connection.
func (h *health) question(patience time.Duration) error {
	ctx, cancel := context.WithTimeout(h.ctx, patience)
	defer cancel()
	conn, err := h.connect.Connect(ctx)
	if err == nil {
		_ = conn.Close() // it has said what there is to say
	}
	if fromServer(err) {
		return nil
	}
	return err
}
