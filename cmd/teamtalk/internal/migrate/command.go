// Package migrate is "teamtalk migrate": it takes the database of an original
// TeamTalk over, shows what that would do, and goes back. The work is done by
// db_proxy's takeover; this is its face at a terminal.
package migrate

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"teamtalk/cmd/teamtalk/internal/admin"
	"teamtalk/cmd/teamtalk/internal/exit"
	"teamtalk/db_proxy/dbproxy"
	"teamtalk/internal/config"
)

// options of one call.
type options struct {
	config, prefix                   string
	check, undo, finish, force, json bool
	quiet, lenient                   bool
}

// Command returns "migrate".
func Command() *cobra.Command {
	var o options
	cmd := &cobra.Command{
		Use:   "migrate",
		Short: "Take over the database of an original TeamTalk",
		Long: "Migrate converts the database that a dbproxyserver.conf of the original names, in place,\n" +
			"with what its Redis knows. It may be killed and run again at any time. The original's\n" +
			"tables stay as tt_original_* until --finish; --undo goes back to them with everything that\n" +
			"was written since. Run --check first: it changes nothing. docs/migration.md has the whole story.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return o.run(cmd) },
	}
	f := cmd.Flags()
	f.StringVar(&o.config, "config", dbproxy.ConfigFile, "dbproxyserver.conf of the original or of ours")
	f.BoolVar(&o.check, "check", false, "only say what would be done, and how long it would take")
	f.BoolVar(&o.undo, "undo", false, "go back to the original's tables")
	f.BoolVar(&o.finish, "finish", false, "drop the copies of the original's tables; then there is no way back")
	f.BoolVar(&o.force, "force", false, "go on although others are connected or Redis holds nothing")
	f.BoolVar(&o.json, "json", false, "print the report as JSON")
	f.BoolVar(&o.quiet, "quiet", false, "print no progress")
	f.BoolVar(&o.lenient, "lenient", false, "ignore keys of the file that db_proxy does not know, with a warning for each")
	f.StringVar(&o.prefix, tablePrefix, "",
		"what the names of the original's tables begin with, such as on_; their case\n"+
			"does not matter then. Empty: for names that differ in case only")
	cmd.MarkFlagsMutuallyExclusive("check", "undo", "finish")
	return cmd
}

// tablePrefix is the flag that matters also when it is empty.
const tablePrefix = "table-prefix"

func (o *options) run(cmd *cobra.Command) error {
	cfg, err := dbproxy.LoadConfig(o.config, config.Lenient(o.lenient))
	if err != nil {
		return exit.Usagef("%w", err)
	}
	if o.lenient {
		for _, warning := range cfg.Warnings {
			fmt.Fprintln(cmd.ErrOrStderr(), "warning:", warning)
		}
	}
	var prefix *string
	if cmd.Flags().Changed(tablePrefix) {
		prefix = &o.prefix
	}
	progress := progressTo(cmd.ErrOrStderr())
	if o.quiet || o.check {
		progress = nil
	}
	ctx := cmd.Context()
	t, err := dbproxy.OpenTakeover(ctx, cfg, prefix, slog.New(slog.DiscardHandler), progress)
	if err != nil {
		return errors.New(admin.Explain(err))
	}
	var r *dbproxy.TakeoverReport
	switch {
	case o.check:
		r, err = t.Check(ctx)
	case o.undo:
		r, err = t.Undo(ctx, o.force)
	case o.finish:
		r, err = t.Finish(ctx)
	default:
		r, err = t.Run(ctx, o.force)
	}
	if err := errors.Join(err, t.Close()); err != nil {
		return errors.New(admin.Explain(err))
	}
	if o.json {
		enc := json.NewEncoder(cmd.OutOrStdout())
		enc.SetIndent("", "  ")
		err = enc.Encode(r)
	} else {
		_, err = io.WriteString(cmd.OutOrStdout(), o.text(r))
	}
	if err != nil {
		return fmt.Errorf("print: %w", err)
	}
	if o.check && r.Counts["blocked"] > 0 {
		return errors.New("a takeover is not possible yet")
	}
	return nil
}

// progressTo prints at most one line a second, and one for every long step.
func progressTo(w io.Writer) func(dbproxy.TakeoverProgress) {
	var last time.Time
	return func(p dbproxy.TakeoverProgress) {
		if time.Since(last) < time.Second {
			return
		}
		last = time.Now()
		left := ""
		if p.Left > 0 {
			left = ", about " + p.Left.Round(time.Second).String() + " left"
		}
		fmt.Fprintf(w, "step %d of %d, %s: %d of %d rows copied%s\n", p.Number, p.Of, p.Step, p.Rows, p.Total, left)
	}
}

// shown is how many findings of a kind the text lists.
const shown = 10

// text is the report for people.
func (o *options) text(r *dbproxy.TakeoverReport) string {
	var b strings.Builder
	seconds := time.Duration(r.Seconds * float64(time.Second)).Round(time.Second)
	switch state := string(r.State); {
	case o.finish:
		b.WriteString("The copies of the original's tables are gone; the database is ours.\n")
	case o.undo:
		b.WriteString("The database is the original's again. What ours had is kept in the tables tt_undone_*.\n")
	case state == "empty":
		b.WriteString("The database is empty: there is nothing to take over. db_proxy makes its tables when it starts.\n")
	case state == "ours":
		b.WriteString("The database is ours already: there is nothing to take over.\n")
	case state == "original":
		fmt.Fprintf(&b, "The database is of an original TeamTalk. \"teamtalk migrate\" would copy %d rows in about %s.\n",
			r.Rows(), seconds)
		b.WriteString("It needs as much disk space again as the tables take now. Nothing was changed.\n")
	case state == "taken_over":
		fmt.Fprintf(&b, "The database was taken over: %d rows in %s.\n", r.Rows(), seconds)
	default:
		advice := r.State.Advice()
		fmt.Fprintf(&b, "%s%s.\n", strings.ToUpper(advice[:1]), advice[1:])
	}
	for _, t := range r.Tables {
		fmt.Fprintf(&b, "  %-20s %10d", t.Name, t.Rows)
		if o.check && r.State == "original" {
			b.WriteString("\n")
			continue
		}
		fmt.Fprintf(&b, " -> %10d\n", t.Copied)
	}
	listed := map[string]int{}
	for _, kind := range slices.Sorted(maps.Keys(r.Counts)) {
		fmt.Fprintf(&b, "%s: %d\n", kind, r.Counts[kind])
		for _, f := range r.Findings {
			if f.Kind != kind || listed[string(kind)] >= shown {
				continue
			}
			listed[string(kind)]++
			fmt.Fprintf(&b, "  %s: %s\n", f.Subject, f.Detail)
		}
		if n := r.Counts[kind]; n > shown {
			fmt.Fprintf(&b, "  … and %d more (--json lists up to 1000; the table tt_takeover_finding all)\n", n-shown)
		}
	}
	return b.String()
}
