package store

import (
	"context"
	"time"

	"teamtalk/internal/im"
)

// FormerOperation is a send whose id an earlier version would have stored in
// another form.
type FormerOperation struct {
	Operation
	Former im.OperationID
}

// formerFor is how long after an upgrade the former ids of new messages are
// looked up as well: repeats come late, servers of the earlier version may
// still be running, and the clocks of clients differ.
const formerFor = 48 * time.Hour

// FindFormer returns the message ids of sends that an earlier version stored
// under their former ids. A database that was made by this version is not
// asked, and neither is any for an operation that was begun long after the
// upgrade.
func (s *Store) FindFormer(ctx context.Context, ops []FormerOperation) (map[Operation]im.MsgID, error) {
	if len(ops) == 0 {
		return nil, nil
	}
	upgraded, err := s.upgraded(ctx)
	if err != nil || upgraded.IsZero() {
		return nil, err
	}
	asked := make([]Operation, 0, len(ops))
	now := make(map[Operation]Operation, len(ops))
	for _, o := range ops {
		if made, known := o.ID.Time(); known && made.After(upgraded.Add(formerFor)) {
			continue
		}
		former := o.Operation
		former.ID = o.Former
		asked = append(asked, former)
		now[former] = o.Operation
	}
	if len(asked) == 0 {
		return nil, nil
	}
	found, err := s.FindOperations(ctx, asked)
	stored := make(map[Operation]im.MsgID, len(found))
	for former, id := range found {
		if id != 0 {
			stored[now[former]] = id
		}
	}
	return stored, err
}

// neverUpgraded stands in Store.upgrade for a database without former ids.
const neverUpgraded = -1

// upgraded returns when the database of an earlier version was upgraded to
// operation ids that belong to a conversation; zero for one that never held
// others. It is asked for once.
func (s *Store) upgraded(ctx context.Context) (time.Time, error) {
	at := s.upgrade.Load()
	if at == 0 {
		err := s.read(ctx, "upgraded", s.exact, func(q querier) error {
			scan := func(r scanner) (v int64, err error) { return v, r.Scan(&v) }
			rows, err := list(ctx, q, scan, "SELECT at FROM IMUpgrade WHERE what = 'operation_ids'")
			if at = neverUpgraded; len(rows) > 0 {
				at = rows[0]
			}
			return err
		})
		if err != nil {
			return time.Time{}, err
		}
		s.upgrade.Store(at)
	}
	if at == neverUpgraded {
		return time.Time{}, nil
	}
	return time.Unix(at, 0), nil
}
