// Package pushserver is the push_server role: msg_servers hand it
// notifications for phones, 070F, and it passes them to Apple and Google and
// answers what became of them, 0710. Who is notified, and of what, is decided
// before.
//
// Source: docs/protocol/flows.md §15, with the fixes of
// docs/protocol/defects.md E6, E7 and E8.
package pushserver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"teamtalk/internal/im"
	"teamtalk/internal/link"
	"teamtalk/internal/transport"
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
	cfg       Config
	clock     func() time.Time
	outboxes  map[im.ClientType]*outbox.Outbox
	apple     *service // nil: no credentials
	google    *service // nil: no credentials
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
	s := &Server{cfg: cfg, log: deps.Log, clock: deps.Clock, outboxes: map[im.ClientType]*outbox.Outbox{}}
	s.dropped = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "im_dropped_total", Help: "PDUs dropped, by reason.",
	}, []string{"reason"})
	deps.Reg.MustRegister(s.dropped)
	if err := s.providers(deps.Reg); err != nil {
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
func (s *Server) providers(reg prometheus.Registerer) error {
	apple, google, err := s.open()
	if err != nil {
		return err
	}
	metrics := outbox.NewMetrics(reg)
	box := outbox.Config{Workers: s.cfg.Workers, Capacity: s.cfg.MaxWaiting, Attempts: s.cfg.MaxAttempts}
	if apple != nil {
		box.Name, s.apple = "apns", newService(apple)
		s.outboxes[im.IOS] = outbox.New(box, s.apple, metrics)
	} else {
		s.log.Warn("no credentials for Apple: iPhones get no notifications")
	}
	if google != nil {
		box.Name, s.google = "fcm", newService(google)
		s.outboxes[im.Android] = outbox.New(box, s.google, metrics)
	} else {
		s.log.Warn("no credentials for Google: Android phones get no notifications")
	}
	return nil
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
	s.apple.close()
	s.google.close()
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
