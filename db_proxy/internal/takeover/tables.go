package takeover

import (
	"context"
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"strings"

	"teamtalk/db_proxy/internal/store"
	"teamtalk/internal/im"
	migrations "teamtalk/sql"
)

// Prefixes and names of the tables that a takeover makes.
const (
	aside  = "tt_original_" // the original's tables, as they were
	undone = "tt_undone_"   // ours, after the way back

	stateTable    = store.TakeoverTable
	findingTable  = "tt_takeover_finding"
	nameTable     = "tt_takeover_name"
	relationTable = "tt_takeover_relation"
	messageTable  = "tt_takeover_message"
	redisTable    = "tt_takeover_redis"
	namesTable    = "tt_takeover_source" // what the original's tables were called
	keysTable     = "tt_takeover_key"    // unique keys that the way back has loosened
)

// moved are the tables of the original that are set aside and copied.
// IMAdmin, IMDiscovery and IMCallLog, which no server of ours uses, stay
// where they are. Source: docs/protocol/storage.md §1.
var moved = slices.Concat(
	[]string{"IMUser", "IMDepart", "IMRelationShip", "IMGroup", "IMGroupMember", "IMRecentSession"},
	shards("IMMessage_"), shards("IMGroupMessage_"), []string{"IMAudio", "IMTransmitFile"},
)

// required are those without which a database is none of the original.
var required = slices.Concat(
	[]string{"IMUser", "IMRelationShip", "IMGroup", "IMGroupMember", "IMRecentSession"},
	shards("IMMessage_"), shards("IMGroupMessage_"),
)

func shards(prefix string) []string {
	names := make([]string, im.Shards)
	for k := range names {
		names[k] = fmt.Sprintf("%s%d", prefix, k)
	}
	return names
}

// created returns the tables that the migrations make.
func created() (map[string]bool, error) {
	names := map[string]bool{}
	pattern := regexp.MustCompile("(?i)CREATE TABLE (?:IF NOT EXISTS )?`?(\\w+)")
	files, err := fs.Glob(migrations.Files, "mysql/*.sql")
	if err != nil {
		return nil, fmt.Errorf("list migrations: %w", err)
	}
	for _, file := range files {
		text, err := fs.ReadFile(migrations.Files, file)
		if err != nil {
			return nil, fmt.Errorf("read migration: %w", err)
		}
		for _, match := range pattern.FindAllSubmatch(text, -1) {
			names[string(match[1])] = true
		}
	}
	return names, nil
}

// columnInfo is a column of a table as the database describes it.
type columnInfo struct {
	name     string
	declared string // its type in full
	kind     string // its type in a word
	nullable bool
	text     bool
	length   int64  // characters of a text
	charset  string // of a text
	unsigned bool
	auto     bool
	optional bool // an INSERT may leave it out
}

// columns describes a table, by its raw name; a table that is not there has
// none.
func (t *Takeover) columns(ctx context.Context, table string) ([]columnInfo, error) {
	const text = `SELECT COLUMN_NAME, COLUMN_TYPE, LOWER(DATA_TYPE), IS_NULLABLE = 'YES',
			DATA_TYPE IN ('varchar', 'char', 'tinytext', 'text', 'mediumtext', 'longtext'),
			COALESCE(CHARACTER_MAXIMUM_LENGTH, 0), COALESCE(CHARACTER_SET_NAME, ''), COLUMN_TYPE LIKE '%unsigned%',
			EXTRA LIKE '%auto_increment%',
			COLUMN_DEFAULT IS NOT NULL OR IS_NULLABLE = 'YES' OR EXTRA LIKE '%auto_increment%' OR EXTRA LIKE '%GENERATED%'
		FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = ? ORDER BY ORDINAL_POSITION`
	tables, err := t.tables(ctx)
	if err != nil {
		return nil, err
	}
	all, err := rows(ctx, t.db, func(r scanner) (c columnInfo, err error) {
		return c, r.Scan(&c.name, &c.declared, &c.kind, &c.nullable, &c.text, &c.length, &c.charset, &c.unsigned, &c.auto,
			&c.optional)
	}, text, tables.Listed(table))
	if err != nil {
		return nil, fmt.Errorf("describe %s: %w", table, err)
	}
	return all, nil
}

func hasColumn(columns []columnInfo, name string) bool {
	return slices.ContainsFunc(columns, func(c columnInfo) bool { return strings.EqualFold(c.name, name) })
}

// common returns the columns that both tables have, and for each the
// expression that reads it from o, the original's: a NULL becomes the empty
// value where ours takes none.
func common(from, to []columnInfo) (names, values []string) {
	for _, c := range to {
		if !hasColumn(from, c.name) {
			continue
		}
		value := "o." + quote(c.name)
		if !c.nullable {
			empty := "0"
			if c.text {
				empty = "''"
			}
			value = "COALESCE(" + value + ", " + empty + ")"
		}
		names = append(names, quote(c.name))
		values = append(values, value)
	}
	return names, values
}

func quote(name string) string { return "`" + strings.ReplaceAll(name, "`", "``") + "`" }
