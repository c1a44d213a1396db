// Package httpserver is the http_msg_server role: it lets back ends make
// accounts and groups, send messages and read them over HTTP. Beside the two
// requests of the original it has an API under /api/v1, described by
// openapi.json. It stores nothing: db_proxy does.
//
// Source: docs/protocol/flows.md §18; docs/http-api.md.
package httpserver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/proto"

	"teamtalk/client/textcrypt"
	"teamtalk/http_msg_server/internal/apikey"
	"teamtalk/http_msg_server/internal/audit"
	"teamtalk/http_msg_server/internal/backend"
	"teamtalk/internal/admit"
	"teamtalk/internal/link"
	"teamtalk/internal/trace"
	"teamtalk/internal/transport"
	"teamtalk/internal/wire"
	"teamtalk/pb/extension"
)

// Role is the name of this role to its neighbours.
const Role = "http_msg_server"

// Deps of a Server. All but Trace are needed.
type Deps struct {
	Log   *slog.Logger
	Reg   prometheus.Registerer
	Clock func() time.Time
	Trace *trace.Recorder // nil remembers nothing
}

// Timeouts of a connection. The original closes one after 60 seconds.
const (
	headerTimeout = 10 * time.Second
	readTimeout   = 30 * time.Second
	writeTimeout  = 60 * time.Second
	idleTimeout   = 60 * time.Second
	maxHeader     = 32 << 10 // bytes
	drainFor      = 10 * time.Second
)

// Server is one http_msg_server.
type Server struct {
	// Static after New.
	cfg       Config
	log       *slog.Logger
	clock     func() time.Time
	metrics   *metrics
	texts     *textcrypt.Cipher
	engine    *transport.Engine
	backend   *backend.Backend
	keys      *apikey.Keys
	audit     *audit.Log
	http      *http.Server
	listeners []net.Listener

	stopping atomic.Bool

	systemMu sync.Mutex // guards the field below; held while the account is made
	system   uint32     // id of the account that the system writes as; 0: not known yet
}

// New checks the configuration and takes the ports.
func New(cfg Config, deps Deps) (*Server, error) {
	if deps.Log == nil || deps.Reg == nil || deps.Clock == nil {
		return nil, errors.New("http_msg_server: Log, Reg and Clock are needed")
	}
	s := &Server{cfg: cfg, log: deps.Log, clock: deps.Clock}
	var err error
	if s.texts, err = textcrypt.New([]byte(cfg.AESKey.Reveal())); err != nil {
		return nil, fmt.Errorf("http_msg_server: aesKey: %w", err)
	}
	s.metrics = newMetrics(deps.Reg)
	s.audit = audit.New(deps.Log, s.writeAudit, s.metrics.auditDropped)
	watch(deps.Reg, s.audit.Waiting)
	s.keys = apikey.New(s.lookupKey, deps.Clock)
	node := link.New(link.Config{
		Role: Role, Capabilities: []string{link.CapRelay, link.CapStore, link.CapAPI, link.CapPresence, link.CapState},
		Secret: cfg.LinkSecret, AllowOriginals: cfg.OriginalNeighbours, MaxPDU: cfg.MaxLinkPDU,
	}, link.Deps{Log: deps.Log, Reg: deps.Reg, Clock: deps.Clock})
	s.backend, err = backend.New(backend.Config{
		DBServers: cfg.DBServers, PerEntry: cfg.ConcurrentDBConnCnt, RouteServers: cfg.RouteServers,
		PushServers: cfg.PushServers, AESKey: []byte(cfg.AESKey.Reveal()),
		Patience: cfg.patience,
	}, backend.Deps{Node: node, Dropped: s.metrics.dropped, Log: deps.Log, Reg: deps.Reg, Trace: deps.Trace})
	if err != nil {
		return nil, fmt.Errorf("http_msg_server: %w", err)
	}
	s.engine, err = transport.New(transport.Config{}, transport.Deps{Log: deps.Log, Reg: deps.Reg, Clock: deps.Clock})
	if err != nil {
		return nil, fmt.Errorf("http_msg_server: %w", err)
	}
	s.http = &http.Server{
		Handler: s.handler(), ReadHeaderTimeout: headerTimeout, ReadTimeout: readTimeout, WriteTimeout: writeTimeout,
		IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeader,
		ErrorLog: slog.NewLogLogger(deps.Log.Handler(), slog.LevelDebug),
	}
	room := make(chan struct{}, cfg.MaxHTTPConns)
	ctx := context.Background() //nolint:forbidigo // nothing waits: no name is looked up
	for _, ip := range cfg.ListenIPs {
		l, err := admit.Listen(ctx, net.JoinHostPort(ip, strconv.Itoa(cfg.ListenPort)),
			admit.Config{Name: "http", Room: room}, admit.Deps{Log: deps.Log, Reg: deps.Reg})
		if err != nil {
			s.closeListeners()
			return nil, fmt.Errorf("http_msg_server: %w", err)
		}
		s.listeners = append(s.listeners, l)
	}
	return s, nil
}

func (s *Server) closeListeners() {
	for _, l := range s.listeners {
		_ = l.Close() // nothing was accepted
	}
}

// Run serves until ctx ends, then finishes the requests under way, for a
// bounded time, and writes what the audit table lacks.
func (s *Server) Run(ctx context.Context) error {
	base := context.WithoutCancel(ctx)
	linksCtx, stopLinks := context.WithCancel(base)
	auditCtx, stopAudit := context.WithCancel(base)
	engineCtx, stopEngine := context.WithCancel(base)
	defer stopLinks()
	defer stopAudit()
	defer stopEngine()
	var serving, writing, linked, looping sync.WaitGroup
	failed := make(chan error, 1+len(s.listeners))
	looping.Go(func() { failed <- s.engine.Run(engineCtx) })
	linked.Go(func() { s.backend.Run(linksCtx, s.engine) })
	writing.Go(func() { s.audit.Run(auditCtx) })
	for _, l := range s.listeners {
		serving.Go(func() { failed <- s.http.Serve(l) })
	}
	var err error
	select {
	case err = <-failed:
	case <-ctx.Done():
	}
	s.stopping.Store(true)
	draining, cancel := context.WithTimeout(base, min(drainFor, s.cfg.ShutdownTimeout))
	defer cancel()
	if s.http.Shutdown(draining) != nil {
		_ = s.http.Close() // what is still under way is cut off
	}
	serving.Wait()
	stopAudit()
	writing.Wait()
	stopLinks()
	linked.Wait()
	stopEngine()
	looping.Wait()
	if err != nil {
		return fmt.Errorf("http_msg_server: %w", err)
	}
	return nil
}

// Ready says why the server cannot serve; nil when it can.
func (s *Server) Ready() error {
	if s.stopping.Load() {
		return errors.New("stopping")
	}
	return s.backend.Ready()
}

// lookupKey is apikey.Lookup.
func (s *Server) lookupKey(ctx context.Context, id string, hash [32]byte) (apikey.Key, error) {
	res := new(extension.IMApiKeyRsp)
	err := s.backend.API(ctx, &extension.IMApiKeyReq{KeyId: proto.String(id), SecretHash: hash[:]}, wire.APIKeyReq, res)
	return apikey.Key{ID: id, Name: res.GetName(), Scopes: res.GetScopes(), Rate: res.GetRate()}, err
}

// writeAudit is audit.Write.
func (s *Server) writeAudit(ctx context.Context, entries []audit.Entry) error {
	req := new(extension.IMApiAuditReq)
	for _, e := range entries {
		req.Changes = append(req.Changes, &extension.ApiChange{
			AtMs: proto.Uint64(uint64(e.At.UnixMilli())), KeyId: proto.String(e.KeyID), Action: proto.String(e.Action),
			Subject: proto.String(e.Subject), RequestId: proto.String(e.RequestID), Remote: proto.String(e.Remote),
			Status: proto.Uint32(uint32(e.Status)),
		})
	}
	return s.backend.API(ctx, req, wire.APIAuditReq, new(extension.IMApiAuditRsp))
}
