// Command files measures file_server for test/accept/files.sh: a large file up
// and down with cuts and kills, memory under many transfers, and the same
// transfers by nginx. It prints a table and exits with 1 when a row fails.
package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"teamtalk/client"
	"teamtalk/client/transfer"
	"teamtalk/internal/im"
)

// run is one acceptance run.
type run struct {
	dir, addr string // of the cluster, and of its msg_servers, comma-separated
	files     string // HTTP address of the file_server
	nginx     string // HTTP address of nginx
	nginxPID  int
	size      int64
	proxy     *proxy
	alice     *client.Client
	bob       *client.Client
	ready     chan *client.FileReady // what bob hears of
	failed    bool
}

func main() {
	r := &run{ready: make(chan *client.FileReady, 1024)}
	flag.StringVar(&r.dir, "dir", "", "folder of the cluster")
	flag.StringVar(&r.addr, "addr", "", "two msg_servers, comma-separated")
	flag.StringVar(&r.files, "files", "", "HTTP address of file_server")
	flag.StringVar(&r.nginx, "nginx", "", "HTTP address of nginx, without one nothing is compared")
	flag.IntVar(&r.nginxPID, "nginx-pid", 0, "worker process of nginx")
	flag.Int64Var(&r.size, "size", 2<<30, "bytes of the large file")
	flag.Parse()
	if err := r.all(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "files:", err)
		os.Exit(2)
	}
	if r.failed {
		os.Exit(1)
	}
}

func (r *run) all(ctx context.Context) (err error) {
	if r.proxy, err = newProxy(ctx, r.files); err != nil {
		return err
	}
	first, second, _ := strings.Cut(r.addr, ",")
	if r.alice, err = r.login(ctx, first, "u1"); err != nil {
		return err
	}
	if r.bob, err = r.login(ctx, second, "u2"); err != nil {
		return err
	}
	file, sum, err := r.content("large.bin", r.size)
	if err != nil {
		return err
	}
	steps := []func(context.Context, *os.File, string) error{r.cuts, r.kills, r.memory, r.compare, r.memoryS3}
	for _, step := range steps {
		if err := step(ctx, file, sum); err != nil {
			return err
		}
	}
	return file.Close()
}

func (r *run) login(ctx context.Context, addr, user string) (*client.Client, error) {
	return client.Dial(ctx, client.Options{
		Addr: addr, User: user, Password: "secret", Capabilities: []string{client.CapFiles},
		Handler: func(_ *client.Client, e client.Event) {
			if ready, ok := e.(*client.FileReady); ok && user == "u2" {
				r.ready <- ready
			}
		},
	})
}

// row prints a line of the table.
func (r *run) row(what, wanted, seen string, ok bool) {
	verdict := "ok"
	if !ok {
		verdict, r.failed = "FAILED", true
	}
	_, _ = fmt.Fprintf(os.Stdout, "%-62s %-24s %-34s %s\n", what, wanted, seen, verdict)
}

// content makes a file of random bytes.
func (r *run) content(name string, size int64) (*os.File, string, error) {
	random, err := os.Open("/dev/urandom")
	if err != nil {
		return nil, "", err
	}
	defer random.Close()
	f, err := os.Create(filepath.Join(r.dir, name))
	if err != nil {
		return nil, "", err
	}
	sum := sha256.New()
	if _, err := io.CopyN(io.MultiWriter(f, sum), random, size); err != nil {
		return nil, "", err
	}
	return f, hex.EncodeToString(sum.Sum(nil)), nil
}

// options of a transfer between u1 and u2, over the proxy or directly.
func (r *run) options(download, direct bool) transfer.Options {
	return transfer.Options{Access: func(ctx context.Context, id string) (a client.FileAccess, err error) {
		if download {
			a, err = r.bob.FileDownload(ctx, im.Single, uint32(r.alice.User()), id)
		} else {
			a, err = r.alice.FileUpload(ctx, im.Single, uint32(r.bob.User()), id)
		}
		if err != nil || direct {
			return a, err
		}
		u, err := url.Parse(a.URL)
		if err == nil {
			u.Host = r.proxy.listener.Addr().String()
			a.URL = u.String()
		}
		return a, err
	}}
}

// heard waits until bob is told that a file is complete.
func (r *run) heard(id string) (*client.FileReady, error) {
	late := time.After(30 * time.Second)
	for {
		select {
		case e := <-r.ready:
			if e.ID == id {
				return e, nil
			}
		case <-late:
			return nil, fmt.Errorf("nobody was told of %s", id)
		}
	}
}

// pid returns the process of the file_server.
func (r *run) pid() (int, error) {
	text, err := os.ReadFile(filepath.Join(r.dir, "pids"))
	if err != nil {
		return 0, err
	}
	found := 0
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), "file_server_1="); ok {
			if found, err = strconv.Atoi(value); err != nil {
				return 0, err
			}
		}
	}
	if found == 0 {
		return 0, errors.New("no file_server in the list of processes")
	}
	return found, nil
}

// kill ends the file_server without a warning, and starts it again.
func (r *run) kill(ctx context.Context) error {
	out, err := exec.CommandContext(ctx, "./build.sh", "cluster", "restart",
		"--dir", r.dir, "--name", "file_server_1").CombinedOutput()
	if err != nil {
		return fmt.Errorf("restart of the file_server: %w: %s", err, out)
	}
	return nil
}
