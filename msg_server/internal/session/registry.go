// Package session knows who is logged in here: which connections a user has,
// and which of them must give way when he logs in again. It knows nothing of
// what is sent on them.
package session

import (
	"slices"
	"sync"

	"teamtalk/internal/im"
)

// Session is one log-in on one connection. Its fields never change.
type Session[C any] struct {
	ConnID uint64
	User   im.UserID
	Client im.ClientType
	Status uint8 // online_status as the client sent it
	Opened int64 // Unix milliseconds
	Conn   C
}

const shards = 64

// Registry holds the sessions of one server. Safe from any goroutine.
type Registry[C any] struct {
	shards [shards]shard[C]
}

type shard[C any] struct {
	mu sync.RWMutex // guards users; a leaf
	// users holds the terminals of each user. The slices are replaced, never
	// changed, so that they can be used without the lock.
	users map[im.UserID][]*Session[C]
}

// New returns an empty registry.
func New[C any]() *Registry[C] {
	r := &Registry[C]{}
	for i := range r.shards {
		r.shards[i].users = make(map[im.UserID][]*Session[C])
	}
	return r
}

func (r *Registry[C]) of(user im.UserID) *shard[C] { return &r.shards[uint32(user)%shards] }

// Open adds a session and returns those that must give way: the older ones of
// the same class. They stay until they are closed.
// Source: docs/protocol/flows.md §4.
func (r *Registry[C]) Open(s *Session[C]) (older []*Session[C]) {
	sh := r.of(s.User)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	for _, other := range sh.users[s.User] {
		if other.Client.SameClass(s.Client) {
			older = append(older, other)
		}
	}
	sh.users[s.User] = append(slices.Clone(sh.users[s.User]), s)
	return older
}

// Close removes a session and reports whether it was there.
func (r *Registry[C]) Close(s *Session[C]) bool {
	sh := r.of(s.User)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	old := sh.users[s.User]
	i := slices.Index(old, s)
	if i < 0 {
		return false
	}
	if len(old) == 1 {
		delete(sh.users, s.User)
		return true
	}
	sh.users[s.User] = slices.Delete(slices.Clone(old), i, i+1)
	return true
}

// Of returns the sessions of a user. The slice must not be changed.
func (r *Registry[C]) Of(user im.UserID) []*Session[C] {
	sh := r.of(user)
	sh.mu.RLock()
	defer sh.mu.RUnlock()
	return sh.users[user]
}

// Each calls f for every session, without holding a lock.
func (r *Registry[C]) Each(f func(*Session[C])) {
	for i := range r.shards {
		sh := &r.shards[i]
		sh.mu.RLock()
		all := make([][]*Session[C], 0, len(sh.users))
		for _, terminals := range sh.users {
			all = append(all, terminals)
		}
		sh.mu.RUnlock()
		for _, terminals := range all {
			for _, s := range terminals {
				f(s)
			}
		}
	}
}

// Len returns how many sessions there are.
func (r *Registry[C]) Len() (n int) {
	for i := range r.shards {
		sh := &r.shards[i]
		sh.mu.RLock()
		for _, terminals := range sh.users {
			n += len(terminals)
		}
		sh.mu.RUnlock()
	}
	return n
}
