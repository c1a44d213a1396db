package msgserver

import (
	"sync"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"teamtalk/internal/im"
	"teamtalk/internal/link"
	"teamtalk/internal/wire"
	"teamtalk/pb/buddy"
)

// userList is the list of all users, encoded once for all the clients that
// ask for it: a new client asks at its first log-in, and some ask at every
// one. It is fetched from a db_proxy in pages, and asked after whether it has
// changed when it is older than half a second. Source: flows.md §11, defect F9.
type userList struct {
	server *Server

	mu      sync.Mutex // guards the fields below; a leaf
	latest  uint32     // time of the newest change in it
	chunks  [][]byte   // encoded user_list fields, each chunk small enough for Android
	checked time.Time  // when it was last known to be true
	fetch   *userFetch // under way; nil if none
	waiting []listAsker
}

// listAsker is a client that waits for the list.
type listAsker struct {
	client *client
	seq    uint16
}

// userFetch is a question to a db_proxy and what came of it so far.
type userFetch struct {
	id      uint64
	link    *link.Link
	started time.Time
	latest  uint32
	chunks  [][]byte
	after   uint32
}

// How long the list is believed, how long a db_proxy may take, how many users
// a page has, and how many clients may wait.
const (
	listFresh    = 500 * time.Millisecond
	listPatience = 5 * time.Second
	listPage     = 5_000
	maxListAsk   = 50_000
	// listChunk leaves room for the other fields below Android's limit.
	listChunk = wire.MaxAndroid - wire.HeaderSize - 64
)

// allUsers answers 0208. Who knows nobody yet gets the shared list; who knows
// a time gets what changed since, from a db_proxy.
func (s *Server) allUsers(c *client, pdu wire.PDU) {
	req := new(buddy.IMAllUserReq)
	if err := proto.Unmarshal(pdu.Body, req); err != nil {
		s.metrics.dropped("bad_body")
		return
	}
	req.AfterUserId, req.PageSize = nil, nil
	l := s.db.General(c.conn.ID())
	if req.GetLatestUpdateTime() != 0 || l == nil || !l.Has(link.CapStore) {
		s.ask(c, l, pdu, req)
		return
	}
	if c.mayAsk() {
		s.users.answer(listAsker{client: c, seq: pdu.Seq}, l)
	}
}

// answer sends the list at once if it is fresh, or once l, a db_proxy of ours,
// has said what is new.
func (u *userList) answer(a listAsker, l *link.Link) {
	u.mu.Lock()
	if u.chunks != nil && u.server.clock().Sub(u.checked) < listFresh {
		latest, chunks := u.latest, u.chunks
		u.mu.Unlock()
		a.send(latest, chunks)
		return
	}
	defer u.mu.Unlock()
	if len(u.waiting) >= maxListAsk {
		u.server.metrics.dropped("user_list_busy")
		return
	}
	u.waiting = append(u.waiting, a)
	if u.fetch == nil {
		u.begin(l)
	}
}

// begin is called with mu held; l is a db_proxy of ours.
func (u *userList) begin(l *link.Link) {
	u.fetch = &userFetch{link: l, started: u.server.clock()}
	known := u.latest
	if u.chunks == nil {
		known = 0
	}
	u.ask(known)
}

// lost asks another db_proxy when l ends in the middle of a fetch.
func (u *userList) lost(l *link.Link) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.fetch == nil || u.fetch.link != l {
		return
	}
	if other := u.server.db.General(u.fetch.id); other != nil && other.Has(link.CapStore) {
		u.begin(other)
	} // else sweep gives up
}

// ask is called with mu held.
func (u *userList) ask(known uint32) {
	u.fetch.id = u.server.asks.number()
	u.fetch.link.SendMessage(wire.AllUsersReq, 0, &buddy.IMAllUserReq{
		UserId: proto.Uint32(0), LatestUpdateTime: proto.Uint32(known),
		AfterUserId: proto.Uint32(u.fetch.after), PageSize: proto.Uint32(listPage),
		AttachData: attach(attachKindAsk, u.fetch.id),
	})
}

// allUsersAnswer is a page of our own, or the answer to a client.
func (s *Server) allUsersAnswer(_ *link.Link, pdu wire.PDU) {
	res := new(buddy.IMAllUserRsp)
	if err := proto.Unmarshal(pdu.Body, res); err != nil {
		s.metrics.dropped("bad_body")
		return
	}
	if id := attached(attachKindAsk, res.GetAttachData()); id != 0 {
		s.users.page(id, res)
		return
	}
	s.passTo(pdu)
}

func (u *userList) page(id uint64, res *buddy.IMAllUserRsp) {
	u.mu.Lock()
	f := u.fetch
	if f == nil || f.id != id {
		u.mu.Unlock()
		return // given up before
	}
	if f.after == 0 {
		f.latest = res.GetLatestUpdateTime()
	}
	f.chunks = appendUsers(f.chunks, res)
	if res.GetMore() && len(res.GetUserList()) > 0 {
		f.after = res.GetUserList()[len(res.GetUserList())-1].GetUserId()
		u.ask(0)
		u.mu.Unlock()
		return
	}
	unchanged := u.chunks != nil && len(f.chunks) == 0 && f.latest == u.latest
	if !unchanged {
		u.latest, u.chunks = f.latest, f.chunks
		if u.chunks == nil {
			u.chunks = [][]byte{}
		}
	}
	u.checked, u.fetch = f.started, nil
	latest, chunks, waiting := u.latest, u.chunks, u.waiting
	u.waiting = nil
	u.mu.Unlock()
	for _, a := range waiting {
		a.send(latest, chunks)
	}
}

// appendUsers encodes users into the last chunk while it has room.
func appendUsers(chunks [][]byte, res *buddy.IMAllUserRsp) [][]byte {
	const userListField = 3
	for _, user := range res.GetUserList() {
		body, err := proto.Marshal(user)
		if err != nil {
			continue // parsed a moment ago: complete
		}
		entry := protowire.AppendTag(nil, userListField, protowire.BytesType)
		entry = protowire.AppendBytes(entry, body)
		if n := len(chunks); n == 0 || len(chunks[n-1])+len(entry) > listChunk {
			chunks = append(chunks, make([]byte, 0, listChunk))
		}
		last := len(chunks) - 1
		chunks[last] = append(chunks[last], entry...)
	}
	return chunks
}

// send queues the list: for Android in PDUs it can take, for all others in
// one. The chunks are shared by all connections.
func (a listAsker) send(latest uint32, chunks [][]byte) {
	a.client.queries.end()
	session := a.client.session.Load()
	if session == nil {
		return
	}
	head := protowire.AppendTag(nil, 1, protowire.VarintType)
	head = protowire.AppendVarint(head, uint64(session.User))
	head = protowire.AppendTag(head, 2, protowire.VarintType)
	head = protowire.AppendVarint(head, uint64(latest))
	conn := a.client.conn
	if len(chunks) == 0 {
		conn.SendPDU(wire.AllUsersRes, a.seq, head)
		return
	}
	if session.Client == im.Android {
		for _, chunk := range chunks {
			frame := wire.AppendHeader(nil, wire.AllUsersRes, a.seq, 0, len(head)+len(chunk))
			conn.SendShared(append(frame, head...), chunk)
		}
		return
	}
	size := len(head)
	for _, chunk := range chunks {
		size += len(chunk)
	}
	frame := wire.AppendHeader(nil, wire.AllUsersRes, a.seq, 0, size)
	conn.SendShared(append(frame, head...), chunks...)
}

// sweep gives up a fetch that nobody answers: the clients that wait hear
// nothing and ask again.
func (u *userList) sweep() {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.fetch == nil || u.server.clock().Sub(u.fetch.started) < listPatience {
		return
	}
	u.server.metrics.dropped("no_db_proxy")
	u.fetch, u.waiting = nil, nil
}
