package proxy

import (
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// Owner returns which of some processes has the socket that connects one IPv4
// address to another, by name; "?" if none has.
func Owner(from, to net.Addr, pids map[string]int) string {
	a, ok := from.(*net.TCPAddr)
	b, ok2 := to.(*net.TCPAddr)
	if !ok || !ok2 || a.IP.To4() == nil || b.IP.To4() == nil {
		return "?"
	}
	inode, err := inodeOf(a, b)
	if err != nil {
		return "?"
	}
	file := "socket:[" + strconv.FormatUint(uint64(inode), 10) + "]"
	for name, pid := range pids {
		if holds(pid, file) {
			return name
		}
	}
	return "?"
}

// Sizes and places in the kernel's messages about sockets: a header, the
// request (struct inet_diag_req_v2) and the answer (struct inet_diag_msg).
const (
	nlHeader    = 16
	diagRequest = 56
	diagInode   = nlHeader + 68
)

// inodeOf asks the kernel for the socket that connects a to b.
func inodeOf(a, b *net.TCPAddr) (uint32, error) {
	s, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, unix.NETLINK_INET_DIAG)
	if err != nil {
		return 0, fmt.Errorf("ask for a socket: %w", err)
	}
	defer unix.Close(s)
	timeout := unix.NsecToTimeval(int64(time.Second))
	if err := unix.SetsockoptTimeval(s, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout); err != nil {
		return 0, fmt.Errorf("ask for a socket: %w", err)
	}
	m := make([]byte, nlHeader+diagRequest)
	binary.NativeEndian.PutUint32(m[0:], uint32(len(m)))
	binary.NativeEndian.PutUint16(m[4:], unix.SOCK_DIAG_BY_FAMILY)
	binary.NativeEndian.PutUint16(m[6:], unix.NLM_F_REQUEST)
	req := m[nlHeader:]
	req[0], req[1] = unix.AF_INET, unix.IPPROTO_TCP
	binary.NativeEndian.PutUint32(req[4:], ^uint32(0)) // in any state
	binary.BigEndian.PutUint16(req[8:], uint16(a.Port))
	binary.BigEndian.PutUint16(req[10:], uint16(b.Port))
	copy(req[12:], a.IP.To4())
	copy(req[28:], b.IP.To4())
	binary.NativeEndian.PutUint64(req[48:], ^uint64(0)) // no cookie
	if err := unix.Sendto(s, m, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return 0, fmt.Errorf("ask for a socket: %w", err)
	}
	answer := make([]byte, 4096)
	n, _, err := unix.Recvfrom(s, answer, 0)
	if err != nil {
		return 0, fmt.Errorf("ask for a socket: %w", err)
	}
	if n < diagInode+4 || binary.NativeEndian.Uint16(answer[4:]) != unix.SOCK_DIAG_BY_FAMILY {
		return 0, fmt.Errorf("no socket connects %v to %v", a, b)
	}
	return binary.NativeEndian.Uint32(answer[diagInode:]), nil
}

// holds reports whether a process has a file open.
func holds(pid int, file string) bool {
	links, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	if err != nil {
		return false
	}
	for _, link := range links {
		if to, err := os.Readlink(link); err == nil && to == file {
			return true
		}
	}
	return false
}
