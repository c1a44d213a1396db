//go:build unix

package rolemain

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
)

// Lock writes the process id to the file at path and keeps it locked
// until unlock, which removes it. While another process has the lock, it fails
// with that process's id. A file left by a process that crashed is taken over.
func Lock(path string) (unlock func() error, err error) {
	for {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
		if err != nil {
			return nil, fmt.Errorf("open lock file: %w", err)
		}
		switch err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); {
		case errors.Is(err, syscall.EWOULDBLOCK):
			holder, readErr := io.ReadAll(io.LimitReader(f, 20))
			return nil, errors.Join(fmt.Errorf("another server (pid %s) runs in this folder: %s is locked",
				strings.TrimSpace(string(holder)), path), readErr, f.Close())
		case err != nil:
			return nil, errors.Join(fmt.Errorf("lock %s: %w", path, err), f.Close())
		}
		if !isAt(f, path) { // removed by its last holder between open and lock
			if err := f.Close(); err != nil {
				return nil, fmt.Errorf("close lock file: %w", err)
			}
			continue
		}
		if err := writePID(f); err != nil {
			return nil, errors.Join(fmt.Errorf("write %s: %w", path, err), f.Close())
		}
		return func() error { return errors.Join(os.Remove(path), f.Close()) }, nil
	}
}

func writePID(f *os.File) error {
	if err := f.Truncate(0); err != nil {
		return err
	}
	_, err := f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	return err
}

// isAt reports whether path still names the open file f.
func isAt(f *os.File, path string) bool {
	opened, err := f.Stat()
	if err != nil {
		return false
	}
	named, err := os.Stat(path)
	return err == nil && os.SameFile(opened, named)
}

// notifyLevel asks for the signal by which the original switches the logging of
// messages, and ignores the one that resets its statistics.
func notifyLevel(signals chan<- os.Signal) {
	signal.Ignore(syscall.SIGUSR1)
	signal.Notify(signals, syscall.SIGUSR2)
}

func isLevel(s os.Signal) bool { return s == syscall.SIGUSR2 }
