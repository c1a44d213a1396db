//go:build unix

package bench

import "syscall"

// spareFiles is what a process needs besides its connections.
const spareFiles = 100

// connLimit returns how many connections one process may hold. The Go runtime
// has raised the limit as far as it may.
func connLimit() int {
	var limit syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit) != nil {
		return 1000
	}
	return max(int(min(limit.Cur, 1<<20))-spareFiles, 1)
}
