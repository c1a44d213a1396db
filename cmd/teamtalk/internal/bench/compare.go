package bench

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
)

// metric is one number of a result by which it is compared.
type metric struct {
	name, unit string
	value      float64
	more       bool // more of it is better
}

// measurement is a file of results, as far as comparing goes.
type measurement struct {
	file    string
	mode    string
	setting string // of the load and the machine: what should be equal
	wrong   string // why the run does not count
	metrics []metric
}

// compareCommand returns "bench compare".
func compareCommand() *cobra.Command {
	var base, fresh []string
	cmd := &cobra.Command{
		Use:   "compare BASE.json NEW.json | compare --base A1,A2 --new B1,B2",
		Short: "Compare results with earlier ones",
		Long: "Compare prints the ratio of every figure and a verdict. With several runs on a side it compares\n" +
			"medians, and calls a difference only where no run of one side reaches into those of the other.",
		Args: cobra.ArbitraryArgs, SilenceUsage: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			fail := func(err error) error { return &ExitError{exitFailure, fmt.Errorf("bench compare: %w", err)} }
			switch {
			case len(args) == 2 && len(base)+len(fresh) == 0:
				base, fresh = args[:1], args[1:]
			case len(args) > 0 || len(base) == 0 || len(fresh) == 0:
				return fail(errors.New("give two files, or some with --base and some with --new"))
			}
			a, err := loadSide(base)
			if err != nil {
				return fail(err)
			}
			b, err := loadSide(fresh)
			if err != nil {
				return fail(err)
			}
			if a[0].mode != b[0].mode {
				return fail(fmt.Errorf("cannot compare mode %s with mode %s", a[0].mode, b[0].mode))
			}
			compare(cmd.OutOrStdout(), a, b)
			return nil
		},
	}
	cmd.Flags().StringSliceVar(&base, "base", nil, "results to compare with")
	cmd.Flags().StringSliceVar(&fresh, "new", nil, "results to judge")
	return cmd
}

// loadSide reads the files of one side, which are of one mode.
func loadSide(files []string) ([]measurement, error) {
	var all []measurement
	for _, file := range files {
		m, err := loadMeasurement(file)
		if err != nil {
			return nil, err
		}
		if len(all) > 0 && m.mode != all[0].mode {
			return nil, fmt.Errorf("%s is of mode %s, %s of mode %s", file, m.mode, all[0].file, all[0].mode)
		}
		all = append(all, m)
	}
	return all, nil
}

// loadMeasurement reads results of a mode or of "bench ceiling".
func loadMeasurement(file string) (measurement, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return measurement{}, err
	}
	var res Result
	if err := json.Unmarshal(data, &res); err != nil {
		return measurement{}, fmt.Errorf("%s: %w", file, err)
	}
	m := measurement{file: file, mode: res.Mode}
	host := func(h Host) string { return fmt.Sprintf("%d × %s", h.CPUs, h.Model) }
	switch {
	case res.Mode == ceilingModeName:
		var c Ceiling
		if err := json.Unmarshal(data, &c); err != nil {
			return measurement{}, fmt.Errorf("%s: %w", file, err)
		}
		m.setting, m.metrics = fmt.Sprintf("rows of %d bytes, %s", c.Size, host(c.Host)), c.metrics()
	case findMode(res.Mode) != nil:
		m.setting, m.metrics = res.load()+", "+host(res.Host), res.metrics()
		m.wrong = strings.Join(slices.DeleteFunc([]string{res.Violations(), res.broken()},
			func(s string) bool { return s == "" }), ", ")
	default:
		return measurement{}, fmt.Errorf("%s holds no results of bench", file)
	}
	return m, nil
}

// metrics lists what two runs are compared by.
func (res *Result) metrics() []metric {
	var all []metric
	if t := res.Traffic; t != nil {
		all = append(all, metric{"acknowledged", "/s", t.AckedPerS, true}, metric{"delivered", "/s", t.DeliveredPerS, true})
	}
	for _, op := range res.Operations {
		all = append(all, metric{op.Name, "/s", op.PerS, true})
	}
	for _, l := range res.latencies() {
		all = append(all, metric{l.name + " p50", " ms", l.P50, false}, metric{l.name + " p99", " ms", l.P99, false},
			metric{l.name + " p99.9", " ms", l.P999, false})
	}
	for _, name := range sorted(res.CPUPerOp) {
		all = append(all, metric{"CPU " + name, " µs", res.CPUPerOp[name], false})
	}
	if res.Idle != nil {
		for _, name := range sorted(res.Idle.BytesPerConnection) {
			all = append(all, metric{"per connection " + name, " bytes", res.Idle.BytesPerConnection[name], false})
		}
	}
	for _, name := range sorted(res.RSS) {
		all = append(all, metric{"memory " + name, " MiB", float64(res.RSS[name]) / (1 << 20), false})
	}
	return all
}

// metrics lists what two ceilings are compared by.
func (c *Ceiling) metrics() []metric {
	all := []metric{{"commit p50", " ms", c.Commit.P50, false}, {"commit p99", " ms", c.Commit.P99, false}}
	for _, part := range []struct {
		name  string
		steps []CeilingStep
	}{{"rows", c.Insert}, {"counters", c.Redis}} {
		for _, s := range part.steps {
			name := fmt.Sprintf("%s in %d, %d conn.", part.name, s.Batch, s.Connections)
			all = append(all, metric{name, "/s", s.PerS, true})
			if cpu, ok := s.CPUPerOp["total"]; ok {
				all = append(all, metric{name + " CPU", " µs", cpu, false})
			}
		}
	}
	return all
}

// values collects one metric of all runs of a side, sorted; empty if a run
// lacks it.
func values(side []measurement, name string) (all []float64) {
	for _, m := range side {
		at := slices.IndexFunc(m.metrics, func(x metric) bool { return x.name == name })
		if at < 0 {
			return nil
		}
		all = append(all, m.metrics[at].value)
	}
	slices.Sort(all)
	return all
}

// median of sorted values.
func median(sorted []float64) float64 {
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

// compare prints the table.
func compare(w io.Writer, base, fresh []measurement) {
	for _, m := range slices.Concat(base, fresh) {
		if m.wrong != "" {
			_, _ = fmt.Fprintf(w, "%s does not count: %s\n", m.file, m.wrong)
		}
		if m.setting != base[0].setting {
			_, _ = fmt.Fprintf(w, "%s was made otherwise:\n  %s\n  %s\n", m.file, base[0].setting, m.setting)
		}
	}
	s := newSheet(w)
	s.row("%s\tbase\tnew\tratio\t", base[0].mode)
	for _, m := range base[0].metrics {
		a, b := values(base, m.name), values(fresh, m.name)
		if len(a) == 0 || len(b) == 0 {
			continue
		}
		ratio := "–"
		if median(a) != 0 {
			ratio = fmt.Sprintf("%.3f", median(b)/median(a))
		}
		s.row("%s\t%s\t%s\t%s\t%s", m.name, spread(a, m.unit), spread(b, m.unit), ratio, judge(a, b, m.more))
	}
	s.gap()
	if len(base) == 1 && len(fresh) == 1 {
		s.row("One run each: a difference of some percent may be chance. Several runs (--base, --new) tell.")
	} else {
		s.row("Medians of %d and %d runs, with the lowest and the highest.", len(base), len(fresh))
	}
	_ = s.Flush()
}

// sameWithin is the difference that single runs are not judged by.
const sameWithin = 0.05

// judge says what became of sorted values.
func judge(a, b []float64, more bool) string {
	x, y := median(a), median(b)
	if len(a) == 1 && len(b) == 1 {
		if x == y || math.Abs(y-x) <= sameWithin*math.Abs(x) {
			return "about the same"
		}
	} else if a[0] <= b[len(b)-1] && b[0] <= a[len(a)-1] {
		return "no clear difference"
	}
	if y > x == more {
		return "better"
	}
	return "worse"
}

// spread formats sorted values: the median, and the ends if there are some.
func spread(sorted []float64, unit string) string {
	text := number(median(sorted)) + unit
	if len(sorted) > 1 {
		text += " (" + number(sorted[0]) + " – " + number(sorted[len(sorted)-1]) + ")"
	}
	return text
}

// number formats a number with three digits at least: 12,345, 12.3, 0.0123.
func number(v float64) string {
	switch abs := math.Abs(v); {
	case abs >= 1000:
		text := strconv.FormatFloat(math.Round(abs), 'f', 0, 64)
		for at := len(text) - 3; at > 0; at -= 3 {
			text = text[:at] + "," + text[at:]
		}
		if v < 0 {
			text = "-" + text
		}
		return text
	case abs >= 100 || v == 0:
		return strconv.FormatFloat(v, 'f', 0, 64)
	case abs >= 10:
		return strconv.FormatFloat(v, 'f', 1, 64)
	case abs >= 1:
		return strconv.FormatFloat(v, 'f', 2, 64)
	}
	return strconv.FormatFloat(v, 'g', 3, 64)
}
