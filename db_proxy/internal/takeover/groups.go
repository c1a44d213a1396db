package takeover

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// groupsPerChunk is how many groups one transaction deals with.
const groupsPerChunk = 200

// memberRow is a row of IMGroupMember of the original.
type memberRow struct {
	group, user      uint32
	status           uint8
	created, updated uint32
}

// membership is a row of ours.
type membership struct {
	memberRow
	joined uint32
}

// groupPlan is what becomes of one group.
type groupPlan struct {
	id      uint32
	deleted bool
	members []membership // also those who left
	muted   []uint32     // users
}

// planGroups decides about a range of groups. Redis says which of them live
// and who is in them; a group that Redis does not know keeps its members of
// SQL, because a Redis that lost its data knows none.
// Source: docs/protocol/storage.md §5; docs/protocol/defects.md B14 and B16.
func (t *Takeover) planGroups(ctx context.Context, c chunk) ([]groupPlan, []Finding, error) {
	type row struct {
		id     uint32
		status uint8
	}
	groups, err := rows(ctx, t.db, func(r scanner) (v row, err error) { return v, r.Scan(&v.id, &v.status) },
		"SELECT id, status FROM "+t.source("IMGroup")+" WHERE id > ? AND id <= ? ORDER BY id", c.after, c.last)
	if err != nil {
		return nil, nil, err
	}
	members, err := rows(ctx, t.db, func(r scanner) (m memberRow, err error) {
		return m, r.Scan(&m.group, &m.user, &m.status, &m.created, &m.updated)
	}, "SELECT groupId, userId, status, created, updated FROM "+t.source("IMGroupMember")+
		" WHERE groupId > ? AND groupId <= ? ORDER BY groupId, userId, status DESC, updated, id", c.after, c.last)
	if err != nil {
		return nil, nil, err
	}
	ids := make([]uint32, len(groups))
	for i, g := range groups {
		ids[i] = g.id
	}
	joined, err := hashes(ctx, t.redis.groupMember, named("group_member_%d", ids))
	if err != nil {
		return nil, nil, err
	}
	shields, err := hashes(ctx, t.redis.groupSet, named("group_set_%d", ids))
	if err != nil {
		return nil, nil, err
	}
	accounts, err := t.accounts(ctx)
	if err != nil {
		return nil, nil, err
	}
	plans := make([]groupPlan, len(groups))
	var found []Finding
	for i, g := range groups {
		start, _ := slices.BinarySearchFunc(members, g.id, func(m memberRow, id uint32) int {
			return cmp.Compare(m.group,
				id)
		})
		end, _ := slices.BinarySearchFunc(members, g.id+1, func(m memberRow, id uint32) int {
			return cmp.Compare(m.group,
				id)
		})
		var f []Finding
		plans[i], f = planGroup(g.id, g.status, members[start:end], joined[i], accounts)
		plans[i].muted = mutedBy(shields[i])
		found = append(found, f...)
	}
	return plans, found, nil
}

// planGroup decides about one group. listed, the rows of SQL, is sorted so that of several rows of
// a user the one that counts is the last; redis
// are the join times by user.
func planGroup(
	id uint32, status uint8, listed []memberRow, redis map[string]string, accounts []uint32,
) (groupPlan, []Finding) {
	g := groupPlan{id: id}
	subject := fmt.Sprintf("group %d", id)
	var found []Finding
	tell := func(kind Kind, format string, args ...any) {
		found = append(found, Finding{kind, subject, fmt.Sprintf(format, args...), 1})
	}
	all := map[uint32]membership{}
	for _, m := range listed {
		if _, twice := all[m.user]; twice {
			tell(MemberMerged, "user %d had several rows", m.user)
		}
		all[m.user] = membership{m, cmp.Or(m.updated, m.created)}
	}
	if len(redis) > 0 {
		found = append(found, mergeRedis(id, all, redis)...)
		if status != 0 {
			tell(GroupAliveRedis, "is deleted in SQL (status %d) and has %d members in Redis: it lives", status, len(redis))
		}
	}
	alive := 0
	for _, user := range slices.Sorted(maps.Keys(all)) {
		m := all[user]
		if _, ok := slices.BinarySearch(accounts, user); !ok {
			tell(MemberLeftOut, "there is no user %d", user)
			continue
		}
		if m.status == 0 {
			alive++
		}
		g.members = append(g.members, m)
	}
	switch {
	case len(redis) == 0 && status != 0:
		g.deleted = true
	case alive == 0:
		g.deleted = true
		tell(GroupDeleted, "nobody is in it: it is marked deleted")
	case len(redis) == 0:
		tell(GroupOnlySQL, "is not in Redis: its %d members are those of SQL", alive)
	}
	return g, found
}

// mergeRedis makes the members of a group those that Redis has.
func mergeRedis(id uint32, all map[uint32]membership, redis map[string]string) (found []Finding) {
	subject := fmt.Sprintf("group %d", id)
	in := map[uint32]bool{}
	for _, field := range slices.Sorted(maps.Keys(redis)) {
		user, ok := parse(field)
		if !ok || user == 0 {
			found = append(found, Finding{MemberLeftOut, subject, fmt.Sprintf("%q is no user id", field), 1})
			continue
		}
		in[user] = true
		m, known := all[user]
		if !known || m.status != 0 {
			found = append(found, Finding{MemberOnlyRedis, subject, fmt.Sprintf("user %d is a member in Redis only", user), 1})
		}
		at, ok := parse(redis[field])
		if !ok {
			at = m.joined
		}
		m.group, m.user, m.status, m.joined = id, user, 0, at
		m.created, m.updated = cmp.Or(m.created, at), cmp.Or(m.updated, at)
		all[user] = m
	}
	for _, user := range slices.Sorted(maps.Keys(all)) {
		if m := all[user]; m.status == 0 && !in[user] {
			found = append(found, Finding{MemberOnlySQL, subject, fmt.Sprintf("user %d is a member in SQL only: he left",
				user), 1})
			m.status = 1
			all[user] = m
		}
	}
	return found
}

// mutedBy returns the users who muted a group.
// Source: docs/protocol/storage.md §5.
func mutedBy(shields map[string]string) (users []uint32) {
	for field, value := range shields {
		name, ok := strings.CutSuffix(field, "_1")
		if user, number := parse(name); ok && number && value == "1" {
			users = append(users, user)
		}
	}
	slices.Sort(users)
	return users
}

// accounts returns the ids of all users of the original, ascending.
func (t *Takeover) accounts(ctx context.Context) ([]uint32, error) {
	if t.users == nil {
		all, err := column[uint32](ctx, t.db, "SELECT id FROM "+t.source("IMUser")+" ORDER BY id")
		if err != nil {
			return nil, fmt.Errorf("list accounts: %w", err)
		}
		t.users = all
	}
	return t.users, nil
}

// homeless counts the rows of members whose group does not exist.
func (t *Takeover) homeless(ctx context.Context) (found []Finding, err error) {
	return rows(ctx, t.db, func(r scanner) (f Finding, err error) {
		var group uint32
		err = r.Scan(&group, &f.Number)
		f.Kind, f.Subject = MemberLeftOut, fmt.Sprintf("group %d", group)
		f.Detail = fmt.Sprintf("%d members of a group that does not exist", f.Number)
		return f, err
	}, "SELECT m.groupId, COUNT(*) FROM "+t.source("IMGroupMember")+" m LEFT JOIN "+t.source("IMGroup")+
		" g ON g.id = m.groupId WHERE g.id IS NULL GROUP BY m.groupId ORDER BY m.groupId")
}

// copyMembers makes the members and shields of all groups, and says which
// groups live.
func (t *Takeover) copyMembers(ctx context.Context, s *stepState) error {
	err := t.chunks(ctx, s, t.source("IMGroup"), "id", groupsPerChunk, func(tx *sql.Tx, c chunk) (int64, error) {
		plans, found, err := t.planGroups(ctx, c)
		if err != nil {
			return 0, err
		}
		n, err := t.carryOut(ctx, tx, plans)
		if err != nil {
			return 0, err
		}
		return n, note(ctx, tx, s.name, found)
	})
	if err != nil {
		return err
	}
	found, err := t.homeless(ctx)
	if err != nil {
		return err
	}
	return t.noteAlone(ctx, s, found)
}

// carryOut writes groups as they were decided, and returns how many rows of
// members there are.
func (t *Takeover) carryOut(ctx context.Context, tx *sql.Tx, plans []groupPlan) (n int64, err error) {
	var members, shields []any
	for _, g := range plans {
		here := 0
		for _, m := range g.members {
			members = append(members, g.id, m.user, m.status, m.created, m.updated, m.joined)
			if m.status == 0 {
				here++
			}
		}
		for _, user := range g.muted {
			shields = append(shields, user, g.id, t.now())
		}
		n += int64(len(g.members))
		if _, err := exec(ctx, tx, "UPDATE IMGroup SET status = ?, userCnt = ? WHERE id = ?", g.deleted, here,
			g.id); err != nil {
			return 0, err
		}
	}
	if err := insert(ctx, tx, "INSERT INTO IMGroupMember (groupId, userId, status, created, updated, joined)", 6,
		members); err != nil {
		return 0, err
	}
	return n, t.insertShields(ctx, tx, shields)
}

func (t *Takeover) insertShields(ctx context.Context, tx *sql.Tx, values []any) error {
	const columns = 3
	for len(values) > 0 {
		n := min(1000, len(values)/columns)
		row := ",(?,?,1,?)"
		text := "INSERT INTO IMGroupShield (userId, groupId, status, updated) VALUES " + strings.Repeat(row, n)[1:]
		if _, err := exec(ctx, tx, text, values[:n*columns]...); err != nil {
			return err
		}
		values = values[n*columns:]
	}
	return nil
}

// copySessions makes one row of the rows of a session.
func (t *Takeover) copySessions(ctx context.Context, s *stepState) error {
	from := t.source("IMRecentSession")
	text := `INSERT INTO IMRecentSession (id, userId, peerId, type, status, created, updated)
		SELECT MIN(o.id), o.userId, o.peerId, o.type, MIN(COALESCE(o.status, 0)), MIN(o.created),
			COALESCE(MAX(IF(COALESCE(o.status, 0) = 0, o.updated, NULL)), MAX(o.updated))
		FROM ` + from + ` o JOIN ` + t.source("IMUser") + ` u ON u.id = o.userId
		WHERE o.userId > ? AND o.userId <= ? AND o.type IN (1, 2) AND o.peerId <> 0
		GROUP BY o.userId, o.peerId, o.type`
	if err := t.chunks(ctx, s, from, "userId", rowsPerChunk, func(tx *sql.Tx, c chunk) (int64, error) {
		return exec(ctx, tx, text, c.after, c.last)
	}); err != nil {
		return err
	}
	found, err := t.sessionFindings(ctx)
	if err != nil {
		return err
	}
	return t.noteAlone(ctx, s, found)
}

// sessionFindings lists the sessions with several rows and those left out.
func (t *Takeover) sessionFindings(ctx context.Context) ([]Finding, error) {
	from := t.source("IMRecentSession")
	found, err := rows(ctx, t.db, func(r scanner) (f Finding, err error) {
		var user, peer, kind uint32
		err = r.Scan(&user, &peer, &kind, &f.Number)
		f.Kind, f.Subject = SessionMerged, fmt.Sprintf("user %d", user)
		f.Detail = strconv.FormatUint(f.Number, 10) + " rows of the session with " + peerName(kind, peer)
		return f, err
	}, "SELECT userId, peerId, type, COUNT(*) FROM "+from+` WHERE type IN (1, 2) AND peerId <> 0
		GROUP BY userId, peerId, type HAVING COUNT(*) > 1 ORDER BY userId, type, peerId`)
	if err != nil {
		return nil, err
	}
	left, err := rows(ctx, t.db, func(r scanner) (f Finding, err error) {
		var user uint32
		err = r.Scan(&user, &f.Number)
		f.Kind, f.Subject = SessionLeftOut, fmt.Sprintf("user %d", user)
		f.Detail = fmt.Sprintf("%d sessions of no account, with nobody or of no type", f.Number)
		return f, err
	}, "SELECT o.userId, COUNT(*) FROM "+from+" o LEFT JOIN "+t.source("IMUser")+` u ON u.id = o.userId
		WHERE u.id IS NULL OR o.peerId = 0 OR o.type IS NULL OR o.type NOT IN (1, 2) GROUP BY o.userId ORDER BY o.userId`)
	return append(found, left...), err
}

func peerName(kind, peer uint32) string {
	if kind == 2 {
		return fmt.Sprintf("group %d", peer)
	}
	return fmt.Sprintf("user %d", peer)
}
