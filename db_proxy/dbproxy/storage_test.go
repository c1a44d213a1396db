package dbproxy

import (
	"context"
	"database/sql"
	"fmt"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"
	goredis "github.com/redis/go-redis/v9"
	"google.golang.org/protobuf/proto"

	"teamtalk/internal/im"
	"teamtalk/internal/link"
	"teamtalk/internal/link/linktest"
	"teamtalk/internal/testenv"
	"teamtalk/internal/wire"
	"teamtalk/pb/basedefine"
	"teamtalk/pb/extension"
	"teamtalk/pb/message"
)

// watcher links a msg_server that is told how the database is.
func (r *running) watcher(seen *extension.IMStorageSeen) (*peer, *extension.IMStorageState) {
	r.t.Helper()
	p := &peer{t: r.t, Peer: linktest.DialOurs(r.t, r.addr, link.Config{
		Role: "msg_server", Capabilities: []string{link.CapStore, link.CapState},
	})}
	p.Send(wire.StorageSeen, 0, seen)
	return p, p.state()
}

// state waits for the next 0797.
func (p *peer) state() *extension.IMStorageState {
	p.t.Helper()
	state := new(extension.IMStorageState)
	if err := proto.Unmarshal(p.Want(wire.StorageState).Body, state); err != nil {
		p.t.Fatal(err)
	}
	return state
}

// offer sends a message to be stored.
func (p *peer) offer(from, to uint32, op byte) (id []byte) {
	p.t.Helper()
	id = make([]byte, len(im.OperationID{}))
	id[0], id[15] = 1, op
	p.Send(wire.MsgData, 0, &message.IMMsgData{
		FromUserId: proto.Uint32(from), ToSessionId: proto.Uint32(to), MsgId: proto.Uint32(0), CreateTime: proto.Uint32(1),
		MsgType: basedefine.MsgType_MSG_TYPE_SINGLE_TEXT.Enum(), MsgData: []byte("x"), OperationId: id,
	})
	return id
}

// store has a message stored and returns its id and its mark.
func (p *peer) store(from, to uint32, op byte) (uint32, *extension.StorageMark) {
	p.t.Helper()
	id := p.offer(from, to, op)
	res := new(message.IMMsgData)
	if err := proto.Unmarshal(p.Want(wire.MsgData).Body, res); err != nil {
		p.t.Fatal(err)
	}
	return res.GetMsgId(), &extension.StorageMark{
		SessionType: basedefine.SessionType_SESSION_TYPE_SINGLE.Enum(), FromUserId: proto.Uint32(from),
		ToSessionId: proto.Uint32(to), MsgId: res.MsgId, OperationId: id,
	}
}

// A database that loses its newest messages begins another epoch, whoever
// remembers them: the db_proxy itself, Redis, or a msg_server. Ids go on above
// those that were lost.
func TestDatabaseGoesBack(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		restarted, flushed bool
		want               uint32 // the next id
	}{
		{false, false, 51}, {false, true, 1046}, {true, false, 51}, {true, true, 1046},
	} {
		t.Run(fmt.Sprintf("restarted %v, flushed %v", c.restarted, c.flushed), func(t *testing.T) {
			t.Parallel()
			db, redis := testenv.MariaDB(t), testenv.Redis(t)
			conf := externalWith(t, db, redis)
			r := start(t, conf)
			users := r.accounts("alice", "bob")
			p, first := r.watcher(&extension.IMStorageSeen{})
			if !first.GetWell() || len(first.GetEpoch()) != 16 {
				t.Fatalf("state %v", first)
			}
			seen := &extension.IMStorageSeen{Epoch: first.GetEpoch()}
			for i := byte(1); i <= 50; i++ {
				id, mark := p.store(users[0], users[1], i)
				if id != uint32(i) {
					t.Fatalf("id %d, want %d", id, i)
				}
				seen.Marks = []*extension.StorageMark{mark}
			}
			if !c.restarted {
				lose(t, db)
			}
			if c.restarted {
				linktest.Eventually(t, "Redis remembers", func() bool {
					held, err := r.cache.Seen(t.Context())
					return err == nil && len(held) > 0
				})
				r.stop()
				lose(t, db)
			}
			if c.flushed {
				client := goredis.NewClient(&goredis.Options{Addr: redis.Addr()})
				if err := client.FlushAll(t.Context()).Err(); err != nil {
					t.Fatal(err)
				}
				_ = client.Close()
			}
			var state *extension.IMStorageState
			if c.restarted {
				r = start(t, conf)
				p, state = r.watcher(seen)
			} else {
				state = p.state()
			}
			if !state.GetWell() || string(state.GetEpoch()) == string(first.GetEpoch()) {
				t.Fatalf("state %v after %v", state, first)
			}
			if c.restarted && testutil.ToFloat64(r.metrics.epochs) != 1 {
				t.Fatal("the restarted db_proxy did not notice")
			}
			id, _ := p.store(users[0], users[1], 77)
			if id != c.want {
				t.Errorf("the next id is %d, want %d", id, c.want)
			}
			if next, _ := p.store(users[0], users[1], 78); next != id+1 {
				t.Errorf("then %d, want %d", next, id+1)
			}
			// What was lost is stored when it is sent again: nobody remembers it as stored.
			if again, _ := p.store(users[0], users[1], 50); again != id+2 {
				t.Errorf("a lost message that is sent again: id %d, want %d", again, id+2)
			}
			// What was not lost is a repeat.
			if again, _ := p.store(users[0], users[1], 45); again != 45 {
				t.Errorf("a message that is there: id %d, want 45", again)
			}
		})
	}
}

// Whoever loses a primary loses the connections to it. Nothing is read or
// stored over new ones before what must be there was looked for: no id is given
// again, and no message gets the number of a relation that is lost.
func TestNothingIsStoredBeforeALossIsNoticed(t *testing.T) {
	t.Parallel()
	for _, all := range []bool{false, true} {
		t.Run(fmt.Sprintf("the conversation is lost %v", all), func(t *testing.T) {
			t.Parallel()
			db, redis := testenv.MariaDB(t), testenv.Redis(t)
			conf := externalWith(t, db, redis)
			r := start(t, conf)
			users := r.accounts("alice", "bob")
			p, _ := r.watcher(&extension.IMStorageSeen{})
			for i := byte(1); i <= 50; i++ {
				p.store(users[0], users[1], i)
			}
			linktest.Eventually(t, "Redis remembers the newest", func() bool {
				marks := r.storage.left(t.Context()).GetMarks()
				return len(marks) > 0 && marks[len(marks)-1].GetMsgId() == 50
			})
			r.stop()
			r = start(t, conf) // one that knows nothing of the conversation
			p, first := r.watcher(&extension.IMStorageSeen{})
			lose(t, db)
			if all {
				exec(t, db, "DELETE FROM IMMessage_1")
				exec(t, db, "DELETE FROM IMRelationShip")
			}
			disconnect(t, db)
			p.offer(users[0], users[1], 77)
			if state := p.state(); !state.GetWell() || string(state.GetEpoch()) == string(first.GetEpoch()) {
				t.Errorf("state %v after %v", state, first)
			}
			res := new(message.IMMsgData)
			if err := proto.Unmarshal(p.Want(wire.MsgData).Body, res); err != nil {
				t.Fatal(err)
			}
			id := res.GetMsgId()
			if all && (id == 0 || number(t, db, "SELECT COUNT(*) FROM IMMessage_2"+
				" m JOIN IMRelationShip r ON m.relateId = r.id") != 1) {
				t.Errorf("message %d belongs to no relation", id)
			}
			if !all && id != 51 {
				t.Errorf("the next id is %d, want 51", id)
			}
		})
	}
}

// A database that was restored twice from the same backup is back in an epoch
// that was over, and lost messages by it as well.
func TestRestoredTwiceFromTheSameBackup(t *testing.T) {
	t.Parallel()
	db, redis := testenv.MariaDB(t), testenv.Redis(t)
	conf := externalWith(t, db, redis)
	r := start(t, conf)
	users := r.accounts("alice", "bob")
	p, before := r.watcher(&extension.IMStorageSeen{})
	for i := byte(1); i <= 50; i++ {
		p.store(users[0], users[1], i)
	}
	exec(t, db, "CREATE TABLE backup AS SELECT epoch, epochBegan FROM IMClock")
	lose(t, db)
	first := p.state()
	newest, _ := p.store(users[0], users[1], 51)
	linktest.Eventually(t, "Redis remembers the epoch", func() bool {
		return string(r.storage.left(t.Context()).GetEpoch()) == string(first.GetEpoch())
	})
	r.stop()
	exec(t, db, "UPDATE IMClock, backup SET IMClock.epoch = backup.epoch, IMClock.epochBegan = backup.epochBegan")
	lose(t, db)
	r = start(t, conf)
	p, second := r.watcher(&extension.IMStorageSeen{})
	for _, old := range []*extension.IMStorageState{before, first} {
		if string(second.GetEpoch()) == string(old.GetEpoch()) {
			t.Error("the db_proxy is in an epoch that was over")
		}
	}
	if id, _ := p.store(users[0], users[1], 77); id <= newest {
		t.Errorf("the next id is %d, and %d was given before", id, newest)
	}
}

// disconnect ends every connection to a database.
func disconnect(t *testing.T, db *testenv.Database) {
	t.Helper()
	conn, err := sql.Open("mysql", db.DSN())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	rows, err := conn.QueryContext(t.Context(),
		"SELECT id FROM information_schema.PROCESSLIST WHERE db = ? AND id <> CONNECTION_ID()", db.Name)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var id int64
		if err := rows.Scan(&id); err != nil {
			t.Fatal(err)
		}
		_ = db.Exec(t.Context(), fmt.Sprintf("KILL %d", id)) // it may have gone
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
}

func exec(t *testing.T, db *testenv.Database, text string) {
	t.Helper()
	if err := db.Exec(context.Background(), text); err != nil {
		t.Fatal(err)
	}
}

func number(t *testing.T, db *testenv.Database, query string) (n int) {
	t.Helper()
	conn, err := sql.Open("mysql", db.DSN())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.QueryRowContext(t.Context(), query).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// lose takes the messages 46 to 50 out of the database.
func lose(t *testing.T, db *testenv.Database) {
	t.Helper()
	for shard := range 8 {
		if err := db.Exec(context.Background(), fmt.Sprintf("DELETE FROM IMMessage_%d WHERE msgId > 45", shard)); err != nil {
			t.Fatal(err)
		}
	}
}

// A database that goes read-only is said to the peers, and that it is back.
func TestPeersHearOfTheDatabase(t *testing.T) {
	t.Parallel()
	db, server := testenv.OwnMariaDB(t)
	for _, text := range []string{
		"CREATE USER ordinary@'%'", "GRANT ALL ON " + db.Name + ".* TO ordinary@'%'",
	} {
		if err := server.Exec(t.Context(), text); err != nil {
			t.Fatal(err)
		}
	}
	db.User = "ordinary"
	r := start(t, externalOn(t, db))
	user := r.accounts("alice")[0]
	p, _ := r.watcher(&extension.IMStorageSeen{})
	if err := server.Exec(t.Context(), "SET GLOBAL read_only = 1"); err != nil {
		t.Fatal(err)
	}
	if p.state().GetWell() || r.Ready() == nil {
		t.Error("well on a database that takes no writes")
	}
	late, state := r.watcher(&extension.IMStorageSeen{})
	if state.GetWell() {
		t.Error("a peer that comes later hears that all is well")
	}
	if err := server.Exec(t.Context(), "SET GLOBAL read_only = 0"); err != nil {
		t.Fatal(err)
	}
	if !p.state().GetWell() || !late.state().GetWell() {
		t.Error("not well again")
	}
	original := r.original()
	original.Send(wire.UnreadCountReq, 9, &message.IMUnreadMsgCntReq{UserId: proto.Uint32(user)})
	original.Want(wire.UnreadCountRes) // and nothing before it
}
