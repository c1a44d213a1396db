// Package bench is the load generator behind "teamtalk bench": it logs users
// in, lets them exchange messages and checks what came of every one of them.
// It reports rates, latencies and the servers' CPU per message, and ends with
// exit code 1 when an acknowledged message was lost, duplicated, reordered or
// is missing from history, 2 when it could not run.
//
// A mode decides who is logged in and who talks in which conversation (setup
// files); the load, the bookkeeping (ledger.go) and the checks are the same
// for all of them.
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
	"time"

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
	// setup logs users in and fills the run's conversations.
	setup func(ctx context.Context, r *run) error
}

// modes lists all kinds of load.
var modes = []mode{
	{"single", "Pairs of users write to each other", setupSingle},
	{"group", "One group, whose members are on a PC and a phone at once", setupGroup},
}

// Command returns "bench" with one subcommand per mode. Errors that it returns
// have a method ExitCode.
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
	for _, m := range modes {
		root.AddCommand(modeCommand(m))
	}
	return root
}

// modeNames lists the modes for messages.
func modeNames() string {
	names := make([]string, len(modes))
	for i, m := range modes {
		names[i] = m.name
	}
	return strings.Join(names, ", ")
}

// output says where results go besides standard output.
type output struct {
	json, html string
	quiet      bool
}

// modeCommand returns the subcommand of a mode.
func modeCommand(m mode) *cobra.Command {
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
			if err == nil && out.html != "" {
				err = errors.New("--html is not available; use --json")
			}
			if err != nil {
				return &ExitError{exitFailure, fmt.Errorf("bench %s: %w", m.name, err)}
			}
			return execute(cmd.Context(), m, cfg, out, cmd.OutOrStdout())
		},
	}
	f := cmd.Flags()
	f.StringVar(&cfg.LoginURL, "login", "", "URL of a login_server, such as http://127.0.0.1:8080/msg_server")
	f.StringSliceVar(&cfg.Addrs, "addr", nil, "addresses of msg_servers, instead of --login")
	f.StringVar(&cfg.Prefix, "prefix", "u", "users are PREFIX1, PREFIX2 and so on")
	f.IntVar(&cfg.Count, "count", 100, "number of users")
	f.StringVar(&cfg.Password, "password", "12345", "password of every user")
	f.IntVar(&cfg.Window, "window", 1, "unacknowledged messages per sender")
	f.Float64Var(&cfg.Rate, "rate", 0, "messages per second of all senders together; 0: as fast as the window allows")
	f.IntVar(&cfg.Size, "size", 100, fmt.Sprintf("bytes of text per message, %d to 3068", stampSize))
	f.DurationVar(&cfg.Duration, "duration", 30*time.Second, "measured time, after the warm-up")
	f.DurationVar(&cfg.WarmUp, "warm-up", 2*time.Second, "time before, checked but not measured")
	f.DurationVar(&cfg.Grace, "grace", 10*time.Second, "how long to wait for what is under way at the end")
	f.StringVar(&pids, "pids", "", "servers whose CPU and memory to measure: name=pid,...")
	f.StringVar(&out.json, "json", "", "write the results to this file; - is standard output")
	f.StringVar(&out.html, "html", "", "write a report to this file")
	f.BoolVar(&out.quiet, "quiet", false, "no progress and no table")
	if m.name == "group" {
		f.Uint32Var(&cfg.Group, "group", 0, "id of the group; 0: create one")
		f.IntVar(&cfg.Senders, "senders", 0, "members who write; 0: all")
	}
	return cmd
}

// execute runs a mode and reports.
func execute(ctx context.Context, m mode, cfg Config, out output, stdout io.Writer) error {
	var progress io.Writer
	if !out.quiet && isTerminal(os.Stderr) {
		progress = os.Stderr
	}
	res, err := Run(ctx, m.name, cfg, progress)
	if err != nil {
		return &ExitError{exitFailure, fmt.Errorf("bench %s: %w", m.name, err)}
	}
	if !out.quiet && out.json != "-" {
		res.table(stdout)
	}
	if out.json != "" {
		if err := writeJSON(out.json, stdout, res); err != nil {
			return &ExitError{exitFailure, fmt.Errorf("bench %s: %w", m.name, err)}
		}
	}
	if what := res.Violations(); what != "" {
		return &ExitError{exitViolation, fmt.Errorf("bench %s: violations: %s", m.name, what)}
	}
	if res.Disconnected > 0 {
		return &ExitError{exitFailure, fmt.Errorf("bench %s: %d connections were lost", m.name, res.Disconnected)}
	}
	if res.Acked == 0 {
		return &ExitError{exitFailure, fmt.Errorf("bench %s: no message was acknowledged", m.name)}
	}
	return nil
}

// writeJSON writes the results to a file, or to stdout for "-".
func writeJSON(path string, stdout io.Writer, res *Result) error {
	data, err := json.MarshalIndent(res, "", "  ")
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
