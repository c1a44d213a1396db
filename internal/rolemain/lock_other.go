//go:build !unix

package rolemain

import (
	"errors"
	"os"
	"strconv"
)

// Lock writes the process id; there is no lock to take here.
func Lock(path string) (unlock func() error, err error) {
	if err := os.WriteFile(path, []byte(strconv.Itoa(os.Getpid())+"\n"), 0o644); err != nil {
		return nil, errors.New("write lock file: " + err.Error())
	}
	return func() error { return os.Remove(path) }, nil
}

func notifyLevel(chan<- os.Signal) {}

func isLevel(os.Signal) bool { return false }
