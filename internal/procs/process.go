//go:build unix

// Package procs starts and ends server processes of our own: a private MariaDB
// or Redis in a folder, or a role. It knows when they are ready, keeps their
// output in a file, and ends them by their process id, never by name. It is for
// tests and for clusters on one machine; nothing in a running role needs it.
package procs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Config says how to start a process.
type Config struct {
	Name    string   // for messages
	Path    string   // of the executable
	Args    []string // without the name
	Dir     string   // working folder
	Env     []string // added to this process's environment
	LogFile string   // takes standard output and error, appended
	PIDFile string   // holds the id while the process runs; empty writes none

	// Detached processes outlive this one. Others are killed with it, on Linux
	// even when it has no time to do so.
	Detached bool
}

// Process is a started process. Its methods are safe from any goroutine.
type Process struct {
	cfg     Config
	process *os.Process
	exited  chan struct{} // closed when the process has ended
	state   *os.ProcessState
}

// Start starts a process and returns without waiting for it to be ready.
func Start(cfg Config) (*Process, error) {
	log, err := os.OpenFile(cfg.LogFile, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", cfg.Name, err)
	}
	defer log.Close()
	cmd := &exec.Cmd{
		Path: cfg.Path, Args: append([]string{cfg.Path}, cfg.Args...), Dir: cfg.Dir,
		Env: append(os.Environ(), cfg.Env...), Stdout: log, Stderr: log,
		SysProcAttr: attributes(cfg.Detached),
	}
	p := &Process{cfg: cfg, exited: make(chan struct{})}
	started := make(chan error)
	go p.run(cmd, started)
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", cfg.Name, err)
	}
	if cfg.PIDFile != "" {
		if err := os.WriteFile(cfg.PIDFile, []byte(strconv.Itoa(p.PID())+"\n"), 0o600); err != nil {
			return nil, errors.Join(fmt.Errorf("start %s: %w", cfg.Name, err), p.Kill())
		}
		select {
		case <-p.exited:
			_ = os.Remove(cfg.PIDFile) // run looked before it was written
		default:
		}
	}
	return p, nil
}

// run starts the process and waits for its end on one thread: the kernel ties
// "kill the child with its parent" to the thread that made the child.
func (p *Process) run(cmd *exec.Cmd, started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := cmd.Start(); err != nil {
		started <- err
		return
	}
	p.process = cmd.Process
	started <- nil
	_ = cmd.Wait() // the state tells more than the error
	p.state = cmd.ProcessState
	if p.cfg.PIDFile != "" {
		_ = os.Remove(p.cfg.PIDFile) // the folder may be gone already
	}
	close(p.exited)
}

// PID returns the process id.
func (p *Process) PID() int { return p.process.Pid }

// Exited is closed when the process has ended.
func (p *Process) Exited() <-chan struct{} { return p.exited }

// ExitCode waits for the end and returns the code, or -1 after a signal.
func (p *Process) ExitCode() int {
	<-p.exited
	return p.state.ExitCode()
}

// Signal sends sig; a process that has ended is no error.
func (p *Process) Signal(sig os.Signal) error {
	if err := p.process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("signal %s: %w", p.cfg.Name, err)
	}
	return nil
}

// Pause stops the process where it is (SIGSTOP): its peers see a server that
// accepts and never answers. The signal takes effect soon after; Pause waits a
// second for that at most, less if the process ends.
func (p *Process) Pause() error {
	if err := p.Signal(syscall.SIGSTOP); err != nil {
		return err
	}
	for over := time.Now().Add(time.Second); !stopped(p.PID()) && time.Now().Before(over); {
		<-time.After(time.Millisecond)
	}
	return nil
}

// Resume continues a paused process.
func (p *Process) Resume() error { return p.Signal(syscall.SIGCONT) }

// Kill ends the process as a crash would (SIGKILL) and waits for it.
func (p *Process) Kill() error {
	if err := p.Signal(os.Kill); err != nil {
		return err
	}
	<-p.exited
	return nil
}

// Stop asks the process to end (SIGTERM) and waits for it; when ctx is done
// first, it is killed and the error says so.
func (p *Process) Stop(ctx context.Context) error {
	if err := errors.Join(p.Signal(syscall.SIGTERM), p.Resume()); err != nil {
		return err
	}
	select {
	case <-p.exited:
		return nil
	case <-ctx.Done():
		return errors.Join(fmt.Errorf("%s did not stop and was killed: %w", p.cfg.Name, ctx.Err()), p.Kill())
	}
}

// tailBytes is as much of a log as helps to understand a failed start.
const tailBytes = 4 << 10

// LogTail returns the last lines of the process's output.
func (p *Process) LogTail() string {
	f, err := os.Open(p.cfg.LogFile)
	if err != nil {
		return err.Error()
	}
	defer f.Close()
	_, _ = f.Seek(-tailBytes, io.SeekEnd) // fails in a shorter file, which is read from its start
	text, err := io.ReadAll(f)
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(string(text))
}

// poll is the time between two looks at something that comes about soon.
const poll = 10 * time.Millisecond

// await asks ready until it returns nil, the process ends, or ctx is done.
func (p *Process) await(ctx context.Context, ready func(context.Context) error) error {
	tick := time.NewTicker(poll)
	defer tick.Stop()
	for {
		err := ready(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-p.exited:
			return fmt.Errorf("%s ended (%s):\n%s", p.cfg.Name, p.state, p.LogTail())
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready (%w): %w\n%s", p.cfg.Name, ctx.Err(), err, p.LogTail())
		case <-tick.C:
		}
	}
}

// Find looks for an executable in PATH and where servers are often put
// outside of it. The error names the package to install.
func Find(pkg string, names ...string) (string, error) {
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
		for _, dir := range []string{"/usr/sbin", "/usr/local/sbin", "/usr/local/bin", "/opt/homebrew/bin"} {
			path := filepath.Join(dir, name)
			if info, err := os.Stat(path); err == nil && info.Mode()&0o111 != 0 {
				return path, nil
			}
		}
	}
	return "", fmt.Errorf("%s is not installed (Debian, Ubuntu: apt-get install %s)", names[0], pkg)
}
