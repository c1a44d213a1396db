package admin

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"teamtalk/cmd/teamtalk/internal/exit"
	"teamtalk/cmd/teamtalk/internal/timeline"
	"teamtalk/db_proxy/dbproxy"
	"teamtalk/internal/im"
	"teamtalk/internal/secret"
	"teamtalk/internal/trace"
)

func TestParseMessage(t *testing.T) {
	t.Parallel()
	tests := map[string]dbproxy.MessageRef{
		"single:alice-bob:7":    {Kind: "single", A: "alice", B: "bob", ID: 7},
		"single:1-2:89999999":   {Kind: "single", A: "1", B: "2", ID: 89_999_999},
		"group:a:b-c:3":         {Kind: "group", Group: "a:b-c", ID: 3},
		"client:x:y":            {Kind: "client", ClientID: "x:y"},
		"":                      {},
		"single:alice:7":        {},
		"single:a-b":            {},
		"single:a-b:":           {},
		"single:a-b:0":          {},
		"single:a-b:90000000":   {},
		"single:a-b:-1":         {},
		"single:-b:1":           {},
		"single:anna-lena-bo:1": {},
		"group::1":              {},
		"group:g":               {},
		"client:":               {},
		"message:1:2":           {},
	}
	for arg, want := range tests {
		got, err := parseMessage(arg)
		if want.Kind == "" {
			if exit.Code(err) != exit.Usage {
				t.Errorf("%q: %+v, %v", arg, got, err)
			}
			continue
		}
		if err != nil || got != want {
			t.Errorf("%q: %+v, %v, want %+v", arg, got, err, want)
		}
	}
}

// role answers as the health port of a role does, and returns its address.
func role(t *testing.T, name string, events ...trace.Record) string {
	t.Helper()
	r := trace.New(1000)
	for _, e := range events {
		r.Note(&e)
	}
	server := httptest.NewServer(trace.NewHandler(name, r, secret.Value{}, prometheus.NewRegistry()))
	t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}

func TestTrace(t *testing.T) {
	t.Parallel()
	data := served(t)
	for _, name := range []string{"alice", "bob"} {
		run(t, "user", "add", name, "--password", "x", "--data", data)
	}
	run(t, "group", "add", "team", "--members", "alice,bob", "--data", data)
	op := im.OperationOf(im.OfClient, im.SingleOf(1, 2), "mine")
	several := im.OperationOf(im.OfClient, im.GroupOf(1), "several")
	msg := role(t, "msg_server",
		trace.Record{Event: trace.Received, Conv: im.SingleOf(1, 2), Op: op, User: 1, Client: im.IOS},
		trace.Record{Event: trace.Failed, Conv: im.SingleOf(1, 2), Op: op, User: 1, Detail: uint32(im.Busy)},
		trace.Record{Event: trace.Received, Conv: im.GroupOf(1), Op: several, User: 1},
		trace.Record{
			Event: trace.Received, Conv: im.SingleOf(1, 2), Op: im.OperationOf(im.OfClient, im.SingleOf(1, 2), "several"), User: 2,
		})
	gone := httptest.NewServer(nil)
	gone.Close()
	addrs := filepath.Join(data, AddrsFile)
	lines := "msg_server_1=127.0.0.1:1\nmsg_server_1.http=" + msg + "\ndb_proxy_1.http=" + gone.Listener.Addr().String() + "\n"
	if err := os.WriteFile(addrs, []byte(lines), 0o600); err != nil {
		t.Fatal(err)
	}
	got := run(t, "trace", "client:mine", "--data", data, "--json")
	var line timeline.Timeline
	if err := json.Unmarshal([]byte(got.out), &line); err != nil || got.code != 0 {
		t.Fatalf("%+v, %v", got, err)
	}
	if len(line.Events) != 2 || line.Events[0].Terminal != "ios" || line.Events[1].Note != "busy" ||
		len(line.Roles) != 2 || line.Roles[1].Error == "" || line.Message.Stored {
		t.Errorf("got %s", got.out)
	}

	tests := map[string]struct {
		args string
		code int
		want string // in the output or the error
	}{
		"not stored":    {"trace single:alice-bob:1", 1, "not stored; the newest message is 0"},
		"by number":     {"trace single:2-1:1", 1, "single:1-2 message 1"},
		"a group":       {"trace group:team:1", 1, "group:1 message 1 in team"},
		"by client id":  {"trace client:mine", 0, "received      user 1 on ios"},
		"in a pair":     {"trace client:mine --from alice --to bob", 0, "received      user 1 on ios"},
		"in a group":    {"trace client:mine --group team", 1, "nothing is known"},
		"in several":    {"trace client:several", 0, "2 messages have this client_msg_id"},
		"one of them":   {"trace client:several --group team", 0, "received      user 1"},
		"half a pair":   {"trace client:mine --to bob", 2, "by --from and --to"},
		"not a client":  {"trace single:1-2:1 --from alice", 2, "go with client:ID"},
		"no sender":     {"trace client:mine --from carol", 2, `no user "carol"`},
		"another id":    {"trace client:yours", 1, "nothing is known"},
		"no user":       {"trace single:alice-carol:1", 2, `no user "carol"`},
		"no group":      {"trace group:9:1", 2, `no group "9"`},
		"oneself":       {"trace single:alice-1:1", 2, "nobody writes to himself"},
		"no message":    {"trace alice", 2, "is none of"},
		"no role":       {"trace single:1-2:1 --role x", 2, "NAME=HOST:PORT"},
		"no such file":  {"trace single:1-2:1 --addrs /does/not/exist", 2, "exist"},
		"not addresses": {"trace single:1-2:1 --addrs " + filepath.Join(data, DataFile), 2, "has no line"},
	}
	for name, test := range tests {
		got := run(t, append(strings.Fields(test.args), "--data", data)...)
		if got.code != test.code || !strings.Contains(got.out+got.err, test.want) {
			t.Errorf("%s: %+v, want %d, %q", name, got, test.code, test.want)
		}
	}
	for args, want := range map[string]string{
		"trace single:1-2:1 --data " + t.TempDir():                         "the database was not asked",
		"trace single:a-b:1 --data " + t.TempDir():                         "use numbers",
		"trace single:1-2:1 --config /no.conf":                             "/no.conf",
		"trace single:1-2:1 --data x --config y":                           "exclude each other",
		"trace client:mine --role msg_server_1=" + msg + " --data " + data: "busy",
	} {
		if got := run(t, strings.Fields(args)...); !strings.Contains(got.out+got.err, want) {
			t.Errorf("%s: %+v, want %q", args, got, want)
		}
	}
}

// broken is a Backend with counts that differ.
type broken struct{ Backend }

func (broken) Recount(_ context.Context, spec dbproxy.RecountSpec) (r dbproxy.RecountReport, err error) {
	if spec.User == "nobody" {
		return r, im.Errorf(im.NotFound, "no user %q", spec.User)
	}
	n := uint32(9)
	r = dbproxy.RecountReport{Users: 3, Counts: 5, Differences: []dbproxy.CountDifference{
		{User: 1, Name: "alice", Kind: "single", Peer: 2, PeerName: "bob", Cached: &n, Counted: 4},
		{User: 1, Name: "alice", Kind: "group", Peer: 3, Counted: 1},
	}}
	if spec.Repair && spec.User == "stubborn" {
		r.Left = r.Differences[:1]
	}
	return r, nil
}

func TestRecount(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	l, err := Listen(t.Context(), data)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- Serve(ctx, l, broken{}, slog.New(slog.DiscardHandler)) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	const lines = "alice (1)\tsingle bob (2)\tredis 9\tmessages 4\nalice (1)\tgroup ? (3)\tredis no number\tmessages 1\n"
	tests := map[string]result{
		"recount --check": {
			lines + "5 unread counts of 3 users compared: 2 differ\n", 1,
			"unread counts differ; recount --repair corrects them",
		},
		"recount --repair": {lines + "5 unread counts of 3 users compared: 2 differed, 2 repaired\n", 0, ""},
		"recount --repair --user stubborn": {
			lines + "still alice (1)\tsingle bob (2)\tredis 9\tmessages 4\n" +
				"5 unread counts of 3 users compared: 2 differed, 1 repaired\n", 1,
			"unread counts differ again after the repair",
		},
		"recount --check --user nobody": {"", 2, `no user "nobody"`},
		"recount":                       {"", 2, "recount: say --check, --repair or --new-epoch"},
		"recount --check --repair":      {"", 2, "recount: say --check, --repair or --new-epoch"},
	}
	for args, want := range tests {
		if got := run(t, append(strings.Fields(args), "--data", data)...); got != want {
			t.Errorf("%s:\n got %+v\nwant %+v", args, got, want)
		}
	}
	got := run(t, "recount", "--check", "--json", "--data", data)
	var r dbproxy.RecountReport
	if err := json.Unmarshal([]byte(got.out), &r); err != nil || len(r.Differences) != 2 || got.code != 1 {
		t.Errorf("%+v, %v", got, err)
	}
	if got := run(t, "recount", "--check", "--data", t.TempDir()); got.code != exit.CannotRun {
		t.Errorf("without data: %+v", got)
	}
}

// Without a running server there is no cache inside it.
func TestRecountWithoutServer(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	run(t, "user", "add", "alice", "--password", "x", "--data", data)
	got := run(t, "recount", "--check", "--data", data)
	if got.code != 0 || !strings.Contains(got.out, "nothing to compare") {
		t.Errorf("%+v", got)
	}
}
