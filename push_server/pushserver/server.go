// Package pushserver is the push_server role: msg_servers hand it
// notifications for phones, 070F, and it passes them to Apple and Google and
// answers what became of them, 0710. Who is notified, and of what, is decided
// before.
//
// Source: flows.md §15, with the fixes of defects E6, E7 and E8.
package pushserver

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"teamtalk/internal/im"
	"teamtalk/internal/link"
	"teamtalk/internal/transport"
	"teamtalk/push_server/internal/apns"
	"teamtalk/push_server/internal/fcm"
	"teamtalk/push_server/internal/outbox"
)

// Role is the name of this role.
const Role = "push_server"

// Deps of a Server. All are needed.
type Deps struct {
	Log   *slog.Logger
	Reg   prometheus.Registerer
	Clock func() time.Time
}

// drainFor is how long a stop waits for what is being sent.
const drainFor = 5 * time.Second

// Server is one push_server.
type Server struct {
	// Static after New.
	log       *slog.Logger
	engine    *transport.Engine
	outboxes  map[im.ClientType]*outbox.Outbox
	closers   []func()
	dropped   *prometheus.CounterVec
	unwritten atomic.Int64 // requests without their answer

	stopping atomic.Bool
}

// New reads the credentials, checks the configuration and takes the port. It
// connects to nobody: Apple and Google may be away.
func New(cfg Config, deps Deps) (*Server, error) {
	if deps.Log == nil || deps.Reg == nil || deps.Clock == nil {
		return nil, errors.New("push_server: Log, Reg and Clock are needed")
	}
	s := &Server{log: deps.Log, outboxes: map[im.ClientType]*outbox.Outbox{}}
	s.dropped = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "im_dropped_total", Help: "PDUs dropped, by reason.",
	}, []string{"reason"})
	deps.Reg.MustRegister(s.dropped)
	if err := s.providers(cfg, deps); err != nil {
		return nil, fmt.Errorf("push_server: %w", err)
	}
	node := link.New(link.Config{Role: Role}, link.Deps{Log: deps.Log, Reg: deps.Reg, Clock: deps.Clock})
	limits := transport.LinkLimits
	limits.MaxPDU = cfg.MaxLinkPDU
	var listeners []transport.Listener
	for _, ip := range cfg.ListenIPs {
		listeners = append(listeners, transport.Listener{
			Name: "msg_server", Addr: net.JoinHostPort(ip, strconv.Itoa(cfg.ListenPort)),
			Handler: node.AcceptPlain(s), Limits: limits, Allow: cfg.AllowedPeers.Allow,
		})
	}
	var err error
	s.engine, err = transport.New(transport.Config{Listeners: listeners},
		transport.Deps{Log: deps.Log, Reg: deps.Reg, Clock: deps.Clock})
	if err != nil {
		return nil, fmt.Errorf("push_server: %w", err)
	}
	return s, nil
}

// providers opens the services that the configuration has credentials for.
func (s *Server) providers(cfg Config, deps Deps) error {
	roots, err := rootCAs(cfg.ProviderCAFile)
	if err != nil {
		return err
	}
	metrics := outbox.NewMetrics(deps.Reg)
	box := outbox.Config{Workers: cfg.Workers, Capacity: cfg.MaxWaiting, Attempts: cfg.MaxAttempts}
	apple, err := openAPNs(cfg, roots, deps.Clock)
	if err != nil {
		return err
	}
	if apple != nil {
		box.Name = "apns"
		s.outboxes[im.IOS] = outbox.New(box, apple, metrics)
		s.closers = append(s.closers, apple.Close)
	} else {
		s.log.Warn("no credentials for Apple: iPhones get no notifications")
	}
	if cfg.FCMAccountFile == "" {
		s.log.Warn("no credentials for Google: Android phones get no notifications")
		return nil
	}
	account, err := fcm.LoadAccount(cfg.FCMAccountFile)
	if err != nil {
		return fmt.Errorf("FcmAccountFile %s: %w", cfg.FCMAccountFile, err)
	}
	google := fcm.New(fcm.Config{
		URL: strings.TrimSuffix(cfg.FCMURL, "/"), Account: account, RootCAs: roots, Clock: deps.Clock,
	})
	box.Name = "fcm"
	s.outboxes[im.Android] = outbox.New(box, google, metrics)
	s.closers = append(s.closers, google.Close)
	return nil
}

// openAPNs returns nil without credentials.
func openAPNs(cfg Config, roots *x509.CertPool, clock func() time.Time) (*apns.Client, error) {
	c := apns.Config{URL: strings.TrimSuffix(cfg.APNsURL, "/"), Topic: cfg.APNsTopic, RootCAs: roots, Clock: clock}
	if c.URL == "" {
		c.URL = apns.Production
		if cfg.Sandbox {
			c.URL = apns.Sandbox
		}
	}
	var err error
	switch {
	case cfg.APNsKeyFile != "":
		c.KeyID, c.TeamID = cfg.APNsKeyID, cfg.APNsTeamID
		if c.Key, err = apns.LoadKey(cfg.APNsKeyFile); err != nil {
			return nil, fmt.Errorf("ApnsKeyFile %s: %w", cfg.APNsKeyFile, err)
		}
	case cfg.CertPath != "":
		if c.Certificate, err = apns.LoadCertificate(cfg.CertPath, cfg.KeyPath, cfg.KeyPassword.Reveal()); err != nil {
			return nil, fmt.Errorf("CertPath %s, KeyPath %s: %w", cfg.CertPath, cfg.KeyPath, err)
		}
	default:
		return nil, nil //nolint:nilnil // no credentials, no client
	}
	return apns.New(c)
}

// rootCAs reads a file of certificate authorities; nil for none.
func rootCAs(path string) (*x509.CertPool, error) {
	if path == "" {
		return nil, nil //nolint:nilnil // those of the system
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("ProviderCAFile: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("ProviderCAFile %s has no certificate", path)
	}
	return pool, nil
}

// Run serves until ctx ends, then waits for what is being sent, for a bounded
// time, and answers for the rest that it failed.
func (s *Server) Run(ctx context.Context) error {
	base := context.WithoutCancel(ctx)
	engineCtx, stopEngine := context.WithCancel(base)
	sendCtx, stopSending := context.WithCancel(base)
	defer stopEngine()
	defer stopSending()
	var sending sync.WaitGroup
	for _, o := range s.outboxes {
		sending.Go(func() { o.Run(sendCtx) })
	}
	failed := make(chan error, 1)
	go func() { failed <- s.engine.Run(engineCtx) }()
	var err error
	select {
	case err = <-failed:
	case <-ctx.Done():
		s.stopping.Store(true)
		s.engine.RefuseNew()
		s.drain()
	}
	stopSending()
	sending.Wait()
	for _, closeProvider := range s.closers {
		closeProvider()
	}
	if err != nil {
		return err
	}
	closing, cancel := context.WithTimeout(base, time.Second)
	defer cancel()
	s.engine.CloseAll(closing, transport.ReasonStopping)
	stopEngine()
	return <-failed
}

// drain waits until every request has its answer, for a bounded time.
func (s *Server) drain() {
	deadline := time.After(drainFor)
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for s.unwritten.Load() > 0 {
		select {
		case <-deadline:
			return
		case <-ticker.C:
		}
	}
}

// Ready returns nil while msg_servers are answered.
func (s *Server) Ready() error {
	if s.stopping.Load() {
		return errors.New("stopping")
	}
	select {
	case <-s.engine.Booted():
		return nil
	default:
		return errors.New("not listening yet")
	}
}
