// Package msgserver is the msg_server role: it holds the connections of the
// clients, knows who is logged in, has every message stored before it is
// acknowledged, and delivers it in order. Source: docs/protocol/flows.md.
package msgserver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/proto"

	"teamtalk/client/textcrypt"
	"teamtalk/internal/dblink"
	"teamtalk/internal/link"
	"teamtalk/internal/notify"
	"teamtalk/internal/share"
	"teamtalk/internal/trace"
	"teamtalk/internal/transport"
	"teamtalk/internal/wire"
	"teamtalk/msg_server/internal/deliver"
	"teamtalk/msg_server/internal/session"
	"teamtalk/pb/extension"
)

// Deps of a Server. All but Trace are needed.
type Deps struct {
	Log   *slog.Logger
	Reg   prometheus.Registerer
	Clock func() time.Time
	Trace *trace.Recorder // nil remembers nothing
}

// How long a graceful stop waits for sends under way, at least for relays
// under way, and for clients to take their last bytes; how often held messages
// and sends are looked at, and how often questions, which have seconds.
const (
	drainFor   = 3 * time.Second
	settleFor  = 200 * time.Millisecond
	closeFor   = 3 * time.Second
	sweepEvery = 25 * time.Millisecond
	asksEvery  = 250 * time.Millisecond
	moveWithin = 1000 // milliseconds over which clients that move are spread
)

// Server is one msg_server.
type Server struct {
	// Static after New.
	cfg      Config
	log      *slog.Logger
	clock    func() time.Time
	metrics  *metrics
	trace    *trace.Recorder
	commands map[wire.Command]*clientCommand
	answers  map[wire.Command]answer
	relayed  map[wire.Command]relayHandler
	engine   *transport.Engine
	node     *link.Node
	db       *dblink.Links
	routes   *routes
	logins   *loginServers
	joins    *joins

	fileServers *fileServers
	files       *fileAsks
	signer      *share.Signer // of tokens for files; nil without FileTokenSecret
	crypt       *textcrypt.Cipher
	ofFiles     map[wire.Command]func(*link.Link, []byte)

	sessions *session.Registry[*client]
	clients  sync.Map // connection id → *client
	sends    *sends
	order    *deliver.Order
	asks     *asks
	fetches  fetches
	rounds   rounds
	presence presence
	notifier *notify.Notifier
	users    *userList
	stopping atomic.Bool
	epoch    atomic.Uint64 // rises when the database has gone back

	notifySeed atomic.Uint64 // spreads the notifier's questions over the db_proxies

	// announcing is held to read while a session opens or closes and the
	// other servers are told; to write while a new link is told of all
	// sessions. Each link so hears of each once.
	announcing sync.RWMutex
}

// New checks the configuration and that the port is free.
func New(cfg Config, deps Deps) (*Server, error) {
	s := &Server{
		cfg: cfg, log: deps.Log, clock: deps.Clock, metrics: newMetrics(deps.Reg), trace: deps.Trace,
		sessions: session.New[*client](),
		order:    deliver.New(deps.Clock),
	}
	if cfg.FileTokenSecret.Reveal() != "" {
		s.signer = share.NewSigner(cfg.FileTokenSecret, deps.Clock)
	}
	var err error
	if s.crypt, err = textcrypt.New([]byte(cfg.AESKey.Reveal())); err != nil {
		return nil, err
	}
	s.sends = newSends(s)
	s.asks = newAsks(deps.Clock)
	s.users = &userList{server: s}
	s.node = link.New(link.Config{
		Role: "msg_server",
		Capabilities: []string{
			link.CapRelay, link.CapStore, link.CapDelivery, link.CapPresence, link.CapFiles, link.CapState,
		},
		Secret: cfg.LinkSecret, AllowOriginals: cfg.OriginalNeighbours, MaxPDU: cfg.MaxLinkPDU,
	}, link.Deps{Log: deps.Log, Reg: deps.Reg, Clock: deps.Clock})
	s.db = dblink.New(cfg.DBServers, cfg.ConcurrentDBConnCnt, s.node, s)
	s.routes = &routes{server: s}
	s.logins = &loginServers{server: s}
	s.joins = newJoins(s)
	s.fileServers = newFileServers(s, cfg.FileServers)
	s.files = newFileAsks(s)
	s.ofFiles = s.fileAnswers()
	if s.notifier, err = newNotifier(s, deps); err != nil {
		return nil, err
	}
	s.commands = s.clientCommands()
	s.answers = s.dbAnswers()
	s.relayed = s.relayHandlers()

	limits := transport.Limits{
		MaxPDU: cfg.MaxClientPDU, MaxOutbound: cfg.SlowConsumerBytes, SlowConsumer: cfg.SlowConsumerTime,
	}
	var listeners []transport.Listener
	for _, ip := range cfg.ListenIPs {
		listeners = append(listeners, transport.Listener{
			Name: "client", Addr: net.JoinHostPort(ip, strconv.Itoa(cfg.ListenPort)), Handler: s, Limits: limits,
		})
	}
	s.engine, err = transport.New(transport.Config{Listeners: listeners, MaxConns: cfg.MaxConnCnt},
		transport.Deps{Log: deps.Log, Reg: deps.Reg, Clock: deps.Clock})
	if err != nil {
		return nil, err
	}
	s.log.Info("connections are limited", "max_conns", s.engine.MaxConns())
	return s, nil
}

// Run serves until ctx ends, then lets the clients go in order: what was sent
// is answered, what is queued is written.
func (s *Server) Run(ctx context.Context) error {
	background := context.WithoutCancel(ctx)
	engineCtx, stopEngine := context.WithCancel(background)
	linksCtx, stopLinks := context.WithCancel(background)
	defer stopEngine()
	defer stopLinks()
	failed := make(chan error, 1)
	var links, engine sync.WaitGroup
	engine.Go(func() { failed <- s.engine.Run(engineCtx) })
	links.Go(func() { s.db.Run(linksCtx, s.engine) })
	links.Go(func() { s.routes.run(linksCtx, s.engine) })
	links.Go(func() { s.logins.run(linksCtx, s.engine) })
	links.Go(func() { s.fileServers.run(linksCtx, s.engine) })
	links.Go(func() { s.notifier.Run(linksCtx, s.engine) })
	links.Go(func() { s.sweep(linksCtx) })

	var err error
	select {
	case err = <-failed:
	case <-ctx.Done():
		s.drain(background)
	}
	stopLinks()
	links.Wait()
	stopEngine()
	engine.Wait()
	return err
}

// drain takes no new connections, waits for the sends under way and for what
// other servers have just acknowledged and relayed, tells the clients that
// understand it to move, and closes all of them.
func (s *Server) drain(ctx context.Context) {
	s.stopping.Store(true)
	s.engine.RefuseNew()
	s.logins.leave()
	settled := time.After(settleFor)
	waiting, cancel := context.WithTimeout(ctx, drainFor)
	s.sends.wait(waiting)
	cancel()
	<-settled
	s.order.Release()
	s.sessions.Each(func(session *Session) {
		if session.Conn.moves.Load() {
			session.Conn.push(mustFrame(wire.MoveServer, &extension.IMMoveServer{
				RetryAfterMs: proto.Uint32(rand.Uint32N(moveWithin)),
			}))
		}
	})
	closing, cancel := context.WithTimeout(ctx, closeFor)
	defer cancel()
	s.engine.CloseAll(closing, transport.ReasonStopping)
}

// sweep releases held messages and gives up sends whose time is over.
func (s *Server) sweep(ctx context.Context) {
	ticker := time.NewTicker(sweepEvery)
	defer ticker.Stop()
	tell := time.NewTicker(presenceEvery)
	defer tell.Stop()
	asks := time.NewTicker(asksEvery)
	defer asks.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tell.C:
			s.tellPresence()
		case <-ticker.C:
			s.order.Expire()
			s.sends.sweep()
			s.joins.sweep()
		case <-asks.C:
			for range s.asks.sweep() {
				s.metrics.dropped("members_unknown")
			}
			s.users.sweep()
			for _, q := range s.rounds.overdue(s.clock()) {
				s.askUnread(q)
			}
			s.files.sweep()
		}
	}
}

// Ready says why the server cannot serve; nil when a client could log in.
func (s *Server) Ready() error {
	select {
	case <-s.engine.Booted():
	default:
		return errors.New("not listening yet")
	}
	switch {
	case s.stopping.Load():
		return errors.New("stopping")
	case !s.db.Open():
		return errors.New("no db_proxy")
	case !s.logins.open():
		return errors.New("no login_server")
	case !s.routes.open():
		return errors.New("no route_server")
	}
	return nil
}

// mustFrame encodes a push, seq 0, of a message that is known to be complete.
func mustFrame(command wire.Command, m proto.Message) []byte {
	frame, err := wire.AppendMessage(nil, command, 0, m)
	if err != nil {
		panic(fmt.Sprintf("incomplete %v: %v", command, err)) //nolint:forbidigo // a fault of the program, not of its input
	}
	return frame
}
