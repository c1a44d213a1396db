package blob

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Local is a Backend in a folder of this machine. The files given to Put must
// be on the same file system.
type Local struct {
	root string
}

// NewLocal returns a Local in dir, which it makes.
func NewLocal(dir string) (*Local, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make folder of the store: %w", err)
	}
	return &Local{root: dir}, nil
}

func (l *Local) path(key string) string { return filepath.Join(l.root, filepath.FromSlash(key)) }

// Put is Backend's: a link where there is nothing yet, else a rename. Both
// happen at once or not at all, and both are synced.
func (l *Local) Put(_ context.Context, key, path string) error {
	target := l.path(key)
	dir := filepath.Dir(target)
	if err := l.makeDir(dir); err != nil {
		return err
	}
	// The time of a file is that of its last byte, which may have come long ago.
	now := time.Now() //nolint:forbidigo // the clock of the disk
	if err := os.Chtimes(path, now, now); err != nil {
		return err
	}
	if err := os.Link(path, target); err != nil {
		// There is one already, or the file system has no links.
		if err := os.Rename(path, target); err != nil {
			return err
		}
	}
	return syncDir(dir)
}

// makeDir makes a folder and syncs the names on the way to it.
func (l *Local) makeDir(dir string) error {
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	for d := filepath.Dir(dir); len(d) >= len(l.root); d = filepath.Dir(d) {
		if err := syncDir(d); err != nil {
			return err
		}
	}
	return nil
}

// Open is Backend's.
func (l *Local) Open(_ context.Context, key string) (Reader, Object, error) {
	f, err := os.Open(l.path(key))
	if err != nil {
		return nil, Object{}, absent(err)
	}
	info, err := f.Stat()
	if err != nil {
		return nil, Object{}, errors.Join(err, f.Close())
	}
	return f, Object{Key: key, Size: info.Size(), Modified: info.ModTime()}, nil
}

// Stat is Backend's.
func (l *Local) Stat(_ context.Context, key string) (Object, error) {
	info, err := os.Stat(l.path(key))
	if err != nil {
		return Object{}, absent(err)
	}
	return Object{Key: key, Size: info.Size(), Modified: info.ModTime()}, nil
}

// Delete is Backend's.
func (l *Local) Delete(_ context.Context, key string) error {
	err := os.Remove(l.path(key))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// List is Backend's.
func (l *Local) List(ctx context.Context, prefix string, f func(Object) error) error {
	err := filepath.WalkDir(l.path(prefix), func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if e.IsDir() {
			return ctx.Err()
		}
		info, err := e.Info()
		if err != nil {
			return absent(err)
		}
		key, err := filepath.Rel(l.root, path)
		if err != nil {
			return err
		}
		return f(Object{Key: filepath.ToSlash(key), Size: info.Size(), Modified: info.ModTime()})
	})
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, ErrNotFound) {
		return nil // removed meanwhile, or nothing was ever put there
	}
	return err
}

// Abandoned is Backend's: files are linked or moved at once.
func (l *Local) Abandoned(context.Context, time.Time, bool) (int, error) { return 0, nil }

// writeFile puts content at path, all or nothing, and syncs it.
func writeFile(path string, content []byte) error {
	temp := strings.TrimSuffix(path, filepath.Ext(path)) + ".tmp"
	f, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return noSpace(err)
	}
	_, err = f.Write(content)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(temp, path)
	}
	if err != nil {
		return errors.Join(noSpace(err), os.Remove(temp))
	}
	return syncDir(filepath.Dir(path))
}

func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
