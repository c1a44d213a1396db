package fileserver

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"teamtalk/file_server/internal/blob"
	"teamtalk/file_server/internal/catalog"
	"teamtalk/file_server/internal/image"
)

// storedName is the last part of a path of ours: the id, a size, an end.
var storedName = regexp.MustCompile(`^([a-z2-7]{26})(?:_\d{1,4}x\d{1,4})?\.[A-Za-z0-9]{1,15}$`)

// variantEnd is what clients put behind a URL to get a smaller image.
var variantEnd = regexp.MustCompile(`^(.+)_(\d{1,4}x\d{1,4})\.(?i:jpe?g|png|gif)$`)

// found is what a path leads to.
type found struct {
	hash  blob.Hash
	media string // "" for what is no image
	made  time.Time
}

// variantFor is how long a smaller image is kept.
const variantFor = 30 * 24 * time.Hour

// writeTimeout is how long a client may take to fetch an image.
const writeTimeout = 5 * time.Minute

// download serves GET /g0/ddd/ddd/NAME and its smaller variants.
// Source: docs/protocol/flows.md §17: the first component is not looked at.
func (f *httpFront) download(w http.ResponseWriter, r *http.Request) {
	what, err := f.find(r.Context(), r.URL.Path)
	if err == nil {
		err = f.serve(w, r, what)
	}
	switch {
	case err == nil:
		f.count("download", "ok")
	case errors.Is(err, blob.ErrNotFound):
		f.count("download", "not_found")
		http.Error(w, http.StatusText(http.StatusNotFound), http.StatusNotFound)
	case r.Context().Err() != nil: // the client is gone
		f.count("download", "cut")
	default:
		f.count("download", "failed")
		f.server.log.Error("image not served", "error", err)
		http.Error(w, http.StatusText(http.StatusInternalServerError), http.StatusInternalServerError)
	}
}

// serve sends a blob, or the part of it that was asked for, or nothing if the
// client has it.
func (f *httpFront) serve(w http.ResponseWriter, r *http.Request, what found) error {
	content, size, err := f.server.store.Open(r.Context(), what.hash)
	if err != nil {
		return err
	}
	defer content.Close()
	h := w.Header()
	h.Set("ETag", `"`+what.hash.String()+`"`)
	h.Set("Cache-Control", "public, max-age=31536000, immutable")
	if what.media == "" {
		h.Set("Content-Type", "application/octet-stream")
		h.Set("Content-Disposition", "attachment")
	} else {
		h.Set("Content-Type", what.media)
	}
	late := time.Now().Add(writeTimeout) //nolint:forbidigo // the deadline of a socket
	_ = http.NewResponseController(w).SetWriteDeadline(late)
	http.ServeContent(w, r, "", what.made, content)
	f.server.metrics.moved(kindImageOut, int(size))
	return nil
}

// find looks a path up: a file, or a file with the end of a variant.
func (f *httpFront) find(ctx context.Context, url string) (found, error) {
	what, err := f.stored(ctx, url)
	if err == nil || !errors.Is(err, blob.ErrNotFound) {
		return what, err
	}
	m := variantEnd.FindStringSubmatch(url)
	if m == nil {
		return found{}, blob.ErrNotFound
	}
	if what, err = f.stored(ctx, m[1]); err != nil {
		return found{}, err
	}
	if size, err := image.ParseSize(m[2]); err == nil && f.sizes[size] && what.media != "" {
		return f.variant(ctx, what, size)
	}
	return what, nil // the image as it is: better than none
}

// stored looks up a path that an upload was answered with.
func (f *httpFront) stored(ctx context.Context, url string) (found, error) {
	m := storedName.FindStringSubmatch(path.Base(url))
	if m == nil {
		return found{}, blob.ErrNotFound
	}
	e, err := f.server.catalog.Get(ctx, catalog.Image, m[1])
	if err != nil {
		return found{}, err
	}
	var info imageInfo
	if err := json.Unmarshal(e.Info, &info); err != nil {
		return found{}, err
	}
	if afterFirst(strings.TrimLeft(url, "/")) != afterFirst(info.Path) {
		return found{}, blob.ErrNotFound
	}
	if err := f.server.catalog.Touch(ctx, catalog.Image, m[1], e); err != nil {
		f.server.log.Warn("use of an image not noted", "error", err)
	}
	return of(e, info)
}

func of(e catalog.Entry, info imageInfo) (found, error) {
	hash, err := e.Blob()
	return found{hash: hash, media: info.Type, made: time.Unix(e.Created, 0)}, err
}

// afterFirst is a path without its first component.
func afterFirst(p string) string {
	_, rest, _ := strings.Cut(p, "/")
	return rest
}

// variant returns a smaller image, and makes it if there is none.
func (f *httpFront) variant(ctx context.Context, what found, size image.Size) (found, error) {
	id := what.hash.String() + "-" + size.String()
	e, err := f.server.catalog.Get(ctx, catalog.Variant, id)
	if err == nil {
		var info imageInfo
		if err := json.Unmarshal(e.Info, &info); err != nil {
			return found{}, err
		}
		small, err := of(e, info)
		if err != nil {
			return found{}, err
		}
		if _, err := f.server.store.Stat(ctx, small.hash); err == nil {
			return small, nil
		}
	}
	small, err := f.shrink(ctx, what, size, id)
	switch {
	case err == nil:
		return small, nil
	case ctx.Err() != nil:
		return found{}, err
	case errors.Is(err, image.ErrMemory):
		f.count("variant", "too_large")
	case !errors.Is(err, image.ErrSmall):
		f.server.log.Info("no smaller image made", "hash", what.hash.String(), "error", err)
	}
	return what, nil
}

// maxVariant is more than any smaller image takes, in bytes.
const maxVariant = 64 << 20

func (f *httpFront) shrink(ctx context.Context, what found, size image.Size, id string) (found, error) {
	big, _, err := f.server.store.Open(ctx, what.hash)
	if err != nil {
		return found{}, err
	}
	defer big.Close()
	temp, err := os.CreateTemp(filepath.Join(f.server.cfg.DataDir, uploadsDir), "variant-*.tmp")
	if err != nil {
		return found{}, err
	}
	defer os.Remove(temp.Name()) //nolint:errcheck // a leftover does no harm
	defer temp.Close()
	media, err := f.shrinker.Shrink(ctx, temp, big, size)
	if err != nil {
		return found{}, err
	}
	if _, err := temp.Seek(0, 0); err != nil {
		return found{}, err
	}
	return f.keepVariant(ctx, temp, media, id)
}

func (f *httpFront) keepVariant(ctx context.Context, temp *os.File, media, id string) (found, error) {
	info, err := temp.Stat()
	if err != nil {
		return found{}, err
	}
	name, size := "variant-"+strings.ToLower(rand.Text()), min(info.Size(), maxVariant)
	u, err := f.server.store.Create(name, size, noteOf(catalog.Image))
	if err != nil {
		return found{}, err
	}
	defer u.Discard() //nolint:errcheck // its age ends what is left
	if _, err := u.ReadFrom(temp); err != nil {
		return found{}, err
	}
	hash, err := u.Commit(ctx)
	if err != nil {
		return found{}, err
	}
	kept, err := json.Marshal(imageInfo{Type: media})
	if err != nil {
		return found{}, err
	}
	now := f.server.clock()
	return found{hash: hash, media: media, made: now}, f.server.catalog.Add(ctx, catalog.Variant, id, catalog.Entry{
		Hash: hash.String(), Size: u.Size(), Expires: now.Add(variantFor).Unix(), Info: kept,
	})
}
