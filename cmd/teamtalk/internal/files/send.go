package files

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"teamtalk/client/transfer"
	"teamtalk/cmd/teamtalk/internal/exit"
)

// Sent is a file that has arrived.
type Sent struct {
	ID  string
	Sum string // SHA-256 in hexadecimal
	Msg uint32 // the id of its message; 0 while that is not stored yet
}

// Send sends a file of a user, or goes on with what an earlier Send began.
func Send(ctx context.Context, user string, to Conversation, path string, o transfer.Options) (Sent, error) {
	info, err := regular(path)
	if err != nil {
		return Sent{}, err
	}
	file, err := os.Open(path)
	if err != nil {
		return Sent{}, err
	}
	defer file.Close() //nolint:errcheck // only read
	note, err := noteFor(user, to, path, info)
	if err != nil {
		return Sent{}, err
	}
	u := &transfer.Upload{
		File: file, Name: filepath.Base(path), Size: info.Size(), ID: note.ID, Sum: note.Sum, Known: note.save,
	}
	msg, err := transfer.Send(ctx, u, o)
	switch {
	case err == nil, errors.Is(err, transfer.ErrRefused), errors.Is(err, transfer.ErrContent):
		return Sent{ID: u.ID, Sum: u.Sum, Msg: msg}, errors.Join(err, note.remove())
	}
	return Sent{}, err
}

// regular refuses what is no regular file.
func regular(path string) (fs.FileInfo, error) {
	info, err := os.Stat(path)
	if err == nil && !info.Mode().IsRegular() {
		return nil, exit.Usagef("%s is not a regular file", path)
	}
	if err != nil {
		return nil, fmt.Errorf("send: %w", err)
	}
	return info, nil
}
