//go:build linux

// Package readme runs the commands of the README's section on production as
// they stand there: with the ports and names of the samples, in one folder, on
// a MariaDB and a Redis that have nothing yet. For that it has a network of its
// own, in which every port is free.
package readme

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"teamtalk/internal/procs"
)

// inside is set in the process that has a network of its own.
const inside = "README_NETWORK"

// patience is for a broken program, not for a slow machine.
const patience = 5 * time.Minute

const root = "../.."

//nolint:gochecknoglobals // a constant
var roles = []string{
	"db_proxy", "route_server", "login_server", "msg_server", "file_server", "http_msg_server", "push_server",
}

// TestProduction starts itself again in a network of its own and passes on what
// that process says.
func TestProduction(t *testing.T) {
	t.Parallel()
	if os.Getenv(inside) != "" {
		production(t)
		return
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, "-test.run=^TestProduction$", "-test.v")
	cmd.Env = append(os.Environ(), inside+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	if uid := os.Getuid(); uid != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: uid, Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}}
	}
	if output, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
}

func production(t *testing.T) { //nolint:thelper // the body of TestProduction
	if err := loopbackUp(); err != nil {
		t.Fatalf("the loopback interface of the new network: %v", err)
	}
	folder := install(t)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	socket := databases(ctx, t)
	// The administrator's own configuration says where that MariaDB is.
	own := []byte("[client]\nsocket=" + socket + "\n")
	if err := os.WriteFile(filepath.Join(folder, ".my.cnf"), own, 0o600); err != nil {
		t.Fatal(err)
	}
	// A role that is left running ends with its group.
	cmd := exec.CommandContext(ctx, "bash", "-euo", "pipefail", "-c", script(t)+"\nwait\n")
	cmd.Dir = folder
	cmd.Env = append(os.Environ(), "HOME="+folder)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	t.Cleanup(func() {
		if cmd.Process != nil {
			_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // there is nobody, if all is well
		}
	})
	if output, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s\n%s", err, output, logs(folder))
	}
	sent, err := os.ReadFile(filepath.Join(folder, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	if received, err := os.ReadFile(filepath.Join(folder, "received.md")); err != nil || !bytes.Equal(received, sent) {
		t.Errorf("the file that was sent did not arrive: %d bytes of %d, %v", len(received), len(sent), err)
	}
	if left, _ := filepath.Glob(filepath.Join(folder, "*.pid")); len(left) > 0 {
		t.Errorf("roles that did not stop in order: %v", left)
	}
	if text := logs(folder); strings.Contains(text, "level=ERROR") {
		t.Errorf("a role failed at something:\n%s", text)
	}
}

// install makes the folder of an operator: the binaries, the samples and the
// README itself.
func install(t *testing.T) string {
	t.Helper()
	folder := t.TempDir()
	for _, name := range []string{"bin", "conf"} {
		if err := os.Mkdir(filepath.Join(folder, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	build := exec.CommandContext(t.Context(), "go", "build", "-o", filepath.Join(folder, "bin")+"/", "./cmd/teamtalk")
	for _, role := range roles {
		build.Args = append(build.Args, "./"+role)
	}
	build.Dir = root
	if output, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	samples, err := filepath.Glob(filepath.Join(root, "conf", "*.conf"))
	if err != nil || len(samples) == 0 {
		t.Fatal("no samples", err)
	}
	for _, path := range append(samples, filepath.Join(root, "README.md")) {
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		name, err := filepath.Rel(root, path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(folder, name), content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return folder
}

// databases starts MariaDB and Redis on their usual ports and returns the
// socket at which the administrator of MariaDB is let in.
func databases(ctx context.Context, t *testing.T) (socket string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "tt") // t.TempDir is too long for the path of a socket
	if err != nil {
		t.Fatal(err)
	}
	mariadb, err := procs.NewMariaDB(ctx, procs.MariaDBConfig{Dir: dir, Port: 3306})
	if err != nil {
		t.Fatal(err)
	}
	redis, err := procs.NewRedis(procs.RedisConfig{Dir: t.TempDir(), Port: 6379})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(mariadb.Kill(), redis.Kill(), os.RemoveAll(dir)); err != nil {
			t.Error(err)
		}
	})
	if err := errors.Join(mariadb.Start(ctx), redis.Start(ctx)); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, "sock")
}

// commands are the blocks that the README marks as those of a shell.
var commands = regexp.MustCompile("(?ms)^```sh\n(.*?)^```$")

// script returns all commands of the section on production.
func script(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, section, found := strings.Cut(string(text), "\n## In production\n")
	if !found {
		t.Fatal("the README has no section on production")
	}
	section, _, _ = strings.Cut(section, "\n## ")
	var all strings.Builder
	for _, block := range commands.FindAllStringSubmatch(section, -1) {
		all.WriteString(block[1])
	}
	for _, role := range roles {
		if !strings.Contains(all.String(), "\nbin/"+role+" --config conf/") {
			t.Errorf("the README does not start %s", role)
		}
	}
	return all.String()
}

func logs(folder string) string {
	var all strings.Builder
	paths, _ := filepath.Glob(filepath.Join(folder, "log", "*.log"))
	for _, path := range paths {
		text, err := os.ReadFile(path)
		fmt.Fprintf(&all, "%s: %v\n%s\n", filepath.Base(path), err, text)
	}
	return all.String()
}

// loopbackUp switches on the one interface that a new network has.
func loopbackUp() error {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_DGRAM, 0)
	if err != nil {
		return err
	}
	defer syscall.Close(fd)
	request := struct {
		name  [syscall.IFNAMSIZ]byte
		flags uint16
		_     [22]byte
	}{flags: syscall.IFF_UP | syscall.IFF_RUNNING}
	copy(request.name[:], "lo")
	_, _, errno := syscall.Syscall(syscall.SYS_IOCTL, uintptr(fd), syscall.SIOCSIFFLAGS, uintptr(unsafe.Pointer(&request)))
	if errno != 0 {
		return errno
	}
	return nil
}
