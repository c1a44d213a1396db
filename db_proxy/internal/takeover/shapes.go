package takeover

import (
	"fmt"
	"io/fs"
	"math"
	"regexp"
	"strconv"
	"strings"

	migrations "teamtalk/sql"
)

// shape is what a column of ours takes.
type shape struct {
	most       uint64 // of a number; 0: it is a text
	characters int64  // of a text
	nullable   bool
}

var (
	tableText = regexp.MustCompile(`(?ms)^CREATE TABLE IF NOT EXISTS (\w+) \((.*?)^\)`)
	//nolint:lll // one expression
	columnText = regexp.MustCompile(`(?m)^  (\w+) +(tinyint|mediumint|int|bigint|varchar|char)(?:\((\d+)\))?( unsigned)?( NOT NULL)?`)
)

// most are the highest numbers of the unsigned types.
var most = map[string]uint64{
	"tinyint": math.MaxUint8, "smallint": math.MaxUint16, "mediumint": 1<<24 - 1, "int": math.MaxUint32,
	"bigint": math.MaxUint64,
}

// shapes returns the columns of our tables as the migrations make them. What
// later migrations add, no original has.
func shapes() (map[string]map[string]shape, error) {
	all := map[string]map[string]shape{}
	files, err := fs.Glob(migrations.Files, "mysql/*.sql")
	if err != nil {
		return nil, fmt.Errorf("list migrations: %w", err)
	}
	for _, file := range files {
		text, err := fs.ReadFile(migrations.Files, file)
		if err != nil {
			return nil, fmt.Errorf("read migration: %w", err)
		}
		for _, table := range tableText.FindAllSubmatch(text, -1) {
			columns := map[string]shape{}
			for _, c := range columnText.FindAllStringSubmatch(string(table[2]), -1) {
				columns[c[1]] = shapeOf(c[2], c[3], c[5] == "")
			}
			all[string(table[1])] = columns
		}
	}
	return all, nil
}

func shapeOf(kind, length string, nullable bool) shape {
	if n, ok := most[kind]; ok {
		return shape{most: n, nullable: nullable}
	}
	characters, err := strconv.ParseInt(length, 10, 64)
	if err != nil {
		characters = math.MaxInt64
	}
	return shape{characters: characters, nullable: nullable}
}

// number reports whether a column holds numbers.
func (c columnInfo) number() bool {
	switch c.kind {
	case "tinyint", "smallint", "mediumint", "int", "bigint", "decimal", "float", "double", "bit", "year":
		return true
	}
	return false
}

// beyond is a condition for the values that do not fit, "" if there can be
// none.
func (c columnInfo) beyond(s shape) string {
	name := quote(c.name)
	switch {
	case s.most > 0 && !c.number():
		return "1=1"
	case s.most > 0:
		if highest, ok := most[c.kind]; ok && highest <= s.most {
			if c.unsigned || c.auto {
				return ""
			}
			return name + " < 0"
		}
		return fmt.Sprintf("(%s < 0 OR %s > %d OR %s <> FLOOR(%s))", name, name, s.most, name, name)
	case c.binary():
		return fmt.Sprintf("(CAST(CONVERT(%s USING utf8mb4) AS BINARY) <> %s OR CHAR_LENGTH(CONVERT(%s USING utf8mb4)) > %d)",
			name, name, name, s.characters)
	case c.text && c.length <= s.characters:
		return ""
	}
	return fmt.Sprintf("CHAR_LENGTH(%s) > %d", name, s.characters)
}

// binary reports whether a column holds bytes.
func (c columnInfo) binary() bool {
	return strings.HasSuffix(c.kind, "blob") || strings.HasSuffix(c.kind, "binary")
}

// empty is what a row of ours gets in a column that it knows nothing of and
// that takes no NULL: what MySQL itself would put there if it were not strict.
// ok is false for a type that has none.
func (c columnInfo) empty() (value string, ok bool) {
	switch c.kind {
	case "enum":
		return "1", true // the first of its words
	case "date":
		return "'0000-00-00'", true
	case "datetime", "timestamp":
		return "'0000-00-00 00:00:00'", true
	case "time":
		return "'00:00:00'", true
	case "json":
		return "'null'", true
	case "uuid":
		return "'00000000-0000-0000-0000-000000000000'", true
	case "inet6":
		return "'::'", true
	case "inet4":
		return "'0.0.0.0'", true
	case "set":
		return "''", true
	case "point", "geometry":
		return "ST_GeomFromText('POINT(0 0)')", true
	}
	switch {
	case c.number():
		return "0", true
	case c.text, c.binary():
		return "''", true
	}
	return "", false
}
