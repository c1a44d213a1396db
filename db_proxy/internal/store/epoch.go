package store

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/hex"
	"time"

	"teamtalk/internal/im"
)

// Epoch is a time in which the database only went forward. One that was restored,
// or lost its newest messages with its primary, begins another one.
type Epoch struct {
	ID [16]byte
	// Began is when the database was found to have gone back; zero if it never
	// was. Ids of messages that are older may have been followed by others.
	Began time.Time
}

// ErrWentBack is the error of a call that rests on what was known before the
// database went back to an earlier state; nothing was stored.
var ErrWentBack = im.Errorf(im.Unavailable, "the database went back to an earlier state")

// String names the epoch for logs.
func (e Epoch) String() string { return hex.EncodeToString(e.ID[:4]) }

// Follows reports whether e was begun after another epoch. A database that was
// restored again from the same backup is in an epoch that was over, and lost
// messages by it as well.
func (e Epoch) Follows(other Epoch) bool { return !e.Began.IsZero() && !e.Began.Before(other.Began) }

// through returns the store as it is seen through one connection, which the
// caller holds.
func (s *Store) through(c *sql.Conn) *Store {
	only := &pool{only: c}
	return &Store{deps: Deps{Log: s.deps.Log, Clock: s.deps.Clock}, dialect: s.dialect, write: only, exact: only}
}

// Believe says in which epoch the database is taken to be. What was found out
// in another one is not stored any more, see Batch.
func (s *Store) Believe(e Epoch) { s.believed.Store(&e) }

// Believed returns the epoch that Believe was last told, the zero one before.
func (s *Store) Believed() Epoch {
	if e := s.believed.Load(); e != nil {
		return *e
	}
	return Epoch{}
}

// Epoch returns the epoch of the database.
func (s *Store) Epoch(ctx context.Context) (Epoch, error) {
	e, known, err := s.readEpoch(ctx)
	if err != nil || known {
		return e, err
	}
	if err := s.setEpoch(ctx, nil, 0); err != nil {
		return e, err
	}
	e, _, err = s.readEpoch(ctx)
	return e, err
}

// NewEpoch ends an epoch and returns the one that follows. Of several that end
// the same one, the first decides.
func (s *Store) NewEpoch(ctx context.Context, old Epoch) (Epoch, error) {
	if err := s.setEpoch(ctx, old.ID[:], s.now()); err != nil {
		return Epoch{}, err
	}
	return s.Epoch(ctx)
}

func (s *Store) readEpoch(ctx context.Context) (e Epoch, known bool, err error) {
	type row struct {
		id    []byte
		began int64
	}
	scan := func(r scanner) (v row, err error) { return v, r.Scan(&v.id, &v.began) }
	err = s.read(ctx, "epoch", s.exact, func(q querier) error {
		all, err := list(ctx, q, scan, "SELECT epoch, epochBegan FROM IMClock WHERE id = 1")
		if err != nil {
			return err
		}
		if len(all) == 0 {
			return im.Errorf(im.Internal, "store: the row of IMClock is missing")
		}
		if known = len(all[0].id) == len(e.ID); known {
			copy(e.ID[:], all[0].id)
			if all[0].began > 0 {
				e.Began = time.Unix(all[0].began, 0)
			}
		}
		return nil
	})
	return e, known, err
}

// setEpoch replaces one epoch, or none, by a new one.
func (s *Store) setEpoch(ctx context.Context, old []byte, began uint32) error {
	var id [16]byte
	_, _ = rand.Read(id[:]) // never fails
	if old == nil {
		old = []byte{}
	}
	return s.update(ctx, "set_epoch", func(q querier) error {
		_, err := q.exec(ctx, "UPDATE IMClock SET epoch = ?, epochBegan = ? WHERE id = 1 AND epoch = ?", id[:], began, old)
		return err
	})
}
