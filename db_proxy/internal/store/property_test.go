package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"teamtalk/internal/im"
)

// TestCommitModel compares any commits with a map: a batch is stored as a whole
// or not at all, an id and an operation are taken once, cursors only rise.
func TestCommitModel(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, f fixture) {
		next := im.UserID(100)
		rapid.Check(t, func(rt *rapid.T) {
			next += 2 // a conversation of its own for each case
			a, b := next, next+1
			r := f.relation(t, a, b)
			stored, ops, read := map[im.MsgID]Message{}, map[Operation]im.MsgID{}, im.MsgID(0)
			for range rapid.IntRange(1, 12).Draw(rt, "commits") {
				batch, fits := &Batch{}, true
				ids, taken := map[im.MsgID]bool{}, map[Operation]bool{}
				for _, id := range rapid.SliceOfNDistinct(rapid.IntRange(1, 15), 0, 4, rapid.ID[int]).Draw(rt, "ids") {
					m := f.text(r, im.MsgID(id), a, fmt.Sprintf("text of #%d", id))
					binary.BigEndian.PutUint64(m.Op[:], uint64(rapid.IntRange(1, 20).Draw(rt, "operation")))
					op := Operation{Conv: r.Conv, Relation: r.Relation, From: a, ID: m.Op}
					_, has := stored[m.ID]
					fits = fits && !has && ops[op] == 0 && !taken[op]
					ids[m.ID], taken[op] = true, true
					batch.Messages = append(batch.Messages, m)
				}
				cursor := im.MsgID(rapid.IntRange(0, 15).Draw(rt, "cursor"))
				if cursor > 0 {
					batch.Cursors = []Cursor{{SessionKey{b, im.Single, uint32(a)}, cursor}}
				}
				switch err := f.Commit(t.Context(), batch); {
				case fits && err != nil:
					rt.Fatalf("commit: %v", err)
				case !fits && !errors.Is(err, ErrDuplicate):
					rt.Fatalf("commit of what is taken: %v", err)
				case fits:
					for _, m := range batch.Messages {
						stored[m.ID] = m
						ops[Operation{Conv: r.Conv, Relation: r.Relation, From: a, ID: m.Op}] = m.ID
					}
					read = max(read, cursor)
				}
			}
			compare(rt, f, r, stored, ops, read)
		})
	})
}

// compare reads everything back.
func compare(t *rapid.T, f fixture, r ConvRef, stored map[im.MsgID]Message, ops map[Operation]im.MsgID, read im.MsgID) {
	ctx := t.Context()
	page, err := f.History(ctx, r, 0, MaxPage, Since{})
	if err != nil {
		t.Fatal(err)
	}
	if len(page) != len(stored) {
		t.Fatalf("%d are stored, want %d", len(page), len(stored))
	}
	for i, m := range page {
		if i > 0 && m.ID >= page[i-1].ID {
			t.Fatalf("#%d comes after #%d", m.ID, page[i-1].ID)
		}
		if want := stored[m.ID]; want.Content != m.Content || want.Op != m.Op || want.From != m.From {
			t.Fatalf("stored is %+v, want %+v", m, want)
		}
	}
	asked := make([]Operation, 0, len(ops))
	for op := range ops {
		asked = append(asked, op)
	}
	found, err := f.FindOperations(ctx, asked)
	if err != nil || len(found) != len(ops) {
		t.Fatalf("found %d of %d operations, %v", len(found), len(ops), err)
	}
	for op, id := range ops {
		if found[op] != id {
			t.Fatalf("operation %x is #%d, want #%d", op.ID, found[op], id)
		}
	}
	peer := r.Conv.Pair.Big
	cursors, err := f.Cursors(ctx, peer)
	if err != nil || (read > 0) != (len(cursors) == 1) || read > 0 && cursors[0].Read != read {
		t.Fatalf("cursors %v, want %d, %v", cursors, read, err)
	}
}
