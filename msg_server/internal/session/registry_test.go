package session

import (
	"slices"
	"sync"
	"testing"

	"teamtalk/internal/im"
)

// terminal makes a session whose Conn is its name.
func terminal(id uint64, user im.UserID, client im.ClientType) *Session[string] {
	return &Session[string]{ConnID: id, User: user, Client: client}
}

// A PC and a phone live side by side; what is of the same class gives way.
func TestOpenTellsWhoGivesWay(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		old  []im.ClientType // in the order of their log-ins
		new  im.ClientType
		want []int // of old
	}{
		"first":                     {nil, im.Windows, nil},
		"PC beside phone":           {[]im.ClientType{im.Android}, im.Windows, nil},
		"phone beside PC":           {[]im.ClientType{im.Mac}, im.IOS, nil},
		"same type":                 {[]im.ClientType{im.Windows}, im.Windows, []int{0}},
		"Mac for Windows":           {[]im.ClientType{im.Windows}, im.Mac, []int{0}},
		"iOS for Android":           {[]im.ClientType{im.Android}, im.IOS, []int{0}},
		"only the same class":       {[]im.ClientType{im.Windows, im.Android}, im.IOS, []int{1}},
		"until the first is gone":   {[]im.ClientType{im.Windows, im.Mac}, im.Windows, []int{0, 1}},
		"a third phone, and a PC":   {[]im.ClientType{im.IOS, im.Windows, im.Android}, im.IOS, []int{0, 2}},
		"another user's is not his": {nil, im.Mac, nil},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := New[string]()
			r.Open(terminal(100, 8, c.new)) // somebody else
			var old []*Session[string]
			for i, client := range c.old {
				s := terminal(uint64(i+1), 7, client)
				r.Open(s)
				old = append(old, s)
			}
			got := r.Open(terminal(50, 7, c.new))
			var want []*Session[string]
			for _, i := range c.want {
				want = append(want, old[i])
			}
			if !slices.Equal(got, want) {
				t.Errorf("%d give way, want %d", len(got), len(want))
			}
			if n := len(r.Of(7)); n != len(c.old)+1 {
				t.Errorf("%d terminals; those that give way stay until they are closed", n)
			}
		})
	}
}

func TestCloseAndCount(t *testing.T) {
	t.Parallel()
	r := New[string]()
	pc, phone, other := terminal(1, 7, im.Mac), terminal(2, 7, im.IOS), terminal(3, 7+shards, im.Mac)
	for _, s := range []*Session[string]{pc, phone, other} {
		r.Open(s)
	}
	before := r.Of(7)
	if !r.Close(pc) || r.Close(pc) {
		t.Error("Close must report once that a session was there")
	}
	if r.Close(terminal(2, 7, im.IOS)) {
		t.Error("a look-alike was closed")
	}
	if !slices.Equal(before, []*Session[string]{pc, phone}) {
		t.Error("a slice in use was changed")
	}
	if r.Len() != 2 || !slices.Equal(r.Of(7), []*Session[string]{phone}) {
		t.Errorf("%d sessions, %v", r.Len(), r.Of(7))
	}
	seen := map[uint64]int{}
	r.Each(func(s *Session[string]) {
		seen[s.ConnID]++
		r.Of(s.User) // no lock is held
		r.Close(s)
	})
	if seen[2] != 1 || seen[3] != 1 || len(seen) != 2 {
		t.Errorf("Each saw %v", seen)
	}
	if r.Len() != 0 || r.Of(7) != nil {
		t.Error("something is left")
	}
}

// Whatever happens at the same time, of two sessions of one class the later
// one has been told of the earlier, and nothing is lost or left.
func TestConcurrentOpenClose(t *testing.T) {
	t.Parallel()
	r := New[string]()
	const users, rounds, workers = 20, 50, 4
	var (
		mu    sync.Mutex
		gave  = map[*Session[string]]bool{}
		all   []*Session[string]
		group sync.WaitGroup
	)
	for w := range workers {
		group.Go(func() {
			for i := range rounds {
				for user := range im.UserID(users) {
					s := terminal(uint64(w*rounds+i), user, im.Mac)
					older := r.Open(s)
					mu.Lock()
					all = append(all, s)
					for _, o := range older {
						gave[o] = true
					}
					mu.Unlock()
					r.Each(func(*Session[string]) {})
				}
			}
		})
	}
	group.Wait()
	if r.Len() != len(all) {
		t.Fatalf("%d sessions, opened %d", r.Len(), len(all))
	}
	if left := len(all) - len(gave); left != users {
		t.Errorf("%d sessions gave way to nobody, want one of each of %d users", left, users)
	}
	for w := range workers {
		group.Go(func() {
			for i := w; i < len(all); i += workers {
				if !r.Close(all[i]) {
					t.Error("a session was not there")
				}
			}
		})
	}
	group.Wait()
	if r.Len() != 0 {
		t.Errorf("%d sessions left", r.Len())
	}
}
