package main

import (
	"bytes"
	"encoding/json"
	"net/http"
	"slices"
)

// post sends a request of the administration site.
// Source: docs/protocol/flows.md §18.
func (g *game) post(path string, body map[string]any) (code int, group uint32) {
	text, err := json.Marshal(body)
	if err != nil {
		fatal("%v", err)
	}
	res, err := http.Post(g.site_+"/query/"+path, "application/json", bytes.NewReader(text))
	if err != nil {
		violate("http_msg_server: %s: %v", path, err)
	}
	defer res.Body.Close()
	var answer struct {
		Code    *int   `json:"error_code"`
		Message string `json:"error_msg"`
		Group   uint32 `json:"group_id"`
	}
	if json.NewDecoder(res.Body).Decode(&answer) != nil || answer.Code == nil || answer.Message == "" ||
		res.Header.Get("Content-Type") != "text/html;charset=utf-8" {
		violate("http_msg_server: %s: %+v", path, answer)
	}
	return *answer.Code, answer.Group
}

// site is what the administration site does to groups.
func (g *game) site() {
	bm, ca := g.login(1, g.bob, mac), g.login(2, g.cara, android)
	g.meet(bm, ca)
	create := map[string]any{
		"req_user_id": 0, "app_key": "asdfasdf", "group_name": "staff", "group_type": 1, "group_avatar": "",
		"user_id_list": []uint32{g.alice.id, g.bob.id},
	}
	code, staff := g.post("CreateGroup", create)
	if code != 0 || staff == 0 {
		violate("CreateGroup: %d, group %d", code, staff)
	}
	listed := func(c *client) bool {
		res := c.request(0x0401, 0x0402, build("IMNormalGroupListReq", "user_id", c.user()))
		return slices.ContainsFunc(res.subs("group_version_list"), func(v *message) bool { return v.num("group_id") == staff })
	}
	if !listed(bm) || listed(ca) {
		violate("the group of the site is listed for the wrong users")
	}
	change := func(kind int, want int) {
		if code, _ := g.post("ChangeMembers", map[string]any{
			"req_user_id": 0, "app_key": "asdfasdf", "group_id": staff, "modify_type": kind, "user_id_list": []uint32{g.cara.id},
		}); code != want {
			violate("ChangeMembers, %d: %d, want %d", kind, code, want)
		}
	}
	for kind := 1; kind <= 2; kind++ {
		change(kind, 0)
		for _, c := range []*client{bm, ca} {
			c.pushed(0x040B, func(m *message) bool {
				return m.num("group_id") == staff && m.num("change_type") == uint32(kind) &&
					slices.Equal(m.nums("chg_user_id_list"), []uint32{g.cara.id})
			})
		}
		if listed(ca) != (kind == 1) {
			violate("%s: the list of groups after change %d", ca.what, kind)
		}
		if kind == 1 {
			change(1, 12) // nobody new
		}
	}
	change(3, 1)
	delete(create, "group_name")
	if code, _ := g.post("CreateGroup", create); code != 1 {
		violate("CreateGroup without a name: %d", code)
	}
	if res, err := http.Post(g.site_+"/query/Nothing", "application/json", bytes.NewReader([]byte("{}"))); err == nil {
		_ = res.Body.Close()
		violate("/query/Nothing is answered: %s", res.Status)
	}
	bm.quiet()
	ca.quiet()
}
