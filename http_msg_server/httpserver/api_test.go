package httpserver

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"teamtalk/client/textcrypt"
	"teamtalk/internal/im"
	"teamtalk/internal/link/linktest"
	"teamtalk/internal/trace"
)

func TestUsers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	dave := w.do(201, "POST", "/api/v1/users", `{"name":"dave","nick":"Dave D","password":"12345"}`)
	if dave["name"] != "dave" || dave["nick"] != "Dave D" || dave["disabled"] != false {
		t.Errorf("made %v", dave)
	}
	id := num(dave, "user_id")
	path := fmt.Sprintf("/api/v1/users/%d", id)
	w.wrong(409, "name", "POST", "/api/v1/users", `{"name":"dave","password":"12345"}`)
	if got := w.do(200, "GET", path, ""); got["nick"] != "Dave D" {
		t.Errorf("got %v", got)
	}
	found := w.do(200, "GET", "/api/v1/users?name=dave", "")["users"].([]any)
	if len(found) != 1 || num(found[0].(object), "user_id") != id {
		t.Errorf("found %v", found)
	}

	d := w.login("dave") // the password holds
	if got := w.do(200, "PATCH", path, `{"nick":"D","disabled":true}`); got["disabled"] != true || got["nick"] != "D" {
		t.Errorf("changed %v", got)
	}
	linktest.Eventually(t, "being logged off", func() bool { return d.Err() != nil })
	if got := w.do(200, "PATCH", path, `{"password":"new","disabled":false}`); got["nick"] != "D" {
		t.Errorf("changed %v", got)
	}

	// Pages: every account once, in ascending id.
	var seen []uint32
	for cursor := ""; ; {
		page := w.do(200, "GET", "/api/v1/users?limit=2"+cursor, "")
		for _, u := range page["users"].([]any) {
			seen = append(seen, num(u.(object), "user_id"))
		}
		next, more := page["next_cursor"].(string)
		if !more {
			break
		}
		cursor = "&cursor=" + next
	}
	if len(seen) != 4 || seen[3] != id {
		t.Errorf("pages of %v", seen)
	}

	w.wrong(404, "user_id", "GET", "/api/v1/users/999", "")
	w.wrong(404, "user_id", "PATCH", "/api/v1/users/999", `{"nick":"x"}`)
	for body, field := range map[string]string{
		`{"nick":"x","password":"p"}`:                                          "name",
		`{"name":null,"password":"p"}`:                                         "name",
		`{"name":"","password":"p"}`:                                           "name",
		`{"name":" x","password":"p"}`:                                         "name",
		`{"name":"` + strings.Repeat("é", 33) + `","password":"p"}`:            "name",
		`{"name":"a\u0000b","password":"p"}`:                                   "name",
		`{"name":7,"password":"p"}`:                                            "name",
		`{"name":"x"}`:                                                         "password",
		`{"name":"x","password":""}`:                                           "password",
		`{"name":"x","password":"p","nick":"` + strings.Repeat("n", 40) + `"}`: "nick",
		`{"name":"x","password":"p","admin":true}`:                             "admin",
		`[]`:          "",
		`{"name":"x"`: "",
		`null`:        "",
	} {
		w.wrong(400, field, "POST", "/api/v1/users", body)
	}
	w.wrong(400, "", "PATCH", path, `{}`)
	for path, field := range map[string]string{
		"/api/v1/users?limit=0": "limit", "/api/v1/users?limit=101": "limit", "/api/v1/users?limit=x": "limit",
		"/api/v1/users?cursor=zzz": "cursor", "/api/v1/users?colour=red": "colour", "/api/v1/users?limit=1&limit=2": "limit",
		"/api/v1/users/0": "user_id", "/api/v1/users/x": "user_id", "/api/v1/users/4294967296": "user_id",
	} {
		w.wrong(400, field, "GET", path, "")
	}
	groups := w.do(200, "GET", "/api/v1/groups?limit=1", "")
	if len(groups["groups"].([]any)) != 0 {
		t.Errorf("groups %v", groups)
	}
}

func TestGroups(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	alice, bob, carol := w.users["alice"], w.users["bob"], w.users["carol"]
	a, c := w.login("alice"), w.login("carol")
	made := w.do(201, "POST", "/api/v1/groups",
		fmt.Sprintf(`{"name":"friends","creator_id":%d,"member_ids":[%d,%d,%d]}`, alice, bob, alice, bob))
	id := num(made, "group_id")
	if made["type"] != "normal" || num(made, "creator_id") != alice || fmt.Sprint(made["member_ids"]) != fmt.Sprintf("[%d %d]", alice, bob) {
		t.Errorf("made %v", made)
	}
	path := fmt.Sprintf("/api/v1/groups/%d", id)
	added := w.do(200, "POST", path+"/members", fmt.Sprintf(`{"user_ids":[%d,%d]}`, carol, bob))
	if fmt.Sprint(added["added"]) != fmt.Sprintf("[%d]", carol) || len(added["member_ids"].([]any)) != 3 {
		t.Errorf("added %v", added)
	}
	a.hears("group %d changed [%d]", id, carol)
	c.hears("group %d changed [%d]", id, carol)
	again := w.do(200, "POST", path+"/members", fmt.Sprintf(`{"user_ids":[%d]}`, carol))
	if len(again["added"].([]any)) != 0 {
		t.Errorf("added again %v", again)
	}
	of := w.do(200, "GET", fmt.Sprintf("/api/v1/users/%d/groups", carol), "")["groups"].([]any)
	if len(of) != 1 || num(of[0].(object), "member_count") != 3 {
		t.Errorf("groups of carol %v", of)
	}
	member := fmt.Sprintf("%s/members/%d", path, carol)
	w.do(204, "DELETE", member, "")
	c.hears("group %d changed [%d]", id, carol)
	w.wrong(404, "user_id", "DELETE", member, "")
	if got := w.do(200, "GET", path, ""); num(got, "member_count") != 2 || num(got, "version") != 3 {
		t.Errorf("got %v", got)
	}
	if got := w.do(200, "GET", "/api/v1/groups", "")["groups"].([]any); len(got) != 1 || num(got[0].(object), "member_count") != 2 {
		t.Errorf("listed %v", got)
	}

	w.wrong(404, "group_id", "GET", "/api/v1/groups/999", "")
	w.wrong(404, "group_id", "POST", "/api/v1/groups/999/members", fmt.Sprintf(`{"user_ids":[%d]}`, bob))
	w.wrong(404, "group_id", "DELETE", fmt.Sprintf("/api/v1/groups/999/members/%d", bob), "")
	w.wrong(404, "user_ids", "POST", path+"/members", fmt.Sprintf(`{"user_ids":[%d,999]}`, carol))
	if got := w.do(200, "GET", path, ""); num(got, "member_count") != 2 {
		t.Errorf("half done: %v", got)
	}
	for body, field := range map[string]string{
		`{"member_ids":[1]}`:                         "name",
		`{"name":"x"}`:                               "member_ids",
		`{"name":"x","member_ids":[]}`:               "member_ids",
		`{"name":"x","member_ids":[1,0]}`:            "member_ids.1",
		`{"name":"x","member_ids":[-1]}`:             "member_ids",
		`{"name":"x","member_ids":["1"]}`:            "member_ids",
		`{"name":"x","member_ids":[1],"type":"big"}`: "type",
	} {
		w.wrong(400, field, "POST", "/api/v1/groups", body)
	}
	w.wrong(404, "creator_id", "POST", "/api/v1/groups", fmt.Sprintf(`{"name":"x","creator_id":999,"member_ids":[%d]}`, bob))
	w.wrong(404, "member_ids", "POST", "/api/v1/groups", fmt.Sprintf(`{"name":"x","member_ids":[%d,999]}`, bob))
}

func TestMessages(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	alice, bob, carol := w.users["alice"], w.users["bob"], w.users["carol"]
	a, b := w.login("alice"), w.login("bob")
	send := func(status int, body, key string) object {
		t.Helper()
		return w.do(status, "POST", "/api/v1/messages", body, "Idempotency-Key", key)
	}
	toBob := fmt.Sprintf(`{"from_user_id":%d,"to_user_id":%d,"text":"hello 你好"}`, alice, bob)
	first := send(201, toBob, "k1")
	if num(first, "msg_id") != 1 || num(first, "from_user_id") != alice || num(first, "created_at") == 0 {
		t.Errorf("sent %v", first)
	}
	b.hears("%d writes message 1: hello 你好", alice)
	a.hears("%d writes message 1: hello 你好", alice) // his other terminals hear, too
	if repeat := w.send("POST", "/api/v1/messages", toBob, "Idempotency-Key", "k1"); repeat.status != 200 ||
		num(repeat.body, "msg_id") != 1 || repeat.header.Get(replayed) != "true" {
		t.Errorf("repeat: %d %v", repeat.status, repeat.body)
	}

	if got, want := w.traced(im.SingleOf(im.UserID(alice), im.UserID(bob)), 1), fmt.Sprintf(
		"received by %d: 0, relayed by %[1]d: 1, acknowledged by %[1]d: 0", alice); got != want {
		t.Errorf("remembered %s, want %s", got, want)
	}

	// After a restart, the database alone knows the key.
	w.seconds.Add(5)
	w.stop()
	w.startHTTP()
	if got := send(200, toBob, "k1"); num(got, "msg_id") != 1 || num(got, "created_at") != num(first, "created_at") {
		t.Errorf("repeat after a restart: %v, first %v", got, first)
	}
	w.wrong(409, "Idempotency-Key", "POST", "/api/v1/messages",
		fmt.Sprintf(`{"from_user_id":%d,"to_user_id":%d,"text":"another"}`, alice, bob), "Idempotency-Key", "k1")
	w.wrong(409, "Idempotency-Key", "POST", "/api/v1/messages",
		fmt.Sprintf(`{"from_user_id":%d,"to_user_id":%d,"text":"hello 你好"}`, alice, carol), "Idempotency-Key", "k1")
	// Another back end may use the same key.
	other := w.key(100, MessagesWrite)
	if got := w.do(201, "POST", "/api/v1/messages", toBob, "Idempotency-Key", "k1", "Authorization", "Bearer "+other.Token); num(got, "msg_id") != 2 {
		t.Errorf("another back end: %v", got)
	}
	b.hears("%d writes message 2: hello 你好", alice)

	// The system writes to a user and to a group it is no member of.
	sys := send(201, fmt.Sprintf(`{"to_user_id":%d,"text":"welcome"}`, bob), "")
	system := num(sys, "from_user_id")
	b.hears("%d writes message 1: welcome", system)
	group := num(w.do(201, "POST", "/api/v1/groups", fmt.Sprintf(`{"name":"g","member_ids":[%d,%d]}`, alice, bob)), "group_id")
	send(201, fmt.Sprintf(`{"to_group_id":%d,"text":"to all"}`, group), "")
	b.hears("%d writes message 1: to all", system)
	send(201, fmt.Sprintf(`{"from_user_id":%d,"to_group_id":%d,"text":"me"}`, alice, group), "")
	b.hears("%d writes message 2: me", alice)
	if id, err := b.SendText(t.Context(), im.Group, group, "from a client"); err != nil || id != 3 {
		t.Errorf("id %d, %v", id, err)
	}

	page := w.do(200, "GET", fmt.Sprintf("/api/v1/messages?group_id=%d&limit=2", group), "")
	all := page["messages"].([]any)
	if len(all) != 2 || all[0].(object)["text"] != "from a client" || all[1].(object)["text"] != "me" {
		t.Errorf("history %v", page)
	}
	page = w.do(200, "GET", fmt.Sprintf("/api/v1/messages?group_id=%d&limit=2&cursor=%s", group, page["next_cursor"]), "")
	if all = page["messages"].([]any); len(all) != 1 || all[0].(object)["text"] != "to all" || page["next_cursor"] != nil {
		t.Errorf("history %v", page)
	}
	page = w.do(200, "GET", fmt.Sprintf("/api/v1/messages?user_id=%d&peer_id=%d", bob, alice), "")
	if all = page["messages"].([]any); len(all) != 2 || all[1].(object)["text"] != "hello 你好" {
		t.Errorf("history %v", page)
	}
	if page = w.do(200, "GET", fmt.Sprintf("/api/v1/messages?user_id=%d&peer_id=%d", carol, alice), ""); len(page["messages"].([]any)) != 0 {
		t.Errorf("history of strangers %v", page)
	}

	w.do(200, "PATCH", fmt.Sprintf("/api/v1/users/%d", carol), `{"disabled":true}`)
	big := strings.Repeat("x", textcrypt.MaxPlain+1)
	for _, bad := range []struct {
		status int
		field  string
		body   string
	}{
		{400, "text", `{"to_user_id":1}`},
		{400, "text", `{"to_user_id":1,"text":""}`},
		{400, "to_user_id", `{"text":"x"}`},
		{400, "to_user_id", `{"to_user_id":1,"to_group_id":1,"text":"x"}`},
		{400, "to_user_id", `{"from_user_id":1,"to_user_id":1,"text":"x"}`},
		{400, "to_user_id", fmt.Sprintf(`{"to_user_id":%d,"text":"x"}`, system)},
		{413, "text", `{"to_user_id":1,"text":"` + big + `"}`},
		{404, "to_user_id", fmt.Sprintf(`{"from_user_id":%d,"to_user_id":999,"text":"x"}`, alice)},
		{404, "to_user_id", fmt.Sprintf(`{"from_user_id":%d,"to_user_id":%d,"text":"x"}`, alice, carol)},
		{404, "to_group_id", `{"to_group_id":999,"text":"x"}`},
		{404, "from_user_id", fmt.Sprintf(`{"from_user_id":999,"to_user_id":%d,"text":"x"}`, alice)},
		{409, "from_user_id", fmt.Sprintf(`{"from_user_id":%d,"to_user_id":%d,"text":"x"}`, carol, alice)},
	} {
		w.wrong(bad.status, bad.field, "POST", "/api/v1/messages", bad.body)
	}
	w.wrong(409, "from_user_id", "POST", "/api/v1/messages",
		fmt.Sprintf(`{"from_user_id":%d,"to_user_id":%d,"text":"x"}`, carol, alice), "Idempotency-Key", "k2")
	op, _ := operationIDs(w.all.ID, "k2", im.UserID(carol), im.SingleOf(im.UserID(carol), im.UserID(alice)), time.Now())
	if got := w.trace.Find(trace.Query{Op: op}).Events; len(got) != 2 || got[0].Event != trace.Received ||
		got[1].Event != trace.Failed || got[1].Detail != uint32(im.Denied) {
		t.Errorf("remembered %v of a refused message", got)
	}
	outsider := num(w.do(201, "POST", "/api/v1/users", `{"name":"eve","password":"p"}`), "user_id")
	w.wrong(409, "from_user_id", "POST", "/api/v1/messages", fmt.Sprintf(`{"from_user_id":%d,"to_group_id":%d,"text":"x"}`, outsider, group))
	for _, key := range []string{"a b", "é", strings.Repeat("k", 256)} {
		w.wrong(400, "Idempotency-Key", "POST", "/api/v1/messages", toBob, "Idempotency-Key", key)
	}
	for path, field := range map[string]string{
		"/api/v1/messages":                      "user_id",
		"/api/v1/messages?user_id=1":            "peer_id",
		"/api/v1/messages?user_id=1&peer_id=1":  "peer_id",
		"/api/v1/messages?user_id=1&group_id=1": "group_id",
		"/api/v1/messages?group_id=x":           "group_id",
	} {
		w.wrong(400, field, "GET", path, "")
	}
	w.wrong(400, "cursor", "GET", fmt.Sprintf("/api/v1/messages?group_id=%d&cursor=dXNlcnM6MQ", group), "")
	w.wrong(404, "group_id", "GET", "/api/v1/messages?group_id=999", "")
	w.wrong(404, "peer_id", "GET", fmt.Sprintf("/api/v1/messages?user_id=%d&peer_id=999", alice), "")
}

func TestPresence(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	alice, bob := w.users["alice"], w.users["bob"]
	path := fmt.Sprintf("/api/v1/users/%d/presence", alice)
	if got := w.do(200, "GET", path, ""); got["online"] != false {
		t.Errorf("presence %v", got)
	}
	a := w.login("alice")
	w.login("bob")
	linktest.Eventually(t, "presence", func() bool { return num(w.do(200, "GET", "/api/v1/presence", ""), "total") == 2 })
	if got := w.do(200, "GET", path, ""); got["online"] != true || len(got["clients"].([]any)) != 1 {
		t.Errorf("presence %v", got)
	}
	page := w.do(200, "GET", "/api/v1/presence?limit=1", "")
	if num(page["users"].([]any)[0].(object), "user_id") != alice || page["next_cursor"] == nil {
		t.Errorf("page %v", page)
	}
	page = w.do(200, "GET", fmt.Sprintf("/api/v1/presence?limit=1&cursor=%s", page["next_cursor"]), "")
	if num(page["users"].([]any)[0].(object), "user_id") != bob || page["next_cursor"] != nil {
		t.Errorf("page %v", page)
	}
	kick := fmt.Sprintf("/api/v1/users/%d/kick", alice)
	w.wrong(400, "clients.0", "POST", kick, `{"clients":["toaster"]}`)
	if got := w.do(200, "POST", kick, `{"clients":["phone"]}`); len(got["kicked"].([]any)) != 0 {
		t.Errorf("kicked %v", got)
	}
	if got := w.do(200, "POST", kick, `{}`); len(got["kicked"].([]any)) != 1 {
		t.Errorf("kicked %v", got)
	}
	a.hears("kicked")
	linktest.Eventually(t, "going off-line", func() bool { return w.do(200, "GET", path, "")["online"] == false })
	w.wrong(404, "user_id", "POST", "/api/v1/users/999/kick", `{}`)
	w.wrong(404, "user_id", "GET", "/api/v1/users/999/presence", "")
}

func TestKeys(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	with := func(token string) []string { return []string{"Authorization", token} }
	for name, token := range map[string]string{
		"none": "", "basic": "Basic YTpi", "no token": "Bearer tt_x", "unknown": "Bearer tt_nobody_SECRET",
		"another secret": "Bearer tt_" + w.all.ID + "_SECRET",
	} {
		a := w.send("GET", "/api/v1/users", "", with(token)...)
		if a.status != 401 || !strings.HasPrefix(a.header.Get("WWW-Authenticate"), "Bearer") {
			t.Errorf("%s: %d %s", name, a.status, a.raw)
		}
	}
	reader := w.key(100, UsersRead)
	w.do(200, "GET", "/api/v1/users", "", with("Bearer "+reader.Token)...)
	w.do(403, "POST", "/api/v1/users", `{"name":"x","password":"p"}`, with("Bearer "+reader.Token)...)
	w.do(403, "GET", "/api/v1/groups", "", with("Bearer "+reader.Token)...)

	// A rotation: the old token holds for the grace, and not without one.
	admin := w.db.Admin()
	rotated, err := admin.RotateAPIKey(t.Context(), reader.ID, 3600e9)
	if err != nil {
		t.Fatal(err)
	}
	w.do(200, "GET", "/api/v1/users", "", with("Bearer "+rotated.Token)...)
	if rotated, err = admin.RotateAPIKey(t.Context(), reader.ID, 0); err != nil {
		t.Fatal(err)
	}
	w.do(200, "GET", "/api/v1/users", "", with("Bearer "+rotated.Token)...)
	w.stop()
	w.startHTTP() // it remembers nothing of what held before
	w.do(401, "GET", "/api/v1/users", "", with("Bearer "+reader.Token)...)
	if err := admin.RevokeAPIKey(t.Context(), reader.ID); err != nil {
		t.Fatal(err)
	}
	w.do(401, "GET", "/api/v1/users", "", with("Bearer "+rotated.Token)...)
	if _, err := admin.RotateAPIKey(t.Context(), reader.ID, 0); im.CodeOf(err) != im.NotFound {
		t.Errorf("rotation of a revoked key: %v", err)
	}

	slow := w.key(1, UsersRead)
	statuses := map[int]int{}
	var waits []string
	for range 5 {
		a := w.send("GET", "/api/v1/users", "", with("Bearer "+slow.Token)...)
		statuses[a.status]++
		waits = append(waits, a.header.Values("Retry-After")...)
	}
	if statuses[200] == 0 || statuses[429] == 0 || len(waits) != statuses[429] || waits[0] != "1" {
		t.Errorf("five requests at one per second: %v, Retry-After %q", statuses, waits)
	}
	many := 0
	for i := range 60 {
		if w.send("GET", "/api/v1/users", "", with(fmt.Sprintf("Bearer tt_guess_%d", i))...).status == http.StatusTooManyRequests {
			many++
		}
	}
	if many == 0 {
		t.Error("sixty guesses are answered")
	}
}

func TestEdges(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "MaxBodyBytes=16KiB")
	w.do(404, "GET", "/", "")
	w.do(404, "GET", "/api/v1/nothing", "")
	if a := w.send("PUT", "/api/v1/users", `{}`); a.status != 405 || fmt.Sprint(a.header.Values("Allow")) != "[GET POST]" {
		t.Errorf("PUT: %d, allowed %v", a.status, a.header.Values("Allow"))
	}
	w.wrong(415, "Content-Type", "POST", "/api/v1/users", `{}`, "Content-Type", "text/plain")
	w.do(413, "POST", "/api/v1/users", `{"name":"`+strings.Repeat("x", 20<<10)+`"}`)
	w.do(200, "GET", "/api/v1/openapi.json", "", "Authorization", "")
}
