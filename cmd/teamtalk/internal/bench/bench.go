// Package bench is the load generator behind "teamtalk bench": it logs users
// in, lets them do what users do and checks what came of it. It reports rates,
// latencies and the servers' CPU per operation, and ends with exit code 1 when
// an acknowledged message was lost, duplicated, reordered or is missing from
// history, 2 when it could not run.
//
// Two modes exchange messages: they differ in who is logged in and who talks
// in which conversation (setup.go); the load (run.go), the bookkeeping
// (ledger.go) and the checks are the same. The others log in again and again
// (login.go), read (history.go) or only stay connected (idle.go). Beside the
// modes there are commands that work on results (compare.go, check.go) and one
// that measures the databases alone (ceiling.go).
package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
)

// Exit codes of the command.
const (
	exitViolation = 1
	exitFailure   = 2
)

// ExitError is an error that names the exit code of the process.
type ExitError struct {
	Code int
	Err  error
}

func (e *ExitError) Error() string { return e.Err.Error() }

func (e *ExitError) Unwrap() error { return e.Err }

// ExitCode returns the exit code: 1 a violation, 2 could not run.
func (e *ExitError) ExitCode() int { return e.Code }

// mode is one kind of load.
type mode struct {
	name  string
	short string
	// kinds are the events that are counted and timed; op is the one that CPU
	// is shared out over.
	kinds []string
	op    string
	// run makes the load and fills in the result what only this mode has. It
	// returns with all connections closed.
	run func(ctx context.Context, r *run, p *progress, res *Result) error
	// flags adds the mode's own flags and changes defaults; may be nil.
	flags func(cmd *cobra.Command, cfg *Config)
}

// modes lists all kinds of load.
var modes = []mode{
	{
		name: "single", short: "Pairs of users write to each other",
		kinds: trafficKinds, op: "message", run: exchange(setupSingle), flags: chatFlags,
	},
	{
		name: "group", short: "One group, whose members are on a PC and a phone at once",
		kinds: trafficKinds, op: "message", run: exchange(setupGroup), flags: groupFlags,
	},
	{
		name: "login", short: "Users log in for the first time, then again and again",
		kinds: loginKinds, op: "log-in", run: runLogin, flags: loginFlags,
	},
	{
		name: "idle", short: "Users stay logged in on a PC and a phone and do nothing",
		kinds: idleKinds, op: "log-in", run: runIdle, flags: idleFlags,
	},
	{
		name: "history", short: "Users read pages of history and ask for what is unread",
		kinds: historyKinds, op: "request", run: runHistory, flags: historyFlags,
	},
}

// findMode returns a mode by name, nil if there is none.
func findMode(name string) *mode {
	for i := range modes {
		if modes[i].name == name {
			return &modes[i]
		}
	}
	return nil
}

// Command returns "bench" with one subcommand per mode and those that work on
// results. Errors that it returns have a method ExitCode.
func Command() *cobra.Command {
	root := &cobra.Command{
		Use:   "bench MODE",
		Short: "Generate load and check every message",
		Long: "Bench logs users in, sends messages and checks that each acknowledged one was delivered once,\n" +
			"in order, and stands in the history.\n\n" +
			"Exit codes: 0 clean, 1 a violation, 2 could not run.",
		Args: cobra.ArbitraryArgs, // an unknown mode gets our exit code, too
		RunE: func(*cobra.Command, []string) error {
			return &ExitError{exitFailure, errors.New("bench: name a mode: " + modeNames())}
		},
		SilenceUsage: true,
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return &ExitError{exitFailure, err} })
	for i := range modes {
		root.AddCommand(modeCommand(&modes[i]))
	}
	root.AddCommand(compareCommand(), checkCommand(), figureCommand(), ceilingCommand(), idleWorkerCommand())
	return root
}

// modeNames lists the modes for messages.
func modeNames() string {
	names := make([]string, len(modes))
	for i := range modes {
		names[i] = modes[i].name
	}
	return strings.Join(names, ", ")
}

// output says where results go besides standard output.
type output struct {
	json, html string
	quiet      bool
}

// modeCommand returns the subcommand of a mode.
func modeCommand(m *mode) *cobra.Command {
	var (
		cfg  Config
		out  output
		pids string
	)
	cmd := &cobra.Command{
		Use:          m.name,
		Short:        m.short,
		Args:         cobra.NoArgs,
		SilenceUsage: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var err error
			if cfg.Pids, err = parsePids(pids); err == nil {
				err = cfg.check()
			}
			if err != nil {
				return &ExitError{exitFailure, fmt.Errorf("bench %s: %w", m.name, err)}
			}
			return execute(cmd.Context(), m, cfg, out, cmd.OutOrStdout())
		},
	}
	cfg.commonFlags(cmd)
	f := cmd.Flags()
	f.StringVar(&pids, "pids", "", "servers whose CPU and memory to measure: name=pid,...")
	f.StringVar(&out.json, "json", "", "write the results to this file; - is standard output")
	f.StringVar(&out.html, "html", "", "write a report to this file")
	f.BoolVar(&out.quiet, "quiet", false, "no progress and no table: one line with the result")
	if m.flags != nil {
		m.flags(cmd, &cfg)
	}
	return cmd
}

// execute runs a mode and reports.
func execute(ctx context.Context, m *mode, cfg Config, out output, stdout io.Writer) error {
	fail := func(err error) error { return &ExitError{exitFailure, fmt.Errorf("bench %s: %w", m.name, err)} }
	var progress io.Writer
	if !out.quiet && isTerminal(os.Stderr) {
		progress = os.Stderr
	}
	res, err := Run(ctx, m.name, cfg, progress)
	if err != nil {
		return fail(err)
	}
	switch {
	case out.json == "-":
	case out.quiet:
		fmt.Fprintln(stdout, strings.Join(res.verdict(), "; "))
	default:
		res.table(stdout)
	}
	if out.json != "" {
		if err := writeJSON(out.json, stdout, res); err != nil {
			return fail(err)
		}
	}
	if out.html != "" {
		if err := res.writeHTML(out.html); err != nil {
			return fail(err)
		}
	}
	if what := res.Violations(); what != "" {
		return &ExitError{exitViolation, fmt.Errorf("bench %s: violations: %s", m.name, what)}
	}
	if what := res.broken(); what != "" {
		return fail(errors.New(what))
	}
	return nil
}

// writeJSON writes a value to a file, or to stdout for "-".
func writeJSON(path string, stdout io.Writer, v any) error {
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("encode results: %w", err)
	}
	data = append(data, '\n')
	if path == "-" {
		_, err = stdout.Write(data)
		return err
	}
	return os.WriteFile(path, data, 0o644)
}

// parsePids parses name=pid,... in order.
func parsePids(list string) ([]Process, error) {
	var all []Process
	for part := range strings.SplitSeq(list, ",") {
		if part = strings.TrimSpace(part); part == "" {
			continue
		}
		name, number, ok := strings.Cut(part, "=")
		pid, err := strconv.Atoi(number)
		if !ok || name == "" || err != nil || pid <= 0 {
			return nil, fmt.Errorf("--pids: %q is not name=pid", part)
		}
		all = append(all, Process{Name: name, PID: pid})
	}
	return all, nil
}
