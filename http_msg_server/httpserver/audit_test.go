package httpserver

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"unicode/utf8"

	"teamtalk/internal/link/linktest"
)

// audited returns the lines of the audit in the log.
func (w *world) audited() (lines []object) {
	w.t.Helper()
	for line := range strings.Lines(w.logged.String()) {
		var o object
		if err := json.Unmarshal([]byte(line), &o); err != nil {
			w.t.Fatalf("%s: %v", line, err)
		}
		if o["msg"] == "changed through the API" {
			lines = append(lines, o)
		}
	}
	return lines
}

// TestAudit: each change is one line that says who did what to whom; what
// failed or was asked for is none, and no line of the log holds a secret or a
// text.
func TestAudit(t *testing.T) {
	t.Parallel()
	const secret, words = "a-secret-password", "words-of-a-message"
	w := newWorld(t)
	alice, bob, carol := w.users["alice"], w.users["bob"], w.users["carol"]
	w.login("alice")
	changes := []struct {
		operation, path, body string
		subject               string
		again                 int // status of the same once more, which changes nothing; 0: not tried
	}{
		{"createUser", "/users", `{"name":"dave","password":"` + secret + `"}`, "user:4", 409},
		{"changeUser", "/users/4", `{"password":"` + secret + `2"}`, "user:4", 0},
		{"createGroup", "/groups", fmt.Sprintf(`{"name":"g","member_ids":[%d,%d]}`, alice, bob), "group:1", 0},
		{"addMembers", "/groups/1/members", fmt.Sprintf(`{"user_ids":[%d]}`, carol), "group:1", 200},
		{"removeMember", fmt.Sprintf("/groups/1/members/%d", carol), "", "group:1", 404},
		{
			"sendMessage", "/messages", fmt.Sprintf(`{"from_user_id":%d,"to_user_id":%d,"text":"%s"}`, alice, bob, words),
			fmt.Sprintf("single:%d-%d message:1", alice, bob), 200,
		},
		{"kickUser", fmt.Sprintf("/users/%d/kick", alice), `{}`, fmt.Sprintf("user:%d", alice), 0},
	}
	tried := map[string]bool{}
	for _, c := range changes {
		tried[c.operation] = true
		op := operationNamed(t, c.operation)
		before := len(w.audited())
		header := []string{}
		if c.operation == "sendMessage" {
			header = []string{"Idempotency-Key", "once"}
		}
		a := w.send(op.Method, prefix+c.path, c.body, header...)
		if a.status != op.Status {
			t.Fatalf("%s: %d %s", c.operation, a.status, a.raw)
		}
		lines := w.audited()
		if len(lines) != before+1 {
			t.Fatalf("%s: %d lines", c.operation, len(lines)-before)
		}
		line := lines[before]
		if line["key_id"] != w.all.ID || line["action"] != c.operation || line["subject"] != c.subject ||
			line["request_id"] != a.header.Get("X-Request-Id") || line["remote"] != "127.0.0.1" || num(line, "status") != uint32(op.Status) {
			t.Errorf("%s: %v", c.operation, line)
		}
		if c.again != 0 {
			w.do(c.again, op.Method, prefix+c.path, c.body, header...)
			if got := w.audited(); len(got) != before+1 {
				t.Errorf("%s, once more: %v", c.operation, got[before+1:])
			}
		}
	}
	for _, op := range operations() {
		if op.Method != http.MethodGet && !tried[op.ID] {
			t.Errorf("%s is not tried", op.ID)
		}
	}
	w.queriesAudited(alice, bob, carol)
	before := len(w.audited())
	w.do(401, "POST", "/api/v1/users", `{"name":"x","password":"`+secret+`"}`, "Authorization", "Bearer tt_x_"+secret)
	w.do(400, "POST", "/api/v1/users", `{"name":"x","password":"`+secret+`","more":1}`)
	w.do(200, "GET", "/api/v1/messages?group_id=1", "")
	if got := w.audited(); len(got) != before {
		t.Errorf("nothing was changed, but: %v", got[before:])
	}
	linktest.Eventually(t, "the rows in the table", func() bool { return w.server.audit.Waiting() == 0 })
	for _, hidden := range []string{secret, words, w.all.Token, "rows not written"} {
		if strings.Contains(w.logged.String(), hidden) {
			t.Errorf("the log holds %q", hidden)
		}
	}
}

// queriesAudited: so are the two requests of the original.
func (w *world) queriesAudited(alice, bob, carol uint32) {
	w.t.Helper()
	before := len(w.audited())
	w.post("/query/CreateGroup", fmt.Sprintf(`{"req_user_id":0,"app_key":"a-secret-password","group_name":"site",`+
		`"group_type":1,"group_avatar":"","user_id_list":[%d,%d]}`, alice, bob))
	add := fmt.Sprintf(`{"req_user_id":0,"app_key":"a-secret-password","group_id":2,"modify_type":1,"user_id_list":[%d]}`, carol)
	w.post("/query/ChangeMembers", add)
	w.post("/query/ChangeMembers", add) // changes nothing
	var got []string
	for _, line := range w.audited()[before:] {
		got = append(got, fmt.Sprintf("%v %v %v", line["key_id"], line["action"], line["subject"]))
	}
	if fmt.Sprint(got) != "[query query/CreateGroup group:2 query query/ChangeMembers group:2]" {
		w.t.Errorf("queries: %q", got)
	}
}

func operationNamed(t *testing.T, id string) *operation {
	t.Helper()
	for _, op := range operations() {
		if op.ID == id {
			return op
		}
	}
	t.Fatalf("there is no %s", id)
	return nil
}

// TestLongSubject: one that the table cannot hold would keep all others out.
func TestLongSubject(t *testing.T) {
	t.Parallel()
	if got := cutSubject("group:" + strings.Repeat("你", 256)); utf8.RuneCountInString(got) != 255 || !strings.HasPrefix(got, "group:你") {
		t.Errorf("%d characters", utf8.RuneCountInString(got))
	}
	if got := cutSubject("user:7"); got != "user:7" {
		t.Error(got)
	}
}
