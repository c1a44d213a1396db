package httpserver

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"google.golang.org/protobuf/proto"

	"teamtalk/http_msg_server/internal/backend"
	"teamtalk/internal/im"
	"teamtalk/internal/wire"
	"teamtalk/pb/extension"
)

// at is a world whose requests go to another of its http_msg_servers.
func (w *world) at(base string) *world {
	return &world{t: w.t, base: base, users: w.users, doc: w.doc, all: w.all}
}

// beside starts one more http_msg_server.
func (w *world) beside() *world {
	w.t.Helper()
	first := w.base
	w.startHTTP()
	second := w.at(w.base)
	w.base = first
	return second
}

// changing are requests of every operation that may be given a key, and another
// request that the same key must be refused for.
func (w *world) changing() map[string][2][3]string {
	alice, bob, carol := w.users["alice"], w.users["bob"], w.users["carol"]
	group := num(w.do(201, "POST", "/api/v1/groups", fmt.Sprintf(`{"name":"g","member_ids":[%d,%d]}`, alice, bob)), "group_id")
	say := func(to uint32, text string) [3]string {
		return [3]string{"POST", "/api/v1/messages", fmt.Sprintf(`{"from_user_id":%d,"to_user_id":%d,"text":%q}`, alice, to, text)}
	}
	user := func(id uint32) string { return fmt.Sprintf("/api/v1/users/%d", id) }
	members := fmt.Sprintf("/api/v1/groups/%d/members", group)
	return map[string][2][3]string{
		"sendMessage, receiver": {say(bob, "<b> & \u2028"), say(carol, "<b> & \u2028")},
		"sendMessage, text":     {say(bob, "one"), say(bob, "two")},
		"sendMessage, system": {
			{"POST", "/api/v1/messages", fmt.Sprintf(`{"to_group_id":%d,"text":"all"}`, group)},
			{"POST", "/api/v1/messages", fmt.Sprintf(`{"to_user_id":%d,"text":"all"}`, bob)},
		},
		"createUser": {
			{"POST", "/api/v1/users", `{"name":"dave","password":"12345"}`},
			{"POST", "/api/v1/users", `{"name":"dave","password":"54321"}`},
		},
		"changeUser": {{"PATCH", user(bob), `{"nick":"B"}`}, {"PATCH", user(carol), `{"nick":"B"}`}},
		"createGroup": {
			{"POST", "/api/v1/groups", fmt.Sprintf(`{"name":"new","member_ids":[%d]}`, alice)},
			{"POST", "/api/v1/messages", fmt.Sprintf(`{"to_user_id":%d,"text":"other path"}`, bob)},
		},
		"addMembers": {
			{"POST", members, fmt.Sprintf(`{"user_ids":[%d]}`, carol)},
			{"POST", members, fmt.Sprintf(`{"user_ids":[%d]}`, bob)},
		},
		"removeMember": {
			{"DELETE", fmt.Sprintf("%s/%d", members, bob), ""},
			{"PATCH", user(bob), `{"nick":"other method"}`},
		},
		"kickUser": {{"POST", user(alice) + "/kick", `{}`}, {"POST", user(alice) + "/kick", `{"clients":["pc"]}`}},
	}
}

// A repeat gets the first answer, field by field, from the same server, another
// one and one that was started since; the key is refused for anything else.
func TestRepeatsGetTheFirstAnswer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	requests := w.changing()
	var tried []string
	first := map[string]answer{}
	send := func(w *world, name string, r [3]string) answer {
		return w.send(r[0], r[1], r[2], idempotencyHeader, "key-"+strings.ReplaceAll(name, " ", ""))
	}
	for name, r := range requests {
		tried = append(tried, strings.Split(name, ",")[0])
		if first[name] = send(w, name, r[0]); first[name].status >= 300 || first[name].header.Get(replayed) != "" {
			t.Fatalf("%s: %d %s", name, first[name].status, first[name].raw)
		}
	}
	for _, op := range operations() {
		if op.changes() && !slices.Contains(tried, op.ID) {
			t.Errorf("%s is not tried", op.ID)
		}
	}
	second := w.beside()
	check := func(who string, w *world) {
		t.Helper()
		for name, r := range requests {
			want := first[name].status
			if want == http.StatusCreated {
				want = http.StatusOK
			}
			a := send(w, name, r[0])
			if a.status != want || a.raw != first[name].raw || a.header.Get(replayed) != "true" {
				t.Errorf("%s, %s: %d %s, first %d %s", who, name, a.status, a.raw, first[name].status, first[name].raw)
			}
			if a = send(w, name, r[1]); a.status != http.StatusConflict || !strings.Contains(a.raw, idempotencyHeader) {
				t.Errorf("%s, %s: another request under the key: %d %s", who, name, a.status, a.raw)
			}
		}
	}
	w.seconds.Add(5) // what is made anew is made later
	check("same server", w)
	check("second server", second)
	w.stop()
	w.startHTTP()
	check("after a restart", w)
	if all := w.do(200, "GET", "/api/v1/groups", "")["groups"].([]any); len(all) != 2 {
		t.Errorf("groups %v", all)
	}
	page := w.do(200, "GET", fmt.Sprintf("/api/v1/messages?user_id=%d&peer_id=%d", w.users["alice"], w.users["bob"]), "")
	if all := page["messages"].([]any); len(all) != 2 {
		t.Errorf("messages %v", all)
	}
	other := w.key(100, ScopeAll) // another back end may use the same key
	a := w.send("POST", "/api/v1/groups", fmt.Sprintf(`{"name":"new","member_ids":[%d]}`, w.users["alice"]),
		idempotencyHeader, "key-createGroup", "Authorization", "Bearer "+other.Token)
	if a.status != http.StatusCreated {
		t.Errorf("another back end: %d %s", a.status, a.raw)
	}
}

// Of the same request at the same moment, at two servers, one is carried out.
func TestRepeatsAtTheSameMoment(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.stopClock()
	servers := []*world{w, w.beside()}
	alice, bob := w.users["alice"], w.users["bob"]
	for name, r := range map[string][2]string{
		"message": {"/api/v1/messages", fmt.Sprintf(`{"from_user_id":%d,"to_user_id":%d,"text":"x"}`, alice, bob)},
		"group":   {"/api/v1/groups", fmt.Sprintf(`{"name":"g","member_ids":[%d,%d]}`, alice, bob)},
		"user":    {"/api/v1/users", `{"name":"dave","password":"12345"}`},
	} {
		answers := make([]answer, 10)
		var all sync.WaitGroup
		for i := range answers {
			all.Go(func() {
				for { // told that it is under way, a back end repeats it
					answers[i] = servers[i%2].send("POST", r[0], r[1], idempotencyHeader, name)
					if answers[i].status != http.StatusConflict || !strings.Contains(answers[i].raw, "under_way") {
						return
					}
				}
			})
		}
		all.Wait()
		statuses, bodies := map[int]int{}, map[string]bool{}
		for _, a := range answers {
			statuses[a.status]++
			bodies[a.raw] = true
		}
		if statuses[201] != 1 || statuses[200] != len(answers)-1 || len(bodies) != 1 {
			t.Errorf("%s: %v, %v", name, statuses, slices.Collect(maps.Keys(bodies)))
		}
	}
}

// begun claims a key for a request as a server does that then dies.
func (w *world) begun(key, method, path string, in any) *once {
	w.t.Helper()
	r, err := http.NewRequestWithContext(w.t.Context(), method, w.base+path, http.NoBody)
	if err != nil {
		w.t.Fatal(err)
	}
	c := &call{server: w.server, r: r}
	id := sha256.Sum256([]byte(w.all.ID + "\x00" + key))
	o := &once{
		attempt:     &extension.ApiAttempt{RequestId: id[:], Token: []byte(fmt.Sprintf("%-16.16s", key))},
		fingerprint: c.fingerprint(in),
	}
	res, err := w.server.claim(w.t.Context(), o)
	if err != nil || res.GetState() != claimFresh {
		w.t.Fatalf("claim: %v, %v", res, err)
	}
	return o
}

// A server dies between doing what was asked and keeping the answer, or before:
// a repeat waits for it, takes over, and finds what was done.
func TestRepeatsTakeOver(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	alice, bob := w.users["alice"], w.users["bob"]
	w.stopClock()
	repeat := func(status int, method, path, body, key string) object {
		t.Helper()
		if a := w.send(method, path, body, idempotencyHeader, key); a.status != http.StatusConflict ||
			!strings.Contains(a.raw, "under_way") || a.header.Get("Retry-After") != "1" {
			t.Errorf("%s: while it is under way: %d %s", key, a.status, a.raw)
		}
		w.seconds.Add(10)
		first := w.do(status, method, path, body, idempotencyHeader, key)
		again := w.send(method, path, body, idempotencyHeader, key)
		if fmt.Sprint(again.body) != fmt.Sprint(first) || again.header.Get(replayed) != "true" {
			t.Errorf("%s: %v, again %d %v", key, first, again.status, again.body)
		}
		return first
	}

	in := &newMessage{FromUserID: alice, ToUserID: bob, Text: "x"}
	w.begun("message", "POST", "/api/v1/messages", in)
	conv := im.SingleOf(im.UserID(alice), im.UserID(bob))
	sent, err := w.server.backend.Send(t.Context(), &backend.Message{
		From: im.UserID(alice), Conv: conv, Content: w.server.texts.Encrypt("x"), Created: uint32(w.clock().Unix()),
		Op: im.OperationOf(im.OfAPIKey(w.all.ID), conv, "message"),
	})
	if err != nil {
		t.Fatal(err)
	}
	body := fmt.Sprintf(`{"from_user_id":%d,"to_user_id":%d,"text":"x"}`, alice, bob)
	if got := repeat(200, "POST", "/api/v1/messages", body, "message"); num(got, "msg_id") != uint32(sent.ID) ||
		num(got, "created_at") != sent.Created {
		t.Errorf("message %v, stored %+v", got, sent)
	}

	user := &newUser{Name: "dave", Password: "12345"}
	o := w.begun("user", "POST", "/api/v1/users", user)
	res := new(extension.IMApiUserSaveRsp)
	err = w.server.backend.API(t.Context(), &extension.IMApiUserSaveReq{
		Name: proto.String("dave"), Password: clientMD5("12345"), Attempt: o.attempt,
	}, wire.APIUserSaveReq, res)
	if err != nil {
		t.Fatal(err)
	}
	if got := repeat(201, "POST", "/api/v1/users", `{"name":"dave","password":"12345"}`, "user"); num(got, "user_id") != res.GetUser().GetUserId() {
		t.Errorf("user %v, made %v", got, res)
	}

	group := &newGroup{Name: "g", Type: "normal", MemberIDs: []uint32{alice}}
	o = w.begun("group", "POST", "/api/v1/groups", group)
	c := &call{server: w.server, once: o, op: &operation{ID: "createGroup"}}
	c.r, _ = http.NewRequestWithContext(t.Context(), http.MethodPost, "/", http.NoBody)
	made, err := createGroup(c, group)
	if err != nil {
		t.Fatal(err)
	}
	if got := repeat(201, "POST", "/api/v1/groups", fmt.Sprintf(`{"name":"g","member_ids":[%d]}`, alice), "group"); num(got, "group_id") != made.ID {
		t.Errorf("group %v, made %v", got, made)
	}
	if _, err := createGroup(c, group); im.CodeOf(err) == im.OK { // late: it was taken over from
		t.Error("an attempt that was taken over made a group")
	}
	if all := w.do(200, "GET", "/api/v1/groups", "")["groups"].([]any); len(all) != 1 {
		t.Errorf("groups %v", all)
	}

	// Nothing was done before: it is done now.
	w.begun("nothing", "POST", "/api/v1/groups", group)
	repeat(201, "POST", "/api/v1/groups", fmt.Sprintf(`{"name":"g","member_ids":[%d]}`, alice), "nothing")

	// A member was removed, and is not missed.
	path := fmt.Sprintf("/api/v1/groups/%d/members/%d", made.ID, alice)
	w.begun("member", "DELETE", path, &none{})
	w.do(204, "DELETE", path, "")
	repeat(204, "DELETE", path, "", "member")
}

// A refusal did nothing, so its key is free, for a repeat that is tried anew
// and for anything else.
func TestRefusalsFreeTheKey(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	alice := w.users["alice"]
	body := `{"name":"g","member_ids":[4]}`
	w.wrong(404, "member_ids", "POST", "/api/v1/groups", body, idempotencyHeader, "k")
	w.do(201, "POST", "/api/v1/users", `{"name":"dave","password":"p"}`)
	w.do(201, "POST", "/api/v1/groups", body, idempotencyHeader, "k")
	w.wrong(409, "name", "POST", "/api/v1/users", `{"name":"dave","password":"p"}`, idempotencyHeader, "n")
	w.do(201, "POST", "/api/v1/groups", fmt.Sprintf(`{"name":"h","member_ids":[%d]}`, alice), idempotencyHeader, "n")
	for _, key := range []string{"a b", "é", strings.Repeat("k", 256)} {
		w.wrong(400, idempotencyHeader, "PATCH", fmt.Sprintf("/api/v1/users/%d", alice), `{"nick":"x"}`, idempotencyHeader, key)
	}
	w.do(200, "GET", "/api/v1/users", "", idempotencyHeader, "a b") // reading needs no key
}
