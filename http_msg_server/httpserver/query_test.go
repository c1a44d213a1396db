package httpserver

import (
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// post sends a request as the original's callers do, and returns all that
// comes until the connection ends.
func (w *world) post(path, body string) string {
	w.t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(w.base, "http://"))
	if err != nil {
		w.t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\n"+
		"Content-Length: %d\r\n\r\n%s", path, len(body), body)
	all, err := io.ReadAll(conn)
	if err != nil {
		w.t.Fatalf("%s: the connection does not end: %v", path, err)
	}
	return string(all)
}

// TestQuery: the two requests of the original.
// Source: docs/protocol/flows.md §18, §19.
func TestQuery(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	alice, bob, carol := w.users["alice"], w.users["bob"], w.users["carol"]
	a, c := w.login("alice"), w.login("carol")
	create := fmt.Sprintf(`{"req_user_id":0,"app_key":"asdfasdf","group_name":"site","group_type":1,`+
		`"group_avatar":"","user_id_list":[%d,%d]}`, alice, bob)
	got := w.post("/query/CreateGroup", create)
	header, body, _ := strings.Cut(got, "\r\n\r\n")
	if !strings.HasPrefix(header, "HTTP/1.1 200 OK\r\n") || !strings.Contains(header, "Content-Type: text/html;charset=utf-8") {
		t.Errorf("header %s", header)
	}
	if body != `{"error_code":0,"error_msg":"成功","group_id":1}` {
		t.Fatalf("body %s", body)
	}
	if info := w.do(200, "GET", "/api/v1/groups/1", ""); num(info, "creator_id") != 0 || info["type"] != "normal" {
		t.Errorf("made %v", info)
	}
	change := func(id, how, user uint32) string {
		_, body, _ := strings.Cut(w.post("/query/ChangeMembers", fmt.Sprintf(
			`{"req_user_id":0,"app_key":"asdfasdf","group_id":%d,"modify_type":%d,"user_id_list":[%d]}`, id, how, user)), "\r\n\r\n")
		return body
	}
	if body := change(1, 1, carol); body != `{"error_code":0,"error_msg":"成功"}` {
		t.Errorf("add: %s", body)
	}
	a.hears("group 1 changed [%d]", carol)
	c.hears("group 1 changed [%d]", carol)
	if body := change(1, 2, carol); body != `{"error_code":0,"error_msg":"成功"}` {
		t.Errorf("remove: %s", body)
	}
	c.hears("group 1 changed [%d]", carol)
	for name, try := range map[string]struct{ got, want string }{
		"somebody who is in": {change(1, 1, alice), `{"error_code":12,"error_msg":"更改群成员失败"}`},
		"an unknown group":   {change(99, 1, alice), `{"error_code":12,"error_msg":"更改群成员失败"}`},
		"an unknown change":  {change(1, 3, alice), `{"error_code":1,"error_msg":"参数错误"}`},
	} {
		if try.got != try.want {
			t.Errorf("%s: %s, want %s", name, try.got, try.want)
		}
	}
	for name, try := range map[string]struct{ old, replacement, want string }{
		"a missing member": {`"group_avatar":"",`, "", `{"error_code":1,"error_msg":"参数错误"}`},
		"an unknown type":  {`"group_type":1`, `"group_type":3`, `{"error_code":1,"error_msg":"参数错误"}`},
		"no name":          {`"site"`, `""`, `{"error_code":11,"error_msg":"创建群失败","group_id":0}`},
	} {
		_, body, _ := strings.Cut(w.post("/query/CreateGroup", strings.Replace(create, try.old, try.replacement, 1)), "\r\n\r\n")
		if body != try.want {
			t.Errorf("%s: %s, want %s", name, body, try.want)
		}
	}
	for _, try := range [][2]string{
		{"/query/CreateGroup", "no json"},
		{"/query/Nothing", create},
		{"/query/CreateGroup/x", create},
		{"/query/CreateGroup", "[1]"},
	} {
		if got := w.post(try[0], try[1]); got != "" {
			t.Errorf("%s %.10s is answered: %s", try[0], try[1], got)
		}
	}
}

// TestQueryGuarded: only configured addresses may ask.
// Source: docs/protocol/defects.md D12.
func TestQueryGuarded(t *testing.T) {
	t.Parallel()
	const create = `{"req_user_id":0,"app_key":"%s","group_name":"x","group_type":1,"group_avatar":"","user_id_list":[1]}`
	w := newWorld(t, "QueryAppKey=right")
	if got := w.post("/query/CreateGroup", fmt.Sprintf(create, "wrong")); !strings.Contains(got, `"error_code":1,`) {
		t.Errorf("a wrong app_key: %s", got)
	}
	if got := w.post("/query/CreateGroup", fmt.Sprintf(create, "right")); !strings.Contains(got, `"error_code":0,`) {
		t.Errorf("the right app_key: %s", got)
	}
	far := newWorld(t, "QueryPeers=10.0.0.0/8")
	if got := far.post("/query/CreateGroup", fmt.Sprintf(create, "x")); got != "" {
		t.Errorf("a foreign address is answered: %s", got)
	}
}
