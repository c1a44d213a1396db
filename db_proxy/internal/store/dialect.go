package store

import (
	"regexp"
	"strings"
	"sync"
)

// dialect turns the one SQL text, which is written for MySQL, into what the
// engine at hand understands. Only four shapes differ, and they are looked for
// once per text: the cache is keyed by the text and holds as many entries as
// this package has constant statements.
//
// Two things need no rewriting: /*! FOR UPDATE */ and /*! STRAIGHT_JOIN */
// are executed by MySQL and comments to SQLite, where a transaction excludes
// other writers from its start and the join order is the written one when the
// inner table is looked up by key.
type dialect struct {
	sqlite bool
	values *regexp.Regexp    // VALUES(c), never followed by a space in our text
	words  *strings.Replacer // the rest
	cache  sync.Map          // MySQL text -> SQLite text
}

func newDialect(driver string) *dialect {
	return &dialect{
		sqlite: driver == SQLite,
		values: regexp.MustCompile(`\bVALUES\((\w+)\)`),
		words: strings.NewReplacer(
			"ON DUPLICATE KEY UPDATE", "ON CONFLICT DO UPDATE SET",
			"INSERT IGNORE", "INSERT OR IGNORE",
			"GREATEST(", "MAX(",
			"LEAST(", "MIN(",
		),
	}
}

// text returns the engine's form of a constant statement or part of one.
func (d *dialect) text(mysql string) string {
	if !d.sqlite {
		return mysql
	}
	if t, ok := d.cache.Load(mysql); ok {
		return t.(string)
	}
	t := d.values.ReplaceAllString(d.words.Replace(mysql), "excluded.$1")
	d.cache.Store(mysql, t)
	return t
}

// maxArms is how many conditions a chain of OR has at most: SQLite nests them
// no deeper than 1,000, and MariaDB's time to plan them grows with the square.
const maxArms = 400
