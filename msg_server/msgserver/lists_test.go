package msgserver

import (
	"bytes"
	"cmp"
	"maps"
	"math/rand/v2"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"teamtalk/internal/im"
	"teamtalk/internal/link"
	"teamtalk/internal/link/linktest"
	"teamtalk/internal/wire"
	"teamtalk/pb/basedefine"
	"teamtalk/pb/buddy"
	"teamtalk/pb/message"
)

// longList makes an answer of a command that is over Android's limit, and
// counts what came of its list.
type longList struct {
	command, answer wire.Command
	req, res        proto.Message
	list            func(proto.Message) []uint32 // the ids in it
	trimmed         bool                         // the rest is left out, not sent behind
}

func longLists() map[string]longList {
	one := basedefine.SessionType_SESSION_TYPE_SINGLE.Enum()
	text := basedefine.MsgType_MSG_TYPE_SINGLE_TEXT.Enum()
	data := make([]byte, 4000)
	const entries = 250 // a million bytes
	users := &buddy.IMAllUserRsp{UserId: n(7), LatestUpdateTime: n(9)}
	sessions := &buddy.IMRecentContactSessionRsp{UserId: n(7)}
	unread := &message.IMUnreadMsgCntRsp{UserId: n(7), TotalCnt: n(entries)}
	listed := &message.IMGetMsgListRsp{UserId: n(7), SessionType: one, SessionId: n(9), MsgIdBegin: n(0)}
	byID := &message.IMGetMsgByIdRsp{UserId: n(7), SessionType: one, SessionId: n(9)}
	for id := range uint32(entries) {
		user := account(id)
		user.SignInfo = proto.String(string(data))
		users.UserList = append(users.UserList, user)
		sessions.ContactSessionList = append(sessions.ContactSessionList, &basedefine.ContactSessionInfo{
			SessionId: n(id), SessionType: one, SessionStatus: basedefine.SessionStatusType_SESSION_STATUS_OK.Enum(),
			UpdatedTime: n(1), LatestMsgId: n(1), LatestMsgData: data, LatestMsgType: text, LatestMsgFromUserId: n(1),
		})
		unread.UnreadinfoList = append(unread.UnreadinfoList, &basedefine.UnreadInfo{
			SessionId: n(id), SessionType: one, UnreadCnt: n(1), LatestMsgId: n(1), LatestMsgData: data,
			LatestMsgType: text, LatestMsgFromUserId: n(1),
		})
		info := &basedefine.MsgInfo{MsgId: n(id), FromSessionId: n(9), CreateTime: n(1), MsgType: text, MsgData: data}
		listed.MsgList = append(listed.MsgList, info)
		byID.MsgList = append(byID.MsgList, info)
	}
	return map[string]longList{
		"all users": {
			wire.AllUsersReq, wire.AllUsersRes, &buddy.IMAllUserReq{UserId: n(7), LatestUpdateTime: n(5)}, users,
			ids((*buddy.IMAllUserRsp).GetUserList, (*basedefine.UserInfo).GetUserId), false,
		},
		"sessions": {
			wire.RecentSessionsReq, wire.RecentSessionsRes, &buddy.IMRecentContactSessionReq{UserId: n(7), LatestUpdateTime: n(0)}, sessions,
			ids((*buddy.IMRecentContactSessionRsp).GetContactSessionList, (*basedefine.ContactSessionInfo).GetSessionId), false,
		},
		"unread": {
			wire.UnreadCountReq, wire.UnreadCountRes, &message.IMUnreadMsgCntReq{UserId: n(7)}, unread,
			ids((*message.IMUnreadMsgCntRsp).GetUnreadinfoList, (*basedefine.UnreadInfo).GetSessionId), false,
		},
		"history": {wire.MsgListReq, wire.MsgListRes, &message.IMGetMsgListReq{
			UserId: n(7), SessionType: one, SessionId: n(9), MsgIdBegin: n(0), MsgCnt: n(100),
		}, listed, ids((*message.IMGetMsgListRsp).GetMsgList, (*basedefine.MsgInfo).GetMsgId), true},
		"by id": {
			wire.MsgByIDReq, wire.MsgByIDRes, &message.IMGetMsgByIdReq{UserId: n(7), SessionType: one, SessionId: n(9)}, byID,
			ids((*message.IMGetMsgByIdRsp).GetMsgList, (*basedefine.MsgInfo).GetMsgId), true,
		},
	}
}

func ids[M proto.Message, E any](list func(M) []E, id func(E) uint32) func(proto.Message) []uint32 {
	return func(m proto.Message) (all []uint32) {
		typed, _ := m.(M)
		for _, entry := range list(typed) {
			all = append(all, id(entry))
		}
		return all
	}
}

// Android takes no PDU over 409,600 bytes: long lists come in pieces, long
// histories shorter. All others get one PDU.
// Source: docs/protocol/defects.md F9, F10.
func TestLongAnswers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	android, ios := w.login(7, im.Android), w.login(8, im.IOS)
	for name, tc := range longLists() {
		ask := func(u *user) {
			u.send(tc.command, 21, tc.req)
			r := w.db1.want(tc.command)
			attach := fieldOf(decode(t, r.Body, tc.req.ProtoReflect().New().Interface()), fieldAttach).Bytes()
			r.answer(t, tc.answer, set(tc.res, fieldAttach, protoBytes(attach)))
		}
		want := tc.list(tc.res)
		ask(ios)
		res := tc.res.ProtoReflect().New().Interface()
		if pdu := ios.want(tc.answer, res); !proto.Equal(res, tc.res) || pdu.Seq != 21 {
			t.Errorf("%s: iOS got %d entries of %d", name, len(tc.list(res)), len(want))
		}
		ios.quiet()
		ask(android)
		var got []uint32
		pieces := 0
		for more := true; more; more = !tc.trimmed && len(got) < len(want) {
			res := tc.res.ProtoReflect().New().Interface()
			pdu := android.want(tc.answer, res)
			if pdu.Length > wire.MaxAndroid || pdu.Seq != 21 || fieldOf(res, fieldUser).Uint() != 7 {
				t.Fatalf("%s: a piece of %d bytes, seq %d", name, pdu.Length, pdu.Seq)
			}
			got = append(got, tc.list(res)...)
			pieces++
		}
		android.quiet()
		if tc.trimmed {
			if len(got) < 80 || !slices.Equal(got, want[:len(got)]) {
				t.Errorf("%s: Android got %v", name, got)
			}
		} else if pieces != 3 || !slices.Equal(got, want) {
			t.Errorf("%s: Android got %d of %d entries in %d pieces", name, len(got), len(want), pieces)
		}
	}
}

// directoryDB is a db_proxy that tells what changed in the list of users.
func directoryDB(t testing.TB) *neighbour {
	t.Helper()
	n := ours(t, link.Config{Role: "db_proxy", Capabilities: []string{link.CapStore, link.CapUserChanges}})
	n.does(letIn(t))
	return n
}

// changes answers a question for changes as db_proxy does; rows are ascending
// by time and id.
func (r received) changes(t testing.TB, latest uint32, rows []row) *buddy.IMAllUserReq {
	t.Helper()
	req := decode(t, r.Body, new(buddy.IMAllUserReq))
	if req.GetPageSize() == 0 || req.ChangedAfter == nil {
		t.Errorf("0208: %v", req)
	}
	res := &buddy.IMAllUserRsp{UserId: req.UserId, LatestUpdateTime: n(latest), AttachData: req.GetAttachData()}
	if req.GetLatestUpdateTime() != latest {
		since, after := req.GetChangedAfter(), req.GetAfterUserId()
		for _, u := range rows {
			if u.time > since || u.time == since && u.info.GetUserId() > after {
				res.UserList, res.ChangedAt = append(res.UserList, u.info), append(res.ChangedAt, u.time)
			}
			if res.More = proto.Bool(len(res.GetUserList()) == int(req.GetPageSize())); res.GetMore() {
				break
			}
		}
	}
	r.answer(t, wire.AllUsersRes, res)
	return req
}

// row is an account and when it was changed.
type row struct {
	time uint32
	info *basedefine.UserInfo
}

// page is changes with users 1 to count, all of which changed at one time.
func (r received) page(t *testing.T, latest, count uint32) *buddy.IMAllUserReq {
	t.Helper()
	var rows []row
	for id := range count {
		rows = append(rows, row{latest, account(id + 1)})
	}
	return r.changes(t, latest, rows)
}

// users waits for a list of all users and returns how many are in it.
func (u *user) users(seq uint16, latest, count uint32) {
	u.t.Helper()
	var got []uint32
	pieces := 0
	for len(got) < int(count) || pieces == 0 {
		res := new(buddy.IMAllUserRsp)
		pdu := u.want(wire.AllUsersRes, res)
		if pdu.Seq != seq || res.GetUserId() != u.id || res.GetLatestUpdateTime() != latest || extensions(res) != nil || res.AttachData != nil {
			u.t.Fatalf("0209 of user %d: seq %d, user %d, time %d", u.id, pdu.Seq, res.GetUserId(), res.GetLatestUpdateTime())
		}
		if u.kind == im.Android && pdu.Length > wire.MaxAndroid {
			u.t.Errorf("Android got %d bytes", pdu.Length)
		}
		for _, info := range res.GetUserList() {
			got = append(got, info.GetUserId())
		}
		pieces++
	}
	for i, id := range got {
		if id != uint32(i+1) {
			u.t.Fatalf("user %d stands at %d", id, i)
		}
	}
	u.quiet()
	if (pieces == 1) == (u.kind == im.Android && count > 2*listPage) {
		u.t.Errorf("user %d got %d pieces", u.id, pieces)
	}
}

// The list of all users is fetched once, in pages, for all who ask; after a
// moment it is asked whether it has changed.
// Source: docs/protocol/flows.md §11.
func TestListOfAllUsers(t *testing.T) {
	t.Parallel()
	w := newWorldOf(t, setup{dbs: []*neighbour{directoryDB(t)}})
	all := &buddy.IMAllUserReq{UserId: n(0), LatestUpdateTime: n(0), PageSize: n(3), AfterUserId: n(4)}
	mac, phone, ios := w.login(1, im.Mac), w.login(2, im.Android), w.login(3, im.IOS)
	const many = 2*listPage + 10
	for _, u := range []*user{mac, phone, ios} {
		u.send(wire.AllUsersReq, 40, all)
		u.quiet()
	}
	if req := w.db1.want(wire.AllUsersReq).page(t, 77, many); req.GetAfterUserId() != 0 || req.GetLatestUpdateTime() != 0 {
		t.Errorf("first page: %v", req)
	}
	for after := uint32(listPage); after < many; after += listPage {
		if req := w.db1.want(wire.AllUsersReq).page(t, 77, many); req.GetAfterUserId() != after {
			t.Errorf("page: %v", req)
		}
	}
	for _, u := range []*user{mac, phone, ios} {
		u.users(40, 77, many)
	}
	// Fresh: nobody is asked.
	mac.send(wire.AllUsersReq, 41, all)
	mac.users(41, 77, many)
	w.db1.quiet()
	// Later: unchanged, then changed, then empty.
	for i, change := range []struct{ asked, latest, count uint32 }{{77, 77, many}, {77, 78, 5}, {78, 79, 0}, {79, 79, 0}, {79, 80, 1}} {
		w.skip(listFresh)
		phone.send(wire.AllUsersReq, uint16(i), all)
		if req := w.db1.want(wire.AllUsersReq).page(t, change.latest, change.count); req.GetLatestUpdateTime() != change.asked {
			t.Errorf("asked whether changed since %d, want %d", req.GetLatestUpdateTime(), change.asked)
		}
		phone.users(uint16(i), change.latest, change.count)
	}
	// Beyond ten minutes everything is fetched again.
	w.skip(listWhole)
	mac.send(wire.AllUsersReq, 42, all)
	if req := w.db1.want(wire.AllUsersReq).page(t, 80, 2); req.GetLatestUpdateTime() != 0 || req.GetChangedAfter() != 0 {
		t.Errorf("0208: %v", req)
	}
	mac.users(42, 80, 2)
	// The database is an older copy: what was known does not count.
	w.skip(listFresh)
	mac.send(wire.AllUsersReq, 43, all)
	w.db1.want(wire.AllUsersReq).page(t, 60, 0)
	if req := w.db1.want(wire.AllUsersReq).page(t, 60, 1); req.GetLatestUpdateTime() != 0 || req.GetChangedAfter() != 0 {
		t.Errorf("0208: %v", req)
	}
	mac.users(43, 60, 1)
}

// changed asks for what changed since a time and returns the ids, with the
// status of leavers, and the new time.
func (u *user) changed(seq uint16, since uint32) (ids string, latest uint32) {
	u.t.Helper()
	u.send(wire.AllUsersReq, seq, &buddy.IMAllUserReq{UserId: n(0), LatestUpdateTime: n(since)})
	res := new(buddy.IMAllUserRsp)
	if pdu := u.want(wire.AllUsersRes, res); pdu.Seq != seq || extensions(res) != nil {
		u.t.Fatalf("0209: seq %d, %v", pdu.Seq, res)
	}
	var text strings.Builder
	for _, info := range res.GetUserList() {
		text.WriteString(strings.Repeat("-", min(int(info.GetStatus())/3, 1)))
		text.WriteString(strconv.Itoa(int(info.GetUserId())) + " ")
	}
	return text.String(), res.GetLatestUpdateTime()
}

// Whoever knows a time gets what changed from a day before, leavers included,
// out of the shared list; who is up to date gets nothing and their own time.
// Source: docs/protocol/flows.md §11; docs/protocol/defects.md B20.
func TestChangesOfUsers(t *testing.T) {
	t.Parallel()
	w := newWorldOf(t, setup{dbs: []*neighbour{directoryDB(t)}})
	const day, noon = 24 * 60 * 60, 1_000_000_000
	user := func(at, id, status uint32) row {
		info := account(id)
		info.Status = n(status)
		return row{at, info}
	}
	rows := []row{
		user(noon-2*day, 5, 0), user(noon-2*day, 6, 3), user(noon-day-10, 4, 0), user(noon-5, 3, 3), user(noon, 1, 0), user(noon, 2, 0),
	}
	steps := []struct {
		change []row  // replaces rows
		asked  uint32 // what the db_proxy is told is known
		since  uint32
		ids    string
		latest uint32
	}{
		{rows, 0, 0, "5 4 1 2 ", noon},
		{rows, noon, noon, "", noon},
		{rows, noon, noon - 1, "1 2 -3 ", noon},
		{rows, noon, noon - 10, "4 1 2 -3 ", noon},
		{rows, noon, noon - 2*day, "5 4 1 2 -6 -3 ", noon},
		{rows, noon, 1, "5 4 1 2 -6 -3 ", noon},
		{rows, noon, noon + 5*day, "", noon + 5*day}, // a phone whose clock is fast
		// 5 is changed, 1 has left, 3 is back, 2 is gone from the table.
		{[]row{rows[1], rows[2], user(noon+1, 1, 3), user(noon+1, 5, 0), user(noon+2, 3, 0)}, noon, noon, "5 3 -1 ", noon + 2},
		{[]row{rows[1], rows[2], user(noon+1, 1, 3), user(noon+1, 5, 0), user(noon+2, 3, 0)}, noon + 2, 0, "4 5 3 ", noon + 2},
	}
	u := w.login(1, im.Windows)
	for i, s := range steps {
		w.skip(listFresh)
		done := make(chan struct{})
		go func() {
			defer close(done)
			if req := w.db1.want(wire.AllUsersReq).changes(t, s.change[len(s.change)-1].time, s.change); req.GetLatestUpdateTime() != s.asked {
				t.Errorf("step %d: asked for changes since %d", i, req.GetLatestUpdateTime())
			}
		}()
		if ids, latest := u.changed(uint16(i), s.since); ids != s.ids || latest != s.latest {
			t.Errorf("step %d: got %q and %d, want %q and %d", i, ids, latest, s.ids, s.latest)
		}
		<-done
	}
	w.db1.quiet()
}

// After an import of 120,000 users every PC asks for the changes, which are
// more than may wait for one connection: each gets all, from one copy. Who
// does not read is closed.
func TestChangesAfterAnImport(t *testing.T) { //nolint:paralleltest // it measures the memory of the process
	const users, pcs, noon = 120_000, 20, 1_000_000_000
	w := newWorldOf(t, setup{dbs: []*neighbour{directoryDB(t)}})
	rows := make([]row, users)
	for i := range rows {
		rows[i] = row{noon, account(uint32(i + 1))}
		rows[i].info.SignInfo = proto.String(strings.Repeat("s", 120))
	}
	all := make([]*user, pcs)
	for i := range all {
		all[i] = w.login(uint32(i+1), im.Windows)
	}
	silent := w.login(pcs+1, im.Windows)
	before := liveHeap()
	for _, u := range slices.Concat(all, []*user{silent}) {
		u.send(wire.AllUsersReq, 7, &buddy.IMAllUserReq{UserId: n(0), LatestUpdateTime: n(noon - 1000)})
	}
	for range users/listPage + 1 {
		w.db1.want(wire.AllUsersReq).changes(t, noon, rows)
	}
	size := all[0].want(wire.AllUsersRes, nil).Length
	if size <= 16<<20 {
		t.Fatalf("a list of %d bytes tests nothing", size)
	}
	if grown := liveHeap() - before; grown > int(size)+pcs*(2<<20) {
		t.Errorf("the lists of %d PCs, %d bytes each, take %d bytes", pcs, size, grown)
	} else {
		t.Logf("the lists of %d PCs, %d bytes each, take %d bytes", pcs, size, grown)
	}
	for _, u := range all[1 : pcs-1] {
		if pdu := u.want(wire.AllUsersRes, nil); pdu.Length != size {
			t.Errorf("user %d got %d bytes", u.id, pdu.Length)
		}
	}
	res := new(buddy.IMAllUserRsp)
	if all[pcs-1].want(wire.AllUsersRes, res); len(res.GetUserList()) != users || res.GetLatestUpdateTime() != noon {
		t.Errorf("the last got %d users", len(res.GetUserList()))
	}
	linktest.Eventually(t, "the end of who does not read", func() bool {
		w.skip(time.Second)
		for _, u := range all { // they are there, or they would be closed for being idle
			u.quiet()
		}
		return w.engine.Accepted() == pcs
	})
}

// liveHeap returns the bytes that are in use.
func liveHeap() int {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

// A roll that changes again and again stays right, and of few chunks.
func TestUserRoll(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	times := map[uint32]uint32{}
	var roll userRoll
	now := uint32(100)
	for range 300 {
		since := now - uint32(random.IntN(3))
		now++
		changed := map[uint32]uint32{}
		for id, at := range times {
			if at >= since {
				changed[id] = at
			}
		}
		for range 1 + random.IntN(30) {
			changed[uint32(random.IntN(2000))] = now
		}
		ids := slices.SortedFunc(maps.Keys(changed), func(a, b uint32) int {
			return cmp.Or(cmp.Compare(changed[a], changed[b]), cmp.Compare(a, b))
		})
		var news userRoll
		gone := map[uint32]bool{}
		for _, id := range ids {
			news = news.add(id, changed[id], bytes.Repeat([]byte{byte(id)}, 1000))
			times[id] = changed[id]
		}
		news.ids(gone)
		roll = roll.without(gone, since).join(news)

		from := now - uint32(random.IntN(100))
		want := 0
		for _, at := range times {
			if at >= from {
				want += 1003
			}
		}
		got, size := 0, 0
		for _, part := range roll.parts(from) {
			got += len(part)
		}
		for i, c := range roll {
			size += len(c.bytes)
			if len(c.bytes) > listChunk || i > 0 && c.users[0].time < roll[i-1].users[len(roll[i-1].users)-1].time {
				t.Fatalf("chunk %d has %d bytes, or is out of order", i, len(c.bytes))
			}
		}
		if got != want || size != 1003*len(times) {
			t.Fatalf("%d bytes since %d, want %d; %d of all, want %d", got, from, want, size, 1003*len(times))
		}
		if len(roll) > 2*size/listChunk+2 {
			t.Fatalf("%d chunks of %d bytes", len(roll), size)
		}
	}
}

// The list while db_proxies go: another one is asked, or nobody is answered.
func TestListOfAllUsersFailsOver(t *testing.T) {
	t.Parallel()
	dbs := []*neighbour{directoryDB(t), directoryDB(t)}
	w := newWorldOf(t, setup{dbs: dbs})
	asked := make(chan received, 10)
	for _, db := range dbs {
		in := letIn(t)
		db.does(func(r received) bool {
			if !in(r) {
				asked <- r
			}
			return true
		})
	}
	u := w.login(1, im.Mac)
	all := &buddy.IMAllUserReq{UserId: n(0), LatestUpdateTime: n(0)}
	u.send(wire.AllUsersReq, 1, all)
	linktest.Wait(t, asked, "a question").page(t, 5, 2*listPage)
	r := linktest.Wait(t, asked, "a question for the second page")
	for _, db := range dbs {
		db.mu.Lock()
		hit := slices.Contains(db.links, r.from)
		db.mu.Unlock()
		if hit {
			db.stop()
		}
	}
	for range 2 {
		linktest.Wait(t, asked, "a question from the start").page(t, 6, listPage+1)
	}
	u.users(1, 6, listPage+1)
	// Nobody answers: the fetch is given up, and the next one asks anew.
	w.skip(listFresh)
	u.send(wire.AllUsersReq, 2, all)
	late := linktest.Wait(t, asked, "a question")
	w.skip(listPatience)
	linktest.Eventually(t, "the end of the fetch", func() bool { return w.dropped("no_db_proxy") == 1 })
	late.page(t, 7, 1)
	u.quiet()
	u.send(wire.AllUsersReq, 3, all)
	linktest.Wait(t, asked, "a question").page(t, 8, 1)
	u.users(3, 8, 1)
}

// A long list may take its time, as long as every page comes.
func TestLongListOfAllUsers(t *testing.T) {
	t.Parallel()
	db := directoryDB(t)
	w := newWorldOf(t, setup{dbs: []*neighbour{db}})
	in, asked := letIn(t), make(chan received, 10)
	db.does(func(r received) bool {
		if !in(r) {
			asked <- r
		}
		return true
	})
	u := w.login(1, im.Mac)
	u.send(wire.AllUsersReq, 1, &buddy.IMAllUserReq{UserId: n(0), LatestUpdateTime: n(0)})
	for range 3 {
		r := linktest.Wait(t, asked, "a question for a page")
		w.skip(listPatience * 2 / 3)
		w.Server.users.sweep()
		r.page(t, 6, 2*listPage+1)
	}
	u.users(1, 6, 2*listPage+1)
}

// Beside an original db_proxy, or without any, nothing is shared.
func TestListOfAllUsersOfAnOriginal(t *testing.T) {
	t.Parallel()
	w := newWorldOf(t, setup{dbs: []*neighbour{originalDB(t)}})
	u := w.login(1, im.Mac)
	u.send(wire.AllUsersReq, 1, &buddy.IMAllUserReq{UserId: n(0), LatestUpdateTime: n(0), PageSize: n(3)})
	r := w.db1.want(wire.AllUsersReq)
	req := decode(t, r.Body, new(buddy.IMAllUserReq))
	if req.GetUserId() != 1 || extensions(req) != nil {
		t.Errorf("0208: %v", req)
	}
	r.answer(t, wire.AllUsersRes, &buddy.IMAllUserRsp{
		UserId: n(1), LatestUpdateTime: n(3), UserList: []*basedefine.UserInfo{account(1)}, AttachData: req.GetAttachData(),
	})
	u.users(1, 3, 1)
	w.db1.stop()
	linktest.Eventually(t, "no db_proxy", func() bool { return !w.db.Open() })
	u.send(wire.AllUsersReq, 2, &buddy.IMAllUserReq{UserId: n(0), LatestUpdateTime: n(0)})
	u.quiet()
}

// Nothing that waits grows without bound, and nobody waits for ever.
func TestUserListIsBounded(t *testing.T) {
	t.Parallel()
	w := newWorldOf(t, setup{dbs: []*neighbour{directoryDB(t)}})
	l := w.db.General(0)
	for range maxListAsk + 10 {
		w.Server.users.answer(listAsker{client: &client{server: w.Server}}, l)
	}
	if w.dropped("user_list_busy") != 10 {
		t.Errorf("%v refused", w.dropped("user_list_busy"))
	}
	w.db1.want(wire.AllUsersReq)
	w.skip(listPatience)
	linktest.Eventually(t, "the end of the fetch", func() bool { return w.dropped("no_db_proxy") == 1 })
	w.db1.quiet()
}
