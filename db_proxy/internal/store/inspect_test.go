package store

import (
	"slices"
	"testing"

	"teamtalk/internal/im"
)

func TestInspect(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, f fixture) {
		ctx := t.Context()
		u := f.users(t, 3)
		pair, group := f.relation(t, u[0], u[1]), f.group(t, u[0], u[1])
		f.send(t, pair, u[0], "1")
		second, first := f.text(pair, 2, u[1], "2"), f.text(group, 1, u[0], "1")
		second.Op, first.Op = opID(1), opID(2)
		check(t, f.Commit(ctx, &Batch{
			Messages: []Message{second, first}, Cursors: []Cursor{{SessionKey{u[0], im.Group, uint32(group.Conv.Group)}, 1}},
		}))
		m := must(f.MessageAt(ctx, pair, 2))(t)
		if m.From != u[1] || m.To != u[0] || m.ID != 2 || m.Status != 0 || m.Created == 0 || m.Op != opID(1) || m.Content != "" {
			t.Errorf("message %+v", m)
		}
		for _, ref := range []ConvRef{pair, {Conv: im.SingleOf(u[0], u[2])}} {
			if _, err := f.MessageAt(ctx, ref, 3); im.CodeOf(err) != im.NotFound {
				t.Errorf("message 3 of %v: %v", ref.Conv, err)
			}
		}
		found := must(f.ByOperation(ctx, m.Op))(t)
		if !slices.Equal(found, []Placed{{pair, 2, u[1]}}) {
			t.Errorf("found %+v", found)
		}
		inGroup := must(f.MessageAt(ctx, group, 1))(t)
		if found := must(f.ByOperation(ctx, inGroup.Op))(t); !slices.Equal(found, []Placed{{group, 1, u[0]}}) {
			t.Errorf("found %+v", found)
		}
		if found := must(f.ByOperation(ctx, im.OperationID{200}))(t); len(found) != 0 {
			t.Errorf("found %+v", found)
		}

		for name, c := range map[string]struct {
			user  im.UserID
			limit int
			want  []Placed
		}{
			"everybody":   {0, 10, []Placed{{pair, 2, u[1]}, {group, 1, u[0]}}},
			"one user":    {u[0], 10, []Placed{{group, 1, u[0]}}},
			"no more":     {0, 1, []Placed{{pair, 2, u[1]}}},
			"another one": {u[2], 10, nil},
		} {
			named := func(conv im.Conversation) im.OperationID {
				if conv == pair.Conv {
					return m.Op
				}
				return inGroup.Op
			}
			if got := must(f.Search(ctx, c.user, named, c.limit))(t); !slices.Equal(got, c.want) {
				t.Errorf("search, %s: %+v, want %+v", name, got, c.want)
			}
		}

		check(t, f.MoveCursors(ctx, []Cursor{{SessionKey{u[1], im.Single, uint32(u[0])}, 1}}))
		read, delivered, err := f.Positions(ctx, pair.Conv)
		if err != nil || len(read) != 1 || read[0].User != u[1] || read[0].Upto != 1 || len(delivered) != 0 {
			t.Errorf("positions %+v, %+v, %v", read, delivered, err)
		}
		read, delivered, err = f.Positions(ctx, group.Conv)
		if err != nil || len(read) != 1 || read[0].User != u[0] || read[0].Upto != 1 || len(delivered) != 0 {
			t.Errorf("positions %+v, %+v, %v", read, delivered, err)
		}

		of := must(f.Memberships(ctx, u))(t)
		want := []im.GroupID{group.Conv.Group}
		if len(of) != 2 || !slices.Equal(of[u[0]], want) || !slices.Equal(of[u[1]], want) {
			t.Errorf("memberships %v", of)
		}
		if of := must(f.Memberships(ctx, nil))(t); len(of) != 0 {
			t.Errorf("memberships of nobody: %v", of)
		}
	})
}
