package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/tools/txtar"
)

// A defect is one archive: what is taken out of the code, and which tests
// notice it.
type defect struct {
	id    string
	what  string // one sentence
	tests []named
	files []change
}

// named is one test: the folder of its package and its full name, with those
// of subtests: TestDialogs/shared/unread.
type named struct{ dir, test string }

// change is what happens to one file, named from the root of the repository.
type change struct {
	file  string
	hunks []hunk
}

// hunk replaces whole lines. before must occur exactly once in the file; after
// may be empty.
type hunk struct{ before, after string }

// The lines around the halves of a hunk.
const (
	beginLine  = "<<<<<<<\n"
	middleLine = "=======\n"
	endLine    = ">>>>>>>\n"
)

// readDefect reads one archive. Its name is the defect's id.
func readDefect(path string) (*defect, error) {
	archive, err := txtar.ParseFile(path)
	if err != nil {
		return nil, err
	}
	d := &defect{id: strings.TrimSuffix(filepath.Base(path), ".txt")}
	if err := d.head(string(archive.Comment)); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	for _, member := range archive.Files {
		hunks, err := parseHunks(string(member.Data))
		if err != nil {
			return nil, fmt.Errorf("%s: %s: %w", path, member.Name, err)
		}
		if slices.ContainsFunc(d.files, func(c change) bool { return c.file == member.Name }) {
			return nil, fmt.Errorf("%s: %s stands twice", path, member.Name)
		}
		d.files = append(d.files, change{file: member.Name, hunks: hunks})
	}
	if len(d.files) == 0 {
		return nil, fmt.Errorf("%s: nothing is taken out", path)
	}
	return d, nil
}

// head reads what stands above the first file.
func (d *defect) head(comment string) error {
	for line := range strings.Lines(comment) {
		line = strings.TrimSpace(line)
		switch {
		case line == "":
		case strings.HasPrefix(line, "#"):
			d.what = strings.TrimSpace(d.what + " " + strings.TrimSpace(line[1:]))
		default:
			words := strings.Fields(line)
			if len(words) != 3 || words[0] != "test" {
				return fmt.Errorf("%q is not: test ./FOLDER TEST", line)
			}
			d.tests = append(d.tests, named{dir: words[1], test: words[2]})
		}
	}
	if d.what == "" {
		return errors.New("it does not say what is taken out")
	}
	if len(d.tests) == 0 {
		return errors.New("it names no test")
	}
	return nil
}

// parseHunks reads the hunks of one file, one or more.
func parseHunks(text string) ([]hunk, error) {
	var hunks []hunk
	for strings.TrimSpace(text) != "" {
		inside, found := strings.CutPrefix(strings.TrimLeft(text, "\n"), beginLine)
		if !found {
			return nil, fmt.Errorf("hunk %d does not begin with %q", len(hunks)+1, beginLine)
		}
		inside, rest, found := strings.Cut(inside, endLine)
		if !found {
			return nil, fmt.Errorf("hunk %d does not end with %q", len(hunks)+1, endLine)
		}
		before, after, found := strings.Cut(inside, middleLine)
		if !found || before == "" || before == after {
			return nil, fmt.Errorf("hunk %d replaces nothing", len(hunks)+1)
		}
		hunks = append(hunks, hunk{before: before, after: after})
		text = rest
	}
	if len(hunks) == 0 {
		return nil, errors.New("no hunks")
	}
	return hunks, nil
}

// apply returns the text with every hunk replaced.
func (c *change) apply(text string) (string, error) {
	text = "\n" + text // every line has a line end before it
	for i, h := range c.hunks {
		at := strings.Index(text, "\n"+h.before) + 1
		if at == 0 {
			return "", fmt.Errorf("%s: the text of hunk %d does not stand there:\n%s", c.file, i+1, h.before)
		}
		if strings.Contains(text[at:], "\n"+h.before) {
			return "", fmt.Errorf("%s: the text of hunk %d stands there twice:\n%s", c.file, i+1, h.before)
		}
		text = text[:at] + h.after + text[at+len(h.before):]
	}
	return text[1:], nil
}

// mutate returns the text of every file as it is with the defect put back.
func (d *defect) mutate(root fs.FS) (map[string]string, error) {
	texts := make(map[string]string)
	for _, c := range d.files {
		text, err := fs.ReadFile(root, c.file)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", d.id, err)
		}
		if texts[c.file], err = c.apply(string(text)); err != nil {
			return nil, fmt.Errorf("%s: %w", d.id, err)
		}
	}
	return texts, nil
}

// readAll reads every archive of a folder, ordered by letter and number.
func readAll(dir string) ([]*defect, error) {
	paths, err := filepath.Glob(filepath.Join(dir, "*.txt"))
	if err != nil {
		return nil, err
	}
	if len(paths) == 0 {
		return nil, fmt.Errorf("%s: %w", dir, os.ErrNotExist)
	}
	var all []*defect
	for _, path := range paths {
		d, err := readDefect(path)
		if err != nil {
			return nil, err
		}
		all = append(all, d)
	}
	slices.SortFunc(all, func(a, b *defect) int {
		if a.id[0] != b.id[0] || len(a.id) == len(b.id) {
			return strings.Compare(a.id, b.id)
		}
		return len(a.id) - len(b.id)
	})
	return all, nil
}
