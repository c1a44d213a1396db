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
// ask for it, or for what changed in it: a new client asks at its first log-in
// for all, all others at every log-in for the changes, which after an import
// are nearly all. It is fetched from a db_proxy in pages, and asked after what
// has changed when it is older than half a second.
// Source: docs/protocol/flows.md §11; docs/protocol/defects.md F9.
type userList struct {
	server *Server

	mu      sync.Mutex // guards the fields below; a leaf
	known   *directory // nil until it was fetched
	checked time.Time  // when it was last known to be true
	whole   time.Time  // when all of it was last fetched
	fetch   *userFetch // under way; nil if none
	waiting []listAsker
}

// directory is all users at a time. It does not change.
type directory struct {
	latest  uint32   // time of the newest change in it
	present userRoll // those who have not left
	left    userRoll // those who have
}

// listAsker is a client that waits for the list.
type listAsker struct {
	client *client
	seq    uint16
	known  uint32 // it wants what changed since; 0 is all
}

// userFetch is a question to a db_proxy and what came of it so far.
type userFetch struct {
	id      uint64
	link    *link.Link
	started time.Time
	asked   time.Time  // for the page that is awaited
	base    *directory // what is known already; nil fetches everything
	since   uint32     // with base: the changes that are fetched
	latest  uint32
	pages   int
	present userRoll
	left    userRoll
}

// How long the list is believed, how long a db_proxy may take for a page, how
// many users a page has, and how many clients may wait.
const (
	listFresh    = 500 * time.Millisecond
	listPatience = 5 * time.Second
	listPage     = 5_000
	maxListAsk   = 50_000
)

// What others write into the table by hand may have a time that is behind, or
// no row may be left. The changes of the last minute are fetched again each
// time, and everything after ten minutes.
const (
	listMargin = 60 // seconds
	listWhole  = 10 * time.Minute
)

// allUsers answers 0208 from the shared list, where a db_proxy tells what
// changed in it.
func (s *Server) allUsers(c *client, pdu wire.PDU) {
	req := new(buddy.IMAllUserReq)
	if err := proto.Unmarshal(pdu.Body, req); err != nil {
		s.metrics.dropped("bad_body")
		return
	}
	req.AfterUserId, req.PageSize, req.ChangedAfter = nil, nil, nil
	l := s.db.General(c.conn.ID())
	if l == nil || !l.Has(link.CapUserChanges) {
		s.ask(c, l, pdu, req)
		return
	}
	if c.mayAsk(pdu) {
		s.users.answer(listAsker{client: c, seq: pdu.Seq, known: req.GetLatestUpdateTime()}, l)
	}
}

// answer sends the list at once if it is fresh, or once l, a db_proxy of ours,
// has said what is new.
func (u *userList) answer(a listAsker, l *link.Link) {
	u.mu.Lock()
	if known := u.known; known != nil && u.server.clock().Sub(u.checked) < listFresh {
		u.mu.Unlock()
		a.send(known)
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
	now := u.server.clock()
	u.fetch = &userFetch{link: l, started: now}
	if u.known == nil || now.Sub(u.whole) > listWhole {
		u.ask(0, 0, 0)
		return
	}
	u.fetch.base = u.known
	u.fetch.since = max(u.known.latest, listMargin) - listMargin
	u.ask(u.known.latest, u.fetch.since, 0)
}

// lost asks another db_proxy when l ends in the middle of a fetch.
func (u *userList) lost(l *link.Link) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.fetch == nil || u.fetch.link != l {
		return
	}
	if other := u.server.db.General(u.fetch.id); other != nil && other.Has(link.CapUserChanges) {
		u.begin(other)
	} // else sweep gives up
}

// ask asks for the users that changed after a time, or at it and with a higher
// id; for none if nothing changed since the time that is known. It is called
// with mu held.
func (u *userList) ask(known, since, after uint32) {
	u.fetch.id, u.fetch.asked = u.server.asks.number(), u.server.clock()
	u.fetch.link.SendMessage(wire.AllUsersReq, 0, &buddy.IMAllUserReq{
		UserId: proto.Uint32(0), LatestUpdateTime: proto.Uint32(known),
		ChangedAfter: proto.Uint32(since), AfterUserId: proto.Uint32(after), PageSize: proto.Uint32(listPage),
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
	if f.pages++; f.pages == 1 {
		f.latest = res.GetLatestUpdateTime()
	}
	if f.base != nil && f.latest < f.base.latest { // an older copy of the database: nothing that is known counts
		u.fetch = &userFetch{link: f.link, started: f.started}
		u.ask(0, 0, 0)
		u.mu.Unlock()
		return
	}
	f.take(res)
	if n := len(res.GetUserList()); res.GetMore() && n > 0 && len(res.GetChangedAt()) == n {
		u.ask(0, res.GetChangedAt()[n-1], res.GetUserList()[n-1].GetUserId())
		u.mu.Unlock()
		return
	}
	if f.base == nil {
		u.whole = f.started
	}
	u.known = f.directory()
	u.checked, u.fetch = f.started, nil
	known, waiting := u.known, u.waiting
	u.waiting = nil
	u.mu.Unlock()
	for _, a := range waiting {
		a.send(known)
	}
}

// take encodes the users of a page.
func (f *userFetch) take(res *buddy.IMAllUserRsp) {
	const hasLeft = 3 // Source: docs/protocol/storage.md, IMUser.status
	if len(res.GetChangedAt()) != len(res.GetUserList()) {
		return // a fault of the db_proxy: nothing is known of them
	}
	for i, user := range res.GetUserList() {
		info, err := proto.Marshal(user)
		if err != nil {
			continue // parsed a moment ago: complete
		}
		roll := &f.present
		if user.GetStatus() == hasLeft {
			roll = &f.left
		}
		*roll = roll.add(user.GetUserId(), res.GetChangedAt()[i], info)
	}
}

// directory returns what is known once everything has come.
func (f *userFetch) directory() *directory {
	switch {
	case f.base == nil:
		return &directory{f.latest, f.present, f.left}
	case f.latest == f.base.latest && len(f.present) == 0 && len(f.left) == 0:
		return f.base
	}
	gone := map[uint32]bool{}
	f.present.ids(gone)
	f.left.ids(gone)
	return &directory{
		f.latest,
		f.base.present.without(gone, f.since).join(f.present),
		f.base.left.without(gone, f.since).join(f.left),
	}
}

// changed returns the answer to a client that knows what changed until a
// time: the new time, and encoded users. Who is up to date gets an empty list
// and its own time. Source: docs/protocol/flows.md §11.
func (d *directory) changed(known uint32) (latest uint32, parts [][]byte) {
	if known == 0 {
		return d.latest, d.present.parts(0)
	}
	since := im.SafeSince(known)
	if d.latest == known || d.latest < since {
		return known, nil
	}
	parts = append(d.present.parts(since), d.left.parts(since)...)
	if len(parts) == 0 {
		return known, nil
	}
	return d.latest, parts
}

// send queues the list, or what changed in it: for Android in PDUs it can
// take, for all others in one. The parts are shared by all connections.
func (a listAsker) send(d *directory) {
	a.client.queries.end(a.seq)
	session := a.client.session.Load()
	if session == nil {
		return
	}
	latest, parts := d.changed(a.known)
	head := protowire.AppendTag(nil, 1, protowire.VarintType)
	head = protowire.AppendVarint(head, uint64(session.User))
	head = protowire.AppendTag(head, 2, protowire.VarintType)
	head = protowire.AppendVarint(head, uint64(latest))
	conn := a.client.conn
	if len(parts) == 0 {
		conn.SendPDU(wire.AllUsersRes, a.seq, head)
		return
	}
	if session.Client == im.Android {
		for _, part := range parts {
			frame := wire.AppendHeader(nil, wire.AllUsersRes, a.seq, 0, len(head)+len(part))
			conn.SendShared(append(frame, head...), part)
		}
		return
	}
	size := len(head)
	for _, part := range parts {
		size += len(part)
	}
	frame := wire.AppendHeader(nil, wire.AllUsersRes, a.seq, 0, size)
	conn.SendShared(append(frame, head...), parts...)
}

// sweep gives up a fetch that nobody answers: the clients that wait hear
// nothing and ask again.
func (u *userList) sweep() {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.fetch == nil || u.server.clock().Sub(u.fetch.asked) < listPatience {
		return
	}
	u.server.metrics.dropped("no_db_proxy")
	u.fetch, u.waiting = nil, nil
}
