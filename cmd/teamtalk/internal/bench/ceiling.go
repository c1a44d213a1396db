package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"teamtalk/db_proxy/dbproxy"
)

// Ceiling is what the databases do by themselves: rows in the shape of a
// message inserted without anything around, and the counters of a message
// alone. Nothing that stores messages there can be faster.
type Ceiling struct {
	Mode     string            `json:"mode"` // "ceiling"
	Started  string            `json:"started"`
	Step     float64           `json:"step_s"` // measured time of each step
	Size     int               `json:"size"`   // bytes of text per row, before encryption
	Commit   Latency           `json:"commit_ms"`
	Insert   []CeilingStep     `json:"insert"`
	Redis    []CeilingStep     `json:"redis"`
	Settings map[string]string `json:"settings"` // of MariaDB and Redis, those that matter
	Host     Host              `json:"host"`
}

// CeilingStep is one way to do it: Batch rows in a transaction, or so many
// pairs of INCRBY and HSET in a pipeline, on some connections at once.
type CeilingStep struct {
	Batch       int     `json:"batch"`
	Connections int     `json:"connections"`
	PerS        float64 `json:"per_s"` // rows or pairs
	MS          Latency `json:"ms"`    // of a whole batch
	// CPUPerOp is per row or pair: by server and in total; empty without --pids.
	CPUPerOp map[string]float64 `json:"cpu_us_per_op"`
}

// ceilingModeName marks the results of "bench ceiling".
const ceilingModeName = "ceiling"

// ceilingConfig is one measurement.
type ceilingConfig struct {
	config      string // dbproxyserver.conf
	pids        []Process
	step        time.Duration
	size        int
	connections int
}

// ceilingCommand returns "bench ceiling".
func ceilingCommand() *cobra.Command {
	var (
		cfg  ceilingConfig
		out  output
		pids string
	)
	cmd := &cobra.Command{
		Use:   ceilingModeName,
		Short: "Measure MariaDB and Redis alone, with rows and counters like those of messages",
		Long: "Ceiling inserts rows into a scratch table beside those of the messages, and counts in scratch\n" +
			"keys; both are removed afterwards. What a server stores per second stays below it.",
		Args: cobra.NoArgs, SilenceUsage: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			fail := func(err error) error { return &ExitError{exitFailure, fmt.Errorf("bench ceiling: %w", err)} }
			var err error
			if cfg.pids, err = parsePids(pids); err != nil {
				return fail(err)
			}
			c, err := measureCeiling(cmd.Context(), cfg)
			if err != nil {
				return fail(err)
			}
			if !out.quiet && out.json != "-" {
				c.table(cmd.OutOrStdout())
			}
			if out.json != "" {
				if err := writeJSON(out.json, cmd.OutOrStdout(), c); err != nil {
					return fail(err)
				}
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVar(&cfg.config, "config", "dbproxyserver.conf", "configuration of a db_proxy that uses these databases")
	f.DurationVar(&cfg.step, "step", 3*time.Second, "measured time of each step")
	f.IntVar(&cfg.size, "size", 100, "bytes of text per message")
	f.IntVar(&cfg.connections, "connections", 2, "connections at a time, but for single commits and Redis")
	f.StringVar(&pids, "pids", "", "servers whose CPU to measure: name=pid,...")
	f.StringVar(&out.json, "json", "", "write the results to this file; - is standard output")
	f.BoolVar(&out.quiet, "quiet", false, "no table")
	return cmd
}

// measureCeiling carries out all steps, one after the other.
func measureCeiling(ctx context.Context, cfg ceilingConfig) (c *Ceiling, err error) {
	conf, err := dbproxy.LoadConfig(cfg.config)
	switch {
	case err != nil:
		return nil, err
	case conf.StoreDriver != "mysql":
		return nil, errors.New("there is no MariaDB in this configuration")
	case cfg.step <= 0 || cfg.size < stampSize:
		return nil, fmt.Errorf("--step must be positive, --size at least %d", stampSize)
	case cfg.connections < 1 || cfg.connections > maxRowConnections:
		return nil, fmt.Errorf("--connections: 1 to %d", maxRowConnections)
	}
	if _, err := readUsage(cfg.pids); err != nil {
		return nil, err
	}
	c = &Ceiling{
		Mode: ceilingModeName, Started: time.Now().Format(time.RFC3339), Step: cfg.step.Seconds(), Size: cfg.size,
		Settings: make(map[string]string), Host: thisHost(),
	}
	if err := c.measureRows(ctx, cfg, conf.Master); err != nil {
		return nil, err
	}
	pool, ok := conf.Caches["unread"]
	if !ok {
		return nil, errors.New("there is no Redis in this configuration")
	}
	if err := c.measureCounters(ctx, cfg, pool); err != nil {
		return nil, err
	}
	return c, nil
}

// step repeats do on some connections for a while. do handles one batch.
func (c *Ceiling) step(ctx context.Context, cfg ceilingConfig, batch, connections int,
	do func(ctx context.Context, connection, n int) error,
) (CeilingStep, error) {
	s := CeilingStep{Batch: batch, Connections: connections}
	r := &run{cfg: Config{Pids: cfg.pids, WarmUp: cfg.step / 5, Duration: cfg.step}, mode: &mode{kinds: []string{"batch"}}}
	var failed failures
	used, err := r.load(ctx, newProgress(nil, r), func(ctx context.Context) {
		r.repeat(ctx, connections, &failed, func(ctx context.Context, worker, n int) (int, error) {
			return 0, do(ctx, worker, n)
		})
	})
	if err == nil && failed.first != nil {
		err = failed.first
	}
	e := r.meter.sum(0)
	rows := e.inWindow * int64(batch)
	s.PerS, s.MS, s.CPUPerOp = float64(rows)/cfg.step.Seconds(), e.latency(), used.usage.perOp(rows)
	return s, err
}

// table prints the results for people.
func (c *Ceiling) table(w io.Writer) {
	s := newSheet(w)
	block := func(title, unit string, steps []CeilingStep) {
		s.row("%s\tconnections\t%s/s\tCPU each\tp50\tp99", title, unit)
		for _, t := range steps {
			s.row("%d\t%d\t%.0f\t%.1f µs\t%.2f ms\t%.2f ms",
				t.Batch, t.Connections, t.PerS, t.CPUPerOp["total"], t.MS.P50, t.MS.P99)
		}
		s.gap()
	}
	block("rows per commit", "rows", c.Insert)
	block("pairs per pipeline", "pairs", c.Redis)
	for _, name := range sorted(c.Settings) {
		s.row("%s\t%s", name, c.Settings[name])
	}
	_ = s.Flush()
}

// Share is how near a run came to the ceiling.
type Share struct {
	// Rate is acknowledged messages per second by the best rate of bare rows.
	Rate     float64 `json:"rate"`
	RowsPerS float64 `json:"rows_per_s"`
	// BareCPU is the CPU of MariaDB and Redis in µs for a bare row in batches
	// of 100 and its counters in pipelines of 100; CPU that by the CPU of all
	// servers per message. Zero where CPU was not measured.
	BareCPU     float64 `json:"bare_cpu_us"`
	CPU         float64 `json:"cpu"`
	CommitP50MS float64 `json:"commit_p50_ms"` // of a single row
	CommitP99MS float64 `json:"commit_p99_ms"`
}

// loadCeiling reads the results of "bench ceiling"; nil without a file.
func loadCeiling(path string) (*Ceiling, error) {
	if path == "" {
		return nil, nil //nolint:nilnil // nothing to compare with is no error
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("--ceiling: %w", err)
	}
	var c Ceiling
	if err := json.Unmarshal(data, &c); err != nil {
		return nil, fmt.Errorf("--ceiling: %s: %w", path, err)
	}
	if c.Mode != ceilingModeName || len(c.Insert) == 0 {
		return nil, fmt.Errorf("--ceiling: %s does not hold results of bench ceiling", path)
	}
	return &c, nil
}

// shareBatch is the batch of which Share takes the CPU.
const shareBatch = 100

// addCeiling enters shares; only messages have any.
func (res *Result) addCeiling(c *Ceiling) {
	if c == nil || res.Traffic == nil {
		return
	}
	s := &Share{CommitP50MS: c.Commit.P50, CommitP99MS: c.Commit.P99}
	for _, t := range c.Insert {
		s.RowsPerS = max(s.RowsPerS, t.PerS)
	}
	s.Rate = res.AckedPerS / s.RowsPerS
	for _, steps := range [][]CeilingStep{c.Insert, c.Redis} {
		for _, t := range steps {
			if t.Batch == shareBatch {
				s.BareCPU += t.CPUPerOp["total"]
			}
		}
	}
	if total := res.CPUPerOp["total"]; total > 0 {
		s.CPU = s.BareCPU / total
	}
	res.Ceiling = s
}

// lines says the same to people.
func (s *Share) lines() []string {
	all := []string{fmt.Sprintf("rate\t%.1f %% of %.0f bare rows/s", 100*s.Rate, s.RowsPerS)}
	if s.CPU > 0 {
		all = append(all, fmt.Sprintf("bare databases\t%.1f µs CPU per message, %.0f %% of all", s.BareCPU, 100*s.CPU))
	}
	return append(all, fmt.Sprintf("bare commit\tp50 %.2f ms, p99 %.2f ms", s.CommitP50MS, s.CommitP99MS))
}
