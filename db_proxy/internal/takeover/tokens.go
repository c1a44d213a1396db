package takeover

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/redis/go-redis/v9"

	"teamtalk/internal/im"
)

// phone is a device token of a user, as Redis has it.
type phone struct {
	user  uint32
	kind  im.ClientType
	token string
}

// phones reads the tokens of users.
// Source: docs/protocol/storage.md, "Token handling on 0108".
func (t *Takeover) phones(ctx context.Context, users []uint32) (all []phone, found []Finding, err error) {
	values, err := texts(ctx, t.redis.token, named("device_%d", users))
	if err != nil {
		return nil, nil, err
	}
	for i, value := range values {
		kind, token, _ := strings.Cut(value, ":")
		p := phone{user: users[i], token: token}
		switch kind {
		case "ios":
			p.kind = im.IOS
		case "android":
			p.kind = im.Android
		}
		switch {
		case value == "" || token == "" && p.kind != 0:
		case p.kind == 0 || len(token) > 255 || !utf8.ValidString(token):
			found = append(found, Finding{TokenIgnored, fmt.Sprintf("user %d", users[i]), "his token is of no kind of phone", 1})
		default:
			all = append(all, p)
		}
	}
	return all, found, nil
}

// owners drops the tokens that belong to somebody else: to the user whom the
// token's own key names, if he has it, too.
func (t *Takeover) owners(ctx context.Context, all []phone) (kept []phone, found []Finding, err error) {
	names := make([]string, len(all))
	for i, p := range all {
		names[i] = "device_" + p.token
	}
	owner, err := texts(ctx, t.redis.token, names)
	if err != nil {
		return nil, nil, err
	}
	ids := make([]uint32, len(all))
	for i := range all {
		ids[i], _ = parse(owner[i])
	}
	theirs, err := texts(ctx, t.redis.token, named("device_%d", ids))
	if err != nil {
		return nil, nil, err
	}
	for i, p := range all {
		if _, token, ok := strings.Cut(theirs[i], ":"); ok && token == p.token && ids[i] != p.user {
			found = append(found, Finding{
				TokenMoved, fmt.Sprintf("user %d", p.user), fmt.Sprintf("his token belongs to user %d", ids[i]), 1,
			})
			continue
		}
		kept = append(kept, p)
	}
	return kept, found, nil
}

func (t *Takeover) copyTokens(ctx context.Context, s *stepState) error {
	return t.chunks(ctx, s, "IMUser", "id", pipelined, func(tx *sql.Tx, c chunk) (int64, error) {
		users, err := column[uint32](ctx, tx, "SELECT id FROM IMUser WHERE id > ? AND id <= ? ORDER BY id", c.after, c.last)
		if err != nil {
			return 0, err
		}
		all, found, err := t.phones(ctx, users)
		if err != nil {
			return 0, err
		}
		all, moved, err := t.owners(ctx, all)
		if err != nil {
			return 0, err
		}
		found = append(found, moved...)
		for _, p := range all {
			n, err := exec(ctx, tx, "INSERT IGNORE INTO IMDeviceToken (userId, clientType, token, updated) VALUES (?, ?, ?, ?)",
				p.user, p.kind, p.token, t.now())
			if err != nil {
				return 0, err
			}
			if n == 0 {
				found = append(found, Finding{TokenMoved, fmt.Sprintf("user %d", p.user), "another user has his token, too", 1})
			}
		}
		return 0, note(ctx, tx, s.name, found)
	})
}

// counter is a message id counter in Redis and what it must be at least.
type counter struct {
	name    string
	subject string
	last    uint32 // newest id in SQL
}

// raiseCounters makes the counters of all conversations at least the newest id
// in SQL: an original db_proxy believes them.
func (t *Takeover) raiseCounters(ctx context.Context, s *stepState) error {
	var found []Finding
	for _, f := range []struct{ table, key, name, what string }{
		{"IMMessage_", "relateId", "msg_id_%d", "relation"},
		{"IMGroupMessage_", "groupId", "group_msg_id_%d", "group"},
	} {
		for k := range im.Shards {
			ahead, err := t.raiseTable(ctx, fmt.Sprintf("%s%d", f.table, k), f.key, f.name, f.what)
			if err != nil {
				return err
			}
			found = append(found, ahead...)
		}
	}
	raised, err := rows(ctx, t.db, func(r scanner) (f Finding, err error) {
		var old sql.NullString
		err = r.Scan(&f.Subject, &old)
		f.Kind, f.Detail, f.Number = CounterRaised, fmt.Sprintf("was %q, behind the newest id in SQL", old.String), 1
		return f, err
	}, "SELECT name, value FROM tt_takeover_redis ORDER BY name")
	if err != nil {
		return err
	}
	return t.noteAlone(ctx, s, append(found, raised...))
}

func (t *Takeover) raiseTable(ctx context.Context, table, key, name, what string) (ahead []Finding, err error) {
	for at := int64(-1); ; {
		c, more, err := t.next(ctx, table, key, at, rowsPerChunk)
		if err != nil || !more {
			return ahead, err
		}
		all, err := rows(ctx, t.db, func(r scanner) (v counter, err error) {
			var id uint32
			err = r.Scan(&id, &v.last)
			v.name, v.subject = fmt.Sprintf(name, id), fmt.Sprintf("%s %d", what, id)
			return v, err
		}, fmt.Sprintf("SELECT %s, MAX(msgId) FROM %s WHERE %s > ? AND %s <= ? GROUP BY %s", key, table, key, key, key),
			c.after, c.last)
		if err != nil {
			return nil, err
		}
		some, err := t.raise(ctx, all)
		if err != nil {
			return nil, err
		}
		ahead = append(ahead, some...)
		at = c.last
	}
}

// raise raises the counters that are absent, broken or behind, and returns
// those that are ahead. What is overwritten is kept in SQL before.
func (t *Takeover) raise(ctx context.Context, all []counter) (ahead []Finding, err error) {
	names := make([]string, len(all))
	for i := range all {
		names[i] = all[i].name
	}
	values, err := texts(ctx, t.redis.unread, names)
	if err != nil {
		return nil, err
	}
	var behind []counter
	var old []any
	for i, c := range all {
		n, ok := parse(values[i])
		switch {
		case !ok || n < c.last || n > uint32(im.MaxMsgID):
			behind = append(behind, c)
			old = append(old, c.name, sql.NullString{String: values[i], Valid: values[i] != ""})
		case n > c.last:
			ahead = append(ahead, Finding{
				CounterAhead, c.subject, fmt.Sprintf("id %d was given, %d is the newest stored: ids go on after %d", n, c.last, n),
				uint64(n - c.last),
			})
		}
	}
	if len(behind) == 0 {
		return ahead, nil
	}
	if err := insert(ctx, t.db, "INSERT IGNORE INTO tt_takeover_redis (name, value)", 2, old); err != nil {
		return nil, err
	}
	return ahead, pipeline(ctx, t.redis.unread, func(p redis.Pipeliner) {
		for _, c := range behind {
			p.Set(ctx, c.name, c.last, 0)
		}
	})
}
