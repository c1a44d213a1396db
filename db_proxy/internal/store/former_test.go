package store

import (
	"testing"
	"time"

	"teamtalk/internal/im"
)

// A database made by this version is never asked for former ids; one that was
// upgraded is, until operations are younger than the upgrade by days.
func TestFindFormer(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, f fixture) {
		ctx := t.Context()
		u := f.users(t, 2)
		pair := f.relation(t, u[0], u[1])
		const given = "same-1"
		m := f.text(pair, 1, u[0], "before the upgrade")
		m.Op = im.FormerOperationOf(given)
		check(t, f.Commit(ctx, &Batch{Messages: []Message{m}}))
		find := func(now im.OperationID) im.MsgID {
			t.Helper()
			op := Operation{pair.Conv, pair.Relation, u[0], now}
			return must(f.FindFormer(ctx, []FormerOperation{{op, m.Op}}))(t)[op]
		}
		untimed := im.OperationOf(im.OfClient, pair.Conv, given)
		if id := find(untimed); id != 0 {
			t.Errorf("found #%d in a new database", id)
		}
		at := time.Unix(1_800_000_000, 0)
		_, err := f.write.db.ExecContext(ctx, "INSERT INTO IMUpgrade (what, at) VALUES ('operation_ids', 1800000000)")
		check(t, err)
		f.upgrade.Store(0)
		for name, c := range map[string]struct {
			op   im.OperationID
			want im.MsgID
		}{
			"without a time":  {untimed, 1},
			"before":          {im.NewOperationID(at.Add(-time.Hour)), 1},
			"a day after":     {im.NewOperationID(at.Add(24 * time.Hour)), 1},
			"three days late": {im.NewOperationID(at.Add(72 * time.Hour)), 0},
		} {
			if id := find(c.op); id != c.want {
				t.Errorf("%s: #%d, want #%d", name, id, c.want)
			}
		}
	})
}
