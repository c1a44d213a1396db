package main

import (
	"encoding/json"
	"net"
	"net/http"
	"slices"
	"strconv"
	"time"
)

// httpMsgServer is an original http_msg_server.
// Source: docs/protocol/flows.md §18.
type httpMsgServer struct {
	dbs     []*link
	routes  []*link // oldest first
	turn    int
	handles uint32
	waiting map[string]chan *message // by attach_data
	dbCount int
}

func runHTTPMsgServer(c config) (ready func() bool) {
	s := &httpMsgServer{waiting: map[string]chan *message{}}
	perEntry := 2
	if n, err := strconv.Atoi(c["ConcurrentDBConnCnt"]); err == nil {
		perEntry = n
	}
	hold := func(addr, role string, pool *[]*link, accepts []uint16, got func(*link, pdu, *message), up func(*link)) {
		keep(addr, func(conn net.Conn) *link {
			return &link{
				what: role + " " + addr, conn: conn, servers: true, accepts: accepts, got: got,
				gone: func(l *link) { *pool = without(*pool, l) },
			}
		}, func(l *link) {
			*pool = append(slices.Clone(*pool), l)
			up(l)
		})
	}
	for _, addr := range c.list("DBServer") {
		for range perEntry {
			s.dbCount++
			hold(addr, "db_proxy", &s.dbs, []uint16{stopReceive, 0x0406, 0x0408}, s.dbGot, func(*link) {})
		}
	}
	for _, addr := range c.list("RouteServer") {
		hold(addr, "route_server", &s.routes, nil, func(*link, pdu, *message) {}, func(l *link) {
			if s.routes[0] == l {
				l.say(0x0707, 0, build("IMRoleSet", "master", 1))
			}
		})
	}
	every(func() {
		for _, l := range slices.Concat(s.dbs, s.routes) {
			l.tick()
		}
	})
	server := &http.Server{Addr: c.addr("ListenIP", "ListenPort"), Handler: s, ReadHeaderTimeout: time.Minute}
	go func() { fatal("%v", server.ListenAndServe()) }()
	return func() bool { return len(s.dbs) == s.dbCount && len(s.routes) == len(c.list("RouteServer")) }
}

func (s *httpMsgServer) dbGot(l *link, p pdu, m *message) {
	if p.command == stopReceive {
		s.dbs = without(s.dbs, l)
		return
	}
	waits := s.waiting[m.text("attach_data")]
	if waits == nil || m.num("user_id") != 0 {
		violate("%s: nobody asked for %v", l.what, m)
	}
	waits <- m
}

// ask sends a request to a db_proxy and waits for its answer; nil without one.
func (s *httpMsgServer) ask(command uint16, m *message) *message {
	world.Lock()
	if len(s.dbs) == 0 {
		world.Unlock()
		return nil
	}
	s.turn++
	s.handles++
	attach := shortAttach(s.handles)
	waits := make(chan *message, 1)
	s.waiting[attach] = waits
	m.set("attach_data", attach)
	s.dbs[s.turn%len(s.dbs)].say(command, 0, m)
	world.Unlock()
	return <-waits
}

// ServeHTTP answers the two requests.
func (s *httpMsgServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var in struct {
		User   *uint32   `json:"req_user_id"`
		Key    *string   `json:"app_key"`
		Name   *string   `json:"group_name"`
		Type   *uint32   `json:"group_type"`
		Avatar *string   `json:"group_avatar"`
		Users  *[]uint32 `json:"user_id_list"`
		Group  *uint32   `json:"group_id"`
		Change *uint32   `json:"modify_type"`
	}
	if json.NewDecoder(r.Body).Decode(&in) != nil {
		panic(http.ErrAbortHandler)
	}
	answer := map[string]any{"error_code": 1, "error_msg": "参数错误"}
	common := in.User != nil && in.Key != nil && in.Users != nil
	switch r.URL.Path {
	case "/query/CreateGroup":
		answer["group_id"] = 0
		if common && in.Name != nil && in.Type != nil && in.Avatar != nil && *in.Type >= 1 && *in.Type <= 2 {
			s.create(answer, build("IMGroupCreateReq", "user_id", 0, "group_type", *in.Type, "group_name", *in.Name,
				"group_avatar", *in.Avatar, "member_id_list", *in.Users))
		}
	case "/query/ChangeMembers":
		if common && in.Group != nil && in.Change != nil && *in.Change >= 1 && *in.Change <= 2 {
			s.change(answer, build("IMGroupChangeMemberReq", "user_id", 0, "change_type", *in.Change,
				"group_id", *in.Group, "member_id_list", *in.Users))
		}
	default:
		panic(http.ErrAbortHandler)
	}
	w.Header().Set("Content-Type", "text/html;charset=utf-8")
	w.Header().Set("Connection", "close")
	_ = json.NewEncoder(w).Encode(answer) // whoever asked may have gone
}

func (s *httpMsgServer) create(answer map[string]any, req *message) {
	switch res := s.ask(0x0405, req); {
	case res == nil:
		answer["error_code"], answer["error_msg"] = 10, "服务器异常"
	case res.num("result_code") != 0:
		answer["error_code"], answer["error_msg"] = 11, "创建群失败"
	default:
		answer["error_code"], answer["error_msg"], answer["group_id"] = 0, "成功", res.num("group_id")
	}
}

func (s *httpMsgServer) change(answer map[string]any, req *message) {
	res := s.ask(0x0407, req)
	switch {
	case res == nil:
		answer["error_code"], answer["error_msg"] = 10, "服务器异常"
		return
	case res.num("result_code") != 0:
		answer["error_code"], answer["error_msg"] = 12, "更改群成员失败"
		return
	}
	answer["error_code"], answer["error_msg"] = 0, "成功"
	world.Lock()
	defer world.Unlock()
	if len(s.routes) > 0 {
		s.routes[0].say(0x040B, 0, build("IMGroupChangeMemberNotify", "user_id", 0,
			"change_type", res.num("change_type"), "group_id", res.num("group_id"),
			"cur_user_id_list", res.nums("cur_user_id_list"), "chg_user_id_list", res.nums("chg_user_id_list")))
	}
}
