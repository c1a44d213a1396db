package link

import (
	"errors"
	"log/slog"
	"net"
	"sync"
	"syscall"
	"time"

	"teamtalk/internal/transport"
)

// repeatWaiting is how often a neighbour that stays away is named.
const repeatWaiting = time.Minute

// neighbours tells the log whom this process waits for, and when it loses the
// last one of a role. The zero value knows nobody. Safe from any goroutine.
type neighbours struct {
	mu   sync.Mutex           // guards the fields below; a leaf
	said map[string]time.Time // by address: when it was said that it is away
	up   map[string]int       // by role: links that are up
}

// away takes note of a dial that failed.
func (n *neighbours) away(log *slog.Logger, now time.Time, role, addr string, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if said, ok := n.said[addr]; ok && now.Sub(said) < repeatWaiting {
		return
	}
	if n.said == nil {
		n.said = map[string]time.Time{}
	}
	n.said[addr] = now
	log.Info("waiting for " + role + " " + addr + ": " + reason(err)) //nolint:sloglint // a sentence for whoever starts it
}

// opened takes note of a link that is up. Addr is empty if the peer dialled.
func (n *neighbours) opened(role, addr string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.said, addr)
	if n.up == nil {
		n.up = map[string]int{}
	}
	n.up[role]++
}

// lost takes note of the end of such a link.
func (n *neighbours) lost(log *slog.Logger, role string, why transport.CloseReason) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.up[role]--
	if n.up[role] == 0 && why != transport.ReasonStopping {
		log.Warn("no link to any "+role+" is left", "reason", string(why)) //nolint:sloglint // as above
	}
}

// reason is the error of a dial without what the log line says anyway.
func reason(err error) string {
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		return errno.Error()
	}
	if dns, ok := errors.AsType[*net.DNSError](err); ok {
		return dns.Err
	}
	return err.Error()
}
