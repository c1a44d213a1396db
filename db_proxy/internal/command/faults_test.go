package command

import (
	"bytes"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"teamtalk/db_proxy/internal/cache"
	"teamtalk/db_proxy/internal/store"
	"teamtalk/internal/im"
	"teamtalk/internal/wire"
	"teamtalk/pb/basedefine"
	"teamtalk/pb/extension"
	"teamtalk/pb/file"
	"teamtalk/pb/group"
	"teamtalk/pb/login"
	"teamtalk/pb/message"
)

// populate makes what the requests are about.
func (e *env) populate() {
	e.t.Helper()
	all := e.group(groupTemporary, e.alice, e.bob, e.carol)
	e.group(groupTemporary, e.alice, e.bob)
	for range 3 {
		e.send(e.alice, im.Single, uint32(e.bob), "x")
		e.send(e.alice, im.Group, uint32(all), "x")
	}
	for _, c := range []faultCase{
		{wire.DeviceTokenReq, &login.IMDeviceTokenReq{
			UserId: proto.Uint32(uint32(e.alice)), DeviceToken: proto.String("t0"),
			ClientType: basedefine.ClientType_CLIENT_TYPE_IOS.Enum(),
		}},
		{wire.FileAddOfflineReq, &file.IMFileAddOfflineReq{
			FromUserId: proto.Uint32(uint32(e.alice)), ToUserId: proto.Uint32(uint32(e.bob)), TaskId: proto.String("f0"),
			FileName: proto.String("x"), FileSize: proto.Uint32(5), FileServer: proto.String("10.0.0.1:8600"),
		}},
		{wire.TerminalReq, &extension.IMTerminalReq{UserId: proto.Uint32(uint32(e.bob)), Terminal: proto.String("device:1")}},
	} {
		if _, err := e.try(c); err != nil {
			e.t.Fatalf("%v: %v", c.command, err)
		}
	}
	if !e.noAPI {
		begun := faultCase{wire.APIClaimReq, &extension.IMApiClaimReq{
			Attempt:     &extension.ApiAttempt{RequestId: bytes.Repeat([]byte{1}, 32), Token: bytes.Repeat([]byte{2}, 16)},
			Fingerprint: make([]byte, 32),
		}}
		if _, err := e.try(begun); err != nil {
			e.t.Fatal(err)
		}
	}
	e.settle()
}

// settle waits until everything that was left to be written is in its place.
func (e *env) settle() {
	e.t.Helper()
	e.lanes.Wait()
	e.hashing.Wait()
	for range 3 { // what fails is written again
		e.late.Add(60)
		e.behind.SettleCounts(e.t.Context())
		e.behind.SettleActivity(e.t.Context())
		e.behind.SettleMirrors(e.t.Context())
		e.behind.SettleDeliveries(e.t.Context())
	}
}

// row finds a command in the tables.
func (e *env) row(id wire.Command) Command {
	e.t.Helper()
	row, ok := e.rows[id]
	if !ok {
		row, ok = e.operations[id]
	}
	if !ok {
		e.t.Fatalf("%v is not in the table", id)
	}
	return row
}

// open opens the database file beside the store.
func (e *env) open() *sql.DB {
	e.t.Helper()
	db, err := sql.Open("sqlite", "file:"+e.path+"?_busy_timeout=5000")
	if err != nil {
		e.t.Fatal(err)
	}
	return db
}

// try runs a command once; an answer that says no is an error, too.
func (e *env) try(c faultCase) (proto.Message, error) {
	e.t.Helper()
	row := e.row(c.command)
	replies := make(chan proto.Message, 1)
	r := &Request{
		Command: c.command, Seq: 7, Body: e.encode(c.request), Capable: true, API: !e.noAPI,
		Reply: func(_ wire.Command, m proto.Message) { replies <- m },
	}
	var m proto.Message
	var err error
	if row.Operation != nil {
		if err = row.Operation(r); row.Reply != 0 && (err == nil || len(replies) > 0) {
			m = <-replies
		}
		e.lanes.Wait()
		e.waits.Wait()
	} else if m, err = row.Query(e.t.Context(), r); m == nil && err == nil && row.Reply != 0 {
		select {
		case m = <-replies:
		case <-time.After(5 * time.Second):
			return nil, errors.New("no answer")
		}
	}
	return m, cmpErr(err, saysNo(m))
}

func cmpErr(a, b error) error {
	if a != nil {
		return a
	}
	return b
}

// saysNo finds the code of an answer that says no.
func saysNo(m proto.Message) error {
	if sent, ok := m.(*message.IMMsgData); ok && sent.GetMsgId() == 0 {
		return errors.New("not stored")
	}
	if m == nil {
		return nil
	}
	fields := m.ProtoReflect().Descriptor().Fields()
	for _, name := range []string{"result_code", "code"} {
		if f := fields.ByTextName(name); f != nil && f.Kind().String() == "uint32" && m.ProtoReflect().Get(f).Uint() != 0 {
			return fmt.Errorf("%s %d", name, m.ProtoReflect().Get(f).Uint())
		}
	}
	return nil
}

// dumps are the queries of dump, made once.
type dumps struct {
	once  sync.Once
	texts map[string]string
}

// dump returns every row of SQL, and every key of Redis but the counts.
func (e *env) dump() map[string]string {
	e.t.Helper()
	db, err := sql.Open("sqlite", "file:"+e.path+"?_query_only=1")
	if err != nil {
		e.t.Fatal(err)
	}
	defer db.Close()
	state := map[string]string{}
	e.dumps.once.Do(func() { e.dumps.texts = e.dumpTexts(db) })
	for table, text := range e.dumps.texts {
		all := e.column(db, text)
		slices.Sort(all)
		state[table] = strings.Join(all, "\n")
	}
	for _, key := range e.redis.Keys() {
		if !strings.HasPrefix(key, "unread_") && !strings.Contains(key, "_im_") {
			state[key] = e.redis.Dump()[strings.Index(e.redis.Dump(), "- "+key+"\n"):]
			state[key], _, _ = strings.Cut(state[key][2:], "\n- ")
		}
	}
	return state
}

// dumpTexts returns a query for every table.
func (e *env) dumpTexts(db *sql.DB) map[string]string {
	e.t.Helper()
	texts := map[string]string{}
	for _, table := range e.column(db, `SELECT name FROM sqlite_master WHERE type = 'table'
		AND name NOT IN ('IMClock', 'IMChange') AND name NOT LIKE 'goose%' AND name NOT LIKE 'sqlite%'`) {
		var columns []string
		for _, c := range e.column(db, "SELECT name FROM pragma_table_info('"+table+"')") {
			// Hashes are salted at random; a change of a user that is made
			// twice is two changes.
			if c != "password_hash" && c != "password" && (table != "IMUser" || c != "updated") {
				columns = append(columns, "QUOTE("+c+")")
			}
		}
		texts[table] = "SELECT " + strings.Join(columns, " || ',' || ") + " FROM " + table
	}
	return texts
}

func (e *env) column(db *sql.DB, text string) (all []string) {
	e.t.Helper()
	rows, err := db.QueryContext(e.t.Context(), text)
	if err != nil {
		e.t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var s string
		if err := rows.Scan(&s); err != nil {
			e.t.Fatal(err)
		}
		all = append(all, s)
	}
	if err := rows.Err(); err != nil {
		e.t.Fatal(err)
	}
	return all
}

// checkCounts compares what Redis holds and what is answered with a recount.
func (e *env) checkCounts() {
	e.t.Helper()
	for _, user := range []im.UserID{e.alice, e.bob, e.carol} {
		want := map[store.SessionKey]uint32{}
		rows, err := e.store.UnreadAll(e.t.Context(), user)
		if err != nil {
			e.t.Fatal(err)
		}
		for _, row := range rows {
			want[row.SessionKey] = row.Count
		}
		member, err := e.store.Memberships(e.t.Context(), []im.UserID{user})
		if err != nil {
			e.t.Fatal(err)
		}
		held, err := e.cache.Held(e.t.Context(), []cache.Holder{{User: user, Groups: member[user]}})
		if err != nil {
			e.t.Fatal(err)
		}
		for key, count := range held[0].Counts {
			if count != want[key] {
				e.t.Errorf("%+v: Redis holds %d, a recount says %d", key, count, want[key])
			}
		}
		counts, err := unreadCounts{store: e.store, cache: e.cache, behind: e.behind}.of(e.t.Context(), user)
		got := map[store.SessionKey]uint32{}
		for _, c := range counts {
			got[c.SessionKey] = c.Count
		}
		if err != nil || !maps.Equal(got, want) {
			e.t.Errorf("user %d is shown %v, %v; a recount says %v", user, got, err, want)
		}
	}
}

// disturbed runs a command with its nth call done and reported as timed out,
// repeats it as clients and servers do, and returns how many calls there were
// and what is then stored.
func disturbed(t *testing.T, dumps *dumps, name string, nth int) (calls int, state map[string]string) {
	t.Helper()
	e := newEnv(t)
	e.dumps = dumps
	e.populate()
	c := e.requests()[name]
	e.faults.arm(nth)
	for range 3 {
		_, err := e.try(c)
		e.late.Add(60)
		if err == nil {
			break
		}
	}
	e.settle()
	calls = e.faults.disarm()
	if c.command == wire.ValidateReq { // a hash that was not stored is left to the next log-in
		if _, err := e.try(c); err != nil {
			t.Errorf("the next log-in: %v", err)
		}
	}
	e.settle()
	state = e.dump()
	if slices.Contains(counting, c.command) {
		e.checkCounts()
	}
	return calls, state
}

// TestAnyCallOfAReadingCommandTimesOut is the same for commands that change
// nothing: the repeat has the answer that would have been given.
func TestAnyCallOfAReadingCommandTimesOut(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.populate()
	before := e.dump()
	for name, c := range e.requests() {
		if !slices.Contains(reading, c.command) {
			continue
		}
		e.faults.arm(0)
		want, refused := e.try(c)
		calls := e.faults.disarm()
		if (want == nil && c.command != wire.APIKeyReq) || calls == 0 {
			t.Errorf("%s: %v, %v after %d calls", name, want, refused, calls)
		}
		for nth := 1; nth <= calls; nth++ {
			e.faults.arm(nth)
			if got, err := e.try(c); err == nil && !proto.Equal(got, want) {
				t.Errorf("%s, call %d: the answer is %v, and %v without a fault", name, nth, got, want)
			}
			e.faults.disarm()
			e.late.Add(60)
			if got, _ := e.try(c); !proto.Equal(got, want) {
				t.Errorf("%s after call %d: the answer is %v, and %v without a fault", name, nth, got, want)
			}
		}
	}
	e.settle()
	if after := e.dump(); !maps.Equal(after, before) {
		t.Errorf("something is changed: %v, and was %v", after, before)
	}
	e.checkCounts()
}

// TestCountsOfWhoComesBack: who left a group and joined it again has read what
// was said before, and what Redis knew of him does not count.
func TestCountsOfWhoComesBack(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.populate()
	e.checkCounts()
	change := func(kind basedefine.GroupModifyType) {
		t.Helper()
		if _, err := e.try(faultCase{wire.GroupChangeMemberReq, &group.IMGroupChangeMemberReq{
			UserId: proto.Uint32(uint32(e.alice)), ChangeType: kind.Enum(), GroupId: proto.Uint32(1),
			MemberIdList: []uint32{uint32(e.bob)},
		}}); err != nil {
			t.Fatal(err)
		}
	}
	change(basedefine.GroupModifyType_GROUP_MODIFY_TYPE_DEL)
	e.send(e.alice, im.Group, 1, "x")
	change(basedefine.GroupModifyType_GROUP_MODIFY_TYPE_ADD)
	e.send(e.alice, im.Group, 1, "x")
	e.settle()
	e.checkCounts()
}

// Every command of the table is run once to count its calls that reach SQL or
// Redis; then each of these in turn is done and reported as timed out. After
// the usual repeat everything stands as if nothing had happened.
func TestAnyCallOfAnyCommandTimesOut(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	cases, texts := e.requests(), &dumps{}
	for _, rows := range []map[wire.Command]Command{e.rows, e.operations} {
		for id := range rows {
			if !slices.ContainsFunc(slices.Collect(maps.Values(cases)), func(c faultCase) bool { return c.command == id }) {
				t.Errorf("%v is not tried", id)
			}
		}
	}
	for name, c := range cases {
		if slices.Contains(reading, c.command) {
			continue
		}
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
			t.Parallel()
			calls, want := disturbed(t, texts, name, 0)
			t.Logf("%d calls", calls)
			for nth := 1; nth <= calls; nth++ {
				_, got := disturbed(t, texts, name, nth)
				for what := range maps.All(want) {
					if got[what] != want[what] {
						t.Errorf("call %d: %s is\n%s\nwithout a fault\n%s", nth, what, got[what], want[what])
					}
				}
				for what := range got {
					if _, ok := want[what]; !ok {
						t.Errorf("call %d: there is %s: %s", nth, what, got[what])
					}
				}
			}
		})
	}
}
