package files

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"teamtalk/client/transfer"
	"teamtalk/cmd/teamtalk/internal/exit"
	"teamtalk/file_server/fileservertest"
	"teamtalk/internal/im"
)

// toReceiver is the conversation of the tests.
func toReceiver() Conversation {
	return Conversation{Kind: im.Single, Session: uint32(fileservertest.Receiver)}
}

// newFile makes a file to be sent; notes are kept apart from those of others.
func newFile(t *testing.T, size int) string {
	t.Helper()
	dir := t.TempDir()
	t.Setenv("XDG_CACHE_HOME", filepath.Join(dir, "cache"))
	t.Setenv("HOME", dir)
	path := filepath.Join(dir, "a.bin")
	if err := os.WriteFile(path, bytes.Repeat([]byte("teamtalk"), size/8), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func notes(t *testing.T) []string {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	found, err := filepath.Glob(filepath.Join(cache, "teamtalk", "uploads", "*"))
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// A command that is repeated goes on with the same file; once that has arrived,
// the next one sends another.
func TestSendAgain(t *testing.T) { //nolint:paralleltest // sets the environment
	const size = 4 << 20
	server, path := fileservertest.Start(t), newFile(t, size)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	o := server.Up()
	o.Progress = func(done, _ int64) {
		if done > size/2 {
			cancel()
		}
	}
	first, err := Send(ctx, "alice", toReceiver(), path, o)
	if kept := notes(t); !errors.Is(err, context.Canceled) || first.ID == "" || len(kept) != 1 {
		t.Fatalf("%+v, %v; notes %v", first, err, kept)
	}
	second, err := Send(t.Context(), "alice", toReceiver(), path, server.Up())
	if err != nil || second.ID != first.ID || second.Msg != fileservertest.MsgID || len(notes(t)) != 0 {
		t.Fatalf("%+v, %v; notes %v", second, err, notes(t))
	}
	third, err := Send(t.Context(), "alice", toReceiver(), path, server.Up())
	if err != nil || third.ID == first.ID || third.Sum != first.Sum {
		t.Errorf("%+v, %v", third, err)
	}
}

// Notes are of one file, user and conversation. What was refused for good is
// begun anew, what had no room is not.
func TestNotes(t *testing.T) { //nolint:paralleltest // sets the environment
	server, path := fileservertest.Start(t, "UserQuota=1000"), newFile(t, 4096)
	if _, err := Send(t.Context(), "alice", toReceiver(), path, server.Up()); !errors.Is(err, transfer.ErrRefused) ||
		len(notes(t)) != 0 {
		t.Errorf("over the quota: %v; notes %v", err, notes(t))
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	find := func(user string, conv Conversation, path string) *note {
		t.Helper()
		n, err := noteFor(user, conv, path, info)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	kept := find("alice", toReceiver(), path)
	if err := kept.save("id", "sum"); err != nil {
		t.Fatal(err)
	}
	if n := find("alice", toReceiver(), path); n.ID != "id" || n.Sum != "sum" {
		t.Errorf("kept %+v", n)
	}
	for what, n := range map[string]*note{
		"of bob": find("bob", toReceiver(), path), "to a group": find("alice", Conversation{im.Group, 2}, path),
		"of another": find("alice", toReceiver(), path+"2"),
	} {
		if n.ID != "" {
			t.Errorf("%s: %+v", what, n)
		}
	}
	if err := os.WriteFile(kept.path, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if n := find("alice", toReceiver(), path); n.ID != "" {
		t.Errorf("a damaged note is %+v", n)
	}
}

// Without a terminal, progress is a line now and then.
func TestLines(t *testing.T) {
	t.Parallel()
	now := time.Unix(0, 0)
	for _, quiet := range []bool{false, true} {
		var out strings.Builder
		b := newBar(&out, quiet, "")
		b.clock, b.said = func() time.Time { return now }, now
		b.call("a.bin")
		for i := range 12 {
			b.set(int64(i)<<20, 12<<20)
			now = now.Add(time.Second)
		}
		b.set(0, 0)
		b.end(nil)
		want := "a.bin: 5.0 MiB of 12.0 MiB (41 %)\na.bin: 10.0 MiB of 12.0 MiB (83 %)\n"
		if quiet {
			want = ""
		}
		if out.String() != want {
			t.Errorf("quiet %v: %q", quiet, out.String())
		}
	}
}

// Bad arguments are told apart from what failed.
func TestArguments(t *testing.T) {
	path := newFile(t, 8)
	t.Setenv("TEAMTALK_PASSWORD", "secret")
	for what, c := range map[string]struct {
		command *cobra.Command
		args    []string
		code    int
		says    string
	}{
		"no user":          {SendCommand(), []string{path, "--to", "bob"}, exit.Usage, "--user is missing"},
		"nobody":           {SendCommand(), []string{path, "--user", "alice"}, exit.Usage, "either --to or --group"},
		"two receivers":    {GetCommand(), []string{"--user", "a", "--from", "b", "--group", "c"}, exit.Usage, "either --from or --group"},
		"a folder":         {SendCommand(), []string{filepath.Dir(path), "--user", "a", "--to", "b"}, exit.Usage, "not a regular file"},
		"no file":          {SendCommand(), []string{path + "2", "--user", "a", "--to", "b"}, exit.Failed, "no such file"},
		"no password file": {GetCommand(), []string{"--user", "a", "--from", "b", "--password-file", path + "2"}, exit.Failed, "password file"},
		"no server":        {GetCommand(), []string{"--user", "a", "--from", "b", "--addr", "127.0.0.1:1"}, exit.Failed, "refused"},
		"nobody collects":  {CollectCommand(), []string{"--server", "127.0.0.1:1"}, exit.Failed, "refused"},
		"collect what":     {CollectCommand(), []string{"--server", "no address"}, exit.Usage, "HOST:PORT"},
	} {
		c.command.SetArgs(c.args)
		c.command.SetOut(io.Discard)
		c.command.SetErr(io.Discard)
		c.command.SilenceErrors, c.command.SilenceUsage = true, true
		err := c.command.ExecuteContext(t.Context())
		if exit.Code(err) != c.code || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: code %d, %v", what, exit.Code(err), err)
		}
	}
}
