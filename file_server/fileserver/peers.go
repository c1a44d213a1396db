package fileserver

import (
	"math/rand/v2"
	"slices"
	"sync"

	"teamtalk/internal/link"
)

// peers are the msg_servers of ours that are linked. Safe from any goroutine.
type peers struct {
	mu   sync.Mutex // guards the field below; a leaf
	live []*link.Link
}

func (p *peers) add(l *link.Link) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.live = append(p.live, l)
}

func (p *peers) remove(l *link.Link) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.live = slices.DeleteFunc(p.live, func(o *link.Link) bool { return o == l })
}

// any returns one of them at random; nil if there is none.
func (p *peers) any() *link.Link {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.live) == 0 {
		return nil
	}
	return p.live[rand.IntN(len(p.live))]
}
