//go:build unix

package procs

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"
)

// Alive reports whether a process with this id exists and is no zombie of
// somebody who still has to notice its end.
func Alive(pid int) bool {
	if pid <= 0 {
		return false
	}
	err := syscall.Kill(pid, 0)
	return (err == nil || errors.Is(err, syscall.EPERM)) && !zombie(pid)
}

// StopPID ends a process that another one started, such as a detached one: it
// sends SIGTERM and waits until it is gone; when ctx is done first, it is
// killed and the error says so. The caller answers for the id being the right
// one.
func StopPID(ctx context.Context, pid int) error {
	if !Alive(pid) {
		return nil
	}
	if err := errors.Join(syscall.Kill(pid, syscall.SIGTERM), syscall.Kill(pid, syscall.SIGCONT)); err != nil {
		if !Alive(pid) {
			return nil
		}
		return fmt.Errorf("end process %d: %w", pid, err)
	}
	tick := time.NewTicker(poll)
	defer tick.Stop()
	for Alive(pid) {
		select {
		case <-tick.C:
		case <-ctx.Done():
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && Alive(pid) {
				return fmt.Errorf("kill process %d: %w", pid, err)
			}
			return fmt.Errorf("process %d did not stop and was killed: %w", pid, ctx.Err())
		}
	}
	return nil
}
