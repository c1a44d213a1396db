package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"teamtalk/client/transfer"
)

const cutsEach = 20

// limit is how much may be sent twice, in per cent. What a cut or a kill costs
// does not depend on the size, so a smaller file is measured by one of 2 GiB.
func limit(size int64) float64 { return 5 * float64(max(size, 2<<30)) / float64(size) }

func limitText(size int64) string { return fmt.Sprintf("< %.0f %%", limit(size)) }

// cuts sends and fetches the large file while connections are cut, and the
// file_server is killed once.
func (r *run) cuts(ctx context.Context, file *os.File, sum string) error {
	r.proxy.plan(cutsEach, r.size)
	killed := make(chan error, 1)
	go func() {
		for r.proxy.up.Load() < r.size/3 {
			time.Sleep(time.Millisecond) //nolint:forbidigo // waits for bytes to pass
		}
		killed <- r.kill(ctx)
	}()
	u := &transfer.Upload{File: file, Name: "large.bin", Size: r.size, Sum: sum}
	if _, err := transfer.Send(ctx, u, r.options(false, false)); err != nil {
		return fmt.Errorf("upload: %w", err)
	}
	if err := <-killed; err != nil {
		return err
	}
	twice := float64(r.proxy.up.Load()-r.size) / float64(r.size) * 100
	r.row(fmt.Sprintf("%d MiB up, %d cuts, kill -9 of file_server: sent twice", r.size>>20, cutsEach-r.proxy.left()),
		limitText(r.size), fmt.Sprintf("%.2f %%", twice), twice < limit(r.size) && r.proxy.left() == 0)
	ready, err := r.heard(u.ID)
	if err != nil {
		return err
	}
	r.row("the receiver, on another msg_server, is told", "the file, its message", fmt.Sprintf("message %d", ready.Msg),
		hex.EncodeToString(ready.Hash[:]) == sum && ready.Size == uint64(r.size) && ready.Msg > 0)

	r.proxy.plan(cutsEach, r.size)
	out := filepath.Join(r.dir, "fetched.bin")
	path, err := transfer.Fetch(ctx, transfer.Download{ID: u.ID, Path: out}, r.options(true, false))
	if err != nil {
		return fmt.Errorf("download: %w", err)
	}
	twice = float64(r.proxy.down.Load()-r.size) / float64(r.size) * 100
	r.row(fmt.Sprintf("%d MiB down, %d cuts: sent twice", r.size>>20, cutsEach-r.proxy.left()),
		limitText(r.size), fmt.Sprintf("%.2f %%", twice), twice < limit(r.size) && r.proxy.left() == 0)
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	got, err := transfer.Hash(ctx, f, r.size)
	r.row("SHA-256 of what arrived", "equal", got[:16]+"…", err == nil && got == sum)
	return errors.Join(err, f.Close(), os.Remove(path))
}

// Kills while a file is completed.
const (
	kills     = 8
	smallSize = 16 << 20
)

// kills kills the file_server while uploads are completed: afterwards each
// file is whole, or not there and can be finished.
func (r *run) kills(ctx context.Context, _ *os.File, _ string) error {
	whole := 0
	r.proxy.plan(1, 1<<62) // no cuts
	for i := range kills {
		file, sum, err := r.content(fmt.Sprintf("small-%d.bin", i), smallSize)
		if err != nil {
			return err
		}
		r.proxy.plan(1, 1<<62)
		ended := make(chan error, 1)
		u := &transfer.Upload{File: file, Name: "small.bin", Size: smallSize, Sum: sum}
		go func() {
			_, err := transfer.Send(ctx, u, r.options(false, false))
			ended <- err
		}()
		for r.proxy.up.Load() < smallSize {
			time.Sleep(100 * time.Microsecond) //nolint:forbidigo // waits for bytes to pass
		}
		time.Sleep(time.Duration(rand.IntN(20)) * time.Millisecond) //nolint:forbidigo // a random moment
		if err := r.kill(ctx); err != nil {
			return err
		}
		if err := <-ended; err != nil {
			return fmt.Errorf("upload %d: %w", i, err)
		}
		out := filepath.Join(r.dir, "small.out")
		if _, err := transfer.Fetch(ctx, transfer.Download{ID: u.ID, Path: out}, r.options(true, false)); err != nil {
			return fmt.Errorf("download %d: %w", i, err)
		}
		if err := errors.Join(os.Remove(out), file.Close(), os.Remove(file.Name())); err != nil {
			return err
		}
		whole++
	}
	r.row(fmt.Sprintf("kill -9 while a file is completed, %d times", kills), "whole or none, then whole",
		fmt.Sprintf("%d of %d whole", whole, kills), whole == kills)
	return nil
}
