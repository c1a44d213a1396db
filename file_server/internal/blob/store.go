// Package blob keeps the bytes of files: uploads on their way in, finished
// blobs under the SHA-256 of their content, and small records that say what a
// blob is for. A blob is complete or absent, after any crash; the same content
// is stored once. What a file means, who may have it and for how long is the
// business of those who write the records.
//
// Uploads always stand in a local folder, where they can grow and be taken up
// again. Blobs and records stand in a Backend: a local folder or a bucket of
// an S3-compatible store.
package blob

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"time"
)

// The errors that callers tell apart.
var (
	ErrNotFound = errors.New("blob: not found")
	ErrFull     = errors.New("blob: no space left")
	ErrOverrun  = errors.New("blob: more bytes than announced")
	ErrShort    = errors.New("blob: fewer bytes than announced")
	ErrBusy     = errors.New("blob: upload is in use")
	ErrExists   = errors.New("blob: upload exists")
	ErrBadName  = errors.New("blob: bad name")
)

// Hash is the SHA-256 of a content.
type Hash [sha256.Size]byte

// String returns the hash in lower-case hexadecimal.
func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// ParseHash is the reverse of Hash.String; anything else is ErrBadName.
func ParseHash(s string) (h Hash, err error) {
	raw, err := hex.DecodeString(s)
	if err != nil || len(raw) != len(h) {
		return Hash{}, ErrBadName
	}
	return Hash(raw), nil
}

// Object describes something a Backend holds.
type Object struct {
	Key      string
	Size     int64
	Modified time.Time // when it was last put
}

// Reader reads a blob from any position. A local one is an *os.File, so that
// the kernel can send it without copying.
type Reader interface {
	io.ReadSeekCloser
	io.ReaderAt
}

// Backend holds objects under keys such as "blob/ab/abcd…", which only this
// package makes. Methods are safe from any goroutine.
type Backend interface {
	// Put stores the synced file at path, all or nothing, and in place of what
	// was there. The file may be linked, moved or copied.
	Put(ctx context.Context, key, path string) error
	// Open returns ErrNotFound for what is not there.
	Open(ctx context.Context, key string) (Reader, Object, error)
	// Stat is Open without a Reader.
	Stat(ctx context.Context, key string) (Object, error)
	// Delete removes an object; one that is absent is no error.
	Delete(ctx context.Context, key string) error
	// List calls f for every object whose key begins with prefix, in no order,
	// and stops at its first error.
	List(ctx context.Context, prefix string, f func(Object) error) error
	// Abandoned counts what was begun before a time and never became an object,
	// since the process ended in the middle of Put, and unless dryRun removes it.
	Abandoned(ctx context.Context, before time.Time, dryRun bool) (n int, err error)
}

// Config of a Store.
type Config struct {
	Dir     string // for uploads on their way in; made when absent
	MinFree int64  // bytes that uploads leave free on the disk of Dir
	// TouchAfter is the age from which a blob that is stored again counts as
	// new, so that a collector does not take it; 0 = one hour.
	TouchAfter time.Duration
}

// Deps of a Store. All are needed.
type Deps struct {
	Backend Backend
	Clock   func() time.Time
}

// Store is safe from any goroutine.
type Store struct {
	cfg     Config
	backend Backend
	clock   func() time.Time

	hashes [64]sync.Mutex // by the first byte of a hash: held while a blob comes or goes

	mu       sync.Mutex // guards the fields below; a leaf
	open     map[string]bool
	reserved int64 // bytes that open uploads may still write
}

// New makes the folder for uploads, which belongs to this process alone, and
// removes what a crash left half made there.
func New(cfg Config, deps Deps) (*Store, error) {
	if deps.Backend == nil || deps.Clock == nil {
		return nil, errors.New("blob: Backend and Clock are needed")
	}
	if cfg.TouchAfter == 0 {
		cfg.TouchAfter = time.Hour
	}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("make folder for uploads: %w", err)
	}
	s := &Store{cfg: cfg, backend: deps.Backend, clock: deps.Clock, open: map[string]bool{}}
	return s, s.tidy()
}

// tidy removes files that were being written, and uploads that had not begun.
func (s *Store) tidy() error {
	entries, err := os.ReadDir(s.cfg.Dir)
	if err != nil {
		return fmt.Errorf("list uploads: %w", err)
	}
	for _, e := range entries {
		id, part := strings.CutSuffix(e.Name(), ".part")
		if part {
			_, err := os.Stat(s.state(id))
			part = errors.Is(err, fs.ErrNotExist)
		}
		if part || strings.HasSuffix(e.Name(), ".tmp") {
			if err := os.Remove(filepath.Join(s.cfg.Dir, e.Name())); err != nil {
				return fmt.Errorf("remove what was half made: %w", err)
			}
		}
	}
	return nil
}

// name is what ids and kinds are made of: nothing that could leave a folder.
var name = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,127}$`)

func blobKey(h Hash) string {
	s := h.String()
	return "blob/" + s[:2] + "/" + s
}

// Open returns a finished blob and its size, or ErrNotFound.
func (s *Store) Open(ctx context.Context, h Hash) (Reader, int64, error) {
	r, o, err := s.backend.Open(ctx, blobKey(h))
	return r, o.Size, err
}

// Stat returns the size of a finished blob, or ErrNotFound.
func (s *Store) Stat(ctx context.Context, h Hash) (int64, error) {
	o, err := s.backend.Stat(ctx, blobKey(h))
	return o.Size, err
}

// Blob is a finished blob of a listing.
type Blob struct {
	Hash     Hash
	Size     int64
	Modified time.Time // when it was last stored
}

// Blobs calls f for every finished blob, in no order.
func (s *Store) Blobs(ctx context.Context, f func(Blob) error) error {
	return s.backend.List(ctx, "blob/", func(o Object) error {
		h, err := ParseHash(filepath.Base(filepath.FromSlash(o.Key)))
		if err != nil {
			return nil //nolint:nilerr // not ours
		}
		return f(Blob{Hash: h, Size: o.Size, Modified: o.Modified})
	})
}

// Remove deletes a blob unless it was stored again since before, and reports
// whether it did. Who calls it knows that no record names the blob.
func (s *Store) Remove(ctx context.Context, h Hash, before time.Time) (removed bool, err error) {
	defer s.lock(h)()
	o, err := s.backend.Stat(ctx, blobKey(h))
	switch {
	case errors.Is(err, ErrNotFound):
		return false, nil
	case err != nil:
		return false, err
	case !o.Modified.Before(before):
		return false, nil
	}
	return true, s.backend.Delete(ctx, blobKey(h))
}

// Abandoned counts, and unless dryRun removes, what a Commit before a time left
// half done in the backend.
func (s *Store) Abandoned(ctx context.Context, before time.Time, dryRun bool) (n int, err error) {
	return s.backend.Abandoned(ctx, before, dryRun)
}

func (s *Store) lock(h Hash) (unlock func()) {
	mu := &s.hashes[int(h[0])%len(s.hashes)]
	mu.Lock()
	return mu.Unlock
}

// Free returns how many bytes uploads may still announce: what is free on the
// disk of the uploads, less what they leave free and what was promised.
func (s *Store) Free() (int64, error) {
	free, err := freeSpace(s.cfg.Dir)
	if err != nil {
		return 0, fmt.Errorf("look for free space: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return max(0, free-s.cfg.MinFree-s.reserved), nil
}
