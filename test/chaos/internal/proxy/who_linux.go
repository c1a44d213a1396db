package proxy

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
)

// looks is how often the kernel's table of sockets is read for one that must be
// in it: rows are missed when others come and go meanwhile.
const looks = 5

// Owner returns which of some processes has the socket that connects one IPv4
// address to another, by name; "?" if none has.
func Owner(from, to net.Addr, pids map[string]int) string {
	a, ok := inTable(from)
	b, ok2 := inTable(to)
	if !ok || !ok2 {
		return "?"
	}
	for range looks {
		if inode, ok := inodeOf(a, b); ok {
			if name, ok := holder("socket:["+inode+"]", pids); ok {
				return name
			}
		}
	}
	return "?"
}

// inTable returns an address as the kernel's table has it, in the byte order of
// the machine, which is taken to be the usual one.
func inTable(a net.Addr) (string, bool) {
	tcp, ok := a.(*net.TCPAddr)
	if !ok || tcp.IP.To4() == nil {
		return "", false
	}
	ip := tcp.IP.To4()
	return fmt.Sprintf("%02X%02X%02X%02X:%04X", ip[3], ip[2], ip[1], ip[0], tcp.Port), true
}

// inodeOf finds the socket that connects a to b: the columns are a number, the
// local address, the remote one, and the inode in the tenth.
func inodeOf(a, b string) (string, bool) {
	f, err := os.Open("/proc/net/tcp")
	if err != nil {
		return "", false
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) > 9 && fields[1] == a && fields[2] == b && fields[9] != "0" {
			return fields[9], true
		}
	}
	return "", false
}

// holder finds who has a file open.
func holder(file string, pids map[string]int) (string, bool) {
	for name, pid := range pids {
		links, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
		if err != nil {
			continue
		}
		for _, link := range links {
			if to, err := os.Readlink(link); err == nil && to == file {
				return name, true
			}
		}
	}
	return "", false
}
