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

// dump writes the rows of one query: kind, the two numbers of a conversation,
// msg_id, user, content and its type.
func dump(ctx context.Context, db *sql.DB, to *event.Log, name event.Name, query string) error {
	rows, err := db.QueryContext(ctx, query)
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
		e := event.Event{Name: name}
		if err := rows.Scan(&kind, &a, &b, &e.ID, &e.User, &content, &t); err != nil {
			return fmt.Errorf("read what SQL holds: %w", err)
		}
		conv := im.SingleOf(im.UserID(a), im.UserID(b))
		if kind == im.Group {
			conv = im.GroupOf(im.GroupID(a))
		}
		e.Conv = conv.String()
		if name == event.Stored {
			e.Key = event.Key(client.Text(t, content))
		}
		to.Write(&e)
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("read what SQL holds: %w", err)
	}
	return nil
}
