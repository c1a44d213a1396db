//go:build unix

package cluster

import (
	"cmp"
	"fmt"
	"maps"
	"net"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"teamtalk/internal/procs"
	"teamtalk/internal/testenv"
	"teamtalk/test/phones"
)

// aesKey is the one that all clients have. Source: docs/protocol/wire.md §5.
const aesKey = "12345678901234567890123456789012"

// conf is the text of a configuration.
type conf struct{ strings.Builder }

func (c *conf) set(key string, value any) { fmt.Fprintf(c, "%s=%v\n", key, value) }

// servers writes numbered server keys.
func (c *conf) servers(prefix string, ports []int) {
	for i, port := range ports {
		c.set(fmt.Sprintf("%sIP%d", prefix, i+1), "127.0.0.1")
		c.set(fmt.Sprintf("%sPort%d", prefix, i+1), port)
	}
}

// configure writes the configuration of every role and prepares its process.
func (c *Cluster) configure(t testing.TB, o Options) {
	t.Helper()
	db := testenv.FreePorts(t, cmp.Or(o.DB, 1))
	route := testenv.FreePorts(t, cmp.Or(o.Route, 1))
	login := testenv.FreePorts(t, 3) // TCP, HTTP, msg_servers
	c.loginURL = fmt.Sprintf("http://127.0.0.1:%d/msg_server", login[1])
	for i, port := range db {
		c.add(t, o, "db_proxy", i+1, "dbproxyserver.conf", port, func(f *conf) { c.dbProxy(f, port) })
	}
	for i, port := range route {
		c.add(t, o, "route_server", i+1, "routeserver.conf", port, func(f *conf) {
			f.set("ListenIP", "127.0.0.1")
			f.set("ListenMsgPort", port)
		})
	}
	c.add(t, o, "login_server", 1, "loginserver.conf", login[1], func(f *conf) {
		f.set("ClientListenIP", "127.0.0.1")
		f.set("ClientPort", login[0])
		f.set("HttpListenIP", "127.0.0.1")
		f.set("HttpPort", login[1])
		f.set("MsgServerListenIP", "127.0.0.1")
		f.set("MsgServerPort", login[2])
		f.set("msfs", "http://127.0.0.1:8700/")
		f.set("discovery", "http://127.0.0.1/api/discovery")
	})
	files, push := c.fileServers(t, o), c.pushServers(t, o)
	for i, port := range testenv.FreePorts(t, cmp.Or(o.Msg, 2)) {
		c.add(t, o, "msg_server", i+1, "msgserver.conf", port, func(f *conf) {
			f.set("ListenIP", "127.0.0.1")
			f.set("ListenPort", port)
			f.set("IpAddr1", "127.0.0.1")
			f.set("ConcurrentDBConnCnt", 2)
			f.set("aesKey", aesKey)
			if len(o.Originals) > 0 && len(db) == 1 {
				db = []int{db[0], db[0]} // an original wants two
			}
			f.servers("DBServer", db)
			f.servers("LoginServer", login[2:])
			f.servers("RouteServer", route)
			f.servers("FileServer", files)
			f.servers("PushServer", push)
			f.set("FileTokenSecret", fileTokenSecret)
		})
	}
	c.httpServers(t, o, db, route, push)
}

// fileTokenSecret signs the tokens for files of messages.
const fileTokenSecret = "a secret of the tests"

// fileServers writes the configuration of the file_servers and returns the
// ports for msg_servers.
func (c *Cluster) fileServers(t testing.TB, o Options) (ports []int) {
	t.Helper()
	for i := range o.File {
		own := testenv.FreePorts(t, 3) // clients, msg_servers, HTTP
		c.add(t, o, "file_server", i+1, "fileserver.conf", own[0], func(f *conf) {
			f.set("FileServerIp", "127.0.0.1")
			f.set("ClientListenIP", "127.0.0.1")
			f.set("ClientListenPort", own[0])
			f.set("MsgServerListenIP", "127.0.0.1")
			f.set("MsgServerListenPort", own[1])
			f.set("HttpListenIP", "127.0.0.1")
			f.set("HttpListenPort", own[2])
			f.set("FileTokenSecret", fileTokenSecret)
		})
		ports = append(ports, own[1])
		c.images = append(c.images, fmt.Sprintf("http://127.0.0.1:%d/", own[2]))
	}
	return ports
}

// httpServers writes the configuration of the http_msg_servers.
func (c *Cluster) httpServers(t testing.TB, o Options, db, route, push []int) {
	t.Helper()
	if o.HTTP == 0 {
		return
	}
	for i, port := range testenv.FreePorts(t, o.HTTP) {
		c.add(t, o, "http_msg_server", i+1, "httpmsgserver.conf", port, func(f *conf) {
			f.set("ListenIP", "127.0.0.1")
			f.set("ListenPort", port)
			f.servers("DBServer", db)
			f.servers("RouteServer", route)
			f.servers("PushServer", push)
			f.set("aesKey", aesKey)
		})
	}
}

// pushServers writes the configuration of the push_servers, which ask Apple
// with a key and with a certificate in turn, and returns their ports.
func (c *Cluster) pushServers(t testing.TB, o Options) (ports []int) {
	t.Helper()
	if o.Push == 0 {
		return nil
	}
	c.Phones = phones.Start(t)
	credentials := []map[string]string{c.Phones.ByKey(), c.Phones.ByCertificate()}
	ports = testenv.FreePorts(t, o.Push)
	for i, port := range ports {
		c.add(t, o, "push_server", i+1, "pushserver.conf", port, func(f *conf) {
			f.set("ListenIP", "127.0.0.1")
			f.set("ListenPort", port)
			for key, value := range credentials[i%2] {
				f.set(key, value)
			}
		})
	}
	return ports
}

// dbProxy writes what is special to db_proxy.
func (c *Cluster) dbProxy(f *conf, port int) {
	f.set("ListenIP", "127.0.0.1")
	f.set("ListenPort", port)
	f.set("aesKey", aesKey)
	f.set("DBInstances", "teamtalk_master,teamtalk_slave")
	for _, name := range []string{"teamtalk_master", "teamtalk_slave"} {
		f.set(name+"_host", c.database.Host)
		f.set(name+"_port", c.database.Port)
		f.set(name+"_dbname", c.database.Name)
		f.set(name+"_username", c.database.User)
		f.set(name+"_maxconncnt", 8)
	}
	caches := []string{"unread", "group_set", "token", "sync", "group_member"}
	f.set("CacheInstances", strings.Join(caches, ","))
	for i, name := range caches {
		f.set(name+"_host", "127.0.0.1")
		f.set(name+"_port", c.Redis.Port)
		f.set(name+"_db", i+1)
	}
}

// add writes one role's configuration, with the keys that the test gave last.
func (c *Cluster) add(t testing.TB, o Options, role string, number int, file string, port int, fill func(*conf)) {
	t.Helper()
	name := fmt.Sprintf("%s_%d", role, number)
	health := testenv.FreePorts(t, 1)[0]
	f := &conf{}
	f.set("HealthListen", net.JoinHostPort("127.0.0.1", strconv.Itoa(health)))
	fill(f)
	for _, key := range slices.Sorted(maps.Keys(o.Keys)) {
		if of, key, ok := strings.Cut(key, "."); ok && of == role {
			f.set(key, o.Keys[of+"."+key])
		}
	}
	dir := filepath.Join(c.dir, name)
	writeFile(t, filepath.Join(dir, file), f.String())
	c.order = append(c.order, name)
	c.health[name] = health
	path, args := filepath.Join(o.Bin, role), []string{"--config", file}
	if c.strict[name] {
		path, args = filepath.Join(o.Bin, original), append([]string{role}, args...)
		if role == "db_proxy" {
			args = append(args, "--users", o.Accounts)
		}
	}
	c.servers[name] = procs.NewServer(procs.Config{
		Name: name, Path: path, Args: args, Dir: dir, LogFile: filepath.Join(dir, "log"),
	}, net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), ready(health))
}
