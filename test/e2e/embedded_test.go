//go:build unix

package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"teamtalk/client"
	"teamtalk/internal/im"
	"teamtalk/internal/procs"
	"teamtalk/internal/testenv"
	"teamtalk/test/e2e/dialog"
)

// embedded is "teamtalk serve" as a process, and a world for scripts: every
// server of a script is this one.
type embedded struct {
	*procs.Server
	data string
	base int
}

// offsets are the distances of its ports from the base port.
var offsets = []int{0, 8, 50, 80, 100, 130, 200, 250, 400, 450, 600, 601, 650, 700, 2600, 2650, 3379} //nolint:gochecknoglobals // a table

// basePort takes a base port with all the ports that follow from it.
func basePort(t *testing.T) int {
	t.Helper()
	return testenv.FreeBase(t, offsets...)
}

// serve starts an embedded server for the length of a test.
func serve(t *testing.T) *embedded {
	t.Helper()
	dir := t.TempDir()
	e := &embedded{data: filepath.Join(dir, "data"), base: basePort(t)}
	e.Server = procs.NewServer(procs.Config{
		Name: "teamtalk serve", Path: filepath.Join(bin, "teamtalk"), Dir: dir,
		Args:    []string{"serve", "--data", e.data, "--base-port", strconv.Itoa(e.base), "--no-demo"},
		LogFile: filepath.Join(dir, "out"),
	}, e.addr(0), func(ctx context.Context) error {
		loc, err := client.Locate(ctx, e.addr(80))
		if err == nil && loc.Addr != e.addr(0) {
			err = fmt.Errorf("login_server names %s", loc.Addr)
		}
		return err
	})
	if err := e.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := e.Stop(ctx); err != nil {
			t.Error(err)
		}
		if code := e.Process().ExitCode(); code != 0 {
			t.Errorf("exit code %d\n%s", code, e.Process().LogTail())
		}
		if t.Failed() {
			t.Log(e.Process().LogTail())
		}
	})
	return e
}

func (e *embedded) addr(offset int) string {
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(e.base+offset))
}

// Addr implements dialog.World.
func (e *embedded) Addr(string) (string, error) { return e.addr(0), nil }

// CreateUsers implements dialog.World, by the command line while serve runs.
func (e *embedded) CreateUsers(ctx context.Context, accounts []string) ([]im.UserID, error) {
	ids := make([]im.UserID, len(accounts))
	for i, name := range accounts {
		out, err := e.teamtalk(ctx, "user", "add", name, "--password", dialog.Password)
		if err != nil {
			return nil, err
		}
		id, printed, _ := strings.Cut(strings.TrimSpace(out), "\t")
		n, err := strconv.ParseUint(id, 10, 32)
		if err != nil || printed != name {
			return nil, fmt.Errorf("user add prints %q", out)
		}
		ids[i] = im.UserID(n)
	}
	return ids, nil
}

// teamtalk runs the command line program on the data folder.
func (e *embedded) teamtalk(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, filepath.Join(bin, "teamtalk"), append(args, "--data", e.data)...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("teamtalk %s: %w: %s", strings.Join(args, " "), err, stderr.String())
	}
	return stdout.String(), nil
}

// embeddedDeeds are what a script can do to it. The data file belongs to the
// process, so nobody counts rows there: scripts look at history as well.
var embeddedDeeds = []string{"users", "stored", "teamtalk", "group", "kill", "restart"} //nolint:gochecknoglobals // a table

// Do implements dialog.World.
func (e *embedded) Do(ctx context.Context, words []string) (string, error) {
	switch words[0] {
	case "stored":
		return "", nil
	case "teamtalk":
		return e.teamtalk(ctx, words[1:]...)
	case "kill":
		return "", errors.Join(e.Kill(), e.Start(ctx))
	case "restart":
		return "", errors.Join(e.Stop(ctx), e.Start(ctx))
	}
	return "", fmt.Errorf("nobody knows how to %q", words[0])
}

// TestEmbedded plays on "teamtalk serve" the scripts of dialogs/embedded, one
// server each, and on one more those that a cluster of the default size plays.
func TestEmbedded(t *testing.T) {
	t.Parallel()
	own, err := filepath.Glob("dialogs/embedded/*.dialog")
	if err != nil || len(own) == 0 {
		t.Fatalf("no dialogs: %v", err)
	}
	for i, file := range own {
		s := parse(t, file)
		t.Run(title(s), func(t *testing.T) {
			t.Parallel()
			playOn(t, s, serve(t), "e"+strconv.Itoa(i))
		})
	}
	all, err := filepath.Glob("dialogs/*.dialog")
	if err != nil {
		t.Fatal(err)
	}
	t.Run("shared", func(t *testing.T) {
		t.Parallel()
		e := serve(t)
		for i, file := range all {
			s := parse(t, file)
			if s.Uses != nil || slices.ContainsFunc(s.Deeds(), func(d string) bool {
				return !slices.Contains(embeddedDeeds, d)
			}) {
				continue
			}
			t.Run(title(s), func(t *testing.T) {
				t.Parallel()
				playOn(t, s, e, "m"+strconv.Itoa(i))
			})
		}
	})
}

// TestServeOnATerminalThatCloses: it ends in order, as it does by Ctrl-C.
func TestServeOnATerminalThatCloses(t *testing.T) {
	t.Parallel()
	hangups := make(chan os.Signal, 1) // who ignores it hands that down to those they start
	signal.Notify(hangups, syscall.SIGHUP)
	defer signal.Stop(hangups)
	e := serve(t)
	if err := e.Process().Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	select {
	case <-e.Process().Exited(): // serve looks at the exit code
	case <-time.After(time.Minute):
		t.Error("it goes on")
	}
}

// TestServeRefuses: what cannot start says why in one line.
func TestServeRefuses(t *testing.T) {
	t.Parallel()
	e := serve(t)
	other := strconv.Itoa(basePort(t))
	tests := map[string]struct {
		args []string
		code int
		want string
	}{
		"the folder is in use": {[]string{"--data", e.data, "--base-port", other}, 1, "is in use by another"},
		"the port is taken": {
			[]string{"--data", filepath.Join(t.TempDir(), "d"), "--base-port", strconv.Itoa(e.base)}, 1, "is taken",
		},
		"beyond this machine with demo accounts": {
			[]string{"--data", filepath.Join(t.TempDir(), "d"), "--base-port", other, "--listen", "0.0.0.0", "--advertise", "127.0.0.1"},
			1, "--no-demo",
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			code, output := run(t, "", "teamtalk", append([]string{"serve"}, test.args...)...)
			if code != test.code || !strings.Contains(output, test.want) || strings.Count(output, "\n") != 1 {
				t.Errorf("exit code %d, want %d and one line with %q: %s", code, test.code, test.want, output)
			}
		})
	}
}

// run runs a binary that is expected to end by itself, and returns its exit
// code and all it wrote.
func run(t *testing.T, dir, name string, args ...string) (int, string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), dialog.Patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(bin, name), args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if _, exited := errors.AsType[*exec.ExitError](err); err != nil && !exited {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), string(out)
}

// TestDemo: the first start makes accounts with which two people chat at once.
func TestDemo(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	base := basePort(t)
	var output testenv.Output
	ctx, cancel := context.WithCancel(t.Context())
	cmd := exec.CommandContext(ctx, filepath.Join(bin, "teamtalk"),
		"serve", "--data", filepath.Join(dir, "data"), "--base-port", strconv.Itoa(base))
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		_ = cmd.Wait() // it was killed
	})
	want := fmt.Sprintf("ready msg=127.0.0.1:%d login=http://127.0.0.1:%d/msg_server\n", base, base+80)
	deadline, stop := context.WithTimeout(ctx, dialog.Patience)
	defer stop()
	for tick := time.Tick(10 * time.Millisecond); !strings.HasSuffix(output.String(), want); {
		select {
		case <-tick:
		case <-deadline.Done():
			t.Fatalf("not ready: %s", output.String())
		}
	}
	got := make(chan string, 1)
	bob, err := client.Dial(deadline, client.Options{
		LoginURL: fmt.Sprintf("http://127.0.0.1:%d/msg_server", base+80), User: "bob", Password: "12345",
		Handler: func(_ *client.Client, e client.Event) {
			if m, ok := e.(*client.Message); ok {
				got <- m.Text()
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer bob.Close()
	alice, err := client.Dial(deadline, client.Options{
		Addr: fmt.Sprintf("127.0.0.1:%d", base), User: "alice", Password: "12345",
	})
	if err != nil {
		t.Fatal(err)
	}
	defer alice.Close()
	if id, err := alice.SendText(deadline, im.Single, uint32(bob.User()), "hello"); err != nil || id != 1 {
		t.Fatalf("id %d, %v", id, err)
	}
	select {
	case text := <-got:
		if text != "hello" {
			t.Errorf("bob got %q", text)
		}
	case <-deadline.Done():
		t.Error("bob got nothing")
	}
}
