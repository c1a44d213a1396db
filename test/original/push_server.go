package main

import (
	"encoding/json"
	"net"
	"net/http"
	"strings"
)

// pushed is what a phone got, as the scenario reads it.
type pushed struct {
	Token string `json:"token"`
	Line  string `json:"line"` // "" where only the number changed
	Badge uint32 `json:"badge"`
}

// pushServer is an original push_server whose Apple takes everything.
// Source: docs/protocol/flows.md §15.
type pushServer struct {
	links  []*link
	pushed []pushed
}

func runPushServer(c config) (pages http.Handler) {
	s := &pushServer{pushed: []pushed{}}
	listen(c.addr("ListenIP", "ListenPort"), func(conn net.Conn) {
		l := &link{
			what: "msg_server " + conn.RemoteAddr().String(), conn: conn, servers: true, echoes: true, unmarked: true,
			accepts: []uint16{0x070F}, got: s.got, gone: func(l *link) { s.links = without(s.links, l) },
		}
		s.links = append(s.links, l)
		l.start()
	})
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		world.Lock()
		defer world.Unlock()
		_ = json.NewEncoder(w).Encode(s.pushed) // whoever asked may have gone
	})
}

func (s *pushServer) got(l *link, p pdu, m *message) {
	var data map[string]uint32
	line := m.text("flash")
	if line == "" || len(line) > 40 || json.Unmarshal([]byte(m.text("data")), &data) != nil ||
		data["msg_type"] == 0 || data["from_id"] == 0 || (data["group_id"] != 0) != (data["msg_type"] >= 0x10) ||
		len(m.subs("user_token_list")) == 0 {
		violate("%s: %v", l.what, m)
	}
	var results []*message
	for _, t := range m.subs("user_token_list") {
		kind, token := t.num("user_type"), t.text("token")
		if kind < 0x10 || token == "" || t.num("push_type") < 1 || t.num("push_type") > 2 || t.num("user_id") == 0 {
			violate("%s: %v", l.what, t)
		}
		result := 1
		if kind == 0x11 && len(token) == 64 && strings.Trim(token, "0123456789abcdefABCDEF") == "" {
			result = 0
			one := pushed{Token: token, Line: line, Badge: t.num("push_count")}
			if t.num("push_type") == 2 {
				one.Line = ""
			}
			s.pushed = append(s.pushed, one)
		}
		results = append(results, build("PushResult", "user_token", token, "result_code", result))
	}
	l.say(0x0710, p.seq, build("IMPushToUserRsp", "push_result_list", results))
}
