package files

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// note is what an upload needs to be taken up by the next command: kept in
// the user's cache folder until the file has arrived. It is found by who sends
// which file to whom; a file that was changed is another one.
type note struct {
	ID  string `json:"id"`
	Sum string `json:"sum"`

	path string
}

// noteFor reads the note of an upload; an empty one if there is none.
func noteFor(user string, conv Conversation, path string, info fs.FileInfo) (*note, error) {
	dir, err := os.UserCacheDir()
	if err != nil {
		return nil, fmt.Errorf("find the folder for notes: %w", err)
	}
	whole, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	key := sha256.Sum256(fmt.Appendf(nil, "%q %d %d %q %d %d",
		user, conv.Kind, conv.Session, whole, info.Size(), info.ModTime().UnixNano()))
	n := &note{path: filepath.Join(dir, "teamtalk", "uploads", hex.EncodeToString(key[:16])+".json")}
	text, err := os.ReadFile(n.path)
	if err == nil && json.Unmarshal(text, n) != nil {
		n.ID, n.Sum = "", "" // damaged: begin again
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read note: %w", err)
	}
	return n, nil
}

func (n *note) save(id, sum string) error {
	n.ID, n.Sum = id, sum
	text, err := json.Marshal(n)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(n.path), 0o700); err != nil {
		return fmt.Errorf("keep note: %w", err)
	}
	return os.WriteFile(n.path, text, 0o600)
}

func (n *note) remove() error {
	if err := os.Remove(n.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
