package main

import (
	"bufio"
	"net"
	"strconv"
	"strings"
	"time"
)

// carrier is a Windows client's connection to a file_server.
type carrier struct {
	what    string
	conn    net.Conn
	r       *bufio.Reader
	account account
	task    string
	seq     uint16
}

// carry connects and logs in for a task. Source: docs/protocol/flows.md §16.2.
func (g *game) carry(addr *message, a account, task string, role int, result uint32) *carrier {
	conn, err := net.Dial("tcp", net.JoinHostPort(addr.text("ip"), strconv.Itoa(int(addr.num("port")))))
	if err != nil {
		fatal("%v", err)
	}
	_ = conn.SetDeadline(time.Now().Add(patience))
	c := &carrier{
		what: a.name + "'s file", conn: conn, r: bufio.NewReader(conn), account: a, task: task,
	}
	seq := c.send(0x0501, build("IMFileLoginReq", "user_id", a.id, "task_id", task, "file_role", role))
	if res := c.next(0x0502, seq); res.num("result_code") != result || res.text("task_id") != task {
		violate("%s: %v", c.what, res)
	}
	if result != 0 {
		c.ended()
	}
	return c
}

func (c *carrier) send(command uint16, m *message) uint16 {
	c.seq++
	return c.reply(command, c.seq, m)
}

func (c *carrier) reply(command, seq uint16, m *message) uint16 {
	if _, err := c.conn.Write(newPDU(command, seq, m.encode()).frame()); err != nil {
		violate("%s: %04X cannot be sent: %v", c.what, command, err)
	}
	return seq
}

// next returns the next PDU, which must be this one.
func (c *carrier) next(command, seq uint16) *message {
	p, err := readPDU(c.r)
	if err != nil || p.command != command || p.seq != seq || p.version != 1 || p.flag != 0 || p.reserved != 0 ||
		p.service != command>>8 {
		violate("%s: %v, %v instead of %04X seq %d", c.what, p, err, command, seq)
	}
	m, err := decode(originals.commands[command].name, p.body)
	if err != nil {
		violate("%s: %04X: %v", c.what, command, err)
	}
	return m
}

// ended waits until the server closes.
func (c *carrier) ended() {
	if p, err := readPDU(c.r); err == nil {
		violate("%s: %v instead of the end", c.what, p)
	}
	_ = c.conn.Close()
}

func (c *carrier) state(state int, user account) *message {
	return build("IMFileState", "state", state, "task_id", c.task, "user_id", user.id)
}

// isState checks 0503.
func (c *carrier) isState(m *message, state, user uint32) {
	if m.num("state") != state || m.num("user_id") != user || m.text("task_id") != c.task {
		violate("%s: %v", c.what, m)
	}
}

// windowsBlock is how much a Windows client asks for.
const windowsBlock = 34816

// files are transfers between two PCs. Source: docs/protocol/flows.md §16.
func (g *game) files() {
	aw, bw := g.login(1, g.alice, windows), g.login(2, g.bob, windows)
	g.meet(aw, bw)
	aw.sees(g.bob, true)
	data := strings.Repeat("0123456789", 8000) // 80,000 bytes: three blocks of either size
	g.online(aw, bw, data)
	g.offline(aw, bw, data)

	// Who is away gets it off-line.
	res := aw.request(0x0506, 0x0507, g.file(g.cara, data, online))
	if res.num("result_code") != 0 || res.num("trans_mode") != offline {
		violate("%s: %v", aw.what, res)
	}
	aw.quiet()
	bw.quiet()
}

const fileName = "报告.txt"

func (g *game) file(to account, data string, mode int) *message {
	return build("IMFileReq", "from_user_id", g.alice.id, "to_user_id", to.id, "file_name", fileName,
		"file_size", len(data), "trans_mode", mode)
}

// begin asks for a transfer; both sides are told of it.
func (g *game) begin(aw, bw *client, data string, mode int) (task string, addr *message) {
	res := aw.request(0x0506, 0x0507, g.file(g.bob, data, mode))
	task = res.text("task_id")
	if res.num("result_code") != 0 || len(task) != 36 || len(res.subs("ip_addr_list")) == 0 ||
		res.num("from_user_id") != g.alice.id || res.num("to_user_id") != g.bob.id || res.text("file_name") != fileName ||
		res.num("trans_mode") != uint32(mode) {
		violate("%s: %v", aw.what, res)
	}
	g.told(bw, task, data, mode, 0)
	return task, res.subs("ip_addr_list")[0]
}

// told waits for 0508.
func (g *game) told(bw *client, task, data string, mode int, ready uint32) {
	bw.pushed(0x0508, func(m *message) bool {
		return m.num("from_user_id") == g.alice.id && m.num("to_user_id") == g.bob.id && m.text("file_name") == fileName &&
			m.num("file_size") == uint32(len(data)) && m.text("task_id") == task && len(m.subs("ip_addr_list")) > 0 &&
			m.num("trans_mode") == uint32(mode) && m.num("offline_ready") == ready
	})
}

// online is a transfer from PC to PC. Source: docs/protocol/flows.md §16.3.
func (g *game) online(aw, bw *client, data string) {
	task, addr := g.begin(aw, bw, data, online)
	sender := g.carry(addr, g.alice, task, roleSender, 0)
	receiver := g.carry(addr, g.bob, task, roleReceiver, 0)
	receiver.isState(receiver.next(0x0503, 0), peerReady, g.alice.id)
	var got strings.Builder
	for offset := 0; offset < len(data); {
		size := min(windowsBlock, len(data)-offset)
		seq := receiver.send(0x0504, build("IMFilePullDataReq", "task_id", task, "user_id", g.bob.id, "trans_mode", online,
			"offset", offset, "data_size", size))
		asked := sender.next(0x0504, seq)
		if asked.num("offset") != uint32(offset) || asked.num("data_size") != uint32(size) || asked.num("user_id") != g.bob.id {
			violate("%s: %v", sender.what, asked)
		}
		sender.send(0x0505, build("IMFilePullDataRsp", "result_code", 0, "task_id", task, "user_id", g.alice.id,
			"offset", offset, "file_data", data[offset:offset+size]))
		block := receiver.next(0x0505, seq)
		if block.num("result_code") != 0 || block.num("offset") != uint32(offset) {
			violate("%s: %v", receiver.what, block)
		}
		got.WriteString(block.text("file_data"))
		offset += size
	}
	if got.String() != data {
		violate("%s: %d other bytes", receiver.what, got.Len())
	}
	seq := receiver.send(0x0503, receiver.state(transferDone, g.bob))
	if !g.original["file_server_1"] {
		seq = 0 // an original passes it on as it came
	}
	sender.isState(sender.next(0x0503, seq), transferDone, g.bob.id)
	receiver.ended()
	sender.ended()
}

// offline is an upload, and a download later.
// Source: docs/protocol/flows.md §16.4, §16.5.
func (g *game) offline(aw, bw *client, data string) {
	task, addr := g.begin(aw, bw, data, offline)
	up := g.carry(addr, g.alice, task, roleUpload, 0)
	for offset := 0; offset < len(data); offset += blockSize {
		asked := up.next(0x0504, 0)
		size := min(blockSize, len(data)-offset)
		if asked.num("offset") != uint32(offset) || asked.num("data_size") != uint32(size) || asked.num("trans_mode") != offline {
			violate("%s: %v", up.what, asked)
		}
		up.send(0x0505, build("IMFilePullDataRsp", "result_code", 0, "task_id", task, "user_id", g.alice.id,
			"offset", offset, "file_data", data[offset:offset+size]))
	}
	up.isState(up.next(0x0503, 0), transferDone, g.alice.id)
	up.ended()
	aw.tell(0x050B, build("IMFileAddOfflineReq", "from_user_id", g.alice.id, "to_user_id", g.bob.id, "task_id", task,
		"file_name", fileName, "file_size", len(data)))
	g.told(bw, task, data, offline, 1)
	g.waiting(bw, task, true)

	g.carry(addr, g.cara, task, roleDownload, 1) // it is not for her
	down := g.carry(addr, g.bob, task, roleDownload, 0)
	var got strings.Builder
	for got.Len() < len(data) {
		seq := down.send(0x0504, build("IMFilePullDataReq", "task_id", task, "user_id", g.bob.id, "trans_mode", offline,
			"offset", got.Len(), "data_size", windowsBlock))
		block := down.next(0x0505, seq)
		if block.num("result_code") != 0 || block.num("offset") != uint32(got.Len()) {
			violate("%s: %v", down.what, block)
		}
		got.WriteString(block.text("file_data"))
	}
	if got.String() != data {
		violate("%s: %d other bytes", down.what, got.Len())
	}
	down.isState(down.next(0x0503, 0), transferDone, g.alice.id)
	down.ended()
	bw.tell(0x050C, build("IMFileDelOfflineReq", "from_user_id", g.alice.id, "to_user_id", g.bob.id, "task_id", task))
	g.waiting(bw, task, false)
}

// waiting asks until a file is, or is not, on the list. An original db_proxy
// has no table for it, and so nothing ever is.
func (g *game) waiting(bw *client, task string, listed bool) {
	var res *message
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		res = bw.request(0x0509, 0x050A, build("IMFileHasOfflineReq", "user_id", bw.user()))
		if len(res.subs("ip_addr_list")) == 0 {
			violate("%s: no addresses: %v", bw.what, res)
		}
		found := false
		for _, f := range res.subs("offline_file_list") {
			found = found || f.text("task_id") == task && f.num("from_user_id") == g.alice.id && f.text("file_name") == fileName
		}
		if found == (listed && !g.original["db_proxy"]) {
			return
		}
	}
	violate("%s: listed should be %v: %v", bw.what, listed, res)
}
