package chat

import (
	"errors"
	"io"
	"io/fs"
	"net/url"
	"os"
	"os/user"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"unicode/utf8"

	"teamtalk/cmd/teamtalk/internal/words"
)

// unquote reads a path as people type, paste or drop it: in quotes, with
// backslashes before what a shell would take apart, as a file: URL, or as it
// is, with blanks and all.
func unquote(typed string) (string, error) {
	path, open := unquoteStart(strings.TrimSpace(typed))
	if open {
		return "", words.Errorf(words.PathUnclosed, typed)
	}
	return path, nil
}

// unquoteStart is unquote for a path of which more may come. It reports
// whether a quote is open.
func unquoteStart(typed string) (path string, open bool) {
	if strings.HasPrefix(typed, "file://") {
		if u, err := url.Parse(typed); err == nil {
			return filepath.FromSlash(u.Path), false
		}
	}
	var b strings.Builder
	quote := rune(0)
	escaped := false
	for i, r := range typed {
		switch {
		case escaped:
			if !special(r) {
				b.WriteByte('\\')
			}
			b.WriteRune(r)
			escaped = false
		case r == '\\' && quote != '\'' && runtime.GOOS != "windows":
			escaped = true
		case r == quote:
			quote = 0
		case quote == 0 && (r == '"' || r == '\'') && (i == 0 || strings.HasSuffix(typed, string(r))):
			quote = r
		default:
			b.WriteRune(r)
		}
	}
	if escaped {
		b.WriteByte('\\')
	}
	return b.String(), quote != 0
}

// special reports whether a shell would have a character escaped.
func special(r rune) bool {
	return strings.ContainsRune(" \t\"'\\()[]{}&;<>|$`*?!#~", r)
}

// quoted returns a path as unquote reads it.
func quoted(path string) string {
	if path == strings.TrimSpace(path) && !strings.ContainsAny(path, `"'\`) {
		return path
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(path) + `"`
}

// atHome replaces a leading ~ or ~NAME as shells do.
func atHome(path string) string {
	name, rest, _ := strings.Cut(path, "/")
	if !strings.HasPrefix(name, "~") {
		return path
	}
	home, err := os.UserHomeDir()
	if name != "~" {
		var u *user.User
		if u, err = user.Lookup(name[1:]); err == nil {
			home = u.HomeDir
		}
	}
	if err != nil {
		return path
	}
	return filepath.Join(home, rest)
}

const (
	maxEntries = 10_000 // of a folder that are looked at to complete a name
	maxOptions = 50     // that are shown
)

// FindPath asks how a path that was begun may go on; Typed is what stands
// behind the command.
type FindPath struct{ Typed string }

// DoPath looks into the folder.
type DoPath struct{ Typed string }

// PathFound answers DoPath: what to put in the place of Typed, and the names
// that are possible if it is not one.
type PathFound struct {
	Typed, Path string
	Options     []string
	Err         error
}

// PathNotice tells a PathFound.
type PathNotice struct{ PathFound }

func (FindPath) event()    {}
func (PathFound) event()   {}
func (DoPath) effect()     {}
func (PathNotice) notice() {}

// findPath completes a path as far as it is the only one.
func findPath(e DoPath) Event {
	typed, _ := unquoteStart(e.Typed)
	folder, base := filepath.Split(typed)
	names, err := namesIn(atHome(folder), base)
	switch {
	case errors.Is(err, fs.ErrNotExist), err == nil && len(names) == 0:
		return PathFound{Typed: e.Typed, Path: e.Typed, Err: words.Errorf(words.NoPathLike, typed)}
	case err != nil:
		return PathFound{Typed: e.Typed, Path: e.Typed, Err: err}
	}
	found := PathFound{Typed: e.Typed, Path: quoted(folder + common(names))}
	if len(names) > 1 {
		found.Options = names[:min(len(names), maxOptions)]
		if strings.HasPrefix(found.Path, `"`) {
			found.Path = strings.TrimSuffix(found.Path, `"`)
		}
	}
	return found
}

// namesIn returns what a folder has with a beginning, folders with a slash.
// Hidden ones are left out unless they are asked for.
func namesIn(folder, base string) ([]string, error) {
	if typed := atHome(base); typed != base { // ~ or ~NAME alone
		return []string{base + "/"}, nil
	}
	if folder == "" {
		folder = "."
	}
	f, err := os.Open(folder)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	entries, err := f.ReadDir(maxEntries)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	var names []string
	for _, entry := range entries {
		name := entry.Name()
		hidden := strings.HasPrefix(name, ".") && !strings.HasPrefix(base, ".")
		if hidden || !strings.HasPrefix(name, base) {
			continue
		}
		if info, err := os.Stat(filepath.Join(folder, name)); err == nil && info.IsDir() {
			name += "/"
		}
		names = append(names, name)
	}
	slices.Sort(names)
	return names, nil
}

// common returns the longest beginning that all names have, in whole
// characters.
func common(names []string) string {
	prefix := names[0]
	for _, name := range names[1:] {
		n := 0
		for n < len(prefix) && n < len(name) && prefix[n] == name[n] {
			n++
		}
		prefix = prefix[:n]
	}
	for prefix != "" && !utf8.ValidString(prefix) {
		prefix = prefix[:len(prefix)-1]
	}
	return prefix
}
