//go:build unix

package system

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strconv"
)

// Limit bounds the bytes a second that a process is sent.
func (s *System) Limit(name string, rate int) error {
	p := s.proxies[name]
	if p == nil {
		return fmt.Errorf("there is no proxy for %s", name)
	}
	p.Limit(rate)
	return nil
}

// ClientAddrs returns where clients reach the msg_servers.
func (s *System) ClientAddrs() (addrs []string) {
	for _, addr := range s.Seen {
		addrs = append(addrs, addr)
	}
	slices.Sort(addrs)
	return addrs
}

// Resident returns the resident memory of every role that runs, in bytes.
func (s *System) Resident() (map[string]int64, error) {
	all := map[string]int64{}
	for name, p := range s.parts {
		process := p.server.Process()
		if !p.role || process == nil {
			continue
		}
		text, err := os.ReadFile("/proc/" + strconv.Itoa(process.PID()) + "/statm")
		if err != nil {
			return nil, fmt.Errorf("memory of %s: %w", name, err)
		}
		fields := bytes.Fields(text)
		if len(fields) < 2 {
			return nil, fmt.Errorf("memory of %s: %q", name, text)
		}
		pages, err := strconv.ParseInt(string(fields[1]), 10, 64)
		if err != nil {
			return nil, fmt.Errorf("memory of %s: %w", name, err)
		}
		all[name] = pages * int64(os.Getpagesize())
	}
	return all, nil
}
