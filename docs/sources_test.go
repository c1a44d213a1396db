package docs_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

// The forms of a citation. A document is named by its path from the root of the
// repository; what follows it in the same sentence belongs to it.
var (
	urlForm     = regexp.MustCompile(`https?://\S+`)
	sourceForm  = regexp.MustCompile(`(?i)\bsource:`)
	sentenceEnd = regexp.MustCompile(`\.(\s|$)`)
	pageForm    = regexp.MustCompile(`[\w./-]*\w\.md\b`)
	pathForm    = regexp.MustCompile(`(?:[\w.-]+/)+[\w-]+\.[a-z]+\b|[\w./-]*\w\.md\b`)
	sectionForm = regexp.MustCompile(`§\s?(\d+(?:\.\d+)*)?`)
	quotedForm  = regexp.MustCompile(`"([^"]+)"`)
	defectForm  = regexp.MustCompile(`\b[A-I][1-9]\d?\b`)
	nameForm    = regexp.MustCompile(`, (IM[A-Z]\w*|[A-Z][a-z]+\w*Type)(?:\.(\w+))?\b`)

	// outsideForm are sources that are not in the repository.
	outsideForm = regexp.MustCompile(
		`https?://|\bRFC \d+|developer\.apple\.com|developers\.google\.com|ITU-T T\.81|PNG, third edition|GIF89a`)

	headingForm = regexp.MustCompile(`^#+ (.*)$`)
	numberForm  = regexp.MustCompile(`^(\d+(?:\.\d+)*)\.?\s`)
	firstCell   = regexp.MustCompile(`^\| ([^|]+) \|`)
	oldForm     = regexp.MustCompile(`\bdefects? [A-I][1-9]\d?\b`)
)

// heading is a heading of a document with the first cells of the tables below it.
type heading struct {
	title, number string
	cells         map[string]bool
}

// document is a page of Markdown, as far as citations name its parts.
type document []heading

func parseDocument(text string) document {
	doc := document{{cells: map[string]bool{}}}
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\r\n")
		if m := headingForm.FindStringSubmatch(line); m != nil {
			h := heading{title: strings.ReplaceAll(m[1], "`", ""), cells: map[string]bool{}}
			if n := numberForm.FindStringSubmatch(h.title); n != nil {
				h.number = n[1]
				h.title = h.title[len(n[0]):]
			}
			doc = append(doc, h)
		} else if m := firstCell.FindStringSubmatch(line); m != nil {
			for cell := range strings.SplitSeq(strings.ReplaceAll(m[1], "`", ""), ", ") {
				doc[len(doc)-1].cells[strings.TrimSpace(cell)] = true
			}
		}
	}
	return doc
}

func (d document) hasSection(number string) bool {
	return number != "" && slices.ContainsFunc(d, func(h heading) bool { return h.number == number })
}

// hasTitle reports whether a heading is title, or begins with it as a phrase.
func (d document) hasTitle(title string) bool {
	return slices.ContainsFunc(d, func(h heading) bool {
		rest, ok := strings.CutPrefix(h.title, title)
		return ok && (rest == "" || strings.ContainsAny(rest[:1], " ,:(—"))
	})
}

func (d document) hasCell(cell string) bool {
	return slices.ContainsFunc(d, func(h heading) bool { return h.cells[cell] })
}

// hasField reports whether the table below a heading has a row of this name.
func (d document) hasField(name, field string) bool {
	return slices.ContainsFunc(d, func(h heading) bool {
		first, _, _ := strings.Cut(h.title, " ")
		return first == name && h.cells[field]
	})
}

// resolver looks citations up in the files of a repository.
type resolver struct {
	root fs.FS
	docs map[string]document
}

func newResolver(root fs.FS) *resolver { return &resolver{root: root, docs: map[string]document{}} }

// document reads a page; it is nil for a file that is no page.
func (r *resolver) document(path string) (document, error) {
	if doc, ok := r.docs[path]; ok {
		return doc, nil
	}
	info, err := fs.Stat(r.root, path)
	if err != nil || info.IsDir() {
		return nil, fmt.Errorf("%s is no file of the repository", path)
	}
	var doc document
	if strings.HasSuffix(path, ".md") {
		text, err := fs.ReadFile(r.root, path)
		if err != nil {
			return nil, err
		}
		doc = parseDocument(string(text))
	}
	r.docs[path] = doc
	return doc, nil
}

// check looks up what a paragraph of a comment cites. It returns how many times
// it says where something comes from, and what cannot be found.
func (r *resolver) check(text string) (citations int, faults []string) {
	for _, at := range sourceForm.FindAllStringIndex(text, -1) {
		sentence, _ := cutSentence(text[at[1]:])
		faults = append(faults, r.source(strings.TrimSpace(sentence))...)
		citations++
	}
	return citations, append(faults, r.pages(urlForm.ReplaceAllString(text, ""))...)
}

// cutSentence divides a text behind its first sentence.
func cutSentence(text string) (sentence, rest string) {
	if end := sentenceEnd.FindStringIndex(text); end != nil {
		return text[:end[0]], text[end[0]:]
	}
	return text, ""
}

// source looks at the sentence in which something is said to come from
// somewhere: a file, or one of the documents that are known to be elsewhere.
func (r *resolver) source(sentence string) (faults []string) {
	plain := urlForm.ReplaceAllString(sentence, "")
	paths := pathForm.FindAllString(plain, -1)
	if len(paths) == 0 && !outsideForm.MatchString(sentence) {
		faults = append(faults, fmt.Sprintf("%q names no file", sentence))
	}
	if strings.Count(plain, `"`)%2 == 1 {
		faults = append(faults, fmt.Sprintf("%q has an open quotation", sentence))
	}
	for _, path := range paths {
		if strings.HasSuffix(path, ".md") {
			continue // as every page that is named
		}
		if _, err := r.document(path); err != nil {
			faults = append(faults, err.Error())
		}
	}
	return faults
}

// pages looks up the pages that a text names, and their parts.
func (r *resolver) pages(text string) (faults []string) {
	for _, old := range oldForm.FindAllString(text, -1) {
		faults = append(faults, fmt.Sprintf("%q names no file", old))
	}
	names := pageForm.FindAllStringIndex(text, -1)
	ends := len(text)
	for i := len(names) - 1; i >= 0; i-- {
		sentence, rest := cutSentence(text[names[i][1]:ends])
		if section := sectionForm.FindString(rest); section != "" {
			faults = append(faults, section+" stands behind the sentence of its file")
		}
		faults = append(faults, r.parts(text[names[i][0]:names[i][1]], sentence)...)
		ends = names[i][0]
	}
	if section := sectionForm.FindString(text[:ends]); section != "" {
		faults = append(faults, section+" stands before any file")
	}
	return faults
}

// parts looks up the parts of a document that the text behind its name cites.
func (r *resolver) parts(path, text string) (faults []string) {
	doc, err := r.document(path)
	if err != nil {
		return []string{err.Error()}
	}
	lacks := func(what string) { faults = append(faults, fmt.Sprintf("%s has no %s", path, what)) }
	for _, m := range sectionForm.FindAllStringSubmatch(text, -1) {
		if !doc.hasSection(m[1]) {
			lacks(m[0])
		}
	}
	for _, m := range quotedForm.FindAllStringSubmatch(text, -1) {
		if !doc.hasTitle(m[1]) {
			lacks(m[0])
		}
	}
	for _, id := range defectForm.FindAllString(quotedForm.ReplaceAllString(text, ""), -1) {
		if !doc.hasCell(id) {
			lacks(id)
		}
	}
	for _, m := range nameForm.FindAllStringSubmatch(text, -1) {
		if !doc.hasTitle(m[1]) && !doc.hasCell(m[1]) || m[2] != "" && !doc.hasField(m[1], m[2]) {
			lacks(m[0][2:])
		}
	}
	return faults
}

// paragraph is a part of a comment without an empty line.
type paragraph struct {
	pos  token.Pos
	text string
}

func paragraphs(group *ast.CommentGroup) (all []paragraph) {
	begun := false
	for _, c := range group.List {
		text := strings.TrimSuffix(strings.TrimPrefix(c.Text, "/*"), "*/")
		for line := range strings.Lines(text) {
			line = strings.TrimSpace(strings.TrimPrefix(line, "//"))
			switch {
			case line == "":
				begun = false
			case begun:
				all[len(all)-1].text += " " + line
			default:
				all, begun = append(all, paragraph{c.Pos(), line}), true
			}
		}
	}
	return all
}

// TestSources resolves every source that a comment of the repository cites, and
// every page that a comment names.
func TestSources(t *testing.T) {
	t.Parallel()
	const root = ".."
	r := newResolver(os.DirFS(root))
	files, total := token.NewFileSet(), 0
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && entry.Name() == ".git" {
			return filepath.SkipDir
		}
		if entry.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, ".pb.go") {
			return nil
		}
		file, err := parser.ParseFile(files, path, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		for _, group := range file.Comments {
			for _, p := range paragraphs(group) {
				citations, faults := r.check(p.text)
				total += citations
				for _, fault := range faults {
					at := files.Position(p.pos)
					t.Errorf("%s:%d: %s", strings.TrimPrefix(filepath.ToSlash(at.Filename), "../"), at.Line, fault)
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if total < 340 {
		t.Errorf("only %d sources are named", total)
	}
	t.Logf("%d sources", total)
}

// TestResolver shows what the resolver finds and what it does not.
func TestResolver(t *testing.T) {
	t.Parallel()
	r := newResolver(fstest.MapFS{
		"docs/a.md": {Data: []byte("# A\n\n## 1. One\n\n### 1.2 Two (`f.cpp`)\n\n## Small print\n\n" +
			"| id | what |\n|---|---|\n| B20 | slow |\n\n### IMUser\n\n| Column | Type |\n|---|---|\n| `created`, updated | u |\n")},
		"docs/b.md":  {Data: []byte("# B\n\n## 7. Seven\n")},
		"pb/x.proto": {Data: []byte("")},
	})
	for text, fault := range map[string]string{
		"Nothing is cited.":                            "",
		"Source: docs/a.md.":                           "",
		"Source: docs/a.md §1.":                        "",
		"Source: docs/a.md §1, §1.2; docs/b.md §7.":    "",
		"Source: docs/a.md §1 to §1.2, in this order.": "",
		`Source: docs/a.md, "Small print".`:            "",
		`Source: docs/a.md, "Two".`:                    "",
		"Source: docs/a.md B20 (it is slow).":          "",
		"Source: docs/a.md, IMUser.":                   "",
		"Source: docs/a.md, IMUser.updated":            "",
		"Source: pb/x.proto; docs/b.md.":               "",
		"Source: RFC 9530.":                            "",
		"Source: https://example.org/docs/page.md.":    "",
		"As docs/b.md §7 says. A1 is paper.":           "",

		"Source: a.md §1.":                      "a.md is no file of the repository",
		"Source: docs/c.md.":                    "docs/c.md is no file of the repository",
		"Source: pb/y.proto.":                   "pb/y.proto is no file of the repository",
		"Source: docs.":                         `"docs" names no file`,
		"Source: somebody said so.":             `"somebody said so" names no file`,
		"Source: docs/a.md §2.":                 "docs/a.md has no §2",
		"Source: docs/a.md §1.3.":               "docs/a.md has no §1.3",
		"Source: docs/a.md §1; docs/b.md §1.":   "docs/b.md has no §1",
		"Source: docs/a.md, §.":                 "docs/a.md has no §",
		`Source: docs/a.md, "Small".`:           "",
		`Source: docs/a.md, "Smaller print".`:   `docs/a.md has no "Smaller print"`,
		`Source: docs/a.md, "Small print.`:      `"docs/a.md, \"Small print" has an open quotation`,
		"Source: docs/a.md B2.":                 "docs/a.md has no B2",
		"Source: docs/b.md B20.":                "docs/b.md has no B20",
		"Source: docs/a.md, IMGroup.":           "docs/a.md has no IMGroup",
		"Source: docs/a.md, IMUser.salt":        "docs/a.md has no IMUser.salt",
		"As c.md says.":                         "c.md is no file of the repository",
		"As docs/b.md §8 says.":                 "docs/b.md has no §8",
		"As §7 says.":                           "§7 stands before any file",
		"Source: docs/b.md. Then §7 says more.": "§7 stands behind the sentence of its file",
		"It mends defect B20.":                  `"defect B20" names no file`,
	} {
		_, faults := r.check(text)
		if got := strings.Join(faults, "; "); got != fault {
			t.Errorf("%s\ngot  %s\nwant %s", text, got, fault)
		}
	}
}
