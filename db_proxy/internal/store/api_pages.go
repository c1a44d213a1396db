package store

import (
	"context"

	"teamtalk/internal/im"
)

// UsersAfter returns at most limit accounts of any status above an id,
// ascending.
func (s *Store) UsersAfter(ctx context.Context, after im.UserID, limit int) (all []User, err error) {
	err = s.read(ctx, "users_after", s.exact, func(q querier) error {
		all, err = list(ctx, q, scanUser, "SELECT "+userColumns+" FROM IMUser WHERE id > ? ORDER BY id LIMIT ?", after, limit)
		return err
	})
	return all, err
}

// UserChange says what of an account to change; nil stays as it is.
type UserChange struct {
	Nick        *string // at most 32 characters
	Status      *uint8
	Credentials *Credentials
}

// ChangeUser changes an account, all of it or nothing; im.NotFound if there
// is none.
func (s *Store) ChangeUser(ctx context.Context, user im.UserID, c UserChange) error {
	if c.Nick != nil {
		if err := checkText("nick", *c.Nick, 32); err != nil {
			return err
		}
	}
	return s.update(ctx, "change_user", func(q querier) error {
		t, err := s.userTime(ctx, q)
		if err != nil {
			return err
		}
		st := q.stmt("UPDATE IMUser SET updated = ").num(uint64(t))
		if c.Nick != nil {
			st.add(", nick = ?", *c.Nick)
		}
		if c.Status != nil {
			st.add(", status = ").num(uint64(*c.Status))
		}
		if c.Credentials != nil {
			st.add(", password = ?, salt = ?, password_hash = ?", c.Credentials.Legacy, c.Credentials.Salt, c.Credentials.Hash)
		}
		found, err := number(ctx, q, "SELECT COUNT(*) FROM IMUser WHERE id = ?", user)
		if err == nil && found == 0 {
			err = im.Errorf(im.NotFound, "no such user")
		}
		if err != nil {
			return err
		}
		if err := q.run(ctx, st.add(" WHERE id = ").num(uint64(user))); err != nil {
			return err
		}
		return s.logChanges(ctx, q, UserChanged, uint32(user))
	})
}

// GroupsAfter returns at most limit groups above an id, ascending, without
// members and without deleted ones.
func (s *Store) GroupsAfter(ctx context.Context, after im.GroupID, limit int) (all []GroupInfo, err error) {
	err = s.read(ctx, "groups_after", s.exact, func(q querier) error {
		all, err = list(ctx, q, scanGroup, "SELECT "+groupColumns+
			" FROM IMGroup g WHERE g.id > ? AND g.status = 0 ORDER BY g.id LIMIT ?", after, limit)
		return err
	})
	return all, err
}

// MemberCounts returns how many members each group has; a group without any
// is absent.
func (s *Store) MemberCounts(ctx context.Context, groups []im.GroupID) (map[im.GroupID]uint32, error) {
	type row struct {
		group im.GroupID
		count uint32
	}
	scan := func(r scanner) (v row, err error) { return v, r.Scan(&v.group, &v.count) }
	counts := make(map[im.GroupID]uint32, len(groups))
	if len(groups) == 0 {
		return counts, nil
	}
	err := s.read(ctx, "member_counts", s.exact, func(q querier) error {
		st := nums(q.stmt("SELECT groupId, COUNT(*) FROM IMGroupMember WHERE status = 0 AND groupId IN "), groups)
		rows, err := listStmt(ctx, q, scan, st.add(" GROUP BY groupId"))
		for _, r := range rows {
			counts[r.group] = r.count
		}
		return err
	})
	return counts, err
}
