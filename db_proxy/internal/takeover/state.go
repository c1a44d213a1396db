package takeover

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"time"

	"teamtalk/db_proxy/internal/store"
)

// Rows of the state table that are no steps.
const (
	stepComplete = store.StepComplete
	stepUndo     = store.StepUndo
	stepFinish   = store.StepFinish
	markPrefix   = "mark:" // the highest id of a table when the takeover was complete
	basePrefix   = "base:" // the highest id of a table of the original when the way back came to it
)

// stepState is a row of the state table.
type stepState struct {
	name     string
	done     bool
	position int64 // the last key that was dealt with; -1: none
	rows     uint64
	started  uint32
	ended    uint32
}

func (s stepState) began() bool { return s.started != 0 }

// stateTables are made first.
var stateTables = []string{
	`CREATE TABLE IF NOT EXISTS tt_takeover (
		step varchar(64) NOT NULL PRIMARY KEY, done tinyint NOT NULL DEFAULT 0, position bigint NOT NULL DEFAULT -1,
		row_count bigint unsigned NOT NULL DEFAULT 0, started int unsigned NOT NULL DEFAULT 0,
		ended int unsigned NOT NULL DEFAULT 0)`,
	`CREATE TABLE IF NOT EXISTS tt_takeover_finding (
		id bigint unsigned NOT NULL AUTO_INCREMENT PRIMARY KEY, step varchar(64) NOT NULL, kind varchar(32) NOT NULL,
		subject varchar(128) NOT NULL, detail varchar(512) NOT NULL, number bigint unsigned NOT NULL,
		KEY idx_kind (kind), KEY idx_step (step))`,
	`CREATE TABLE IF NOT EXISTS tt_takeover_name (id int unsigned NOT NULL PRIMARY KEY, name varchar(32) NOT NULL)`,
	`CREATE TABLE IF NOT EXISTS tt_takeover_relation (
		id int unsigned NOT NULL PRIMARY KEY, relation int unsigned NOT NULL, smallId int unsigned NOT NULL,
		bigId int unsigned NOT NULL, made tinyint NOT NULL DEFAULT 0, KEY idx_pair (smallId, bigId),
		KEY idx_relation (relation))`,
	`CREATE TABLE IF NOT EXISTS tt_takeover_message (
		kind tinyint unsigned NOT NULL, shard tinyint unsigned NOT NULL, id int unsigned NOT NULL,
		relation int unsigned NOT NULL, msgId int unsigned NOT NULL, PRIMARY KEY (kind, shard, id))`,
	`CREATE TABLE IF NOT EXISTS tt_takeover_redis (name varchar(191) NOT NULL PRIMARY KEY,
		value varchar(255) DEFAULT NULL)`,
	`CREATE TABLE IF NOT EXISTS tt_takeover_source (name varchar(64) NOT NULL PRIMARY KEY,
		original varchar(64) NOT NULL)`,
	`CREATE TABLE IF NOT EXISTS tt_takeover_key (tableName varchar(64) NOT NULL, name varchar(64) NOT NULL,
		position int unsigned NOT NULL, definition text NOT NULL, PRIMARY KEY (tableName, name))`,
}

// stateShape is the rest of their definition.
const stateShape = " ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin"

// createState makes the tables of the takeover. The state table comes last:
// while it is missing, nothing has begun. before runs when only it is missing.
func (t *Takeover) createState(ctx context.Context, before func(context.Context) error) error {
	for i, text := range slices.Backward(stateTables) {
		if i == 0 && before != nil {
			if err := before(ctx); err != nil {
				return err
			}
		}
		if _, err := exec(ctx, t.db, text+stateShape); err != nil {
			return fmt.Errorf("make the tables of the takeover: %w", err)
		}
	}
	return nil
}

func (t *Takeover) load(ctx context.Context, name string) (stepState, error) {
	all, err := rows(ctx, t.db, func(r scanner) (s stepState, err error) {
		return s, r.Scan(&s.name, &s.done, &s.position, &s.rows, &s.started, &s.ended)
	}, "SELECT step, done, position, row_count, started, ended FROM tt_takeover WHERE step = ?", name)
	if err != nil {
		return stepState{}, fmt.Errorf("read state of the takeover: %w", err)
	}
	if len(all) == 0 {
		return stepState{name: name, position: -1}, nil
	}
	return all[0], nil
}

// save writes a row of the state table, in the transaction of the work.
func save(ctx context.Context, q queryer, s stepState) error {
	_, err := exec(ctx, q, `INSERT INTO tt_takeover (step, done, position, row_count, started, ended)
		VALUES (?, ?, ?, ?, ?, ?) ON DUPLICATE KEY UPDATE done = VALUES(done), position = VALUES(position),
		row_count = VALUES(row_count), started = VALUES(started), ended = VALUES(ended)`,
		s.name, s.done, s.position, s.rows, s.started, s.ended)
	return err
}

// step is one part of a run. It starts at the beginning unless its state says
// how far it came.
type step struct {
	name string
	run  func(ctx context.Context, s *stepState) error
}

// runSteps does the steps that are not done yet.
func (t *Takeover) runSteps(ctx context.Context, all []step) error {
	t.began = t.deps.Clock()
	for i, st := range all {
		s, err := t.load(ctx, st.name)
		if err != nil {
			return err
		}
		t.progress.Step, t.progress.Number, t.progress.Of = st.name, i+1, len(all)
		if s.done {
			continue
		}
		if s.position < 0 { // from the beginning
			if _, err := exec(ctx, t.db, "DELETE FROM tt_takeover_finding WHERE step = ?", s.name); err != nil {
				return fmt.Errorf("forget findings: %w", err)
			}
		}
		if !s.began() {
			s.started = max(t.now(), 1)
		}
		if err := t.fault(st.name); err != nil {
			return err
		}
		if err := st.run(ctx, &s); err != nil {
			return fmt.Errorf("%s: %w", st.name, err)
		}
		if err := t.fault(st.name + ":work"); err != nil {
			return err
		}
		s.done, s.ended = true, t.now()
		if err := save(ctx, t.db, s); err != nil {
			return fmt.Errorf("%s: note the end: %w", st.name, err)
		}
		t.report(0)
	}
	return nil
}

// transaction runs fn in one transaction and saves the step with it.
func (t *Takeover) transaction(ctx context.Context, s *stepState, fn func(tx *sql.Tx) error) error {
	tx, err := t.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if err := fn(tx); err != nil {
		return err
	}
	if err := save(ctx, tx, *s); err != nil {
		return err
	}
	if err := t.fault(s.name + ":commit"); err != nil {
		return err
	}
	if err := tx.Commit(); err != nil {
		return err
	}
	return t.fault(s.name + ":committed")
}

// chunk is a range of keys: above After, up to Last.
type chunk struct{ after, last int64 }

// next returns the range of about size rows whose keys follow a position, or
// false when there are none. Rows of one key are never parted.
func (t *Takeover) next(ctx context.Context, table, key string, after int64, size int) (chunk, bool, error) {
	text := fmt.Sprintf("SELECT MAX(k) FROM (SELECT %s AS k FROM %s WHERE %s > ? ORDER BY %s LIMIT %d) AS part",
		key, table, key, key, size)
	all, err := column[sql.Null[int64]](ctx, t.db, text, after)
	if err != nil || len(all) == 0 || !all[0].Valid {
		return chunk{}, false, err
	}
	return chunk{after, all[0].V}, true, nil
}

// chunks runs fn on a table in ranges of about size rows, each in a
// transaction of its own. fn returns how many rows it copied.
func (t *Takeover) chunks(
	ctx context.Context, s *stepState, table, key string, size int, fn func(tx *sql.Tx, c chunk) (int64, error),
) error {
	for {
		c, more, err := t.next(ctx, table, key, s.position, size)
		if err != nil || !more {
			return err
		}
		var n int64
		err = t.transaction(ctx, s, func(tx *sql.Tx) error {
			if n, err = fn(tx, c); err != nil {
				return err
			}
			s.position = c.last
			s.rows += uint64(n)
			return nil
		})
		if err != nil {
			return fmt.Errorf("%s %d to %d: %w", key, c.after+1, c.last, err)
		}
		t.report(uint64(n))
	}
}

// report tells how far the run came.
func (t *Takeover) report(n uint64) {
	p := &t.progress
	p.Rows = min(p.Rows+n, p.Total)
	if took := t.deps.Clock().Sub(t.began); p.Rows > t.rowsBegan && took > time.Second {
		p.Left = time.Duration(float64(took) * float64(p.Total-p.Rows) / float64(p.Rows-t.rowsBegan))
	}
	if t.deps.Progress != nil {
		t.deps.Progress(*p)
	}
}
