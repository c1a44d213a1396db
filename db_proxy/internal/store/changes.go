package store

import (
	"context"
	"time"
)

// changeAge is how long the change log is kept. Who has not read it for that
// long reads everything anew.
const changeAge = 24 * time.Hour

// Changes returns at most limit entries of the change log after an id, in
// order, and never one without those before it: who goes on after the last one
// misses none.
//
// The lock of the log is not enough for that. A transaction has its number
// before it waits for the lock, and MariaDB lists the transactions that are
// under way while these end: of two that followed one another the list may
// hold the first and not the second, and then only the second's entries are
// seen. Their ids show a hole, and a read with locks, which looks at what is
// committed and waits for what is not, fills it. What was rolled back leaves
// a hole, too, which costs this second read once.
func (s *Store) Changes(ctx context.Context, after uint64, limit int) (all []Change, err error) {
	const text = "SELECT id, kind, subject FROM IMChange WHERE id > ? ORDER BY id LIMIT ?"
	scan := func(r scanner) (c Change, err error) { return c, r.Scan(&c.ID, &c.Kind, &c.Subject) }
	err = s.read(ctx, "changes", s.exact, func(q querier) error {
		all, err = list(ctx, q, scan, text, after, limit)
		if n := len(all); err == nil && n > 0 && all[n-1].ID != after+uint64(n) {
			all, err = list(ctx, q, scan, text+" /*! FOR UPDATE */", after, limit)
		}
		return err
	})
	return all, err
}

// LastChange returns the id of the newest entry of the change log, 0 when it
// is empty.
func (s *Store) LastChange(ctx context.Context) (id uint64, err error) {
	err = s.read(ctx, "last_change", s.exact, func(q querier) error {
		id, err = number(ctx, q, "SELECT COALESCE(MAX(id), 0) FROM IMChange")
		return err
	})
	return id, err
}

// PruneChanges removes entries older than a day and returns how many.
func (s *Store) PruneChanges(ctx context.Context) (n int64, err error) {
	before := s.now() - uint32(changeAge/time.Second)
	err = s.update(ctx, "prune_changes", func(q querier) error {
		n, err = q.exec(ctx, "DELETE FROM IMChange WHERE created < ?", before)
		return err
	})
	return n, err
}

// lockLog takes the lock that every transaction which appends to the change
// log takes first: ids of entries and times given out by userTime rise in the
// order of the commits. It returns the last such time.
func lockLog(ctx context.Context, q querier) (uint32, error) {
	n, err := number(ctx, q, "SELECT userUpdated FROM IMClock WHERE id = 1 /*! FOR UPDATE */")
	return uint32(n), err
}

// logChanges appends to the change log; the caller holds lockLog.
func (s *Store) logChanges(ctx context.Context, q querier, kind ChangeKind, subjects ...uint32) error {
	if len(subjects) == 0 {
		return nil
	}
	st := q.stmt("INSERT INTO IMChange (kind, subject, created) VALUES ")
	now := uint64(s.now())
	for _, id := range subjects {
		st.row(uint64(kind)).col(uint64(id)).col(now).end()
	}
	return q.run(ctx, st)
}

// userTime takes the lock of the change log and returns the value for
// IMUser.updated of this transaction: now, but later than every one before,
// because clients ignore a list of users whose newest time they know already.
// Source: docs/protocol/flows.md §11.
func (s *Store) userTime(ctx context.Context, q querier) (uint32, error) {
	last, err := lockLog(ctx, q)
	if err != nil {
		return 0, err
	}
	newest, err := number(ctx, q, "SELECT COALESCE(MAX(updated), 0) FROM IMUser") // others write there, too
	if err != nil {
		return 0, err
	}
	t := max(s.now(), last+1, uint32(newest)+1)
	_, err = q.exec(ctx, "UPDATE IMClock SET userUpdated = ? WHERE id = 1", t)
	return t, err
}
