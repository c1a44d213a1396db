package obs_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"teamtalk/internal/obs"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

// start runs an Obs on a free port until the test ends.
func start(t *testing.T, role string) *obs.Obs {
	t.Helper()
	o, err := obs.New(t.Context(), obs.Config{Role: role, Addr: "127.0.0.1:0", Log: io.Discard, Clock: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- o.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		http.DefaultClient.CloseIdleConnections()
	})
	return o
}

func fetch(t *testing.T, o *obs.Obs, path string) (int, string) {
	t.Helper()
	answer, err := http.Get("http://" + o.Addr() + path)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, string(body)
}

func TestReadiness(t *testing.T) {
	t.Parallel()
	o := start(t, "msg_server")
	var up atomic.Bool
	o.AddCheck("always", func() error { return nil })
	for _, name := range []string{"db_proxy", "route_server"} {
		o.AddCheck(name, func() error {
			if up.Load() {
				return nil
			}
			return errors.New("not connected")
		})
	}
	if code, body := fetch(t, o, "/readyz"); code != 503 ||
		body != "db_proxy: not connected\nroute_server: not connected\n" {
		t.Errorf("%d %q", code, body)
	}
	if code, body := fetch(t, o, "/healthz"); code != 200 || body != "ok\n" {
		t.Errorf("%d %q", code, body)
	}
	up.Store(true)
	if code, body := fetch(t, o, "/readyz"); code != 200 || body != "ok\n" {
		t.Errorf("%d %q", code, body)
	}
}

// TestRolesAreApart runs two roles in one process with the same metric.
func TestRolesAreApart(t *testing.T) {
	t.Parallel()
	one, two := start(t, "one"), start(t, "two")
	for _, o := range []*obs.Obs{one, two} {
		sent := prometheus.NewCounter(prometheus.CounterOpts{Name: "im_test_sent_total", Help: "h"})
		o.Reg.MustRegister(sent)
		sent.Inc()
	}
	code, body := fetch(t, two, "/metrics")
	for _, want := range []string{
		`im_test_sent_total{role="two"} 1`, `go_goroutines{role="two"}`, `process_resident_memory_bytes{role="two"}`,
	} {
		if code != 200 || !strings.Contains(body, want) {
			t.Errorf("%d: no %s", code, want)
		}
	}
	if strings.Contains(body, `role="one"`) {
		t.Error("shows another role's metrics")
	}
}

func TestProfiles(t *testing.T) {
	t.Parallel()
	o := start(t, "r")
	for _, path := range []string{"/debug/pprof/", "/debug/pprof/goroutine?debug=1", "/debug/pprof/cmdline"} {
		if code, _ := fetch(t, o, path); code != 200 {
			t.Errorf("%s: %d", path, code)
		}
	}
}

func TestPortTaken(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	_, err = obs.New(t.Context(), obs.Config{Role: "r", Addr: taken.Addr().String(), Log: io.Discard, Clock: time.Now})
	if want := "health listener: address " + taken.Addr().String() + " is taken by another process"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	_, err = obs.New(t.Context(), obs.Config{Role: "r", Addr: "192.0.2.1:1", Log: io.Discard, Clock: time.Now})
	if err == nil || !strings.HasPrefix(err.Error(), "health listener: listen tcp 192.0.2.1:1: ") {
		t.Error(err)
	}
}

func TestWithoutPort(t *testing.T) {
	t.Parallel()
	o, err := obs.New(t.Context(), obs.Config{Role: "r", Log: io.Discard, Clock: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := o.Run(ctx); err != nil || o.Addr() != "" || o.Close() != nil {
		t.Error(err, o.Addr())
	}
}

func TestLog(t *testing.T) {
	t.Parallel()
	var text strings.Builder
	o, err := obs.New(t.Context(), obs.Config{Role: "r", Log: &text, JSON: true, Level: slog.LevelWarn, Clock: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	o.Log.Info("unseen")
	o.Level.Set(slog.LevelInfo)
	o.Log.Info("seen", slog.Int("n", 1))
	if got := text.String(); strings.Contains(got, "unseen") || !strings.Contains(got, `"role":"r","n":1}`) {
		t.Error(got)
	}
	if _, err := obs.New(t.Context(), obs.Config{Role: "r", Clock: time.Now}); err == nil {
		t.Error("a nil writer was accepted")
	}
}
