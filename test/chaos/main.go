//go:build unix

// Chaos proves the promises of docs/guarantees.md the hard way: it runs real
// servers under a mixed load, lets everything fail that can fail, by a plan
// that a seed repeats, and then compares what every client was told with what
// SQL holds and what every terminal saw.
//
//	chaos [run] [--minutes M] [--seed S] [--faults kill,term,…] [--dir D] …
//	chaos check --events FILE… [--sql FILE]
//	chaos overload [--limit N] [--times X] [--for D] [--dir D] …
//
// It exits with 0 when every promise was kept, 1 when one was broken or a
// fault hit nothing, and 2 when it could not run.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"teamtalk/test/chaos/internal/check"
	"teamtalk/test/chaos/internal/schedule"
	"teamtalk/test/chaos/internal/system"
)

// Exit codes.
const (
	exitBroken = 1
	exitFailed = 2
)

func main() {
	args := os.Args[1:]
	command := "run"
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		command, args = args[0], args[1:]
	}
	var err error
	switch command {
	case "run":
		err = runCommand(args)
	case "check":
		err = checkCommand(args)
	case "overload":
		err = overloadCommand(args)
	default:
		err = fmt.Errorf("unknown command %q", command)
	}
	switch {
	case errors.Is(err, errBroken):
		os.Exit(exitBroken)
	case errors.Is(err, flag.ErrHelp):
	case err != nil:
		fmt.Fprintln(os.Stderr, "chaos:", err)
		os.Exit(exitFailed)
	}
}

// errBroken says that the report tells of broken promises.
var errBroken = errors.New("promises were broken")

// runCommand runs everything.
func runCommand(args []string) error {
	o := options{}
	f := flag.NewFlagSet("chaos", flag.ContinueOnError)
	minutes := f.Float64("minutes", 5, "length of the run")
	var kinds []string
	for _, k := range schedule.Kinds() {
		kinds = append(kinds, string(k))
	}
	faults := f.String("faults", "all", "kinds of faults, as "+strings.Join(kinds, ","))
	f.Uint64Var(&o.Seed, "seed", 0, "repeats the plan of another run; 0 makes one up")
	f.StringVar(&o.Dir, "dir", "", "folder for logs and the report; default: chaos-SEED")
	f.StringVar(&o.Bin, "bin", "bin", "folder of the binaries")
	f.IntVar(&o.BasePort, "base-port", 12000, "port for clients; the others follow from it")
	f.IntVar(&o.Rate, "rate", 300, "messages a second")
	f.IntVar(&o.Users, "users", 24, "accounts; a third of them have two terminals")
	f.DurationVar(&o.Every, "every", 4*time.Second, "time between two faults")
	f.StringVar(&o.System, "system", "both", "cluster, serve, or both, one after the other")
	if err := f.Parse(args); err != nil {
		return err
	}
	if f.NArg() > 0 {
		return fmt.Errorf("unknown argument %q", f.Arg(0))
	}
	var err error
	if o.Kinds, err = schedule.Parse(*faults); err != nil {
		return err
	}
	if !slices.Contains([]string{"cluster", "serve", "both"}, o.System) ||
		*minutes <= 0 || o.Rate < 1 || o.Users < 4 || o.Every < time.Second {
		return errors.New("an argument is out of range")
	}
	o.Length = time.Duration(*minutes * float64(time.Minute))
	if o.Seed == 0 {
		o.Seed = rand.Uint64N(1_000_000) + 1
	}
	if o.Dir == "" {
		o.Dir = fmt.Sprintf("chaos-%d", o.Seed)
	}
	if harmsDisks(o.Kinds) && os.Getenv(isolated) == "" {
		return isolate(args, o.Seed)
	}
	return run(o)
}

func harmsDisks(kinds []schedule.Kind) bool {
	return slices.Contains(kinds, schedule.DiskFull) || slices.Contains(kinds, schedule.ReadOnly)
}

// isolated marks the process that has a mount namespace of its own.
const isolated = "CHAOS_ISOLATED"

// isolate runs the same command where it may mount file systems that vanish
// with it.
func isolate(args []string, seed uint64) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	cmd := exec.CommandContext(ctx, self, append([]string{"run"}, append(args, fmt.Sprintf("--seed=%d", seed))...)...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), isolated+"=1")
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	system.Isolate(cmd)
	err = cmd.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok && exit.ExitCode() == exitBroken {
		return errBroken
	}
	if err != nil {
		return fmt.Errorf("run where file systems can be mounted: %w", err)
	}
	return nil
}

// checkCommand runs the checker alone.
func checkCommand(args []string) error {
	f := flag.NewFlagSet("chaos check", flag.ContinueOnError)
	var events, sql string
	f.StringVar(&events, "events", "", "event logs of clients; more may follow as arguments")
	f.StringVar(&sql, "sql", "",
		"what SQL holds; default: sql.jsonl beside the events, if it is there; none: leave SQL out")
	if err := f.Parse(args); err != nil {
		return err
	}
	if events == "" {
		return errors.New("check: --events FILE is needed")
	}
	files := append([]string{events}, f.Args()...)
	if sql == "" {
		beside := filepath.Join(filepath.Dir(events), sqlFile)
		if _, err := os.Stat(beside); err == nil {
			sql = beside
		}
	}
	if sql == "none" {
		sql = ""
	}
	result, err := check.Files(files, sql)
	if err != nil {
		return err
	}
	printResult(os.Stdout, result)
	if len(result.Violations) > 0 {
		return errBroken
	}
	return nil
}
