package store

import (
	"context"
	"database/sql"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"teamtalk/internal/im"
)

// bare connects as a migration does.
func bare(t *testing.T, p Pool) *sql.DB {
	t.Helper()
	db, err := Bare(p, testDeps().Log)
	check(t, err)
	t.Cleanup(func() { check(t, db.Close()) })
	return db
}

// Every table names its row format, and has no key for which an old server or
// an old row format has no room.
func TestRowFormats(t *testing.T) {
	t.Parallel()
	texts := must(creations())(t)
	if len(texts) < 30 {
		t.Fatalf("%d tables", len(texts))
	}
	column := regexp.MustCompile(`(?m)^  (\w+) +(varchar|char|varbinary|binary)\((\d+)\)`)
	key := regexp.MustCompile(`KEY(?: \w+)? \(([^)]+)\)`)
	for _, text := range texts {
		name := creation.FindStringSubmatch(text)[1]
		if !strings.Contains(text, "ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;") {
			t.Errorf("%s does not name its row format", name)
		}
		size := map[string]int{}
		for _, c := range column.FindAllStringSubmatch(text, -1) {
			n, _ := strconv.Atoi(c[3])
			if !strings.HasSuffix(c[2], "binary") {
				n *= 4
			}
			size[c[1]] = n
		}
		for _, k := range key.FindAllStringSubmatch(text, -1) {
			for part := range strings.SplitSeq(k[1], ",") {
				if n := size[strings.TrimSpace(part)]; n > 767 {
					t.Errorf("%s: %d bytes of %s are in a key", name, n, part)
				}
			}
		}
	}
}

// The tables can also be made in the row formats of servers that know no other
// one, which refuse keys of more than 767 bytes.
func TestOldRowFormats(t *testing.T) {
	t.Parallel()
	for _, format := range []string{"COMPACT", "REDUNDANT"} {
		var texts []string
		for _, text := range must(creations())(t) {
			texts = append(texts, strings.Replace(text, "ROW_FORMAT=DYNAMIC", "ROW_FORMAT="+format, 1))
		}
		check(t, tryTables(t.Context(), bare(t, mariadb(t)), texts))
	}
}

// What a server does not take is found without making anything.
func TestTryTables(t *testing.T) {
	t.Parallel()
	db := bare(t, mariadb(t))
	check(t, TryTables(t.Context(), db))
	const long = "CREATE TABLE IF NOT EXISTS IMDeviceToken (\n  token varchar(255) NOT NULL,\n  UNIQUE KEY uk_token (token)\n" +
		") ENGINE=InnoDB ROW_FORMAT=COMPACT DEFAULT CHARSET=utf8mb4;"
	err := tryTables(t.Context(), db, []string{long})
	wantCode(t, err, im.Invalid)
	if !strings.Contains(err.Error(), "IMDeviceToken") {
		t.Errorf("the table is not named: %v", err)
	}
	if names := must(ListTables(t.Context(), db))(t); len(names.names) != 0 {
		t.Errorf("tables are left: %v", names.names)
	}
}

// makeTables creates empty tables of one column.
func makeTables(t *testing.T, db *sql.DB, names ...string) {
	t.Helper()
	for _, name := range names {
		_, err := db.ExecContext(t.Context(), "CREATE TABLE `"+name+"` (id int)")
		check(t, err)
	}
}

// Tables of the original under other names keep a server of ours from making
// empty ones beside them; those of others do not.
func TestElsewhere(t *testing.T) {
	t.Parallel()
	all := func(prefix string, change func(string) string) (names []string) {
		for _, name := range originals {
			names = append(names, change(prefix+name))
		}
		return names
	}
	same := func(s string) string { return s }
	for name, c := range map[string]struct {
		tables []string
		want   string
	}{
		"none":         {nil, ""},
		"prefix":       {all("on_", same), "--table-prefix 'on_'"},
		"lower case":   {all("", strings.ToLower), "--table-prefix ''"},
		"both":         {all("X-", strings.ToUpper), "--table-prefix 'X-'"},
		"put aside":    {all(undonePrefix, same), ""},
		"some program": {[]string{"crm_imuser", "crm_imgroup"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := mariadb(t)
			makeTables(t, bare(t, p), c.tables...)
			s, err := Open(t.Context(), Config{Driver: MySQL, Master: p}, testDeps())
			if c.want == "" {
				check(t, err)
				check(t, s.Close())
				return
			}
			wantCode(t, err, im.Invalid)
			if !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), c.tables[0]) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}

// In every phase of a takeover the advice leads on.
func TestPhases(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		rows  string // of tt_takeover
		phase Phase
		want  string // of the refusal; "": a server starts
	}{
		"begun":     {"", Underway, `run "teamtalk migrate" again`},
		"half":      {"('plan', 1, 5)", Underway, `run "teamtalk migrate" again`},
		"complete":  {"('complete', 1, 5)", Taken, ""},
		"undoing":   {"('complete', 0, 5), ('undo', 0, 9)", Undoing, `run "teamtalk migrate --undo" again`},
		"early":     {"('undo', 0, 9)", Undoing, `run "teamtalk migrate --undo" again`},
		"finishing": {"('complete', 1, 5), ('finish', 0, 9)", Ending, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := mariadb(t)
			db := bare(t, p)
			exec := func(text string) { must(db.ExecContext(t.Context(), text))(t) }
			exec("CREATE TABLE tt_takeover (step varchar(64) PRIMARY KEY, done tinyint, started int unsigned)")
			if c.rows != "" {
				exec("INSERT INTO tt_takeover VALUES " + c.rows)
			}
			phase := must(TakeoverPhase(t.Context(), db, must(ListTables(t.Context(), db))(t)))(t)
			if phase != c.phase {
				t.Errorf("phase %s, want %s", phase, c.phase)
			}
			s, err := Open(context.Background(), Config{Driver: MySQL, Master: p}, testDeps())
			if c.want == "" {
				check(t, err)
				if s.takenOver != (c.phase == Taken) {
					t.Errorf("taken over: %t", s.takenOver)
				}
				check(t, s.Close())
			} else if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
	if a := fmt.Sprint(Untouched.Advice(), Taken.Advice()); a != "" {
		t.Errorf("advice where there is nothing to do: %s", a)
	}
}
