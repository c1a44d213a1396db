package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"time"

	"teamtalk/client"
)

// rounds of each comparison; the best of each side counts, since others use
// the machine, too.
const rounds = 3

// cost is what a transfer took.
type cost struct {
	time, cpu time.Duration
}

func best(a, b cost) cost {
	if a.time == 0 {
		return b
	}
	return cost{min(a.time, b.time), min(a.cpu, b.cpu)}
}

// compare sends and fetches the large file with one request, here and at
// nginx, with the same client and a sync of the disk behind each upload.
func (r *run) compare(ctx context.Context, file *os.File, _ string) error {
	if r.nginx == "" {
		r.row("the same by nginx", "", "no nginx", true)
		return nil
	}
	pid, err := r.pid()
	if err != nil {
		return err
	}
	var put, tus, get, fetch cost
	for range rounds {
		up, err := r.alice.FileUpload(ctx, 1, uint32(r.bob.User()), "")
		if err != nil {
			return err
		}
		steps := []struct {
			best *cost
			pid  int
			do   func() error
		}{
			{&put, r.nginxPID, func() error { return r.send(ctx, http.MethodPut, "http://"+r.nginx+"/large.bin", file, nil) }},
			{&tus, pid, func() error { return r.tusUpload(ctx, up, file) }},
			{&get, r.nginxPID, func() error { return r.receive(ctx, "http://"+r.nginx+"/large.bin", "") }},
			{&fetch, pid, func() error {
				down, err := r.bob.FileDownload(ctx, 1, uint32(r.alice.User()), up.ID)
				if err != nil {
					return err
				}
				return r.receive(ctx, down.URL+down.ID, down.Token)
			}},
		}
		for _, s := range steps {
			c, err := timed(s.pid, s.do)
			if err != nil {
				return err
			}
			*s.best = best(*s.best, c)
		}
	}
	gib := float64(r.size) / (1 << 30)
	rate := func(c cost) float64 { return float64(r.size) / (1 << 20) / c.time.Seconds() }
	perGiB := func(c cost) float64 { return c.cpu.Seconds() / gib }
	r.row("upload with sync: time, file_server : nginx PUT", "<= 2.0",
		fmt.Sprintf("%.2f (%.1f s : %.1f s)", tus.time.Seconds()/put.time.Seconds(), tus.time.Seconds(), put.time.Seconds()),
		tus.time <= 2*put.time)
	r.row("upload: CPU per GiB, file_server : nginx", "<= 3.0",
		fmt.Sprintf("%.2f (%.2f s : %.2f s)", perGiB(tus)/perGiB(put), perGiB(tus), perGiB(put)),
		perGiB(tus) <= 3*perGiB(put))
	r.row("download: rate, file_server : nginx", ">= 0.5",
		fmt.Sprintf("%.2f (%.0f : %.0f MiB/s)", rate(fetch)/rate(get), rate(fetch), rate(get)), rate(fetch) >= rate(get)/2)
	r.row("download: CPU per GiB (for information)", "", fmt.Sprintf("%.2f s : %.2f s", perGiB(fetch), perGiB(get)), true)
	return nil
}

// timed measures a step and the processor time of a process during it.
func timed(pid int, do func() error) (cost, error) {
	before, err := cpu(pid)
	if err != nil {
		return cost{}, err
	}
	start := time.Now()
	if err := do(); err != nil {
		return cost{}, err
	}
	took := time.Since(start)
	after, err := cpu(pid)
	return cost{took, after - before}, err
}

func (r *run) tusUpload(ctx context.Context, a client.FileAccess, file *os.File) error {
	headers := map[string]string{
		"Authorization": "Bearer " + a.Token, "Tus-Resumable": "1.0.0", "Upload-Length": strconv.FormatInt(r.size, 10),
		"Upload-Metadata": "filename bGFyZ2UuYmlu", "Content-Type": "application/offset+octet-stream",
	}
	return r.send(ctx, http.MethodPost, a.URL, file, headers)
}

func (r *run) send(ctx context.Context, method, url string, file *os.File, headers map[string]string) error {
	req, err := http.NewRequestWithContext(ctx, method, url, io.NewSectionReader(file, 0, r.size))
	if err != nil {
		return err
	}
	req.ContentLength = r.size
	for name, value := range headers {
		req.Header.Set(name, value)
	}
	t := &http.Transport{WriteBufferSize: 128 << 10}
	defer t.CloseIdleConnections()
	res, err := (&http.Client{Transport: t}).Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode/100 != 2 {
		return fmt.Errorf("%s %s: %s", method, url, res.Status)
	}
	return exec.CommandContext(ctx, "sync").Run()
}

func (r *run) receive(ctx context.Context, url, token string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return err
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	t := &http.Transport{ReadBufferSize: 128 << 10}
	defer t.CloseIdleConnections()
	res, err := (&http.Client{Transport: t}).Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, res.Body, make([]byte, 256<<10))
	if err == nil && (n != r.size || res.StatusCode != http.StatusOK) {
		err = fmt.Errorf("GET %s: %s, %d bytes", url, res.Status, n)
	}
	return err
}
