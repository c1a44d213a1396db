package main

import "slices"

// group is a group from its making on.
// Source: docs/protocol/flows.md §7 and §12.
func (g *game) group() {
	aw, bm, ca := g.login(1, g.alice, windows), g.login(2, g.bob, mac), g.login(2, g.cara, android)
	ai := g.login(2, g.alice, ios)
	g.meet(aw, bm, ca, ai)
	res := aw.request(0x0405, 0x0406, build("IMGroupCreateReq", "user_id", aw.user(), "group_type", 2, "group_name", "team",
		"group_avatar", "", "member_id_list", []uint32{g.bob.id, g.alice.id, g.bob.id}))
	if res.num("result_code") != 0 || res.num("group_id") == 0 || res.text("group_name") != "team" ||
		!slices.Equal(res.nums("user_id_list"), []uint32{g.alice.id, g.bob.id}) {
		violate("%s: %v", aw.what, res)
	}
	team := account{id: res.num("group_id"), name: "team"}
	if empty := aw.request(0x0405, 0x0406, build("IMGroupCreateReq", "user_id", aw.user(), "group_type", 2, "group_name", "",
		"group_avatar", "", "member_id_list", []uint32{g.alice.id})); empty.num("result_code") != 1 {
		violate("%s: %v", aw.what, empty)
	}
	g.send(aw, 0x11, team, text)
	bm.hears(g.alice, team, 1, text)
	ai.hears(g.alice, team, 1, text)
	g.send(bm, 0x11, team, text+"2")
	aw.hears(g.bob, team, 2, text+"2")
	ai.hears(g.bob, team, 2, text+"2")
	g.info(bm, team, []uint32{g.alice.id, g.bob.id})

	// Somebody who does not belong to a group is not acknowledged.
	other := aw.request(0x0405, 0x0406, build("IMGroupCreateReq", "user_id", aw.user(), "group_type", 2, "group_name", "others",
		"group_avatar", "", "member_id_list", []uint32{g.alice.id}))
	ca.tell(0x0301, g.message(account{id: other.num("group_id")}, text, 0x11))
	g.history(ca, inside, team.id, 300, 0, 18)

	changed := func(kind int, cur, chg []uint32) {
		res := aw.request(0x0407, 0x0408, build("IMGroupChangeMemberReq", "user_id", aw.user(), "change_type", kind,
			"group_id", team.id, "member_id_list", chg))
		same := func(m *message) bool {
			got := m.nums("cur_user_id_list")
			slices.Sort(got)
			return slices.Equal(got, cur) && slices.Equal(m.nums("chg_user_id_list"), chg) &&
				m.num("group_id") == team.id && m.num("change_type") == uint32(kind) && m.num("user_id") == g.alice.id
		}
		if res.num("result_code") != 0 || !same(res) {
			violate("%s: %v", aw.what, res)
		}
		for _, c := range []*client{ai, bm, ca} {
			c.pushed(0x040B, same)
		}
	}
	changed(1, []uint32{g.alice.id, g.bob.id, g.cara.id}, []uint32{g.cara.id})
	g.send(ca, 0x11, team, text+"3")
	for _, c := range []*client{aw, ai, bm} {
		c.hears(g.cara, team, 3, text+"3")
	}
	g.history(ca, inside, team.id, 301, 0, 1, 3)
	g.counts(bm, inside, team.id, 1)
	g.sessions(bm, team.id, 3)
	bm.tell(0x0303, build("IMMsgDataReadAck", "user_id", bm.user(), "session_id", team.id, "msg_id", 3, "session_type", 2))
	g.counts(bm, inside, team.id, 0)
	g.shield(bm, team)
	changed(2, []uint32{g.alice.id, g.bob.id}, []uint32{g.cara.id})
	if refused := bm.request(0x0407, 0x0408, build("IMGroupChangeMemberReq", "user_id", bm.user(), "change_type", 2,
		"group_id", team.id, "member_id_list", []uint32{g.alice.id})); refused.num("result_code") != 1 ||
		len(refused.nums("cur_user_id_list")) != 0 {
		violate("%s: %v", bm.what, refused)
	}
	g.send(bm, 0x11, team, text+"4")
	aw.hears(g.bob, team, 4, text+"4")
	ai.hears(g.bob, team, 4, text+"4")
	for _, c := range []*client{aw, ai, bm, ca} {
		c.quiet()
	}
}

// info asks for a group under version 0 and under its own.
func (g *game) info(c *client, team account, members []uint32) {
	ask := func(version uint32) []*message {
		return c.request(0x0403, 0x0404, build("IMGroupInfoListReq", "user_id", c.user(), "group_version_list",
			build("GroupVersionInfo", "group_id", team.id, "version", version))).subs("group_info_list")
	}
	list := ask(0)
	if len(list) != 1 {
		violate("%s: %v", c.what, list)
	}
	got := list[0].nums("group_member_list")
	slices.Sort(got)
	if !slices.Equal(got, members) || list[0].text("group_name") != team.name || list[0].num("group_type") != 2 ||
		list[0].num("group_creator_id") != g.alice.id {
		violate("%s: %v", c.what, list[0])
	}
	if again := ask(list[0].num("version")); len(again) != 0 {
		violate("%s: %v, which has not changed", c.what, again)
	}
}

func (g *game) shield(c *client, team account) {
	for _, on := range []int{1, 0} {
		res := c.request(0x0409, 0x040A, build("IMGroupShieldReq", "user_id", c.user(), "group_id", team.id, "shield_status", on))
		if res.num("result_code") != 0 || res.num("group_id") != team.id {
			violate("%s: %v", c.what, res)
		}
	}
}
