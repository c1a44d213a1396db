//go:build !linux

package ports

import "net"

// reserve does nothing: only Linux has names that end with their process.
func reserve(int) (net.Listener, bool) { return nil, true }
