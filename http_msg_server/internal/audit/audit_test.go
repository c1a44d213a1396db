package audit

import (
	"context"
	"errors"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// table is where rows end up, unless it is away.
type table struct {
	mu     sync.Mutex // guards the fields below
	away   int        // so many writes fail
	writes int
	rows   []Entry
}

func (t *table) write(_ context.Context, entries []Entry) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.writes++
	if t.away > 0 {
		t.away--
		return errors.New("away")
	}
	t.rows = append(t.rows, entries...)
	return nil
}

// stored compares the rows with the numbers 0 to n-1 in order.
func stored(t *testing.T, rows *table, n int) {
	t.Helper()
	rows.mu.Lock()
	defer rows.mu.Unlock()
	if len(rows.rows) != n {
		t.Fatalf("%d rows, want %d", len(rows.rows), n)
	}
	for i, e := range rows.rows {
		if e.Subject != strconv.Itoa(i) {
			t.Fatalf("row %d is of %s", i, e.Subject)
		}
	}
}

func dropped() prometheus.Counter {
	return prometheus.NewCounter(prometheus.CounterOpts{Name: "dropped_total", Help: "Of the test."})
}

// TestWrites: every change is one row, in order, however often the database is
// away, and at a stop the rest is written.
func TestWrites(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		rows := &table{away: 3}
		var lines strings.Builder
		l := New(slog.New(slog.NewTextHandler(&lines, nil)), rows.write, dropped())
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { l.Run(ctx) })
		add := func(from, to int) {
			for i := from; i < to; i++ {
				l.Add(t.Context(), Entry{KeyID: "crm", Action: "createUser", Subject: strconv.Itoa(i), RequestID: "R", Remote: "::1", Status: 201})
			}
		}
		add(0, 2500)
		synctest.Wait()
		if l.Waiting() != 2500 {
			t.Errorf("%d wait while the database is away", l.Waiting())
		}
		<-time.After((1 + 2 + 4) * pause) // on the clock of the bubble
		synctest.Wait()
		stored(t, rows, 2500)
		if l.Waiting() != 0 || rows.writes != 3+3 {
			t.Errorf("%d wait, %d writes", l.Waiting(), rows.writes)
		}
		rows.mu.Lock()
		rows.away = 1
		rows.mu.Unlock()
		add(2500, 2510)
		synctest.Wait()
		cancel()
		running.Wait()
		stored(t, rows, 2510)
		if got := strings.Count(lines.String(), "changed through the API"); got != 2510 {
			t.Errorf("%d lines in the log", got)
		}
		if !strings.Contains(lines.String(), "key_id=crm action=createUser subject=2509 request_id=R remote=::1 status=201") {
			t.Error("the last line lacks something")
		}
	})
}

// TestFull: what does not fit is counted, and stands in the log.
func TestFull(t *testing.T) {
	t.Parallel()
	lost := dropped()
	l := New(slog.New(slog.DiscardHandler), (&table{}).write, lost)
	for range maxWaiting + 5 {
		l.Add(t.Context(), Entry{})
	}
	if testutil.ToFloat64(lost) != 5 || l.Waiting() != maxWaiting {
		t.Errorf("%v lost, %d wait", testutil.ToFloat64(lost), l.Waiting())
	}
}
