package bench

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"text/tabwriter"
)

// sheet prints aligned rows.
type sheet struct{ *tabwriter.Writer }

func newSheet(w io.Writer) sheet { return sheet{tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)} }

// row prints a row whose cells are separated by tabs.
func (s sheet) row(format string, args ...any) { _, _ = fmt.Fprintf(s, format+"\n", args...) }

// gap ends a block of rows.
func (s sheet) gap() {
	_ = s.Flush()
	s.row("")
}

// table prints the results for people.
func (res *Result) table(w io.Writer) {
	s := newSheet(w)
	s.row("load\t%s", res.load())
	s.row("time\t%gs after %gs of warm-up", res.Duration, res.WarmUp)
	if t := res.Traffic; t != nil {
		s.row("acknowledged\t%d of %d sent\t%.0f/s", t.Acked, t.Sent, t.AckedPerS)
		s.row("delivered\t%d\t%.0f/s", t.Delivered, t.DeliveredPerS)
	}
	for _, op := range res.Operations {
		s.row("%s\t%d\t%.0f/s", op.Name, op.Count, op.PerS)
	}
	s.gap()
	if all := res.latencies(); len(all) > 0 {
		s.row("latency in ms\tp50\tp90\tp99\tp99.9\tmax")
		for _, l := range all {
			s.row("%s\t%.2f\t%.2f\t%.2f\t%.2f\t%.2f", l.name, l.P50, l.P90, l.P99, l.P999, l.Max)
		}
		s.gap()
	}
	res.usageTable(s)
	if c := res.Ceiling; c != nil {
		for _, line := range c.lines() {
			s.row("%s", line)
		}
		s.gap()
	}
	_ = s.Flush()
	for _, line := range res.verdict() {
		_, _ = fmt.Fprintln(w, line)
	}
}

// usageTable prints CPU and memory, where they were measured.
func (res *Result) usageTable(s sheet) {
	names := slices.Sorted(maps.Keys(res.RSS))
	switch {
	case len(names) == 0:
		return
	case res.Idle != nil:
		s.row("server\tmemory before\tidle\tper connection\tCPU while idle")
		for _, name := range names {
			s.row("%s\t%s\t%s\t%.0f bytes\t%.1f %% of a core", name, mebibytes(res.Idle.RSSBefore[name]),
				mebibytes(res.RSS[name]), res.Idle.BytesPerConnection[name], 100*res.Idle.CPUCores[name])
		}
	default:
		s.row("server\tCPU per %s\tmemory", findMode(res.Mode).op)
		for _, name := range names {
			s.row("%s\t%.1f µs\t%s", name, res.CPUPerOp[name], mebibytes(res.RSS[name]))
		}
		s.row("total\t%.1f µs\t", res.CPUPerOp["total"])
		s.row("bench itself\t%.1f µs\t", res.BenchCPUPerOp)
	}
	s.gap()
}

func mebibytes(n int64) string { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) }

// load describes the load in one line.
func (res *Result) load() string {
	pace := "as fast as the window allows"
	if res.Rate > 0 {
		pace = fmt.Sprintf("%g %s/s", res.Rate, plural(findMode(res.Mode).op))
	}
	servers := "1 server"
	if n := len(res.Addrs); n != 1 {
		servers = fmt.Sprintf("%d servers", n)
	}
	who := fmt.Sprintf("%s: %d users on %s", res.Mode, res.Users, servers)
	if t := res.Traffic; t != nil {
		return fmt.Sprintf("%s, %d senders, window %d, %d bytes, %s", who, t.Senders, res.Window, t.Size, pace)
	}
	return fmt.Sprintf("%s, %d connections, window %d, %s", who, res.Conns, res.Window, pace)
}

func plural(word string) string { return word + "s" }

// namedLatency is one row of a table, one line of a chart.
type namedLatency struct {
	name string
	Latency
}

// latencies returns all that was timed.
func (res *Result) latencies() (all []namedLatency) {
	if t := res.Traffic; t != nil {
		all = append(all, namedLatency{"acknowledgement", t.AckMS}, namedLatency{"delivery", t.DeliveryMS})
	}
	for _, op := range res.Operations {
		all = append(all, namedLatency{op.Name, op.MS})
	}
	if res.Commit != nil {
		all = append(all, namedLatency{"bare commit beside", *res.Commit})
	}
	// What was counted without a clock, or never happened, is no latency.
	return slices.DeleteFunc(all, func(l namedLatency) bool { return len(l.Curve) == 0 })
}

// verdict returns the last lines of the table.
func (res *Result) verdict() (lines []string) {
	if t := res.Traffic; t != nil && t.Unacked > 0 {
		lines = append(lines, fmt.Sprintf("%d messages were refused or not acknowledged in time", t.Unacked))
		for _, why := range slices.Sorted(maps.Keys(t.UnackedWhy)) {
			lines = append(lines, fmt.Sprintf("%d of them: %s", t.UnackedWhy[why], why))
		}
	}
	broken, violations := res.broken(), res.Violations()
	if broken != "" {
		lines = append(lines, broken)
	}
	if violations != "" {
		lines = append(lines, "VIOLATION: "+violations)
	}
	if broken+violations == "" {
		lines = append(lines, "clean: "+res.clean())
	}
	return lines
}

// clean says what was found right.
func (res *Result) clean() string {
	switch {
	case res.Traffic != nil:
		return "nothing lost, duplicated, reordered or missing from history"
	case res.History != nil:
		return "every page is in order and in its range, every unread total is the sum of its list"
	}
	return "every log-in succeeded, no connection was lost"
}
