//go:build unix

package transfer_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"syscall"
	"testing"

	"teamtalk/client"
	"teamtalk/client/transfer"
	"teamtalk/file_server/fileservertest"
	"teamtalk/internal/share"
)

// fetchWithin fetches in a process whose files may not be larger than a limit,
// which is as good as a full disk. It returns what went wrong there.
func fetchWithin(t *testing.T, w *world, d transfer.Download, limit int) string {
	t.Helper()
	access, err := w.Access(fileservertest.Receiver, share.Download)(t.Context(), d.ID)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestHelperFetch$", "-test.v")
	cmd.Env = append(os.Environ(), "FETCH_LIMIT="+strconv.Itoa(limit), "FETCH_ID="+d.ID, "FETCH_PATH="+d.Path,
		"FETCH_URL="+access.URL, "FETCH_TOKEN="+access.Token)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return string(out)
}

// TestHelperFetch is the other process of fetchWithin.
func TestHelperFetch(t *testing.T) { //nolint:paralleltest // it limits its process
	limit, err := strconv.ParseUint(os.Getenv("FETCH_LIMIT"), 10, 32)
	if err != nil {
		t.Skip("for another test")
	}
	signal.Ignore(syscall.SIGXFSZ)
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: limit, Max: limit}); err != nil {
		t.Fatal(err)
	}
	_, err = transfer.Fetch(t.Context(), transfer.Download{ID: os.Getenv("FETCH_ID"), Path: os.Getenv("FETCH_PATH")},
		transfer.Options{Access: func(context.Context, string) (client.FileAccess, error) {
			return client.FileAccess{ID: os.Getenv("FETCH_ID"), URL: os.Getenv("FETCH_URL"), Token: os.Getenv("FETCH_TOKEN")}, nil
		}})
	fmt.Println(err)
}
