package store

import (
	"bytes"
	"sync"
	"testing"

	"teamtalk/internal/im"
)

func attempt(request, token byte) Attempt {
	return Attempt{Request: [32]byte{request}, Token: [16]byte{token}}
}

func TestAPIRequests(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, f fixture) {
		ctx := t.Context()
		claim := func(a Attempt, asks byte, want ClaimState) Claim {
			t.Helper()
			c := must(f.ClaimAPIRequest(ctx, a, [32]byte{asks}))(t)
			if c.State != want {
				t.Errorf("attempt %d of request %d: state %d, want %d", a.Token[0], a.Request[0], c.State, want)
			}
			return c
		}
		claim(attempt(1, 1), 1, ClaimFresh)
		claim(attempt(1, 1), 1, ClaimAgain) // the answer was lost
		claim(attempt(1, 2), 1, ClaimUnderWay)
		claim(attempt(1, 2), 2, ClaimOther)
		answer := bytes.Repeat([]byte("ä\x00'\\"), 10_000)
		check(t, f.AnswerAPIRequest(ctx, attempt(1, 2), 500, []byte("of somebody else")))
		check(t, f.AnswerAPIRequest(ctx, attempt(1, 1), 201, answer))
		check(t, f.AnswerAPIRequest(ctx, attempt(1, 1), 200, nil)) // the first answer stands
		check(t, f.LeaveAPIRequest(ctx, attempt(1, 1)))
		check(t, f.ForgetAPIRequest(ctx, attempt(1, 1)))
		if c := claim(attempt(1, 3), 1, ClaimAnswered); c.Status != 201 || !bytes.Equal(c.Answer, answer) {
			t.Errorf("answered %d with %d bytes", c.Status, len(c.Answer))
		}
		claim(attempt(1, 3), 3, ClaimOther)
		wantCode(t, f.AnswerAPIRequest(ctx, attempt(1, 1), 200, make([]byte, MaxAnswer+1)), im.TooLarge)

		// An attempt that dies is taken over, and has no say any more.
		claim(attempt(2, 1), 1, ClaimFresh)
		f.clock.add(claimFor)
		claim(attempt(2, 2), 1, ClaimAgain)
		check(t, f.AnswerAPIRequest(ctx, attempt(2, 1), 201, nil))
		check(t, f.LeaveAPIRequest(ctx, attempt(2, 1)))
		claim(attempt(2, 3), 1, ClaimUnderWay)
		f.clock.add(1 - claimFor) // asked by a db_proxy whose clock is behind
		claim(attempt(2, 3), 1, ClaimUnderWay)
		f.clock.add(claimFor - 1)
		f.clock.add(-100) // a clock that goes back keeps nobody away
		claim(attempt(2, 3), 1, ClaimAgain)
		f.clock.add(100)
		check(t, f.LeaveAPIRequest(ctx, attempt(2, 3)))
		claim(attempt(2, 4), 1, ClaimAgain)
		check(t, f.ForgetAPIRequest(ctx, attempt(2, 4)))
		claim(attempt(2, 5), 9, ClaimFresh) // as good as new
	})
}

// Of attempts at the same moment one is carried out.
func TestAPIRequestsRace(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, f fixture) {
		other := f.second(t)
		for round := range byte(10) {
			var states [8]ClaimState
			var all sync.WaitGroup
			for i := range states {
				all.Go(func() {
					s := []fixture{f, other}[i%2]
					states[i] = must(s.ClaimAPIRequest(t.Context(), attempt(round, byte(i)), [32]byte{}))(t).State
				})
			}
			all.Wait()
			count := map[ClaimState]int{}
			for _, s := range states {
				count[s]++
			}
			if count[ClaimFresh] != 1 || count[ClaimUnderWay] != len(states)-1 {
				t.Errorf("round %d: %v", round, states)
			}
		}
	})
}

// What an attempt makes is made once, whoever takes over when.
func TestMadeOnce(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, f fixture) {
		ctx := t.Context()
		begin := func(a Attempt) Attempt {
			t.Helper()
			must(f.ClaimAPIRequest(ctx, a, [32]byte{}))(t)
			return a
		}
		group := NewGroup{Name: "once", Type: 1, Members: []im.UserID{1, 2}}
		for _, kind := range []struct {
			name string
			run  func(Attempt) (uint32, error)
		}{
			{"group", func(a Attempt) (uint32, error) {
				g := group
				g.Attempt = a
				id, err := f.CreateGroup(ctx, g)
				return uint32(id), err
			}},
			{"user", func(a Attempt) (uint32, error) {
				u, err := f.CreateUserOnce(ctx, a, NewUser{Name: "once"})
				if u.Existed {
					t.Error("the account existed")
				}
				return uint32(u.ID), err
			}},
		} {
			request := kind.name[0]
			first := begin(attempt(request, 1))
			id := must(kind.run(first))(t)
			if again := must(kind.run(first))(t); again != id || id == 0 {
				t.Errorf("%s %d, again %d", kind.name, id, again)
			}
			check(t, f.LeaveAPIRequest(ctx, first))
			second := begin(attempt(request, 2))
			if again := must(kind.run(second))(t); again != id {
				t.Errorf("%s %d, of another attempt %d", kind.name, id, again)
			}
			_, err := kind.run(first) // late
			wantCode(t, err, im.Busy)
			_, err = kind.run(attempt(request+1, 1)) // never begun
			wantCode(t, err, im.Busy)
			check(t, f.ForgetAPIRequest(ctx, second)) // not of one that made something
			check(t, f.LeaveAPIRequest(ctx, second))
			if again := must(kind.run(begin(attempt(request, 3))))(t); again != id {
				t.Errorf("%s %d, of a third attempt %d", kind.name, id, again)
			}
		}
		if n := len(must(f.GroupsAfter(ctx, 0, 10))(t)); n != 1 {
			t.Errorf("%d groups", n)
		}
		taken := begin(attempt(9, 1))
		if u := must(f.CreateUserOnce(ctx, taken, NewUser{Name: "once"}))(t); !u.Existed {
			t.Error("the name of another account is not taken")
		}
	})
}

func TestPruneAPIRequests(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, f fixture) {
		ctx := t.Context()
		add := func(n int, of byte) {
			t.Helper()
			for i := range n {
				a := Attempt{Request: [32]byte{of, byte(i), byte(i >> 8)}}
				must(f.ClaimAPIRequest(ctx, a, [32]byte{}))(t)
			}
		}
		add(2*pruneRows+100, 1)
		f.clock.add(requestAge)
		add(50, 2)
		if n := must(f.PruneAPIRequests(ctx))(t); n != 0 {
			t.Errorf("%d of a day", n)
		}
		f.clock.add(1)
		if n := must(f.PruneAPIRequests(ctx))(t); n != 2*pruneRows+100 {
			t.Errorf("%d of more than a day", n)
		}
		if n := must(f.pruneAPIRequests(ctx, 20))(t); n != 30 {
			t.Errorf("%d of more than 20", n)
		}
		if n := must(f.pruneAPIRequests(ctx, 20))(t); n != 0 {
			t.Errorf("%d of 20", n)
		}
	})
}
