package bench

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"teamtalk/client/clienttest"
	"teamtalk/internal/wire"
)

// outcome is what one command printed and how it ended.
type outcome struct {
	code int
	out  string
	res  Result
}

// command runs "bench args..." as a process would. A quick run in which a
// loaded machine measured nothing is repeated, longer.
func command(t *testing.T, args ...string) outcome {
	t.Helper()
	o := once(t, args...)
	if at := slices.Index(args, quickly); at > 0 && o.code == 0 && o.measured() == 0 {
		args = slices.Clone(args)
		args[at] = "5s"
		o = once(t, args...)
	}
	return o
}

// measured is how many answers counted.
func (o outcome) measured() float64 {
	n := o.res.AckedPerS
	for _, op := range o.res.Operations {
		n += float64(op.Count)
	}
	return n
}

func once(t *testing.T, args ...string) outcome {
	t.Helper()
	file := filepath.Join(t.TempDir(), "result.json")
	cmd := Command()
	var out bytes.Buffer
	cmd.SetOut(&out)
	cmd.SetErr(&out)
	if len(args) > 1 {
		args = append(args, "--json", file)
	}
	cmd.SetArgs(args)
	err := cmd.ExecuteContext(t.Context())
	o := outcome{out: out.String(), res: Result{Traffic: &Traffic{}}}
	if err != nil {
		coded, ok := errors.AsType[*ExitError](err)
		if !ok {
			t.Fatalf("error without exit code: %v", err)
		}
		o.code, o.out = coded.ExitCode(), o.out+err.Error()
	}
	if data, err := os.ReadFile(file); err == nil {
		if err := json.Unmarshal(data, &o.res); err != nil {
			t.Fatal(err)
		}
	}
	return o
}

// quickly is how long a quick run measures.
const quickly = "150ms"

// quick are the flags of a short run.
func quick(mode string, more ...string) []string {
	return append([]string{
		mode, "--password", clienttest.Password, "--duration", quickly, "--warm-up", "50ms", "--grace", "2s",
	}, more...)
}

func TestClean(t *testing.T) {
	t.Parallel()
	self := self()
	for name, args := range map[string][]string{
		"window 1":   quick("single", "--count", "4", "--pids", self),
		"window 8":   quick("single", "--count", "10", "--window", "8", "--size", "3068", "--pids", self),
		"with rate":  quick("single", "--count", "6", "--window", "4", "--rate", "500", "--pids", self),
		"one writes": quick("single", "--count", "2", "--senders", "1", "--pids", self),
		"group":      quick("group", "--count", "4", "--window", "2", "--pids", self),
		"two write":  quick("group", "--count", "6", "--senders", "2", "--pids", self),
		"group rate": quick("group", "--count", "3", "--rate", "300", "--pids", self),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := clienttest.New()
			a, b := n.Listen(t), n.Listen(t)
			for where, more := range map[string][]string{
				"addr": {"--addr", a + "," + b}, "login": {"--login", n.LoginServer(t, a, b)},
			} {
				o := command(t, append(args, more...)...)
				r := o.res
				if o.code != 0 || r.Acked == 0 || r.Acked != r.Sent || r.AckedPerS == 0 || r.AckMS.P50 == 0 {
					t.Errorf("%s: exit code %d: %+v\n%s", where, o.code, r, o.out)
				}
				receivers := int64(1)
				if r.Mode == "group" {
					receivers = int64(r.Conns) - 1
				}
				if r.Delivered != r.Acked*receivers {
					t.Errorf("%s: %d acknowledged, %d delivered", where, r.Acked, r.Delivered)
				}
				if len(r.Addrs) != 2 || r.RSS["bench"] == 0 {
					t.Errorf("%s: addresses %v, memory %v", where, r.Addrs, r.RSS)
				}
				if !strings.Contains(o.out, "clean") {
					t.Errorf("%s: no verdict in the table:\n%s", where, o.out)
				}
			}
		})
	}
}

// TestFaults lets the server mistreat one message and expects the counter of
// exactly that.
func TestFaults(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		fault clienttest.Fault
		want  Traffic
	}{
		"lost":       {clienttest.Fault{Lose: 7}, Traffic{Lost: 1}},
		"duplicated": {clienttest.Fault{Duplicate: 7}, Traffic{Duplicated: 1}},
		"reordered":  {clienttest.Fault{Reorder: 7}, Traffic{Reordered: 1}},
		"not stored": {clienttest.Fault{Forget: 7}, Traffic{ReadbackMissing: 1}},
		"two ids":    {clienttest.Fault{Double: 7}, Traffic{Duplicated: 1, ReadbackDuplicate: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := clienttest.New()
			n.Fault = tc.fault
			// One pair with room for two messages of each: the seventh has a successor.
			o := command(t, quick("single", "--count", "2", "--window", "3", "--addr", n.Listen(t))...)
			r, want := o.res, tc.want
			if o.code != exitViolation {
				t.Errorf("exit code %d, want 1\n%s", o.code, o.out)
			}
			if r.Lost != want.Lost || r.Duplicated != want.Duplicated || r.Reordered != want.Reordered ||
				r.ReadbackMissing != want.ReadbackMissing || r.ReadbackDuplicate != want.ReadbackDuplicate ||
				r.Mismatched != 0 || r.Misdelivered != 0 || r.Corrupt != 0 {
				t.Errorf("found: %s\n%+v", r.Violations(), r)
			}
		})
	}
}

// TestGroupFaults: what every other terminal misses counts for each of them.
func TestGroupFaults(t *testing.T) {
	t.Parallel()
	n := clienttest.New()
	n.Fault.Lose = 5
	o := command(t, quick("group", "--count", "3", "--addr", n.Listen(t))...)
	if o.code != exitViolation || o.res.Lost != 5 {
		t.Errorf("exit code %d, lost %d, want 1 and 5", o.code, o.res.Lost)
	}
}

// TestUnacknowledged is no violation, but is reported.
func TestUnacknowledged(t *testing.T) {
	t.Parallel()
	n := clienttest.New()
	n.Fault.Silent = 3
	args := quick("single", "--count", "2", "--window", "4", "--addr", n.Listen(t))
	o := command(t, args...)
	if o.code != 0 || o.res.Unacked != 1 || o.res.Acked != o.res.Sent-1 {
		t.Errorf("exit code %d, %d unacknowledged of %d\n%s", o.code, o.res.Unacked, o.res.Sent, o.out)
	}
}

func TestRefuses(t *testing.T) {
	t.Parallel()
	n := clienttest.New()
	addr := n.Listen(t)
	for name, tc := range map[string]struct {
		args []string
		want string
	}{
		"no mode":        {[]string{}, "name a mode"},
		"unknown mode":   {[]string{"triple"}, "single, group, login"},
		"nowhere":        {quick("single"), "--login or --addr"},
		"both":           {quick("single", "--addr", addr, "--login", "x"), "--login or --addr"},
		"one user":       {quick("single", "--addr", addr, "--count", "1"), "--count"},
		"window":         {quick("single", "--addr", addr, "--window", "0"), "--window"},
		"small text":     {quick("single", "--addr", addr, "--size", "10"), "--size"},
		"bad pids":       {quick("single", "--addr", addr, "--pids", "db"), "not name=pid"},
		"no such pid":    {quick("single", "--addr", addr, "--pids", "db=999999999"), "measure db"},
		"unknown flag":   {quick("single", "--nonsense"), "unknown flag"},
		"no server":      {quick("single", "--addr", "127.0.0.1:1", "--count", "2"), "connect"},
		"wrong password": {quick("single", "--addr", addr, "--password", "x", "--count", "2"), "refused"},
		"writers":        {quick("single", "--addr", addr, "--count", "2", "--senders", "3"), "--senders"},
		"no group right": {quick("group", "--addr", addr, "--count", "2", "--senders", "3"), "--senders"},
	} {
		o := command(t, tc.args...)
		if o.code != exitFailure || !strings.Contains(o.out, tc.want) {
			t.Errorf("%s: exit code %d, want 2 and %q in:\n%s", name, o.code, tc.want, o.out)
		}
	}
}

// TestDisconnect: a run whose connections die is no run.
func TestDisconnect(t *testing.T) {
	t.Parallel()
	n := clienttest.New()
	var messages atomic.Int64
	n.Hook = func(_ *clienttest.Conn, pdu wire.PDU) bool {
		if pdu.Command == wire.MsgData && messages.Add(1) == 20 {
			n.DropAll()
		}
		return false
	}
	addr := n.Listen(t)
	o := command(t, quick("single", "--count", "2", "--addr", addr)...)
	if o.code != exitFailure {
		t.Errorf("exit code %d, want 2\n%s", o.code, o.out)
	}
}
