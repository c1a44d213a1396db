package msgserver

import (
	"slices"

	"google.golang.org/protobuf/encoding/protowire"

	"teamtalk/internal/wire"
)

// userChunk is a stretch of encoded user_list entries of 0209, in the order of
// the times of their changes. Its bytes are shared with the connections to
// which they are being written, and never change.
type userChunk struct {
	bytes []byte
	users []chunkUser
}

// chunkUser is one entry of a chunk.
type chunkUser struct {
	id, time, end uint32 // end: offset behind it
}

// userRoll is a list of users in the order of their changes, so that what
// changed since a time is its end. A roll that others may hold is not changed:
// without and join make a new one, which has all chunks in common that are
// the same.
type userRoll []*userChunk

// listChunk leaves room for the other fields below Android's limit.
const listChunk = wire.MaxAndroid - wire.HeaderSize - 64

// add appends a user with its encoded UserInfo. Only who made the roll may
// call it, before anybody else has it.
func (r userRoll) add(id, time uint32, info []byte) userRoll {
	const userListField = 3
	size := protowire.SizeTag(userListField) + protowire.SizeBytes(len(info))
	if n := len(r); n == 0 || len(r[n-1].bytes)+size > listChunk {
		r = append(r, &userChunk{bytes: make([]byte, 0, max(size, 4096))})
	}
	c := r[len(r)-1]
	c.bytes = protowire.AppendTag(c.bytes, userListField, protowire.BytesType)
	c.bytes = protowire.AppendBytes(c.bytes, info)
	c.users = append(c.users, chunkUser{id, time, uint32(len(c.bytes))})
	return r
}

// parts returns the encoded entries of those that changed at a time or later.
func (r userRoll) parts(since uint32) (parts [][]byte) {
	first, _ := slices.BinarySearchFunc(r, since, func(c *userChunk, t uint32) int {
		if c.users[len(c.users)-1].time < t {
			return -1
		}
		return 1
	})
	for i, c := range r[first:] {
		bytes := slices.Clip(c.bytes)
		if i == 0 {
			bytes = bytes[c.offset(since):]
		}
		parts = append(parts, bytes)
	}
	return parts
}

// offset returns where the first entry begins that changed at a time or later.
func (c *userChunk) offset(since uint32) uint32 {
	i, _ := slices.BinarySearchFunc(c.users, since, func(u chunkUser, t uint32) int {
		if u.time < t {
			return -1
		}
		return 1
	})
	if i == 0 {
		return 0
	}
	return c.users[i-1].end
}

// without returns the roll without the users in gone, and without those that
// changed at a time or later.
func (r userRoll) without(gone map[uint32]bool, since uint32) (left userRoll) {
	for _, c := range r {
		stays := func(u chunkUser) bool { return u.time < since && !gone[u.id] }
		if !slices.ContainsFunc(c.users, func(u chunkUser) bool { return !stays(u) }) {
			left = left.join(userRoll{c})
			continue
		}
		kept, begin := &userChunk{bytes: make([]byte, 0, len(c.bytes))}, uint32(0)
		for _, u := range c.users {
			if stays(u) {
				kept.bytes = append(kept.bytes, c.bytes[begin:u.end]...)
				kept.users = append(kept.users, chunkUser{u.id, u.time, uint32(len(kept.bytes))})
			}
			begin = u.end
		}
		if len(kept.users) > 0 {
			left = left.join(userRoll{kept})
		}
	}
	return left
}

// join returns the roll with another one behind it. Where they meet, two
// chunks that fit into one become one, so that a roll that changes often stays
// one of few chunks.
func (r userRoll) join(next userRoll) userRoll {
	if len(r) > 0 && len(next) > 0 {
		last, first := r[len(r)-1], next[0]
		if size := len(last.bytes) + len(first.bytes); size <= listChunk {
			both := &userChunk{
				bytes: append(append(make([]byte, 0, size), last.bytes...), first.bytes...),
				users: append(make([]chunkUser, 0, len(last.users)+len(first.users)), last.users...),
			}
			for _, u := range first.users {
				u.end += uint32(len(last.bytes))
				both.users = append(both.users, u)
			}
			return append(append(slices.Clone(r[:len(r)-1]), both), next[1:]...)
		}
	}
	return append(slices.Clip(r), next...)
}

// ids adds the ids of a roll to a set.
func (r userRoll) ids(set map[uint32]bool) {
	for _, c := range r {
		for _, u := range c.users {
			set[u.id] = true
		}
	}
}
