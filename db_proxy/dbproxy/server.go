// Package dbproxy is the db_proxy role: it answers the storage commands of the
// msg_servers, orders and batches what changes conversations, and keeps the
// caches that make it fast. Source: docs/protocol/flows.md;
// docs/protocol/storage.md.
package dbproxy

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/proto"

	"teamtalk/db_proxy/internal/auth"
	"teamtalk/db_proxy/internal/behind"
	"teamtalk/db_proxy/internal/cache"
	"teamtalk/db_proxy/internal/command"
	"teamtalk/db_proxy/internal/directory"
	"teamtalk/db_proxy/internal/lane"
	"teamtalk/db_proxy/internal/store"
	"teamtalk/db_proxy/internal/work"
	"teamtalk/internal/im"
	"teamtalk/internal/link"
	"teamtalk/internal/trace"
	"teamtalk/internal/transport"
	"teamtalk/internal/wire"
	"teamtalk/pb/server"
)

// Deps of a Server. All but Trace are needed.
type Deps struct {
	Log   *slog.Logger
	Reg   prometheus.Registerer
	Clock func() time.Time
	Trace *trace.Recorder // nil remembers nothing
}

// Bounds that are not worth a key.
const (
	credit       = 16_384           // unanswered requests per link
	queriesWait  = 16_384           // queries that may wait for a worker
	turnsWait    = 65_536           // weight of the queries that may wait for their turn
	turnWorkers  = 4                // queries that take their turn at the same time
	heavyBody    = 8 << 10          // bytes; a longer query takes its turn, too
	weightBytes  = 4 << 10          // of a query weigh as much as a short one
	hashesWait   = 1024             // log-ins that may wait for a slow hash
	openPatience = 60 * time.Second // how long New waits for the database
	drainFor     = 4 * time.Second  // how long a stop may take; the original waits as long
	pruneEvery   = time.Hour        // of the change log and the requests of the API
)

// Server is one db_proxy.
type Server struct {
	// Static after New.
	cfg       Config
	log       *slog.Logger
	clock     func() time.Time
	metrics   *metrics
	store     *store.Store
	redis     *miniredis.Miniredis // nil when one is configured
	cache     *cache.Cache
	directory *directory.Directory
	behind    *behind.Behind
	lanes     *lane.Lanes
	auth      *auth.Auth
	pool      *work.Pool
	queries   *work.Queue
	slow      *work.Queue
	turns     *work.Turns
	engine    *transport.Engine
	node      *link.Node
	commands  map[wire.Command]*row
	storage   *storage

	stopping atomic.Bool
	nobody   atomic.Uint64 // requests of servers that took a turn

	intake sync.RWMutex // held to read while a request is taken in
	closed bool         // guarded by intake: nothing more is taken in

	mu    sync.Mutex // guards links
	links map[*link.Link]struct{}
}

// row is a command with its counter of successes, looked up once.
type row struct {
	command.Command
	succeeded prometheus.Counter
}

// New opens the database, migrates it, and binds the port. It waits up to a
// minute for a database that is still starting; Redis may come later.
func New(ctx context.Context, cfg Config, deps Deps) (*Server, error) {
	s := &Server{
		cfg: cfg, log: deps.Log, clock: deps.Clock, metrics: newMetrics(deps.Reg), links: map[*link.Link]struct{}{},
	}
	s.storage = newStorage(s)
	if err := s.open(ctx, deps); err != nil {
		s.close()
		return nil, err
	}
	if err := s.assemble(deps); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

func (s *Server) open(ctx context.Context, deps Deps) error {
	opening, cancel := context.WithTimeout(ctx, openPatience)
	defer cancel()
	var err error
	s.store, err = store.Open(opening, s.cfg.store(), store.Deps{
		Log: s.log, Clock: deps.Clock, Doubt: s.storage.doubt, Trust: s.storage.trust,
	})
	if err != nil {
		return fmt.Errorf("open database: %w", err)
	}
	pools := s.cfg.cache()
	if s.cfg.Caches == nil {
		if s.cfg.StoreDriver != driverSQLite {
			return errors.New("no Redis is configured")
		}
		if s.redis, pools, err = startCache(); err != nil {
			return err
		}
	}
	s.cache, err = cache.New(pools, cache.Deps{Log: s.log, Reg: deps.Reg, Clock: deps.Clock})
	if err != nil {
		return fmt.Errorf("open Redis: %w", err)
	}
	if err := s.storage.open(opening); err != nil {
		return fmt.Errorf("find the epoch of the database: %w", err)
	}
	return nil
}

func (s *Server) assemble(deps Deps) error {
	// Lanes must never wait for queries, nor queries for hashes.
	workers := s.cfg.ThreadNum + s.cfg.HashWorkers + s.cfg.CommitLanes + turnWorkers
	var err error
	s.pool, err = work.NewPool(workers, func(p any) { s.log.Error("worker panicked", "panic", p) })
	if err != nil {
		return err
	}
	s.queries = work.NewQueue(s.pool, work.QueueConfig{
		Workers: s.cfg.ThreadNum, Capacity: queriesWait,
		Refused: s.metrics.refused.WithLabelValues("queries"), Depth: s.metrics.waiting.WithLabelValues("queries"),
	})
	s.slow = work.NewQueue(s.pool, work.QueueConfig{
		Workers: s.cfg.HashWorkers, Capacity: hashesWait,
		Refused: s.metrics.refused.WithLabelValues("hashes"), Depth: s.metrics.waiting.WithLabelValues("hashes"),
	})
	s.turns = work.NewTurns(s.pool, work.TurnsConfig{
		Workers: turnWorkers, Capacity: turnsWait,
		Refused: s.metrics.refused.WithLabelValues("turns"), Depth: s.metrics.waiting.WithLabelValues("turns"),
	})
	s.directory = directory.New(s.store, s.log, deps.Clock)
	s.directory.OnChange(s.userChanged)
	s.behind = behind.New(s.cache, s.store, s.log, deps.Reg)
	s.lanes = lane.New(lane.Config{Lanes: s.cfg.CommitLanes, MaxBatch: s.cfg.MaxBatch}, lane.Deps{
		Store: witness{s.store, s.storage}, Directory: s.directory, IDs: s.cache, Behind: s.behind,
		Go: s.pool.Go, Log: s.log, Reg: deps.Reg, Clock: deps.Clock, Trace: deps.Trace,
	})
	if err := s.table(deps); err != nil {
		return err
	}
	s.node = link.New(link.Config{
		Role: "db_proxy", Credit: credit,
		Capabilities: []string{link.CapStore, link.CapDelivery, link.CapAPI, link.CapUserChanges, link.CapState},
		Secret:       s.cfg.LinkSecret, AllowOriginals: s.cfg.OriginalNeighbours,
	}, link.Deps{Log: s.log, Reg: deps.Reg, Clock: deps.Clock})
	listeners := make([]transport.Listener, 0, len(s.cfg.ListenIPs))
	for _, ip := range s.cfg.ListenIPs {
		listeners = append(listeners, transport.Listener{
			Name: "link", Addr: net.JoinHostPort(ip, strconv.Itoa(s.cfg.ListenPort)),
			Handler: s.node.Accept(s), Limits: s.cfg.linkLimits(), Allow: s.cfg.AllowedPeers.Allow,
		})
	}
	s.engine, err = transport.New(transport.Config{Listeners: listeners, Loops: loops()}, transport.Deps{
		Log: s.log, Reg: deps.Reg, Clock: deps.Clock,
	})
	return err
}

// Run serves until ctx ends, then finishes what it accepted.
func (s *Server) Run(ctx context.Context) error {
	defer s.close()
	// What the work leaves behind is written after the work is done, and the
	// sockets close after that.
	engineCtx, stopEngine := context.WithCancel(context.WithoutCancel(ctx))
	behindCtx, stopBehind := context.WithCancel(context.WithoutCancel(ctx))
	defer stopEngine()
	defer stopBehind()
	failed := make(chan error, 1)
	var behindDone, engineDone, pollers sync.WaitGroup
	behindDone.Go(func() { _ = s.behind.Run(behindCtx) })
	pollers.Go(func() { _ = s.directory.Run(ctx) })
	pollers.Go(func() { s.prune(ctx) })
	pollers.Go(func() { s.storage.run(ctx) })
	pollers.Go(func() { s.watchAccounts(ctx) })
	pollers.Go(func() { s.cache.Run(ctx) })
	engineDone.Go(func() { failed <- s.engine.Run(engineCtx) })

	var err error
	select {
	case err = <-failed:
	case <-ctx.Done():
		s.drain()
	}
	stopBehind()
	behindDone.Wait()
	s.engine.CloseAll(bounded(ctx, time.Second), transport.ReasonStopping)
	stopEngine()
	engineDone.Wait()
	pollers.Wait()
	if err != nil {
		return err
	}
	return nil
}

// drain tells the msg_servers to send no more (0702), and waits for what they
// sent before, for a bounded time. Source: docs/protocol/flows.md §2.
func (s *Server) drain() {
	s.stopping.Store(true)
	s.engine.RefuseNew()
	s.mu.Lock()
	for l := range s.links {
		l.SendMessage(wire.StopReceive, 0, &server.IMStopReceivePacket{Result: proto.Uint32(0)})
	}
	s.mu.Unlock()
	// What was under way when the notice went out arrives meanwhile. What
	// comes later is not answered: its msg_server asks another db_proxy when
	// the link ends.
	<-time.After(graceAfterNotice)
	s.intake.Lock()
	s.closed = true
	s.intake.Unlock()
	done := make(chan struct{})
	go func() {
		s.queries.Wait()
		s.slow.Wait()
		s.turns.Wait()
		s.lanes.Wait()   // queries hand work to them,
		s.queries.Wait() // some wait for what they were handed,
		s.turns.Wait()   // and changes of groups are answered behind them
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(drainFor):
		s.log.Warn("stopped with work under way")
	}
}

// graceAfterNotice lets requests arrive that were sent before the notice.
const graceAfterNotice = 200 * time.Millisecond

func (s *Server) prune(ctx context.Context) {
	ticker := time.NewTicker(pruneEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			if _, err := s.store.PruneChanges(ctx); err != nil {
				s.log.Warn("change log not pruned", "error", err)
			}
			if _, err := s.store.PruneAPIRequests(ctx); err != nil {
				s.log.Warn("requests of the API not forgotten", "error", err)
			}
		}
	}
}

func bounded(ctx context.Context, d time.Duration) context.Context {
	limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), d)
	context.AfterFunc(limited, cancel)
	return limited
}

func (s *Server) close() {
	if s.pool != nil {
		s.pool.Release()
	}
	if s.cache != nil {
		if err := s.cache.Close(); err != nil {
			s.log.Warn("Redis not closed", "error", err)
		}
	}
	if s.redis != nil {
		s.redis.Close()
	}
	if s.store != nil {
		if err := s.store.Close(); err != nil {
			s.log.Warn("database not closed", "error", err)
		}
	}
}

// Ready says why the server cannot serve; nil when it can. Redis is not
// needed: it is a cache.
func (s *Server) Ready() error {
	if s.stopping.Load() {
		return errors.New("stopping")
	}
	select {
	case <-s.engine.Booted():
	default:
		return errors.New("not listening yet")
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second) //nolint:forbidigo // nobody's request
	defer cancel()
	if err := s.store.Ping(ctx); err != nil {
		return fmt.Errorf("database: %w", err)
	}
	return nil
}

// LinkUp is link.Handler's.
func (s *Server) LinkUp(l *link.Link) {
	s.mu.Lock()
	s.links[l] = struct{}{}
	s.mu.Unlock()
	if s.stopping.Load() {
		l.SendMessage(wire.StopReceive, 0, &server.IMStopReceivePacket{Result: proto.Uint32(0)})
	}
}

// LinkDown is link.Handler's.
func (s *Server) LinkDown(l *link.Link) {
	s.mu.Lock()
	delete(s.links, l)
	s.mu.Unlock()
	s.storage.down(l)
}

// LinkPDU is link.Handler's: it looks the command up and hands it on. It runs
// on an event loop and never blocks.
func (s *Server) LinkPDU(l *link.Link, pdu wire.PDU) {
	s.intake.RLock()
	defer s.intake.RUnlock()
	if s.closed {
		s.metrics.dropped.WithLabelValues("stopping").Inc()
		return
	}
	if pdu.Command == wire.StorageSeen {
		if err := s.storage.seen(l, pdu.Body); err != nil {
			s.metrics.dropped.WithLabelValues("bad_body").Inc()
		}
		return
	}
	row := s.commands[pdu.Command]
	if row == nil {
		s.metrics.dropped.WithLabelValues("unknown_command").Inc()
		return
	}
	r := &command.Request{
		Command: pdu.Command, Seq: pdu.Seq, Body: append([]byte(nil), pdu.Body...),
		Capable: l.Has(link.CapStore), API: l.Has(link.CapAPI),
	}
	r.Reply = func(reply wire.Command, m proto.Message) { l.SendMessage(reply, r.Seq, m) }
	if row.Operation != nil {
		s.account(row, r, row.Operation(r))
		return
	}
	submit := func() {
		if !s.submit(row, r) {
			s.account(row, r, im.Errorf(im.Busy, "no worker free"))
		}
	}
	if row.Turn == nil {
		submit()
	} else if err := row.Turn(r, submit); err != nil {
		s.account(row, r, err)
	}
}

// submit hands a query to its workers and reports whether there was room.
// Large ones weigh by their size and wait for their asker's turn: however many
// somebody sends, the short ones of all others find workers free.
func (s *Server) submit(row *row, r *command.Request) bool {
	run := func() { s.query(row, r) }
	switch {
	case row.Slow:
		return s.slow.Submit(run)
	case row.InTurn || len(r.Body) > heavyBody:
		who := uint64(row.WhoAsks(r.Body))
		if who == 0 { // a server waits for an answer where it wants an order
			who = s.nobody.Add(1) | 1<<63
		}
		return s.turns.Submit(who, 1+len(r.Body)/weightBytes, run)
	}
	return s.queries.Submit(run)
}

// query runs on a worker.
func (s *Server) query(row *row, r *command.Request) {
	ctx, cancel := context.WithTimeout(context.Background(), queryTimeout) //nolint:forbidigo // a PDU has no context
	defer cancel()
	started := s.clock()
	m, err := row.Query(ctx, r)
	s.metrics.seconds.WithLabelValues(r.Command.String()).Observe(s.clock().Sub(started).Seconds())
	if m != nil {
		r.Reply(row.Reply, m)
	}
	s.account(row, r, err)
}

// account counts the outcome of a request; it is the only place that logs it.
func (s *Server) account(row *row, r *command.Request, err error) {
	if err == nil {
		row.succeeded.Inc()
		return
	}
	code := im.CodeOf(err)
	s.metrics.commands.WithLabelValues(r.Command.String(), code.String()).Inc()
	switch code {
	case im.Internal:
		s.log.Error("command failed", "command", r.Command.String(), "error", err)
	case im.Busy: // overload would fill the log
	default:
		s.log.Info("command refused", "command", r.Command.String(), "code", code.String(), "error", err)
	}
}

// loops leaves half of the processors of the Go scheduler to the workers. A
// loop that waits for its sockets keeps its processor until the scheduler's
// monitor takes it back: with a loop on every one, an answer of a database can
// be noticed ten milliseconds late.
func loops() int { return max(1, runtime.GOMAXPROCS(0)/2) }
