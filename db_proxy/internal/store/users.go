package store

import (
	"context"
	"slices"
	"unicode/utf8"

	"teamtalk/internal/im"
)

const userColumns = "id, name, nick, domain, sex, phone, email, COALESCE(avatar, ''), " +
	"departId, status, sign_info, updated"

func (u *User) dest() []any {
	return []any{
		&u.ID, &u.Name, &u.Nick, &u.Domain, &u.Sex, &u.Phone, &u.Email, &u.Avatar,
		&u.Department, &u.Status, &u.SignInfo, &u.Updated,
	}
}

func scanUser(r scanner) (u User, err error) { return u, r.Scan(u.dest()...) }

// UserByName returns the account that logs in with a name, compared byte by
// byte, and what its password is checked against. im.NotFound when there is
// none or it may not log in.
func (s *Store) UserByName(ctx context.Context, name string) (User, Credentials, error) {
	type row struct {
		User
		Credentials
	}
	scan := func(r scanner) (v row, err error) {
		return v, r.Scan(append(v.dest(), &v.Legacy, &v.Salt, &v.Hash)...)
	}
	var rows []row
	err := s.read(ctx, "user_by_name", s.exact, func(q querier) (err error) {
		rows, err = list(ctx, q, scan, "SELECT "+userColumns+", password, salt, password_hash FROM IMUser"+
			" WHERE name = ? AND status = 0", name)
		return err
	})
	switch {
	case err != nil:
		return User{}, Credentials{}, err
	case len(rows) == 0 || rows[0].Name != name: // MySQL ignores blanks at the end
		return User{}, Credentials{}, im.Errorf(im.NotFound, "no such user")
	}
	return rows[0].User, rows[0].Credentials, nil
}

// maxIDs is how many ids one statement looks up at most.
const maxIDs = 5000

// Users returns accounts of any status, ascending by id; unknown ids are
// absent.
func (s *Store) Users(ctx context.Context, ids []im.UserID) ([]User, error) {
	ids = slices.Compact(slices.Sorted(slices.Values(ids)))
	var all []User
	err := s.read(ctx, "users", s.exact, func(q querier) error {
		all = all[:0]
		for part := range slices.Chunk(ids, maxIDs) {
			st := nums(q.stmt("SELECT "+userColumns+" FROM IMUser WHERE id IN "), part).add(" ORDER BY id")
			some, err := listStmt(ctx, q, scanUser, st)
			if err != nil {
				return err
			}
			all = append(all, some...)
		}
		return nil
	})
	return all, err
}

// ExistingUsers returns those of the users who have an account, of any status,
// ascending and each once.
func (s *Store) ExistingUsers(ctx context.Context, ids []im.UserID) (all []im.UserID, err error) {
	scan := func(r scanner) (u im.UserID, err error) { return u, r.Scan(&u) }
	ids = distinct(ids)
	err = s.read(ctx, "existing_users", s.exact, func(q querier) error {
		all = all[:0]
		for part := range slices.Chunk(ids, maxIDs) {
			some, err := listStmt(ctx, q, scan, nums(q.stmt("SELECT id FROM IMUser WHERE id IN "), part).add(" ORDER BY id"))
			if err != nil {
				return err
			}
			all = append(all, some...)
		}
		return nil
	})
	return all, err
}

// UsersSince returns what a client that was up to date at t must learn: for
// t = 0 everybody but those who left, else everybody changed at t or later,
// leavers included. latest is the newest change among them, t when there is
// none. Source: docs/protocol/flows.md §11.
func (s *Store) UsersSince(ctx context.Context, t uint32) (all []User, latest uint32, err error) {
	where, arg := "updated >= ?", t
	if t == 0 {
		where, arg = "status <> ?", 3
	}
	err = s.read(ctx, "users_since", s.exact, func(q querier) error {
		all, err = list(ctx, q, scanUser, "SELECT "+userColumns+" FROM IMUser WHERE "+where+" ORDER BY id", arg)
		return err
	})
	latest = t
	for i := range all {
		latest = max(latest, all[i].Updated)
	}
	return all, latest, err
}

// UsersPage returns at most limit users above an id who have not left,
// ascending.
func (s *Store) UsersPage(ctx context.Context, after im.UserID, limit int) (all []User, err error) {
	err = s.read(ctx, "users_page", s.exact, func(q querier) error {
		all, err = list(ctx, q, scanUser, "SELECT "+userColumns+
			" FROM IMUser WHERE id > ? AND status <> 3 ORDER BY id LIMIT ?", after, limit)
		return err
	})
	return all, err
}

// UsersChanged returns at most limit users, of any status, that changed after
// since, or at since and with an id above after; ascending by the time of the
// change, then by id.
func (s *Store) UsersChanged(ctx context.Context, since uint32, after im.UserID, limit int) (all []User, err error) {
	err = s.read(ctx, "users_changed", s.exact, func(q querier) error {
		all, err = list(ctx, q, scanUser, "SELECT "+userColumns+" FROM IMUser"+
			" WHERE updated >= ? AND (updated > ? OR id > ?) ORDER BY updated, id LIMIT ?", since, since, after, limit)
		return err
	})
	return all, err
}

// LatestUserUpdate returns when the newest change of an account was, 0 when
// there are none.
func (s *Store) LatestUserUpdate(ctx context.Context) (t uint32, err error) {
	err = s.read(ctx, "latest_user_update", s.exact, func(q querier) error {
		n, err := number(ctx, q, "SELECT COALESCE(MAX(updated), 0) FROM IMUser")
		t = uint32(n)
		return err
	})
	return t, err
}

// DepartmentsSince returns the departments changed after t, deleted ones
// included.
func (s *Store) DepartmentsSince(ctx context.Context, t uint32) (all []Department, err error) {
	scan := func(r scanner) (d Department, err error) {
		return d, r.Scan(&d.ID, &d.Name, &d.Priority, &d.Parent, &d.Status, &d.Updated)
	}
	err = s.read(ctx, "departments_since", s.exact, func(q querier) error {
		all, err = list(ctx, q, scan, "SELECT id, departName, priority, parentId, status, updated FROM IMDepart"+
			" WHERE updated > ? AND status IN (0, 1) ORDER BY id", t)
		return err
	})
	return all, err
}

// SetPasswordHash stores the argon2id hash of the password that the user just
// proved to know, and blanks the legacy columns if told to. It replaces the
// credentials was and no others: im.NotFound if somebody set another password
// meanwhile, or there is no such user. Nothing that others see changes, so
// IMUser.updated stays.
func (s *Store) SetPasswordHash(
	ctx context.Context, user im.UserID, was Credentials, hash string, blankLegacy bool,
) error {
	return s.update(ctx, "set_password_hash", func(q querier) error {
		text := "UPDATE IMUser SET password_hash = ?"
		if blankLegacy {
			text = "UPDATE IMUser SET password = '', salt = '', password_hash = ?"
		}
		n, err := q.exec(ctx, text+" WHERE id = ? AND password = ? AND salt = ? AND password_hash = ?",
			hash, user, was.Legacy, was.Salt, was.Hash)
		if err == nil && n == 0 {
			err = im.Errorf(im.NotFound, "no such user with these credentials")
		}
		return err
	})
}

// SetSignInfo sets a user's signature, at most 128 characters.
func (s *Store) SetSignInfo(ctx context.Context, user im.UserID, text string) error {
	if err := checkText("signature", text, 128); err != nil {
		return err
	}
	return s.setUser(ctx, user, "UPDATE IMUser SET sign_info = ?, updated = ? WHERE id = ?", text)
}

// SetAvatar sets a user's avatar, a relative path or URL of at most 255
// characters.
func (s *Store) SetAvatar(ctx context.Context, user im.UserID, avatar string) error {
	if err := checkText("avatar", avatar, 255); err != nil {
		return err
	}
	return s.setUser(ctx, user, "UPDATE IMUser SET avatar = ?, updated = ? WHERE id = ?", avatar)
}

// SetPushShield switches night mode: no push between 22 and 8 o'clock.
func (s *Store) SetPushShield(ctx context.Context, user im.UserID, on bool) error {
	return s.setUser(ctx, user, "UPDATE IMUser SET push_shield_status = ?, updated = ? WHERE id = ?", flag(on))
}

// PushShield reports whether a user has night mode on.
func (s *Store) PushShield(ctx context.Context, user im.UserID) (bool, error) {
	on, err := s.PushShields(ctx, []im.UserID{user})
	if err != nil {
		return false, err
	}
	v, ok := on[user]
	if !ok {
		return false, im.Errorf(im.NotFound, "no such user")
	}
	return v, nil
}

// PushShields reports for each user that exists whether he has night mode on.
func (s *Store) PushShields(ctx context.Context, users []im.UserID) (map[im.UserID]bool, error) {
	type row struct {
		id im.UserID
		on uint8
	}
	scan := func(r scanner) (v row, err error) { return v, r.Scan(&v.id, &v.on) }
	on := make(map[im.UserID]bool, len(users))
	if len(users) == 0 {
		return on, nil
	}
	err := s.read(ctx, "push_shields", s.exact, func(q querier) error {
		rows, err := listStmt(ctx, q, scan, nums(q.stmt("SELECT id, push_shield_status FROM IMUser WHERE id IN "), users))
		for _, r := range rows {
			on[r.id] = r.on != 0
		}
		return err
	})
	return on, err
}

// setUser changes one column of an account; text has placeholders for the
// value, the time and the id.
func (s *Store) setUser(ctx context.Context, user im.UserID, text string, value any) error {
	return s.update(ctx, "set_user", func(q querier) error {
		t, err := s.userTime(ctx, q)
		if err != nil {
			return err
		}
		n, err := q.exec(ctx, text, value, t, user)
		if err == nil && n == 0 {
			err = im.Errorf(im.NotFound, "no such user")
		}
		if err != nil {
			return err
		}
		return s.logChanges(ctx, q, UserChanged, uint32(user))
	})
}

func flag(on bool) uint8 {
	if on {
		return 1
	}
	return 0
}

// checkText refuses what no column would take.
func checkText(what, v string, limit int) error {
	if !utf8.ValidString(v) || utf8.RuneCountInString(v) > limit {
		return im.Errorf(im.Invalid, "store: %s is not UTF-8 or has more than %d characters", what, limit)
	}
	return nil
}
