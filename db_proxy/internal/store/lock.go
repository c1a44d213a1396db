package store

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"teamtalk/internal/im"
)

// fileLock keeps a second process from the data file. The operating system
// lets go of it when the process ends, however it ends.
type fileLock struct{ f *os.File }

// lockFile takes the lock at path and writes our process id into it. The file
// stays when the lock is gone: removing it would let two processes lock two
// different files of one name.
func lockFile(path string) (*fileLock, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, im.Wrap(im.Unavailable, "store: open the lock file", err)
	}
	ok, err := tryLock(f)
	if err == nil && ok {
		err = writePID(f)
	}
	if err != nil {
		_ = f.Close() // the first error says more
		return nil, im.Wrap(im.Unavailable, "store: lock the data folder", err)
	}
	if !ok {
		defer f.Close()
		return nil, im.Errorf(im.Unavailable, "store: data folder is in use by process %s", owner(f))
	}
	return &fileLock{f}, nil
}

func writePID(f *os.File) error {
	if err := f.Truncate(0); err != nil {
		return err
	}
	_, err := f.WriteAt(fmt.Appendln(nil, os.Getpid()), 0)
	return err
}

// owner returns the process id in the lock file, "(unknown)" when the owner
// has not written it yet.
func owner(f *os.File) string {
	b := make([]byte, 20)
	n, err := f.ReadAt(b, 0)
	if err != nil && err != io.EOF {
		return "(unknown)"
	}
	pid := strings.TrimSpace(string(b[:n]))
	if _, err := strconv.Atoi(pid); err != nil {
		return "(unknown)"
	}
	return pid
}

func (l *fileLock) release() error { return l.f.Close() }
