package files

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"teamtalk/client/transfer"
	"teamtalk/cmd/teamtalk/internal/exit"
	"teamtalk/cmd/teamtalk/internal/words"
)

// Sent is a file that has arrived.
type Sent struct {
	ID  string
	Sum string // SHA-256 in hexadecimal
	Msg uint32 // the id of its message; 0 while that is not stored yet
}

// storedPatience is how long Send waits for the message of a file.
const storedPatience = 10 * time.Second

// Send sends a file of a user, or goes on with what an earlier Send began. What
// ended for good is begun anew by the next one.
func Send(ctx context.Context, user string, to Conversation, path string, o transfer.Options) (Sent, error) {
	info, err := regular(path)
	if err != nil {
		return Sent{}, err
	}
	file, err := os.Open(path)
	if err != nil {
		return Sent{}, err
	}
	defer file.Close()
	note, err := noteFor(user, to, path, info)
	if err != nil {
		return Sent{}, err
	}
	u := &transfer.Upload{
		File: file, Name: filepath.Base(path), Size: info.Size(), ID: note.ID, Sum: note.Sum, Known: note.save,
	}
	msg, err := transfer.Send(ctx, u, o)
	if err == nil && msg == 0 {
		msg, err = stored(ctx, u, o)
	}
	over := err == nil || errors.Is(err, transfer.ErrContent) ||
		errors.Is(err, transfer.ErrRefused) && !errors.Is(err, transfer.ErrNoSpace)
	if over {
		err = errors.Join(err, note.remove())
	}
	return Sent{ID: u.ID, Sum: u.Sum, Msg: msg}, err
}

// stored waits a little for a message; 0 if it is not stored yet. It will be:
// that is the servers' affair now.
func stored(ctx context.Context, u *transfer.Upload, o transfer.Options) (uint32, error) {
	o.Progress = nil
	waiting, cancel := context.WithTimeout(ctx, storedPatience)
	defer cancel()
	msg, err := transfer.Stored(waiting, u, o)
	if waiting.Err() != nil {
		return msg, nil
	}
	return msg, err
}

// regular refuses what is no regular file.
func regular(path string) (fs.FileInfo, error) {
	info, err := os.Stat(path)
	if err == nil && !info.Mode().IsRegular() {
		return nil, exit.Bad(words.NotRegular, path)
	}
	if err != nil {
		return nil, err
	}
	return info, nil
}
