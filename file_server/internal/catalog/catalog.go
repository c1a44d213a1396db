// Package catalog knows what the blobs are for: whose they are, under which
// name of which kind they are found, and until when they are kept. It counts
// what a user keeps against his quota and removes what is over or belongs to
// nobody. Who may fetch an entry is the business of its kind.
package catalog

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"sync"
	"time"

	"teamtalk/file_server/internal/blob"
)

// ErrQuota says that a user keeps as much as he may.
var ErrQuota = errors.New("catalog: quota is used up")

// Kind is a family of entries, with names of its own.
type Kind string

// The kinds. Every kind that names blobs must be in Kinds, or the collector
// takes them.
const (
	Offline Kind = "offline" // files for a receiver who is away; named by the task id
	Image   Kind = "image"   // what was uploaded over HTTP
	Variant Kind = "variant" // images made smaller; they are made again when needed
	Shared  Kind = "shared"  // files of messages, sent and fetched over HTTP; named by share.NewID
)

// Kinds lists all of them.
func Kinds() []Kind { return []Kind{Offline, Image, Variant, Shared} }

// Entry says what a blob is for.
type Entry struct {
	Hash    string          `json:"hash"`
	Size    int64           `json:"size"`
	Owner   uint32          `json:"owner,omitempty"`   // whose quota it counts against; 0 = nobody who is known
	Created int64           `json:"created"`           // Unix seconds
	Expires int64           `json:"expires,omitempty"` // Unix seconds; 0 = never
	Used    int64           `json:"used,omitempty"`    // Unix seconds; when it was noted that somebody fetched it
	Info    json.RawMessage `json:"info,omitempty"`    // what the kind wants to know
}

// Blob returns the hash of the content.
func (e *Entry) Blob() (blob.Hash, error) { return blob.ParseHash(e.Hash) }

// Config of a Catalog.
type Config struct {
	Quota int64 // bytes that one user may keep; 0 = no limit
	// Nobodys is how many bytes all entries without an owner may take together;
	// 0 = no limit. Variants do not count, they can be removed at any time.
	Nobodys int64
	// Unused is how long entries of a kind are kept that nobody fetches; without
	// a value, for ever.
	Unused map[Kind]time.Duration
	// Orphans is the age at which a blob without an entry is removed, Uploads
	// that of an upload nobody goes on with.
	Orphans, Uploads time.Duration
}

// Catalog is safe from any goroutine.
type Catalog struct {
	cfg   Config
	store *blob.Store
	clock func() time.Time

	changes [64]sync.Mutex // by id: held while an entry is read and changed

	mu   sync.Mutex // guards the field below; a leaf
	used map[uint32]int64
}

// expired reports whether the time of an entry is over.
func (c *Catalog) expired(kind Kind, e *Entry) bool {
	now := c.clock()
	if e.Expires != 0 && e.Expires <= now.Unix() {
		return true
	}
	unused := c.cfg.Unused[kind]
	return unused > 0 && !time.Unix(max(e.Created, e.Used), 0).Add(unused).After(now)
}

// lock keeps others from changing an entry.
func (c *Catalog) lock(id string) (unlock func()) {
	mu := &c.changes[crc32.ChecksumIEEE([]byte(id))%uint32(len(c.changes))]
	mu.Lock()
	return mu.Unlock
}

// Open reads what every user keeps.
func Open(ctx context.Context, cfg Config, store *blob.Store, clock func() time.Time) (*Catalog, error) {
	c := &Catalog{cfg: cfg, store: store, clock: clock, used: map[uint32]int64{}}
	for _, kind := range Kinds() {
		err := c.each(ctx, kind, func(_ string, e *Entry) error {
			c.count(kind, e.Owner, e.Size)
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return c, nil
}

// each reads every entry of a kind; one that was removed meanwhile is left out.
func (c *Catalog) each(ctx context.Context, kind Kind, f func(id string, e *Entry) error) error {
	return c.store.Records(ctx, string(kind), func(r blob.Record) error {
		e, err := c.read(ctx, kind, r.ID)
		switch {
		case errors.Is(err, blob.ErrNotFound):
			return nil
		case err != nil:
			return err
		}
		return f(r.ID, e)
	})
}

func (c *Catalog) read(ctx context.Context, kind Kind, id string) (*Entry, error) {
	text, err := c.store.Record(ctx, string(kind), id)
	if err != nil {
		return nil, err
	}
	e := new(Entry)
	if err := json.Unmarshal(text, e); err != nil {
		return nil, fmt.Errorf("read entry %s/%s: %w", kind, id, err)
	}
	return e, nil
}

func (c *Catalog) count(kind Kind, owner uint32, size int64) {
	if kind == Variant {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.used[owner] += size
	if c.used[owner] <= 0 {
		delete(c.used, owner)
	}
}

// Used returns how many bytes a user keeps or has reserved; of 0, those of
// entries without an owner.
func (c *Catalog) Used(owner uint32) int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.used[owner]
}

// Reserve takes size bytes of a user's quota until release, which is called
// when the upload has ended in any way, after Add. Owner 0 is everybody who is
// not known. ErrQuota: he has not so many.
func (c *Catalog) Reserve(owner uint32, size int64) (release func(), err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	quota := c.cfg.Quota
	if owner == 0 {
		quota = c.cfg.Nobodys
	}
	if quota > 0 && c.used[owner]+size > quota {
		return nil, ErrQuota
	}
	c.used[owner] += size
	return sync.OnceFunc(func() { c.count("", owner, -size) }), nil
}

// Add makes an entry. When it returns, the entry survives a crash.
func (c *Catalog) Add(ctx context.Context, kind Kind, id string, e Entry) error {
	e.Created = c.clock().Unix()
	text, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("write entry: %w", err)
	}
	if err := c.store.SetRecord(ctx, string(kind), id, text); err != nil {
		return err
	}
	c.count(kind, e.Owner, e.Size)
	return nil
}

// Update replaces what an entry tells its kind.
func (c *Catalog) Update(ctx context.Context, kind Kind, id string, info json.RawMessage) error {
	return c.change(ctx, kind, id, func(e *Entry) { e.Info = info })
}

// usedEvery is the part of the time an entry is kept unused after which it is
// noted again that it is used: most fetches write nothing.
const usedEvery = 10

// Touch notes that an entry, as Get returned it, was fetched.
func (c *Catalog) Touch(ctx context.Context, kind Kind, id string, e Entry) error {
	unused, now := c.cfg.Unused[kind], c.clock()
	if unused == 0 || now.Sub(time.Unix(max(e.Created, e.Used), 0)) < unused/usedEvery {
		return nil
	}
	return c.change(ctx, kind, id, func(e *Entry) { e.Used = now.Unix() })
}

func (c *Catalog) change(ctx context.Context, kind Kind, id string, f func(*Entry)) error {
	defer c.lock(id)()
	e, err := c.read(ctx, kind, id)
	if err != nil {
		return err
	}
	f(e)
	text, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("write entry: %w", err)
	}
	return c.store.SetRecord(ctx, string(kind), id, text)
}

// Each calls f for every entry of a kind, in no order, also for those whose
// time is over.
func (c *Catalog) Each(ctx context.Context, kind Kind, f func(id string, e Entry) error) error {
	return c.each(ctx, kind, func(id string, e *Entry) error { return f(id, *e) })
}

// Get returns an entry; blob.ErrNotFound also once it has expired.
func (c *Catalog) Get(ctx context.Context, kind Kind, id string) (Entry, error) {
	e, err := c.read(ctx, kind, id)
	switch {
	case err != nil:
		return Entry{}, err
	case c.expired(kind, e):
		return Entry{}, blob.ErrNotFound
	}
	return *e, nil
}

// Delete removes an entry; one that is absent is no error. Its blob is
// collected later.
func (c *Catalog) Delete(ctx context.Context, kind Kind, id string) error {
	return c.remove(ctx, kind, id, func(*Entry) bool { return true })
}

// remove removes an entry if it is still one to be removed.
func (c *Catalog) remove(ctx context.Context, kind Kind, id string, still func(*Entry) bool) error {
	defer c.lock(id)()
	e, err := c.read(ctx, kind, id)
	switch {
	case errors.Is(err, blob.ErrNotFound):
		return nil
	case err != nil:
		return err
	case !still(e):
		return nil
	}
	if err := c.store.DeleteRecord(ctx, string(kind), id); err != nil {
		return err
	}
	c.count(kind, e.Owner, -e.Size)
	return nil
}
