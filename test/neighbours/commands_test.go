//go:build unix

package neighbours

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestCommands: every command of the original, by docs/protocol.md, is one that
// the program of originals handles, or docs/compatibility.md says why not.
func TestCommands(t *testing.T) {
	t.Parallel()
	read := func(path string) string {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	files, err := filepath.Glob("../original/*.go")
	if err != nil {
		t.Fatal(err)
	}
	var played strings.Builder
	for _, file := range files {
		played.WriteString(read(file))
	}
	page := read("../../docs/compatibility.md")
	_, table, _ := strings.Cut(page, "## Commands without a passing test")
	table, _, _ = strings.Cut(table, "\n## ")
	excused := regexp.MustCompile(`(?m)^\|((?: [0-9A-F]{4},?)+) \|`).FindAllStringSubmatch(table, -1)
	why := map[string]bool{}
	for _, row := range excused {
		for id := range strings.FieldsFuncSeq(row[1], func(r rune) bool { return r == ' ' || r == ',' }) {
			why[id] = true
		}
	}
	rows := regexp.MustCompile(`(?m)^\| ([0-9A-F]{4}) \| `).FindAllStringSubmatch(read("../../docs/protocol.md"), -1)
	if len(rows) < 80 {
		t.Fatalf("%d commands in docs/protocol.md", len(rows))
	}
	for _, row := range rows {
		id := row[1]
		switch is := strings.Contains(played.String(), "0x"+id) || id == "0701" || id == "0702"; {
		case !is && !why[id]:
			t.Errorf("%s is neither played nor excused", id)
		case is && why[id] && id != "0212": // a client of old must take it from a server of ours
			t.Errorf("%s is played and excused", id)
		}
		delete(why, id)
	}
	for id := range why {
		t.Errorf("%s is excused, and no command", id)
	}
}
