package fileserver

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"teamtalk/file_server/internal/image"
	"teamtalk/internal/admit"
)

// Limits of the HTTP port.
const (
	readHeaderTimeout = 10 * time.Second
	idleHTTP          = 30 * time.Second
	stallTimeout      = 30 * time.Second // of a body that does not go on
	maxHTTPConns      = 1024
	maxHeaderBytes    = 16 << 10
)

// httpFront is the HTTP port: images as the original's msfs, on any path.
type httpFront struct {
	server    *Server
	http      *http.Server
	listeners []net.Listener
	shrinker  *image.Shrinker
	sizes     map[image.Size]bool
}

// listenHTTP takes the HTTP ports, which are served by run.
func listenHTTP(ctx context.Context, s *Server, reg prometheus.Registerer) (*httpFront, error) {
	f := &httpFront{
		server: s, shrinker: image.NewShrinker(s.cfg.MaxImagePixels, s.cfg.ImageMemory), sizes: map[image.Size]bool{},
	}
	for _, size := range s.cfg.ImageSizes {
		f.sizes[size] = true
	}
	f.http = &http.Server{
		Handler: f, ReadHeaderTimeout: readHeaderTimeout, IdleTimeout: idleHTTP, MaxHeaderBytes: maxHeaderBytes,
		ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	for _, addr := range s.cfg.HTTPListen {
		l, err := admit.Listen(ctx, addr,
			admit.Config{Name: "http", Room: make(chan struct{}, maxHTTPConns)}, admit.Deps{Log: s.log, Reg: reg})
		if err != nil {
			f.close()
			return nil, err
		}
		f.listeners = append(f.listeners, l)
	}
	return f, nil
}

func (f *httpFront) close() {
	for _, l := range f.listeners {
		_ = l.Close() // served nobody
	}
}

// run serves until ctx ends, and then what is under way, for patience at most.
func (f *httpFront) run(ctx context.Context, patience time.Duration) error {
	failed := make(chan error, len(f.listeners))
	for _, l := range f.listeners {
		go func() { failed <- f.http.Serve(l) }()
	}
	var err error
	left := len(f.listeners)
	select {
	case err = <-failed:
		left--
		err = fmt.Errorf("serve HTTP: %w", err)
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience/2)
	defer cancel()
	if f.http.Shutdown(grace) != nil {
		_ = f.http.Close() // whoever is still under way is cut
	}
	f.close()
	for range left {
		<-failed //nolint:errcheck // that it was closed
	}
	return err
}

// ServeHTTP is http.Handler's. Nothing is redirected: old clients post to
// paths of any form. Source: docs/protocol/flows.md §17.
func (f *httpFront) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Security-Policy", "default-src 'none'; sandbox")
	switch {
	case strings.Contains(r.URL.Path, ".."):
		h.Set("Connection", "close")
		f.fail(w, "bad_path", http.StatusBadRequest)
	case f.server.shares != nil && sharedRequest(r):
		f.server.shares.serveHTTP(w, r)
	case r.Method == http.MethodPost:
		f.upload(w, r)
	case r.Method == http.MethodGet, r.Method == http.MethodHead:
		f.download(w, r)
	default:
		f.fail(w, "bad_method", http.StatusForbidden)
	}
}

// fail answers with a status, and counts why.
func (f *httpFront) fail(w http.ResponseWriter, result string, status int) {
	f.count("other", result)
	http.Error(w, http.StatusText(status), status)
}

func (f *httpFront) count(operation, result string) {
	f.server.metrics.http.WithLabelValues(operation, result).Inc()
}
