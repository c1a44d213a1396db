package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"

	"teamtalk/client/transfer"
)

// Transfers at a time.
const many = 50

// memory measures file_server while many transfers run on its local store.
func (r *run) memory(ctx context.Context, _ *os.File, _ string) error {
	return r.crowd(ctx, "local store", max(r.size/many, 1<<20), 64<<20)
}

// sizeS3 makes each file of two parts; the store is in our own memory.
const sizeS3 = 20 << 20

// memoryS3 has the file_server keep its files in an S3-compatible store, and
// measures it there.
func (r *run) memoryS3(ctx context.Context, _ *os.File, _ string) error {
	store := s3mem.New()
	if err := store.CreateBucket("files"); err != nil {
		return err
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := &http.Server{Handler: gofakes3.New(store).Server(), ReadHeaderTimeout: time.Minute}
	go server.Serve(l) //nolint:errcheck // until it is closed
	defer server.Close()
	conf, err := os.OpenFile(filepath.Join(r.dir, "conf", "file_server_1", "fileserver.conf"), os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(conf, "StoreDriver=s3\nS3Endpoint=http://%s\nS3Region=us-east-1\nS3Bucket=files\n"+
		"S3AccessKey=key\nS3SecretKey=secret\n", l.Addr())
	if err = errors.Join(err, conf.Close()); err != nil {
		return err
	}
	if err := r.kill(ctx); err != nil {
		return err
	}
	return r.crowd(ctx, "S3", min(max(r.size/many, 1<<20), sizeS3), 128<<20)
}

// crowd runs many transfers at a time, half of them each way, and compares the
// memory of the file_server meanwhile with the most it may be. What is sent
// differs each time: the same content would be stored once.
func (r *run) crowd(ctx context.Context, store string, size, most int64) error {
	pid, err := r.pid()
	if err != nil {
		return err
	}
	first, err := r.sendNew(ctx, "first.bin", size)
	if err != nil {
		return err
	}
	sampling, stop := context.WithCancel(ctx)
	highest := make(chan int64, 1)
	go func() { highest <- peak(sampling, pid) }()
	var all sync.WaitGroup
	errs := make([]error, many)
	for i := range many {
		all.Go(func() {
			if i%2 == 0 {
				_, errs[i] = r.sendNew(ctx, fmt.Sprintf("each-%d.bin", i), size)
				return
			}
			dir := filepath.Join(r.dir, fmt.Sprintf("out-%d", i))
			if errs[i] = os.Mkdir(dir, 0o700); errs[i] == nil {
				_, err := transfer.Fetch(ctx, transfer.Download{ID: first, Path: dir}, r.options(true, true))
				errs[i] = errors.Join(err, os.RemoveAll(dir))
			}
		})
	}
	all.Wait()
	stop()
	top := <-highest
	if err := errors.Join(errs...); err != nil {
		return err
	}
	r.row(fmt.Sprintf("%d transfers of %d MiB at a time, %s: memory of file_server", many, size>>20, store),
		fmt.Sprintf("< %d MiB", most>>20), fmt.Sprintf("%.1f MiB", float64(top)/(1<<20)), top > 0 && top < most)
	return nil
}

// sendNew sends a file of random bytes and returns its id.
func (r *run) sendNew(ctx context.Context, name string, size int64) (id string, err error) {
	file, sum, err := r.content(name, size)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, file.Close(), os.Remove(file.Name())) }()
	u := &transfer.Upload{File: file, Name: name, Size: size, Sum: sum}
	_, err = transfer.Send(ctx, u, r.options(false, true))
	return u.ID, err
}
