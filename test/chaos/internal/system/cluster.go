//go:build unix

package system

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	_ "github.com/go-sql-driver/mysql" // the driver of DB

	"teamtalk/internal/clock"
	"teamtalk/internal/procs"
	"teamtalk/test/chaos/internal/schedule"
)

// Distances of the ports from the base, as everywhere in this project; the
// k-th of several is k-1 further. A proxy is proxyOffset above its server.
const (
	msgPort     = 0
	loginHTTP   = 80
	loginMsg    = 100
	routePort   = 200
	dbProxyPort = 2600
	mariadbPort = 3306
	redisPort   = 3379
	healthPort  = 50 // from the main port of a role
)

// Distances returns those of all ports that a System takes from its base port,
// of the servers and of the proxies before them.
func Distances() []int {
	var all []int
	for _, d := range []int{
		0, 1, 8, loginHTTP, loginMsg, routePort, routePort + 1, 400, 600, dbProxyPort, dbProxyPort + 1,
	} {
		all = append(all, d, d+healthPort)
	}
	all = append(all, 601, 700, 1090, mariadbPort, mariadbPort+1, redisPort)
	for _, d := range slices.Clone(all) {
		all = append(all, d+proxyOffset)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// aesKey is the one that all clients have. Source: docs/protocol/wire.md §5.
const aesKey = "12345678901234567890123456789012"

// each is how many there are of msg_server, db_proxy and route_server.
const each = 2

// loginPorts are the keys of a login_server's further ports.
var loginPorts = []string{"ClientPort", "MsgServerPort"}

// conf is the text of a configuration.
type conf struct{ strings.Builder }

func (c *conf) set(key string, value any) { fmt.Fprintf(c, "%s=%v\n", key, value) }

// StartCluster starts a cluster: two of each role but login_server, MariaDB
// and Redis, which keeps nothing over a restart.
func StartCluster(ctx context.Context, cfg Config) (*System, error) {
	s, err := newSystem("cluster", cfg)
	if err != nil {
		return nil, err
	}
	if err := s.startCluster(ctx); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *System) startCluster(ctx context.Context) error {
	if err := s.databases(ctx); err != nil {
		return err
	}
	if err := s.startAll(ctx, slices.Clone(s.order)...); err != nil { // no role is there yet
		return err
	}
	if err := s.createDatabase(ctx); err != nil {
		return err
	}
	if err := s.roles(ctx); err != nil {
		return err
	}
	// Two new db_proxies at once would both create the tables.
	if err := s.startAll(ctx, "db_proxy_1"); err != nil {
		return err
	}
	if err := s.startAll(ctx, "db_proxy_2", "route_server_1", "route_server_2", "login_server_1"); err != nil {
		return err
	}
	return s.startAll(ctx, "msg_server_1", "msg_server_2")
}

// databases prepares MariaDB and Redis.
func (s *System) databases(ctx context.Context) error {
	base := s.cfg.BasePort
	if err := s.prepareDatabases(ctx); err != nil {
		return err
	}
	var err error
	if s.redis, err = procs.NewRedis(procs.RedisConfig{
		Dir: filepath.Join(s.cfg.Dir, "redis"), Port: base + redisPort,
	}); err != nil {
		return err
	}
	s.add(&part{name: "redis", server: s.redis.Server})
	s.Redis = "redis"
	return errors.Join(s.front(ctx, "mariadb", base+mariadbPort), s.front(ctx, "redis", base+redisPort))
}

// roles prepares every role. Each reaches the others through their proxies.
func (s *System) roles(ctx context.Context) error {
	base := s.cfg.BasePort
	var errs []error
	for i := range each {
		db := fmt.Sprintf("db_proxy_%d", i+1)
		errs = append(errs, s.role(ctx, "db_proxy", i, "dbproxyserver.conf", base+dbProxyPort+i, s.dbProxy))
		s.edges(db, "mariadb", "redis")
	}
	s.admin = []string{"--config", filepath.Join(s.cfg.Dir, "db_proxy_1", "dbproxyserver.conf")}
	for i := range each {
		errs = append(errs, s.role(ctx, "route_server", i, "routeserver.conf", base+routePort+i, func(f *conf, port int) {
			f.set("ListenIP", "127.0.0.1")
			f.set("ListenMsgPort", port)
		}))
	}
	errs = append(errs, s.role(ctx, "login_server", 0, "loginserver.conf", base+loginHTTP, func(f *conf, port int) {
		f.set("ClientListenIP", "127.0.0.1")
		f.set("ClientPort", base+8)
		f.set("HttpListenIP", "127.0.0.1")
		f.set("HttpPort", port)
		f.set("MsgServerListenIP", "127.0.0.1")
		f.set("MsgServerPort", base+loginMsg)
		f.set("msfs", "http://127.0.0.1:8700/")
		f.set("discovery", "http://127.0.0.1/api/discovery")
	}))
	errs = append(errs, s.frontLogin(ctx))
	for i := range each {
		name := fmt.Sprintf("msg_server_%d", i+1)
		errs = append(errs, s.role(ctx, "msg_server", i, "msgserver.conf", base+msgPort+i, s.msgServer))
		s.edges(name, "db_proxy_1", "db_proxy_2", "route_server_1", "route_server_2", "login_server_1")
		s.edges(clients, name)
		s.Seen[local(base+msgPort+i)] = local(base + msgPort + i + proxyOffset)
	}
	return errors.Join(errs...)
}

// frontLogin adds the proxy for the port that msg_servers connect to; that of
// the HTTP port is there already.
func (s *System) frontLogin(ctx context.Context) error {
	s.proxies["login_server_1 (http)"] = s.proxies["login_server_1"]
	s.LoginURL = "http://" + local(s.cfg.BasePort+loginHTTP+proxyOffset) + "/msg_server"
	return s.front(ctx, "login_server_1", s.cfg.BasePort+loginMsg)
}

// edges notes that a process connects to others.
func (s *System) edges(from string, to ...string) {
	for _, name := range to {
		s.Edges = append(s.Edges, schedule.Edge{From: from, To: name})
	}
}

// role prepares one process of a role.
func (s *System) role(ctx context.Context, role string, i int, file string, port int, fill func(*conf, int)) error {
	name := fmt.Sprintf("%s_%d", role, i+1)
	dir := filepath.Join(s.cfg.Dir, name)
	f := &conf{}
	f.set("HealthListen", local(port+healthPort))
	fill(f, port)
	if err := writeFile(filepath.Join(dir, file), f.String()); err != nil {
		return err
	}
	pid, moved := filepath.Join(dir, "pid"), filepath.Join(dir, "clock")
	if err := setClock(moved, 0); err != nil {
		return err
	}
	s.add(&part{
		name: name, pid: pid, clock: moved, role: true, ports: ports(f, port),
		server: procs.NewServer(s.bounded(procs.Config{
			Name: name, Path: filepath.Join(s.cfg.Bin, role), Args: []string{"--config", file}, Dir: dir,
			LogFile: filepath.Join(dir, "log"), PIDFile: pid, Env: []string{clock.FileVariable + "=" + moved},
		}), local(port), ready(port+healthPort)),
	})
	return s.front(ctx, name, port)
}

// ports returns those of a role on which others connect to it.
func ports(f *conf, port int) []int {
	all := []int{port}
	for line := range strings.Lines(f.String()) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		if n, err := strconv.Atoi(value); err == nil && n != port && slices.Contains(loginPorts, key) {
			all = append(all, n)
		}
	}
	return all
}

// dbProxy writes the configuration of a db_proxy.
func (s *System) dbProxy(f *conf, port int) {
	base := s.cfg.BasePort
	f.set("ListenIP", "127.0.0.1")
	f.set("ListenPort", port)
	f.set("aesKey", aesKey)
	f.set("DBInstances", "teamtalk_master,teamtalk_slave")
	for _, name := range []string{"teamtalk_master", "teamtalk_slave"} {
		f.set(name+"_host", "127.0.0.1")
		f.set(name+"_port", base+mariadbPort+proxyOffset)
		f.set(name+"_dbname", "teamtalk")
		f.set(name+"_username", databaseUser)
		f.set(name+"_maxconncnt", 16)
	}
	caches := []string{"unread", "group_set", "token", "sync", "group_member"}
	f.set("CacheInstances", strings.Join(caches, ","))
	for i, name := range caches {
		f.set(name+"_host", "127.0.0.1")
		f.set(name+"_port", base+redisPort+proxyOffset)
		f.set(name+"_db", i+1)
	}
}

// msgServer writes the configuration of a msg_server.
func (s *System) msgServer(f *conf, port int) {
	base := s.cfg.BasePort + proxyOffset
	f.set("ListenIP", "127.0.0.1")
	f.set("ListenPort", port)
	f.set("IpAddr1", "127.0.0.1")
	f.set("ConcurrentDBConnCnt", 2)
	f.set("aesKey", aesKey)
	for i := range each {
		f.set(fmt.Sprintf("DBServerIP%d", i+1), "127.0.0.1")
		f.set(fmt.Sprintf("DBServerPort%d", i+1), base+dbProxyPort+i)
		f.set(fmt.Sprintf("RouteServerIP%d", i+1), "127.0.0.1")
		f.set(fmt.Sprintf("RouteServerPort%d", i+1), base+routePort+i)
	}
	f.set("LoginServerIP1", "127.0.0.1")
	f.set("LoginServerPort1", base+loginMsg)
}
