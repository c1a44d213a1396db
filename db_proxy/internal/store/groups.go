package store

import (
	"context"
	"slices"

	"teamtalk/internal/im"
)

const groupColumns = "g.id, g.name, g.avatar, g.creator, g.type, g.version, g.updated, g.lastChated, g.status"

func scanGroup(r scanner) (g GroupInfo, err error) { return scanGroupAnd(r, &g) }

func scanGroupAnd(r scanner, g *GroupInfo, more ...any) (GroupInfo, error) {
	var status uint8
	err := r.Scan(append([]any{
		&g.ID, &g.Name, &g.Avatar, &g.Creator, &g.Type, &g.Version, &g.Updated, &g.LastChated, &status,
	}, more...)...)
	g.Deleted = status != 0
	return *g, err
}

// Groups returns groups with their members, ascending by id, deleted ones
// included; unknown ids are absent.
func (s *Store) Groups(ctx context.Context, ids []im.GroupID) ([]GroupInfo, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	var all []GroupInfo
	err := s.read(ctx, "groups", s.exact, func(q querier) (err error) {
		all, err = loadGroups(ctx, q, ids)
		return err
	})
	return all, err
}

func loadGroups(ctx context.Context, q querier, ids []im.GroupID) ([]GroupInfo, error) {
	type row struct {
		group im.GroupID
		Member
	}
	scan := func(r scanner) (m row, err error) {
		return m, r.Scan(&m.group, &m.User, &m.Joined, &m.Since.Time, &m.Since.After)
	}

	scanHead := func(r scanner) (g GroupInfo, err error) { return scanGroupAnd(r, &g, &g.Orphaned) }
	st := nums(q.stmt("SELECT "+groupColumns+", "+orphaned+" FROM IMGroup g WHERE g.id IN "), ids).add(" ORDER BY g.id")
	all, err := listStmt(ctx, q, scanHead, st)
	if err != nil {
		return nil, err
	}
	st = nums(q.stmt("SELECT groupId, userId, joined, "+sinceTime+", "+sinceID+
		" FROM IMGroupMember m WHERE status = 0 AND groupId IN "), ids)
	members, err := listStmt(ctx, q, scan, st.add(" ORDER BY groupId, userId"))
	if err != nil {
		return nil, err
	}
	at := make(map[im.GroupID]int, len(all))
	for i := range all {
		at[all[i].ID] = i
	}
	for _, m := range members {
		if i, ok := at[m.group]; ok {
			all[i].Members = append(all[i].Members, m.Member)
		}
	}
	return all, nil
}

// GroupsOf returns the groups a user is a member of, without their members,
// the latest joined or left first; deleted groups are not among them.
func (s *Store) GroupsOf(ctx context.Context, user im.UserID) (all []GroupInfo, err error) {
	err = s.read(ctx, "groups_of", s.exact, func(q querier) error {
		all, err = list(ctx, q, scanGroup, "SELECT "+groupColumns+` FROM IMGroupMember m
			JOIN IMGroup g ON g.id = m.groupId AND g.status = 0
			WHERE m.userId = ? AND m.status = 0 ORDER BY m.updated DESC, m.id DESC`, user)
		return err
	})
	return all, err
}

// CreateGroup makes a group and returns its id. Version is 1, and members
// joined now.
func (s *Store) CreateGroup(ctx context.Context, g NewGroup) (id im.GroupID, err error) {
	if g.Name == "" {
		return 0, im.Errorf(im.Invalid, "store: group without a name")
	}
	for what, v := range map[string]string{"group name": g.Name, "group avatar": g.Avatar} {
		if err := checkText(what, v, 256); err != nil {
			return 0, err
		}
	}
	members, created := distinct(g.Members), uint32(0)
	err = s.update(ctx, "create_group", func(q querier) error {
		if before, err := g.Attempt.made(ctx, q); err != nil || before != 0 {
			id = im.GroupID(before)
			return err
		}
		now := s.now()
		n, err := q.insert(ctx, `INSERT INTO IMGroup (name, avatar, creator, type, userCnt, status, version, updated, created)
			VALUES (?, ?, ?, ?, ?, 0, 1, ?, ?)`, g.Name, g.Avatar, g.Creator, g.Type, len(members), now, now)
		if err != nil {
			return err
		}
		id, created = im.GroupID(n), now
		if err := s.addMembers(ctx, q, id, 0, members); err != nil {
			return err
		}
		if err := g.Attempt.note(ctx, q, n); err != nil {
			return err
		}
		// Taken last: nobody can wait for the rows of a group that they do not
		// know, and thousands of members would keep everybody else from the log.
		if _, err := lockLog(ctx, q); err != nil {
			return err
		}
		return s.logChanges(ctx, q, GroupChanged, n)
	})
	if err != nil && id != 0 && IsTransient(err) && s.groupMade(ctx, id, g, created) {
		return id, nil // only the answer was lost
	}
	return id, err
}

// groupMade reports whether a group was made, whose commit was perhaps not
// answered.
func (s *Store) groupMade(ctx context.Context, id im.GroupID, g NewGroup, created uint32) bool {
	const same = "SELECT COUNT(*) FROM IMGroup WHERE id = ? AND name = ? AND creator = ? AND created = ?"
	var n uint64
	err := s.read(ctx, "group_made", s.exact, func(q querier) (err error) {
		n, err = number(ctx, q, same, id, g.Name, g.Creator, created)
		return err
	})
	return err == nil && n == 1
}

// distinct returns the real users of a list, ascending and each once.
func distinct(users []im.UserID) []im.UserID {
	users = slices.Compact(slices.Sorted(slices.Values(users)))
	if len(users) > 0 && users[0] == 0 {
		users = users[1:]
	}
	return users
}

// addMembers makes users members from now on, whether they were before or not:
// of what comes after the newest message.
func (s *Store) addMembers(
	ctx context.Context, q querier, group im.GroupID, newest im.MsgID, users []im.UserID,
) error {
	now := uint64(s.now())
	for part := range slices.Chunk(users, insertRows) {
		st := q.stmt("INSERT INTO IMGroupMember (groupId, userId, status, created, updated, joined, joinedId) VALUES ")
		for _, u := range part {
			st.row(uint64(group)).col(uint64(u)).col(0).col(now).col(now).col(now).col(uint64(newest)).end()
		}
		st.add(" ON DUPLICATE KEY UPDATE status = 0, updated = VALUES(updated), joined = VALUES(joined)," +
			" joinedId = VALUES(joinedId)")
		if err := q.run(ctx, st); err != nil {
			return err
		}
	}
	return nil
}

// ChangeMembers adds and removes members of a group in one transaction, which
// takes as long as there are users in the lists and no longer for a larger
// group. Users who are members already, and ones to remove who are not, do not
// count; who stands in both lists is removed. changed are those who really
// came or went, ascending. Only if there are any does the version rise.
//
// Those who come have nothing unread; from the recent lists of those who go
// the group disappears, and a creator who goes is succeeded. im.NotFound: the
// group does not exist or is deleted.
func (s *Store) ChangeMembers(
	ctx context.Context, group im.GroupID, add, remove []im.UserID,
) (changed []im.UserID, err error) {
	err = s.update(ctx, "change_members", func(q querier) error {
		changed = nil
		if _, err := lockLog(ctx, q); err != nil {
			return err
		}
		found, err := number(ctx, q, "SELECT id FROM IMGroup WHERE id = ? AND status = 0 /*! FOR UPDATE */", group)
		if err == nil && found == 0 {
			err = im.Errorf(im.NotFound, "no group %d", group)
		}
		if err != nil {
			return err
		}
		members, err := membersAmong(ctx, q, group, distinct(slices.Concat(add, remove)))
		if err != nil {
			return err
		}
		come, gone := realChanges(members, add, remove)
		if changed = distinct(slices.Concat(come, gone)); len(changed) == 0 {
			return nil
		}
		newest, err := newestID(ctx, q, ConvRef{Conv: im.GroupOf(group)})
		if err != nil {
			return err
		}
		if err := s.join(ctx, q, group, newest, come); err != nil {
			return err
		}
		if err := s.leave(ctx, q, group, newest, gone); err != nil {
			return err
		}
		if _, err := q.exec(ctx, `UPDATE IMGroup SET version = version + 1, updated = ?,
			userCnt = (SELECT COUNT(*) FROM IMGroupMember WHERE groupId = ? AND status = 0) WHERE id = ?`,
			s.now(), group, group); err != nil {
			return err
		}
		return s.logChanges(ctx, q, GroupChanged, uint32(group))
	})
	if err != nil {
		return nil, err
	}
	return changed, nil
}

// membersAmong returns those of the users who are members.
func membersAmong(ctx context.Context, q querier, group im.GroupID, users []im.UserID) ([]im.UserID, error) {
	if len(users) == 0 {
		return nil, nil
	}
	scan := func(r scanner) (u im.UserID, err error) { return u, r.Scan(&u) }
	st := q.stmt("SELECT userId FROM IMGroupMember WHERE status = 0 AND groupId = ").num(uint64(group)).
		add(" AND userId IN ")
	return listStmt(ctx, q, scan, nums(st, users))
}

// realChanges returns who of the wanted users really comes and goes.
func realChanges(members, add, remove []im.UserID) (come, leave []im.UserID) {
	is := make(map[im.UserID]bool, len(members))
	for _, m := range members {
		is[m] = true
	}
	remove = distinct(remove)
	come = slices.DeleteFunc(distinct(add), func(u im.UserID) bool {
		_, gone := slices.BinarySearch(remove, u)
		return is[u] || gone
	})
	return come, slices.DeleteFunc(remove, func(u im.UserID) bool { return !is[u] })
}

func (s *Store) join(ctx context.Context, q querier, group im.GroupID, newest im.MsgID, users []im.UserID) error {
	if len(users) == 0 {
		return nil
	}
	if err := s.keepPlaces(ctx, q, group, users); err != nil {
		return err
	}
	if err := s.addMembers(ctx, q, group, newest, users); err != nil {
		return err
	}
	return s.readUpto(ctx, q, im.GroupOf(group), newest, users...)
}

func (s *Store) leave(ctx context.Context, q querier, group im.GroupID, newest im.MsgID, users []im.UserID) error {
	if len(users) == 0 {
		return nil
	}
	now := uint64(s.now())
	for _, st := range []*stmt{
		q.stmt("UPDATE IMGroupMember SET status = 1, updated = ").num(now).
			add(" WHERE groupId = ").num(uint64(group)).add(" AND userId IN "),
		q.stmt("UPDATE IMRecentSession SET status = 1, removedId = ").num(uint64(newest)).add(", updated = ").num(now).
			add(" WHERE type = 2 AND peerId = ").num(uint64(group)).add(" AND userId IN "),
	} {
		if err := q.run(ctx, nums(st, users)); err != nil {
			return err
		}
	}
	if err := s.succeed(ctx, q, []im.GroupID{group}); err != nil {
		return err
	}
	ids := make([]uint32, len(users))
	for i, u := range users {
		ids[i] = uint32(u)
	}
	return s.logChanges(ctx, q, SessionRemoved, ids...)
}
