// Package routeserver is the route_server role: it keeps the presence of all
// users and passes on what the msg_servers have to tell each other. It stores
// nothing: after a restart the msg_servers announce their users again.
//
// Source: docs/protocol/flows.md §2, §4; docs/protocol/commands.md,
// "What each server accepts, in one place".
package routeserver

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

	"teamtalk/internal/link"
	"teamtalk/internal/trace"
	"teamtalk/internal/transport"
	"teamtalk/internal/wire"
	"teamtalk/route_server/internal/presence"
)

// Role is the name of this role to its neighbours.
const Role = "route_server"

// Deps of a Server. Log and Reg are needed.
type Deps struct {
	Log   *slog.Logger
	Reg   prometheus.Registerer
	Clock func() time.Time // nil: time.Now
	Trace *trace.Recorder  // nil remembers nothing
}

// Server is one route_server.
type Server struct {
	// Static after New.
	cfg      Config
	log      *slog.Logger
	engine   *transport.Engine
	presence *presence.Table
	metrics  *metrics
	trace    *trace.Recorder
	commands map[wire.Command]func(*link.Link, wire.PDU)

	stopping atomic.Bool // links that end now do not mean that users are gone

	mu     sync.Mutex             // taken by writers of links
	links  atomic.Pointer[roster] // replaced as a whole, read without a lock
	opened sync.Pool              // of *workspace
}

// New checks the configuration and takes the ports.
func New(cfg Config, deps Deps) (*Server, error) {
	if deps.Log == nil || deps.Reg == nil {
		return nil, errors.New("route_server: Log and Reg are needed")
	}
	s := &Server{
		cfg:      cfg,
		log:      deps.Log,
		presence: presence.New(),
		trace:    deps.Trace,
	}
	s.metrics = newMetrics(deps.Reg, s.presence)
	s.commands = s.table()
	s.links.Store(&roster{})
	s.opened.New = func() any { return new(workspace) }
	node := link.New(link.Config{
		Role:           Role,
		Capabilities:   []string{link.CapRelay, link.CapPresence},
		Secret:         cfg.LinkSecret,
		AllowOriginals: cfg.OriginalNeighbours,
	}, link.Deps{Log: deps.Log, Reg: deps.Reg, Clock: deps.Clock})
	limits := transport.LinkLimits
	limits.MaxPDU = cfg.MaxLinkPDU
	var listeners []transport.Listener
	for _, ip := range cfg.ListenIPs {
		listeners = append(listeners, transport.Listener{
			Name: "msg_server", Addr: net.JoinHostPort(ip, strconv.Itoa(cfg.ListenPort)),
			Handler: node.Accept(s), Limits: limits, Allow: cfg.AllowedPeers.Allow,
		})
	}
	var err error
	s.engine, err = transport.New(transport.Config{Listeners: listeners}, transport.Deps{
		Log: deps.Log, Reg: deps.Reg, Clock: deps.Clock,
	})
	if err != nil {
		return nil, fmt.Errorf("route_server: %w", err)
	}
	return s, nil
}

// Run serves until ctx ends, then closes the links after what is queued was
// written, for ShutdownTimeout at most. An end without ctx is an error.
func (s *Server) Run(ctx context.Context) error {
	serving, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- s.engine.Run(serving) }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	s.stopping.Store(true)
	s.engine.RefuseNew()
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.cfg.ShutdownTimeout)
	defer cancel()
	s.engine.CloseAll(closing, transport.ReasonStopping)
	stop()
	return <-ended
}

var (
	errStarting = errors.New("not listening yet")
	errStopping = errors.New("stopping")
)

// Ready returns nil while msg_servers can connect. Safe anywhere.
func (s *Server) Ready() error {
	if s.stopping.Load() {
		return errStopping
	}
	select {
	case <-s.engine.Booted():
		return nil
	default:
		return errStarting
	}
}
