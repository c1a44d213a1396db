package transfer_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"teamtalk/client/transfer"
	"teamtalk/file_server/fileservertest"
	"teamtalk/internal/share"
)

// world is a real file_server.
type world struct {
	*fileservertest.Server
	t *testing.T
}

func start(t *testing.T, lines ...string) *world {
	t.Helper()
	return &world{fileservertest.Start(t, lines...), t}
}

// file makes a file to be sent, and an upload of it.
func file(t *testing.T, size int) ([]byte, *transfer.Upload) {
	t.Helper()
	data := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{byte(size)}).Read(data)
	path := filepath.Join(t.TempDir(), "a b.bin")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return data, &transfer.Upload{File: f, Name: "a b.bin", Size: int64(size)}
}

// sent sends a file, which must succeed, and returns its content and id.
func (w *world) sent(size int) ([]byte, string) {
	w.t.Helper()
	data, u := file(w.t, size)
	if _, err := transfer.Send(w.t.Context(), u, w.Up()); err != nil {
		w.t.Fatal(err)
	}
	return data, u.ID
}

// wantFile compares a file, which is the only one in its folder.
func wantFile(t *testing.T, path string, want []byte) {
	t.Helper()
	got, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(got, want) {
		t.Fatalf("%s: %d bytes, %v; want %d", path, len(got), err, len(want))
	}
	if entries, err := os.ReadDir(filepath.Dir(path)); err != nil || len(entries) != 1 {
		t.Errorf("the folder has %v, %v", entries, err)
	}
}

// wire is a network that is cut: each connection ends after a random number of
// bytes of either direction, as long as there are cuts left.
type wire struct {
	mu     sync.Mutex // guards the fields below
	random *rand.Rand
	most   int // bytes between cuts
	cuts   int
	moved  int64
}

// done returns how many cuts are left, and how many bytes were moved.
func (w *wire) done() (cuts int, moved int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.cuts, w.moved
}

func (w *wire) client() *http.Client {
	return &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := new(net.Dialer).DialContext(ctx, network, addr)
		w.mu.Lock()
		defer w.mu.Unlock()
		return &cutConn{Conn: c, wire: w, left: 1000 + w.random.IntN(w.most)}, err
	}}}
}

type cutConn struct {
	net.Conn
	wire *wire
	left int // guarded by wire.mu
}

// take allows n bytes, or fewer; after those the connection ends.
func (c *cutConn) take(n int) (allowed int) {
	c.wire.mu.Lock()
	defer c.wire.mu.Unlock()
	if c.left < n && c.wire.cuts > 0 {
		c.wire.cuts--
		n = c.left
	}
	c.left -= n
	c.wire.moved += int64(n)
	return n
}

var errCut = errors.New("cut")

func (c *cutConn) Write(p []byte) (int, error) {
	if n := c.take(len(p)); n < len(p) {
		n, _ = c.Conn.Write(p[:n])
		return n, errors.Join(errCut, c.Close())
	}
	return c.Conn.Write(p)
}

func (c *cutConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if allowed := c.take(n); allowed < n {
		return allowed, errors.Join(errCut, c.Close())
	}
	return n, err
}

// Both directions go on after cuts at random places, without much being sent
// twice, and with one token.
func TestCuts(t *testing.T) {
	t.Parallel()
	const size, cuts = 6 << 20, 8
	w := start(t)
	data, u := file(t, size)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	network := &wire{random: rand.New(rand.NewPCG(seed, 1)), most: size / cuts, cuts: cuts}
	o := w.Up()
	o.HTTP = network.client()
	known := 0
	u.Known = func(id, sum string) error {
		known++
		if want := sha256.Sum256(data); !share.ValidID(id) || sum != hex.EncodeToString(want[:]) {
			t.Errorf("known are %q and %q", id, sum)
		}
		return nil
	}
	if _, err := transfer.Send(t.Context(), u, o); err != nil {
		t.Fatal(err)
	}
	// What was written before a cut may not have been read: at most a few buffers.
	if left, moved := network.done(); left != 0 || moved > size+cuts*(512<<10) || known != 1 || w.Asked.Load() != 1 {
		t.Errorf("up: %d cuts left, %d bytes of %d, known %d times, %d tokens", left, moved, size, known, w.Asked.Load())
	}

	dir := t.TempDir()
	network = &wire{random: rand.New(rand.NewPCG(seed, 2)), most: size / cuts, cuts: cuts}
	o = w.Down()
	o.HTTP = network.client()
	o.Progress = func(done, _ int64) {
		if _, err := os.Lstat(filepath.Join(dir, "a b.bin")); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the file has its name after %d bytes: %v", done, err)
		}
	}
	path, err := transfer.Fetch(t.Context(), transfer.Download{ID: u.ID, Path: dir}, o)
	if err != nil {
		t.Fatal(err)
	}
	wantFile(t, path, data)
	if left, moved := network.done(); left != 0 || moved > size+cuts*(64<<10) || w.Asked.Load() != 2 {
		t.Errorf("down: %d cuts left, %d bytes of %d, %d tokens", left, moved, size, w.Asked.Load()-1)
	}
}

// A transfer that was stopped is taken up by another process, which knows what
// the first one kept.
func TestPauseAndResume(t *testing.T) {
	t.Parallel()
	const size = 4 << 20
	w := start(t)
	data, u := file(t, size)
	stopAt := func(o transfer.Options, at int64) (context.Context, transfer.Options) {
		ctx, cancel := context.WithCancel(t.Context())
		t.Cleanup(cancel)
		o.Progress = func(done, _ int64) {
			if done >= at {
				cancel()
			}
		}
		return ctx, o
	}
	ctx, o := stopAt(w.Up(), size/2)
	if _, err := transfer.Send(ctx, u, o); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	var from int64 = -1
	began := func(o transfer.Options) transfer.Options {
		from = -1
		o.Progress = func(done, _ int64) {
			if from < 0 {
				from = done
			}
		}
		return o
	}
	again := &transfer.Upload{File: u.File, Name: u.Name, Size: size, ID: u.ID, Sum: u.Sum}
	if _, err := transfer.Send(t.Context(), again, began(w.Up())); err != nil || again.ID != u.ID || from < 0 {
		t.Fatalf("goes on at %d: %v", from, err)
	}

	if msg, err := transfer.Stored(t.Context(), again, w.Up()); msg != fileservertest.MsgID || err != nil {
		t.Errorf("message %d, %v", msg, err)
	}

	dir := t.TempDir()
	d := transfer.Download{ID: u.ID, Path: filepath.Join(dir, "mine")}
	ctx, o = stopAt(w.Down(), size/2)
	if _, err := transfer.Fetch(ctx, d, o); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if _, err := os.Lstat(d.Path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("half a file has its name: %v", err)
	}
	if path, err := transfer.Fetch(t.Context(), d, began(w.Down())); err != nil || path != d.Path || from < size/2 {
		t.Fatalf("%s goes on at %d: %v", path, from, err)
	}
	wantFile(t, d.Path, data)
}

// Who fetches a file that is still on its way waits for all of it.
func TestFetchBeforeWhole(t *testing.T) {
	t.Parallel()
	const size = 2 << 20
	w := start(t)
	data, u := file(t, size)
	ctx, pause := context.WithCancel(t.Context())
	defer pause()
	o := w.Up()
	o.Progress = func(done, _ int64) {
		if done > size/2 {
			pause()
		}
	}
	if _, err := transfer.Send(ctx, u, o); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	sent := make(chan error, 1)
	resume := sync.OnceFunc(func() {
		go func() {
			_, err := transfer.Send(t.Context(), u, w.Up())
			sent <- err
		}()
	})
	path, err := transfer.Fetch(t.Context(), transfer.Download{ID: u.ID, Path: t.TempDir(), Coming: func(done, total int64) {
		if done > size || total != size { // all of it may be there before it is a file
			t.Errorf("%d of %d are on their way", done, total)
		}
		resume()
	}}, w.Down())
	if err := errors.Join(err, <-sent); err != nil {
		t.Fatal(err)
	}
	wantFile(t, path, data)
}

// A token that is over is replaced, in the middle, too.
func TestTokenRenewed(t *testing.T) {
	t.Parallel()
	const size = 2 << 20
	w := start(t)
	data, u := file(t, size)
	for _, way := range []struct {
		name string
		run  func(o transfer.Options) error
		o    transfer.Options
	}{
		{"up", func(o transfer.Options) error { _, err := transfer.Send(t.Context(), u, o); return err }, w.Up()},
		{"down", func(o transfer.Options) error {
			path, err := transfer.Fetch(t.Context(), transfer.Download{ID: u.ID, Path: t.TempDir()}, o)
			if err == nil {
				wantFile(t, path, data)
			}
			return err
		}, w.Down()},
	} {
		w.Asked.Store(0)
		network := &wire{random: rand.New(rand.NewPCG(1, 1)), most: size / 2, cuts: 1}
		way.o.HTTP = network.client()
		late := sync.OnceFunc(func() { w.Later.Add(int64(share.TokenFor + time.Minute)) })
		way.o.Progress = func(done, _ int64) {
			if done > 0 {
				late()
			}
		}
		if err := way.run(way.o); err != nil || w.Asked.Load() != 2 {
			t.Errorf("%s: %v with %d tokens", way.name, err, w.Asked.Load())
		}
	}
}
