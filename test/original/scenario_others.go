package main

import "time"

// commands are the commands from user to user.
// Source: docs/protocol/flows.md §13.
func (g *game) commands() {
	aw, ai, bm := g.login(1, g.alice, windows), g.login(2, g.alice, ios), g.login(2, g.bob, mac)
	g.meet(aw, ai, bm)
	const shake = `{"service_id":1,"cmd_id":65537,"content":"shakewindow"}`
	aw.tell(0x0601, build("IMP2PCmdMsg", "from_user_id", g.alice.id, "to_user_id", g.bob.id, "cmd_msg_data", shake))
	for _, c := range []*client{ai, bm} {
		c.pushed(0x0601, func(m *message) bool {
			return m.num("from_user_id") == g.alice.id && m.num("to_user_id") == g.bob.id && m.text("cmd_msg_data") == shake
		})
	}
	bm.tell(0x0601, build("IMP2PCmdMsg", "from_user_id", g.bob.id, "to_user_id", g.alice.id, "cmd_msg_data", "{}"))
	for _, c := range []*client{aw, ai} {
		c.pushed(0x0601, func(m *message) bool { return m.num("from_user_id") == g.bob.id && m.num("to_user_id") == g.alice.id })
	}
	for _, c := range []*client{aw, ai, bm} {
		c.quiet()
	}
}

// settings are signatures, tokens and pushes at night.
// Source: docs/protocol/flows.md §11, §14.
func (g *game) settings() {
	aw, ba, ci := g.login(1, g.alice, windows), g.login(2, g.bob, android), g.login(1, g.cara, ios)
	g.meet(aw, ba, ci)
	res := aw.request(0x0213, 0x0214, build("IMChangeSignInfoReq", "user_id", aw.user(), "sign_info", "at work"))
	if res.num("result_code") != 0 || res.text("sign_info") != "at work" {
		violate("%s: %v", aw.what, res)
	}
	for _, c := range []*client{aw, ba, ci} {
		c.pushed(0x0215, func(m *message) bool {
			return m.num("changed_user_id") == g.alice.id && m.text("sign_info") == "at work"
		})
	}
	info := ba.request(0x0204, 0x0205, build("IMUsersInfoReq", "user_id", ba.user(), "user_id_list", []uint32{g.alice.id, 4_000_000}))
	if list := info.subs("user_info_list"); len(list) != 1 || list[0].text("sign_info") != "at work" {
		violate("%s: %v", ba.what, info)
	}
	ci.request(0x0108, 0x0109, build("IMDeviceTokenReq", "user_id", ci.user(), "device_token",
		"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef", "client_type", 0x11))
	aw.tell(0x0108, build("IMDeviceTokenReq", "user_id", aw.user(), "device_token", "of a PC", "client_type", 1))
	if set := ci.request(0x010C, 0x010D, build("IMPushShieldReq", "user_id", ci.user(), "shield_status", 1)); set.num("result_code") != 0 || set.num("shield_status") != 1 {
		violate("%s: %v", ci.what, set)
	}
	if got := ci.request(0x010E, 0x010F, build("IMQueryPushShieldReq", "user_id", ci.user())); got.num("result_code") != 0 || got.num("shield_status") != 1 {
		violate("%s: %v", ci.what, got)
	}
	// Somebody with a token is written to: the servers ask each other for it.
	id := g.send(aw, 1, g.cara, text)
	ci.hears(g.alice, g.cara, id, text)
	if !g.original["db_proxy"] {
		if res := aw.request(0x020C, 0x020D, build("IMChangeAvatarReq", "user_id", aw.user(), "avatar_url", "g0/a.png")); res.num("result_code") != 0 {
			violate("%s: %v", aw.what, res)
		}
	} else {
		aw.tell(0x020C, build("IMChangeAvatarReq", "user_id", aw.user(), "avatar_url", "g0/a.png"))
	}
	// A phone logs out; it is not heard of any more.
	if out := ci.request(0x0105, 0x0106, build("IMLogoutReq")); out.num("result_code") != 0 {
		violate("%s: %v", ci.what, out)
	}
	ci.ended()
	for _, c := range []*client{aw, ba} {
		c.quiet()
	}
}

// odd is what has no answer: it must have none, and the connection stays.
func (g *game) odd() {
	a := g.login(1, g.alice, windows)
	b := g.login(2, g.bob, android)
	g.meet(a, b)
	a.tell(0x0301, g.message(g.alice, text, 1))
	a.tell(0x0301, g.message(g.bob, "", 1))
	a.tell(0x0301, g.message(account{id: 999_999_999}, text, 0x11))
	a.tell(0x010A, build("IMKickPCClientReq", "user_id", a.user()))
	a.raw(3, 0x0301, 500, []byte{0x08})
	a.raw(2, 0x0208, 501, nil)
	a.raw(2, 0x0208, 502, []byte{0xFF, 0xFF})
	a.raw(9, 0x0999, 503, []byte("x"))
	a.raw(3, 0x0302, 504, []byte{0x01})
	a.quiet()
	if id := g.send(a, 1, g.bob, text); id != 9 {
		violate("%s: id %d", a.what, id)
	}
	b.hears(g.alice, g.bob, 9, text)
	a.quiet()
	b.quiet()
}

// kicks are log-ins of one class, and a phone that ends its PC.
// Source: docs/protocol/flows.md §4.
func (g *game) kicks() {
	watch, near := g.login(2, g.bob, mac), g.login(1, g.bob, android)
	first := g.login(1, g.alice, windows)
	watch.sees(g.alice, true)
	phone := g.login(2, g.alice, ios)
	phone.await("PC status", func() bool { return phone.pc == 1 })
	kicked := func(c *client, reason uint32) {
		c.pushed(0x0107, func(m *message) bool { return m.num("user_id") == g.alice.id && m.num("kick_reason") == reason })
		c.leave()
	}
	second := g.login(2, g.alice, mac) // on the other server
	kicked(first, 1)
	third := g.login(2, g.alice, windows) // on the same one
	kicked(second, 1)
	g.kickPC(phone, third)
	kicked(third, 2)
	phone.await("PC status", func() bool { return phone.pc == 2 })
	watch.sees(g.alice, false)
	g.settle(phone, near)
	fourth := g.login(1, g.alice, windows)
	watch.sees(g.alice, true)
	g.kickPC(phone, fourth)
	kicked(fourth, 2)
	watch.sees(g.alice, false)
	for _, c := range []*client{watch, near, phone} {
		c.quiet()
	}
}

// kickPC lets a phone end its user's PC. An original tells the first of the
// user's connections that it finds, which may be one that has just been left.
func (g *game) kickPC(phone, pc *client) {
	for {
		res := phone.request(0x010A, 0x010B, build("IMKickPCClientReq", "user_id", phone.user()))
		if res.num("result_code") != 0 {
			violate("%s: %v", phone.what, res)
		}
		if !pc.foreign || pc.told(0x0107, time.Second) {
			return
		}
	}
}
