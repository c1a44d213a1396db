// Package fileserver is the file_server role: it moves files between clients,
// keeps them for receivers who are away, and serves images over HTTP. Who may
// move what to whom is msg_server's to say; it asks for a task, and the task's
// two users get in with its id. Source: docs/protocol/flows.md §16 and §17;
// docs/files.md.
package fileserver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"teamtalk/file_server/internal/blob"
	"teamtalk/file_server/internal/catalog"
	"teamtalk/file_server/internal/task"
	"teamtalk/file_server/internal/turns"
	"teamtalk/internal/link"
	"teamtalk/internal/transport"
	"teamtalk/internal/wire"
)

// Role is the name of this role to its neighbours.
const Role = "file_server"

// Deps of a Server. All are needed.
type Deps struct {
	Log   *slog.Logger
	Reg   prometheus.Registerer
	Clock func() time.Time
}

// How many workers read and write blocks, and how many finish files, which
// takes long on a store far away.
const (
	blockWorkers  = 4
	finishWorkers = 4
)

// Ages at which what belongs to nobody is removed.
const (
	orphansAfter = 24 * time.Hour
	uploadsAfter = 48 * time.Hour
)

// Server is one file_server.
type Server struct {
	// Static after New.
	cfg     Config
	log     *slog.Logger
	clock   func() time.Time
	metrics *metrics
	engine  *transport.Engine
	http    *httpFront
	store   *blob.Store
	catalog *catalog.Catalog
	tasks   *task.Table
	blocks  *turns.Pool
	finish  *turns.Pool
	asked   []*turns.Lane // what msg_servers ask for, in no order
	swept   *turns.Lane   // uploads whose task is over

	clientCommands map[wire.Command]func(*client, wire.PDU)
	linkCommands   map[wire.Command]func(*link.Link, wire.PDU)

	base     context.Context //nolint:containedctx // of New, without its end: the jobs of the pools outlive ctx
	shares   *shares         // nil without FileTokenSecret
	peers    link.Set        // the msg_servers of ours
	relays   relays
	stopping atomic.Bool

	collecting sync.Mutex // one collection at a time

	hold atomic.Pointer[func(step string)] // of tests: called between the steps of what completes and finds files
}

// at is called between two steps, so that a test can stop there.
func (s *Server) at(step string) {
	if hold := s.hold.Load(); hold != nil {
		(*hold)(step)
	}
}

// New checks the configuration, opens the store and takes the ports.
func New(ctx context.Context, cfg Config, deps Deps) (*Server, error) {
	if deps.Log == nil || deps.Reg == nil || deps.Clock == nil {
		return nil, errors.New("file_server: Log, Reg and Clock are needed")
	}
	s := &Server{
		cfg: cfg, log: deps.Log, clock: deps.Clock,
		base: context.WithoutCancel(ctx), blocks: turns.NewPool(blockWorkers), finish: turns.NewPool(finishWorkers),
	}
	s.tasks = task.NewTable(task.Limits{
		Tasks: cfg.MaxTasks, PerUser: cfg.MaxTasksPerUser, Idle: cfg.TaskTimeout,
	}, deps.Clock)
	for range askedLanes {
		s.asked = append(s.asked, s.blocks.NewLane(maxAsked/askedLanes))
	}
	s.swept = s.blocks.NewLane(cfg.MaxTasks)
	if err := s.openStore(ctx); err != nil {
		return nil, fmt.Errorf("file_server: %w", err)
	}
	s.metrics = newMetrics(deps.Reg, s)
	s.clientCommands, s.linkCommands = s.ofClients(), s.ofMsgServers()
	var err error
	if s.shares, err = openShares(ctx, s); err != nil {
		return nil, fmt.Errorf("file_server: %w", err)
	}
	s.engine, err = transport.New(
		transport.Config{Listeners: s.listeners(deps)}, transport.Deps{Log: deps.Log, Reg: deps.Reg})
	if err != nil {
		return nil, fmt.Errorf("file_server: %w", err)
	}
	if s.http, err = listenHTTP(ctx, s, deps.Reg); err != nil {
		s.engine.Close()
		return nil, fmt.Errorf("file_server: %w", err)
	}
	return s, nil
}

func (s *Server) openStore(ctx context.Context) error {
	var backend blob.Backend
	var err error
	if s.cfg.UseS3 {
		backend, err = blob.NewS3(ctx, s.cfg.S3)
	} else {
		backend, err = blob.NewLocal(filepath.Join(s.cfg.DataDir, "store"))
	}
	if err != nil {
		return err
	}
	s.store, err = blob.New(blob.Config{Dir: filepath.Join(s.cfg.DataDir, uploadsDir), MinFree: s.cfg.MinFree},
		blob.Deps{Backend: backend, Clock: s.clock})
	if err != nil {
		return err
	}
	s.catalog, err = catalog.Open(ctx, catalog.Config{
		Quota: s.cfg.UserQuota, Nobodys: s.cfg.ImageQuota,
		Unused:  map[catalog.Kind]time.Duration{catalog.Image: s.cfg.ImageExpiry},
		Orphans: orphansAfter, Uploads: uploadsAfter,
	}, s.store, s.clock)
	if err != nil {
		return err
	}
	return s.dropTaskUploads()
}

// uploadsDir is the folder of uploads in DataDir.
const uploadsDir = "uploads"

// uploadNote is kept with every upload: what it is for.
type uploadNote struct {
	Kind catalog.Kind `json:"kind"`
}

func noteOf(kind catalog.Kind) []byte {
	text, err := json.Marshal(uploadNote{Kind: kind})
	if err != nil {
		panic(err) //nolint:forbidigo // a text of constants
	}
	return text
}

// dropTaskUploads removes the uploads of tasks and images, which ended with
// the process they were in: their clients begin again.
func (s *Server) dropTaskUploads() error {
	return s.store.Uploads(func(p blob.Pending) error {
		var note uploadNote
		readable := json.Unmarshal(p.Note, &note) == nil
		if readable && (note.Kind == catalog.Offline || note.Kind == catalog.Image) {
			return s.store.DropUpload(p.ID)
		}
		return nil // of others, or unreadable: its age decides
	})
}

// maxClientPDU leaves room for the blocks of 34,816 bytes that Windows asks
// for, and keeps the memory of a transfer small.
const maxClientPDU = 128 << 10

// maxOutbound is what may wait for one client: some blocks.
const maxOutbound = 2 << 20

func (s *Server) listeners(deps Deps) []transport.Listener {
	node := link.New(link.Config{
		Role: Role, Capabilities: []string{link.CapFiles},
		Secret: s.cfg.LinkSecret, AllowOriginals: s.cfg.OriginalNeighbours,
	}, link.Deps{Log: deps.Log, Reg: deps.Reg})
	linkLimits := transport.LinkLimits
	linkLimits.MaxPDU = s.cfg.MaxLinkPDU
	clientLimits := transport.DefaultLimits
	clientLimits.MaxPDU, clientLimits.MaxOutbound = maxClientPDU, maxOutbound
	var all []transport.Listener
	for _, addr := range s.cfg.ClientListen {
		all = append(all, transport.Listener{Name: "client", Addr: addr, Handler: &clients{s}, Limits: clientLimits})
	}
	for _, addr := range s.cfg.MsgServerListen {
		all = append(all, transport.Listener{
			Name: "msg_server", Addr: addr, Handler: node.Accept(&msgServers{s}), Limits: linkLimits,
			Allow: s.cfg.AllowedPeers.Allow,
		})
	}
	return all
}

// Run serves until ctx ends, then lets the clients go in order: what is
// queued is written, uploads are kept as far as they came.
func (s *Server) Run(ctx context.Context) error {
	base := context.WithoutCancel(ctx)
	engineCtx, stopEngine := context.WithCancel(base)
	poolCtx, stopPools := context.WithCancel(base)
	defer stopEngine()
	defer stopPools()
	failed := make(chan error, 2)
	var engine, pools, helpers sync.WaitGroup
	engine.Go(func() { failed <- s.engine.Run(engineCtx) })
	pools.Go(func() { s.blocks.Run(poolCtx) })
	pools.Go(func() { s.finish.Run(poolCtx) })
	helperCtx, stopHelpers := context.WithCancel(base)
	defer stopHelpers()
	helpers.Go(func() { s.sweep(helperCtx) })
	helpers.Go(func() { s.collect(helperCtx) })
	if s.shares != nil {
		helpers.Go(func() { s.shares.run(helperCtx) })
	}
	helpers.Go(func() {
		if err := s.http.run(helperCtx, s.cfg.ShutdownTimeout); err != nil {
			failed <- err
		}
	})

	var err error
	select {
	case err = <-failed:
	case <-ctx.Done():
	}
	s.stopping.Store(true)
	s.engine.RefuseNew()
	stopHelpers()
	helpers.Wait()
	closing, cancel := context.WithTimeout(base, closeFor)
	s.engine.CloseAll(closing, transport.ReasonStopping)
	cancel()
	stopPools()
	pools.Wait()
	stopEngine()
	engine.Wait()
	return err
}

// closeFor is how long clients have to take their last bytes.
const closeFor = 3 * time.Second

// Ready says why the server cannot serve; nil when it can. It does not wait
// for a msg_server: those come to us.
func (s *Server) Ready() error {
	select {
	case <-s.engine.Booted():
	default:
		return errors.New("not listening yet")
	}
	if s.stopping.Load() {
		return errors.New("stopping")
	}
	return nil
}

// sweepEvery is how often tasks are looked at that nobody comes for.
const sweepEvery = time.Second

func (s *Server) sweep(ctx context.Context) {
	ticker := time.NewTicker(sweepEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if s.shares != nil {
			s.shares.moves.sweep()
		}
		for _, t := range s.tasks.Sweep() {
			s.relays.forget(t.ID)
			if t.Offline {
				s.metrics.ended(kindUpload, "timeout")
				s.dropUpload(t.ID)
			} else {
				s.metrics.ended(kindOnline, "timeout")
			}
		}
	}
}

// dropUpload removes what has come of an upload, in its turn.
func (s *Server) dropUpload(id string) {
	s.swept.Submit(func() {
		if err := s.store.DropUpload(id); err != nil && !errors.Is(err, blob.ErrBusy) {
			s.log.Warn("upload not removed", "task_id", id, "error", err)
		}
	})
}
