package store

import (
	"cmp"
	"slices"

	"teamtalk/internal/im"
)

// family is one of the two families of message tables. They have the same
// shape; these are the words in which they differ.
type family struct {
	kind   im.Kind
	table  string // followed by the shard
	key    string // column of the relation or group
	sender string
	to     string // column of the receiver, or a constant
	owner  string // table whose id the key is
	types  string // the message types that clients understand
}

var (
	singles = family{im.Single, "IMMessage_", "relateId", "fromId", "toId", "IMRelationShip", "(1,2)"}
	groups  = family{im.Group, "IMGroupMessage_", "groupId", "userId", "0", "IMGroup", "(17,18)"}
)

func familyOf(k im.Kind) *family {
	if k == im.Group {
		return &groups
	}
	return &singles
}

// key is the value of the family's key column: a relation or a group.
func (r ConvRef) key() uint32 {
	if r.Conv.Kind == im.Group {
		return uint32(r.Conv.Group)
	}
	return uint32(r.Relation)
}

// arm is the part of a statement that concerns one message table.
type arm[T any] struct {
	*family
	shard uint32
	of    []T
}

// byTable sorts items by message table, in the order in which every
// transaction touches the tables: singles before groups, rising shards, and
// inside a table rising keys. Items without a key, which no table can hold,
// are left out. An arm has at most size items.
func byTable[T any](items []T, size int, ref func(T) ConvRef) []arm[T] {
	sorted := make([]T, 0, len(items))
	for _, it := range items {
		if ref(it).key() != 0 {
			sorted = append(sorted, it)
		}
	}
	slices.SortStableFunc(sorted, func(a, b T) int {
		x, y := ref(a), ref(b)
		return cmp.Or(
			cmp.Compare(x.Conv.Kind, y.Conv.Kind),
			cmp.Compare(x.key()%im.Shards, y.key()%im.Shards),
			cmp.Compare(x.key(), y.key()))
	})
	var arms []arm[T]
	for _, it := range sorted {
		r := ref(it)
		f, shard := familyOf(r.Conv.Kind), r.key()%im.Shards
		if n := len(arms); n == 0 || arms[n-1].family != f || arms[n-1].shard != shard || len(arms[n-1].of) == size {
			arms = append(arms, arm[T]{family: f, shard: shard})
		}
		a := &arms[len(arms)-1]
		a.of = append(a.of, it)
	}
	return arms
}

// self lets a ConvRef be its own reference in byTable.
func self(r ConvRef) ConvRef { return r }

// union builds one statement of all arms, joined by UNION ALL.
func union[T any](q querier, arms []arm[T], build func(s *stmt, a arm[T])) *stmt {
	s := q.stmt("")
	for i, a := range arms {
		if i > 0 {
			s.add("\nUNION ALL\n")
		}
		build(s, a)
	}
	return s
}

// keyed names a conversation the way a row of a UNION ALL does.
type keyed struct {
	kind im.Kind
	key  uint32
}

// index maps rows back to the conversations that were asked for.
func index(refs []ConvRef) map[keyed]im.Conversation {
	m := make(map[keyed]im.Conversation, len(refs))
	for _, r := range refs {
		m[keyed{r.Conv.Kind, r.key()}] = r.Conv
	}
	return m
}
