// Package storetest makes data files for tests quickly: the tables of SQLite
// are made once for a process and then copied.
package storetest

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"teamtalk/db_proxy/internal/store"
)

// empty is a data file with all tables and nothing in them.
var empty = sync.OnceValues(func() ([]byte, error) { //nolint:gochecknoglobals // that is the point
	dir, err := os.MkdirTemp("", "storetest")
	if err != nil {
		return nil, fmt.Errorf("make a folder: %w", err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	path := filepath.Join(dir, "t.db")
	deps := store.Deps{Log: slog.New(slog.DiscardHandler), Clock: time.Now} //nolint:forbidigo // tables know no time
	ctx := context.Background()                                             //nolint:forbidigo // of all tests
	s, err := store.Open(ctx, store.Config{Driver: store.SQLite, Path: path}, deps)
	if err != nil {
		return nil, err
	}
	if err := s.Close(); err != nil {
		return nil, err
	}
	return os.ReadFile(path)
})

// File returns the path of a data file with empty tables, to be opened with
// SQLite. It goes with the test.
func File(t testing.TB) string {
	t.Helper()
	data, err := empty()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "t.db")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
