package proxy

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
)

// Owner returns which of some processes has the socket with a local IPv4
// address, by name; "?" if none has.
func Owner(addr net.Addr, pids map[string]int) string {
	tcp, ok := addr.(*net.TCPAddr)
	if !ok || tcp.IP.To4() == nil {
		return "?"
	}
	inode, ok := inodeOf(tcp)
	if !ok {
		return "?"
	}
	want := "socket:[" + inode + "]"
	for name, pid := range pids {
		links, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
		if err != nil {
			continue
		}
		for _, link := range links {
			if to, err := os.Readlink(link); err == nil && to == want {
				return name
			}
		}
	}
	return "?"
}

// inodeOf finds a socket in the kernel's table, whose second column is the
// local address in the byte order of the machine and whose tenth the inode.
func inodeOf(a *net.TCPAddr) (string, bool) {
	ip := a.IP.To4()
	want := fmt.Sprintf("%02X%02X%02X%02X:%04X", ip[3], ip[2], ip[1], ip[0], a.Port)
	f, err := os.Open("/proc/net/tcp")
	if err != nil {
		return "", false
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if fields := strings.Fields(lines.Text()); len(fields) > 9 && fields[1] == want {
			return fields[9], true
		}
	}
	return "", false
}
