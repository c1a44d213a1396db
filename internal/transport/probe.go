package transport

import (
	"errors"
	"fmt"
	"net"
	"syscall"
)

// probe binds the address once, as nobody else may have it.
func probe(addr string) error {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		if errors.Is(err, syscall.EADDRINUSE) {
			return fmt.Errorf("address %s is taken by another process", addr)
		}
		return err
	}
	return l.Close()
}

// connectionLimit is 80 % of the file descriptors the process may open: the
// rest is for links, files and the accept that comes before the refusal.
func connectionLimit() int {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 800
	}
	if limit.Cur < limit.Max {
		raised := syscall.Rlimit{Cur: limit.Max, Max: limit.Max}
		if syscall.Setrlimit(syscall.RLIMIT_NOFILE, &raised) == nil {
			limit = raised
		}
	}
	return int(min(limit.Cur, 10_000_000) * 8 / 10)
}
