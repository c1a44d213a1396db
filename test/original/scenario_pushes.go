package main

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"time"
)

const carasPhone = "fedcba98"

// rung asks what Cara's phone was pushed so far.
func (g *game) rung() (all []pushed) {
	res, err := http.Get(g.pushes_)
	if err != nil {
		fatal("%v", err)
	}
	defer res.Body.Close()
	if err := json.NewDecoder(res.Body).Decode(&all); err != nil {
		fatal("%v", err)
	}
	return slices.DeleteFunc(all, func(p pushed) bool { return !strings.HasPrefix(p.Token, carasPhone) })
}

// rings waits until the phone rang with a number at its icon, and returns how
// it did; nil if it does not in time.
func (g *game) rings(badge uint32, within time.Duration) (with []pushed) {
	for end := time.Now().Add(within); len(with) == 0 && time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		with = slices.DeleteFunc(g.rung(), func(p pushed) bool { return p.Badge != badge })
	}
	return with
}

// pushes are messages for somebody whose phone is away.
// Source: docs/protocol/flows.md §15.
func (g *game) pushes() {
	ci := g.login(2, g.cara, ios)
	ci.request(0x0108, 0x0109, build("IMDeviceTokenReq", "user_id", ci.user(), "device_token",
		strings.Repeat(carasPhone, 8), "client_type", 0x11))
	ci.request(0x010C, 0x010D, build("IMPushShieldReq", "user_id", ci.user(), "shield_status", 0))
	badge := ci.request(0x0307, 0x0308, build("IMUnreadMsgCntReq", "user_id", ci.user())).num("total_cnt")
	ci.leave()
	aw := g.login(1, g.alice, windows)

	// Until every server knows that she has left, nothing need ring.
	for end := time.Now().Add(patience); ; {
		g.send(aw, 1, g.cara, text)
		if badge++; len(g.rings(badge, 3*time.Second)) > 0 {
			break
		}
		if time.Now().After(end) {
			violate("no push within %v", patience)
		}
	}
	want := func(line string, most int) {
		badge++
		got := g.rings(badge, patience)
		if len(got) == 0 || len(got) > most || got[0].Line != line && most == 1 {
			violate("pushes with %d at the icon: %v", badge, got)
		}
	}
	g.send(aw, 1, g.cara, text)
	want("alice:hello", 1)

	// Every original msg_server pushes a message of a group; ours push it once.
	res := aw.request(0x0405, 0x0406, build("IMGroupCreateReq", "user_id", aw.user(), "group_type", 2, "group_name", "two",
		"group_avatar", "", "member_id_list", []uint32{g.alice.id, g.cara.id}))
	most := 1
	for _, server := range []string{msgServerName(1), msgServerName(2)} {
		if g.original[server] {
			most++
		}
	}
	g.send(aw, 0x11, account{id: res.num("group_id")}, text)
	want("alice:hello", most)

	// At a PC, only the number changes.
	cm := g.login(1, g.cara, mac)
	aw.sees(g.cara, true)
	id := g.send(aw, 1, g.cara, text)
	cm.hears(g.alice, g.cara, id, text)
	want("", 1)
	group := slices.DeleteFunc(g.rung(), func(p pushed) bool { return p.Badge != badge-1 })
	if len(group) > most {
		violate("a message of a group was pushed too often: %v", group)
	}
	cm.leave()
	phone := g.login(2, g.cara, ios)
	phone.request(0x0105, 0x0106, build("IMLogoutReq"))
	phone.ended()
	aw.quiet()
}
