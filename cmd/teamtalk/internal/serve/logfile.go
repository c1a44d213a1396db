package serve

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
)

// maxLog is the size in bytes at which the log starts anew.
const maxLog = 32 << 20

// logFile is the log of all roles. At maxLog the file becomes PATH.1, whose
// predecessor is lost. A disk without room loses lines, nothing else. It is
// safe for concurrent use.
type logFile struct {
	path string

	mu   sync.Mutex // guards the fields below
	file *os.File
	size int64
}

// openLog opens the log for appending.
func openLog(path string) (*logFile, error) {
	l := &logFile{path: path}
	if err := l.open(); err != nil {
		return nil, err
	}
	return l, nil
}

// open opens the file. Caller holds l.mu or nobody else has l.
func (l *logFile) open() error {
	file, err := os.OpenFile(l.path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("open log: %w", err)
	}
	info, err := file.Stat()
	if err != nil {
		return errors.Join(fmt.Errorf("look at log: %w", err), file.Close())
	}
	l.file, l.size = file, info.Size()
	return nil
}

// Write implements io.Writer for whole lines.
func (l *logFile) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.size+int64(len(p)) > maxLog && l.size > 0 {
		l.rotate()
	}
	n, err := l.file.Write(p)
	l.size += int64(n)
	return n, err
}

// rotate starts the file anew; what fails is tried again with the next line.
// Caller holds l.mu.
func (l *logFile) rotate() {
	old := l.file
	if err := os.Rename(l.path, l.path+".1"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return
	}
	if l.open() == nil {
		_ = old.Close() // its lines are written
	}
}

// Close closes the file.
func (l *logFile) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.file.Close()
}
