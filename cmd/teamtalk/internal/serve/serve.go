// Package serve is "teamtalk serve": login_server, msg_server, route_server
// and db_proxy in one process, with SQLite in a data folder and a Redis inside
// the process. They are the same libraries as in the role binaries and speak
// over the same sockets; only starting, stopping and their configuration are
// this package's.
package serve

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/alicebob/miniredis/v2"

	"teamtalk/cmd/teamtalk/internal/admin"
	"teamtalk/db_proxy/dbproxy"
	"teamtalk/file_server/fileserver"
	"teamtalk/http_msg_server/httpserver"
	"teamtalk/internal/admit"
	"teamtalk/internal/clock"
	"teamtalk/internal/obs"
	"teamtalk/internal/rolemain"
	"teamtalk/login_server/loginserver"
	"teamtalk/msg_server/msgserver"
	"teamtalk/route_server/routeserver"
)

// LogFile is the name of the log in the data folder.
const LogFile = "teamtalk.log"

// PIDFile holds the process id of the server that has the data folder.
const PIDFile = "serve.pid"

const (
	readyPatience = 30 * time.Second
	readyPoll     = 10 * time.Millisecond
)

// part is something that runs until its context ends.
type part struct {
	name  string
	stop  context.CancelFunc
	ended chan struct{}
}

// server is a running "teamtalk serve". It is for the goroutine of Run.
type server struct {
	cfg    Config
	log    io.Writer    // safe for concurrent use
	own    *slog.Logger // of this package
	parts  []*part      // in the order of their start
	failed chan error   // why a part ended by itself
	ready  []func() error
	health []string // lines of the file of addresses
	cache  *miniredis.Miniredis
	clock  *clock.Clock
}

// Run serves until ctx ends, or until a role fails. It prints how to log in,
// and last a line "ready msg=IP:PORT login=URL", when clients are welcome.
func Run(ctx context.Context, cfg Config, out io.Writer) (err error) {
	if err := cfg.complete(); err != nil {
		return err
	}
	if admin.Running(ctx, cfg.Data) {
		return fmt.Errorf("the data folder %s is in use by another \"teamtalk serve\"", cfg.Data)
	}
	if err := cfg.portTaken(ctx); err != nil {
		return err
	}
	if err := os.MkdirAll(cfg.Data, 0o700); err != nil {
		return fmt.Errorf("make data folder: %w", err)
	}
	unlock, err := rolemain.Lock(filepath.Join(cfg.Data, PIDFile))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	log, err := openLog(filepath.Join(cfg.Data, LogFile))
	if err != nil {
		return err
	}
	s := newServer(cfg, log)
	if s.clock, err = clock.New(os.Getenv(clock.FileVariable)); err != nil {
		return errors.Join(err, log.Close())
	}
	go s.clock.Follow(ctx, s.own)
	go rolemain.Tend(ctx)
	defer func() {
		s.stopAll()
		if err != nil {
			s.own.Error("stopped", slog.Any("error", err))
		} else {
			s.own.Info("stopped")
		}
		_ = log.Close() // there is nowhere left to tell
	}()
	demo, err := s.startAll(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return nil // told to stop while still starting
		}
		return err
	}
	if err := welcome(out, cfg, demo); err != nil {
		return fmt.Errorf("print: %w", err)
	}
	s.own.Info("ready")
	select {
	case <-ctx.Done():
		return nil
	case err := <-s.failed:
		return err
	}
}

func newServer(cfg Config, log io.Writer) *server {
	return &server{
		cfg: cfg, log: log, clock: new(clock.Clock), failed: make(chan error, 1),
		own: slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: cfg.LogLevel})).With("role", "serve"),
	}
}

// startAll starts every part and waits until all are ready. What it started
// before it failed is left to stopAll.
func (s *server) startAll(ctx context.Context) (demo bool, err error) {
	password := rand.Text()
	r, err := s.cfg.roles(password)
	if err != nil {
		return false, err
	}
	// The socket of operators comes before every port, and before the lock on
	// the data file: who sees the server start can ask it, and waits there.
	operators, err := admin.Listen(ctx, s.cfg.Data)
	if err != nil {
		return false, err
	}
	db, demo, err := s.startDB(ctx, r.db)
	if err != nil {
		return false, errors.Join(err, operators.Close())
	}
	s.startAdmin(ctx, operators, db)
	if err := s.startCache(ctx, password); err != nil {
		return false, err
	}
	if s.cfg.beyondLoopback() {
		if err := s.waitReady(ctx); err != nil {
			return false, err
		}
		if err := refuseDemo(ctx, s.cfg.addr(dbProxy)); err != nil {
			return false, err
		}
	}
	err = startRole(ctx, s, "route_server", r.route, func(o *obs.Obs) (role, error) {
		return routeserver.New(r.route, routeserver.Deps{
			Log: o.Log, Reg: o.Reg, Clock: o.Clock, Trace: o.Trace(r.route.TraceEvents, r.route.LinkSecret),
		})
	})
	if err != nil {
		return false, err
	}
	err = startRole(ctx, s, "file_server", r.file, func(o *obs.Obs) (role, error) {
		s, err := fileserver.New(ctx, r.file, fileserver.Deps{Log: o.Log, Reg: o.Reg, Clock: o.Clock})
		if err == nil {
			o.Handle("POST "+fileserver.CollectPath, s.CollectHandler())
		}
		return s, err
	})
	if err != nil {
		return false, err
	}
	err = startRole(ctx, s, "msg_server", r.msg, func(o *obs.Obs) (role, error) {
		return msgserver.New(r.msg, msgserver.Deps{
			Log: o.Log, Reg: o.Reg, Clock: o.Clock, Trace: o.Trace(r.msg.TraceEvents, r.msg.LinkSecret),
		})
	})
	if err != nil {
		return false, err
	}
	err = startRole(ctx, s, "http_msg_server", r.http, func(o *obs.Obs) (role, error) {
		return httpserver.New(r.http, httpserver.Deps{
			Log: o.Log, Reg: o.Reg, Clock: o.Clock, Trace: o.Trace(r.http.TraceEvents, r.http.LinkSecret),
		})
	})
	if err != nil {
		return false, err
	}
	if err := s.startLogin(ctx, r.login); err != nil { // stopped first: it sends clients here
		return false, err
	}
	if err := s.waitReady(ctx); err != nil {
		return false, err
	}
	return demo, s.writeAddrs(ctx)
}

// startLogin starts the login_server, which is ready when a msg_server is
// registered.
func (s *server) startLogin(ctx context.Context, cfg loginserver.Config) error {
	var logins *loginserver.Server
	err := startRole(ctx, s, "login_server", cfg, func(o *obs.Obs) (role, error) {
		s, err := loginserver.New(cfg, loginserver.Deps{Log: o.Log, Reg: o.Reg, Clock: o.Clock})
		logins = s
		return s, err
	})
	if err != nil {
		return err
	}
	s.ready = append(s.ready, func() error {
		if logins.Servers() == 0 {
			return errors.New("login_server: no msg_server yet")
		}
		return nil
	})
	return nil
}

// startDB starts the db_proxy, whose lock on the data file makes this process
// the owner of the folder, with the demo accounts if they are wanted.
func (s *server) startDB(ctx context.Context, cfg dbproxy.Config) (db *dbproxy.Server, demo bool, err error) {
	err = startRole(ctx, s, "db_proxy", cfg, func(o *obs.Obs) (role, error) {
		db, err = dbproxy.New(ctx, cfg, dbproxy.Deps{
			Log: o.Log, Reg: o.Reg, Clock: o.Clock, Trace: o.Trace(cfg.TraceEvents, cfg.LinkSecret),
		})
		return db, err
	})
	if err != nil {
		return nil, false, err
	}
	switch {
	case !s.cfg.Demo:
	case !s.cfg.beyondLoopback():
		demo, err = seed(ctx, db.Admin())
	default:
		all, listErr := db.Admin().ListUsers(ctx)
		if err = listErr; err == nil && len(all) == 0 {
			err = errNoAccounts
		}
	}
	return db, demo, err
}

// startCache starts the Redis that the db_proxy uses as its cache.
func (s *server) startCache(ctx context.Context, password string) error {
	s.cache = miniredis.NewMiniRedis()
	s.cache.RequireAuth(password)
	s.cache.ClockTTL(true)
	first, err := s.cache.Dial() // starts it without a listener of its own, which an error of accepting would end
	if err != nil {
		return fmt.Errorf("open the cache: %w", err)
	}
	if err := first.Close(); err != nil {
		return fmt.Errorf("open the cache: %w", err)
	}
	l, err := admit.Listen(ctx, s.cfg.addr(redisPort), admit.Config{
		Name: "cache", Class: admit.Link, Room: make(chan struct{}, maxCacheConns),
	}, admit.Deps{Log: s.own})
	if err != nil {
		return err
	}
	s.start(ctx, "cache", func(ctx context.Context) error {
		defer s.cache.Close()
		defer context.AfterFunc(ctx, func() { _ = l.Close() })()
		for {
			conn, err := l.Accept()
			if err != nil {
				return nil // it was closed
			}
			s.cache.Server().ServeConn(conn)
		}
	})
	return nil
}

// Bounds of the connections to the cache and of operators.
const (
	maxCacheConns    = 1000
	maxOperatorConns = 64
)

// startAdmin takes the requests of operators.
func (s *server) startAdmin(ctx context.Context, socket net.Listener, db *dbproxy.Server) {
	l := admit.Wrap(socket, admit.Config{
		Name: "operator", Class: admit.Operator, Room: make(chan struct{}, maxOperatorConns),
	}, admit.Deps{Log: s.own})
	s.start(ctx, "operators' socket", func(ctx context.Context) error {
		return admin.Serve(ctx, l, db.Admin(), s.own)
	})
}

// writeAddrs keeps the addresses of the health ports in the data folder, for
// "teamtalk trace", as long as the roles run.
func (s *server) writeAddrs(ctx context.Context) error {
	file := filepath.Join(s.cfg.Data, admin.AddrsFile)
	if err := os.WriteFile(file, []byte(strings.Join(s.health, "\n")+"\n"), 0o600); err != nil {
		return fmt.Errorf("write addresses: %w", err)
	}
	s.start(ctx, "addresses", func(ctx context.Context) error {
		<-ctx.Done()
		return os.Remove(file)
	})
	return nil
}

// role is what all roles have in common.
type role interface {
	Run(ctx context.Context) error
	Ready() error
}

// startRole makes a role and its health port and starts both.
func startRole(ctx context.Context, s *server, name string, cfg process, open func(*obs.Obs) (role, error)) error {
	o, err := obs.New(ctx, obs.Config{
		Role: name, Addr: cfg.ProcessConfig().HealthListen, Level: s.cfg.LogLevel, Log: s.log,
		Clock: s.clock.Source(),
	})
	if err != nil {
		return err
	}
	r, err := open(o)
	if err != nil {
		return errors.Join(err, o.Close())
	}
	o.AddCheck(name, r.Ready)
	s.ready = append(s.ready, func() error {
		if err := r.Ready(); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		return nil
	})
	s.health = append(s.health, name+"_1.http="+o.Addr())
	s.start(ctx, name+" health", o.Run)
	s.start(ctx, name, r.Run)
	return nil
}

// start runs a part until stopAll, whatever becomes of ctx: the order of
// stopping matters.
func (s *server) start(ctx context.Context, name string, run func(context.Context) error) {
	ctx, stop := context.WithCancel(context.WithoutCancel(ctx))
	p := &part{name: name, stop: stop, ended: make(chan struct{})}
	s.parts = append(s.parts, p)
	go func() {
		defer close(p.ended)
		err := run(ctx)
		if ctx.Err() != nil {
			if err != nil {
				s.own.Error("part did not stop cleanly", slog.String("part", name), slog.Any("error", err))
			}
			return
		}
		if err == nil {
			err = errors.New("stopped by itself")
		}
		select {
		case s.failed <- fmt.Errorf("%s: %w", name, err):
		default: // the first reason is told
		}
	}()
}

// stopAll stops every part, the one started last first.
func (s *server) stopAll() {
	for _, p := range slices.Backward(s.parts) {
		p.stop()
		<-p.ended
	}
}

// waitReady waits until everything started is ready.
func (s *server) waitReady(ctx context.Context) error {
	deadline := time.NewTimer(readyPatience)
	defer deadline.Stop()
	poll := time.NewTicker(readyPoll)
	defer poll.Stop()
	for {
		var errs []error
		for _, ready := range s.ready {
			errs = append(errs, ready())
		}
		err := errors.Join(errs...)
		if err == nil {
			return nil
		}
		select {
		case <-poll.C:
		case failure := <-s.failed:
			return failure
		case <-deadline.C:
			return fmt.Errorf("not ready after %v: %w", readyPatience, err)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
