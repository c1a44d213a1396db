package link

import (
	"errors"
	"log/slog"
	"strings"
	"syscall"
	"testing"
	"time"

	"teamtalk/internal/testenv"
	"teamtalk/internal/transport"
)

// lines is a log that a test reads while it is written.
type lines struct{ testenv.Output }

func (l *lines) count(text string) int { return strings.Count(l.String(), text) }

func (l *lines) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

// TestSaysWhomItWaitsFor: an address that refuses is named once however often
// it is dialled; the end of the last link to it is a warning.
func TestSaysWhomItWaitsFor(t *testing.T) {
	t.Parallel()
	var log lines
	addr := testenv.FreeAddr(t)
	here := run(t, Config{Role: "msg_server", BackOff: time.Millisecond, BackOffTo: time.Millisecond}, "",
		func(h *host) { h.log = log.logger() })
	here.keep(t, addr)
	waiting := `msg="waiting for db_proxy ` + addr + `: connection refused"`
	testenv.Eventually(t, time.Minute, func() bool { return log.count(waiting) == 1 }, "it says for whom it waits")
	there := run(t, Config{Role: "db_proxy"}, addr)
	testenv.Eventually(t, time.Minute, func() bool { return log.count("link up") == 1 }, "the link is up")
	there.stop()
	lost := `level=WARN msg="no link to any db_proxy is left"`
	testenv.Eventually(t, time.Minute, func() bool { return log.count(lost) == 1 }, "it warns of the loss")
	testenv.Eventually(t, time.Minute, func() bool { return log.count(waiting) == 2 }, "it says again for whom it waits")
}

func TestNeighbours(t *testing.T) {
	t.Parallel()
	var log lines
	var n neighbours
	now := time.Unix(1_000_000, 0)
	dial := func(after time.Duration) {
		now = now.Add(after)
		n.away(log.logger(), now, "db_proxy", "a:1", errors.Join(syscall.ECONNREFUSED))
	}
	for _, after := range []time.Duration{0, time.Second, time.Minute, 59 * time.Second} {
		dial(after)
	}
	if got := log.count("waiting for db_proxy a:1: connection refused"); got != 2 {
		t.Errorf("said %d times in two minutes, want 2", got)
	}
	n.opened("db_proxy", "a:1")
	n.opened("db_proxy", "b:1")
	n.lost(log.logger(), "db_proxy", "peer")
	if got := log.count("WARN"); got != 0 {
		t.Errorf("%d warnings while a link is left", got)
	}
	n.lost(log.logger(), "db_proxy", transport.ReasonStopping)
	if got := log.count("WARN"); got != 0 {
		t.Errorf("%d warnings at a stop", got)
	}
	n.opened("db_proxy", "a:1")
	n.lost(log.logger(), "db_proxy", "peer")
	if got := log.count("WARN"); got != 1 {
		t.Errorf("%d warnings for the loss of the last link, want 1", got)
	}
}
