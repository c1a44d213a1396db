package transfer_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"teamtalk/client"
	"teamtalk/client/transfer"
	"teamtalk/file_server/fileservertest"
	"teamtalk/internal/im"
	"teamtalk/internal/share"
)

// Content that is not what was announced is nobody's file.
func TestWrongContent(t *testing.T) {
	t.Parallel()
	const size = 300_000
	w := start(t)
	_, u := file(t, size)
	u.Sum = strings.Repeat("ab", 32)
	if _, err := transfer.Send(t.Context(), u, w.Up()); !errors.Is(err, transfer.ErrContent) {
		t.Errorf("a wrong sum: %v", err)
	}
	dir := t.TempDir()
	if _, err := transfer.Fetch(t.Context(), transfer.Download{ID: u.ID, Path: dir}, w.Down()); !errors.Is(err, transfer.ErrRefused) {
		t.Errorf("it can be fetched: %v", err)
	}

	data, id := w.sent(size)
	damaged := append([]byte("damaged"), data[7:size/2]...)
	for what, have := range map[string][]byte{
		"a damaged beginning": damaged, "damaged": append(damaged, data[size/2:]...), //nolint:gocritic // copied before
	} {
		dir := t.TempDir()
		part := filepath.Join(dir, id+".part")
		if err := os.WriteFile(part, have, 0o600); err != nil {
			t.Fatal(err)
		}
		d := transfer.Download{ID: id, Path: dir}
		if _, err := transfer.Fetch(t.Context(), d, w.Down()); !errors.Is(err, transfer.ErrContent) {
			t.Errorf("%s: %v", what, err)
		}
		if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
			t.Errorf("%s leaves %v, %v", what, entries, err)
		}
		path, err := transfer.Fetch(t.Context(), d, w.Down())
		if err != nil {
			t.Fatalf("%s, again: %v", what, err)
		}
		wantFile(t, path, data)
	}
}

// Whatever an earlier attempt left, the file is fetched once and whole.
func TestPartsLeft(t *testing.T) {
	t.Parallel()
	w := start(t)
	data, id := w.sent(100_000)
	_, empty := w.sent(0)
	for what, c := range map[string]struct {
		id         string
		have, want []byte
	}{
		"nothing":  {id, nil, data},
		"all":      {id, data, data},
		"too much": {id, append(append([]byte{}, data...), 1, 2, 3), data},
		"no bytes": {empty, nil, nil},
	} {
		dir := t.TempDir()
		if c.have != nil {
			if err := os.WriteFile(filepath.Join(dir, c.id+".part"), c.have, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		path, err := transfer.Fetch(t.Context(), transfer.Download{ID: c.id, Path: dir}, w.Down())
		if err != nil {
			t.Errorf("%s: %v", what, err)
			continue
		}
		wantFile(t, path, c.want)
	}
}

// What cannot succeed fails at once, with nothing left that looks like a file.
func TestRefused(t *testing.T) {
	t.Parallel()
	w := start(t, "UserQuota=1000000")
	_, id := w.sent(1000)
	dir := t.TempDir()
	taken := filepath.Join(dir, "taken")
	if err := os.WriteFile(taken, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	of := func(a transfer.Access) transfer.Options { return transfer.Options{Access: a} }
	denied := func(context.Context, string) (client.FileAccess, error) {
		return client.FileAccess{}, &client.NackError{Code: im.Denied}
	}
	for what, c := range map[string]struct {
		download transfer.Download
		o        transfer.Options
	}{
		"a file that is there":  {transfer.Download{ID: id, Path: taken}, w.Down()},
		"no id":                 {transfer.Download{ID: "../../etc/passwd", Path: dir}, w.Down()},
		"a file of nobody":      {transfer.Download{ID: share.NewID("abcdefgh"), Path: dir}, w.Down()},
		"the right to send":     {transfer.Download{ID: id, Path: dir}, transfer.Options{Access: w.Access(fileservertest.Receiver, share.Upload), Patience: time.Millisecond}},
		"a msg_server's no":     {transfer.Download{ID: id, Path: dir}, of(denied)},
		"a folder that is none": {transfer.Download{ID: id, Path: filepath.Join(taken, "x")}, w.Down()},
	} {
		if path, err := transfer.Fetch(t.Context(), c.download, c.o); err == nil {
			t.Errorf("%s: fetched %s", what, path)
		}
	}
	for _, e := range must(os.ReadDir(dir)) {
		if e.Name() != "taken" && !strings.HasSuffix(e.Name(), ".part") {
			t.Errorf("left: %s", e.Name())
		}
	}
	_, large := file(t, 2_000_000)
	if _, err := transfer.Send(t.Context(), large, w.Up()); !errors.Is(err, transfer.ErrRefused) {
		t.Errorf("over the quota: %v", err)
	}
	_, shrunk := file(t, 1000)
	shrunk.Size = 2000
	if _, err := transfer.Send(t.Context(), shrunk, w.Up()); !errors.Is(err, transfer.ErrContent) {
		t.Errorf("a file that became shorter: %v", err)
	}
}

// A file whose message cannot be stored is nobody's, and its sender is told.
func TestNoMessage(t *testing.T) {
	t.Parallel()
	w := start(t)
	w.Code.Store(int64(im.Denied))
	_, u := file(t, 1000)
	_, err := transfer.Send(t.Context(), u, w.Up())
	if err == nil {
		_, err = transfer.Stored(t.Context(), u, w.Up())
	}
	if !errors.Is(err, transfer.ErrRefused) {
		t.Errorf("the sender is told %v", err)
	}
	if _, err := transfer.Fetch(t.Context(), transfer.Download{ID: u.ID, Path: t.TempDir()}, w.Down()); !errors.Is(err, transfer.ErrRefused) {
		t.Errorf("it can be fetched: %v", err)
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// A disk that takes no more keeps what it has, and the next attempt goes on.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	w := start(t)
	data, id := w.sent(1 << 20)
	dir := t.TempDir()
	d := transfer.Download{ID: id, Path: dir}
	if err := fetchWithin(t, w, d, 300<<10); !strings.Contains(err, transfer.ErrRefused.Error()) {
		t.Errorf("a full disk: %q", err)
	}
	info, err := os.Stat(filepath.Join(dir, id+".part"))
	if err != nil || info.Size() == 0 || info.Size() > 300<<10 {
		t.Errorf("kept: %v, %v", info, err)
	}
	if _, err := os.Lstat(filepath.Join(dir, "a b.bin")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("half a file has its name: %v", err)
	}
	path, err := transfer.Fetch(t.Context(), d, w.Down())
	if err != nil {
		t.Fatal(err)
	}
	wantFile(t, path, data)
}
