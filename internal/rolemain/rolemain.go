// Package rolemain is what the main functions of all roles do: flags, the
// configuration file, the lock on the working folder, signals, the health port
// and the exit code. What a role is, it leaves to the role.
package rolemain

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"teamtalk/internal/clock"
	"teamtalk/internal/config"
	"teamtalk/internal/obs"
)

// Exit codes that scripts rely on.
const (
	exitOK     = 0 // after SIGTERM
	exitFailed = 1
	exitUsage  = 2 // bad usage or configuration
)

// Role describes one role to Main. Everything is needed.
type Role[C interface{ ProcessConfig() config.Process }] struct {
	Name       string // of the role, such as "msg_server"
	ConfigFile string // used without --config; in the working folder
	Load       func(path string, options ...config.Option) (C, error)
	// New checks and opens what the role needs and registers with o what its
	// readiness depends on. Until it returns, the role is not ready.
	New func(ctx context.Context, cfg C, o *obs.Obs) (Runner, error)
}

// Runner is a role that is ready to run. Run blocks until ctx is done and
// everything it started has stopped, and returns nil then.
type Runner interface {
	Run(ctx context.Context) error
}

// Renewer is a Runner with more to read again than the secrets of its
// configuration, such as certificates. Renew is called after SIGHUP, when the
// secrets are the new ones; after an error everything stays as it was.
type Renewer interface {
	Renew() error
}

// Main runs a role as a process and returns its exit code. The first SIGTERM
// or SIGINT stops it in order, the second at once. SIGHUP has it read LogLevel,
// secrets and certificates again, and nothing else: a terminal that is closed
// must not end a server. Logs go to the standard error, which whoever starts
// the role rotates.
func Main[C interface{ ProcessConfig() config.Process }](role Role[C]) int {
	line, code, done := parse(role.Name, role.ConfigFile, os.Args[1:], os.Stdout, os.Stderr)
	if done {
		return code
	}
	err := run(role, line, os.Stderr)
	switch {
	case err == nil:
		return exitOK
	case config.IsConfig(err):
		fmt.Fprintln(os.Stderr, err)
		return exitUsage
	case errors.Is(err, errLogged):
		return exitFailed
	default:
		fmt.Fprintf(os.Stderr, "%s: %v\n", role.Name, err)
		return exitFailed
	}
}

// errLogged is why a role ended, which the log has said.
var errLogged = errors.New("the role has failed")

// commandLine is what a role is started with.
type commandLine struct {
	path    string // of the configuration file
	lenient bool   // a key that nobody declared is a warning
}

// parse reads the command line; done says that there is nothing to run.
func parse(name, configFile string, args []string, stdout, stderr io.Writer) (line commandLine, code int, done bool) {
	flags := flag.NewFlagSet(name, flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&line.path, "config", configFile, "configuration `file`")
	flags.BoolVar(&line.lenient, "lenient", false, "ignore keys that the role does not know, with a warning for each")
	var version bool
	flags.BoolVar(&version, "v", false, "print the version and exit")
	flags.BoolVar(&version, "version", false, "print the version and exit")
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return line, exitOK, true
	case err != nil:
		return line, exitUsage, true
	case flags.NArg() > 0:
		fmt.Fprintf(stderr, "%s: unexpected argument %q\n", name, flags.Arg(0))
		flags.Usage()
		return line, exitUsage, true
	case version:
		fmt.Fprintln(stdout, name, Version())
		return line, exitOK, true
	}
	return line, exitOK, false
}

// Version describes the build: version, revision and its time, Go version.
func Version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	words := []string{info.Main.Version}
	for _, setting := range info.Settings {
		switch {
		case setting.Key == "vcs.revision", setting.Key == "vcs.time":
			words = append(words, setting.Value)
		case setting.Key == "vcs.modified" && setting.Value == "true":
			words = append(words, "modified")
		}
	}
	return strings.Join(append(words, info.GoVersion), " ")
}

// pidFile is the file in the working folder that holds the process id of a
// role. All roles may share one folder; two of one role would read the same
// configuration by default, and need a folder each.
func pidFile(role string) string { return role + ".pid" }

func run[C interface{ ProcessConfig() config.Process }](
	role Role[C], line commandLine, stderr io.Writer,
) (err error) {
	load := func() (C, error) { return role.Load(line.path, config.Lenient(line.lenient)) }
	cfg, err := load()
	if err != nil {
		return err
	}
	process := cfg.ProcessConfig()
	unlock, err := Lock(pidFile(role.Name))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	now, err := clock.New(os.Getenv(clock.FileVariable))
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	o, err := obs.New(ctx, obs.Config{
		Role: role.Name, Addr: process.HealthListen, Level: process.LogLevel, JSON: process.LogJSON, Log: stderr,
		Clock: now.Source(),
	})
	if err != nil {
		return err
	}
	for _, warning := range process.Warnings {
		o.Log.Warn("odd configuration", slog.String("warning", warning.Error()))
	}
	var running atomic.Pointer[Runner]
	hangup := func() { reload(o, process, load, running.Load()) }
	defer watchSignals(o, process.ShutdownTimeout, hangup, cancel)()
	go Tend(ctx)
	go now.Follow(ctx, o.Log)
	o.AddCheck("running", ctx.Err)
	o.Log.Info("starting", slog.String("version", Version()), slog.Int("pid", os.Getpid()),
		slog.String("config", line.path), slog.String("health", o.Addr()))
	var opened atomic.Bool
	o.AddCheck("opened", func() error {
		if !opened.Load() {
			return errors.New("still opening")
		}
		return nil
	})
	var watching sync.WaitGroup
	watching.Go(func() { watchReady(ctx, o) })
	return serve(ctx, cancel, o, func() error {
		defer watching.Wait() // who has stopped is not said to be ready
		defer cancel()
		runner, err := role.New(ctx, cfg, o)
		if err == nil {
			running.Store(&runner)
			opened.Store(true)
			err = runner.Run(ctx)
		}
		switch {
		case err == nil && ctx.Err() == nil:
			return errors.New("stopped by itself")
		case errors.Is(err, context.Canceled) && ctx.Err() != nil:
			return nil // a signal came while it was still opening
		}
		return err
	})
}

// serve runs the role with its health port, which it closes last. The failure
// of either stops the other.
func serve(ctx context.Context, cancel func(), o *obs.Obs, runRole func() error) error {
	healthCtx, closeHealth := context.WithCancel(context.WithoutCancel(ctx))
	defer closeHealth()
	health := make(chan error, 1)
	go func() {
		err := o.Run(healthCtx)
		if err != nil {
			cancel()
		}
		health <- err
	}()
	err := runRole()
	closeHealth()
	if err = errors.Join(err, <-health); err != nil {
		o.Log.Error("stopped", slog.Any("error", err))
		return errLogged
	}
	o.Log.Info("stopped")
	return nil
}

// watchSignals handles signals until the function it returns is called.
func watchSignals(o *obs.Obs, timeout time.Duration, reload, cancel func()) (stop func()) {
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	notifyLevel(signals)
	ended, watching := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(watching)
		var overdue <-chan time.Time // nil until the first signal
		for {
			select {
			case <-ended:
				return
			case s := <-signals:
				if s == syscall.SIGHUP {
					reload()
					continue
				}
				if isLevel(s) {
					toggleLevel(o)
					continue
				}
				if overdue != nil {
					o.Log.Error("stopping at once", slog.String("signal", s.String()))
					os.Exit(exitFailed)
				}
				o.Log.Info("stopping", slog.String("signal", s.String()))
				overdue = time.After(timeout)
				cancel()
			case <-overdue:
				o.Log.Error("still not stopped, ending in the middle of it", slog.Duration("after", timeout))
				os.Exit(exitFailed) // whoever started us must not wait for ever
			}
		}
	}()
	return func() {
		signal.Stop(signals)
		close(ended)
		<-watching
	}
}

// reload takes the log level and the secrets from the configuration file, and
// what a Renewer reads again. A file with a fault changes nothing.
func reload[C interface{ ProcessConfig() config.Process }](
	o *obs.Obs, process config.Process, load func() (C, error), running *Runner,
) {
	cfg, err := load()
	if err != nil {
		o.Log.Error("configuration not read again", slog.Any("error", err))
		return
	}
	next := cfg.ProcessConfig()
	renewed, later := process.Renew(next)
	o.Level.Set(next.LogLevel)
	o.Log.Info("configuration read again", slog.String("level", next.LogLevel.String()),
		slog.String("renewed", strings.Join(renewed, ",")), slog.String("at_next_start", strings.Join(later, ",")))
	if running == nil {
		return // it is opening, with what it has read
	}
	if r, ok := (*running).(Renewer); ok {
		if err := r.Renew(); err != nil {
			o.Log.Error("not renewed", slog.Any("error", err))
		}
	}
}

// readyEvery is how often a role is asked whether it is ready, for its log.
const readyEvery = time.Second

// watchReady logs when the role becomes ready and when that ends, until ctx
// does.
func watchReady(ctx context.Context, o *obs.Obs) {
	ticker := time.NewTicker(readyEvery)
	defer ticker.Stop()
	ready := false
	for {
		failing := o.Failing()
		switch {
		case ctx.Err() != nil:
			return
		case !ready && len(failing) == 0:
			o.Log.Info("ready")
		case ready && len(failing) > 0:
			o.Log.Warn("not ready", slog.String("reason", strings.Join(failing, "; ")))
		}
		ready = len(failing) == 0
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// toggleLevel switches debug lines on, and back to info.
func toggleLevel(o *obs.Obs) {
	level := slog.LevelDebug
	if o.Level.Level() == slog.LevelDebug {
		level = slog.LevelInfo
	}
	o.Level.Set(level)
	o.Log.Info("log level changed", slog.String("level", level.String()))
}
