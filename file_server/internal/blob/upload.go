package blob

import (
	"context"
	"crypto/sha256"
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Upload is content on its way in, held by one writer at a time. Its methods
// must not be called at the same time. What Offset reported after Checkpoint
// or Close is there after any crash.
type Upload struct {
	store *Store
	id    string
	size  int64
	note  []byte
	began time.Time

	file   *os.File
	sum    hash.Hash // of the first offset bytes
	offset int64
	synced int64 // bytes that survive a crash
	closed bool
	held   bool // see Hold
}

// state is the file beside an upload that tells how to go on with it.
type state struct {
	Size    int64     `json:"size"`
	Offset  int64     `json:"offset"` // bytes that are synced
	Sum     []byte    `json:"sum"`    // state of the hash after these
	Note    []byte    `json:"note,omitempty"`
	Created time.Time `json:"created"`
}

// checkpointEvery is how many bytes a crash may cost.
const checkpointEvery = 32 << 20

// maxNote is the length of the longest note, in bytes.
const maxNote = 16 << 10

func (s *Store) part(id string) string  { return filepath.Join(s.cfg.Dir, id+".part") }
func (s *Store) state(id string) string { return filepath.Join(s.cfg.Dir, id+".state") }

// Create begins an upload of exactly size bytes. The note is kept with it for
// whoever takes it up again. ErrFull: there is no room for size bytes;
// ErrExists: the id is taken.
func (s *Store) Create(id string, size int64, note []byte) (*Upload, error) {
	if !name.MatchString(id) || size < 0 || len(note) > maxNote {
		return nil, ErrBadName
	}
	if err := s.acquire(id, size); err != nil {
		return nil, err
	}
	u := &Upload{store: s, id: id, size: size, note: note, began: s.clock(), sum: sha256.New()}
	var err error
	u.file, err = os.OpenFile(s.part(id), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err == nil {
		err = u.save()
	}
	if err != nil {
		if u.file != nil {
			_ = u.file.Close()
			_ = os.Remove(s.part(id))
		}
		s.release(id, size)
		if errors.Is(err, fs.ErrExist) {
			return nil, ErrExists
		}
		return nil, noSpace(fmt.Errorf("begin upload: %w", err))
	}
	return u, nil
}

// Resume takes up an upload where it stands. ErrNotFound: there is none;
// ErrBusy: somebody holds it.
func (s *Store) Resume(id string) (*Upload, error) {
	if !name.MatchString(id) {
		return nil, ErrBadName
	}
	st, err := s.load(id)
	if err != nil {
		return nil, err
	}
	if err := s.acquire(id, st.Size-st.Offset); err != nil {
		return nil, err
	}
	u, err := s.resume(id, st)
	if err != nil {
		s.release(id, st.Size-st.Offset)
		return nil, err
	}
	return u, nil
}

func (s *Store) resume(id string, st *state) (*Upload, error) {
	u := &Upload{
		store: s, id: id, size: st.Size, note: st.Note, began: st.Created,
		offset: st.Offset, synced: st.Offset, sum: sha256.New(),
	}
	if err := u.sum.(encoding.BinaryUnmarshaler).UnmarshalBinary(st.Sum); err != nil {
		return nil, fmt.Errorf("upload %s: %w", id, err)
	}
	var err error
	if u.file, err = os.OpenFile(s.part(id), os.O_RDWR, 0o600); err != nil {
		return nil, absent(fmt.Errorf("open upload: %w", err))
	}
	info, err := u.file.Stat()
	switch {
	case err != nil:
	case info.Size() < st.Offset:
		err = ErrNotFound // the disk lost what it had promised
	case info.Size() > st.Offset:
		// Not synced, so perhaps not what was sent.
		err = u.file.Truncate(st.Offset)
	}
	if err == nil {
		_, err = u.file.Seek(st.Offset, io.SeekStart)
	}
	if err != nil {
		_ = u.file.Close()
		return nil, fmt.Errorf("take up upload: %w", err)
	}
	return u, nil
}

func (s *Store) load(id string) (*state, error) {
	raw, err := os.ReadFile(s.state(id))
	if err != nil {
		return nil, absent(fmt.Errorf("read upload: %w", err))
	}
	st := new(state)
	if err := json.Unmarshal(raw, st); err != nil {
		return nil, fmt.Errorf("read upload %s: %w", id, err)
	}
	return st, nil
}

// acquire makes the caller the holder of id and promises it size bytes.
func (s *Store) acquire(id string, size int64) error {
	free, err := freeSpace(s.cfg.Dir)
	if err != nil {
		return fmt.Errorf("look for free space: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.open[id]:
		return ErrBusy
	case size > 0 && free-s.cfg.MinFree-s.reserved < size:
		return ErrFull
	}
	s.open[id] = true
	s.reserved += size
	return nil
}

func (s *Store) release(id string, size int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, id)
	s.reserved -= size
}

// ID is the id given to Create.
func (u *Upload) ID() string { return u.id }

// Size is the announced number of bytes.
func (u *Upload) Size() int64 { return u.size }

// Note is what was given to Create.
func (u *Upload) Note() []byte { return u.note }

// Offset is the number of bytes written.
func (u *Upload) Offset() int64 { return u.offset }

// Sum is the SHA-256 of what has come.
func (u *Upload) Sum() Hash { return Hash(u.sum.Sum(nil)) }

// Write appends. ErrOverrun: p goes beyond the announced size, nothing of it
// is written; ErrFull: the disk is full, what is written stays.
func (u *Upload) Write(p []byte) (int, error) {
	switch {
	case u.closed:
		return 0, fs.ErrClosed
	case int64(len(p)) > u.size-u.offset:
		return 0, ErrOverrun
	}
	n, err := u.file.Write(p)
	u.sum.Write(p[:n])
	u.offset += int64(n)
	u.store.written(int64(n))
	if err != nil {
		return n, noSpace(fmt.Errorf("write upload: %w", err))
	}
	if u.offset-u.synced >= checkpointEvery && !u.held {
		return n, u.Checkpoint()
	}
	return n, nil
}

func (s *Store) written(n int64) {
	s.mu.Lock()
	s.reserved -= n
	s.mu.Unlock()
}

// copyBuffers keep uploads from allocating one for every request.
var copyBuffers = sync.Pool{New: func() any { return new([128 << 10]byte) }} //nolint:gochecknoglobals // a pool

// Cut makes the size what has come, for content whose length was not known;
// Create was given the most it could be.
func (u *Upload) Cut() {
	if u.closed {
		return
	}
	u.store.written(u.size - u.offset)
	u.size = u.offset
	u.synced = -1 // the size must be saved, too
}

// ReadAt reads what has come.
func (u *Upload) ReadAt(p []byte, offset int64) (int, error) { return u.file.ReadAt(p, offset) }

// ReadFrom appends all of r, in bounded memory.
func (u *Upload) ReadFrom(r io.Reader) (total int64, err error) {
	buf := copyBuffers.Get().(*[128 << 10]byte)
	defer copyBuffers.Put(buf)
	for {
		n, readErr := r.Read(buf[:])
		if n > 0 {
			w, err := u.Write(buf[:n])
			total += int64(w)
			if err != nil {
				return total, err
			}
		}
		switch {
		case errors.Is(readErr, io.EOF):
			return total, nil
		case readErr != nil:
			return total, readErr
		}
	}
}

// Checkpoint makes everything written survive a crash.
func (u *Upload) Checkpoint() error {
	if u.synced == u.offset {
		return nil
	}
	if err := u.file.Sync(); err != nil {
		return noSpace(fmt.Errorf("sync upload: %w", err))
	}
	return u.save()
}

// Hold makes what was written so far the point that Abandon goes back to, until
// the next Checkpoint or Close.
func (u *Upload) Hold() error {
	err := u.Checkpoint()
	u.held = err == nil
	return err
}

// Abandon lets go of the upload without what was written after Hold.
func (u *Upload) Abandon() error {
	if u.closed {
		return nil
	}
	err := u.file.Close()
	u.end()
	return err
}

func (u *Upload) save() error {
	sum, err := u.sum.(encoding.BinaryMarshaler).MarshalBinary()
	if err != nil {
		return err
	}
	raw, err := json.Marshal(state{Size: u.size, Offset: u.offset, Sum: sum, Note: u.note, Created: u.began})
	if err != nil {
		return err
	}
	if err := writeFile(u.store.state(u.id), raw); err != nil {
		return err
	}
	u.synced = u.offset
	u.held = false
	return nil
}

// Commit makes a blob of a whole upload and returns its hash. It may be
// repeated, also after a crash, until Discard. ErrShort: bytes are missing.
func (u *Upload) Commit(ctx context.Context) (Hash, error) {
	switch {
	case u.closed:
		return Hash{}, fs.ErrClosed
	case u.offset != u.size:
		return Hash{}, ErrShort
	}
	if err := u.Checkpoint(); err != nil {
		return Hash{}, err
	}
	h := u.Sum()
	defer u.store.lock(h)()
	key := blobKey(h)
	o, err := u.store.backend.Stat(ctx, key)
	switch {
	case err == nil && o.Size == u.size && u.store.clock().Sub(o.Modified) < u.store.cfg.TouchAfter:
		return h, nil
	case err != nil && !errors.Is(err, ErrNotFound):
		return Hash{}, fmt.Errorf("look for blob: %w", err)
	}
	if err := u.store.backend.Put(ctx, key, u.store.part(u.id)); err != nil {
		return Hash{}, noSpace(fmt.Errorf("store blob: %w", err))
	}
	return h, nil
}

// Close lets go of the upload, which can be taken up again.
func (u *Upload) Close() error {
	if u.closed {
		return nil
	}
	err := errors.Join(u.Checkpoint(), u.file.Close())
	u.end()
	return err
}

// Discard ends the upload and removes it. A blob made by Commit stays.
func (u *Upload) Discard() error {
	if u.closed {
		return nil
	}
	err := errors.Join(u.file.Close(), u.store.forget(u.id))
	u.end()
	return err
}

func (u *Upload) end() {
	u.closed = true
	u.store.release(u.id, u.size-u.offset)
}

// HasUpload reports whether there is an upload, held or not.
func (s *Store) HasUpload(id string) bool {
	if !name.MatchString(id) {
		return false
	}
	_, err := os.Stat(s.state(id))
	return err == nil || s.held(id)
}

// Pending is an upload on its way.
type Pending struct {
	ID   string
	Size int64
	// Offset is how many bytes have come, Modified when the last of them; Peek
	// does not say when.
	Offset   int64
	Modified time.Time
	Note     []byte
}

// Peek returns how far an upload is, held or not, as a crash would leave it.
func (s *Store) Peek(id string) (Pending, error) {
	if !name.MatchString(id) {
		return Pending{}, ErrBadName
	}
	st, err := s.load(id)
	if err != nil {
		return Pending{}, err
	}
	return Pending{ID: id, Size: st.Size, Offset: st.Offset, Note: st.Note}, nil
}

// Uploads calls f for every upload that nobody holds, in no order.
func (s *Store) Uploads(f func(Pending) error) error {
	entries, err := os.ReadDir(s.cfg.Dir)
	if err != nil {
		return fmt.Errorf("list uploads: %w", err)
	}
	for _, e := range entries {
		id, ok := strings.CutSuffix(e.Name(), ".state")
		if !ok || s.held(id) {
			continue
		}
		info, err := e.Info()
		if err != nil {
			continue // gone
		}
		st, err := s.load(id)
		if err != nil {
			st = new(state) // unreadable: its age still says when it may go
		}
		err = f(Pending{ID: id, Size: st.Size, Offset: st.Offset, Modified: info.ModTime(), Note: st.Note})
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) held(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.open[id]
}

// DropUpload removes an upload that nobody holds. ErrBusy: somebody does.
func (s *Store) DropUpload(id string) error {
	if !name.MatchString(id) {
		return ErrBadName
	}
	if err := s.acquire(id, 0); err != nil {
		return err
	}
	defer s.release(id, 0)
	return s.forget(id)
}

// forget removes the state last: what has one can be found and removed.
func (s *Store) forget(id string) error {
	var errs []error
	for _, path := range []string{s.part(id), s.state(id)} {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, fmt.Errorf("remove upload: %w", err))
		}
	}
	return errors.Join(errs...)
}

func absent(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return ErrNotFound
	}
	return err
}

func noSpace(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || errors.Is(err, syscall.EFBIG) {
		return fmt.Errorf("%w: %w", ErrFull, err)
	}
	return err
}
