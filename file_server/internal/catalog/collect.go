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
	Uploads int   // uploads that nobody goes on with
}

// Collect removes what is over: entries past their time, blobs that no entry
// names and that are older than Orphans, and uploads older than Uploads. With
// dryRun it only counts. A blob that is stored again while it runs is young,
// and stays.
func (c *Catalog) Collect(ctx context.Context, dryRun bool) (done Collected, err error) {
	now := c.clock()
	named := map[blob.Hash]struct{}{}
	for _, kind := range Kinds() {
		err := c.each(ctx, kind, func(id string, e *Entry) error {
			if e.expired(now) {
				done.Expired++
				if dryRun {
					return nil
				}
				return c.Delete(ctx, kind, id)
			}
			if h, err := e.Blob(); err == nil {
				named[h] = struct{}{}
			}
			return nil
		})
		if err != nil {
			return done, err
		}
	}
	before := now.Add(-c.cfg.Orphans)
	err = c.store.Blobs(ctx, func(b blob.Blob) error {
		if _, ok := named[b.Hash]; ok || !b.Modified.Before(before) {
			return nil
		}
		removed := dryRun
		if !dryRun {
			var err error
			if removed, err = c.store.Remove(ctx, b.Hash, before); err != nil {
				return err
			}
		}
		if removed {
			done.Blobs++
			done.Bytes += b.Size
		}
		return nil
	})
	if err != nil {
		return done, err
	}
	before = now.Add(-c.cfg.Uploads)
	err = c.store.Uploads(func(p blob.Pending) error {
		if !p.Modified.Before(before) {
			return nil
		}
		if !dryRun {
			if err := c.store.DropUpload(p.ID); err != nil {
				if errors.Is(err, blob.ErrBusy) {
					return nil // somebody goes on with it after all
				}
				return err
			}
		}
		done.Uploads++
		return nil
	})
	return done, err
}
