// Package obs lets people look into a running role: its log, its metrics, its
// health and what became of its last messages over HTTP. Every role of a process has an Obs of its own; nothing
// here is shared or global. What is counted and when a role is ready is the
// role's own business.
package obs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"teamtalk/internal/admit"
	"teamtalk/internal/secret"
	"teamtalk/internal/trace"
)

// Config of an Obs.
type Config struct {
	Role  string           // constant label of every metric and attribute of every log line
	Addr  string           // host:port of the health port; port 0 takes a free one; empty opens none
	Level slog.Level       // least important line that is logged
	JSON  bool             // log lines as JSON instead of text
	Log   io.Writer        // where the log goes; nil is an error
	Clock func() time.Time // what the role takes its time from; nil is an error
}

// Obs is the outside view of one role. Its fields are set by New and safe from
// any goroutine.
type Obs struct {
	Log    *slog.Logger
	Level  *slog.LevelVar        // may be changed while running
	Reg    prometheus.Registerer // adds the label role
	Gather prometheus.Gatherer   // what /metrics shows
	Clock  func() time.Time      // what the role takes its time from

	role     string
	mux      *http.ServeMux
	listener net.Listener // nil without a health port

	mu     sync.Mutex // guards the field below
	checks []check
}

type check struct {
	name string
	ask  func() error
}

// New makes the log and the registry and takes the health port, which is
// served once Run is called.
func New(ctx context.Context, cfg Config) (*Obs, error) {
	if cfg.Role == "" || cfg.Log == nil || cfg.Clock == nil {
		return nil, errors.New("obs: Role, Log and Clock are needed")
	}
	registry := prometheus.NewRegistry()
	o := &Obs{
		Level:  new(slog.LevelVar),
		Reg:    prometheus.WrapRegistererWith(prometheus.Labels{"role": cfg.Role}, registry),
		Gather: registry,
		role:   cfg.Role,
		Clock:  cfg.Clock,
	}
	o.mux = o.handler()
	o.Level.Set(cfg.Level)
	o.Log = newLogger(cfg, o.Level)
	for _, c := range []prometheus.Collector{
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	} {
		if err := o.Reg.Register(c); err != nil {
			return nil, fmt.Errorf("register runtime metrics: %w", err)
		}
	}
	if cfg.Addr == "" {
		return o, nil
	}
	listener, err := admit.Listen(ctx, cfg.Addr, admit.Config{
		Name: "health", Class: admit.Operator, Room: make(chan struct{}, maxConns),
	}, admit.Deps{Log: o.Log, Reg: o.Reg})
	if err != nil {
		return nil, err
	}
	o.listener = listener
	return o, nil
}

func newLogger(cfg Config, level slog.Leveler) *slog.Logger {
	options := &slog.HandlerOptions{Level: level}
	var handler slog.Handler = slog.NewTextHandler(cfg.Log, options)
	if cfg.JSON {
		handler = slog.NewJSONHandler(cfg.Log, options)
	}
	return slog.New(handler).With(slog.String("role", cfg.Role))
}

// Addr returns the address of the health port, or "" without one.
func (o *Obs) Addr() string {
	if o.listener == nil {
		return ""
	}
	return o.listener.Addr().String()
}

// AddCheck makes readiness depend on ask, which returns nil while its subject
// can do its work. ask is called from any goroutine on every look at /readyz,
// so it must answer at once from what is known instead of trying something
// out. Names are told to whoever asks.
func (o *Obs) AddCheck(name string, ask func() error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.checks = append(o.checks, check{name, ask})
}

// Failing returns one line, "name: reason", for each check that does not pass,
// in the order of their registration.
func (o *Obs) Failing() []string {
	o.mu.Lock()
	checks := o.checks // only ever appended to
	o.mu.Unlock()
	var failing []string
	for _, c := range checks {
		if err := c.ask(); err != nil {
			failing = append(failing, c.name+": "+err.Error())
		}
	}
	return failing
}

// Trace returns what remembers the last events of messages, for questions at
// the health port from this machine or from who knows the secret. It is called
// once; nil if none are to be remembered.
func (o *Obs) Trace(events int, shared secret.Value) *trace.Recorder {
	r := trace.New(events)
	o.mux.Handle("GET "+trace.Path, trace.NewHandler(o.role, r, shared, o.Reg))
	return r
}

// Handle adds a page to the health port, before Run. It is for operators: nobody
// else reaches that port.
func (o *Obs) Handle(pattern string, h http.Handler) { o.mux.Handle(pattern, h) }

// Close gives the health port back when Run will not be called.
func (o *Obs) Close() error {
	if o.listener == nil {
		return nil
	}
	return o.listener.Close()
}

// Limits of the health port.
const (
	maxConns          = 64
	readHeaderTimeout = 5 * time.Second
	idleTimeout       = 30 * time.Second
	shutdownTimeout   = time.Second
)

// Run serves the health port until ctx is done. It is called once.
func (o *Obs) Run(ctx context.Context) error {
	if o.listener == nil {
		<-ctx.Done()
		return nil
	}
	server := &http.Server{Handler: o.mux, ReadHeaderTimeout: readHeaderTimeout, IdleTimeout: idleTimeout}
	served := make(chan error, 1)
	go func() { served <- server.Serve(o.listener) }()
	select {
	case err := <-served:
		return fmt.Errorf("serve health port: %w", err)
	case <-ctx.Done():
	}
	// A profile may be running for minutes; nobody waits for it here.
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
	defer cancel()
	err := server.Shutdown(grace)
	if errors.Is(err, context.DeadlineExceeded) {
		err = server.Close()
	}
	if end := <-served; !errors.Is(end, http.ErrServerClosed) {
		err = errors.Join(err, end)
	}
	if err != nil {
		return fmt.Errorf("close health port: %w", err)
	}
	return nil
}

func (o *Obs) handler() *http.ServeMux {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(o.Gather, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { o.answer(w, nil) })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) { o.answer(w, o.Failing()) })
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	return mux
}

// answer writes "ok", or what is failing with status 503.
func (o *Obs) answer(w http.ResponseWriter, failing []string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	if len(failing) == 0 {
		failing = []string{"ok"}
	} else {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	for _, line := range failing {
		if _, err := fmt.Fprintln(w, line); err != nil {
			o.Log.Debug("health answer not written", slog.Any("err", err))
			return
		}
	}
}
