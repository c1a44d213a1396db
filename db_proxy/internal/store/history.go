package store

import (
	"context"
	"slices"

	"teamtalk/internal/im"
)

// MaxPage is how many messages one call of History returns at most.
const MaxPage = 1000

// History returns at most count messages of a conversation that clients may
// see, newest first: those with an id of at most begin, 0 meaning the newest.
// Of a group only what a member may see who joined there. It may lag only
// when begin proves that it does not. Source: docs/protocol/flows.md §9.1.
func (s *Store) History(
	ctx context.Context, ref ConvRef, begin im.MsgID, count int, since Since,
) ([]Message, error) {
	if ref.key() == 0 || count <= 0 {
		return nil, nil
	}
	upTo := begin
	if begin == 0 {
		upTo = im.MaxMsgID
	}
	build := func(st *stmt) {
		st.add(" AND m.msgId <= ").num(uint64(upTo)).add(" ORDER BY m.msgId DESC LIMIT ").num(uint64(min(count, MaxPage)))
	}
	// Ids are committed in their order, so a slave that has the first message
	// of the page has all of it.
	return s.page(ctx, ref, since, build, func(all []Message) bool {
		return begin != 0 && len(all) > 0 && all[0].ID == begin
	})
}

// ByIDs returns the messages with the given ids that clients may see, newest
// first; at most im.MaxHistory ids are looked at.
// Source: docs/protocol/flows.md §9.2.
func (s *Store) ByIDs(ctx context.Context, ref ConvRef, ids []im.MsgID, since Since) ([]Message, error) {
	ids = slices.Compact(slices.Sorted(slices.Values(ids)))
	ids = ids[max(0, len(ids)-im.MaxHistory):]
	if ref.key() == 0 || len(ids) == 0 {
		return nil, nil
	}
	build := func(st *stmt) { nums(st.add(" AND m.msgId IN "), ids).add(" ORDER BY m.msgId DESC") }
	return s.page(ctx, ref, since, build, func(all []Message) bool { return len(all) == len(ids) })
}

// page reads messages from the slave if what it has is proven complete, else
// from the master. What was stored before a member joined is cut off here, not
// in SQL: there the limit would not be reached, and the whole group be read.
func (s *Store) page(
	ctx context.Context, ref ConvRef, since Since, build func(*stmt), complete func([]Message) bool,
) ([]Message, error) {
	f := familyOf(ref.Conv.Kind)
	read := func(p *pool) (all []Message, err error) {
		err = s.read(ctx, "history", p, func(q querier) error {
			st := q.stmt("SELECT ")
			messageColumns(st, f).add(" FROM ").table(f.table, ref.key()%im.Shards).add(" m WHERE m.").add(f.key).
				add(" = ").num(uint64(ref.key())).add(" AND m.status = 0 AND m.type IN ").add(f.types)
			build(st)
			all, err = listStmt(ctx, q, ref.scan, st)
			return err
		})
		return all, err
	}
	all, ok := []Message(nil), false
	if s.lagging != nil {
		some, err := read(s.lagging)
		all, ok = some, err == nil && complete(some)
	}
	if !ok {
		var err error
		if all, err = read(s.exact); err != nil {
			return nil, err
		}
	}
	return slices.DeleteFunc(all, func(m Message) bool { return !since.Shows(&m) }), nil
}

// messageColumns appends the columns that scan reads, of a table called m.
func messageColumns(st *stmt, f *family) *stmt {
	st.add("m.msgId, m.").add(f.sender).add(", ")
	if f.kind == im.Single {
		st.add("m.")
	}
	return st.add(f.to).add(", m.type, COALESCE(m.content, ''), m.created, m.opId")
}

func (m *Message) dest(op *[]byte) []any {
	return []any{&m.ID, &m.From, &m.To, &m.Type, &m.Content, &m.Created, op}
}

// scan reads a message of this conversation.
func (r ConvRef) scan(row scanner) (Message, error) {
	m := Message{Conv: r.Conv, Relation: r.Relation}
	var op []byte
	err := row.Scan(m.dest(&op)...)
	copy(m.Op[:], op)
	return m, err
}

// Latest returns the newest message of each conversation that clients may
// see; a conversation without one is absent.
func (s *Store) Latest(ctx context.Context, refs []ConvRef) (map[im.Conversation]Message, error) {
	type row struct {
		keyed
		m Message
	}
	scan := func(r scanner) (v row, err error) {
		var op []byte
		var again im.MsgID // newest selects msgId before our columns do
		err = r.Scan(append([]any{&v.kind, &v.key, &again}, v.m.dest(&op)...)...)
		copy(v.m.Op[:], op)
		return v, err
	}
	conv, latest := index(refs), make(map[im.Conversation]Message, len(refs))
	arms := byTable(refs, 1000, self)
	if len(arms) == 0 {
		return latest, nil
	}
	err := s.read(ctx, "latest", s.exact, func(q querier) error {
		rows, err := listStmt(ctx, q, scan, union(q, arms, func(st *stmt, a arm[ConvRef]) {
			columns := messageColumns(newStmt(q.d, ""), a.family).String()
			newest(st, a, columns, " AND x.status = 0 AND x.type IN "+a.types)
		}))
		for _, r := range rows {
			r.m.Conv = conv[r.keyed]
			if r.kind == im.Single {
				r.m.Relation = im.RelationID(r.key)
			}
			latest[r.m.Conv] = r.m
		}
		return err
	})
	return latest, err
}
