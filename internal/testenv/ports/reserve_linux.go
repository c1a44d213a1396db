package ports

import (
	"net"
	"strconv"
)

// reserve takes a name that stands for the port and ends with this process; it
// reports false when another process has it.
func reserve(port int) (net.Listener, bool) {
	l, err := net.Listen("unix", name(port))
	return l, err == nil
}

// name is not one of a file.
func name(port int) string { return "@teamtalk-test-port-" + strconv.Itoa(port) }
