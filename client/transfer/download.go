package transfer

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"hash"
	"io"
	"mime"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"teamtalk/internal/share"
)

// Download is a file to be fetched. What has come is kept beside it, under
// the id of the file and ".part", until it is whole; the next Fetch goes on.
type Download struct {
	ID string
	// Path is where the file goes; a folder takes it under the name its sender
	// gave it. Nothing is overwritten.
	Path string
	// Named is called with the sender's name for the file when it is known, at
	// most once for each connection; may be nil.
	Named func(name string)
	// Coming is told how far the file itself is while it is on its way to the
	// server: Fetch waits until it is there. May be nil.
	Coming func(done, total int64)
}

// partial is a file on its way in.
type partial struct {
	*os.File
	sum  hash.Hash // of the first size bytes
	size int64
}

// Fetch fetches a file and returns its path. It has its final name once it is
// whole and compared with what the server says of its content.
func Fetch(ctx context.Context, d Download, o Options) (path string, err error) {
	dir, name := d.Path, ""
	if info, err := os.Stat(d.Path); err != nil || !info.IsDir() {
		dir, name = filepath.Split(d.Path)
	}
	if name != "" {
		if _, err := os.Lstat(d.Path); err == nil {
			return "", fmt.Errorf("%w: %w", ErrRefused, &ExistsError{d.Path})
		}
	}
	if !share.ValidID(d.ID) {
		return "", fmt.Errorf("%w: %q is not the id of a file", ErrRefused, d.ID)
	}
	part := filepath.Join(dir, d.ID+".part")
	p, err := openPart(ctx, part)
	if err != nil {
		return "", err
	}
	defer p.Close()
	a := newAttempts(o)
	a.access.ID, a.total = d.ID, -1
	var meta fileMeta
	err = a.repeat(ctx, func(ctx context.Context) (err error) {
		if err := a.authorise(ctx); err != nil {
			return err
		}
		meta, err = a.get(ctx, p, &d)
		return err
	})
	if err != nil {
		return "", err
	}
	if err := errors.Join(p.Sync(), p.Close()); err != nil {
		return "", err
	}
	if string(p.sum.Sum(nil)) != meta.sum {
		return "", errors.Join(fmt.Errorf("%w: %w", ErrContent, ErrDamaged), os.Remove(part))
	}
	if name == "" {
		name = meta.name
	}
	return settle(part, filepath.Join(dir, name), d.Path)
}

// openPart opens what has come, and reads it, for its sum.
func openPart(ctx context.Context, path string) (*partial, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	p := &partial{File: f, sum: sha256.New()}
	if p.size, err = io.Copy(p.sum, &reader{ctx: ctx, from: f}); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return p, nil
}

// settle gives a whole file its name; a name that is taken gets a number.
func settle(part, target, asked string) (string, error) {
	ext := filepath.Ext(target)
	stem := strings.TrimSuffix(target, ext)
	for n := 1; n < 1000; n++ {
		err := os.Link(part, target)
		if err == nil {
			return target, os.Remove(part)
		}
		if !errors.Is(err, os.ErrExist) {
			// A file system without links: what is there is looked at, not locked.
			if _, statErr := os.Lstat(target); errors.Is(statErr, os.ErrNotExist) {
				return target, os.Rename(part, target)
			}
		}
		if target == asked {
			break
		}
		target = fmt.Sprintf("%s (%d)%s", stem, n, ext)
	}
	return "", fmt.Errorf("%w: %w", ErrRefused, &ExistsError{target})
}

// fileMeta is what a server says of a file.
type fileMeta struct {
	name string
	sum  string // SHA-256, raw
}

// get fetches what is missing. It returns nil when nothing is.
func (a *attempts) get(ctx context.Context, p *partial, d *Download) (meta fileMeta, err error) {
	ctx, stop := a.watch(ctx)
	defer stop()
	r, err := a.request(ctx, http.MethodGet, a.access.URL+a.access.ID)
	if err != nil {
		return meta, err
	}
	if p.size > 0 {
		r.Header.Set("Range", "bytes="+strconv.FormatInt(p.size, 10)+"-")
	}
	res, err := a.HTTP.Do(r)
	if err != nil {
		return meta, err
	}
	defer res.Body.Close()
	if meta, err = parseMeta(res); err != nil {
		return meta, err
	}
	from, total := int64(0), res.ContentLength
	switch res.StatusCode {
	case http.StatusOK:
	case http.StatusPartialContent, http.StatusRequestedRangeNotSatisfiable:
		if from, total, err = contentRange(res, p.size); err != nil {
			return meta, err
		}
	case http.StatusConflict:
		return meta, a.coming(res, d)
	default:
		return meta, refusal(res)
	}
	if from != p.size || total < p.size {
		// Not what was asked for, or too much of it is here.
		p.sum.Reset()
		p.size = 0
		if err := p.Truncate(0); err != nil {
			return meta, ownDisk(err)
		}
		if from != 0 {
			return meta, errAsk
		}
	}
	if d.Named != nil {
		d.Named(meta.name)
	}
	a.total = total
	a.arrived(p.size)
	if p.size == total {
		return meta, nil
	}
	return meta, a.receive(p, &reader{ctx: ctx, from: res.Body}) // what is buffered does not go on after a pause
}

// lookEvery is how often a file that is on its way is asked for.
const lookEvery = time.Second

// coming takes the answer that a file is on its way: as long as it moves, it is
// waited for.
func (a *attempts) coming(res *http.Response, d *Download) error {
	done, err := strconv.ParseInt(res.Header.Get("Upload-Offset"), 10, 64)
	total, err2 := strconv.ParseInt(res.Header.Get("Upload-Length"), 10, 64)
	if err != nil || err2 != nil {
		return refusal(res)
	}
	if done != a.ahead {
		a.ahead, a.last = done, time.Now()
	}
	a.backoff = min(a.backoff, lookEvery)
	if d.Coming != nil {
		d.Coming(done, total)
	}
	return errAsk
}

// contentRange reads "bytes 5-9/10" or, for what is whole already, "bytes */10".
func contentRange(res *http.Response, have int64) (from, total int64, err error) {
	text, ok := strings.CutPrefix(res.Header.Get("Content-Range"), "bytes ")
	span, size, ok2 := strings.Cut(text, "/")
	total, err = strconv.ParseInt(size, 10, 64)
	if !ok || !ok2 || err != nil {
		return 0, 0, fmt.Errorf("%w: a range that is none", ErrRefused)
	}
	if span == "*" {
		return have, total, nil
	}
	first, _, _ := strings.Cut(span, "-")
	from, err = strconv.ParseInt(first, 10, 64)
	return from, total, err
}

// receive appends a body; what came before it was cut stays.
func (a *attempts) receive(p *partial, body io.Reader) error {
	buf := make([]byte, 256<<10)
	for {
		n, err := body.Read(buf)
		if n > 0 {
			if _, err := p.WriteAt(buf[:n], p.size); err != nil {
				return ownDisk(err)
			}
			p.sum.Write(buf[:n])
			p.size += int64(n)
			a.arrived(p.size)
		}
		switch {
		case errors.Is(err, io.EOF) && p.size == a.total:
			return nil
		case errors.Is(err, io.EOF):
			return io.ErrUnexpectedEOF
		case err != nil:
			return err
		}
	}
}

// ownDisk is what our own disk refuses; what it has stays.
func ownDisk(err error) error {
	if errors.Is(err, syscall.ENOSPC) {
		return fmt.Errorf("%w: %w: %w", ErrRefused, ErrNoSpace, err)
	}
	return fmt.Errorf("%w: %w", ErrRefused, err)
}

// parseMeta reads the name and the sum of a file; an answer that has none of
// them is refused when its status is looked at.
func parseMeta(res *http.Response) (meta fileMeta, err error) {
	if res.StatusCode >= 300 && res.StatusCode != http.StatusRequestedRangeNotSatisfiable {
		return meta, nil
	}
	_, params, err := mime.ParseMediaType(res.Header.Get("Content-Disposition"))
	if err != nil {
		return meta, fmt.Errorf("%w: no name: %w", ErrRefused, err)
	}
	if meta.name, err = share.CleanName(params["filename"]); err != nil {
		return meta, fmt.Errorf("%w: %w", ErrRefused, err)
	}
	text, ok := strings.CutPrefix(res.Header.Get("Repr-Digest"), "sha-256=:")
	raw, err := base64.StdEncoding.DecodeString(strings.TrimSuffix(text, ":"))
	if !ok || err != nil || len(raw) != sha256.Size {
		return meta, fmt.Errorf("%w: no digest", ErrRefused)
	}
	meta.sum = string(raw)
	return meta, nil
}
