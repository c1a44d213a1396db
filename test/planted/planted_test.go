package main

import (
	"bytes"
	"maps"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// root is the root of the repository.
const root = "../.."

// row is a line of docs/compatibility.md: the first test it names, and its
// last column.
type row struct{ dir, test, seen string }

// rows reads the tables of defects, by id.
func rows(t *testing.T) map[string]row {
	t.Helper()
	text, err := os.ReadFile(root + "/docs/compatibility.md")
	if err != nil {
		t.Fatal(err)
	}
	all := make(map[string]row)
	line := regexp.MustCompile(`(?m)^\| ([A-I]\d+) \| [^|]+ \| [^|]+ \| ([^|]+) \| ([^|]+) \|$`)
	first := regexp.MustCompile("([a-z0-9_/]+) `(Test\\w+)`|`test/e2e/dialogs/(\\w+)\\.dialog`")
	for _, cells := range line.FindAllStringSubmatch(string(text), -1) {
		r := row{seen: cells[3]}
		if m := first.FindStringSubmatch(cells[2]); m == nil {
			r.dir = "—"
		} else if m[3] != "" {
			r.dir, r.test = "./test/e2e", m[3]
		} else {
			r.dir, r.test = "./"+m[1], m[2]
		}
		all[cells[1]] = r
	}
	return all
}

// isFirst reports whether a test of an archive is the one a row names first: a
// test, its subtest, or a dialogue.
func (r row) isFirst(n named) bool {
	if n.dir != r.dir {
		return false
	}
	if r.dir == "./test/e2e" && !strings.HasPrefix(r.test, "Test") {
		return strings.HasPrefix(n.test, "TestDialogs/") && path.Base(n.test) == r.test
	}
	return n.test == r.test || strings.HasPrefix(n.test, r.test+"/")
}

// TestArchives compares the archives with the code, every text to be replaced
// stands there once, and with docs/compatibility.md. It compiles nothing.
func TestArchives(t *testing.T) {
	t.Parallel()
	all, err := readAll("testdata")
	if err != nil {
		t.Fatal(err)
	}
	defects := rows(t)
	planted := make(map[string]bool)
	for _, d := range all {
		planted[d.id] = true
		if _, err := d.mutate(os.DirFS(root)); err != nil {
			t.Error(err)
		}
		r, known := defects[d.id]
		if !known || r.seen != "fails" {
			t.Errorf("%s has an archive, but its row says %q, not \"fails\"", d.id, r.seen)
		}
		if !slices.ContainsFunc(d.tests, r.isFirst) {
			t.Errorf("%s: %s %s is named first, but not among %v", d.id, r.dir, r.test, d.tests)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(defects)) {
		if defects[id].seen == "fails" && !planted[id] {
			t.Errorf("%s has no archive", id)
		}
	}
}

// TestHunks replaces what stands once, in whole lines, and nothing else.
func TestHunks(t *testing.T) {
	t.Parallel()
	const text = "a\n\tb\n\t\tb\nc\nc\n"
	for name, tt := range map[string]struct{ hunks, want string }{
		"one line":           {"<<<<<<<\na\n=======\nx\n>>>>>>>\n", "x\n\tb\n\t\tb\nc\nc\n"},
		"taken out":          {"<<<<<<<\n\t\tb\n=======\n>>>>>>>\n", "a\n\tb\nc\nc\n"},
		"only whole lines":   {"<<<<<<<\n\tb\n=======\n\tx\n>>>>>>>\n", "a\n\tx\n\t\tb\nc\nc\n"},
		"two":                {"<<<<<<<\na\n=======\n>>>>>>>\n\n<<<<<<<\nc\nc\n=======\nd\n>>>>>>>\n", "\tb\n\t\tb\nd\n"},
		"absent":             {"<<<<<<<\nz\n=======\n>>>>>>>\n", ""},
		"twice":              {"<<<<<<<\nc\n=======\n>>>>>>>\n", ""},
		"nothing to replace": {"<<<<<<<\n=======\nx\n>>>>>>>\n", ""},
		"the same":           {"<<<<<<<\na\n=======\na\n>>>>>>>\n", ""},
		"no end":             {"<<<<<<<\na\n=======\n", ""},
		"no middle":          {"<<<<<<<\na\n>>>>>>>\n", ""},
		"no begin":           {"a\n=======\n>>>>>>>\n", ""},
		"none":               {"\n", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			hunks, err := parseHunks(tt.hunks)
			got := ""
			if err == nil {
				c := change{file: "f", hunks: hunks}
				got, err = c.apply(text)
			}
			if got != tt.want || (err == nil) != (tt.want != "") {
				t.Errorf("got %q, %v, want %q", got, err, tt.want)
			}
		})
	}
}

// TestHead refuses archives that do not say what they are about.
func TestHead(t *testing.T) {
	t.Parallel()
	var good defect
	if err := good.head("# The answer is sent\n# before the commit.\n\ntest ./a/b TestC/d\n"); err != nil {
		t.Error(err)
	}
	if good.what != "The answer is sent before the commit." || !slices.Equal(good.tests, []named{{"./a/b", "TestC/d"}}) {
		t.Errorf("got %+v", good)
	}
	for _, bad := range []string{"", "# No test.\n", "test ./a TestB\n", "# What.\ntest ./a\n", "# What.\nrun ./a TestB\n"} {
		if (&defect{}).head(bad) == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

// TestJudge reads what go test says of a test that should fail.
func TestJudge(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		events string
		want   outcome
	}{
		"fails": {`{"Action":"run","Test":"TestA"}
			{"Action":"fail","Test":"TestA"}
			{"Action":"fail"}`, noticedIt},
		"passes": {`{"Action":"pass","Test":"TestA"}
			{"Action":"pass"}`, unnoticed},
		"skipped": {`{"Action":"skip","Test":"TestA"}
			{"Action":"pass"}`, skipped},
		"absent":                  {`{"Action":"pass"}`, notRun},
		"another fails":           {`{"Action":"fail","Test":"Test"}`, notStarted},
		"the package does not go": {`{"Action":"fail"}`, notStarted},
		"does not compile": {`{"Action":"build-fail"}
			{"Action":"fail","FailedBuild":"a"}`, notBuilt},
		"does not end": {`{"Action":"output","Test":"TestA","Output":"panic: test timed out after 2m\n"}
			{"Action":"fail","Test":"TestA"}`, timedOut},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got, _ := judge(bytes.NewBufferString(tt.events), "TestA"); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}
