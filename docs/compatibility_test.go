package docs_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// defectIDs are the known weak points of the original: each letter from 1 up.
func defectIDs() map[string]bool {
	all := map[string]bool{}
	for letter, count := range map[string]int{"A": 16, "B": 26, "C": 14, "D": 18, "E": 9, "F": 10, "G": 12, "H": 6, "I": 8} {
		for n := 1; n <= count; n++ {
			all[fmt.Sprintf("%s%d", letter, n)] = true
		}
	}
	return all
}

// TestCompatibility looks for every defect in docs/compatibility.md, once, and
// for the tests that it names.
func TestCompatibility(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("compatibility.md")
	if err != nil {
		t.Fatal(err)
	}
	missing := defectIDs()
	line := regexp.MustCompile(`(?m)^\| ([A-I]\d+) \| ([^|]+) \| ([^|]+) \| ([^|]+) \| ([^|]+) \|$`)
	for _, cells := range line.FindAllStringSubmatch(string(text), -1) {
		id, shownBy, seen := cells[1], cells[4], cells[5]
		if !missing[id] {
			t.Errorf("%s stands twice, or is unknown", id)
		}
		delete(missing, id)
		if seen != "fails" && seen != "kept" && !strings.HasPrefix(seen, "nothing to take out: ") ||
			seen == "fails" && shownBy == "—" {
			t.Errorf("%s: %q, %q", id, shownBy, seen)
		}
	}
	for id := range missing {
		t.Errorf("%s is missing", id)
	}
	sources := map[string]string{}
	named := regexp.MustCompile("([a-z0-9_/]+) `(Test\\w+)`|`(test/e2e/dialogs/\\w+\\.dialog)`")
	found := named.FindAllStringSubmatch(string(text), -1)
	for _, m := range found {
		if m[3] != "" {
			if _, err := os.Stat(filepath.Join("..", m[3])); err != nil {
				t.Error(err)
			}
			continue
		}
		if _, read := sources[m[1]]; !read {
			sources[m[1]] = testsOf(t, m[1])
		}
		if !strings.Contains(sources[m[1]], "\nfunc "+m[2]+"(") {
			t.Errorf("%s has no %s", m[1], m[2])
		}
	}
	if len(found) < 120 {
		t.Errorf("only %d tests are named", len(found))
	}
}

// testsOf returns the text of all tests of a folder.
func testsOf(t *testing.T, dir string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("..", dir, "*_test.go"))
	if err != nil || len(files) == 0 {
		t.Errorf("%s has no tests: %v", dir, err)
	}
	var all strings.Builder
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(text)
	}
	return all.String()
}
