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
	Owner   uint32          `json:"owner,omitempty"`   // whose quota it counts against; 0 = nobody's
	Created int64           `json:"created"`           // Unix seconds
	Expires int64           `json:"expires,omitempty"` // Unix seconds; 0 = never
	Info    json.RawMessage `json:"info,omitempty"`    // what the kind wants to know
}

// Blob returns the hash of the content.
func (e *Entry) Blob() (blob.Hash, error) { return blob.ParseHash(e.Hash) }

func (e *Entry) expired(now time.Time) bool { return e.Expires != 0 && e.Expires <= now.Unix() }

// Config of a Catalog.
type Config struct {
	Quota int64 // bytes that one user may keep; 0 = no limit
	// Orphans is the age at which a blob without an entry is removed, Uploads
	// that of an upload nobody goes on with.
	Orphans, Uploads time.Duration
}

// Catalog is safe from any goroutine.
type Catalog struct {
	cfg   Config
	store *blob.Store
	clock func() time.Time

	mu   sync.Mutex // guards the field below; a leaf
	used map[uint32]int64
}

// Open reads what every user keeps.
func Open(ctx context.Context, cfg Config, store *blob.Store, clock func() time.Time) (*Catalog, error) {
	c := &Catalog{cfg: cfg, store: store, clock: clock, used: map[uint32]int64{}}
	for _, kind := range Kinds() {
		err := c.each(ctx, kind, func(_ string, e *Entry) error {
			c.count(e.Owner, e.Size)
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

func (c *Catalog) count(owner uint32, size int64) {
	if owner == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.used[owner] += size
	if c.used[owner] <= 0 {
		delete(c.used, owner)
	}
}

// Used returns how many bytes a user keeps or has reserved.
func (c *Catalog) Used(owner uint32) int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.used[owner]
}

// Reserve takes size bytes of a user's quota until release, which is called
// when the upload has ended in any way, after Add. ErrQuota: he has not so many.
func (c *Catalog) Reserve(owner uint32, size int64) (release func(), err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cfg.Quota > 0 && owner != 0 && c.used[owner]+size > c.cfg.Quota {
		return nil, ErrQuota
	}
	if owner != 0 {
		c.used[owner] += size
	}
	return sync.OnceFunc(func() { c.count(owner, -size) }), nil
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
	c.count(e.Owner, e.Size)
	return nil
}

// Update replaces what an entry tells its kind.
func (c *Catalog) Update(ctx context.Context, kind Kind, id string, info json.RawMessage) error {
	e, err := c.read(ctx, kind, id)
	if err != nil {
		return err
	}
	e.Info = info
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
	case e.expired(c.clock()):
		return Entry{}, blob.ErrNotFound
	}
	return *e, nil
}

// Delete removes an entry; one that is absent is no error. Its blob is
// collected later.
func (c *Catalog) Delete(ctx context.Context, kind Kind, id string) error {
	e, err := c.read(ctx, kind, id)
	switch {
	case errors.Is(err, blob.ErrNotFound):
		return nil
	case err != nil:
		return err
	}
	if err := c.store.DeleteRecord(ctx, string(kind), id); err != nil {
		return err
	}
	c.count(e.Owner, -e.Size)
	return nil
}
