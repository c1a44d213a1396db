package takeover

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// joinedPage is how many messages are read at once to see when members joined.
const joinedPage = 5000

// fillJoined finds and stores what was the newest message of a group when each
// of its members joined: what came later he may see. Members are changed.
func fillJoined(ctx context.Context, q queryer, table string, group, last uint32, members []reader) error {
	if err := findJoined(ctx, q, table, group, last, members); err != nil {
		return fmt.Errorf("find when members of group %d joined: %w", group, err)
	}
	same := map[uint32][]any{}
	for _, m := range members {
		same[m.joinedID] = append(same[m.joinedID], m.user)
	}
	for _, id := range slices.Sorted(maps.Keys(same)) {
		for users := range slices.Chunk(same[id], 1000) {
			text := "UPDATE IMGroupMember SET joinedId = ? WHERE groupId = ? AND userId IN (?" +
				strings.Repeat(",?", len(users)-1) + ")"
			if _, err := exec(ctx, q, text, append([]any{id, group}, users...)...); err != nil {
				return fmt.Errorf("store when members of group %d joined: %w", group, err)
			}
		}
	}
	return nil
}

// findJoined reads the messages of a group once, in their order, as far as it
// needs to: the first message that is not older than a membership is the first
// that the member may see. Who joined after the last one may see none.
func findJoined(ctx context.Context, q queryer, table string, group, last uint32, members []reader) error {
	open := make([]*reader, len(members))
	for i := range members {
		members[i].joinedID = last
		open[i] = &members[i]
	}
	slices.SortFunc(open, func(a, b *reader) int { return cmp.Compare(a.joined, b.joined) })
	type message struct{ id, created uint32 }
	text := fmt.Sprintf("SELECT msgId, created FROM %s WHERE groupId = ? AND msgId > ? ORDER BY msgId LIMIT %d",
		table, joinedPage)
	for after := int64(-1); len(open) > 0; {
		page, err := rows(ctx, q, func(r scanner) (m message, err error) { return m, r.Scan(&m.id, &m.created) },
			text, group, after)
		if err != nil || len(page) == 0 {
			return err
		}
		for _, m := range page {
			after = int64(m.id)
			for len(open) > 0 && open[0].joined <= m.created {
				open[0].joinedID = m.id - min(m.id, 1)
				open = open[1:]
			}
		}
	}
	return nil
}
