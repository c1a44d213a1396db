//go:build unix

package dropin

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"teamtalk/client"
	"teamtalk/client/textcrypt"
	"teamtalk/internal/im"
)

// plain is an original db_proxy_server that goes on beside ours: its
// statements and commands of Redis in its order, without a transaction. It
// keeps to conversations of its own, as docs/migration.md says.
// Source: docs/protocol/storage.md §4, §5; docs/protocol/flows.md §6, §7.
type plain struct{ h *house }

func (o *plain) exec(query string, args ...any) (inserted uint32, err error) {
	res, err := o.h.db.Exec(query, args...)
	if err != nil {
		return 0, err
	}
	id, err := res.LastInsertId()
	return uint32(id), err
}

// session revives or makes a row of the list of sessions.
func (o *plain) session(user, kind, peer uint32) error {
	now := time.Now().Unix()
	var id uint32
	row := o.h.db.QueryRow("SELECT id FROM IMRecentSession WHERE userId = ? AND peerId = ? AND type = ?", user, peer, kind)
	if row.Scan(&id) == nil {
		_, err := o.exec("UPDATE IMRecentSession SET status = 0, updated = ? WHERE id = ?", now, id)
		return err
	}
	_, err := o.exec("INSERT INTO IMRecentSession (userId, peerId, type, status, created, updated) VALUES (?,?,?,0,?,?)",
		user, peer, kind, now, now)
	return err
}

// relation finds the relation of two users, or makes it.
func (o *plain) relation(ctx context.Context, a, b uint32) (id uint32, err error) {
	row := o.h.db.QueryRow("SELECT id FROM IMRelationShip WHERE smallId = ? AND bigId = ? AND status = 0", min(a, b), max(a, b))
	if row.Scan(&id) == nil {
		return id, nil
	}
	now := time.Now().Unix()
	id, err = o.exec("INSERT INTO IMRelationShip (smallId, bigId, status, created, updated) VALUES (?,?,0,?,?)",
		min(a, b), max(a, b), now, now)
	if err != nil {
		return 0, err
	}
	return id, o.h.pools.Unread.Set(ctx, fmt.Sprintf("msg_id_%d", id), 0, 0).Err()
}

// say stores a message of two.
func (o *plain) say(ctx context.Context, from, to uint32, text string) (s sent, err error) {
	relation, err := o.relation(ctx, from, to)
	if err != nil {
		return s, err
	}
	if err := errors.Join(o.session(from, 1, to), o.session(to, 1, from)); err != nil {
		return s, err
	}
	id, err := o.h.pools.Unread.IncrBy(ctx, fmt.Sprintf("msg_id_%d", relation), 1).Result()
	if err != nil {
		return s, err
	}
	now := time.Now().Unix()
	_, err = o.exec(fmt.Sprintf("INSERT INTO IMMessage_%d (relateId, fromId, toId, msgId, content, status, type, created, updated)"+
		" VALUES (?,?,?,?,?,0,1,?,?)", relation%8), relation, from, to, id, textcrypt.Standard().Encrypt(text), now, now)
	if err != nil {
		return s, err
	}
	err = o.h.pools.Unread.HIncrBy(ctx, fmt.Sprintf("unread_%d", to), strconv.Itoa(int(from)), 1).Err()
	return sent{from, 1, to, im.MsgID(id), text}, err
}

// newGroup makes a group.
func (o *plain) newGroup(ctx context.Context, name string, members ...uint32) (id uint32, err error) {
	now := time.Now().Unix()
	id, err = o.exec("INSERT INTO IMGroup (name, avatar, creator, type, userCnt, status, version, lastChated, updated, created)"+
		" VALUES (?,'',?,2,?,0,1,0,?,?)", name, members[0], len(members), now, now)
	if err != nil {
		return 0, err
	}
	err = o.h.pools.Unread.Set(ctx, fmt.Sprintf("group_msg_id_%d", id), 0, 0).Err()
	for _, user := range members {
		_, insertErr := o.exec("INSERT INTO IMGroupMember (groupId, userId, status, created, updated) VALUES (?,?,0,?,?)", id, user, now, now)
		err = errors.Join(err, insertErr,
			o.h.pools.GroupMember.HSet(ctx, fmt.Sprintf("group_member_%d", id), strconv.Itoa(int(user)), now).Err())
	}
	return id, err
}

// tell stores a message of a group.
func (o *plain) tell(ctx context.Context, from, group uint32, text string) (s sent, err error) {
	member, err := o.h.pools.GroupMember.HGet(ctx, fmt.Sprintf("group_member_%d", group), strconv.Itoa(int(from))).Result()
	if err != nil || member == "" {
		return s, fmt.Errorf("user %d is no member of group %d: %w", from, group, err)
	}
	if err := o.session(from, 2, group); err != nil {
		return s, err
	}
	id, err := o.h.pools.Unread.IncrBy(ctx, fmt.Sprintf("group_msg_id_%d", group), 1).Result()
	if err != nil {
		return s, err
	}
	now := time.Now().Unix()
	_, err = o.exec(fmt.Sprintf("INSERT INTO IMGroupMessage_%d (groupId, userId, msgId, content, type, status, updated, created)"+
		" VALUES (?,?,?,?,17,0,?,?)", group%8), group, from, id, textcrypt.Standard().Encrypt(text), now, now)
	if err != nil {
		return s, err
	}
	if _, err := o.exec("UPDATE IMGroup SET lastChated = ? WHERE id = ?", now, group); err != nil {
		return s, err
	}
	total, err := o.h.pools.Unread.HIncrBy(ctx, fmt.Sprintf("%d_im_group_msg", group), "count", 1).Result()
	if err != nil {
		return s, err
	}
	err = o.h.pools.Unread.HSet(ctx, fmt.Sprintf("%d_%d_im_user_group", from, group), "count", total).Err()
	return sent{from, 2, group, im.MsgID(id), text}, err
}

// history reads as the original does, with the index that it names.
func (o *plain) history(s sent) (texts []string, err error) {
	query, key := "SELECT content FROM IMGroupMessage_%d"+
		" WHERE groupId = ? AND status = 0 ORDER BY created DESC, id DESC LIMIT 1000", s.peer
	if s.kind == 1 {
		query = "SELECT content FROM IMMessage_%d FORCE INDEX (idx_relateId_status_created)" +
			" WHERE relateId = ? AND status = 0 ORDER BY created DESC, id DESC LIMIT 1000"
		if key, err = o.relation(context.Background(), s.user, s.peer); err != nil {
			return nil, err
		}
	}
	rows, err := o.h.db.Query(fmt.Sprintf(query, key%8), key)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var content []byte
		if err := rows.Scan(&content); err != nil {
			return nil, err
		}
		if text, err := textcrypt.Standard().Decrypt(content); err == nil { // old ones are no texts
			texts = append(texts, text)
		}
	}
	return texts, rows.Err()
}

// beside lets both store at the same time, each in conversations of its own:
// old ones, and new ones. Each reads all of the other's; then they change
// places.
func (h *house) beside() (all []sent) {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(h.t.Context(), 3*time.Minute)
	defer cancel()
	const each = 40
	o := &plain{h}
	theirs, ours := h.couples()
	group, err := o.newGroup(ctx, "of the original", theirs[0], theirs[1], ours[0])
	check(h.t, err)
	c := h.login(ours[0])
	made, err := c.CreateGroup(ctx, "of ours", ours[0], ours[1], theirs[0])
	check(h.t, err)
	own := uint32(made)

	var mu sync.Mutex
	note := func(s sent, err error) {
		mu.Lock()
		defer mu.Unlock()
		if err != nil {
			h.t.Errorf("%+v: %v", s, err)
			return
		}
		all = append(all, s)
	}
	send := func(c *client.Client, kind, peer uint32, text string) {
		id, err := c.SendText(ctx, im.Kind(kind), peer, text)
		note(sent{uint32(c.User()), kind, peer, id, text}, err)
	}
	var both sync.WaitGroup
	both.Go(func() {
		for i := range each {
			note(o.say(ctx, theirs[i%2], theirs[1-i%2], fmt.Sprintf("theirs %d", i)))
			note(o.say(ctx, theirs[0], ours[0], fmt.Sprintf("across %d", i)))
			note(o.tell(ctx, theirs[i%2], group, fmt.Sprintf("their group %d", i)))
		}
	})
	both.Go(func() {
		for i := range each {
			send(c, 1, ours[1], fmt.Sprintf("ours %d", i))
			send(c, 1, theirs[1], fmt.Sprintf("back across %d", i))
			send(c, 2, own, fmt.Sprintf("our group %d", i))
		}
	})
	both.Wait()
	c.Close()
	if len(all) != 6*each {
		h.t.Errorf("%d of %d messages stored", len(all), 6*each)
	}
	h.bothSee(ctx, o, all)

	// They change places: whoever stores next goes on with higher ids.
	highest := map[[3]uint32]im.MsgID{}
	for _, s := range all {
		highest[s.conversation()] = max(highest[s.conversation()], s.id)
	}
	c = h.login(ours[0])
	d := h.login(theirs[0])
	h.unreadAtLeast(ctx, c, 1, theirs[0], each)
	h.unreadAtLeast(ctx, c, 2, group, each)
	before := len(all)
	send(d, 1, theirs[1], "ours now")
	send(d, 2, group, "ours now, too")
	note(o.say(ctx, ours[0], ours[1], "theirs now"))
	note(o.tell(ctx, ours[1], own, "theirs now, too"))
	send(c, 1, ours[1], "ours again")
	send(c, 2, own, "ours again, too")
	c.Close()
	d.Close()
	for _, s := range all[before:] {
		if last := highest[s.conversation()]; s.id <= last {
			h.t.Errorf("%+v: the last one had the id %d", s, last)
		}
		highest[s.conversation()] = s.id
	}
	h.bothSee(ctx, o, all)
	return all
}

// unreadAtLeast: what an original stored is unread in ours, too.
func (h *house) unreadAtLeast(ctx context.Context, c *client.Client, kind, peer, n uint32) {
	h.t.Helper()
	_, list, err := c.Unread(ctx)
	check(h.t, err)
	for _, u := range list {
		if uint32(u.GetSessionType()) == kind && u.GetSessionId() == peer && u.GetUnreadCnt() >= n {
			return
		}
	}
	h.t.Errorf("user %d has less than %d unread from %d %d: %v", c.User(), n, kind, peer, list)
}

// conversation is the same for both users of a pair.
func (s sent) conversation() [3]uint32 {
	if s.kind == 2 {
		return [3]uint32{2, s.peer, 0}
	}
	return [3]uint32{1, min(s.user, s.peer), max(s.user, s.peer)}
}

// couples are two pairs of users who have talked, with nothing odd.
func (h *house) couples() (theirs, ours [2]uint32) {
	h.t.Helper()
	var found [][2]uint32
	used := map[uint32]bool{}
	for _, p := range h.world.Pairs {
		if p.Small > 20 && !used[p.Small] && !used[p.Big] {
			found = append(found, [2]uint32{p.Small, p.Big})
			used[p.Small], used[p.Big] = true, true
		}
	}
	if len(found) < 2 {
		h.t.Fatal("too few pairs")
	}
	return found[0], found[1]
}

// bothSee reads every conversation through our servers and as an original
// reads: nothing is missing, and nothing is there twice.
func (h *house) bothSee(ctx context.Context, o *plain, all []sent) {
	h.t.Helper()
	clients := map[uint32]*client.Client{}
	defer func() {
		for _, c := range clients {
			c.Close()
		}
	}()
	conversations := map[[3]uint32][]sent{}
	for _, s := range all {
		conversations[s.conversation()] = append(conversations[s.conversation()], s)
	}
	for conversation, said := range conversations {
		s := said[0]
		if clients[s.user] == nil {
			clients[s.user] = h.login(s.user)
		}
		var ours []string
		for begin := im.MsgID(0); ; {
			list, err := clients[s.user].History(ctx, im.Kind(s.kind), s.peer, begin, 100)
			check(h.t, err)
			for _, m := range list {
				ours = append(ours, m.Text())
			}
			if len(list) == 0 || list[len(list)-1].ID <= 1 || len(ours) > 1000 {
				break
			}
			begin = list[len(list)-1].ID - 1
		}
		theirs, err := o.history(s)
		check(h.t, err)
		for _, s := range said {
			for who, texts := range map[string][]string{"ours": ours, "the original": theirs} {
				if n := count(texts, s.text); n != 1 {
					h.t.Errorf("%v: %s has %q %d times", conversation, who, s.text, n)
				}
			}
		}
	}
}

func count(texts []string, text string) (n int) {
	for _, t := range texts {
		if t == text {
			n++
		}
	}
	return n
}
