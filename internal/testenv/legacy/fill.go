package legacy

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"

	"github.com/redis/go-redis/v9"
)

// Pools are the Redis data bases of the original; they may be one.
type Pools struct {
	Unread, GroupSet, Token, GroupMember redis.UniversalClient
}

// Nobody is the id of an account that does not exist.
const Nobody = 9_000_000

// Fill makes the tables and the Redis keys of a world.
func (w *World) Fill(ctx context.Context, db *sql.DB, pools Pools) error {
	if err := Create(ctx, db); err != nil {
		return err
	}
	for _, fill := range []func(context.Context, *sql.DB) error{
		w.fillUsers, w.fillPairs, w.fillGroups, w.fillSessions, w.fillMessages,
	} {
		if err := fill(ctx, db); err != nil {
			return fmt.Errorf("fill the original's tables: %w", err)
		}
	}
	if err := w.fillRedis(ctx, pools); err != nil {
		return fmt.Errorf("fill the original's Redis: %w", err)
	}
	return nil
}

// table collects rows and writes them many at a time.
type table struct {
	head string
	rows []string
}

func (t *table) row(values ...any) {
	var b strings.Builder
	for i, v := range values {
		if i > 0 {
			b.WriteByte(',')
		}
		switch v := v.(type) {
		case string:
			b.WriteString("'" + v + "'")
		case nil:
			b.WriteString("NULL")
		default:
			fmt.Fprint(&b, v)
		}
	}
	t.rows = append(t.rows, "("+b.String()+")")
}

func (t *table) write(ctx context.Context, db *sql.DB) error {
	for part := range slices.Chunk(t.rows, 2000) {
		if _, err := db.ExecContext(ctx, "INSERT INTO "+t.head+" VALUES "+strings.Join(part, ",")); err != nil {
			return fmt.Errorf("%s: %w", t.head, err)
		}
	}
	return nil
}

func (w *World) fillUsers(ctx context.Context, db *sql.DB) error {
	users := table{head: "IMUser (id, sex, name, nick, password, salt, avatar, departId, status, created, updated)"}
	for id := uint32(1); id <= uint32(w.Size.Users); id++ {
		password, salt := Secret(id)
		var avatar any = "avatar.jpg"
		if id%13 == 0 {
			avatar = nil
		}
		users.row(id, 1, User(id), "Nick "+User(id), password, salt, avatar, 1, 0, Start, Start)
	}
	// Somebody left, and his name was given away; another name was given twice.
	password, salt := Secret(1)
	users.row(w.Size.Users+1, 1, User(1), "left", password, salt, "", 1, 3, Start, Start)
	users.row(w.Size.Users+2, 1, "twice", "first", password, salt, "", 1, 0, Start, Start)
	users.row(w.Size.Users+3, 1, "twice", "second", password, salt, "", 1, 0, Start, Start)
	if err := users.write(ctx, db); err != nil {
		return err
	}
	departments := table{head: "IMDepart (departName, parentId, created, updated)"}
	departments.row("office", 0, Start, Start)
	return departments.write(ctx, db)
}

func (w *World) fillPairs(ctx context.Context, db *sql.DB) error {
	relations := table{head: "IMRelationShip (id, smallId, bigId, status, created, updated)"}
	for _, p := range w.Pairs {
		if p.orphan {
			continue
		}
		if p.early != 0 {
			relations.row(p.early, p.Small, p.Big, 0, Start, Start)
		}
		relations.row(p.relation, p.Small, p.Big, 0, Start, Start+1)
	}
	relations.row(w.Pairs[len(w.Pairs)-1].relation+1, 0, 5, 0, Start, Start)
	return relations.write(ctx, db)
}

func (w *World) fillGroups(ctx context.Context, db *sql.DB) error {
	groups := table{head: "IMGroup (id, name, creator, type, userCnt, status, version, lastChated, updated, created)"}
	members := table{head: "IMGroupMember (groupId, userId, status, created, updated)"}
	for _, g := range w.Groups {
		last := uint32(0)
		if n := len(g.messages); n > 0 {
			last = g.messages[n-1].Created()
		}
		groups.row(g.ID, fmt.Sprintf("group %d", g.ID), 1, 2, 2*len(g.members), g.status, 1, last, Start, Start)
		for i, u := range g.members {
			if u == g.onlyRedis {
				continue
			}
			if i%9 == 2 { // came, left and came again before there was one row
				members.row(g.ID, u, 1, Start-20, Start-20)
			}
			members.row(g.ID, u, 0, Start-10, Start-10)
		}
		if g.onlySQL != 0 {
			members.row(g.ID, g.onlySQL, 0, Start-10, Start-10)
		}
		if g.Dead {
			members.row(g.ID, 1, 1, Start-10, Start)
		}
	}
	members.row(w.Groups[0].ID, Nobody, 0, Start, Start)
	members.row(Nobody, 1, 0, Start, Start)
	if err := groups.write(ctx, db); err != nil {
		return err
	}
	return members.write(ctx, db)
}

func (w *World) fillSessions(ctx context.Context, db *sql.DB) error {
	sessions := table{head: "IMRecentSession (userId, peerId, type, status, created, updated)"}
	for i, p := range w.Pairs {
		if len(p.messages) == 0 {
			continue
		}
		for _, u := range []uint32{p.Small, p.Big} {
			k := Key{u, 1, p.Small + p.Big - u}
			if i%30 == 11 { // two first messages at once
				sessions.row(k.User, k.Peer, 1, 1, Start-5, Start-5)
			}
			status := 0
			if w.Removed[k] {
				status = 1
			}
			sessions.row(k.User, k.Peer, 1, status, Start, w.Updated(k))
		}
	}
	for _, g := range w.Groups {
		for _, u := range g.members {
			if len(g.messages) > 0 {
				sessions.row(u, g.ID, 2, 0, Start, w.Updated(Key{u, 2, g.ID}))
			}
		}
	}
	sessions.row(Nobody, 1, 1, 0, Start, Start)
	sessions.row(1, 0, 1, 0, Start, Start)
	sessions.row(1, 2, 0, 0, Start, Start)
	return sessions.write(ctx, db)
}

// Updated is the time of the last activity of a session.
func (w *World) Updated(k Key) uint32 {
	if k.Kind == 2 {
		g := w.Groups[k.Peer-1]
		return g.messages[len(g.messages)-1].Created()
	}
	for _, p := range w.byUser()[min(k.User, k.Peer)] {
		if p.Big == max(k.User, k.Peer) {
			return p.messages[len(p.messages)-1].Created()
		}
	}
	return 0
}

// byUser finds the pairs of their smaller user.
func (w *World) byUser() map[uint32][]*Pair {
	if w.index == nil {
		w.index = map[uint32][]*Pair{}
		for _, p := range w.Pairs {
			w.index[p.Small] = append(w.index[p.Small], p)
		}
	}
	return w.index
}

func (w *World) fillMessages(ctx context.Context, db *sql.DB) error {
	var singles, groups [8]table
	for k := range 8 {
		singles[k].head = fmt.Sprintf(
			"IMMessage_%d (relateId, fromId, toId, msgId, content, type, status, updated, created)", k)
		groups[k].head = fmt.Sprintf("IMGroupMessage_%d (groupId, userId, msgId, content, type, status, updated, created)", k)
	}
	for _, p := range w.Pairs {
		for i, m := range p.messages {
			relation := p.relation
			if i == 0 && p.early != 0 {
				relation = p.early
			}
			singles[relation%8].row(relation, m.From, p.Small+p.Big-m.From, m.id, m.Content(), 1, 0, m.Created(), m.Created())
		}
	}
	for _, g := range w.Groups {
		for _, m := range g.messages {
			groups[g.ID%8].row(g.ID, m.From, m.id, m.Content(), 17, 0, m.Created(), m.Created())
		}
	}
	for i := range w.LeftOut {
		singles[0].row(0, i, i, i, "of nobody", 1, 0, Start, Start)
	}
	for k := range 8 {
		if err := singles[k].write(ctx, db); err != nil {
			return err
		}
		if err := groups[k].write(ctx, db); err != nil {
			return err
		}
	}
	return nil
}

func (w *World) fillRedis(ctx context.Context, pools Pools) error {
	unread, member, set, token := pools.Unread.Pipeline(), pools.GroupMember.Pipeline(), pools.GroupSet.Pipeline(),
		pools.Token.Pipeline()
	for i, p := range w.Pairs {
		if n := len(p.messages); n > 0 {
			last := p.messages[n-1].last
			if i%33 == 4 {
				last += 2 // of messages whose INSERT failed
			}
			unread.Set(ctx, fmt.Sprintf("msg_id_%d", p.relation), last, 0)
		}
	}
	for k, n := range w.Unread {
		if k.Kind == 1 {
			unread.HSet(ctx, fmt.Sprintf("unread_%d", k.User), k.Peer, n)
		}
	}
	w.fillRedisGroups(ctx, unread, member, set)
	for user, value := range w.Tokens {
		_, name, _ := strings.Cut(value, ":")
		token.Set(ctx, fmt.Sprintf("device_%d", user), value, 0)
		token.Set(ctx, "device_"+name, user, 0)
	}
	for user, value := range w.rejected {
		token.Set(ctx, fmt.Sprintf("device_%d", user), value, 0)
	}
	for _, p := range []redis.Pipeliner{unread, member, set, token} {
		if _, err := p.Exec(ctx); err != nil {
			return err
		}
	}
	return nil
}

// fillRedisGroups writes the counters, members and shields of the groups.
func (w *World) fillRedisGroups(ctx context.Context, unread, member, set redis.Pipeliner) {
	for _, g := range w.Groups {
		if n := len(g.messages); n > 0 {
			unread.Set(ctx, fmt.Sprintf("group_msg_id_%d", g.ID), g.messages[n-1].last, 0)
			unread.HSet(ctx, fmt.Sprintf("%d_im_group_msg", g.ID), "count", n)
		}
		for _, u := range g.members {
			k := Key{u, 2, g.ID}
			unread.HSet(ctx, fmt.Sprintf("%d_%d_im_user_group", u, g.ID), "count", len(g.messages)-int(w.Unread[k]))
			if g.inRedis {
				member.HSet(ctx, fmt.Sprintf("group_member_%d", g.ID), u, Start-10)
			}
			if w.Muted[k] {
				set.HSet(ctx, fmt.Sprintf("group_set_%d", g.ID), fmt.Sprintf("%d_1", u), "1")
			} else if u%3 == 0 {
				set.HSet(ctx, fmt.Sprintf("group_set_%d", g.ID), fmt.Sprintf("%d_1", u), "0")
			}
		}
	}
}
