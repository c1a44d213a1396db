package store

import (
	"context"

	"teamtalk/internal/im"
)

// OfflineFile is a file that waits for a receiver. Its bytes are at a
// file_server.
type OfflineFile struct {
	From, To im.UserID
	Task     string
	Name     string
	Size     uint32
	Server   string // where it is; "" if nobody said
	Expires  uint32 // Unix seconds; 0 = never
}

// maxOfflineFiles is how many files one receiver is told of, the newest.
const maxOfflineFiles = 500

// AddOfflineFile enters a file, once however often it is called, and forgets
// those of the same receiver whose time is over.
func (s *Store) AddOfflineFile(ctx context.Context, f OfflineFile) error {
	for _, text := range []struct {
		what, value string
		limit       int
	}{{"file name", f.Name, 256}, {"task id", f.Task, 64}, {"file_server", f.Server, 64}} {
		if err := checkText(text.what, text.value, text.limit); err != nil {
			return err
		}
	}
	return s.update(ctx, "add_offline_file", func(q querier) error {
		now := s.now()
		_, err := q.exec(ctx, "DELETE FROM IMTransmitFile WHERE toId = ? AND expires > 0 AND expires <= ?", f.To, now)
		if err != nil {
			return err
		}
		_, err = q.exec(ctx, "DELETE FROM IMTransmitFile WHERE fromId = ? AND toId = ? AND taskId = ?", f.From, f.To, f.Task)
		if err != nil {
			return err
		}
		_, err = q.exec(ctx, `INSERT INTO IMTransmitFile
			(fromId, toId, fileName, size, taskId, status, created, updated, server, expires)
			VALUES (?, ?, ?, ?, ?, 0, ?, ?, ?, ?)`,
			f.From, f.To, f.Name, f.Size, f.Task, now, now, f.Server, f.Expires)
		return err
	})
}

// OfflineFiles returns what waits for a receiver, newest first.
func (s *Store) OfflineFiles(ctx context.Context, to im.UserID) (all []OfflineFile, err error) {
	scan := func(r scanner) (f OfflineFile, err error) {
		return f, r.Scan(&f.From, &f.To, &f.Task, &f.Name, &f.Size, &f.Server, &f.Expires)
	}
	err = s.read(ctx, "offline_files", s.exact, func(q querier) error {
		all, err = list(ctx, q, scan, `SELECT fromId, toId, taskId, fileName, size, server, expires FROM IMTransmitFile
			WHERE toId = ? AND status = 0 AND (expires = 0 OR expires > ?) ORDER BY created DESC, id DESC LIMIT ?`,
			to, s.now(), maxOfflineFiles)
		return err
	})
	return all, err
}

// DeleteOfflineFile forgets a file; one that is not there is no error.
func (s *Store) DeleteOfflineFile(ctx context.Context, from, to im.UserID, task string) error {
	return s.update(ctx, "delete_offline_file", func(q querier) error {
		_, err := q.exec(ctx, "DELETE FROM IMTransmitFile WHERE fromId = ? AND toId = ? AND taskId = ?", from, to, task)
		return err
	})
}
