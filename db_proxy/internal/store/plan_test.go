package store

import (
	"strings"
	"testing"

	"teamtalk/internal/im"
)

// Every query of the hot paths finds its rows by key, however long the
// conversation: the number of rows the engine touches stays near the number
// it returns.
func TestRowsTouched(t *testing.T) {
	t.Parallel()
	cfg := Config{Driver: MySQL, Master: mariadb(t)}
	cfg.Master.MaxConns = 1 // the counters are per connection
	f := open(t, cfg)
	ctx := t.Context()
	const long = 20_000
	u := f.users(t, 60)
	pair, group := f.relation(t, u[0], u[1]), f.group(t, u...)
	var b Batch
	for i := range long {
		m := f.text(pair, im.MsgID(i+1), u[i%2], "x")
		m.Op = opID(i)
		b.Messages = append(b.Messages, m, f.text(group, im.MsgID(i+1), u[i%60], "y"))
	}
	refs := []ConvRef{pair, group}
	for _, other := range u[2:] {
		r := f.relation(t, u[0], other)
		refs = append(refs, r)
		b.Messages = append(b.Messages, f.text(r, 1, other, "z"))
		b.Sessions = append(b.Sessions, SessionTouch{SessionKey{u[0], im.Single, uint32(other)}, 5})
	}
	b.Cursors = []Cursor{{SessionKey{u[0], im.Group, uint32(group.Conv.Group)}, long - 10}}
	check(t, f.Commit(ctx, &b))
	for k := range im.Shards {
		f.exec(t, strings.ReplaceAll("ANALYZE TABLE IMMessage_K, IMGroupMessage_K", "K", string(rune('0'+k))))
	}
	f.exec(t, "ANALYZE TABLE IMRelationShip, IMGroup, IMRecentSession, IMUser")

	ops := []Operation{{pair.Conv, pair.Relation, u[0], opID(0)}, {pair.Conv, pair.Relation, u[1], opID(long - 1)}}
	for name, c := range map[string]struct {
		call  func() error
		limit uint64
	}{
		"last messages":   {func() error { _, err := f.LastMessages(ctx, refs); return err }, 500},
		"latest":          {func() error { _, err := f.Latest(ctx, refs); return err }, 500},
		"find operations": {func() error { _, err := f.FindOperations(ctx, ops); return err }, 20},
		"history":         {func() error { _, err := f.History(ctx, pair, 0, 20, Since{}); return err }, 50},
		"old history":     {func() error { _, err := f.History(ctx, group, 5000, 20, Since{}); return err }, 50},
		"message at":      {func() error { _, err := f.MessageAt(ctx, pair, 5000); return err }, 5},
		"by operation":    {func() error { _, err := f.ByOperation(ctx, opID(long-1)); return err }, 3000},
		"positions":       {func() error { _, _, err := f.Positions(ctx, group.Conv); return err }, 500},
		"by ids":          {func() error { _, err := f.ByIDs(ctx, group, []im.MsgID{5, 500, 5000}, Since{}); return err }, 20},
		"unread all":      {func() error { _, err := f.UnreadAll(ctx, u[0]); return err }, 1000},
		"sessions":        {func() error { _, err := f.Sessions(ctx, u[0], 0, 100); return err }, 1000},
		"relations": {func() error {
			_, err := f.Relations(ctx, []im.Pair{pair.Conv.Pair, im.PairOf(u[0], u[5])})
			return err
		}, 20},
	} {
		first := f.rowsTouched(t)
		before := f.rowsTouched(t)
		own := before - first // what looking at the counters adds to them
		check(t, c.call())
		if n := f.rowsTouched(t) - before - own; n > c.limit {
			t.Errorf("%s touched %d rows, want at most %d", name, n, c.limit)
		} else {
			t.Logf("%s touched %d rows", name, n)
		}
	}
}

// rowsTouched reads the connection's counters of rows read.
func (f fixture) rowsTouched(t *testing.T) (sum uint64) {
	t.Helper()
	scan := func(r scanner) (n uint64, err error) { var name string; return n, r.Scan(&name, &n) }
	check(t, f.read(t.Context(), "status", f.exact, func(q querier) error {
		all, err := list(t.Context(), q, scan, "SHOW SESSION STATUS WHERE Variable_name LIKE 'Handler_read%'")
		sum = 0
		for _, n := range all {
			sum += n
		}
		return err
	}))
	return sum
}
