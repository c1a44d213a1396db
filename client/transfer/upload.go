package transfer

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"sync"
)

// Upload is a file to be sent. ID and Sum are filled in as they become known;
// with both, the upload can be taken up again, by another process, too.
type Upload struct {
	File *os.File
	Name string // for the receiver
	Size int64
	ID   string // of the file; "" begins a new one
	Sum  string // SHA-256 in hexadecimal
	// Known is called when ID and Sum are; may be nil.
	Known func(id, sum string) error
}

// Hash reads the file once and returns its SHA-256 in hexadecimal.
func Hash(ctx context.Context, f *os.File, size int64) (string, error) {
	sum := sha256.New()
	n, err := io.Copy(sum, &reader{ctx: ctx, from: io.NewSectionReader(f, 0, size)})
	switch {
	case err != nil:
		return "", err
	case n != size:
		return "", fmt.Errorf("%w: %w", ErrContent, ErrChanged)
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

// Send sends a file and returns the id of its message, 0 if that is not stored
// yet. The server compares the content with Sum before anybody hears of it.
func Send(ctx context.Context, u *Upload, o Options) (msg uint32, err error) {
	if u.Sum == "" {
		if u.Sum, err = Hash(ctx, u.File, u.Size); err != nil {
			return 0, err
		}
	}
	a := newAttempts(o)
	a.access.ID, a.total = u.ID, u.Size
	s := &sending{attempts: a, Upload: u, created: u.ID != ""}
	err = a.repeat(ctx, s.step)
	return s.msg, err
}

// errNoMessage is what becomes of a file that has arrived and is gone.
var errNoMessage = fmt.Errorf("%w: %w", ErrRefused, ErrUndeliverable)

// Stored waits until the message of a file that Send has sent is stored, and
// returns its id. It may be called at any time until the file expires.
// ErrRefused: it never will be, and the file is removed.
func Stored(ctx context.Context, u *Upload, o Options) (msg uint32, err error) {
	a := newAttempts(o)
	a.access.ID = u.ID
	err = a.repeat(ctx, func(ctx context.Context) error {
		if err := a.authorise(ctx); err != nil {
			return err
		}
		if _, msg, err = a.offset(ctx, u); err == nil && msg == 0 {
			return errAsk
		}
		if errors.Is(err, errAbsent) {
			return errNoMessage
		}
		return err
	})
	return msg, err
}

// sending is an upload under way.
type sending struct {
	*attempts
	*Upload
	created bool   // the server has the upload, or had it
	whole   bool   // the server said that it has all of it
	msg     uint32 // the id of its message
}

// step brings the upload forward; nil says that all of it has arrived.
func (s *sending) step(ctx context.Context) error {
	if err := s.authorise(ctx); err != nil {
		return err
	}
	if s.ID == "" {
		s.ID = s.access.ID
		if s.Known != nil {
			if err := s.Known(s.ID, s.Sum); err != nil {
				return fmt.Errorf("%w: %w", ErrRefused, err)
			}
		}
	}
	if !s.created {
		if err := s.create(ctx, s.Upload); err != nil {
			return err
		}
		s.created = true
	}
	at, msg, err := s.offset(ctx, s.Upload)
	if errors.Is(err, errAbsent) && s.whole {
		return errNoMessage
	}
	if errors.Is(err, errAbsent) {
		s.created = false // it expired: begin again
		return err
	}
	if err != nil {
		return err
	}
	s.arrived(at)
	if at == s.Size {
		s.msg = msg
		return nil
	}
	err = s.append(ctx, s.Upload, at)
	s.whole = errors.Is(err, errAsk)
	return err
}

func (a *attempts) create(ctx context.Context, u *Upload) error {
	ctx, cancel := context.WithTimeout(ctx, askFor)
	defer cancel()
	r, err := a.request(ctx, http.MethodPost, a.access.URL)
	if err != nil {
		return err
	}
	enc := base64.StdEncoding.EncodeToString
	r.Header.Set("Tus-Resumable", "1.0.0")
	r.Header.Set("Upload-Length", strconv.FormatInt(u.Size, 10))
	r.Header.Set("Upload-Metadata", "filename "+enc([]byte(u.Name))+",sha256 "+enc([]byte(u.Sum)))
	res, err := a.HTTP.Do(r)
	if err != nil {
		return err
	}
	defer drain(res)
	if res.StatusCode == http.StatusCreated || res.StatusCode == http.StatusConflict {
		return nil // a conflict: it was created before
	}
	return refusal(res)
}

// errAbsent says that the server has no such upload.
var errAbsent = errors.New("transfer: no such upload")

// offset asks how much has arrived and, of a complete one, for its message.
func (a *attempts) offset(ctx context.Context, u *Upload) (at int64, msg uint32, err error) {
	ctx, cancel := context.WithTimeout(ctx, askFor)
	defer cancel()
	r, err := a.request(ctx, http.MethodHead, a.access.URL+u.ID)
	if err != nil {
		return 0, 0, err
	}
	r.Header.Set("Tus-Resumable", "1.0.0")
	res, err := a.HTTP.Do(r)
	if err != nil {
		return 0, 0, err
	}
	defer drain(res)
	switch res.StatusCode {
	case http.StatusOK:
	case http.StatusNotFound:
		return 0, 0, errAbsent
	default:
		return 0, 0, refusal(res)
	}
	at, err = strconv.ParseInt(res.Header.Get("Upload-Offset"), 10, 64)
	length, err2 := strconv.ParseInt(res.Header.Get("Upload-Length"), 10, 64)
	if err != nil || err2 != nil || at < 0 || at > length || length != u.Size {
		return 0, 0, fmt.Errorf("%w: %w", ErrContent, ErrChanged)
	}
	id, _ := strconv.ParseUint(res.Header.Get("Message-Id"), 10, 32) // absent until it is stored
	return at, uint32(id), nil
}

// append sends what comes from an offset on. However it ends, the next step
// asks how far it came.
func (a *attempts) append(ctx context.Context, u *Upload, at int64) error {
	ctx, stop := a.watch(ctx)
	defer stop()
	body := &body{reader: reader{ctx: ctx, from: io.NewSectionReader(u.File, at, u.Size-at)}, at: at, told: a.moved}
	defer body.Close()
	r, err := http.NewRequestWithContext(ctx, http.MethodPatch, a.access.URL+u.ID, body)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrRefused, err)
	}
	r.ContentLength = u.Size - at
	r.Header.Set("Authorization", "Bearer "+a.access.Token)
	r.Header.Set("Tus-Resumable", "1.0.0")
	r.Header.Set("Content-Type", "application/offset+octet-stream")
	r.Header.Set("Upload-Offset", strconv.FormatInt(at, 10))
	res, err := a.HTTP.Do(r)
	if err != nil {
		return err
	}
	defer drain(res)
	switch res.StatusCode {
	case http.StatusNoContent:
		return errAsk
	case 460:
		return fmt.Errorf("%w: %w", ErrContent, ErrChanged)
	}
	return refusal(res)
}

// errAsk is no failure: the server is asked how far the upload is.
var errAsk = errors.New("transfer: ask again")

func drain(res *http.Response) {
	_, _ = io.CopyN(io.Discard, res.Body, 4096) // so that the connection can be used again
	_ = res.Body.Close()
}

// reader reads until ctx ends.
type reader struct {
	ctx  context.Context //nolint:containedctx // io.Reader has no room for one
	from io.Reader
}

func (r *reader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.from.Read(p)
}

// body is that of a request, and tells how far it is. HTTP may still read it
// after the answer has come; after Close nothing is read or told.
type body struct {
	reader
	told func(int64)

	mu     sync.Mutex // guards the fields below, and told
	at     int64
	closed bool
}

func (b *body) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return 0, os.ErrClosed
	}
	n, err := b.reader.Read(p)
	b.at += int64(n)
	if n > 0 {
		b.told(b.at)
	}
	return n, err
}

// Close is io.Closer's; nil, any number of times.
func (b *body) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	return nil
}
