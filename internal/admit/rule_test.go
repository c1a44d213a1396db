package admit

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// opensListener is a call that opens a listener without this package.
var opensListener = regexp.MustCompile(`\bnet\.Listen\(|ListenConfig\b|ListenTCP\(|ListenAndServe|\bgnet\.(Run|Rotate)\(`)

// Every listener of a server is one of this package: an error of accepting
// would end any other one, and its connections would not be counted.
func TestEveryListenerIsAdmitted(t *testing.T) {
	t.Parallel()
	allowed := map[string]string{
		"internal/admit/listener.go":            "this package",
		"cmd/teamtalk/internal/admin/socket.go": "made one of this package by serve",
		"cmd/teamtalk/internal/serve/config.go": "closed at once",
	}
	root := filepath.Join("..", "..")
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		name = filepath.ToSlash(name)
		switch {
		case entry.IsDir() && (name == "test" || name == "client/clienttest" || name == "internal/testenv" ||
			strings.HasPrefix(filepath.Base(name), ".") && name != "."):
			return fs.SkipDir
		case entry.IsDir(), !strings.HasSuffix(name, ".go"), strings.HasSuffix(name, "_test.go"), allowed[name] != "":
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if found := opensListener.Find(text); found != nil {
			t.Errorf("%s opens a listener of its own: %s", name, found)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
