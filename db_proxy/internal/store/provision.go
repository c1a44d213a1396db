package store

import (
	"context"

	"teamtalk/internal/im"
)

// GroupByName returns the oldest group of that name that is not deleted;
// im.NotFound if there is none.
func (s *Store) GroupByName(ctx context.Context, name string) (im.GroupID, error) {
	var id uint64
	err := s.read(ctx, "group_by_name", s.exact, func(q querier) (err error) {
		id, err = number(ctx, q, "SELECT id FROM IMGroup WHERE name = ? AND status = 0 ORDER BY id LIMIT 1", name)
		return err
	})
	if err == nil && id == 0 {
		err = im.Errorf(im.NotFound, "no group of that name")
	}
	return im.GroupID(id), err
}

// EnsureDepartment returns the department of that name and makes it if there
// is none.
func (s *Store) EnsureDepartment(ctx context.Context, name string) (id uint32, err error) {
	if err := checkText("department name", name, 64); err != nil {
		return 0, err
	}
	err = s.update(ctx, "ensure_department", func(q querier) error {
		if _, err := lockLog(ctx, q); err != nil {
			return err
		}
		found, err := number(ctx, q, "SELECT id FROM IMDepart WHERE departName = ? AND status = 0 ORDER BY id LIMIT 1", name)
		if err != nil || found != 0 {
			id = uint32(found)
			return err
		}
		now := s.now()
		id, err = q.insert(ctx, `INSERT INTO IMDepart (departName, priority, parentId, status, created, updated)
			VALUES (?, 0, 0, 0, ?, ?)`, name, now, now)
		return err
	})
	return id, err
}
