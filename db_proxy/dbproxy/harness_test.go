package dbproxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"teamtalk/client/textcrypt"
	"teamtalk/internal/link"
	"teamtalk/internal/link/linktest"
	"teamtalk/internal/procs"
	"teamtalk/internal/testenv"
	"teamtalk/internal/wire"
)

func TestMain(m *testing.M) {
	testenv.Main(m, func() error {
		return goleak.Find(
			// gnet opens a worker pool when it is imported and keeps it.
			goleak.IgnoreAnyFunction("github.com/panjf2000/ants/v2.(*poolCommon).purgeStaleWorkers"),
			goleak.IgnoreAnyFunction("github.com/panjf2000/ants/v2.(*poolCommon).ticktock"),
			goleak.IgnoreAnyFunction("github.com/panjf2000/ants/v2.(*goWorker).run.func1"),
			goleak.IgnoreAnyFunction("github.com/panjf2000/ants/v2.(*goWorkerWithFuncGeneric[...]).run.func1"),
		)
	})
}

// embedded is the configuration of one process that has everything inside.
func embedded(t testing.TB) string {
	t.Helper()
	return "StoreDriver=sqlite\nStorePath=" + filepath.Join(t.TempDir(), "tt.db") + "\n"
}

// external is the configuration of a db_proxy with a MariaDB and a Redis of
// its own.
func external(t testing.TB) string {
	t.Helper()
	return externalOn(t, testenv.MariaDB(t))
}

func externalOn(t testing.TB, db *testenv.Database) string {
	t.Helper()
	return externalWith(t, db, testenv.Redis(t))
}

func externalWith(t testing.TB, db *testenv.Database, redis *procs.Redis) string {
	t.Helper()
	var conf strings.Builder
	fmt.Fprintf(&conf, "DBInstances=teamtalk_master\nteamtalk_master_host=%s\nteamtalk_master_port=%d\n"+
		"teamtalk_master_dbname=%s\nteamtalk_master_username=%s\nCacheInstances=unread,group_set,token,group_member\n",
		db.Host, db.Port, db.Name, db.User)
	for i, pool := range []string{"unread", "group_set", "token", "group_member"} {
		fmt.Fprintf(&conf, "%s_host=127.0.0.1\n%s_port=%d\n%s_db=%d\n", pool, pool, redis.Port, pool, i)
	}
	return conf.String()
}

// running is a db_proxy with its configuration read from text.
type running struct {
	*Server
	t    testing.TB
	addr string
	stop func()
}

func start(t testing.TB, conf string) *running {
	t.Helper()
	addr := testenv.FreeAddr(t)
	_, port, _ := net.SplitHostPort(addr)
	conf += "ListenIP=127.0.0.1\nListenPort=" + port + "\n"
	if !strings.Contains(conf, "aesKey") {
		conf += "aesKey=" + textcrypt.StandardKey + "\n"
	}
	cfg, err := ParseConfig(strings.NewReader(conf), "test.conf")
	if err != nil {
		t.Fatal(err)
	}
	s, err := New(t.Context(), cfg, Deps{Log: slog.New(slog.DiscardHandler), Reg: prometheus.NewRegistry(), Clock: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	r := &running{Server: s, t: t, addr: addr}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	r.stop = sync.OnceFunc(func() {
		cancel()
		if err := linktest.Wait(t, ended, "end of Run"); err != nil {
			t.Errorf("Run = %v", err)
		}
	})
	t.Cleanup(r.stop)
	linktest.Eventually(t, "readiness", func() bool { return s.Ready() == nil })
	return r
}

// accounts makes the users and returns their ids.
func (r *running) accounts(names ...string) []uint32 {
	r.t.Helper()
	specs := make([]AccountSpec, len(names))
	for i, name := range names {
		specs[i] = AccountSpec{Name: name, Password: "12345"}
	}
	made, err := r.Admin().AddUsers(r.t.Context(), specs)
	if err != nil {
		r.t.Fatal(err)
	}
	ids := make([]uint32, len(made))
	for i, a := range made {
		ids[i] = a.ID
	}
	return ids
}

// group makes a group of users by name and returns its id.
func (r *running) group(name, creator string, members ...string) uint32 {
	r.t.Helper()
	id, _, err := r.Admin().AddGroup(r.t.Context(), GroupSpec{Name: name, Creator: creator, Members: members})
	if err != nil {
		r.t.Fatal(err)
	}
	return id
}

// peer is a msg_server that asks one question after the other.
type peer struct {
	linktest.Peer
	t   testing.TB
	seq uint16
}

// capable links a msg_server of ours.
func (r *running) capable() *peer {
	r.t.Helper()
	return &peer{t: r.t, Peer: linktest.DialOurs(r.t, r.addr, link.Config{
		Role: "msg_server", Capabilities: []string{link.CapStore, link.CapRelay},
	})}
}

// original links an original msg_server.
func (r *running) original() *peer {
	r.t.Helper()
	p := linktest.DialOriginal(r.t, r.addr)
	return &peer{t: r.t, Peer: p}
}

// ask sends one request and decodes its answer.
func (p *peer) ask(command wire.Command, req proto.Message, answer wire.Command, res proto.Message) {
	p.t.Helper()
	p.seq++
	p.Send(command, p.seq, req)
	pdu := p.Want(answer)
	if pdu.Seq != p.seq {
		p.t.Errorf("%v answers seq %d, asked with %d", answer, pdu.Seq, p.seq)
	}
	if err := proto.Unmarshal(pdu.Body, res); err != nil {
		p.t.Fatalf("%v: %v", answer, err)
	}
}

// extensions lists the fields of m that originals do not have.
func extensions(m proto.Message) (found []string) {
	m.ProtoReflect().Range(func(f protoreflect.FieldDescriptor, _ protoreflect.Value) bool {
		if f.Number() >= 100 {
			found = append(found, string(f.Name()))
		}
		return true
	})
	return found
}

// drainTo reads PDUs until the connection ends, heartbeats left out.
func drainTo(t testing.TB, conn net.Conn) (pdus []wire.PDU) {
	t.Helper()
	all, err := io.ReadAll(conn)
	if err != nil && !errors.Is(err, net.ErrClosed) {
		t.Fatal(err)
	}
	for len(all) > 0 {
		pdu, size, _, err := wire.Next(all, wire.MaxServerPDU)
		if err != nil || size == 0 {
			t.Fatalf("%d bytes are no PDU: %v", len(all), err)
		}
		if pdu.Command != wire.Heartbeat {
			pdus = append(pdus, pdu)
		}
		all = all[size:]
	}
	return pdus
}
