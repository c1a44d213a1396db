package admin

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"teamtalk/cmd/teamtalk/internal/exit"
	"teamtalk/db_proxy/dbproxy"
	"teamtalk/internal/im"
)

// result is what a command line came to.
type result struct {
	out  string
	code int
	err  string
}

// run executes a command line below "teamtalk".
func run(t *testing.T, args ...string) result {
	t.Helper()
	root := &cobra.Command{Use: "teamtalk", SilenceErrors: true, SilenceUsage: true}
	root.AddCommand(UserCommand(), GroupCommand(), TraceCommand(), RecountCommand())
	var out bytes.Buffer
	root.SetArgs(args)
	root.SetOut(&out)
	root.SetErr(&out)
	err := root.ExecuteContext(t.Context())
	r := result{out: out.String(), code: exit.Code(err)}
	if err != nil {
		r.err = Explain(err)
	}
	return r
}

// served answers on the socket of a new data folder until the test ends, as
// "teamtalk serve" does.
func served(t *testing.T) string {
	t.Helper()
	data := t.TempDir()
	b, closeBackend, err := (&target{data: data}).open(t.Context(), true)
	if err != nil {
		t.Fatal(err)
	}
	l, err := Listen(t.Context(), data)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- Serve(ctx, l, b, slog.New(slog.DiscardHandler)) }()
	t.Cleanup(func() {
		cancel()
		if err := errors.Join(<-ended, closeBackend()); err != nil {
			t.Error(err)
		}
	})
	info, err := os.Stat(filepath.Join(data, SocketFile))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("socket %v, %v", info, err)
	}
	return data
}

func TestAccounts(t *testing.T) {
	t.Parallel()
	folders := map[string]func(*testing.T) string{
		"direct": func(t *testing.T) string {
			t.Helper()
			return filepath.Join(t.TempDir(), "new")
		},
		"by socket": served,
	}
	for name, folder := range folders {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			data := folder(t)
			steps := []struct {
				args string
				want result
			}{
				{"user add alice --password secret", result{"1\talice\n", 0, ""}},
				{"user add alice --password secret", result{"1\talice\n", 3, "user alice exists; left alone"}},
				{"user add bob --nick Bobby --password secret", result{"2\tbob\n", 0, ""}},
				{"user add --prefix u --count 3 --password secret", result{"3\tu1\n4\tu2\n5\tu3\n", 0, ""}},
				{"user add --prefix u --count 2 --from 3 --password x", result{
					"5\tu3\n6\tu4\n", 3, "1 of 2 accounts existed; left alone",
				}},
				{"user disable u4", result{}},
				{"user disable nobody", result{"", 1, `no user "nobody"`}},
				{"user list", result{
					"1\talice\talice\tactive\n2\tbob\tBobby\tactive\n3\tu1\tu1\tactive\n4\tu2\tu2\tactive\n" +
						"5\tu3\tu3\tactive\n6\tu4\tu4\tdisabled\n", 0, "",
				}},
				{"user enable u4", result{}},
				{"user passwd alice --password other", result{}},
				{"user passwd nobody --password other", result{"", 1, `no user "nobody"`}},
				{"group add everyone --members alice,bob --creator alice", result{"1\teveryone\n", 0, ""}},
				{"group add everyone --members alice", result{"1\teveryone\n", 3, "group everyone exists; left alone"}},
				{"group add some --members alice,nobody", result{"", 1, `no user "nobody"`}},
				{"group add two --type tmp --members alice,bob --json", result{`{"id":2,"name":"two"}` + "\n", 0, ""}},
				{"user add bob --json --password x", result{
					`[{"id":2,"name":"bob","nick":"bob","status":"active","disabled":false,"existed":true}]` + "\n", 3, "user bob exists; left alone",
				}},
			}
			for _, step := range steps {
				if got := run(t, append(strings.Fields(step.args), "--data", data)...); got != step.want {
					t.Errorf("%s:\n got %+v\nwant %+v", step.args, got, step.want)
				}
			}
		})
	}
}

func TestBadUsage(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	tests := map[string]string{
		"user":                                     "say what to do",
		"user dance":                               "unknown command",
		"user add":                                 "give a NAME",
		"user add a b":                             "accepts at most 1",
		"user add a":                               "no password",
		"user add a --prefix u --password x":       "exclude each other",
		"user add --prefix u --password x":         "--count must be",
		"user add --prefix u --count 0":            "--count must be",
		"user add --nick n --prefix u --count 2":   "--nick goes with",
		"user passwd":                              "accepts 1 arg",
		"group add":                                "accepts 1 arg",
		"group add g":                              "needs a NAME and --members",
		"group add g --members a --type x":         "--type is normal or tmp",
		"user list --data x --config y":            "exclude each other",
		"user list --config /does/not/exist.conf":  "exist",
		"user add a --password-file /no --data /x": "password file",
	}
	for args, want := range tests {
		got := run(t, strings.Fields(args)...)
		if !strings.Contains(got.err, want) || got.code == 0 {
			t.Errorf("%s: %+v, want %q", args, got, want)
		}
	}
	got := run(t, "user", "list", "--data", data)
	if got.code != exit.Failed || !strings.Contains(got.err, "there is no data in") {
		t.Errorf("list of an empty folder: %+v", got)
	}
	if _, err := os.Stat(filepath.Join(data, DataFile)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("list made a data file: %v", err)
	}
}

func TestConfigFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "dbproxyserver.conf")
	text := "ListenIP=127.0.0.1\nListenPort=10600\naesKey=12345678901234567890123456789012\nStoreDriver=sqlite\n" +
		"StorePath=" + filepath.Join(dir, "some.db") + "\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := run(t, "user", "add", "alice", "--password", "x", "--config", path); got.out != "1\talice\n" {
		t.Errorf("got %+v", got)
	}
}

func TestFolderInUse(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	_, closeBackend, err := (&target{data: data}).open(t.Context(), true)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = closeBackend() }()
	got := run(t, "user", "list", "--data", data)
	if got.code != exit.Failed || !strings.Contains(got.err, "in use by process") || strings.Contains(got.err, "\n") {
		t.Errorf("got %+v", got)
	}
}

func TestBulk(t *testing.T) {
	t.Parallel()
	data := served(t)
	got := run(t, "user", "add", "--prefix", "u", "--count", "2000", "--password", "x", "--data", data)
	if got.code != 0 || strings.Count(got.out, "\n") != 2000 || !strings.HasSuffix(got.out, "\tu2000\n") {
		t.Errorf("code %d, %d lines, %s", got.code, strings.Count(got.out, "\n"), got.err)
	}
}

func TestExplain(t *testing.T) {
	t.Parallel()
	inner := im.Wrap(im.Unavailable, "store: open the lock file", errors.New("permission denied"))
	tests := map[string]error{
		"open database: open the lock file: permission denied": fmt.Errorf("open database: %w", inner),
		"plain two":      errors.New("plain\ntwo"),
		`no user "x"`:    im.Errorf(im.NotFound, `no user "x"`),
		"no such column": im.Errorf(im.Internal, "no such column"),
	}
	for want, err := range tests {
		if got := Explain(err); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	var _ Backend = (*dbproxy.Admin)(nil)
}
