package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"time"
)

// game is one scenario against two msg_servers.
type game struct {
	login_           string
	servers          []string
	original         map[string]bool // servers that are played by this program
	open             []*client
	alice, bob, cara account
	settled          int
	sent             map[talk]uint32 // the newest message of each conversation
	site_, pushes_   string          // URLs
}

func msgServerName(server int) string { return fmt.Sprintf("msg_server_%d", server) }

// text is "hello", encrypted. Source: docs/protocol/wire.md §5.1.
const text = "nnZSBwfPCz60q69ddmfIJA=="

// playClients plays everything that original clients do against two
// msg_servers that share their other servers, and ends with exit code 0 if
// all went as with originals.
func playClients(login string, servers []string, users []account, originals []string, site, pushes string) {
	if len(servers) != 2 || len(users) != 3 {
		fatal("a scenario needs two servers and three users")
	}
	g := &game{
		login_: login, servers: servers, original: map[string]bool{}, sent: map[talk]uint32{},
		alice: users[0], bob: users[1], cara: users[2], site_: site, pushes_: pushes,
	}
	for _, name := range originals {
		g.original[name] = true
	}
	for _, act := range []struct {
		name string
		play func(*game)
	}{
		{"locate", (*game).locate}, {"refused", (*game).refused}, {"start", (*game).start},
		{"talk", (*game).talk}, {"away", (*game).away}, {"group", (*game).group}, {"commands", (*game).commands},
		{"settings", (*game).settings}, {"odd", (*game).odd}, {"kicks", (*game).kicks},
		{"site", (*game).site}, {"files", (*game).files}, {"pushes", (*game).pushes},
	} {
		act.play(g)
		for _, c := range g.open {
			c.leave()
		}
		g.open = nil
		fmt.Println(act.name, "ok")
	}
}

// locate asks where to go. Source: docs/protocol/flows.md §1.1.
func (g *game) locate() {
	res, err := http.Get(g.login_)
	if err != nil {
		fatal("%v", err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	var answer struct {
		Code                                                           json.Number
		Msg, PriorIP, BackupIP, Port, MsfsPrior, MsfsBackup, Discovery string
	}
	if err != nil || json.Unmarshal(body, &answer) != nil {
		violate("login_server: %s", body)
	}
	if answer.Code != "0" || answer.Msg != "" || answer.BackupIP == "" || answer.MsfsPrior == "" ||
		answer.MsfsBackup == "" || answer.Discovery == "" ||
		!slices.Contains(g.servers, net.JoinHostPort(answer.PriorIP, answer.Port)) ||
		res.Header.Get("Content-Type") != "text/html;charset=utf-8" {
		violate("login_server: %s", body)
	}
}

// refused is a wrong password, and what nobody may do without a log-in.
func (g *game) refused() {
	for server := range g.servers {
		c := g.connect(server+1, g.alice, mac)
		c.tell(0x0208, build("IMAllUserReq", "user_id", 0, "latest_update_time", 0))
		c.tell(0x0301, g.message(g.bob, text, 1))
		c.beat()
		seq := c.ask(0x0103, 0x0104, c.loginBody("wrong"))
		res := c.answer(0x0104, seq)
		if res.num("result_code") != 6 || res.text("result_string") == "" || res.has("user_info") {
			violate("%s: %v", c.what, res)
		}
		c.ended()
	}
}

func (g *game) message(to account, data string, kind int) *message {
	return build("IMMsgData", "from_user_id", 0, "to_session_id", to.id, "msg_id", 0, "create_time", 0,
		"msg_type", kind, "msg_data", data)
}

// start plays the first requests of every kind of client.
// Source: docs/protocol/flows.md §3.1.
func (g *game) start() {
	bobs := []*client{g.login(1, g.bob, android), g.login(2, g.bob, mac)}
	for i, s := range []style{android, ios, mac, windows, web} {
		c := g.login(i%2+1, g.alice, s)
		users := c.ask(0x0208, 0x0209, build("IMAllUserReq", "user_id", c.user(), "latest_update_time", 0))
		groups := c.ask(0x0401, 0x0402, build("IMNormalGroupListReq", "user_id", c.user()))
		sessions := c.ask(0x0201, 0x0202, build("IMRecentContactSessionReq", "user_id", c.user(), "latest_update_time", 0))
		unread := c.ask(0x0307, 0x0308, build("IMUnreadMsgCntReq", "user_id", c.user()))
		if s.name != "ios" && s.name != "web" {
			c.request(0x0210, 0x0211, build("IMDepartmentReq", "user_id", c.user(), "latest_update_time", 0))
		}
		list := c.answer(0x0209, users)
		for _, a := range []account{g.alice, g.bob, g.cara} {
			if !slices.ContainsFunc(list.subs("user_list"), func(u *message) bool {
				return u.num("user_id") == a.id && u.text("user_real_name") == a.name
			}) {
				violate("%s: %s is missing in %v", c.what, a.name, list)
			}
		}
		if len(c.answer(0x0402, groups).subs("group_version_list")) != 0 ||
			len(c.answer(0x0202, sessions).subs("contact_session_list")) != 0 ||
			c.answer(0x0308, unread).num("total_cnt") != 0 {
			violate("%s: there is something at the start", c.what)
		}
		// Who is up to date is told his own time.
		latest := list.num("latest_update_time")
		again := c.request(0x0208, 0x0209, build("IMAllUserReq", "user_id", c.user(), "latest_update_time", latest))
		if again.num("latest_update_time") != latest {
			violate("%s: %v, asked with %d", c.what, again, latest)
		}
		if s.kind < 0x10 {
			g.status(c, g.alice, g.cara)
		}
		if s.name == "windows" {
			seq := c.ask(0x0305, 0x0306, build("IMClientTimeReq"))
			if !fresh(c.answer(0x0306, seq).num("server_time")) {
				violate("%s: 0306", c.what)
			}
		}
		if s.name == "ios" {
			c.raw(2, 0x0012, 9, nil)
			c.raw(2, 0x0002, 9, build("IMRemoveSessionReq", "user_id", 0, "session_type", 1, "session_id", g.bob.id).encode())
			c.raw(7, 0x0735, 9, []byte{8, 1})
		}
		if s.name == "mac" {
			c.raw(2, 0x0014, 9, []byte{1, 2, 3})
			c.raw(4, 0x000B, 9, nil)
		}
		g.settle(c, bobs[0])
		g.settle(c, bobs[1])
		c.quiet()
		c.leave()
	}
	for _, c := range bobs {
		c.quiet()
	}
}

// meet waits until everything that the log-ins of some terminals caused is
// known on both servers: each hears a command from the other server. Until
// then a relay may miss a terminal, and a log-in elsewhere may be taken for
// the older one.
func (g *game) meet(all ...*client) {
	for _, hearer := range all {
		if i := slices.IndexFunc(all, func(c *client) bool { return c.server != hearer.server }); i >= 0 {
			g.settle(all[i], hearer)
		}
	}
}

// writing is how the commands of settle begin.
const writing = `{"service_id":2,"cmd_id":131073,"content":"writing`

// settle lets one terminal send commands to another one's user until that
// hears one.
func (g *game) settle(from, to *client) {
	g.settled++
	data := fmt.Sprintf(`%s %d"}`, writing, g.settled)
	for end := time.Now().Add(patience); time.Now().Before(end); {
		from.tell(0x0601, build("IMP2PCmdMsg", "from_user_id", from.user(), "to_user_id", to.account.id, "cmd_msg_data", data))
		for again := time.Now().Add(time.Second); time.Now().Before(again); time.Sleep(2 * time.Millisecond) {
			if to.hasHeard(data) {
				return
			}
		}
	}
	violate("%s: no command of %s", to.what, from.what)
}

// status asks who is on-line: with repetitions, in the order asked.
func (g *game) status(c *client, on, off account) {
	c.sees(on, true)
	res := c.request(0x020A, 0x020B, build("IMUsersStatReq", "user_id", c.user(), "user_id_list", []uint32{off.id, on.id, off.id}))
	var got []uint32
	for _, stat := range res.subs("user_stat_list") {
		got = append(got, stat.num("user_id"), stat.num("status"))
	}
	if !slices.Equal(got, []uint32{off.id, 2, on.id, 1, off.id, 2}) {
		violate("%s: %v", c.what, got)
	}
}

// send sends a text and waits for its acknowledgement.
func (g *game) send(c *client, kind int, to account, data string) (id uint32) {
	seq := c.ask(0x0301, 0x0302, g.message(to, data, kind))
	ack := c.answer(0x0302, seq)
	if ack.num("session_id") != to.id || ack.num("session_type") != uint32(1+kind>>4) || ack.num("msg_id") == 0 {
		violate("%s: %v", c.what, ack)
	}
	id = ack.num("msg_id")
	g.sent[talkOf(c.account.id, uint32(1+kind>>4), to.id)] = id
	return id
}

// hears waits for a message.
func (c *client) hears(from, to account, id uint32, data string) {
	m := c.pushed(0x0301, func(m *message) bool {
		return m.num("from_user_id") == from.id && m.num("to_session_id") == to.id && m.num("msg_id") == id &&
			m.text("msg_data") == data && fresh(m.num("create_time"))
	})
	kind := 1 + m.num("msg_type")>>4
	session := from.id
	if kind == inside {
		session = to.id
	}
	if c.name == "android" {
		session = c.account.id // as Android writes it
	}
	c.tell(0x0302, build("IMMsgDataAck", "user_id", c.user(), "session_id", session, "msg_id", id, "session_type", kind))
}

// talk is a conversation of two, each on two terminals on either server.
// Source: docs/protocol/flows.md §6, §8, §9, §10.
func (g *game) talk() {
	aw, ai := g.login(1, g.alice, windows), g.login(2, g.alice, ios)
	bm, ba := g.login(2, g.bob, mac), g.login(1, g.bob, android)
	all := []*client{aw, ai, bm, ba}
	g.meet(all...)
	for _, phone := range []*client{ai, ba} {
		phone.await("PC status", func() bool { return phone.pc == 1 })
	}
	aw.sees(g.bob, true)
	others := func(c *client) []*client {
		return slices.DeleteFunc(slices.Clone(all), func(o *client) bool { return o == c })
	}
	senders := []*client{aw, bm, ai, ba, aw}
	for i, from := range senders {
		to := g.bob
		if from.account == g.bob {
			to = g.alice
		}
		data := fmt.Sprintf("%s%d", text, i)
		if id := g.send(from, 1, to, data); id != uint32(i+1) {
			violate("%s: message %d has the id %d", from.what, i+1, id)
		}
		for _, c := range others(from) {
			c.hears(from.account, to, uint32(i+1), data)
		}
	}
	g.counts(bm, single, g.alice.id, 3)
	g.counts(aw, single, g.bob.id, 2)
	bm.tell(0x0303, build("IMMsgDataReadAck", "user_id", bm.user(), "session_id", g.alice.id, "msg_id", 5, "session_type", 1))
	ba.pushed(0x0304, func(m *message) bool {
		return m.num("user_id") == g.bob.id && m.num("session_id") == g.alice.id && m.num("msg_id") == 5 && m.num("session_type") == 1
	})
	g.counts(ba, single, g.alice.id, 0)
	g.history(aw, single, g.bob.id, 0xFF01, 0, 3, 5, 4, 3)
	g.history(aw, single, g.bob.id, 0xFF02, 4, 100, 4, 3, 2, 1)
	g.history(bm, single, g.alice.id, 0xFF03, 0, 0)
	by := ba.request(0x030D, 0x030E, build("IMGetMsgByIdReq", "user_id", ba.user(), "session_type", 1,
		"session_id", g.alice.id, "msg_id_list", []uint32{1, 9, 3}))
	if got := ids(by); !slices.Equal(got, []uint32{3, 1}) {
		violate("%s: by id: %v", ba.what, got)
	}
	if res := ai.request(0x030B, 0x030C, build("IMGetLatestMsgIdReq", "user_id", ai.user(), "session_type", 1,
		"session_id", g.bob.id)); res.num("latest_msg_id") != 5 {
		violate("%s: %v", ai.what, res)
	}
	g.sessions(aw, g.bob.id, 5)
	res := bm.request(0x0206, 0x0207, build("IMRemoveSessionReq", "user_id", bm.user(), "session_type", 1, "session_id", g.alice.id))
	if res.num("result_code") != 0 || res.num("session_id") != g.alice.id {
		violate("%s: %v", bm.what, res)
	}
	ba.pushed(0x020F, func(m *message) bool { return m.num("session_id") == g.alice.id && m.num("user_id") == g.bob.id })
	if list := bm.request(0x0201, 0x0202, build("IMRecentContactSessionReq", "user_id", bm.user(),
		"latest_update_time", 0)).subs("contact_session_list"); len(list) != 0 {
		violate("%s: a removed session: %v", bm.what, list)
	}
	for _, c := range all {
		c.quiet()
	}
}

// ids are the message ids of a history, which must have all that clients need.
func ids(res *message) (all []uint32) {
	for _, info := range res.subs("msg_list") {
		all = append(all, info.num("msg_id"))
	}
	return all
}

func (g *game) history(c *client, kind int, peer uint32, seq uint16, begin, count int, want ...uint32) {
	c.askAs(seq, 0x0309, 0x030A, build("IMGetMsgListReq", "user_id", c.user(), "session_type", kind, "session_id", peer,
		"msg_id_begin", begin, "msg_cnt", count))
	res := c.answer(0x030A, seq)
	if !slices.Equal(ids(res), want) || res.num("msg_id_begin") != uint32(begin) || res.num("session_id") != peer {
		violate("%s: history %v, want %v", c.what, res, want)
	}
}

// counts waits until so much is unread in a session; 0 for not in the list.
// A request may overtake what was read, which nobody answers.
func (g *game) counts(c *client, kind, peer, want uint32) {
	var res *message
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		res = c.request(0x0307, 0x0308, build("IMUnreadMsgCntReq", "user_id", c.user()))
		got, total := uint32(0), uint32(0)
		for _, info := range res.subs("unreadinfo_list") {
			total += info.num("unread_cnt")
			if info.num("session_type") == kind && info.num("session_id") == peer {
				got = info.num("unread_cnt")
				if kind == single && info.num("latest_msg_from_user_id") != peer {
					violate("%s: %v", c.what, info)
				}
			}
		}
		if got == want && total == res.num("total_cnt") {
			return
		}
	}
	violate("%s: want %d unread from %d: %v", c.what, want, peer, res)
}

// sessions checks the newest message of a session.
func (g *game) sessions(c *client, peer, last uint32) {
	res := c.request(0x0201, 0x0202, build("IMRecentContactSessionReq", "user_id", c.user(), "latest_update_time", 0))
	for _, info := range res.subs("contact_session_list") {
		if info.num("session_id") == peer && info.num("latest_msg_id") == last && info.num("session_status") == 0 &&
			fresh(info.num("updated_time")) && info.num("latest_msg_from_user_id") != 0 {
			return
		}
	}
	violate("%s: no session with %d at message %d: %v", c.what, peer, last, res)
}

// away is a conversation with somebody who is not there, and comes back.
func (g *game) away() {
	a := g.login(2, g.alice, windows)
	for id := uint32(6); id <= 7; id++ {
		if got := g.send(a, 1, g.bob, text); got != id {
			violate("%s: id %d", a.what, got)
		}
	}
	b := g.login(1, g.bob, android)
	g.counts(b, single, g.alice.id, 2)
	g.sessions(b, g.alice.id, 7) // it is back
	g.meet(a, b)
	g.history(b, single, g.alice.id, 77, 7, 18, 7, 6, 5, 4, 3, 2, 1)
	if got := g.send(b, 1, g.alice, text); got != 8 {
		violate("%s: id %d", b.what, got)
	}
	a.hears(g.bob, g.alice, 8, text)
	b.tell(0x0303, build("IMMsgDataReadAck", "user_id", b.user(), "session_id", g.alice.id, "msg_id", 7, "session_type", 1))
	g.counts(b, single, g.alice.id, 0)
	g.settle(b, a) // what was read is known there, too, before anybody logs in again
	a.quiet()
	b.quiet()
}
