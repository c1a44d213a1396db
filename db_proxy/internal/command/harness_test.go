package command

import (
	"context"
	"crypto/md5" // the protocol's
	"encoding/hex"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/proto"

	"teamtalk/db_proxy/internal/auth"
	"teamtalk/db_proxy/internal/behind"
	"teamtalk/db_proxy/internal/cache"
	"teamtalk/db_proxy/internal/directory"
	"teamtalk/db_proxy/internal/lane"
	"teamtalk/db_proxy/internal/store"
	"teamtalk/db_proxy/internal/store/storetest"
	"teamtalk/db_proxy/internal/voice"
	"teamtalk/db_proxy/internal/work"
	"teamtalk/internal/im"
	"teamtalk/internal/wire"
)

// env is everything behind the commands, real but for the sockets: SQLite,
// the embedded Redis, the directory, the lanes and what they write behind.
type env struct {
	t         *testing.T
	store     *store.Store
	directory *directory.Directory
	lanes     *lane.Lanes
	redis     *miniredis.Miniredis
	rows      map[wire.Command]Command
	// operations are the rows of Operations, rows those of Queries.
	operations map[wire.Command]Command
	behind     *behind.Behind
	cache      *cache.Cache
	faults     *faults // of the calls that reach SQL and Redis

	waits   *work.Turns
	hashing sync.WaitGroup // tasks of the slow queue, which write a better hash after the answer
	noAPI   bool           // requests come from a msg_server
	path    string
	sent    atomic.Int64 // messages
	dumps   *dumps
	seconds atomic.Int64 // the clock
	late    atomic.Int64 // seconds by which that of the cache is ahead
	broken  atomic.Bool  // SQL answers nothing
	slow    atomic.Bool  // the slow queue takes tasks

	alice, bob, carol im.UserID
}

// noon is when every test begins: outside the night.
var noon = time.Date(2024, 3, 1, 12, 0, 0, 0, time.UTC)

func newEnv(t *testing.T) *env {
	t.Helper()
	e := &env{t: t, redis: miniredis.RunT(t), rows: map[wire.Command]Command{}, faults: &faults{}, dumps: &dumps{}}
	e.seconds.Store(noon.Unix())
	e.slow.Store(true)
	clock := func() time.Time { return time.Unix(e.seconds.Load(), 0).UTC() }
	log, reg := slog.New(slog.DiscardHandler), prometheus.NewRegistry()

	var err error
	e.path = storetest.File(t)
	e.store, err = store.Open(t.Context(), store.Config{
		Driver: store.SQLite, Path: e.path,
	}, store.Deps{Log: log, Clock: clock, Connector: e.faults.connector, Fault: func(context.Context, string) error {
		if e.broken.Load() {
			return im.Errorf(im.Unavailable, "broken for the test")
		}
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	pools := map[string]cache.PoolConfig{}
	for _, name := range []string{cache.PoolUnread, cache.PoolGroupSet, cache.PoolToken, cache.PoolGroupMember} {
		pools[name] = cache.PoolConfig{Addrs: []string{e.redis.Addr()}}
	}
	redis, err := cache.New(cache.Config{Pools: pools}, cache.Deps{
		Log: log, Reg: reg, Fault: e.faults.redis,
		Clock: func() time.Time { return clock().Add(time.Duration(e.late.Load()) * time.Second) },
	})
	if err != nil {
		t.Fatal(err)
	}
	var tasks sync.WaitGroup
	run := func(task func()) bool { tasks.Go(task); return true }
	slowly := func(task func()) bool {
		if !e.slow.Load() {
			return false
		}
		e.hashing.Go(task)
		return true
	}
	e.directory = directory.New(e.store, log, clock)
	written := behind.New(redis, e.store, log, reg)
	e.lanes = lane.New(lane.Config{Patience: time.Minute}, lane.Deps{
		Store: e.store, Directory: e.directory, IDs: redis, Behind: written, Go: run, Log: log, Reg: reg, Clock: clock,
	})
	verifier, err := auth.New(auth.Config{}, auth.Deps{Users: e.store, Background: slowly, Log: log, Clock: clock, Reg: reg})
	if err != nil {
		t.Fatal(err)
	}
	keeper := voice.New("", nil, log)
	for _, row := range Queries(QueryDeps{
		Voice: keeper,
		Store: e.store, Cache: redis, Directory: e.directory, Lanes: e.lanes, Behind: written,
		Auth: verifier, Slow: slowly, Clock: clock, Night: Night{Begins: 22, Ends: 8},
	}) {
		e.rows[row.ID] = row
	}
	e.operations = map[wire.Command]Command{}
	for _, row := range Operations(OperationDeps{
		Store: e.store, Groups: e.directory, Accounts: e.directory, Mirror: written, Lanes: e.lanes, Turns: e.turns(t).Submit, Voice: keeper,
		Behind: written, Log: log,
	}) {
		e.operations[row.ID] = row
	}
	e.behind, e.cache = written, redis
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = written.Run(ctx) })
	t.Cleanup(func() {
		e.broken.Store(false)
		e.waits.Wait()
		e.lanes.Wait()
		e.waits.Wait()
		tasks.Wait()
		e.hashing.Wait()
		cancel()
		running.Wait()
		_ = redis.Close()
		if err := e.store.Close(); err != nil {
			t.Error(err)
		}
	})
	e.makeUsers()
	return e
}

// turns are those of a db_proxy.
func (e *env) turns(t *testing.T) *work.Turns {
	t.Helper()
	pool, err := work.NewPool(4, func(p any) { t.Errorf("panic: %v", p) })
	if err != nil {
		t.Fatal(err)
	}
	e.waits = work.NewTurns(pool, work.TurnsConfig{
		Workers: 4, Capacity: 10_000, Refused: prometheus.NewCounter(prometheus.CounterOpts{}),
		Depth: prometheus.NewGauge(prometheus.GaugeOpts{}),
	})
	t.Cleanup(pool.Release)
	return e.waits
}

func clientMD5(password string) string {
	sum := md5.Sum([]byte(password)) // the protocol's
	return hex.EncodeToString(sum[:])
}

func (e *env) makeUsers() {
	e.t.Helper()
	// One legacy account, as the administration site makes them.
	salted := clientMD5(clientMD5("12345") + "1234")
	made, err := e.store.CreateUsers(e.t.Context(), []store.NewUser{
		{Name: "alice", Nick: "Alice", Department: 1, Credentials: store.Credentials{Legacy: salted, Salt: "1234"}},
		{Name: "bob", Nick: "Bob", Department: 1},
		{Name: "carol", Nick: "Carol", Department: 1},
	})
	if err != nil {
		e.t.Fatal(err)
	}
	e.alice, e.bob, e.carol = made[0].ID, made[1].ID, made[2].ID
}

// pass moves the clock.
func (e *env) pass(d time.Duration) { e.seconds.Add(int64(d / time.Second)) }

// send stores a message.
func (e *env) send(from im.UserID, kind im.Kind, to uint32, content string) {
	e.t.Helper()
	t := im.SingleText
	if kind == im.Group {
		t = im.GroupText
	}
	e.sendAs(t, from, to, content)
}

func (e *env) sendAs(t im.MsgType, from im.UserID, to uint32, content string) {
	e.t.Helper()
	done := make(chan error, 1)
	err := e.lanes.Submit(&lane.Send{
		Conv: im.ConversationOf(from, t.Kind(), to), From: from, Type: t, Content: content,
		Op:   im.OperationID{1, byte(e.sent.Add(1) >> 8), byte(e.sent.Load())},
		Done: func(_ lane.Sent, err error) { done <- err },
	})
	if err != nil {
		e.t.Fatal(err)
	}
	if err := <-done; err != nil {
		e.t.Fatalf("send: %v", err)
	}
	e.counted(im.ConversationOf(from, t.Kind(), to))
}

// counted waits until the lane has counted what it answered: it does so after
// the answers.
func (e *env) counted(conv im.Conversation) {
	e.t.Helper()
	done := make(chan struct{})
	err := e.lanes.Submit(&lane.Change{
		Conv: conv, Run: func(context.Context) { close(done) }, Refused: func(error) { close(done) },
	})
	if err != nil {
		e.t.Fatal(err)
	}
	<-done
}

// read moves a cursor.
func (e *env) read(user im.UserID, kind im.Kind, peer uint32, upto im.MsgID) {
	e.t.Helper()
	done := make(chan error, 1)
	err := e.lanes.Submit(&lane.Read{
		Conv: im.ConversationOf(user, kind, peer), User: user, Upto: upto, Done: func(err error) { done <- err },
	})
	if err == nil {
		err = <-done
	}
	if err != nil {
		e.t.Fatalf("read: %v", err)
	}
	e.counted(im.ConversationOf(user, kind, peer))
}

func (e *env) group(kind uint8, members ...im.UserID) im.GroupID {
	e.t.Helper()
	id, err := e.store.CreateGroup(e.t.Context(), store.NewGroup{
		Name: "group", Avatar: "g0/1.png", Creator: members[0], Type: kind, Members: members,
	})
	if err != nil {
		e.t.Fatal(err)
	}
	e.directory.ForgetGroup(id)
	return id
}

func (e *env) changeMembers(id im.GroupID, add, remove []im.UserID) {
	e.t.Helper()
	if _, err := e.store.ChangeMembers(e.t.Context(), id, add, remove); err != nil {
		e.t.Fatal(err)
	}
	e.directory.ForgetGroup(id)
	e.lanes.Forget(im.GroupOf(id))
}

// do runs a command with an encoded body. m is nil if it was not answered.
func (e *env) do(c wire.Command, body []byte) (proto.Message, error) {
	e.t.Helper()
	row, ok := e.rows[c]
	if !ok {
		e.t.Fatalf("%v is not in the table", c)
	}
	replies := make(chan proto.Message, 1)
	r := &Request{Command: c, Seq: 7, Body: body, Reply: func(reply wire.Command, m proto.Message) {
		if reply != row.Reply {
			e.t.Errorf("%v answered with %v", c, reply)
		}
		replies <- m
	}}
	if row.Operation != nil {
		if err := row.Operation(r); err != nil {
			select {
			case m := <-replies:
				return m, err
			default:
				return nil, err
			}
		}
		return <-replies, nil
	}
	m, err := row.Query(e.t.Context(), r)
	if m == nil && err == nil {
		m = <-replies
	}
	return m, err
}

func (e *env) encode(req proto.Message) []byte {
	e.t.Helper()
	body, err := proto.Marshal(req)
	if err != nil {
		e.t.Fatal(err)
	}
	return body
}

// ask runs a command and decodes its answer into res, over the wire form and
// so with every required field. It returns the error that goes to the log.
func (e *env) ask(c wire.Command, req, res proto.Message) error {
	e.t.Helper()
	m, err := e.do(c, e.encode(req))
	if m == nil {
		e.t.Fatalf("%v: not answered: %v", c, err)
	}
	if perr := proto.Unmarshal(e.encode(m), res); perr != nil {
		e.t.Fatalf("%v: answer: %v", c, perr)
	}
	return err
}

// ok is ask for what must not fail.
func (e *env) ok(c wire.Command, req, res proto.Message) {
	e.t.Helper()
	if err := e.ask(c, req, res); err != nil {
		e.t.Fatalf("%v: %v", c, err)
	}
}

// silent checks that a command is not answered.
func (e *env) silent(c wire.Command, req proto.Message, why string) {
	e.t.Helper()
	if m, err := e.do(c, e.encode(req)); m != nil || err == nil {
		e.t.Errorf("%v, %s: answered %v, %v", c, why, m, err)
	}
}

// equal compares two messages by their wire form.
func equal(t *testing.T, what string, got, want proto.Message) {
	t.Helper()
	if !proto.Equal(got, want) {
		t.Errorf("%s:\ngot  %v\nwant %v", what, got, want)
	}
}
