// Package loginserver is the login_server role: it knows the load of the
// msg_servers and tells clients which of them to connect to, over HTTP and
// over TCP. It stores nothing: the msg_servers announce themselves again after
// a restart.
//
// Source: docs/protocol/flows.md §1, §2.
package loginserver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"teamtalk/internal/link"
	"teamtalk/internal/transport"
	"teamtalk/internal/wire"
	"teamtalk/login_server/internal/balance"
	"teamtalk/login_server/internal/locate"
)

// Role is the name of this role to its neighbours.
const Role = "login_server"

// Deps of a Server. All are needed.
type Deps struct {
	Log   *slog.Logger
	Reg   prometheus.Registerer
	Clock func() time.Time
}

// Server is one login_server.
type Server struct {
	// Static after New.
	cfg     Config
	log     *slog.Logger
	clock   func() time.Time
	engine  *transport.Engine
	http    *locate.Server
	table   *balance.Table
	metrics *metrics

	ofServers map[wire.Command]func(*link.Link, wire.PDU)
	ofClients map[wire.Command]func(*transport.Conn, wire.PDU)

	stopping atomic.Bool
}

// New checks the configuration and takes the ports.
func New(cfg Config, deps Deps) (*Server, error) {
	if deps.Log == nil || deps.Reg == nil || deps.Clock == nil {
		return nil, errors.New("login_server: Log, Reg and Clock are needed")
	}
	s := &Server{cfg: cfg, log: deps.Log, clock: deps.Clock, table: new(balance.Table)}
	s.metrics = newMetrics(deps.Reg, s.table)
	s.ofServers = (&msgServers{s}).commands()
	s.ofClients = (&clients{s}).commands()
	var err error
	s.engine, err = transport.New(
		transport.Config{Listeners: s.listeners(deps)}, transport.Deps{Log: deps.Log, Reg: deps.Reg, Clock: deps.Clock})
	if err != nil {
		return nil, fmt.Errorf("login_server: %w", err)
	}
	var addrs []string
	for _, ip := range cfg.HTTPListenIPs {
		addrs = append(addrs, net.JoinHostPort(ip, strconv.Itoa(cfg.HTTPPort)))
	}
	s.http, err = locate.Listen(locate.Config{
		Addrs:    addrs,
		MaxConns: min(maxHTTPConns, max(1, s.engine.MaxConns()/8)),
		Answer:   s.answerHTTP,
	}, locate.Deps{Log: deps.Log, Reg: deps.Reg})
	if err != nil {
		s.engine.Close()
		return nil, fmt.Errorf("login_server: %w", err)
	}
	return s, nil
}

// maxHTTPConns is how many HTTP clients are served at a time, and no more than
// an eighth of the public connections.
const maxHTTPConns = 4096

// maxClientPDU is more than any request of a client is long, in bytes.
const maxClientPDU = 4096

func (s *Server) listeners(deps Deps) []transport.Listener {
	node := link.New(link.Config{
		Role:           Role,
		Secret:         s.cfg.LinkSecret,
		AllowOriginals: s.cfg.OriginalNeighbours,
	}, link.Deps{Log: deps.Log, Reg: deps.Reg, Clock: deps.Clock})
	linkLimits := transport.LinkLimits
	linkLimits.MaxPDU = s.cfg.MaxLinkPDU
	clientLimits := transport.DefaultLimits
	clientLimits.MaxPDU = maxClientPDU
	var all []transport.Listener
	for _, ip := range s.cfg.MsgServerListenIPs {
		all = append(all, transport.Listener{
			Name: "msg_server", Addr: net.JoinHostPort(ip, strconv.Itoa(s.cfg.MsgServerPort)),
			Handler: node.Accept(&msgServers{s}), Limits: linkLimits, Allow: s.cfg.AllowedPeers.Allow,
		})
	}
	for _, ip := range s.cfg.ClientListenIPs {
		all = append(all, transport.Listener{
			Name: "client", Addr: net.JoinHostPort(ip, strconv.Itoa(s.cfg.ClientPort)),
			Handler: &clients{s}, Limits: clientLimits,
		})
	}
	return all
}

// Run serves until ctx ends, then closes what is open after it was answered,
// for ShutdownTimeout at most. An end without ctx is an error.
func (s *Server) Run(ctx context.Context) error {
	base := context.WithoutCancel(ctx)
	asking, stopAsking := context.WithCancel(base)
	defer stopAsking()
	serving, stopServing := context.WithCancel(base)
	defer stopServing()
	httpEnded := make(chan struct{})
	go func() {
		defer close(httpEnded)
		s.http.Run(asking, s.cfg.ShutdownTimeout)
	}()
	engineEnded := make(chan error, 1)
	go func() { engineEnded <- s.engine.Run(serving) }()
	select {
	case err := <-engineEnded:
		stopAsking()
		<-httpEnded
		return err
	case <-ctx.Done():
	}
	// Clients first: without msg_servers they would be told that there are none.
	s.stopping.Store(true)
	s.engine.RefuseNew()
	stopAsking()
	<-httpEnded
	closing, cancel := context.WithTimeout(base, s.cfg.ShutdownTimeout)
	defer cancel()
	s.engine.CloseAll(closing, transport.ReasonStopping)
	stopServing()
	return <-engineEnded
}

var (
	errStarting = errors.New("not listening yet")
	errStopping = errors.New("stopping")
)

// Ready returns nil while clients and msg_servers are answered. It does not
// wait for a msg_server: those may come later. Safe anywhere.
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

// Servers returns how many msg_servers have announced themselves. Clients that
// ask while there are none are turned away.
func (s *Server) Servers() int {
	servers, _ := s.table.Totals()
	return servers
}

// pick chooses a msg_server and counts the answer.
func (s *Server) pick(way *ways) (balance.Info, balance.Result) {
	info, result := s.table.Pick(s.clock())
	way.count(result)
	return info, result
}

// answerHTTP is what a client gets over HTTP.
func (s *Server) answerHTTP() locate.Answer {
	info, result := s.pick(&s.metrics.http)
	switch result {
	case balance.None:
		return locate.Answer{Code: int(result), Msg: "没有msg_server"}
	case balance.Full:
		return locate.Answer{Code: int(result), Msg: "负载过高"}
	case balance.Found:
	}
	return locate.Answer{
		PriorIP: info.IP1, BackupIP: info.IP2, Port: info.Port,
		MSFS: s.cfg.MSFS, Discovery: s.cfg.Discovery,
	}
}
