//go:build unix

package procs

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"teamtalk/internal/testenv/ports"
)

func freePort(t *testing.T) int {
	t.Helper()
	port, err := ports.Take(0)
	if err != nil {
		t.Fatal(err)
	}
	return port
}

func limit(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func shell(t *testing.T, script string) Config {
	t.Helper()
	dir := t.TempDir()
	return Config{
		Name: "script", Path: "/bin/sh", Args: []string{"-c", script},
		LogFile: filepath.Join(dir, "log"), PIDFile: filepath.Join(dir, "pid"),
	}
}

func TestProcess(t *testing.T) {
	t.Parallel()
	cfg := shell(t, "trap 'echo bye; exit 0' TERM; echo hello $WHO; while :; do sleep 0.02; done")
	cfg.Env = []string{"WHO=you"}
	p, err := Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if pid, err := os.ReadFile(cfg.PIDFile); err != nil || string(pid) != strconv.Itoa(p.PID())+"\n" {
		t.Errorf("%q %v", pid, err)
	}
	err = p.await(limit(t), func(context.Context) error {
		if p.LogTail() != "hello you" {
			return os.ErrNotExist
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Pause(); err != nil {
		t.Error(err)
	}
	if err := p.Stop(limit(t)); err != nil { // also of a paused process
		t.Error(err)
	}
	if code := p.ExitCode(); code != 0 || p.LogTail() != "hello you\nbye" {
		t.Errorf("%d %q", code, p.LogTail())
	}
	if _, err := os.Stat(cfg.PIDFile); err == nil {
		t.Error("the pid file is left")
	}
	if p.Kill() != nil || p.Stop(limit(t)) != nil {
		t.Error("ending an ended process is an error")
	}
}

func TestStopKillsInTheEnd(t *testing.T) {
	t.Parallel()
	p, err := Start(shell(t, "trap '' TERM; echo; while :; do sleep 0.02; done"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := p.Stop(ctx); err == nil || p.ExitCode() != -1 {
		t.Error(err, p.ExitCode())
	}
}

func TestStartFails(t *testing.T) {
	t.Parallel()
	cfg := shell(t, "")
	cfg.Path = "/nowhere"
	if _, err := Start(cfg); err == nil || !strings.HasPrefix(err.Error(), "start script: ") {
		t.Error(err)
	}
	s := NewServer(shell(t, "echo out of order >&2; exit 3"), "", func(context.Context) error { return os.ErrNotExist })
	err := s.Start(limit(t))
	if err == nil || !strings.Contains(err.Error(), "ended (exit status 3):\nout of order") {
		t.Error(err)
	}
	if err := s.Kill(); err == nil || err.Error() != "script was not started" {
		t.Error(err)
	}
	if _, err := Find("a-package", "no-such-thing"); err == nil ||
		err.Error() != "no-such-thing is not installed (Debian, Ubuntu: apt-get install a-package)" {
		t.Error(err)
	}
}

func TestMariaDBKeepsItsData(t *testing.T) {
	t.Parallel()
	ctx := limit(t)
	dir, err := os.MkdirTemp("", "procs")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	m, err := NewMariaDB(ctx, MariaDBConfig{Dir: dir, Port: freePort(t)})
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Start(ctx); err != nil {
		t.Fatal(err)
	}
	for _, statement := range []string{
		"CREATE DATABASE d", "CREATE TABLE d.t (n INT PRIMARY KEY)", "INSERT INTO d.t VALUES (1)",
	} {
		if err := m.Exec(ctx, statement); err != nil {
			t.Fatal(err)
		}
	}
	if err := m.Start(ctx); err == nil {
		t.Error("started twice")
	}
	if err := m.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := m.Start(ctx); err != nil {
		t.Fatal(err)
	}
	if err := m.Exec(ctx, "INSERT INTO d.t VALUES (1)"); err == nil || !strings.Contains(err.Error(), "Duplicate") {
		t.Error(err)
	}
	if err := m.Stop(ctx); err != nil {
		t.Error(err)
	}
}

func TestRedis(t *testing.T) {
	t.Parallel()
	ctx := limit(t)
	r, err := NewRedis(RedisConfig{Dir: t.TempDir(), Port: freePort(t), Keep: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Start(ctx); err != nil {
		t.Fatal(err)
	}
	if err := r.Pause(); err != nil {
		t.Error(err)
	}
	if err := r.Resume(); err != nil {
		t.Error(err)
	}
	if err := pong(ctx, r.Addr()); err != nil {
		t.Error(err)
	}
	if err := r.Kill(); err != nil {
		t.Error(err)
	}
	if err := pong(ctx, r.Addr()); err == nil {
		t.Error("a killed server answers")
	}
	if err := r.Start(ctx); err != nil {
		t.Error(err)
	}
	if err := r.Stop(ctx); err != nil {
		t.Error(err)
	}
}
