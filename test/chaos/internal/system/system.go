//go:build unix

// Package system runs what is harmed: a cluster with two of every role that
// can be doubled, on a MariaDB and a Redis of its own, or the whole server in
// one process. Every connection between any two of them, and of every client,
// goes through a fault proxy.
package system

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"teamtalk/internal/procs"
	"teamtalk/test/chaos/internal/proxy"
	"teamtalk/test/chaos/internal/schedule"
)

// Config says what to run and where.
type Config struct {
	Bin      string // folder of the binaries
	Dir      string // for configuration, logs and data; must not exist
	BasePort int    // the others follow from it
	// Disk puts the data that matters into a file system of its own, of this
	// many bytes, so that it can become full or read-only; 0 does not.
	Disk int64
	// Replica gives the database of a cluster a replica that can take its place.
	Replica bool
	// Descriptors bounds those of every role; 0 does not.
	Descriptors int
}

// How long processes may take to be ready and to end. A role drains for some
// seconds when it stops.
const (
	startTimeout = 90 * time.Second
	stopTimeout  = 20 * time.Second
)

// System is a running system. Its methods are safe from any goroutine.
type System struct {
	Name string // "cluster" or "serve"
	schedule.System
	LoginURL string
	// Seen maps the addresses that servers tell clients to those of the
	// proxies in front of them.
	Seen map[string]string

	cfg     Config
	parts   map[string]*part // whole before any process connects to another
	order   []string         // of starting
	proxies map[string]*proxy.Proxy
	// temporary is a folder outside of cfg.Dir that goes with the system.
	temporary string
	redis     *procs.Redis
	open      func() (*sql.DB, error)
	admin     []string // arguments by which the command line finds the accounts

	mu       sync.Mutex              // guards the fields below
	pidFiles map[string]string       // of the processes that connect to others
	wrong    []string                // what processes did that they must not do
	ending   map[*procs.Process]bool // processes whose end is our doing
}

// part is one process.
type part struct {
	name   string
	server *procs.Server
	pid    string // file with the id; "" for a server that connects to nobody
	clock  string // file that moves its clock; "" for a server that has none
	role   bool   // ours: it must end with 0
	spare  bool   // no fault is aimed at it
	ports  []int  // on which strangers reach it
	disk   *disk  // under its data; nil: none of its own

	// database is there for one that can change places with another; server and
	// disk are its. All three are guarded by one of the primary.
	database *database

	// one is held while the process is being ended, paused or started.
	one sync.Mutex
	// clocks is held while its clock is off.
	clocks sync.Mutex
}

// swap lets two databases change places.
func (p *part) swap(with *part) {
	p.server, with.server = with.server, p.server
	p.disk, with.disk = with.disk, p.disk
	p.database, with.database = with.database, p.database
}

// new prepares an empty system.
func newSystem(name string, cfg Config) (*System, error) {
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("make folder: %w", err)
	}
	return &System{
		Name: name, cfg: cfg, parts: map[string]*part{}, pidFiles: map[string]string{},
		proxies: map[string]*proxy.Proxy{}, Seen: map[string]string{}, ending: map[*procs.Process]bool{},
	}, nil
}

// add takes a process into the system.
func (s *System) add(p *part) {
	s.parts[p.name] = p
	s.order = append(s.order, p.name)
	if p.spare {
		return
	}
	if p.role && s.cfg.Descriptors > 0 {
		s.Roles = append(s.Roles, p.name)
	}
	if p.pid != "" {
		s.mu.Lock()
		s.pidFiles[p.name] = p.pid
		s.mu.Unlock()
	}
	s.Processes = append(s.Processes, p.name)
	if p.clock != "" {
		s.Clocks = append(s.Clocks, p.name)
	}
}

// front puts a proxy before a process: whoever connects to it connects to the
// port proxyOffset above.
func (s *System) front(ctx context.Context, name string, port int) error {
	p, err := proxy.Listen(ctx, local(port+proxyOffset), local(port), s.who)
	if err != nil {
		return err
	}
	s.proxies[name] = p
	return nil
}

// proxyOffset is the distance from the port of a server to that of its proxy.
const proxyOffset = 1200

func local(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// who names the process or the client that connects from one address to another. Clients
// have addresses of their own, see load.
func (s *System) who(from, to net.Addr) string {
	tcp, ok := from.(*net.TCPAddr)
	if !ok {
		return "?"
	}
	if ip := tcp.IP.String(); ip != "127.0.0.1" {
		return ip
	}
	pids := map[string]int{}
	s.mu.Lock()
	for name, path := range s.pidFiles {
		if text, err := os.ReadFile(path); err == nil {
			if pid, err := strconv.Atoi(strings.TrimSpace(string(text))); err == nil {
				pids[name] = pid
			}
		}
	}
	s.mu.Unlock()
	return proxy.Owner(from, to, pids)
}

// bounded lets a process be started with no more descriptors than it may have.
func (s *System) bounded(cfg procs.Config) procs.Config {
	if s.cfg.Descriptors > 0 {
		script := fmt.Sprintf(`ulimit -n %d && exec "$0" "$@"`, s.cfg.Descriptors)
		cfg.Path, cfg.Args = "/bin/sh", append([]string{"-c", script, cfg.Path}, cfg.Args...)
	}
	return cfg
}

// startAll starts what stands in order, each group at the same time.
func (s *System) startAll(ctx context.Context, names ...string) error {
	errs := make([]error, len(names))
	var all sync.WaitGroup
	for i, name := range names {
		all.Go(func() { errs[i] = s.Start(ctx, name) })
	}
	all.Wait()
	return errors.Join(errs...)
}

// part finds a process.
func (s *System) part(name string) (*part, error) {
	if p := s.parts[name]; p != nil {
		return p, nil
	}
	return nil, fmt.Errorf("there is no %s", name)
}

// Start starts a process and waits until it is ready. From then on its end is
// noticed.
func (s *System) Start(ctx context.Context, name string) error {
	p, err := s.part(name)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if err := p.server.Start(ctx); err != nil {
		return err
	}
	go s.watch(p, p.server.Process())
	return nil
}

// expect says that the process of now is about to be ended.
func (s *System) expect(p *part) {
	process := p.server.Process()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ending[process] = true
}

// watch notices a process that ends by itself.
func (s *System) watch(p *part, process *procs.Process) {
	<-process.Exited()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.ending[process] {
		s.wrong = append(s.wrong,
			fmt.Sprintf("%s ended by itself with %d: %s", p.name, process.ExitCode(), lastLine(process.LogTail())))
	}
}

// Wrong returns what processes did that they must not do: end by themselves,
// not end when told to, end in error.
func (s *System) Wrong() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.wrong)
}

func (s *System) blame(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wrong = append(s.wrong, fmt.Sprintf(format, args...))
}

func lastLine(text string) string { return text[strings.LastIndexByte(text, '\n')+1:] }

// DB opens what SQL holds.
func (s *System) DB() (*sql.DB, error) { return s.open() }

// Close ends everything, kindly.
func (s *System) Close() error {
	var errs []error
	for _, name := range slices.Backward(s.order) {
		errs = append(errs, s.end(name))
	}
	for _, p := range s.proxies {
		errs = append(errs, p.Close())
	}
	for _, p := range s.parts {
		if p.disk != nil {
			errs = append(errs, p.disk.unmount())
		}
	}
	if s.temporary != "" {
		errs = append(errs, os.RemoveAll(s.temporary))
	}
	return errors.Join(errs...)
}

// end stops one process if it runs.
func (s *System) end(name string) error {
	p := s.parts[name]
	if p.server.Process() == nil {
		return nil
	}
	return s.Term(context.Background(), name)
}

// ready asks a role's health port.
func ready(port int) func(context.Context) error {
	url := "http://" + local(port) + "/readyz"
	hc := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 2 * time.Second}
	return func(ctx context.Context) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
		if err != nil {
			return err
		}
		res, err := hc.Do(req)
		if err != nil {
			return err
		}
		_ = res.Body.Close()
		if res.StatusCode != http.StatusOK {
			return fmt.Errorf("%s: %s", url, res.Status)
		}
		return nil
	}
}

// writeFile writes a file and its folder.
func writeFile(path, text string) error {
	return errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(text), 0o600))
}
