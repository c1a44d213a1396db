package dbproxy

import (
	"context"
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

// store has a message stored and returns its id and its mark.
func (p *peer) store(from, to uint32, op byte) (uint32, *extension.StorageMark) {
	p.t.Helper()
	id := make([]byte, len(im.OperationID{}))
	id[0], id[15] = 1, op
	res := new(message.IMMsgData)
	p.ask(wire.MsgData, &message.IMMsgData{
		FromUserId: proto.Uint32(from), ToSessionId: proto.Uint32(to), MsgId: proto.Uint32(0), CreateTime: proto.Uint32(1),
		MsgType: basedefine.MsgType_MSG_TYPE_SINGLE_TEXT.Enum(), MsgData: []byte("x"), OperationId: id,
	}, wire.MsgData, res)
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
			if c.restarted {
				r = start(t, conf)
				var state *extension.IMStorageState
				p, state = r.watcher(seen)
				first, seen = state, nil
			}
			if !c.restarted {
				if state := p.state(); !state.GetWell() || string(state.GetEpoch()) == string(first.GetEpoch()) {
					t.Fatalf("state %v after %v", state, first)
				}
			} else if testutil.ToFloat64(r.metrics.epochs) != 1 {
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
