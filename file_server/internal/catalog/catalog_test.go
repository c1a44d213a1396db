package catalog_test

import (
	"errors"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"teamtalk/file_server/internal/blob"
	"teamtalk/file_server/internal/catalog"
)

// world is a catalog on a local store, with a clock to turn.
type world struct {
	*catalog.Catalog
	t     *testing.T
	store *blob.Store

	mu  sync.Mutex
	now time.Time
}

func (w *world) clock() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

func (w *world) pass(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = w.now.Add(d)
}

func (w *world) reopen() {
	w.t.Helper()
	var err error
	w.Catalog, err = catalog.Open(w.t.Context(),
		catalog.Config{
			Quota: 100, Nobodys: 50, Unused: map[catalog.Kind]time.Duration{catalog.Image: 10 * time.Hour},
			Orphans: 24 * time.Hour, Uploads: 24 * time.Hour,
		}, w.store, w.clock)
	if err != nil {
		w.t.Fatal(err)
	}
}

func open(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, now: time.Now()}
	dir := t.TempDir()
	local, err := blob.NewLocal(filepath.Join(dir, "store"))
	if err != nil {
		t.Fatal(err)
	}
	w.store, err = blob.New(blob.Config{Dir: filepath.Join(dir, "uploads")}, blob.Deps{Backend: local, Clock: w.clock})
	if err != nil {
		t.Fatal(err)
	}
	w.reopen()
	return w
}

// upload stores a text and returns an entry for it.
func (w *world) upload(text string, owner uint32, expires time.Duration) catalog.Entry {
	w.t.Helper()
	u, err := w.store.Create("u", int64(len(text)), nil)
	if err != nil {
		w.t.Fatal(err)
	}
	_, err = u.Write([]byte(text))
	hash, commitErr := u.Commit(w.t.Context())
	if err := errors.Join(err, commitErr, u.Discard()); err != nil {
		w.t.Fatal(err)
	}
	e := catalog.Entry{Hash: hash.String(), Size: int64(len(text)), Owner: owner}
	if expires != 0 {
		e.Expires = w.clock().Add(expires).Unix()
	}
	return e
}

func (w *world) add(id string, e catalog.Entry) {
	w.t.Helper()
	if err := w.Add(w.t.Context(), catalog.Offline, id, e); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) collect(dryRun bool) catalog.Collected {
	w.t.Helper()
	done, err := w.Collect(w.t.Context(), dryRun)
	if err != nil {
		w.t.Fatal(err)
	}
	return done
}

func TestQuota(t *testing.T) {
	t.Parallel()
	w := open(t)
	release, err := w.Reserve(7, 60)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Reserve(7, 41); !errors.Is(err, catalog.ErrQuota) {
		t.Errorf("over the quota: %v", err)
	}
	if _, err := w.Reserve(8, 100); err != nil {
		t.Errorf("another user: %v", err)
	}
	w.add("a", w.upload("0123456789", 7, 0))
	release()
	release()
	if got := w.Used(7); got != 10 {
		t.Errorf("used %d, want 10", got)
	}
	w.reopen()
	if got := w.Used(7); got != 10 {
		t.Errorf("after a restart used %d, want 10", got)
	}
	for range 2 {
		if err := w.Delete(t.Context(), catalog.Offline, "a"); err != nil {
			t.Fatal(err)
		}
	}
	if got := w.Used(7); got != 0 {
		t.Errorf("used %d after all was deleted", got)
	}
}

func TestCollect(t *testing.T) {
	t.Parallel()
	w := open(t)
	kept, gone := w.upload("kept", 7, 0), w.upload("gone", 7, time.Hour)
	w.add("kept", kept)
	w.add("gone", gone)
	w.upload("orphan", 0, 0)
	u, err := w.store.Create("stale", 5, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := w.collect(false); got != (catalog.Collected{}) {
		t.Errorf("at once: %+v", got)
	}
	w.pass(2 * time.Hour)
	if _, err := w.Get(t.Context(), catalog.Offline, "gone"); !errors.Is(err, blob.ErrNotFound) {
		t.Errorf("an entry past its time: %v", err)
	}
	if got := w.collect(false); got != (catalog.Collected{Expired: 1}) {
		t.Errorf("after two hours: %+v", got)
	}
	w.pass(48 * time.Hour)
	if got, want := w.collect(false), (catalog.Collected{Blobs: 2, Bytes: 10}); got != want {
		t.Errorf("after two days: %+v, want %+v", got, want)
	}
	if err := u.Close(); err != nil {
		t.Fatal(err)
	}
	w.upload("orphan", 0, 0) // the files' times are the machine's: old to this clock
	want := catalog.Collected{Blobs: 1, Bytes: 6, Uploads: 1}
	for _, dryRun := range []bool{true, true, false} {
		if got := w.collect(dryRun); got != want {
			t.Errorf("dry run %v: %+v, want %+v", dryRun, got, want)
		}
	}
	if got := w.collect(false); got != (catalog.Collected{}) {
		t.Errorf("the second time: %+v", got)
	}
	e, err := w.Get(t.Context(), catalog.Offline, "kept")
	if err != nil || e.Hash != kept.Hash {
		t.Errorf("what is kept: %+v %v", e, err)
	}
	hash, err := e.Blob()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.store.Stat(t.Context(), hash); err != nil {
		t.Errorf("the blob of what is kept: %v", err)
	}
}

// What nobody fetches goes, whatever was fetched in between stays.
func TestUnused(t *testing.T) {
	t.Parallel()
	w := open(t)
	for id, text := range map[string]string{"seen": "0123456789", "alone": "abcdefghij"} {
		if err := w.Add(t.Context(), catalog.Image, id, w.upload(text, 0, 0)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.Reserve(0, 31); !errors.Is(err, catalog.ErrQuota) {
		t.Errorf("over what nobody may keep: %v", err)
	}
	for range 3 {
		w.pass(9 * time.Hour)
		e, err := w.Get(t.Context(), catalog.Image, "seen")
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Touch(t.Context(), catalog.Image, "seen", e); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.Get(t.Context(), catalog.Image, "alone"); !errors.Is(err, blob.ErrNotFound) {
		t.Errorf("what nobody fetched: %v", err)
	}
	if got := w.collect(false).Expired; got != 1 {
		t.Errorf("%d entries were removed", got)
	}
	w.reopen()
	if got := w.Used(0); got != 10 {
		t.Errorf("%d bytes are kept for nobody", got)
	}
	if err := w.Touch(t.Context(), catalog.Image, "alone", catalog.Entry{}); !errors.Is(err, blob.ErrNotFound) {
		t.Errorf("an entry that is gone: %v", err)
	}
}
