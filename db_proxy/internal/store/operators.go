package store

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"teamtalk/internal/im"
)

// CreateUsers makes accounts and returns one answer per NewUser, in order. An
// existing name is reported and left alone, also when it stands twice in list.
func (s *Store) CreateUsers(ctx context.Context, list []NewUser) ([]CreatedUser, error) {
	names := make([]string, len(list))
	for i, u := range list {
		if err := u.check(); err != nil {
			return nil, err
		}
		names[i] = u.Name
	}
	var made []CreatedUser
	err := s.update(ctx, "create_users", func(q querier) (err error) {
		made, err = s.createUsers(ctx, q, list, names)
		return err
	})
	return made, err
}

// CreateUserOnce is CreateUsers for one account, which is made by one attempt
// of a request only: a later one finds it. im.Busy: another attempt has taken
// over.
func (s *Store) CreateUserOnce(ctx context.Context, a Attempt, u NewUser) (made CreatedUser, err error) {
	if err := u.check(); err != nil {
		return made, err
	}
	err = s.update(ctx, "create_user_once", func(q querier) error {
		id, err := a.made(ctx, q)
		if err != nil || id != 0 {
			made = CreatedUser{ID: im.UserID(id)}
			return err
		}
		all, err := s.createUsers(ctx, q, []NewUser{u}, []string{u.Name})
		if err != nil {
			return err
		}
		if made = all[0]; made.Existed {
			return nil
		}
		return a.note(ctx, q, uint32(made.ID))
	})
	return made, err
}

func (s *Store) createUsers(ctx context.Context, q querier, list []NewUser, names []string) ([]CreatedUser, error) {
	t, err := s.userTime(ctx, q) // from here on nobody else makes accounts
	if err != nil {
		return nil, err
	}
	before, err := idsByName(ctx, q, names)
	if err != nil {
		return nil, err
	}
	fresh := missing(list, before)
	for part := range slices.Chunk(fresh, insertRows) {
		if err := s.insertUsers(ctx, q, part, t); err != nil {
			return nil, err
		}
	}
	after, err := idsByName(ctx, q, names)
	if err != nil {
		return nil, err
	}
	made := make([]CreatedUser, len(list))
	var changed []uint32
	for i, u := range list {
		id := after[u.Name]
		_, existed := before[u.Name]
		made[i] = CreatedUser{ID: id, Existed: existed}
		if !existed {
			before[u.Name] = id
			changed = append(changed, uint32(id))
		}
	}
	return made, s.logChanges(ctx, q, UserChanged, changed...)
}

// check refuses names that MySQL would take for another one's: it ignores
// blanks at the end when it compares.
func (u NewUser) check() error {
	if u.Name == "" || u.Name != strings.TrimSpace(u.Name) {
		return im.Errorf(im.Invalid, "store: user name %q is empty or begins or ends with a blank", u.Name)
	}
	if err := checkText("user name", u.Name, 32); err != nil {
		return err
	}
	return checkText("nick", u.Nick, 32)
}

// missing returns the users whose names are not in known, each name once.
func missing(list []NewUser, known map[string]im.UserID) []NewUser {
	var out []NewUser
	seen := make(map[string]bool, len(list))
	for _, u := range list {
		if _, ok := known[u.Name]; !ok && !seen[u.Name] {
			seen[u.Name] = true
			out = append(out, u)
		}
	}
	return out
}

func (s *Store) insertUsers(ctx context.Context, q querier, users []NewUser, t uint32) error {
	st := q.stmt("INSERT INTO IMUser (departId, created, updated, name, nick, password, salt, password_hash) VALUES ")
	now := uint64(s.now())
	for _, u := range users {
		st.row(uint64(u.Department)).col(now).col(uint64(t))
		for _, v := range []string{u.Name, u.Nick, u.Legacy, u.Salt, u.Hash} {
			st.text = append(st.text, ',')
			st.str(v)
		}
		st.end()
	}
	return q.run(ctx, st)
}

func idsByName(ctx context.Context, q querier, names []string) (map[string]im.UserID, error) {
	users, err := usersByName(ctx, q, names)
	ids := make(map[string]im.UserID, len(users))
	for _, u := range users {
		ids[u.Name] = u.ID
	}
	return ids, err
}

func usersByName(ctx context.Context, q querier, names []string) ([]User, error) {
	var all []User
	for part := range slices.Chunk(names, maxIDs) {
		st := q.stmt("SELECT " + userColumns + " FROM IMUser WHERE name IN (")
		for i, n := range part {
			if i > 0 {
				st.add(",")
			}
			st.str(n)
		}
		some, err := listStmt(ctx, q, scanUser, st.add(")"))
		if err != nil {
			return nil, err
		}
		all = append(all, some...)
	}
	return all, nil
}

// FindUsers returns the accounts of names, of any status, ascending by id;
// unknown names are absent.
func (s *Store) FindUsers(ctx context.Context, names []string) ([]User, error) {
	var all []User
	err := s.read(ctx, "find_users", s.exact, func(q querier) (err error) {
		all, err = usersByName(ctx, q, names)
		return err
	})
	asked := make(map[string]bool, len(names))
	for _, n := range names {
		asked[n] = true
	}
	all = slices.DeleteFunc(all, func(u User) bool { return !asked[u.Name] })
	slices.SortFunc(all, func(a, b User) int { return cmp.Compare(a.ID, b.ID) })
	return slices.CompactFunc(all, func(a, b User) bool { return a.ID == b.ID }), err
}

// ListUsers returns every account, ascending by id.
func (s *Store) ListUsers(ctx context.Context) (all []User, err error) {
	err = s.read(ctx, "list_users", s.exact, func(q querier) error {
		all, err = list(ctx, q, scanUser, "SELECT "+userColumns+" FROM IMUser ORDER BY id")
		return err
	})
	return all, err
}

// SetUserStatus sets the status of an account; only 0 may log in.
func (s *Store) SetUserStatus(ctx context.Context, name string, status uint8) error {
	return s.setNamed(ctx, name, func(q querier, id im.UserID, t uint32) error {
		_, err := q.exec(ctx, "UPDATE IMUser SET status = ?, updated = ? WHERE id = ?", status, t, id)
		return err
	})
}

// SetUserPassword replaces everything that a password is checked against.
func (s *Store) SetUserPassword(ctx context.Context, name string, c Credentials) error {
	return s.setNamed(ctx, name, func(q querier, id im.UserID, t uint32) error {
		_, err := q.exec(ctx, "UPDATE IMUser SET password = ?, salt = ?, password_hash = ?, updated = ? WHERE id = ?",
			c.Legacy, c.Salt, c.Hash, t, id)
		return err
	})
}

func (s *Store) setNamed(ctx context.Context, name string, set func(q querier, id im.UserID, t uint32) error) error {
	return s.update(ctx, "set_user_by_name", func(q querier) error {
		t, err := s.userTime(ctx, q)
		if err != nil {
			return err
		}
		ids, err := idsByName(ctx, q, []string{name})
		if err != nil {
			return err
		}
		id, ok := ids[name]
		if !ok {
			return im.Errorf(im.NotFound, "no user %q", name)
		}
		if err := set(q, id, t); err != nil {
			return err
		}
		return s.logChanges(ctx, q, UserChanged, uint32(id))
	})
}
