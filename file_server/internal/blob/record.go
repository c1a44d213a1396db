package blob

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

// MaxRecord is the length of the longest record, in bytes.
const MaxRecord = 64 << 10

// Record is a small text under a kind and an id.
type Record struct {
	Kind, ID string
	Modified time.Time
}

func recordKey(kind, id string) (string, error) {
	if !name.MatchString(kind) || !name.MatchString(id) {
		return "", ErrBadName
	}
	return "record/" + kind + "/" + id, nil
}

// SetRecord stores a record, all or nothing, in place of one with its name.
// When it returns, the record survives a crash.
func (s *Store) SetRecord(ctx context.Context, kind, id string, text []byte) error {
	key, err := recordKey(kind, id)
	if err != nil {
		return err
	}
	if len(text) > MaxRecord {
		return ErrOverrun
	}
	f, err := os.CreateTemp(s.cfg.Dir, "record-*.tmp")
	if err != nil {
		return noSpace(fmt.Errorf("write record: %w", err))
	}
	defer os.Remove(f.Name()) //nolint:errcheck // it is gone when it was moved
	_, err = f.Write(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return noSpace(fmt.Errorf("write record: %w", err))
	}
	if err := s.backend.Put(ctx, key, f.Name()); err != nil {
		return noSpace(fmt.Errorf("store record: %w", err))
	}
	return nil
}

// Record returns a record, or ErrNotFound.
func (s *Store) Record(ctx context.Context, kind, id string) ([]byte, error) {
	key, err := recordKey(kind, id)
	if err != nil {
		return nil, err
	}
	r, _, err := s.backend.Open(ctx, key)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	text, err := io.ReadAll(io.LimitReader(r, MaxRecord+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("read record: %w", err)
	case len(text) > MaxRecord:
		return nil, ErrOverrun
	}
	return text, nil
}

// DeleteRecord removes a record; an absent one is no error.
func (s *Store) DeleteRecord(ctx context.Context, kind, id string) error {
	key, err := recordKey(kind, id)
	if err != nil {
		return err
	}
	return s.backend.Delete(ctx, key)
}

// Records calls f for every record of a kind, in no order.
func (s *Store) Records(ctx context.Context, kind string, f func(Record) error) error {
	if !name.MatchString(kind) {
		return ErrBadName
	}
	prefix := "record/" + kind + "/"
	return s.backend.List(ctx, prefix, func(o Object) error {
		id := strings.TrimPrefix(o.Key, prefix)
		if !name.MatchString(id) {
			return nil // not ours
		}
		return f(Record{Kind: kind, ID: id, Modified: o.Modified})
	})
}
