package serve

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"teamtalk/cmd/teamtalk/internal/admin"
	"teamtalk/cmd/teamtalk/internal/exit"
	"teamtalk/db_proxy/dbproxy"
	"teamtalk/file_server/fileserver"
	"teamtalk/http_msg_server/httpserver"
	"teamtalk/internal/config"
	"teamtalk/internal/secret"
	"teamtalk/login_server/loginserver"
	"teamtalk/msg_server/msgserver"
	"teamtalk/route_server/routeserver"
)

// loopback is where the roles reach each other.
const loopback = "127.0.0.1"

// textKey is the AES key that is built into all clients.
// Source: docs/protocol/wire.md §5.
const textKey = "12345678901234567890123456789012"

// Config says where to serve and what.
type Config struct {
	Data      string // folder; created
	BasePort  int    // port for clients; the others follow from it
	Listen    string // address for clients
	Advertise string // address told to clients; "" is derived from Listen
	Demo      bool   // make demo accounts in an empty database
	LogLevel  slog.Level
	Program   string // how the user calls this program, for hints
}

// Distances of the ports from BasePort.
const (
	loginTCP    = 8
	loginHTTP   = 80
	loginMsg    = 100
	route       = 200
	httpMsg     = 400
	files       = 600
	filesMsg    = 601
	images      = 700
	dbProxy     = 2600
	redisPort   = 3379
	highestPort = redisPort
)

// port returns the port at a distance from the base.
func (c *Config) port(distance int) int { return c.BasePort + distance }

// addr returns a loopback address by the distance of its port.
func (c *Config) addr(distance int) string { return join(loopback, c.port(distance)) }

// join makes host:port.
func join(host string, port int) string { return net.JoinHostPort(host, strconv.Itoa(port)) }

// complete checks the configuration and fills in what can be derived.
func (c *Config) complete() error {
	if c.BasePort < 1024 || c.BasePort+highestPort > 65535 {
		return exit.Usagef("serve: --base-port must be 1024 to %d", 65535-highestPort)
	}
	listen := net.ParseIP(c.Listen)
	if c.Listen == "localhost" {
		listen, c.Listen = net.ParseIP(loopback), loopback
	}
	if listen == nil || listen.To4() == nil {
		return exit.Usagef("serve: --listen takes an IPv4 address, not %q", c.Listen)
	}
	switch {
	case c.Advertise != "":
	case !listen.IsUnspecified():
		c.Advertise = c.Listen
	default:
		ip, err := ownAddress()
		if err != nil {
			return err
		}
		c.Advertise = ip
	}
	if net.ParseIP(c.Advertise) == nil && !hostName(c.Advertise) {
		return exit.Usagef("serve: --advertise takes an IP address or a host name, not %q", c.Advertise)
	}
	return nil
}

// hostName reports whether clients can look a name up: letters, digits, - and
// _, in parts between dots. What looks like an address is none.
func hostName(name string) bool {
	labels := strings.Split(strings.TrimSuffix(name, "."), ".")
	for _, label := range labels {
		other := strings.Trim(label, "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_")
		if label == "" || len(label) > 63 || other != "" || strings.HasPrefix(label, "-") || strings.HasSuffix(label, "-") {
			return false
		}
	}
	last := labels[len(labels)-1]
	return len(name) <= 253 && strings.Trim(last, "0123456789") != ""
}

// filesHost is where this machine reaches what listens for clients.
func (c *Config) filesHost() string {
	if ip := net.ParseIP(c.Listen); ip != nil && ip.IsUnspecified() {
		return loopback
	}
	return c.Listen
}

// beyondLoopback reports whether other machines can connect.
func (c *Config) beyondLoopback() bool {
	ip := net.ParseIP(c.Listen)
	return ip == nil || !ip.IsLoopback()
}

// loginURL is where clients ask for a msg_server.
func (c *Config) loginURL() string {
	return "http://" + join(c.Advertise, c.port(loginHTTP)) + "/msg_server"
}

// ownAddress returns an address by which other machines reach this one.
func ownAddress() (string, error) {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return "", fmt.Errorf("find the address of this machine: %w", err)
	}
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok && n.IP.To4() != nil && n.IP.IsGlobalUnicast() {
			return n.IP.String(), nil
		}
	}
	return "", exit.Usagef("serve: this machine has no address to tell clients: use --advertise")
}

// roles are the configurations of the roles.
type roles struct {
	db    dbproxy.Config
	route routeserver.Config
	login loginserver.Config
	msg   msgserver.Config
	http  httpserver.Config
	file  fileserver.Config
}

// text is a configuration file in memory.
type text struct{ strings.Builder }

func (t *text) set(key string, value any) { fmt.Fprintf(t, "%s=%v\n", key, value) }

// reader ends the text.
func (t *text) reader() *strings.Reader { return strings.NewReader(t.String()) }

// roles writes the configuration of each role as an operator would, so that
// its checks and defaults apply. The caches need a password: any process of
// this machine can reach their port.
func (c *Config) roles(cachePassword string) (roles, error) {
	var r roles
	var dbErr, routeErr, loginErr, msgErr, httpErr, fileErr error
	r.db, dbErr = dbproxy.ParseConfig(c.dbProxy(cachePassword).reader(), dbproxy.ConfigFile)
	r.db.StorePath = filepath.Join(c.Data, admin.DataFile) // in a file, # would begin a comment
	r.route, routeErr = routeserver.ParseConfig(c.routeServer().reader(), routeserver.ConfigFile)
	r.login, loginErr = loginserver.ParseConfig(c.loginServer().reader(), loginserver.ConfigFile)
	r.msg, msgErr = msgserver.ParseConfig(c.msgServer().reader(), msgserver.ConfigFile)
	r.http, httpErr = httpserver.ParseConfig(c.httpServer().reader(), httpserver.ConfigFile)
	r.file, fileErr = fileserver.ParseConfig(c.fileServer().reader(), fileserver.ConfigFile)
	r.file.DataDir = filepath.Join(c.Data, "files") // in a file, # would begin a comment
	r.msg.FileTokenSecret = secret.New(rand.Text()) // tokens need not outlive this process
	r.file.FileTokenSecret = r.msg.FileTokenSecret
	return r, errors.Join(dbErr, routeErr, loginErr, msgErr, httpErr, fileErr)
}

func (c *Config) dbProxy(cachePassword string) *text {
	t := new(text)
	t.set("ListenIP", loopback)
	t.set("ListenPort", c.port(dbProxy))
	t.set("aesKey", textKey)
	t.set("StoreDriver", "sqlite")
	t.set("MsfsSite", "http://"+join(c.filesHost(), c.port(images)))
	t.set("KeepLegacyPasswords", 0) // no original runs beside
	pools := []string{"unread", "group_set", "token", "sync", "group_member"}
	t.set("CacheInstances", strings.Join(pools, ","))
	for i, pool := range pools {
		t.set(pool+"_host", loopback)
		t.set(pool+"_port", c.port(redisPort))
		t.set(pool+"_db", i+1)
		t.set(pool+"_password", cachePassword)
	}
	return t
}

func (c *Config) routeServer() *text {
	t := new(text)
	t.set("ListenIP", loopback)
	t.set("ListenMsgPort", c.port(route))
	return t
}

func (c *Config) loginServer() *text {
	t := new(text)
	t.set("ClientListenIP", c.Listen)
	t.set("ClientPort", c.port(loginTCP))
	t.set("HttpListenIP", c.Listen)
	t.set("HttpPort", c.port(loginHTTP))
	t.set("MsgServerListenIP", loopback)
	t.set("MsgServerPort", c.port(loginMsg))
	t.set("msfs", "http://"+join(c.Advertise, c.port(images))+"/")
	return t
}

func (c *Config) fileServer() *text {
	t := new(text)
	if net.ParseIP(c.Advertise) == nil {
		t.set("FileServerIp", "0.0.0.0") // what old clients are told is an address: one of this machine
		t.set("FilesURL", "http://"+join(c.Advertise, c.port(images))+"/")
	} else {
		t.set("FileServerIp", c.Advertise)
	}
	t.set("ClientListenIP", c.Listen)
	t.set("ClientListenPort", c.port(files))
	t.set("MsgServerListenIP", loopback)
	t.set("MsgServerListenPort", c.port(filesMsg))
	t.set("HttpListenIP", c.Listen)
	t.set("HttpListenPort", c.port(images))
	t.set("ImageURL", "http://"+join(c.Advertise, c.port(images))+"/")
	return t
}

// httpServer is on loopback whatever clients are: it has no TLS.
func (c *Config) httpServer() *text {
	t := new(text)
	t.set("ListenIP", loopback)
	t.set("ListenPort", c.port(httpMsg))
	t.set("aesKey", textKey)
	for name, distance := range map[string]int{"DBServer": dbProxy, "RouteServer": route} {
		t.set(name+"IP1", loopback)
		t.set(name+"Port1", c.port(distance))
	}
	return t
}

func (c *Config) msgServer() *text {
	t := new(text)
	t.set("ListenIP", c.Listen)
	t.set("ListenPort", c.BasePort)
	t.set("ConcurrentDBConnCnt", 2)
	t.set("IpAddr1", c.Advertise)
	t.set("aesKey", textKey)
	for name, distance := range map[string]int{
		"DBServer": dbProxy, "LoginServer": loginMsg, "RouteServer": route, "FileServer": filesMsg,
	} {
		t.set(name+"IP1", loopback)
		t.set(name+"Port1", c.port(distance))
	}
	return t
}

// health is the distance of a role's health port from its main one.
const health = 50

// portTaken returns an error that names a port which cannot be bound. The
// roles would find out as well, one by one and only after opening the data.
func (c *Config) portTaken(ctx context.Context) error {
	for _, p := range []struct {
		ip       string
		distance int
	}{
		{c.Listen, 0},
		{c.Listen, loginHTTP},
		{c.Listen, loginTCP},
		{loopback, loginMsg},
		{loopback, route},
		{loopback, httpMsg},
		{c.Listen, files},
		{loopback, filesMsg},
		{c.Listen, images},
		{loopback, dbProxy},
		{loopback, redisPort},
		{loopback, health},
		{loopback, loginHTTP + health},
		{loopback, route + health},
		{loopback, httpMsg + health},
		{loopback, files + health},
		{loopback, dbProxy + health},
	} {
		var lc net.ListenConfig
		l, err := lc.Listen(ctx, "tcp", join(p.ip, c.port(p.distance)))
		if errors.Is(err, syscall.EADDRINUSE) {
			return fmt.Errorf("port %d is taken: choose another --base-port", c.port(p.distance))
		}
		if err != nil {
			return fmt.Errorf("open port: %w", err)
		}
		if err := l.Close(); err != nil {
			return fmt.Errorf("close port: %w", err)
		}
	}
	return nil
}

// process is the part of a role's configuration that all roles share.
type process interface{ ProcessConfig() config.Process }
