package store

import (
	"context"

	"teamtalk/internal/im"
)

// ActiveMark tells one set of active accounts from another, but for sets that
// have their number and their sum in common.
type ActiveMark struct{ Count, Sum uint64 }

// ActiveMark returns the mark of the accounts that may log in.
func (s *Store) ActiveMark(ctx context.Context) (mark ActiveMark, err error) {
	scan := func(r scanner) (m ActiveMark, err error) { return m, r.Scan(&m.Count, &m.Sum) }
	err = s.read(ctx, "active_mark", s.exact, func(q querier) error {
		all, err := list(ctx, q, scan, "SELECT COUNT(*), COALESCE(SUM(id), 0) FROM IMUser WHERE status = 0")
		if err == nil && len(all) > 0 {
			mark = all[0]
		}
		return err
	})
	return mark, err
}

// ActiveUsers returns the accounts that may log in, ascending.
func (s *Store) ActiveUsers(ctx context.Context) (all []im.UserID, err error) {
	scan := func(r scanner) (u im.UserID, err error) { return u, r.Scan(&u) }
	err = s.read(ctx, "active_users", s.exact, func(q querier) error {
		all, err = list(ctx, q, scan, "SELECT id FROM IMUser WHERE status = 0 ORDER BY id")
		return err
	})
	return all, err
}
