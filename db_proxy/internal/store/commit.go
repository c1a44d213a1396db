package store

import (
	"cmp"
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"slices"
	"time"
	"unicode/utf8"

	"teamtalk/internal/im"
)

// insertRows is how many rows one INSERT has at most: 10,000 values, one of
// them per row a placeholder.
const insertRows = 1000

// rowBytes is about what a message takes in a statement, without its content.
const rowBytes = 160

// Commit stores a batch in one transaction. A nil error means that it is
// durable. ErrDuplicate: a message id or an operation id was taken, nothing
// was stored. Any other error leaves nothing behind either, unless
// ErrOutcomeUnknown is in its chain.
//
// Tables, rows and sessions are written in one order by everybody, and on
// MySQL the transaction travels in one packet, so locks are held for about the
// time of the commit's fsync.
func (s *Store) Commit(ctx context.Context, b *Batch) error {
	if err := checkBatch(b); err != nil {
		return err
	}
	var w writes
	s.addMessages(&w, b.Messages)
	s.addSessions(&w, b.Sessions)
	s.addCursors(&w, b.Cursors)
	return s.commit(ctx, "commit", w.all, func() error {
		if b.Epoch.ID != s.Believed().ID {
			return ErrWentBack
		}
		return nil
	})
}

// MoveCursors moves read cursors forward; one that is ahead already stays.
func (s *Store) MoveCursors(ctx context.Context, cursors []Cursor) error {
	var w writes
	s.addCursors(&w, cursors)
	return s.commit(ctx, "move_cursors", w.all, nil)
}

// WriteActivity moves times forward: of sessions that are shown, creating and
// reviving none, and of groups. While an original db_proxy may read the tables,
// the lines of these groups are written, too.
func (s *Store) WriteActivity(ctx context.Context, a Activity) error {
	var w writes
	s.addTouches(&w, a.Sessions)
	s.addGroupTimes(&w, a.Groups)
	if s.takenOver {
		s.addGroupLines(&w, a.Groups)
	}
	return s.commit(ctx, "write_activity", w.all, nil)
}

// checkBatch refuses what the database would refuse, by name.
func checkBatch(b *Batch) error {
	for i := range b.Messages {
		m := &b.Messages[i]
		switch err := Storable(m.Conv.Kind, m.Type, m.Content); {
		case err != nil:
			return im.Wrap(im.CodeOf(err), fmt.Sprintf("store: message %d of %s", m.ID, m.Conv), err)
		case m.ref().key() == 0:
			return im.Errorf(im.Invalid, "store: message %d of %s has no relation or group", m.ID, m.Conv)
		case m.ID == 0 || m.ID > im.MaxMsgID:
			return im.Errorf(im.Invalid, "store: message id %d in %s", m.ID, m.Conv)
		}
	}
	return nil
}

// Storable says why no database takes a message, whatever its number is; nil
// if all do. Every valid UTF-8 is taken, zero bytes and characters of four bytes
// included, up to im.MaxText characters. Whoever gives a message its number
// asks before: a number that is used up by a message which cannot be stored
// holds up those after it.
func Storable(kind im.Kind, t im.MsgType, content string) error {
	switch {
	case !kind.Valid() || t.Kind() != kind:
		return im.Errorf(im.Invalid, "type %#x in a conversation of %v", uint8(t), kind)
	case len(content) > im.MaxText && utf8.RuneCountInString(content) > im.MaxText:
		return im.Errorf(im.TooLarge, "content of %d bytes", len(content))
	case !utf8.ValidString(content):
		return im.Errorf(im.Invalid, "content is not UTF-8")
	}
	return nil
}

func (m *Message) ref() ConvRef { return ConvRef{m.Conv, m.Relation} }

// writes collects the statements of one transaction.
type writes struct{ all []*stmt }

// begin starts a statement, or goes on with the last one of the same start
// while there is room for another row of about extra bytes.
func (w *writes) begin(s *Store, same bool, extra int, start func() *stmt) *stmt {
	if n := len(w.all); same && n > 0 {
		if last := w.all[n-1]; last.rows < insertRows && last.bytes()+extra < s.packet/2 {
			return last
		}
	}
	st := start()
	w.all = append(w.all, st)
	return st
}

func (s *Store) addMessages(w *writes, msgs []Message) {
	order := make([]*Message, len(msgs))
	for i := range msgs {
		order[i] = &msgs[i]
	}
	for _, a := range byTable(order, len(order), func(m *Message) ConvRef { return m.ref() }) {
		slices.SortStableFunc(a.of, func(x, y *Message) int {
			return cmp.Or(cmp.Compare(x.ref().key(), y.ref().key()), cmp.Compare(x.ID, y.ID))
		})
		for i, m := range a.of {
			st := w.begin(s, i > 0, 2*len(m.Content)+rowBytes, func() *stmt {
				return s.insertMessages(a.family, a.shard).grow(min(len(a.of)-i, insertRows))
			})
			st.row(uint64(m.ref().key())).col(uint64(m.From))
			if m.Conv.Kind == im.Single {
				st.col(uint64(m.To))
			}
			st.col(uint64(m.ID)).col(uint64(m.Type)).col(uint64(m.Created)).col(uint64(m.Created))
			st.text = append(st.text, ',')
			st.op(m.Op)
			st.text = append(st.text, ',')
			st.str(m.Content).end()
		}
	}
}

func (s *Store) insertMessages(f *family, shard uint32) *stmt {
	st := newStmt(s.dialect, "INSERT INTO ").table(f.table, shard)
	if f.kind == im.Group {
		return st.add(" (groupId, userId, msgId, type, created, updated, opId, content) VALUES ")
	}
	return st.add(" (relateId, fromId, toId, msgId, type, created, updated, opId, content) VALUES ")
}

func compareKeys(a, b SessionKey) int {
	return cmp.Or(cmp.Compare(a.User, b.User), cmp.Compare(a.Peer, b.Peer), cmp.Compare(a.Kind, b.Kind))
}

// addSessions makes sessions or revives them.
func (s *Store) addSessions(w *writes, touches []SessionTouch) {
	touches = slices.Clone(touches)
	slices.SortFunc(touches, func(a, b SessionTouch) int { return compareKeys(a.SessionKey, b.SessionKey) })
	for part := range slices.Chunk(touches, insertRows) {
		st := newStmt(s.dialect, "INSERT INTO IMRecentSession (userId, peerId, type, status, created, updated) VALUES ")
		for _, t := range part {
			st.row(uint64(t.User)).col(uint64(t.Peer)).col(uint64(t.Kind)).col(0).
				col(uint64(t.Updated)).col(uint64(t.Updated)).end()
		}
		w.all = append(w.all, st.add(" ON DUPLICATE KEY UPDATE status = 0, updated = GREATEST(updated, VALUES(updated))"))
	}
}

func (s *Store) addCursors(w *writes, cursors []Cursor) {
	now := uint64(s.now())
	cursors = slices.Clone(cursors)
	slices.SortFunc(cursors, func(a, b Cursor) int { return compareKeys(a.SessionKey, b.SessionKey) })
	for part := range slices.Chunk(cursors, insertRows) {
		st := newStmt(s.dialect, "INSERT INTO IMReadCursor (userId, type, peerId, msgId, updated) VALUES ")
		for _, c := range part {
			st.row(uint64(c.User)).col(uint64(c.Kind)).col(uint64(c.Peer)).col(uint64(c.Read)).col(now).end()
		}
		w.all = append(w.all, st.add(" ON DUPLICATE KEY UPDATE msgId = GREATEST(msgId, VALUES(msgId)),"+
			" updated = GREATEST(updated, VALUES(updated))"))
	}
}

// addTouches groups sessions by time: what is written behind once a second
// has two or three of them.
func (s *Store) addTouches(w *writes, touches []SessionTouch) {
	touches = slices.Clone(touches)
	slices.SortFunc(touches, func(a, b SessionTouch) int {
		return cmp.Or(cmp.Compare(a.Updated, b.Updated), compareKeys(a.SessionKey, b.SessionKey))
	})
	for len(touches) > 0 {
		n, t := 1, uint64(touches[0].Updated)
		for n < min(len(touches), maxArms) && uint64(touches[n].Updated) == t {
			n++
		}
		st := newStmt(s.dialect, "UPDATE IMRecentSession SET updated = ").num(t).
			add(" WHERE status = 0 AND updated < ").num(t).add(" AND (")
		for i, x := range touches[:n] {
			if i > 0 {
				st.add(" OR ")
			}
			st.add("userId=").num(uint64(x.User)).add(" AND peerId=").num(uint64(x.Peer)).add(" AND type=").num(uint64(x.Kind))
		}
		w.all = append(w.all, st.add(")"))
		touches = touches[n:]
	}
}

func (s *Store) addGroupTimes(w *writes, times map[im.GroupID]uint32) {
	at := make(map[uint32][]im.GroupID)
	for g, t := range times {
		at[t] = append(at[t], g)
	}
	for t, ids := range at {
		slices.Sort(ids)
		st := newStmt(s.dialect, "UPDATE IMGroup SET lastChated = ").num(uint64(t)).
			add(" WHERE lastChated < ").num(uint64(t)).add(" AND id IN ")
		w.all = append(w.all, nums(st, ids))
	}
}

// commit runs statements in one transaction.
func (s *Store) commit(ctx context.Context, point string, all []*stmt, still func() error) error {
	if len(all) == 0 {
		return nil
	}
	if err := s.fault(ctx, point); err != nil {
		return err
	}
	err := s.repeat(ctx, point, func() error {
		return s.write.use(ctx, true, func(c *sql.Conn) error {
			if still != nil {
				if err := still(); err != nil {
					return err
				}
			}
			if s.dialect.sqlite {
				return commitTx(ctx, c, all)
			}
			return commitPackets(ctx, c, packets(all, s.packet))
		})
	})
	if err != nil {
		return err
	}
	return s.fault(ctx, point+":done")
}

func commitTx(ctx context.Context, c *sql.Conn, all []*stmt) error {
	tx, err := c.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	for _, st := range all {
		if _, err := tx.ExecContext(ctx, st.String(), st.args...); err != nil {
			_ = tx.Rollback() // the connection is discarded if this fails
			return err
		}
	}
	if err = tx.Commit(); err != nil && !errors.Is(err, sql.ErrTxDone) {
		return im.Wrap(im.Unavailable, "commit", fmt.Errorf("%w: %w", ErrOutcomeUnknown, err))
	}
	return err
}

// packet is a text of several statements.
type packet struct {
	text []byte
	args []any
	size int
}

// packets packs a transaction into as few packets of at most limit bytes as
// possible. A single statement needs no transaction around it.
func packets(all []*stmt, limit int) []packet {
	if len(all) == 1 {
		return []packet{{text: all[0].text, args: all[0].args}}
	}
	texts, args := 64, 0
	for _, st := range all {
		texts += len(st.text) + len(";\n")
		args += len(st.args)
	}
	ps := []packet{{text: append(make([]byte, 0, texts), "START TRANSACTION"...), args: make([]any, 0, args)}}
	for _, st := range all {
		p := &ps[len(ps)-1]
		if p.size+st.bytes()+64 > limit {
			ps = append(ps, packet{})
			p = &ps[len(ps)-1]
		}
		if len(p.text) > 0 {
			p.text = append(p.text, ";\n"...)
		}
		p.text = append(p.text, st.text...)
		p.args = append(p.args, st.args...)
		p.size += st.bytes()
	}
	last := &ps[len(ps)-1]
	last.text = append(last.text, ";\nCOMMIT"...)
	return ps
}

// commitPackets sends a transaction. After an error the connection is either
// clean again or gone.
func commitPackets(ctx context.Context, c *sql.Conn, ps []packet) error {
	for i, p := range ps {
		_, err := c.ExecContext(ctx, string(p.text), p.args...)
		if err == nil {
			continue
		}
		rollback(ctx, c)
		if i < len(ps)-1 {
			return err // the COMMIT was never sent
		}
		if err = classify(err); answered(err) {
			return err
		}
		return im.Wrap(im.Unavailable, "commit", fmt.Errorf("%w: %w", ErrOutcomeUnknown, err))
	}
	return nil
}

// answered reports whether err says for certain that nothing was stored: the
// server refused a statement, or never got one. A node that leaves its cluster
// may have sent the transaction to the others before.
func answered(err error) bool {
	if undone(err) || errors.Is(err, ErrDuplicate) || im.CodeOf(err) != im.Unavailable {
		return true
	}
	number, ok := mysqlNumber(err)
	return ok && number != nodeNotReady && number != shuttingDown && number != 1180 && number != 1317 && number != 1927
}

// rollback ends a transaction that failed, even if ctx is over, and throws
// the connection away if that does not work.
func rollback(ctx context.Context, c *sql.Conn) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	if _, err := c.ExecContext(ctx, "ROLLBACK"); err != nil {
		_ = c.Raw(func(any) error { return driver.ErrBadConn }) // removes it from the pool
	}
}
