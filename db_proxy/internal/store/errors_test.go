package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"

	"teamtalk/internal/im"
)

func TestClassify(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		err  error
		code im.Code
	}{
		"deadlock":      {&mysql.MySQLError{Number: 1213}, im.Unavailable},
		"lock wait":     {&mysql.MySQLError{Number: 1205}, im.Unavailable},
		"disk full":     {&mysql.MySQLError{Number: 1114}, im.Unavailable},
		"too long":      {&mysql.MySQLError{Number: 1406}, im.Invalid},
		"syntax":        {&mysql.MySQLError{Number: 1064}, im.Internal},
		"lost":          {mysql.ErrInvalidConn, im.Unavailable},
		"deadline":      {context.DeadlineExceeded, im.Unavailable},
		"closed":        {sql.ErrConnDone, im.Unavailable},
		"ours":          {im.Errorf(im.NotFound, "x"), im.NotFound},
		"wrapped ours":  {fmt.Errorf("y: %w", im.Errorf(im.Denied, "x")), im.Denied},
		"anything else": {errors.New("x"), im.Internal},
	} {
		if got := im.CodeOf(classify(c.err)); got != c.code {
			t.Errorf("%s: %v, want %v", name, got, c.code)
		}
		if again := classify(classify(c.err)); again.Error() != classify(c.err).Error() {
			t.Errorf("%s: classified twice %v", name, again)
		}
	}
	if classify(nil) != nil {
		t.Error("nil is an error")
	}
}

// A batch that waits for another writer's lock gives up after two seconds and
// leaves nothing.
func TestLockWait(t *testing.T) {
	t.Parallel()
	f := newStore(t, MySQL)
	ctx := t.Context()
	a, b := f.relation(t, 1, 2), f.relation(t, 1, 3)
	other := must(f.write.db.BeginTx(ctx, nil))(t)
	defer other.Rollback()
	insert := fmt.Sprintf("INSERT INTO IMMessage_%d (relateId, fromId, toId, msgId, updated, created) VALUES (%d, 1, 2, 1, 1, 1)", b.Relation%8, b.Relation)
	_, err := other.ExecContext(ctx, insert)
	check(t, err)

	start := time.Now()
	err = f.Commit(ctx, &Batch{Messages: []Message{f.text(a, 1, 1, "x"), f.text(b, 1, 1, "y")}})
	wantCode(t, err, im.Unavailable)
	if !IsTransient(err) || errors.Is(err, ErrOutcomeUnknown) {
		t.Errorf("error %v after %v", err, time.Since(start))
	}
	check(t, other.Rollback())
	if l := must(f.LastMessages(ctx, []ConvRef{a}))(t)[a.Conv]; l.ID != 0 {
		t.Errorf("message %d stayed", l.ID)
	}
	check(t, f.Commit(ctx, &Batch{Messages: []Message{f.text(a, 1, 1, "x"), f.text(b, 1, 1, "y")}}))
}

// The victim of a deadlock is repeated and succeeds.
func TestDeadlock(t *testing.T) {
	t.Parallel()
	f := newStore(t, MySQL)
	ctx := t.Context()
	check(t, f.MoveCursors(ctx, []Cursor{{SessionKey{1, im.Group, 1}, 1}, {SessionKey{2, im.Group, 1}, 1}}))
	lock := func(q querier, user int) error {
		_, err := q.exec(ctx, "UPDATE IMReadCursor SET msgId = msgId + 1 WHERE userId = ?", user)
		return err
	}
	tries, held, resume := 0, make(chan struct{}), make(chan struct{})
	done := make(chan error, 1)
	go func() {
		done <- f.update(ctx, "first", func(q querier) error {
			if tries++; tries > 1 {
				return errors.Join(lock(q, 2), lock(q, 1))
			}
			if err := lock(q, 1); err != nil {
				return err
			}
			close(held)
			<-resume
			return lock(q, 2)
		})
	}()
	<-held
	second := 0
	err := f.update(ctx, "second", func(q querier) error {
		if second++; second == 1 {
			if err := lock(q, 2); err != nil {
				return err
			}
			close(resume)
			return lock(q, 1)
		}
		return errors.Join(lock(q, 2), lock(q, 1))
	})
	check(t, errors.Join(err, <-done))
	if tries+second != 3 {
		t.Errorf("%d tries, want one repetition", tries+second)
	}
	for user := range im.UserID(2) {
		if c := must(f.Cursors(ctx, user+1))(t); c[0].Read != 3 {
			t.Errorf("cursor of %d is %d, want 3", user+1, c[0].Read)
		}
	}
}

func TestAcquireTimeout(t *testing.T) {
	t.Parallel()
	cfg := Config{Driver: MySQL, Master: mariadb(t)}
	cfg.Master.MaxConns, cfg.Master.AcquireTimeout = 1, 50*time.Millisecond
	f := open(t, cfg)
	c := must(f.write.db.Conn(t.Context()))(t)
	patience, cancel := context.WithTimeout(t.Context(), 10*time.Second) // far beyond the bound
	defer cancel()
	_, err := f.LatestUserUpdate(patience)
	wantCode(t, err, im.Unavailable)
	if !strings.Contains(err.Error(), "no database connection became free") {
		t.Errorf("error %v", err)
	}
	check(t, c.Close())
	must(f.LatestUserUpdate(t.Context()))(t)
}

func TestFaults(t *testing.T) {
	t.Parallel()
	f := newStore(t, SQLite)
	r := f.relation(t, 1, 2)
	broken, at := errors.New("broken"), ""
	f.Store.deps.Fault = func(_ context.Context, point string) error {
		if point == at {
			return broken
		}
		return nil
	}
	ctx := t.Context()
	for id, c := range []struct {
		point  string
		stored im.MsgID
	}{{"commit", 0}, {"commit:done", 1}} {
		at = c.point
		if err := f.Commit(ctx, &Batch{Messages: []Message{f.text(r, 1, 1, "x")}}); !errors.Is(err, broken) {
			t.Errorf("%s: error %v", c.point, err)
		}
		if l := must(f.LastMessages(ctx, []ConvRef{r}))(t)[r.Conv]; l.ID != c.stored {
			t.Errorf("case %d: last id %d, want %d", id, l.ID, c.stored)
		}
	}
	at = "users"
	if _, err := f.Users(ctx, []im.UserID{1}); !errors.Is(err, broken) {
		t.Errorf("users: error %v", err)
	}
}

// The engine refuses what does not fit, the store says so.
func TestInvalidValues(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, f fixture) {
		_, err := f.CreateUsers(t.Context(), []NewUser{{Name: "x", Credentials: Credentials{Salt: "12345"}}})
		wantCode(t, err, im.Invalid)
		if got := must(f.ListUsers(t.Context()))(t); len(got) != 0 {
			t.Errorf("accounts %v", got)
		}
	})
}

func TestCancelled(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, f fixture) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := f.LatestUserUpdate(ctx)
		wantCode(t, err, im.Unavailable)
		wantCode(t, f.MoveCursors(ctx, []Cursor{{SessionKey{1, im.Group, 1}, 1}}), im.Unavailable)
	})
}
