// Command original plays the servers of the original TeamTalk, and its
// clients, as the protocol describes them: strict ones, which end with exit
// code 1 when they are sent a field, an order, a seq or a command that an
// original would not have sent. It shares nothing with the servers under test,
// not even their messages: schema.txt is all that both have in common.
//
//	original ROLE --config FILE [--users ID:NAME,…]
//	original client --login URL --servers A,B --users ID:NAME,… [--originals db_proxy,msg_server_1,…]
//		[--site URL] [--pushes URL]
//
// ROLE is db_proxy, msg_server, route_server, login_server, file_server, push_server
// or http_msg_server.
//
// The servers read the original's configuration files. Storage is memory, and
// is gone with the process. Everybody's password is 12345.
package main

import (
	"bufio"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func fatal(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "original: "+format+"\n", args...)
	os.Exit(2)
}

// config is a configuration file: the first of equal keys counts.
type config map[string]string

func readConfig(path string) config {
	f, err := os.Open(path)
	if err != nil {
		fatal("%v", err)
	}
	defer f.Close()
	c := config{}
	for lines := bufio.NewScanner(f); lines.Scan(); {
		line, _, _ := strings.Cut(lines.Text(), "#")
		key, value, _ := strings.Cut(line, "=")
		key, value = strings.TrimSpace(key), strings.TrimSpace(value)
		if _, known := c[key]; !known && value != "" {
			c[key] = value
		}
	}
	return c
}

func (c config) need(key string) string {
	if c[key] == "" {
		fatal("%s is missing", key)
	}
	return c[key]
}

func (c config) addr(ip, port string) string { return net.JoinHostPort(c.need(ip), c.need(port)) }

// list reads numbered servers.
func (c config) list(name string) (addrs []string) {
	for i := 1; c[fmt.Sprintf("%sIP%d", name, i)] != ""; i++ {
		addrs = append(addrs, c.addr(fmt.Sprintf("%sIP%d", name, i), fmt.Sprintf("%sPort%d", name, i)))
	}
	return addrs
}

// account is somebody who may log in.
type account struct {
	id   uint32
	name string
}

func parseUsers(text string) (users []account) {
	for entry := range strings.SplitSeq(text, ",") {
		id, name, ok := strings.Cut(entry, ":")
		n, err := strconv.ParseUint(id, 10, 32)
		if entry == "" {
			continue
		}
		if !ok || err != nil {
			fatal("users: %q", entry)
		}
		users = append(users, account{uint32(n), name})
	}
	return users
}

// health answers that the role is up, once ready says so; pages are what else a
// role shows.
func health(addr string, ready func() bool, pages http.Handler) {
	if addr == "" {
		return
	}
	server := &http.Server{Addr: addr, ReadHeaderTimeout: time.Second, Handler: http.HandlerFunc(
		func(w http.ResponseWriter, r *http.Request) {
			if pages != nil && r.URL.Path == "/pushes" {
				pages.ServeHTTP(w, r)
				return
			}
			world.Lock()
			defer world.Unlock()
			if !ready() {
				w.WriteHeader(http.StatusServiceUnavailable)
			}
		})}
	go func() { fatal("%v", server.ListenAndServe()) }()
}

func main() {
	if len(os.Args) < 2 {
		fatal("which role?")
	}
	flags := flag.NewFlagSet(os.Args[1], flag.ExitOnError)
	file := flags.String("config", "", "configuration file of the original")
	users := flags.String("users", "", "accounts, as ID:NAME,…")
	login := flags.String("login", "", "URL of the login_server, for clients")
	servers := flags.String("servers", "", "addresses of the two msg_servers, for clients")
	played := flags.String("originals", "", "servers that are played by this program, for clients")
	site := flags.String("site", "", "URL of the http_msg_server, for clients")
	pushes := flags.String("pushes", "", "URL of what phones were pushed, for clients")
	_ = flags.Parse(os.Args[2:]) // exits by itself

	if os.Args[1] == "client" {
		playClients(*login, strings.Split(*servers, ","), parseUsers(*users), strings.Split(*played, ","), *site, *pushes)
		return
	}
	c := readConfig(*file)
	stop := func() {}
	ready := func() bool { return true }
	var pages http.Handler
	switch os.Args[1] {
	case "db_proxy":
		stop = runDBProxy(c, parseUsers(*users))
	case "msg_server":
		ready = runMsgServer(c)
	case "route_server":
		runRouteServer(c)
	case "login_server":
		runLoginServer(c)
	case "file_server":
		runFileServer(c)
	case "push_server":
		pages = runPushServer(c)
	case "http_msg_server":
		ready = runHTTPMsgServer(c)
	default:
		fatal("no role %q", os.Args[1])
	}
	health(c["HealthListen"], ready, pages)
	term := make(chan os.Signal, 1)
	signal.Notify(term, syscall.SIGTERM)
	<-term
	stop()
}
