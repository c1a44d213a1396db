package procs

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
)

// attributes puts a process into a session or group of its own, so that a
// Ctrl-C at the terminal does not reach it.
func attributes(detached bool) *syscall.SysProcAttr {
	if detached {
		return &syscall.SysProcAttr{Setsid: true}
	}
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// stopped reports whether every thread of a process stands still, or it is
// gone.
func stopped(pid int) bool {
	threads, err := filepath.Glob("/proc/" + strconv.Itoa(pid) + "/task/*")
	if err != nil {
		return false
	}
	for _, thread := range threads {
		if s := state(thread); s != 'T' && s != 'Z' && s != 0 {
			return false
		}
	}
	return true
}

// state returns the state of a process or thread by its folder in /proc, 0 if
// it is gone.
func state(folder string) byte {
	stat, err := os.ReadFile(filepath.Join(folder, "stat"))
	if err != nil {
		return 0
	}
	// The state follows the name, which is in brackets and may hold anything.
	if end := bytes.LastIndexByte(stat, ')'); end >= 0 && len(stat) > end+2 {
		return stat[end+2]
	}
	return 0
}
