package main

import (
	"cmp"
	"crypto/md5"
	"encoding/hex"
	"net"
	"slices"
	"time"
)

// dbProxy is an original db_proxy_server with its storage in memory.
type dbProxy struct {
	*store
	links    []*link
	stopped  time.Time // 0702 was sent
	failures map[string]int
}

// handlers are the commands that it has a handler for.
// Source: docs/protocol/commands.md.
var handlers = map[uint16]func(*dbProxy, *message) *message{
	0x0703: (*dbProxy).validate,
	0x0108: (*dbProxy).setToken,
	0x010C: (*dbProxy).setNight,
	0x010E: (*dbProxy).night,
	0x0201: (*dbProxy).sessions,
	0x0204: (*dbProxy).usersByID,
	0x0206: (*dbProxy).removeSession,
	0x0208: (*dbProxy).allUsers,
	0x0210: (*dbProxy).departments,
	0x0213: (*dbProxy).setSignature,
	0x0301: (*dbProxy).sendMessage,
	0x0303: (*dbProxy).readAck,
	0x0307: (*dbProxy).unread,
	0x0309: (*dbProxy).history,
	0x030B: (*dbProxy).latestID,
	0x030D: (*dbProxy).byID,
	0x0401: (*dbProxy).groupList,
	0x0403: (*dbProxy).groupInfo,
	0x0405: (*dbProxy).createGroup,
	0x0407: (*dbProxy).changeMembers,
	0x0409: (*dbProxy).setShield,
	0x0509: (*dbProxy).offlineFiles,
	0x050B: nil, // no such table in the original's SQL: nothing happens
	0x050C: nil,
	0x0705: (*dbProxy).tokens,
	0x0711: (*dbProxy).shields,
}

// answers are the commands of the replies.
var answers = map[uint16]uint16{
	0x0703: 0x0704, 0x0108: 0x0109, 0x010C: 0x010D, 0x010E: 0x010F, 0x0201: 0x0202, 0x0204: 0x0205,
	0x0206: 0x0207, 0x0208: 0x0209, 0x0210: 0x0211, 0x0213: 0x0214, 0x0301: 0x0301, 0x0307: 0x0308,
	0x0309: 0x030A, 0x030B: 0x030C, 0x030D: 0x030E, 0x0401: 0x0402, 0x0403: 0x0404, 0x0405: 0x0406,
	0x0407: 0x0408, 0x0409: 0x040A, 0x0509: 0x050A, 0x0705: 0x0706, 0x0711: 0x0712,
}

func runDBProxy(c config, users []account) (stop func()) {
	d := &dbProxy{store: newStore(users), failures: map[string]int{}}
	accepts := []uint16{0x020C} // passed on by msg_server, and nobody handles it
	for command := range handlers {
		accepts = append(accepts, command)
	}
	listen(c.addr("ListenIP", "ListenPort"), func(conn net.Conn) {
		l := &link{
			what: "msg_server " + conn.RemoteAddr().String(), conn: conn, servers: true,
			accepts: accepts, got: d.got, gone: d.gone,
		}
		d.links = append(d.links, l)
		l.start()
	})
	every(func() {
		for _, l := range d.links {
			l.tick()
		}
	})
	return d.stop
}

func (d *dbProxy) gone(l *link) {
	d.links = slices.DeleteFunc(slices.Clone(d.links), func(o *link) bool { return o == l })
}

// stop tells everybody to send no more, and ends four seconds later.
func (d *dbProxy) stop() {
	world.Lock()
	d.stopped = time.Now()
	for _, l := range d.links {
		l.say(stopReceive, 0, build("IMStopReceivePacket", "result", 0))
	}
	world.Unlock()
	say("0702 sent")
	time.Sleep(4 * time.Second)
}

// underWay is how long requests may still arrive after 0702.
const underWay = 2 * time.Second

func (d *dbProxy) got(l *link, p pdu, m *message) {
	if !d.stopped.IsZero() && time.Since(d.stopped) > underWay {
		violate("%s: %04X after 0702", l.what, p.command)
	}
	d.check(l, p, m)
	handle := handlers[p.command]
	if handle == nil {
		return
	}
	res := handle(d, m)
	if res == nil {
		return
	}
	if m.shape.byNumber(20) != nil && m.has("attach_data") {
		res.set("attach_data", m.text("attach_data"))
	}
	if p.command == 0x0301 {
		l.send(p.withBody(res))
		return
	}
	l.say(answers[p.command], p.seq, res)
}

// check refuses what an original msg_server never writes.
func (d *dbProxy) check(l *link, p pdu, m *message) {
	switch p.command {
	case 0x0703, 0x0705, 0x0711, 0x050B, 0x050C:
	case 0x0405, 0x0407: // user 0 is http_msg_server
	case 0x0301:
		if m.num("from_user_id") == 0 || m.num("create_time") == 0 || m.text("msg_data") == "" {
			violate("%s: %v", l.what, m)
		}
	default:
		if m.num("user_id") == 0 {
			violate("%s: no user in %v", l.what, m)
		}
	}
	switch p.command {
	case 0x0108, 0x0303, 0x0705, 0x0711, 0x050B, 0x050C: // without, or with a body in it
	default:
		// An original writes 12 bytes at least, and reads none of others'.
		if m.text("attach_data") == "" {
			violate("%s: no attach_data in %v", l.what, m)
		}
	}
	if p.command == 0x0403 && p.seq == 0 && len(m.subs("group_version_list")) != 1 {
		violate("%s: %v", l.what, m)
	}
}

func md5Hex(s string) string {
	sum := md5.Sum([]byte(s))
	return hex.EncodeToString(sum[:])
}

// password is everybody's.
const password = "12345"

func (d *dbProxy) validate(m *message) *message {
	name := m.text("user_name")
	res := build("IMValidateRsp", "user_name", name)
	u := d.byName[name]
	switch {
	case d.failures[name] > 10:
		res.set("result_code", 6)
		res.set("result_string", "用户名/密码错误次数太多")
	case u == nil || m.text("password") != md5Hex(password):
		d.failures[name]++
		res.set("result_code", 1)
		res.set("result_string", "用户名/密码错误")
	default:
		d.failures[name] = 0
		res.set("result_code", 0)
		res.set("result_string", "成功")
		res.set("user_info", u.info())
	}
	return res
}

func (d *dbProxy) setToken(m *message) *message {
	if !m.has("client_type") && m.text("device_token") != "" {
		violate("a device token of no client type: %v", m)
	}
	if u := d.users[m.num("user_id")]; u != nil {
		u.token, u.tokenType = m.text("device_token"), m.num("client_type")
	}
	return build("IMDeviceTokenRsp", "user_id", m.num("user_id"))
}

func (d *dbProxy) setNight(m *message) *message {
	res := build("IMPushShieldRsp", "user_id", m.num("user_id"), "result_code", 1)
	if u := d.users[m.num("user_id")]; u != nil {
		u.night = m.num("shield_status")
		res.set("result_code", 0)
		res.set("shield_status", u.night)
	}
	return res
}

func (d *dbProxy) night(m *message) *message {
	res := build("IMQueryPushShieldRsp", "user_id", m.num("user_id"), "result_code", 1)
	if u := d.users[m.num("user_id")]; u != nil {
		res.set("result_code", 0)
		res.set("shield_status", u.night)
	}
	return res
}

func (d *dbProxy) usersByID(m *message) *message {
	var found []*message
	for _, u := range d.sorted() {
		if slices.Contains(m.nums("user_id_list"), u.id) {
			found = append(found, u.info())
		}
	}
	return build("IMUsersInfoRsp", "user_id", m.num("user_id"), "user_info_list", found)
}

func (d *dbProxy) allUsers(m *message) *message {
	since := m.num("latest_update_time")
	latest := since
	var found []*message
	if d.lastUpdate > since {
		for _, u := range d.sorted() {
			if since == 0 || u.updated >= since {
				found = append(found, u.info())
				latest = max(latest, u.updated)
			}
		}
	}
	return build("IMAllUserRsp", "user_id", m.num("user_id"), "latest_update_time", latest, "user_list", found)
}

func (d *dbProxy) departments(m *message) *message {
	return build("IMDepartmentRsp", "user_id", m.num("user_id"), "latest_update_time", m.num("latest_update_time"))
}

func (d *dbProxy) setSignature(m *message) *message {
	res := build("IMChangeSignInfoRsp", "user_id", m.num("user_id"), "result_code", 1)
	u := d.users[m.num("user_id")]
	if sign := m.text("sign_info"); u != nil && len(sign) <= 128 && sign != u.sign {
		u.sign, u.updated = sign, now()
		d.lastUpdate = now()
		res.set("result_code", 0)
		res.set("sign_info", sign)
	}
	return res
}

func (d *dbProxy) offlineFiles(m *message) *message {
	return build("IMFileHasOfflineRsp", "user_id", m.num("user_id"))
}

func (d *dbProxy) tokens(m *message) *message {
	var found []*message
	for _, id := range m.nums("user_id") {
		if u := d.users[id]; u != nil && u.token != "" && u.tokenType >= 0x10 {
			found = append(found, build("UserTokenInfo", "user_id", id, "user_type", u.tokenType,
				"token", u.token, "push_count", d.unreadTotal(id), "push_type", 1))
		}
	}
	return build("IMGetDeviceTokenRsp", "user_token_info", found)
}

func (d *dbProxy) shields(m *message) *message {
	var found []*message
	if g := d.groups[m.num("group_id")]; g != nil {
		for _, id := range m.nums("user_id") {
			found = append(found, build("ShieldStatus",
				"user_id", id, "group_id", g.id, "shield_status", g.shields[id]))
		}
	}
	return build("IMGroupGetShieldRsp", "group_id", m.num("group_id"), "shield_status_list", found)
}

func (d *dbProxy) groupList(m *message) *message {
	var list []*message
	for _, g := range d.groups {
		if _, member := g.members[m.num("user_id")]; member && g.kind == 1 {
			list = append(list, build("GroupVersionInfo", "group_id", g.id, "version", g.version))
		}
	}
	return build("IMNormalGroupListRsp", "user_id", m.num("user_id"), "group_version_list", list)
}

func (d *dbProxy) groupInfo(m *message) *message {
	wanted := map[uint32]uint32{}
	for _, v := range m.subs("group_version_list") {
		wanted[v.num("group_id")] = v.num("version")
	}
	var found []*message
	for id, version := range wanted {
		if g := d.groups[id]; g != nil && g.version > version {
			found = append(found, build("GroupInfo", "group_id", id, "version", g.version, "group_name", g.name,
				"group_avatar", g.avatar, "group_creator_id", g.creator, "group_type", g.kind, "shield_status", 0,
				"group_member_list", g.sortedMembers()))
		}
	}
	slices.SortFunc(found, func(a, b *message) int { return cmp.Compare(a.num("group_id"), b.num("group_id")) })
	return build("IMGroupInfoListRsp", "user_id", m.num("user_id"), "group_info_list", found)
}

func (d *dbProxy) createGroup(m *message) *message {
	members := slices.Clone(m.nums("member_id_list"))
	slices.Sort(members)
	members = slices.Compact(members)
	res := build("IMGroupCreateRsp", "user_id", m.num("user_id"), "result_code", 1,
		"group_name", m.text("group_name"), "user_id_list", members)
	if m.text("group_name") == "" || len(members) == 0 {
		return res
	}
	g := d.newGroup(m.text("group_name"), m.text("group_avatar"), m.num("user_id"), members)
	g.kind = m.num("group_type")
	res.set("result_code", 0)
	res.set("group_id", g.id)
	return res
}

func (d *dbProxy) changeMembers(m *message) *message {
	g := d.groups[m.num("group_id")]
	if g == nil {
		return nil
	}
	add := m.num("change_type") == 1
	res := build("IMGroupChangeMemberRsp", "user_id", m.num("user_id"), "change_type", m.num("change_type"),
		"result_code", 1, "group_id", g.id)
	if !add && g.creator != m.num("user_id") && m.num("user_id") != 0 {
		return res
	}
	var changed []uint32
	for _, id := range m.nums("member_id_list") {
		if _, member := g.members[id]; add != member {
			changed = append(changed, id)
			d.change(g, id, add)
		} else if !add {
			changed = append(changed, id) // counts as changed all the same
		}
	}
	if len(changed) == 0 {
		return res
	}
	g.version++
	res.set("result_code", 0)
	res.set("cur_user_id_list", g.sortedMembers())
	res.set("chg_user_id_list", changed)
	return res
}

func (d *dbProxy) setShield(m *message) *message {
	g := d.groups[m.num("group_id")]
	if g == nil {
		return nil
	}
	res := build("IMGroupShieldRsp", "user_id", m.num("user_id"), "group_id", g.id, "result_code", 1)
	if _, member := g.members[m.num("user_id")]; member {
		g.shields[m.num("user_id")] = m.num("shield_status")
		res.set("result_code", 0)
	}
	return res
}
