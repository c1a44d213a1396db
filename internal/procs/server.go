//go:build unix

package procs

import (
	"context"
	"fmt"
	"net"
	"os"
	"strconv"
	"sync"
)

// Server is a process that can be ended and started again in the same folder,
// on the same port, with its data. Its methods are safe from any goroutine.
type Server struct {
	// Static after construction.
	cfg   Config
	addr  string
	ready func(context.Context) error

	mu      sync.Mutex // guards process
	process *Process   // nil until Start
}

// NewServer returns a server that is not started. It is ready when ready
// returns nil; addr is what Addr returns.
func NewServer(cfg Config, addr string, ready func(context.Context) error) *Server {
	return &Server{cfg: cfg, addr: addr, ready: ready}
}

// Addr returns the address the server listens on, as host:port.
func (s *Server) Addr() string { return s.addr }

// Start starts the server and waits until it is ready. What was started and
// does not become ready is killed.
func (s *Server) Start(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.process != nil {
		select {
		case <-s.process.Exited():
		default:
			return fmt.Errorf("%s runs already", s.cfg.Name)
		}
	}
	process, err := Start(s.cfg)
	if err != nil {
		return err
	}
	if err := process.await(ctx, s.ready); err != nil {
		_ = process.Kill() // err tells the cause
		return err
	}
	s.process = process
	return nil
}

// Process returns the running or last process, or nil before Start.
func (s *Server) Process() *Process {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.process
}

// do calls f for a server that was started.
func (s *Server) do(f func(*Process) error) error {
	if p := s.Process(); p != nil {
		return f(p)
	}
	return fmt.Errorf("%s was not started", s.cfg.Name)
}

// Kill is Process.Kill. Start brings the server back.
func (s *Server) Kill() error { return s.do((*Process).Kill) }

// Pause is Process.Pause.
func (s *Server) Pause() error { return s.do((*Process).Pause) }

// Resume is Process.Resume.
func (s *Server) Resume() error { return s.do((*Process).Resume) }

// Stop is Process.Stop. Start brings the server back.
func (s *Server) Stop(ctx context.Context) error {
	return s.do(func(p *Process) error { return p.Stop(ctx) })
}

// userArgs lets a server that refuses to run as root do so: it owns its folder.
func userArgs() []string {
	if os.Getuid() == 0 {
		return []string{"--user=root"}
	}
	return nil
}

// loopback is the only address these servers listen on.
const loopback = "127.0.0.1"

func join(port int) string { return net.JoinHostPort(loopback, strconv.Itoa(port)) }
