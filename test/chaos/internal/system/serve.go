//go:build unix

package system

import (
	"context"
	"database/sql"
	"errors"
	"net"
	"path/filepath"
	"strconv"

	_ "modernc.org/sqlite" // the driver of DB

	"teamtalk/internal/clock"
	"teamtalk/internal/procs"
)

// StartServe starts the whole server in one process, with SQLite.
func StartServe(ctx context.Context, cfg Config) (*System, error) {
	s, err := newSystem("serve", cfg)
	if err != nil {
		return nil, err
	}
	if err := s.startServe(ctx); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *System) startServe(ctx context.Context) error {
	base := s.cfg.BasePort
	data := filepath.Join(s.cfg.Dir, "data")
	var own *disk
	if s.cfg.Disk > 0 {
		var err error
		if own, err = mountDisk(data, s.cfg.Disk); err != nil {
			return err
		}
	}
	pid, moved := filepath.Join(s.cfg.Dir, "pid"), filepath.Join(s.cfg.Dir, "clock")
	if err := setClock(moved, 0); err != nil {
		return err
	}
	s.add(&part{
		name: "serve", pid: pid, clock: moved, role: true, disk: own, ports: servePorts(base),
		server: procs.NewServer(s.bounded(procs.Config{
			Name: "serve", Path: filepath.Join(s.cfg.Bin, "teamtalk"),
			Args:    []string{"serve", "--data", data, "--base-port", strconv.Itoa(base), "--no-demo"},
			Dir:     s.cfg.Dir,
			LogFile: filepath.Join(s.cfg.Dir, "log"), PIDFile: pid, Env: []string{clock.FileVariable + "=" + moved},
		}), local(base), all(ready(base+healthPort), listens(filepath.Join(data, "admin.sock")))),
	})
	s.edges(clients, "serve")
	s.Store = "serve"
	s.admin = []string{"--data", data}
	s.open = func() (*sql.DB, error) {
		return sql.Open("sqlite", "file:"+filepath.Join(data, "teamtalk.db")+"?mode=ro")
	}
	s.Seen[local(base)] = local(base + proxyOffset)
	s.LoginURL = "http://" + local(base+loginHTTP) + "/msg_server"
	return errors.Join(s.front(ctx, "serve", base), s.startAll(ctx, "serve"))
}

// servePorts returns where the one process listens, as far as it does: for
// clients, for servers, and for files.
func servePorts(base int) (ports []int) {
	for _, offset := range []int{msgPort, 8, loginHTTP, loginMsg, routePort, 400, 600, 601, 700, 1090, dbProxyPort} {
		ports = append(ports, base+offset)
	}
	return ports
}

// all is ready when each is.
func all(each ...func(context.Context) error) func(context.Context) error {
	return func(ctx context.Context) error {
		for _, ready := range each {
			if err := ready(ctx); err != nil {
				return err
			}
		}
		return nil
	}
}

// listens asks whether somebody answers on a socket in the file system: the
// commands for accounts need that, unlike clients.
func listens(path string) func(context.Context) error {
	return func(ctx context.Context) error {
		c, err := new(net.Dialer).DialContext(ctx, "unix", path)
		if err != nil {
			return err
		}
		return c.Close()
	}
}
