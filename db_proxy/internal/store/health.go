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

var (
	// ErrAway is the answer to every call while the server is away. Nothing
	// was stored, and the next call may have the same answer at once.
	ErrAway = im.Errorf(im.Unavailable, "the database server is away")
	// errRefuses is the answer to every write while the server refuses them.
	errRefuses = im.Errorf(im.Unavailable, "the database server takes no writes")
)

// health knows whether a database server answers, and whether it takes writes.
// While it does not, calls are refused at once instead of waiting one after the
// other until their callers have gone; connections of its own find out when the
// server is back. A slow statement proves nothing: only a server that also
// refuses, or leaves unanswered, a new connection is away. Safe from any
// goroutine; nil is always well.
type health struct {
	// Static after newHealth.
	route   *route
	connect driver.Connector // route, or what stands before it
	log     *slog.Logger
	clock   func() time.Time
	doubt   func()          // see Deps.Doubt
	ctx     context.Context //nolint:containedctx // ends with close
	cancel  context.CancelFunc
	asking  sync.WaitGroup

	mu       sync.Mutex // guards the fields below; a leaf
	answered time.Time  // when the server did so last
	trouble  error      // ErrAway, errRefuses or nil
	busy     bool       // somebody is asking
	closed   bool
}

func newHealth(r *route, connect driver.Connector, deps Deps) *health {
	h := &health{route: r, connect: connect, log: deps.Log, clock: deps.Clock, doubt: deps.Doubt}
	if h.doubt == nil || !r.writes {
		h.doubt = func() {}
	}
	h.ctx, h.cancel = context.WithCancel(context.Background()) //nolint:forbidigo // lives as long as the pool
	r.refused = h.refused
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

// well returns what keeps reads, or reads and writes, from being served.
func (h *health) well(write bool) error {
	if h == nil {
		return nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.trouble != nil && (write || h.trouble == ErrAway) { //nolint:errorlint // set to one of the two
		return h.trouble
	}
	return nil
}

// watch runs one call of the server, unless that would be in vain.
func (h *health) watch(write bool, call func() error) error {
	if h == nil {
		return call()
	}
	if err := h.well(write); err != nil {
		return err
	}
	began := h.clock()
	timer := time.AfterFunc(suspectAfter, func() { h.suspect(began) })
	err := call()
	timer.Stop()
	switch {
	case silent(err):
		h.suspect(began)
		h.doubt()
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
	if h.answered.After(began) {
		return
	}
	h.begin()
}

// begin starts to ask unless somebody does. Called with mu held.
func (h *health) begin() {
	if h.busy || h.closed {
		return
	}
	h.busy = true
	h.asking.Go(h.ask)
}

// refused takes note of a connection whose server refuses to serve. That server
// may not be the one a new connection leads to, so it is asked; until there is
// an answer nothing is written.
func (h *health) refused(err error) {
	h.mu.Lock()
	first := h.trouble == nil
	if first {
		h.trouble = errRefuses
	}
	h.begin()
	h.mu.Unlock()
	if first {
		h.log.Warn("database takes no writes", "error", err)
		h.route.renew()
		h.doubt()
	}
}

// ask connects until the server answers and takes writes.
func (h *health) ask() {
	patience, rest := firstPatience, firstPause
	for {
		trouble, err := h.question(patience)
		if h.ctx.Err() != nil {
			return
		}
		if h.settle(trouble, err) {
			return
		}
		timer := time.NewTimer(rest)
		select {
		case <-timer.C:
		case <-h.ctx.Done():
			timer.Stop()
			return
		}
		patience, rest = min(2*patience, maxPatience), min(2*rest, maxPause)
	}
}

// settle takes the answer to a question and reports whether all is well. Then
// connections are made anew: those of before may lead to a server that is
// none any more.
func (h *health) settle(trouble, err error) bool {
	h.mu.Lock()
	was := h.trouble
	h.trouble = trouble
	if trouble == nil {
		h.answered, h.busy = h.clock(), false
	}
	h.mu.Unlock()
	if was == trouble { //nolint:errorlint // one of two values, or nil
		return trouble == nil
	}
	switch {
	case trouble == nil:
		h.route.renew()
		h.log.Info("database is back")
	case errors.Is(trouble, errRefuses):
		h.log.Warn("database takes no writes", "error", err)
	default:
		h.log.Warn("database is away", "error", err)
		h.route.open.CloseAll() // calls under way wait for nothing any more
	}
	h.doubt()
	return trouble == nil
}

// question opens a connection, has a write refused or not, and closes it. Any
// other answer is a sign of life, also that there is no room for another
// connection.
func (h *health) question(patience time.Duration) (trouble, err error) {
	ctx, cancel := context.WithTimeout(h.ctx, patience)
	defer cancel()
	conn, err := h.connect.Connect(ctx)
	if err == nil {
		if h.route.writes {
			err = acceptsWrites(ctx, conn)
		}
		_ = conn.Close() // it has said what there is to say
	}
	switch {
	case refusesWrites(err):
		return errRefuses, err
	case err == nil || fromServer(err) && !servesNobody(err):
		return nil, nil
	}
	return ErrAway, err
}
