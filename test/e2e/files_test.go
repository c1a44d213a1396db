//go:build unix

package e2e

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"teamtalk/client"
	"teamtalk/client/transfer"
	"teamtalk/internal/im"
	"teamtalk/internal/share"
	"teamtalk/test/e2e/dialog"
)

// A file is cut twice on its way to a receiver who is told once it is whole,
// and fetches it by the command line. The commands do the same from end to end.
func TestFilesOfMessages(t *testing.T) {
	t.Parallel()
	e := serve(t)
	ids, err := e.CreateUsers(t.Context(), []string{"alice", "bob", "carol"})
	if err != nil {
		t.Fatal(err)
	}
	ready := make(chan *client.FileReady, 4)
	texts := make(chan string, 4)
	toAlice := make(chan *client.FileReady, 4)
	fetched := make(chan *client.FileMoved, 64)
	alice := e.dial(t, "alice", func(_ *client.Client, event client.Event) {
		switch event := event.(type) {
		case *client.FileReady:
			toAlice <- event
		case *client.FileMoved:
			fetched <- event
		}
	})
	bob := e.dial(t, "bob", func(_ *client.Client, event client.Event) {
		switch event := event.(type) {
		case *client.FileReady:
			ready <- event
		case *client.Message:
			texts <- event.Text()
		}
	})
	data := make([]byte, 12<<20)
	_, _ = rand.NewChaCha8([32]byte{7}).Read(data)
	path := filepath.Join(t.TempDir(), "a report.bin")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	id := e.sendCut(t, alice, ids[1], path)
	select {
	case got := <-ready:
		sum := sha256.Sum256(data)
		if got.ID != id || got.Hash != sum || got.Size != uint64(len(data)) || got.From != ids[0] || got.Msg == 0 || got.Name != "a report.bin" {
			t.Errorf("ready: %+v", got)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("the receiver was not told")
	}
	if named, name, ok := share.ParseText(<-texts); !ok || named != id || name != "a report.bin" {
		t.Errorf("the message names %q %q", named, name)
	}
	bob.Close()

	out := t.TempDir()
	for range 2 { // the second does not overwrite the first
		e.files(t, 0, "get", "--user", "bob", "--from", "alice", "--out", out)
	}
	for _, name := range []string{"a report.bin", "a report (1).bin"} {
		if got, err := os.ReadFile(filepath.Join(out, name)); err != nil || !bytes.Equal(got, data) {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
	}
	for got := (&client.FileMoved{}); got.Moved < uint64(len(data)); {
		select {
		case got = <-fetched:
			if got.ID != id || got.By != ids[1] || got.Name != "a report.bin" || got.Size != uint64(len(data)) {
				t.Errorf("the sender hears %+v", got)
			}
		case <-time.After(20 * time.Second):
			t.Fatal("the sender does not hear that the file was fetched")
		}
	}
	if said := e.files(t, 1, "get", id, "--user", "carol", "--from", "alice", "--out", out); !strings.Contains(said, "no such file") {
		t.Errorf("a stranger is told: %s", said)
	}
	if said := e.files(t, 1, "send", path, "--user", "bob", "--to", "nobody"); !strings.Contains(said, `nobody is called "nobody"`) {
		t.Errorf("to nobody: %s", said)
	}
	if said := e.run(t, 0, "collect", "--dry-run", "--server", e.addr(650)); said !=
		"to be removed: 0 files whose time is over, 0 contents that no file has (0 B), 0 uploads given up\n" {
		t.Errorf("collect prints %q", said)
	}
	received := e.fetchOne(t, alice, ids[1], toAlice)
	said := e.files(t, 0, "send", path, "--user", "bob", "--to", "alice", "--wait")
	if err := <-received; err != nil {
		t.Error(err)
	}
	sum := sha256.Sum256(data)
	if fields := strings.Fields(said); len(fields) != 7 || fields[5] != "fetched" || fields[6] != fields[1] || fields[0] != "sent" || fields[3] != hex.EncodeToString(sum[:]) || fields[4] == "0" {
		t.Errorf("send prints %q", said)
	}
	if left, err := filepath.Glob(filepath.Join(e.data, "cache", "teamtalk", "uploads", "*")); err != nil || len(left) > 0 {
		t.Errorf("notes that are left: %v, %v", left, err)
	}
}

func (e *embedded) dial(t *testing.T, user string, h client.Handler) *client.Client {
	t.Helper()
	c, err := client.Dial(t.Context(), client.Options{
		Addr: e.addr(0), User: user, Password: dialog.Password, Capabilities: client.AllCapabilities(), Handler: h,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// fetchOne fetches the next file of a peer that is announced.
func (e *embedded) fetchOne(
	t *testing.T, c *client.Client, from im.UserID, ready <-chan *client.FileReady,
) (received <-chan error) {
	t.Helper()
	done, dir := make(chan error, 1), t.TempDir()
	go func() {
		for f := range ready {
			if f.From != from {
				continue
			}
			_, err := transfer.Fetch(t.Context(), transfer.Download{ID: f.ID, Path: dir}, transfer.Options{
				Access: func(ctx context.Context, id string) (client.FileAccess, error) {
					return c.FileDownload(ctx, im.Single, uint32(from), id)
				},
			})
			done <- err
			return
		}
	}()
	return done
}

// sendCut sends a file in three attempts, of which two are given up on the way.
func (e *embedded) sendCut(t *testing.T, c *client.Client, to im.UserID, path string) (id string) {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		t.Fatal(err)
	}
	u := &transfer.Upload{File: file, Name: filepath.Base(path), Size: info.Size()}
	for _, stopAt := range []int64{info.Size() / 3, info.Size() / 2, -1} {
		ctx, cancel := context.WithCancel(t.Context())
		_, err := transfer.Send(ctx, u, transfer.Options{
			Access: func(ctx context.Context, id string) (client.FileAccess, error) {
				return c.FileUpload(ctx, im.Single, uint32(to), id)
			},
			Progress: func(done, _ int64) {
				if stopAt > 0 && done >= stopAt {
					cancel()
				}
			},
		})
		cancel()
		if stopAt > 0 && !errors.Is(err, context.Canceled) || stopAt < 0 && err != nil {
			t.Fatalf("stop at %d: %v", stopAt, err)
		}
	}
	return u.ID
}

// files runs a command of "teamtalk" about files, and returns what it prints.
func (e *embedded) files(t *testing.T, code int, args ...string) string {
	t.Helper()
	return e.run(t, code, append(args, "--addr", e.addr(0))...)
}

// run runs any command of "teamtalk", and returns what it prints.
func (e *embedded) run(t *testing.T, code int, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), filepath.Join(bin, "teamtalk"), args...)
	cmd.Env = append(os.Environ(), "TEAMTALK_PASSWORD="+dialog.Password, "XDG_CACHE_HOME="+filepath.Join(e.data, "cache"))
	out, err := cmd.CombinedOutput()
	if got := cmd.ProcessState.ExitCode(); got != code {
		t.Fatalf("%v: exit code %d, %v: %s", args, got, err, out)
	}
	return string(out)
}
