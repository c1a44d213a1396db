//go:build unix && !linux

package procs

import "syscall"

// attributes puts a process into a session or group of its own, so that a
// Ctrl-C at the terminal does not reach it.
func attributes(detached bool) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setsid: detached, Setpgid: !detached}
}

// stopped cannot be told here in an easy way.
func stopped(int) bool { return true }
