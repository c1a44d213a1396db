package catalog

import (
	"context"
	"errors"

	"teamtalk/file_server/internal/blob"
)

// Collected is what a collection removed, or would remove.
type Collected struct {
	Expired int   // entries whose time is over
	Blobs   int   // blobs that no entry names
	Bytes   int64 // of these
	Uploads int   // uploads that nobody goes on with, here and on their way to the backend
}

// Collect removes what is over: entries past their time, blobs that no entry
// names and that are older than Orphans, and uploads older than Uploads. With
// dryRun it only counts. A blob that is stored again while it runs is young,
// and stays.
func (c *Catalog) Collect(ctx context.Context, dryRun bool) (done Collected, err error) {
	named, err := c.collectEntries(ctx, dryRun, &done)
	if err != nil {
		return done, err
	}
	if err := c.collectBlobs(ctx, dryRun, named, &done); err != nil {
		return done, err
	}
	if err := c.collectUploads(dryRun, &done); err != nil {
		return done, err
	}
	n, err := c.store.Abandoned(ctx, c.clock().Add(-c.cfg.Uploads), dryRun)
	done.Uploads += n
	return done, err
}

// collectEntries removes entries past their time and returns what the others
// name.
func (c *Catalog) collectEntries(ctx context.Context, dryRun bool, done *Collected) (map[blob.Hash]struct{}, error) {
	named := map[blob.Hash]struct{}{}
	for _, kind := range Kinds() {
		err := c.each(ctx, kind, func(id string, e *Entry) error {
			if !c.expired(kind, e) {
				if h, err := e.Blob(); err == nil {
					named[h] = struct{}{}
				}
				return nil
			}
			done.Expired++
			if dryRun {
				return nil
			}
			return c.remove(ctx, kind, id, func(e *Entry) bool { return c.expired(kind, e) })
		})
		if err != nil {
			return nil, err
		}
	}
	return named, nil
}

func (c *Catalog) collectBlobs(ctx context.Context, dryRun bool, named map[blob.Hash]struct{}, done *Collected) error {
	before := c.clock().Add(-c.cfg.Orphans)
	return c.store.Blobs(ctx, func(b blob.Blob) error {
		if _, ok := named[b.Hash]; ok || !b.Modified.Before(before) {
			return nil
		}
		if !dryRun {
			if removed, err := c.store.Remove(ctx, b.Hash, before); err != nil || !removed {
				return err
			}
		}
		done.Blobs++
		done.Bytes += b.Size
		return nil
	})
}

func (c *Catalog) collectUploads(dryRun bool, done *Collected) error {
	before := c.clock().Add(-c.cfg.Uploads)
	return c.store.Uploads(func(p blob.Pending) error {
		if !p.Modified.Before(before) {
			return nil
		}
		if !dryRun {
			err := c.store.DropUpload(p.ID)
			if errors.Is(err, blob.ErrBusy) {
				return nil // somebody goes on with it after all
			}
			if err != nil {
				return err
			}
		}
		done.Uploads++
		return nil
	})
}
