package check

import (
	"context"
	"database/sql"
	"fmt"

	"teamtalk/client"
	"teamtalk/internal/im"
	"teamtalk/test/chaos/internal/event"
)

// Dump writes down what SQL holds of messages and read cursors.
func Dump(ctx context.Context, db *sql.DB, to *event.Log) error {
	for shard := range im.Shards {
		err := dump(ctx, db, to, event.Stored, fmt.Sprintf(`SELECT 1, r.smallId, r.bigId, m.msgId, m.fromId, m.content, m.type
			FROM IMMessage_%d m JOIN IMRelationShip r ON r.id = m.relateId ORDER BY m.relateId, m.msgId`, shard))
		if err != nil {
			return err
		}
		err = dump(ctx, db, to, event.Stored, fmt.Sprintf(`SELECT 2, groupId, 0, msgId, userId, content, type
			FROM IMGroupMessage_%d ORDER BY groupId, msgId`, shard))
		if err != nil {
			return err
		}
	}
	return dump(ctx, db, to, event.Cursor, `SELECT type, peerId, userId, msgId, userId, '', 0 FROM IMReadCursor
		ORDER BY userId, type, peerId`)
}

// Newest returns the newest id of every conversation.
func Newest(ctx context.Context, db *sql.DB) (map[im.Conversation]im.MsgID, error) {
	newest := map[im.Conversation]im.MsgID{}
	for shard := range im.Shards {
		for _, query := range []string{
			fmt.Sprintf(`SELECT 1, r.smallId, r.bigId, MAX(m.msgId), 0, '', 0
				FROM IMMessage_%d m JOIN IMRelationShip r ON r.id = m.relateId GROUP BY r.smallId, r.bigId`, shard),
			fmt.Sprintf("SELECT 2, groupId, 0, MAX(msgId), 0, '', 0 FROM IMGroupMessage_%d GROUP BY groupId", shard),
		} {
			err := scan(ctx, db, query, nil, func(conv im.Conversation, e *event.Event) { newest[conv] = e.ID })
			if err != nil {
				return nil, err
			}
		}
	}
	return newest, nil
}

// GoneSince returns what a database holds behind the newest ids of another one.
func GoneSince(ctx context.Context, db *sql.DB, newest map[im.Conversation]im.MsgID) (gone []event.Event, err error) {
	all, err := Newest(ctx, db)
	if err != nil {
		return nil, err
	}
	for conv, id := range all {
		if id == newest[conv] {
			continue
		}
		for shard := range im.Shards {
			query, args := behind(shard, conv, newest[conv])
			err := scan(ctx, db, query, args, func(_ im.Conversation, e *event.Event) {
				e.Name = event.Gone
				gone = append(gone, *e)
			})
			if err != nil {
				return nil, err
			}
		}
	}
	return gone, nil
}

// behind returns the query for the messages of a conversation behind an id.
func behind(shard int, conv im.Conversation, id im.MsgID) (query string, args []any) {
	if conv.Kind == im.Group {
		return fmt.Sprintf(`SELECT 2, groupId, 0, msgId, userId, content, type
			FROM IMGroupMessage_%d WHERE groupId = ? AND msgId > ?`, shard), []any{uint32(conv.Group), id}
	}
	return fmt.Sprintf(`SELECT 1, r.smallId, r.bigId, m.msgId, m.fromId, m.content, m.type
		FROM IMMessage_%d m JOIN IMRelationShip r ON r.id = m.relateId
		WHERE r.smallId = ? AND r.bigId = ? AND m.msgId > ?`, shard),
		[]any{uint32(conv.Pair.Small), uint32(conv.Pair.Big), id}
}

// dump writes the rows of one query.
func dump(ctx context.Context, db *sql.DB, to *event.Log, name event.Name, query string) error {
	return scan(ctx, db, query, nil, func(_ im.Conversation, e *event.Event) {
		e.Name = name
		to.Write(e)
	})
}

// scan reads the rows of one query: kind, the two numbers of a conversation,
// msg_id, user, content and its type.
func scan(ctx context.Context, db *sql.DB, query string, args []any, visit func(im.Conversation, *event.Event)) error {
	rows, err := db.QueryContext(ctx, query, args...)
	if err != nil {
		return fmt.Errorf("read what SQL holds: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var (
			kind    im.Kind
			a, b    uint32
			content []byte
			t       im.MsgType
		)
		e := event.Event{}
		if err := rows.Scan(&kind, &a, &b, &e.ID, &e.User, &content, &t); err != nil {
			return fmt.Errorf("read what SQL holds: %w", err)
		}
		conv := im.SingleOf(im.UserID(a), im.UserID(b))
		if kind == im.Group {
			conv = im.GroupOf(im.GroupID(a))
		}
		e.Conv = conv.String()
		if len(content) > 0 {
			e.Key = event.Key(client.Text(t, content))
		}
		visit(conv, &e)
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("read what SQL holds: %w", err)
	}
	return nil
}
