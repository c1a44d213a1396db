package store

import (
	"context"

	"teamtalk/internal/im"
)

// A temporary group is governed by its creator alone. When they are gone, the
// active member who has been one for longest takes their place. Normal groups
// are governed by back ends.
const (
	// orphaned reports whether the creator of group g is gone: their account
	// is closed or deleted, or they were a member and left. A creator who never
	// was a member governs from outside.
	orphaned = `(g.type = 2 AND g.status = 0 AND g.creator <> 0 AND (
		NOT EXISTS (SELECT 1 FROM IMUser u WHERE u.id = g.creator AND u.status = 0)
		OR EXISTS (SELECT 1 FROM IMGroupMember c WHERE c.groupId = g.id AND c.userId = g.creator AND c.status <> 0)))`
	successors = ` FROM IMGroupMember m JOIN IMUser u ON u.id = m.userId AND u.status = 0
		WHERE m.groupId = g.id AND m.status = 0`
)

// Standing is what a user is in a group.
type Standing struct {
	Type     uint8 // 1 normal, 2 temporary
	Creator  im.UserID
	Orphaned bool // as in GroupInfo
	Member   bool
}

// Standing returns what a user is in a group; im.NotFound if the group does
// not exist or is deleted.
func (s *Store) Standing(ctx context.Context, group im.GroupID, user im.UserID) (Standing, error) {
	scan := func(r scanner) (v Standing, err error) { return v, r.Scan(&v.Type, &v.Creator, &v.Orphaned, &v.Member) }
	var found []Standing
	err := s.read(ctx, "standing", s.exact, func(q querier) (err error) {
		found, err = list(ctx, q, scan, "SELECT g.type, g.creator, "+orphaned+`,
			EXISTS (SELECT 1 FROM IMGroupMember m WHERE m.groupId = g.id AND m.userId = ? AND m.status = 0)
			FROM IMGroup g WHERE g.id = ? AND g.status = 0`, user, group)
		return err
	})
	switch {
	case err != nil:
		return Standing{}, err
	case len(found) == 0:
		return Standing{}, im.Errorf(im.NotFound, "no group %d", group)
	}
	return found[0], nil
}

// Succeed gives groups that are orphaned a creator, as far as they have an
// active member; the version of these rises. Others stay as they are.
func (s *Store) Succeed(ctx context.Context, groups []im.GroupID) error {
	if len(groups) == 0 {
		return nil
	}
	return s.update(ctx, "succeed", func(q querier) error {
		if _, err := lockLog(ctx, q); err != nil {
			return err
		}
		if err := s.succeed(ctx, q, groups); err != nil {
			return err
		}
		ids := make([]uint32, len(groups))
		for i, g := range groups {
			ids[i] = uint32(g)
		}
		return s.logChanges(ctx, q, GroupChanged, ids...)
	})
}

func (s *Store) succeed(ctx context.Context, q querier, groups []im.GroupID) error {
	st := q.stmt("UPDATE IMGroup AS g SET version = version + 1, updated = ").num(uint64(s.now())).
		add(", creator = (SELECT m.userId" + successors +
			" ORDER BY COALESCE(NULLIF(m.joined, 0), m.created), m.id LIMIT 1) WHERE " +
			orphaned + " AND EXISTS (SELECT 1" + successors + ") AND id IN ")
	return q.run(ctx, nums(st, groups))
}
