package auth

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"sync"
)

// verified remembers which passwords matched which hashes, without holding
// either: an entry is a keyed digest of both, useless outside this process.
// It keeps the most recently used ones in two generations; when the young one
// is full it becomes the old one.
type verified struct {
	secret []byte // static
	limit  int    // entries per generation, static

	mu         sync.Mutex // guards the fields below
	young, old map[proof]struct{}
}

type proof [16]byte

func newVerified(limit int) *verified {
	secret := make([]byte, sha256.Size)
	_, _ = rand.Read(secret) // never fails
	return &verified{secret: secret, limit: max(limit/2, 1), young: map[proof]struct{}{}}
}

// of does not depend on the legacy digest: that is no part of the hash.
func (v *verified) of(h phc, password string) (p proof) {
	mac := hmac.New(sha256.New, v.secret)
	mac.Write([]byte(h.salt + h.key + password)) // the password has one length, the rest is unique by the salt
	copy(p[:], mac.Sum(nil))
	return p
}

func (v *verified) has(h phc, password string) bool {
	if h.key == "" {
		return false
	}
	p := v.of(h, password)
	v.mu.Lock()
	defer v.mu.Unlock()
	if _, ok := v.young[p]; ok {
		return true
	}
	_, ok := v.old[p]
	if ok {
		v.insert(p)
	}
	return ok
}

func (v *verified) add(h phc, password string) {
	p := v.of(h, password)
	v.mu.Lock()
	defer v.mu.Unlock()
	v.insert(p)
}

func (v *verified) insert(p proof) {
	if len(v.young) >= v.limit {
		v.old, v.young = v.young, make(map[proof]struct{}, v.limit/4)
	}
	v.young[p] = struct{}{}
}
