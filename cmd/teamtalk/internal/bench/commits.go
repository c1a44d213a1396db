package bench

import (
	"context"
	"errors"
	"fmt"
	"time"

	"teamtalk/db_proxy/dbproxy"
)

// commitEvery is the time between two commits beside a load: often enough for
// a percentile, too rare to be a load.
const commitEvery = 5 * time.Millisecond

// loadCommits returns the database to commit to; nil without a configuration.
func loadCommits(config string) (*dbproxy.MySQL, error) {
	if config == "" {
		return nil, nil //nolint:nilnil // no commits are no error
	}
	conf, err := dbproxy.LoadConfig(config)
	switch {
	case err != nil:
		return nil, fmt.Errorf("--commits: %w", err)
	case conf.StoreDriver != "mysql":
		return nil, errors.New("--commits: there is no MariaDB in this configuration")
	}
	return &conf.Master, nil
}

// commitsBeside commits single rows to a scratch table of the database while
// load runs, and times each: what a commit costs there at that moment, whoever
// asks for it. The result goes into res.
func (r *run) commitsBeside(ctx context.Context, res *Result, load func() error) (err error) {
	if r.commits == nil {
		return load()
	}
	table, err := newScratchTable(ctx, *r.commits, 1)
	if err != nil {
		return fmt.Errorf("--commits: %w", err)
	}
	defer func() { err = errors.Join(err, table.close(ctx)) }()
	var (
		ctxRun, stop = context.WithCancel(ctx)
		done         = make(chan error, 1)
		hist         = newMeter(1, span{0, time.Duration(1<<63 - 1)})
	)
	go func() { done <- r.commit(ctxRun, table, hist) }()
	err = load()
	stop()
	err = errors.Join(err, <-done)
	e := hist.sum(0)
	l := e.latency()
	res.Commit = &l
	return err
}

// commit commits rows until ctx ends.
func (r *run) commit(ctx context.Context, table *scratchTable, m *meter) error {
	rows := newRowWriter(table.name, r.cfg.Size)
	start := time.Now()
	tick := time.NewTicker(commitEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		statement := rows.statement(0, 1)
		before := time.Since(start)
		if _, err := table.conns[0].ExecContext(context.WithoutCancel(ctx), statement); err != nil {
			return fmt.Errorf("commit a row beside the load: %w", err)
		}
		if before >= r.cfg.WarmUp {
			m.record(0, 0, before, time.Since(start))
		}
	}
}
