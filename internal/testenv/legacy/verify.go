package legacy

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

// faults collects what is not as it must be, and keeps the first ones.
type faults struct {
	n    int
	list []string
}

func (f *faults) add(format string, args ...any) {
	if f.n++; f.n <= 20 {
		f.list = append(f.list, fmt.Sprintf(format, args...))
	}
}

func (f *faults) err() error {
	if f.n == 0 {
		return nil
	}
	return fmt.Errorf("%d faults: %s", f.n, strings.Join(f.list, "; "))
}

// Seen counts what Verify found to be right.
type Seen struct{ Messages, Sessions, Members, Unread int }

// Verify compares a database that was taken over with the world: every
// message once, in its conversation and in order; every session, group,
// member, shield, token and unread count.
func (w *World) Verify(ctx context.Context, db *sql.DB) (Seen, error) {
	var f faults
	var s Seen
	for _, look := range []func(context.Context, *sql.DB, *faults, *Seen) error{
		w.verifyMessages, w.verifySessions, w.verifyGroups, w.verifyUnread, w.verifyPhones, w.verifyUsers,
	} {
		if err := look(ctx, db, &f, &s); err != nil {
			return s, err
		}
	}
	return s, f.err()
}

// each runs a query and calls fn for every row.
func each(ctx context.Context, db *sql.DB, fn func(scan func(...any) error) error, text string) error {
	r, err := db.QueryContext(ctx, text)
	if err != nil {
		return err
	}
	defer r.Close()
	for r.Next() {
		if err := fn(r.Scan); err != nil {
			return err
		}
	}
	return r.Err()
}

// place is where a message belongs.
type place struct{ kind, small, big, from uint32 }

func (w *World) places() []place {
	all := make([]place, w.Size.Messages)
	for _, p := range w.Pairs {
		for _, m := range p.messages {
			all[m.N] = place{1, p.Small, p.Big, m.From}
		}
	}
	for _, g := range w.Groups {
		for _, m := range g.messages {
			all[m.N] = place{2, g.ID, 0, m.From}
		}
	}
	return all
}

func (w *World) verifyMessages(ctx context.Context, db *sql.DB, f *faults, s *Seen) error {
	places := w.places()
	seen := make([]bool, len(places))
	take := func(at place, created uint32, content string, lastKey, key, lastN *uint32) {
		n, err := strconv.Atoi(strings.TrimPrefix(content, "m"))
		switch {
		case err != nil || n >= len(places):
			f.add("message %q is none", content)
			return
		case seen[n]:
			f.add("message %d is there twice", n)
		case places[n] != at:
			f.add("message %d is in %v, not in %v", n, at, places[n])
		case created != Start+uint32(n):
			f.add("message %d has time %d", n, created)
		case *lastKey == *key && *lastN >= uint32(n)+1:
			f.add("message %d comes after %d", n, *lastN-1)
		}
		seen[n] = true
		*lastKey, *lastN = *key, uint32(n)+1
		s.Messages++
	}
	for k := range 8 {
		var lastKey, lastN uint32
		if err := each(ctx, db, func(scan func(...any) error) error {
			var key, created uint32
			var content string
			at := place{kind: 1}
			if err := scan(&key, &at.small, &at.big, &at.from, &created, &content); err != nil {
				return err
			}
			take(at, created, content, &lastKey, &key, &lastN)
			return nil
		}, fmt.Sprintf(`SELECT m.relateId, r.smallId, r.bigId, m.fromId, m.created, m.content FROM IMMessage_%d m
			JOIN IMRelationShip r ON r.id = m.relateId AND r.status = 0 AND r.id %% 8 = %d
			WHERE m.status = 0 AND m.type = 1 ORDER BY m.relateId, m.msgId`, k, k)); err != nil {
			return err
		}
		lastKey, lastN = 0, 0
		if err := each(ctx, db, func(scan func(...any) error) error {
			var created uint32
			var content string
			at := place{kind: 2}
			if err := scan(&at.small, &at.from, &created, &content); err != nil {
				return err
			}
			take(at, created, content, &lastKey, &at.small, &lastN)
			return nil
		}, fmt.Sprintf("SELECT groupId, userId, created, content FROM IMGroupMessage_%d WHERE status = 0 AND type = 17"+
			" ORDER BY groupId, msgId", k)); err != nil {
			return err
		}
	}
	for n, ok := range seen {
		if !ok {
			f.add("message %d is missing (%v)", n, places[n])
		}
	}
	return nil
}

func (w *World) verifySessions(ctx context.Context, db *sql.DB, f *faults, s *Seen) error {
	want := map[Key]bool{} // removed
	for _, p := range w.Pairs {
		if len(p.messages) > 0 {
			for _, k := range []Key{{p.Small, 1, p.Big}, {p.Big, 1, p.Small}} {
				want[k] = w.Removed[k]
			}
		}
	}
	for _, g := range w.Groups {
		for _, u := range g.members {
			if len(g.messages) > 0 {
				want[Key{u, 2, g.ID}] = false
			}
		}
	}
	err := each(ctx, db, func(scan func(...any) error) error {
		var k Key
		var status, updated uint32
		if err := scan(&k.User, &k.Kind, &k.Peer, &status, &updated); err != nil {
			return err
		}
		removed, ok := want[k]
		if !ok || removed != (status == 1) || updated != w.Updated(k) {
			f.add("session %v has status %d and time %d", k, status, updated)
		}
		delete(want, k)
		s.Sessions++
		return nil
	}, "SELECT userId, type, peerId, status, updated FROM IMRecentSession")
	for k := range want {
		f.add("session %v is missing", k)
	}
	return err
}

func (w *World) verifyGroups(ctx context.Context, db *sql.DB, f *faults, s *Seen) error {
	members := map[uint32][]uint32{}
	if err := each(ctx, db, func(scan func(...any) error) error {
		var group, user, joined uint32
		err := scan(&group, &user, &joined)
		if joined != Start-10 {
			f.add("user %d joined group %d at %d", user, group, joined)
		}
		members[group] = append(members[group], user)
		s.Members++
		return err
	}, "SELECT groupId, userId, joined FROM IMGroupMember WHERE status = 0 ORDER BY groupId, userId"); err != nil {
		return err
	}
	groups := 0
	if err := each(ctx, db, func(scan func(...any) error) error {
		var id, status, count uint32
		if err := scan(&id, &status, &count); err != nil {
			return err
		}
		g := w.Groups[id-1]
		if g.Dead != (status == 1) || !slices.Equal(members[id], g.members) || int(count) != len(g.members) {
			f.add("group %d has status %d and members %v, not %v", id, status, members[id], g.members)
		}
		groups++
		return nil
	}, "SELECT id, status, userCnt FROM IMGroup"); err != nil {
		return err
	}
	if groups != len(w.Groups) || len(members) > groups {
		f.add("%d groups, not %d", groups, len(w.Groups))
	}
	muted := 0
	err := each(ctx, db, func(scan func(...any) error) error {
		k := Key{Kind: 2}
		err := scan(&k.User, &k.Peer)
		if !w.Muted[k] {
			f.add("user %d has not muted group %d", k.User, k.Peer)
		}
		muted++
		return err
	}, "SELECT userId, groupId FROM IMGroupShield WHERE status = 1")
	if muted != len(w.Muted) {
		f.add("%d muted groups, not %d", muted, len(w.Muted))
	}
	return err
}

// Left returns what must be unread afterwards.
func (w *World) Left() map[Key]uint32 {
	want := make(map[Key]uint32, len(w.Unread))
	for k, n := range w.Unread {
		if less, ok := w.Lowered[k]; ok {
			n = less
		}
		want[k] = n
	}
	return want
}

func (w *World) verifyUnread(ctx context.Context, db *sql.DB, f *faults, s *Seen) error {
	want := w.Left()
	for k := range 8 {
		for kind, text := range map[uint32]string{
			1: fmt.Sprintf(`SELECT v.userId, v.peerId, COUNT(*) FROM IMRecentSession v
				JOIN IMRelationShip r ON r.smallId = LEAST(v.userId, v.peerId) AND r.bigId = GREATEST(v.userId, v.peerId)
				LEFT JOIN IMReadCursor c ON c.userId = v.userId AND c.type = 1 AND c.peerId = v.peerId
				JOIN IMMessage_%d m ON m.relateId = r.id AND m.msgId > COALESCE(c.msgId, 0) AND m.fromId = v.peerId
				WHERE v.type = 1 AND r.id %% 8 = %d GROUP BY v.userId, v.peerId`, k, k),
			2: fmt.Sprintf(`SELECT v.userId, v.groupId, COUNT(*) FROM IMGroupMember v
				LEFT JOIN IMReadCursor c ON c.userId = v.userId AND c.type = 2 AND c.peerId = v.groupId
				JOIN IMGroupMessage_%d m ON m.groupId = v.groupId AND m.msgId > COALESCE(c.msgId, 0) AND m.userId <> v.userId
					AND m.created >= v.joined
				WHERE v.status = 0 AND v.groupId %% 8 = %d GROUP BY v.userId, v.groupId`, k, k),
		} {
			if err := each(ctx, db, func(scan func(...any) error) error {
				key := Key{Kind: kind}
				var n uint32
				if err := scan(&key.User, &key.Peer, &n); err != nil {
					return err
				}
				if want[key] != n {
					f.add("%d unread in %v, not %d", n, key, want[key])
				}
				delete(want, key)
				s.Unread++
				return nil
			}, text); err != nil {
				return err
			}
		}
	}
	for k, n := range want {
		f.add("nothing unread in %v, not %d", k, n)
	}
	return nil
}

func (w *World) verifyPhones(ctx context.Context, db *sql.DB, f *faults, _ *Seen) error {
	kinds := map[uint32]string{0x11: "ios:", 0x12: "android:"}
	n := 0
	err := each(ctx, db, func(scan func(...any) error) error {
		var user, kind uint32
		var token string
		err := scan(&user, &kind, &token)
		if w.Tokens[user] != kinds[kind]+token {
			f.add("user %d has token %s%s, not %s", user, kinds[kind], token, w.Tokens[user])
		}
		n++
		return err
	}, "SELECT userId, clientType, token FROM IMDeviceToken")
	if n != len(w.Tokens) {
		f.add("%d tokens, not %d", n, len(w.Tokens))
	}
	return err
}

func (w *World) verifyUsers(ctx context.Context, db *sql.DB, f *faults, _ *Seen) error {
	size := uint32(w.Size.Users)
	n := 0
	err := each(ctx, db, func(scan func(...any) error) error {
		var id uint32
		var name, password, salt string
		if err := scan(&id, &name, &password, &salt); err != nil {
			return err
		}
		n++
		want, of := User(id), id
		switch id {
		case size + 1:
			want, of = fmt.Sprintf("u1#%d", id), 1
		case size + 2:
			want, of = fmt.Sprintf("twice#%d", id), 1
		case size + 3:
			want, of = "twice", 1
		}
		p, sa := Secret(of)
		if name != want || password != p || salt != sa {
			f.add("user %d is called %s", id, name)
		}
		return nil
	}, "SELECT id, name, password, salt FROM IMUser")
	if n != w.Size.Users+3 {
		f.add("%d users", n)
	}
	return err
}

// Dump returns a sum over the definition and the rows of each table of the
// original that is there.
func Dump(ctx context.Context, db *sql.DB) (map[string]string, error) {
	sums := map[string]string{}
	for _, name := range Names() {
		var definition string
		if err := db.QueryRowContext(ctx, "SHOW CREATE TABLE "+name).Scan(&name, &definition); err != nil {
			return nil, err
		}
		h := sha256.New()
		h.Write([]byte(definition))
		if err := dumpRows(ctx, db, name, h); err != nil {
			return nil, err
		}
		sums[name] = hex.EncodeToString(h.Sum(nil))
	}
	return sums, nil
}

func dumpRows(ctx context.Context, db *sql.DB, table string, to io.Writer) error {
	r, err := db.QueryContext(ctx, "SELECT * FROM "+table+" ORDER BY id") //nolint:unqueryvet // all there is
	if err != nil {
		return err
	}
	defer r.Close()
	columns, err := r.Columns()
	if err != nil {
		return err
	}
	values := make([]sql.RawBytes, len(columns))
	dest := make([]any, len(columns))
	for i := range values {
		dest[i] = &values[i]
	}
	for r.Next() {
		if err := r.Scan(dest...); err != nil {
			return err
		}
		for _, v := range values {
			fmt.Fprintf(to, "%t%d:%s", v == nil, len(v), v)
		}
	}
	return r.Err()
}
