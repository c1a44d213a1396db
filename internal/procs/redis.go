//go:build unix

package procs

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// Redis is a private server on the loopback interface without a password. It
// keeps nothing over a restart unless told to.
type Redis struct {
	*Server
	Port int
}

// RedisConfig of a private server.
type RedisConfig struct {
	Dir      string // log, pid and append-only file
	Port     int    // on 127.0.0.1
	Keep     bool   // keeps its data in an append-only file, written to disk every second
	Args     []string
	Detached bool // as in Config
}

// NewRedis prepares the folder and returns the server not yet started.
func NewRedis(cfg RedisConfig) (*Redis, error) {
	daemon, err := Find("redis-server", "redis-server", "valkey-server")
	if err != nil {
		return nil, err
	}
	dir, err := filepath.Abs(cfg.Dir)
	if err != nil {
		return nil, fmt.Errorf("find folder of Redis: %w", err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make folder of Redis: %w", err)
	}
	keep := "no"
	if cfg.Keep {
		keep = "yes"
	}
	args := append([]string{
		"--port", strconv.Itoa(cfg.Port), "--bind", loopback, "--dir", dir, "--daemonize", "no",
		"--save", "", "--appendonly", keep, "--appendfsync", "everysec",
	}, cfg.Args...)
	return &Redis{
		Server: NewServer(Config{
			Name: "Redis", Path: daemon, Args: args, Dir: dir, Detached: cfg.Detached,
			LogFile: filepath.Join(dir, "redis.log"), PIDFile: filepath.Join(dir, "redis.pid"),
		}, join(cfg.Port), func(ctx context.Context) error { return pong(ctx, join(cfg.Port)) }),
		Port: cfg.Port,
	}, nil
}

// pong asks the server at addr for its one-line answer to PING, which it gives
// once its data is loaded.
func pong(ctx context.Context, addr string) error {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(time.Second)); err != nil {
		return err
	}
	if _, err := conn.Write([]byte("PING\r\n")); err != nil {
		return err
	}
	answer, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		return err
	}
	if answer != "+PONG\r\n" {
		return errors.New("Redis answers " + strconv.Quote(answer))
	}
	return nil
}
