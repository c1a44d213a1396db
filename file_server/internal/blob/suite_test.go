package blob_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"

	"teamtalk/file_server/internal/blob"
	"teamtalk/internal/secret"
)

// backends are what every test of the suite runs on.
var backends = map[string]func(t *testing.T, root string) blob.Backend{
	"local": func(t *testing.T, root string) blob.Backend {
		t.Helper()
		b, err := blob.NewLocal(filepath.Join(root, "store"))
		if err != nil {
			t.Fatal(err)
		}
		return b
	},
	"s3": func(t *testing.T, _ string) blob.Backend {
		t.Helper()
		memory := s3mem.New()
		server := httptest.NewServer(gofakes3.New(memory).Server())
		t.Cleanup(server.Close)
		if err := memory.CreateBucket("files"); err != nil {
			t.Fatal(err)
		}
		b, err := blob.NewS3(t.Context(), blob.S3Config{
			Endpoint: server.URL, Region: "us-east-1", Bucket: "files", Prefix: "tt/", Access: "key", Secret: secret.New("secret"),
		})
		if err != nil {
			t.Fatal(err)
		}
		return b
	},
}

// world is a store on one backend, which a test may open again.
type world struct {
	*blob.Store
	t       *testing.T
	root    string
	backend blob.Backend
	minFree int64
}

func (w *world) reopen() {
	w.t.Helper()
	var err error
	w.Store, err = blob.New(blob.Config{Dir: filepath.Join(w.root, "uploads"), MinFree: w.minFree},
		blob.Deps{Backend: w.backend, Clock: time.Now})
	if err != nil {
		w.t.Fatal(err)
	}
}

// each runs a test of the suite on every backend.
func each(t *testing.T, test func(t *testing.T, w *world)) {
	t.Helper()
	for name, open := range backends {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := &world{t: t, root: t.TempDir()}
			w.backend = open(t, w.root)
			w.reopen()
			test(t, w)
		})
	}
}

func content(seed uint64, size int) []byte {
	b := make([]byte, size)
	var key [32]byte
	key[0] = byte(seed)
	_, _ = rand.NewChaCha8(key).Read(b)
	return b
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func want(t *testing.T, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Fatalf("got %v, want %v", got, want)
	}
}

// store uploads content in one go.
func (w *world) store(id string, data []byte) blob.Hash {
	w.t.Helper()
	u := must2(w.Create(id, int64(len(data)), nil))
	_, err := u.ReadFrom(bytes.NewReader(data))
	ok(w.t, err)
	h := must2(u.Commit(w.t.Context()))
	ok(w.t, u.Discard())
	return h
}

func must2[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func (w *world) read(h blob.Hash) []byte {
	w.t.Helper()
	r, size, err := w.Open(w.t.Context(), h)
	ok(w.t, err)
	defer r.Close()
	data := must2(io.ReadAll(r))
	if int64(len(data)) != size {
		w.t.Fatalf("read %d bytes of %d", len(data), size)
	}
	return data
}

func (w *world) blobs() (all []blob.Hash) {
	w.t.Helper()
	ok(w.t, w.Blobs(w.t.Context(), func(b blob.Blob) error { all = append(all, b.Hash); return nil }))
	return all
}

func TestWholeWay(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, w *world) {
		for _, size := range []int{0, 1, 32768, 1<<20 + 7, 20 << 20} {
			data := content(uint64(size), size)
			h := w.store("whole", data)
			if h != sha256.Sum256(data) {
				t.Fatalf("hash of %d bytes differs", size)
			}
			if !bytes.Equal(w.read(h), data) {
				t.Fatalf("%d bytes differ", size)
			}
			if got := must2(w.Stat(t.Context(), h)); got != int64(size) {
				t.Fatalf("size %d, want %d", got, size)
			}
		}
		r, _, err := w.Open(t.Context(), must2(blob.ParseHash(w.store("range", content(9, 1000)).String())))
		ok(t, err)
		defer r.Close()
		part := make([]byte, 100)
		must2(r.Seek(400, io.SeekStart))
		must2(io.ReadFull(r, part))
		if !bytes.Equal(part, content(9, 1000)[400:500]) {
			t.Error("a range differs")
		}
		if n, err := r.ReadAt(part, 950); n != 50 || !errors.Is(err, io.EOF) {
			t.Errorf("at the end %d bytes and %v, want 50 and EOF", n, err)
		}
	})
}

// What comes in and goes out is never in memory as a whole. It runs alone, so
// that nobody else allocates meanwhile. Source: docs/protocol/defects.md H2.
func TestStreams(t *testing.T) { //nolint:paralleltest // see above
	w := &world{t: t, root: t.TempDir()}
	w.backend = backends["local"](t, w.root)
	w.reopen()
	const size, most = 32 << 20, 4 << 20
	random := rand.NewChaCha8([32]byte{})
	allocated := func() uint64 {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.TotalAlloc
	}
	before := allocated()
	u := must2(w.Create("large", size, nil))
	must2(u.ReadFrom(io.LimitReader(random, size)))
	h := must2(u.Commit(t.Context()))
	ok(t, u.Discard())
	r, _, err := w.Open(t.Context(), h)
	ok(t, err)
	if n, err := io.Copy(io.Discard, r); n != size || err != nil {
		t.Errorf("read %d bytes, %v", n, err)
	}
	ok(t, r.Close())
	if got := allocated() - before; got > most {
		t.Errorf("%d bytes allocated for %d", got, size)
	}
}

func TestNothingVisibleBeforeCommit(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, w *world) {
		data := content(1, 100)
		u := must2(w.Create("a", 100, []byte("note")))
		must2(u.Write(data[:60]))
		_, err := u.Commit(t.Context())
		want(t, err, blob.ErrShort)
		_, err = u.Write(data[:41])
		want(t, err, blob.ErrOverrun)
		if len(w.blobs()) != 0 {
			t.Error("an unfinished upload is visible")
		}
		_, _, err = w.Open(t.Context(), sha256.Sum256(data))
		want(t, err, blob.ErrNotFound)
		must2(u.Write(data[60:]))
		h := must2(u.Commit(t.Context()))
		if must2(u.Commit(t.Context())) != h {
			t.Error("the second commit differs")
		}
		ok(t, u.Discard())
		if !bytes.Equal(w.read(h), data) || len(w.blobs()) != 1 {
			t.Error("not exactly the content")
		}
		_, err = w.Resume("a")
		want(t, err, blob.ErrNotFound)
	})
}

func TestResume(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, w *world) {
		data := content(2, 40<<20) // beyond a checkpoint
		u := must2(w.Create("r", int64(len(data)), []byte("mine")))
		must2(u.Write(data[:1000]))
		_, err := w.Resume("r")
		want(t, err, blob.ErrBusy)
		want(t, w.DropUpload("r"), blob.ErrBusy)
		_, err = w.Create("r", 1, nil)
		want(t, err, blob.ErrBusy)
		ok(t, u.Close())
		_, err = u.Write(data[:1])
		want(t, err, os.ErrClosed)
		_, err = w.Create("r", 1, nil)
		want(t, err, blob.ErrExists)

		w.reopen()
		u = must2(w.Resume("r"))
		if u.Offset() != 1000 || u.Size() != int64(len(data)) || string(u.Note()) != "mine" {
			t.Fatalf("resumed at %d of %d, note %q", u.Offset(), u.Size(), u.Note())
		}
		must2(u.ReadFrom(bytes.NewReader(data[1000 : 35<<20])))

		w.reopen() // as after a crash: the upload was never closed
		u = must2(w.Resume("r"))
		if u.Offset() < 32<<20 || u.Offset() > 35<<20 {
			t.Fatalf("after a crash at %d, want what was synced", u.Offset())
		}
		must2(u.ReadFrom(bytes.NewReader(data[u.Offset():])))
		h := must2(u.Commit(t.Context()))
		w.reopen() // a crash while it is completed
		u = must2(w.Resume("r"))
		if must2(u.Commit(t.Context())) != h {
			t.Error("the repeated commit differs")
		}
		ok(t, u.Discard())
		if h != sha256.Sum256(data) || !bytes.Equal(w.read(h), data) {
			t.Error("the content differs")
		}
	})
}

func TestSameContentOnce(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, w *world) {
		data := content(3, 5000)
		var all sync.WaitGroup
		for _, id := range []string{"a", "b", "c", "d"} {
			all.Go(func() { w.store(id, data) })
		}
		all.Wait()
		if got := w.blobs(); len(got) != 1 {
			t.Errorf("%d blobs of one content", len(got))
		}
	})
}

func TestRemove(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, w *world) {
		h := w.store("a", content(4, 10))
		if must2(w.Remove(t.Context(), h, time.Now().Add(-time.Hour))) {
			t.Error("a young blob was removed")
		}
		if !must2(w.Remove(t.Context(), h, time.Now().Add(time.Hour))) {
			t.Error("an old blob was not removed")
		}
		if must2(w.Remove(t.Context(), h, time.Now().Add(time.Hour))) {
			t.Error("removed twice")
		}
		_, _, err := w.Open(t.Context(), h)
		want(t, err, blob.ErrNotFound)
	})
}

func TestRecords(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, w *world) {
		ctx := t.Context()
		ok(t, w.SetRecord(ctx, "task", "one", []byte("1")))
		ok(t, w.SetRecord(ctx, "task", "one", []byte("11")))
		ok(t, w.SetRecord(ctx, "task", "two", []byte("2")))
		ok(t, w.SetRecord(ctx, "image", "one", nil))
		if got := must2(w.Record(ctx, "task", "one")); string(got) != "11" {
			t.Errorf("record %q", got)
		}
		var ids []string
		ok(t, w.Records(ctx, "task", func(r blob.Record) error { ids = append(ids, r.ID); return nil }))
		slices.Sort(ids)
		if strings.Join(ids, " ") != "one two" {
			t.Errorf("records %v", ids)
		}
		ok(t, w.DeleteRecord(ctx, "task", "one"))
		ok(t, w.DeleteRecord(ctx, "task", "one"))
		_, err := w.Record(ctx, "task", "one")
		want(t, err, blob.ErrNotFound)
		want(t, w.SetRecord(ctx, "task", "long", make([]byte, blob.MaxRecord+1)), blob.ErrOverrun)
		stop := errors.New("stop")
		want(t, w.Records(ctx, "task", func(blob.Record) error { return stop }), stop)
		ok(t, w.Records(ctx, "none", func(blob.Record) error { return stop }))
	})
}

// Names that could lead out of the store are refused before anything is done.
func TestBadNames(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, w *world) {
		ctx := context.Background()
		for _, bad := range []string{"", ".", "..", "../a", "a/b", `a\b`, "A", "a.b", "-a", "a\x00", strings.Repeat("a", 129), "ä"} {
			_, err := w.Create(bad, 1, nil)
			want(t, err, blob.ErrBadName)
			_, err = w.Resume(bad)
			want(t, err, blob.ErrBadName)
			want(t, w.DropUpload(bad), blob.ErrBadName)
			want(t, w.SetRecord(ctx, "task", bad, nil), blob.ErrBadName)
			want(t, w.SetRecord(ctx, bad, "a", nil), blob.ErrBadName)
			_, err = w.Record(ctx, bad, "a")
			want(t, err, blob.ErrBadName)
			want(t, w.DeleteRecord(ctx, "a", bad), blob.ErrBadName)
			_, err = blob.ParseHash(bad)
			want(t, err, blob.ErrBadName)
		}
		_, err := w.Create("a", -1, nil)
		want(t, err, blob.ErrBadName)
	})
}

func TestUploads(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, w *world) {
		u := must2(w.Create("a", 5, []byte("n")))
		must2(u.Write([]byte("abc")))
		list := func() (all []blob.Pending) {
			ok(t, w.Uploads(func(p blob.Pending) error { all = append(all, p); return nil }))
			return all
		}
		if got := list(); len(got) != 0 {
			t.Errorf("an upload that is held is listed: %v", got)
		}
		ok(t, u.Close())
		got := list()
		if len(got) != 1 || got[0].ID != "a" || got[0].Offset != 3 || got[0].Size != 5 || string(got[0].Note) != "n" {
			t.Errorf("uploads %v", got)
		}
		ok(t, w.DropUpload("a"))
		if len(list()) != 0 {
			t.Error("a dropped upload is listed")
		}
	})
}

func TestFreeSpace(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, w *world) {
		before := must2(w.Free())
		u := must2(w.Create("a", 1<<30, nil))
		// Others write to this disk, too.
		if after := must2(w.Free()); before-after < 1<<29 {
			t.Errorf("free %d before and %d after a promise of 1 GiB", before, after)
		}
		_, err := w.Create("b", before, nil)
		want(t, err, blob.ErrFull)
		ok(t, u.Discard())
		w.minFree = 1 << 60
		w.reopen()
		_, err = w.Create("c", 1, nil)
		want(t, err, blob.ErrFull)
		ok(t, w.SetRecord(t.Context(), "a", "b", nil))
	})
}

func TestTidy(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, w *world) {
		u := must2(w.Create("kept", 5, nil))
		ok(t, u.Close())
		for _, name := range []string{"begun.part", "record-1.tmp"} {
			ok(t, os.WriteFile(filepath.Join(w.root, "uploads", name), nil, 0o600))
		}
		w.reopen()
		entries := must2(os.ReadDir(filepath.Join(w.root, "uploads")))
		if len(entries) != 2 {
			t.Errorf("%v is left", entries)
		}
	})
}
