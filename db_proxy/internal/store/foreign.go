package store

import (
	"context"
	"database/sql"
	"fmt"
	"maps"
	"slices"
	"strings"

	"teamtalk/internal/im"
)

// Tables are the tables of a database. Their names are compared as the server
// compares them: with lower_case_table_names, case does not count.
type Tables struct {
	fold  bool
	names map[string]string // as compared -> as the server lists it
}

// ListTables reads the names of all tables of the database; views are none.
func ListTables(ctx context.Context, db *sql.DB) (Tables, error) {
	t := Tables{names: map[string]string{}}
	var lower int
	if err := db.QueryRowContext(ctx, "SELECT @@lower_case_table_names").Scan(&lower); err != nil {
		return t, fmt.Errorf("ask how names are compared: %w", classify(err))
	}
	t.fold = lower != 0
	rows, err := db.QueryContext(ctx, `SELECT TABLE_NAME FROM information_schema.TABLES
		WHERE TABLE_SCHEMA = DATABASE() AND TABLE_TYPE = 'BASE TABLE'`)
	if err != nil {
		return t, fmt.Errorf("list tables: %w", classify(err))
	}
	defer rows.Close()
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return t, fmt.Errorf("list tables: %w", classify(err))
		}
		t.names[t.key(name)] = name
	}
	return t, rows.Err()
}

func (t Tables) key(name string) string {
	if t.fold {
		return strings.ToLower(name)
	}
	return name
}

// Has reports whether there is a table of this name.
func (t Tables) Has(name string) bool { return t.names[t.key(name)] != "" }

// Listed returns a table's name as information_schema has it, or name itself
// when there is no such table.
func (t Tables) Listed(name string) string {
	if listed := t.names[t.key(name)]; listed != "" {
		return listed
	}
	return name
}

// Named returns the table whose name is this but for case, "" if there is
// none. An exact match comes first.
func (t Tables) Named(name string) string {
	if t.Has(name) {
		return t.Listed(name)
	}
	for _, listed := range slices.Sorted(maps.Values(t.names)) {
		if strings.EqualFold(listed, name) {
			return listed
		}
	}
	return ""
}

// originals are tables by which an installation of the original is known.
// Source: docs/protocol/storage.md §1.
var originals = []string{
	"IMUser", "IMGroup", "IMGroupMember", "IMRecentSession", "IMRelationShip", "IMMessage_0", "IMGroupMessage_0",
}

// Elsewhere is an installation of the original whose tables do not have the
// original's names.
type Elsewhere struct {
	Prefix string // before the original's names, which may be in another case
	User   string // its table of accounts
}

// Elsewhere returns the installations under other names, by prefix. Tables
// that the way back has put aside are none.
func (t Tables) Elsewhere() (all []Elsewhere) {
	for _, listed := range slices.Sorted(maps.Values(t.names)) {
		prefix, ok := cutSuffixFold(listed, originals[0])
		if !ok || prefix == "" && t.Has(originals[0]) || strings.EqualFold(prefix, undonePrefix) {
			continue
		}
		if !slices.ContainsFunc(originals, func(name string) bool { return t.Named(prefix+name) == "" }) {
			all = append(all, Elsewhere{prefix, listed})
		}
	}
	return all
}

// undonePrefix is what the way back of a takeover puts before our tables.
const undonePrefix = "tt_undone_"

func cutSuffixFold(s, suffix string) (before string, ok bool) {
	at := len(s) - len(suffix)
	if at < 0 || !strings.EqualFold(s[at:], suffix) {
		return "", false
	}
	return s[:at], true
}

// Refusal says what was found and how to go on.
func (e Elsewhere) Refusal() error {
	return im.Errorf(im.Invalid, "the database has the tables of an original server under other names, such as %s: "+
		"run \"teamtalk migrate --check --table-prefix '%s'\" and then \"teamtalk migrate --table-prefix '%s'\" to take "+
		"them over, or name another database", e.User, e.Prefix, e.Prefix)
}

// Phase is how far a takeover of the original's tables came.
type Phase string

// The phases. Untouched: there is none.
const (
	Untouched Phase = ""
	Underway  Phase = "underway"   // it has begun and is not complete
	Taken     Phase = "taken_over" // it is complete, and the way back is open
	Undoing   Phase = "undoing"    // the way back has begun and is not complete
	Ending    Phase = "finishing"  // the copies are being dropped
)

// Rows of the table tt_takeover that say the phase.
const (
	TakeoverTable  = "tt_takeover"
	StepComplete   = "complete" // everything was copied and counted
	StepUndo       = "undo"     // the way back has begun
	StepFinish     = "finish"   // the copies are being dropped
	rowsOfTakeover = "SELECT step, done, started FROM tt_takeover WHERE step IN ('complete', 'undo', 'finish')"
)

// TakeoverPhase reads the phase of the takeover of a database.
func TakeoverPhase(ctx context.Context, db *sql.DB, tables Tables) (Phase, error) {
	if !tables.Has(TakeoverTable) {
		return Untouched, nil
	}
	rows, err := db.QueryContext(ctx, rowsOfTakeover)
	if err != nil {
		return "", fmt.Errorf("look at the takeover: %w", classify(err))
	}
	defer rows.Close()
	done, began := map[string]bool{}, map[string]bool{}
	for rows.Next() {
		var step string
		var isDone bool
		var started uint32
		if err := rows.Scan(&step, &isDone, &started); err != nil {
			return "", fmt.Errorf("look at the takeover: %w", classify(err))
		}
		done[step], began[step] = isDone, started != 0
	}
	switch {
	case began[StepFinish]:
		return Ending, rows.Err()
	case began[StepUndo]:
		return Undoing, rows.Err()
	case done[StepComplete]:
		return Taken, rows.Err()
	}
	return Underway, rows.Err()
}

// Advice says what an operator has to do in a phase that does not last, "" in
// the others.
func (p Phase) Advice() string {
	switch p {
	case Underway:
		return "the takeover of the original's data is not complete: run \"teamtalk migrate\" again, " +
			"or \"teamtalk migrate --undo\" to go back"
	case Undoing:
		return "the way back to the original's tables is not complete: run \"teamtalk migrate --undo\" again"
	case Ending:
		return "the takeover is being finished: run \"teamtalk migrate --finish\" again"
	case Untouched, Taken:
	}
	return ""
}

// refuseForeign refuses a database with tables of the original servers: they
// lack columns and unique keys that everything here relies on, and CREATE
// TABLE IF NOT EXISTS would pass over them, or make empty tables beside those
// under other names. So it does one whose takeover, or way back, has begun and
// is not complete. takenOver reports that an original can still come back.
func refuseForeign(ctx context.Context, db *sql.DB) (takenOver bool, err error) {
	tables, err := ListTables(ctx, db)
	if err != nil {
		return false, err
	}
	switch phase, err := TakeoverPhase(ctx, db, tables); {
	case err != nil:
		return false, err
	case phase == Underway, phase == Undoing:
		return false, im.Errorf(im.Invalid, "store: %s", phase.Advice())
	case phase != Untouched:
		return phase == Taken, nil
	}
	if !tables.Has("IMUser") {
		for _, e := range tables.Elsewhere() {
			return false, fmt.Errorf("store: %w", e.Refusal())
		}
		return false, nil
	}
	const text = `SELECT COUNT(*) FROM information_schema.COLUMNS
		WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = ? AND COLUMN_NAME = 'password_hash'`
	var ours int
	if err := db.QueryRowContext(ctx, text, tables.Listed("IMUser")).Scan(&ours); err != nil {
		return false, fmt.Errorf("look at the database: %w", classify(err))
	}
	if ours == 0 {
		return false, im.Errorf(im.Invalid, "store: the database has the tables of an original server: "+
			"run \"teamtalk migrate --check\" and \"teamtalk migrate\" with this configuration first")
	}
	return false, nil
}
