//go:build unix

package system

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"os"
	"strconv"
	"time"

	"teamtalk/test/chaos/internal/schedule"
)

// How strangers take the descriptors of a process.
const (
	strangers = 50 // addresses that they have
	dialFor   = 200 * time.Millisecond
	pressFor  = 50 * time.Millisecond // between two looks whether there is room again
	pressWith = 16                    // connections at each look
)

// descriptors lets strangers connect to every port of a process until it has no
// descriptor left, stay, and take those that become free, as long as the fault
// lasts. The process must not end, which is noticed like any other end.
func (s *System) descriptors(ctx context.Context, f *schedule.Fault, notes Notes) error {
	p, err := s.part(f.Target)
	if err != nil {
		return err
	}
	if s.cfg.Descriptors == 0 || len(p.ports) == 0 {
		return fmt.Errorf("%s has as many descriptors as it wants", p.name)
	}
	ctx, cancel := context.WithTimeout(ctx, f.For)
	defer cancel()
	notes.Begin()
	var held []net.Conn
	defer func() {
		for _, c := range held {
			_ = c.Close()
		}
	}()
	// As many more wait in the queues of the kernel for somebody to take them.
	for i := 0; i < 2*s.cfg.Descriptors && ctx.Err() == nil; i++ {
		if c := stranger(ctx, p, i); c != nil {
			held = append(held, c)
		}
	}
	most := 0
	defer func() { notes.Hit(cmp.Or(most, len(held))) }()
	for oldest := 0; ctx.Err() == nil; {
		most = max(most, p.openFiles())
		pause(ctx, pressFor)
		for range pressWith {
			c := stranger(ctx, p, oldest)
			if c == nil || len(held) == 0 {
				continue
			}
			_ = held[oldest%len(held)].Close()
			held[oldest%len(held)] = c
			oldest++
		}
	}
	return nil
}

// openFiles returns how many descriptors a process has open; 0 where nobody can
// tell.
func (p *part) openFiles() int {
	process := p.server.Process()
	if process == nil {
		return 0
	}
	files, err := os.ReadDir("/proc/" + strconv.Itoa(process.PID()) + "/fd")
	if err != nil {
		return 0
	}
	return len(files)
}

// stranger connects to one of the ports of a process; nil if that fails.
func stranger(ctx context.Context, p *part, i int) net.Conn {
	dialer := net.Dialer{Timeout: dialFor, LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 9, 0, byte(1+i%strangers))}}
	c, err := dialer.DialContext(ctx, "tcp", local(p.ports[i%len(p.ports)]))
	if err != nil {
		return nil
	}
	return c
}
