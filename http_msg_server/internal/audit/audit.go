// Package audit keeps who changed what: a line in the log before the answer,
// and within a second a row in the database. Rows wait in a bounded queue
// while the database is away; what does not fit is counted, and stands in the
// log all the same.
package audit

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Entry is one change.
type Entry struct {
	At                                        time.Time
	KeyID, Action, Subject, RequestID, Remote string
	Status                                    int // of the HTTP answer
}

// Write stores entries; after an error all are written again.
type Write func(ctx context.Context, entries []Entry) error

// Bounds: entries that wait, entries in one write, and the pause after a
// failure, which doubles with each.
const (
	maxWaiting = 100_000
	maxBatch   = 1000
	pause      = 500 * time.Millisecond
	maxPause   = 16 * time.Second
)

// Log is safe from any goroutine.
type Log struct {
	log     *slog.Logger
	write   Write
	dropped prometheus.Counter

	mu      sync.Mutex // guards the field below; a leaf
	waiting []Entry
	wake    chan struct{} // of one
}

// New returns a Log that Run writes; dropped counts the rows given up.
func New(log *slog.Logger, write Write, dropped prometheus.Counter) *Log {
	return &Log{log: log, write: write, dropped: dropped, wake: make(chan struct{}, 1)}
}

// Waiting returns how many rows are not written yet.
func (l *Log) Waiting() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.waiting)
}

// Add notes a change.
func (l *Log) Add(ctx context.Context, e Entry) {
	l.log.InfoContext(ctx, "changed through the API", "key_id", e.KeyID, "action", e.Action, "subject", e.Subject,
		"request_id", e.RequestID, "remote", e.Remote, "status", e.Status)
	l.mu.Lock()
	fits := len(l.waiting) < maxWaiting
	if fits {
		l.waiting = append(l.waiting, e)
	}
	l.mu.Unlock()
	if !fits {
		l.dropped.Inc()
		return
	}
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// Run writes until ctx ends, and once more for what waits then.
func (l *Log) Run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
			defer cancel()
			for l.flush(last) {
			}
			return
		case <-l.wake:
		}
		wait := pause
		for ctx.Err() == nil && l.Waiting() > 0 {
			if l.flush(ctx) {
				wait = pause
				continue
			}
			select {
			case <-ctx.Done():
			case <-time.After(wait):
			}
			wait = min(2*wait, maxPause)
		}
	}
}

// flush writes one batch and reports whether it did.
func (l *Log) flush(ctx context.Context) bool {
	l.mu.Lock()
	batch := l.waiting[:min(len(l.waiting), maxBatch)]
	l.mu.Unlock()
	if len(batch) == 0 {
		return false
	}
	if err := l.write(ctx, batch); err != nil {
		l.log.WarnContext(ctx, "audit rows not written", "entries", len(batch), "error", err)
		return false
	}
	l.mu.Lock()
	if l.waiting = l.waiting[len(batch):]; len(l.waiting) == 0 {
		l.waiting = nil
	}
	l.mu.Unlock()
	return true
}
