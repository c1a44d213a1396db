//go:build unix

package rolemain_test

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"teamtalk/internal/config"
	"teamtalk/internal/obs"
	"teamtalk/internal/rolemain"
	"teamtalk/internal/secret"
	"teamtalk/internal/testenv"
)

// roleConfig is the smallest configuration a role can have.
type roleConfig struct {
	config.Process
	mode     string
	password secret.Value
}

var keys = config.Join(config.Keys{
	{Name: "ListenPort", Kind: config.Port, Required: true, Help: "h"},
	{Name: "Mode", Kind: config.String, Help: "h"},
	{Name: "Password", Kind: config.Secret, Help: "h"},
	{Name: "Token", Kind: config.Secret, Help: "h"},
	{Name: "aesKey", Kind: config.Secret, Fixed: true, Help: "h"},
}, config.ProcessKeys)

// TestMain runs a role instead of the tests when told so: the tests start it
// as a process.
func TestMain(m *testing.M) {
	if os.Getenv("RUN_ROLE") == "" {
		os.Exit(m.Run())
	}
	os.Exit(rolemain.Main(rolemain.Role[roleConfig]{
		Name: cmp.Or(os.Getenv("ROLE_NAME"), "test_server"), ConfigFile: "testserver.conf",
		Load: func(path string, options ...config.Option) (roleConfig, error) {
			f, err := config.Load(path, keys, options...)
			if err != nil {
				return roleConfig{}, err
			}
			process, err := f.Process("ListenPort")
			return roleConfig{process, f.String("Mode"), f.Secret("Password")}, err
		},
		New: func(ctx context.Context, cfg roleConfig, o *obs.Obs) (rolemain.Runner, error) {
			switch cfg.mode {
			case "fail":
				return nil, errors.New("no database")
			case "wait":
				fmt.Println("http://" + o.Addr())
				<-ctx.Done()
				return nil, fmt.Errorf("open database: %w", ctx.Err())
			}
			return runner{cfg.mode, o.Addr(), cfg.password}, nil
		},
	}))
}

type runner struct {
	mode, health string
	password     secret.Value
}

// Renew is rolemain.Renewer's.
func (r runner) Renew() error {
	fmt.Println("renewed with", r.password.Reveal())
	return nil
}

func (r runner) Run(ctx context.Context) error {
	if r.mode == "end" {
		return nil
	}
	fmt.Println("http://" + r.health) // the test waits for this line
	<-ctx.Done()
	if r.mode == "hang" {
		fmt.Println("hanging")
		select {}
	}
	return nil
}

// role is a started process of the test binary.
type role struct {
	*exec.Cmd
	out    *bufio.Reader
	stderr *testenv.Output
}

func start(t *testing.T, dir string, args ...string) *role {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	r := &role{Cmd: exec.Command(self, args...), stderr: &testenv.Output{}}
	r.Dir, r.Env, r.Stderr = dir, append(os.Environ(), "RUN_ROLE=1"), r.stderr
	stdout, err := r.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	r.out = bufio.NewReader(stdout)
	if err := r.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if r.ProcessState == nil {
			_ = r.Process.Kill()
			_ = r.Wait()
		}
	})
	return r
}

func (r *role) line(t *testing.T) string {
	t.Helper()
	line, err := r.out.ReadString('\n')
	if err != nil {
		t.Fatalf("%v\n%s", err, r.stderr)
	}
	return strings.TrimSpace(line)
}

func (r *role) signal(t *testing.T, s os.Signal) {
	t.Helper()
	if err := r.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
}

// ends waits for the process and compares its code and last output.
func (r *role) ends(t *testing.T, code int, stderr string) {
	t.Helper()
	_ = r.Wait()
	if got := r.ProcessState.ExitCode(); got != code || !strings.HasSuffix(r.stderr.String(), stderr) {
		t.Errorf("code %d, want %d and %q after:\n%s", got, code, stderr, r.stderr)
	}
}

// folder makes a working folder with a configuration on a free health port.
func folder(t *testing.T, more string) string {
	t.Helper()
	dir := t.TempDir()
	text := "ListenPort=8000\nHealthListen=127.0.0.1:" + strconv.Itoa(freePort(t)) + "\n" + more
	if err := os.WriteFile(filepath.Join(dir, "testserver.conf"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestStopsOnSignal(t *testing.T) {
	t.Parallel()
	for _, s := range []os.Signal{syscall.SIGTERM, syscall.SIGINT} {
		t.Run(s.String(), func(t *testing.T) {
			t.Parallel()
			dir := folder(t, "ListenPort=1\n")
			r := start(t, dir)
			health := r.line(t)
			answer, err := http.Get(health + "/readyz")
			if err != nil || answer.StatusCode != http.StatusOK {
				t.Errorf("%v %v", answer, err)
			}
			pid, err := os.ReadFile(filepath.Join(dir, "test_server.pid"))
			if err != nil || string(pid) != strconv.Itoa(r.Process.Pid)+"\n" {
				t.Errorf("%q %v", pid, err)
			}
			r.signal(t, syscall.SIGUSR1)
			r.signal(t, s)
			r.ends(t, 0, "msg=stopped role=test_server\n")
			if !strings.Contains(r.stderr.String(), "ListenPort: is given again") {
				t.Error("the warning is not logged")
			}
			if _, err := os.Stat(filepath.Join(dir, "test_server.pid")); err == nil {
				t.Error("test_server.pid is left")
			}
		})
	}
}

// With --lenient a role starts with the file of another installation, and warns
// of each key that it does not know.
func TestLenient(t *testing.T) {
	t.Parallel()
	r := start(t, folder(t, "WebPort=1\nMoode=x\n"), "--lenient")
	r.line(t)
	r.signal(t, syscall.SIGTERM)
	r.ends(t, 0, "msg=stopped role=test_server\n")
	for _, want := range []string{":3: WebPort: unknown key, ignored", ":4: Moode: unknown key, ignored; did you mean Mode?"} {
		if !strings.Contains(r.stderr.String(), want) {
			t.Errorf("no warning %q in\n%s", want, r.stderr)
		}
	}
}

// TestHangupReadsTheLogLevel: SIGHUP ends nothing and takes the new level; a
// file with a fault changes nothing.
func TestHangupReadsTheLogLevel(t *testing.T) {
	t.Parallel()
	dir := folder(t, "")
	file := filepath.Join(dir, "testserver.conf")
	good, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	r := start(t, dir)
	r.line(t)
	waitLog := func(want string) {
		t.Helper()
		testenv.Eventually(t, time.Minute, func() bool { return strings.Contains(r.stderr.String(), want) }, "it logs %q", want)
	}
	waitLog("msg=ready")
	for _, step := range []struct{ text, log string }{
		{string(good) + "LogLevel=debug\n", "level=DEBUG"},
		{string(good) + "LogLevel=loud\n", "configuration not read again"},
	} {
		if err := os.WriteFile(file, []byte(step.text), 0o600); err != nil {
			t.Fatal(err)
		}
		r.signal(t, syscall.SIGHUP)
		waitLog(step.log)
	}
	r.signal(t, syscall.SIGTERM)
	r.ends(t, 0, "msg=stopped role=test_server\n")
}

// TestHangupTakesSecrets: everybody who holds a secret has the new one, and the
// log names what waits for the next start.
func TestHangupTakesSecrets(t *testing.T) {
	t.Parallel()
	dir := folder(t, "Password=first\naesKey=a\n")
	file := filepath.Join(dir, "testserver.conf")
	r := start(t, dir)
	r.line(t)
	testenv.Eventually(t, time.Minute, func() bool { return strings.Contains(r.stderr.String(), "msg=ready") }, "ready")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	next := strings.NewReplacer("Password=first", "Password=second", "aesKey=a", "aesKey=b").Replace(string(text)) +
		"Mode=other\nToken=x\n"
	if err := os.WriteFile(file, []byte(next), 0o600); err != nil {
		t.Fatal(err)
	}
	r.signal(t, syscall.SIGHUP)
	if got, want := r.line(t), "renewed with second"; got != want {
		t.Errorf("the role prints %q, want %q", got, want)
	}
	want := `msg="configuration read again" role=test_server level=INFO renewed=Password at_next_start=Mode,Token,aesKey`
	testenv.Eventually(t, time.Minute, func() bool { return strings.Contains(r.stderr.String(), want) }, "it logs %q", want)
	if strings.Contains(r.stderr.String(), "second") {
		t.Errorf("the log shows a secret:\n%s", r.stderr)
	}
	r.signal(t, syscall.SIGTERM)
	r.ends(t, 0, "msg=stopped role=test_server\n")
}

func TestStopsWhileOpening(t *testing.T) {
	t.Parallel()
	r := start(t, folder(t, "Mode=wait\n"))
	answer, err := http.Get(r.line(t) + "/readyz")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if body, err := io.ReadAll(answer.Body); string(body) != "opened: still opening\n" || answer.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("%d %q %v", answer.StatusCode, body, err)
	}
	r.signal(t, syscall.SIGTERM)
	r.ends(t, 0, "msg=stopped role=test_server\n")
}

func TestSecondStartInTheSameFolder(t *testing.T) {
	t.Parallel()
	dir := folder(t, "")
	first := start(t, dir)
	first.line(t)
	second := start(t, dir)
	want := fmt.Sprintf("test_server: another server (pid %d) runs in this folder: test_server.pid is locked\n",
		first.Process.Pid)
	second.ends(t, 1, want)
	first.signal(t, os.Kill) // leaves its file behind
	_ = first.Wait()
	third := start(t, dir)
	third.line(t)
	third.signal(t, syscall.SIGTERM)
	third.ends(t, 0, "")
}

// TestRolesShareAFolder: the commands of the README start all of them in one.
func TestRolesShareAFolder(t *testing.T) {
	dir := folder(t, "")
	first := start(t, dir)
	first.line(t)
	second := folder(t, "")
	t.Setenv("ROLE_NAME", "other_server")
	other := start(t, dir, "--config", filepath.Join(second, "testserver.conf"))
	other.line(t)
	for _, r := range []*role{first, other} {
		r.signal(t, syscall.SIGTERM)
		r.ends(t, 0, "")
	}
}

func TestSecondSignalEndsAtOnce(t *testing.T) {
	t.Parallel()
	r := start(t, folder(t, "Mode=hang\n"))
	r.line(t)
	r.signal(t, syscall.SIGTERM)
	r.line(t) // hanging
	r.signal(t, syscall.SIGTERM)
	r.ends(t, 1, "")
}

func TestHangingStopIsBounded(t *testing.T) {
	t.Parallel()
	r := start(t, folder(t, "Mode=hang\nShutdownTimeout=1s\n"))
	r.line(t)
	r.signal(t, syscall.SIGTERM)
	r.ends(t, 1, "after=1s\n")
}

func TestFailures(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		more   string
		args   []string
		code   int
		stderr string
	}{
		"role fails":     {"Mode=fail\n", nil, 1, "msg=stopped role=test_server error=\"no database\"\n"},
		"role ends":      {"Mode=end\n", nil, 1, "msg=stopped role=test_server error=\"stopped by itself\"\n"},
		"bad file":       {"Moode=x\nListenPort2=1\n", nil, 2, ":3: Moode: unknown key; did you mean Mode?\ntestserver.conf:4: ListenPort2: unknown key; did you mean ListenPort?\n"},
		"other file":     {"", []string{"--config", "none.conf"}, 2, "none.conf: no such file or directory\n"},
		"unknown flag":   {"", []string{"--what"}, 2, "print the version and exit\n"},
		"argument":       {"", []string{"what"}, 2, "print the version and exit\n"},
		"health address": {"HealthListen=192.0.2.1:80\n", nil, 1, "cannot assign requested address\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := folder(t, c.more)
			if strings.HasPrefix(c.more, "HealthListen") { // the first of two counts
				text := "ListenPort=8000\n" + c.more
				if err := os.WriteFile(filepath.Join(dir, "testserver.conf"), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			start(t, dir, c.args...).ends(t, c.code, c.stderr)
		})
	}
}

func TestVersion(t *testing.T) {
	t.Parallel()
	for _, flag := range []string{"-v", "--version"} {
		r := start(t, t.TempDir(), flag) // needs no configuration
		if line := r.line(t); !strings.HasPrefix(line, "test_server ") || !strings.Contains(line, " go1.") {
			t.Errorf("%s: %s", flag, line)
		}
		r.ends(t, 0, "")
	}
}

func freePort(t *testing.T) int { t.Helper(); return testenv.FreePorts(t, 1)[0] }
