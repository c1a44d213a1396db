package main

import (
	"encoding/json"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// loginServer is an original login_server. Source: docs/protocol/flows.md §1.
type loginServer struct {
	msfs, discovery string
	links           []*link
}

// load is the state of a link: the msg_server behind it.
type load struct {
	ip1, ip2  string
	port      uint32
	max, now  int
	announced bool
}

func runLoginServer(c config) {
	s := &loginServer{msfs: c.need("msfs"), discovery: c.need("discovery")}
	listen(c.addr("ClientListenIP", "ClientPort"), func(net.Conn) {}) // it accepts, and answers nobody
	listen(c.addr("MsgServerListenIP", "MsgServerPort"), func(conn net.Conn) {
		l := &link{
			what: "msg_server " + conn.RemoteAddr().String(), conn: conn, servers: true, state: &load{},
			accepts: []uint16{0x0709, 0x070B}, got: s.got, gone: s.gone,
		}
		s.links = append(s.links, l)
		l.start()
	})
	server := &http.Server{Addr: c.addr("HttpListenIP", "HttpPort"), Handler: s, ReadHeaderTimeout: time.Minute}
	go func() { fatal("%v", server.ListenAndServe()) }()
	every(func() {
		for _, l := range s.links {
			l.tick()
		}
	})
}

func (s *loginServer) gone(l *link) {
	s.links = slices.DeleteFunc(slices.Clone(s.links), func(o *link) bool { return o == l })
}

func (s *loginServer) got(l *link, p pdu, m *message) {
	at := l.state.(*load)
	switch {
	case p.seq != 0:
		violate("%s: seq %d in %04X", l.what, p.seq, p.command)
	case p.command == 0x0709:
		if at.announced {
			violate("%s: 0709 a second time", l.what)
		}
		*at = load{
			ip1: m.text("ip1"), ip2: m.text("ip2"), port: m.num("port"),
			max: int(m.num("max_conn_cnt")), now: int(m.num("cur_conn_cnt")), announced: true,
		}
		if at.ip1 == "" || at.ip2 == "" || at.port == 0 || at.max == 0 || m.text("host_name") == "" {
			violate("%s: %v", l.what, m)
		}
	case !at.announced:
		violate("%s: 070B before 0709", l.what)
	case m.num("user_action") == 1 && m.num("user_id") != 0:
		at.now++
	case m.num("user_action") == 2 && m.num("user_id") != 0 && at.now > 0:
		at.now--
	default:
		violate("%s: %v with %d log-ins", l.what, m, at.now)
	}
}

// ServeHTTP answers GET /msg_server.
func (s *loginServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !strings.HasPrefix(r.URL.Path, "/msg_server") {
		panic(http.ErrAbortHandler)
	}
	world.Lock()
	defer world.Unlock()
	var best *load
	known := false
	for _, l := range s.links {
		at := l.state.(*load)
		known = known || at.announced
		if at.announced && at.now < at.max && (best == nil || at.now < best.now) {
			best = at
		}
	}
	answer := map[string]any{"code": 1, "msg": "没有msg_server"}
	switch {
	case best != nil:
		answer = map[string]any{
			"code": 0, "msg": "", "priorIP": best.ip1, "backupIP": best.ip2, "port": strconv.Itoa(int(best.port)),
			"msfsPrior": s.msfs, "msfsBackup": s.msfs, "discovery": s.discovery,
		}
	case known:
		answer = map[string]any{"code": 2, "msg": "负载过高"}
	}
	body, err := json.MarshalIndent(answer, "", "   ")
	if err != nil {
		fatal("%v", err)
	}
	w.Header().Set("Content-Type", "text/html;charset=utf-8")
	w.Header().Set("Connection", "close")
	_, _ = w.Write(body) // the client is gone
}
