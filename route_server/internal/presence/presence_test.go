package presence

import (
	"cmp"
	"maps"
	"slices"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"teamtalk/internal/im"
)

// taken returns the notices that wait.
func taken(t *Table) (all []Notice) {
	t.Publish(func(batch []Notice) { all = append(all, batch...) })
	return all
}

func sorted(notices []Notice) []Notice {
	slices.SortFunc(notices, func(a, b Notice) int {
		return cmp.Or(cmp.Compare(a.User, b.User), cmp.Compare(a.About, b.About))
	})
	return notices
}

const (
	alice im.UserID = 7
	bob   im.UserID = 9
)

var (
	aliceOn  = Notice{alice, Status, true}
	aliceOff = Notice{alice, Status, false}
	alicePC  = Notice{alice, PCLogin, true}
	noPC     = Notice{alice, PCLogin, false}
)

func TestNotices(t *testing.T) {
	t.Parallel()
	on := func(s Server, ct im.ClientType) func(*Table) {
		return func(p *Table) { p.Update(s, Terminal{alice, ct}, true) }
	}
	off := func(s Server, ct im.ClientType) func(*Table) {
		return func(p *Table) { p.Update(s, Terminal{alice, ct}, false) }
	}
	announce := func(s Server, cts ...im.ClientType) func(*Table) {
		return func(p *Table) {
			var terminals []Terminal
			for _, ct := range cts {
				terminals = append(terminals, Terminal{alice, ct})
			}
			p.Announce(s, terminals)
		}
	}
	lose := func(s Server) func(*Table) { return func(p *Table) { p.Remove(s) } }
	type steps []func(*Table)
	cases := map[string]struct {
		before steps
		last   func(*Table)
		want   []Notice
	}{
		"PC on":                          {nil, on(1, im.Windows), []Notice{aliceOn, alicePC}},
		"phone on":                       {nil, on(1, im.IOS), nil},
		"phone on beside a PC":           {steps{on(1, im.Mac)}, on(2, im.Android), []Notice{alicePC}},
		"second PC on":                   {steps{on(1, im.Mac)}, on(2, im.Mac), []Notice{aliceOn, alicePC}},
		"PC off":                         {steps{on(1, im.Mac)}, off(1, im.Mac), []Notice{aliceOff}},
		"PC off, phone stays":            {steps{on(1, im.Mac), on(2, im.IOS)}, off(1, im.Mac), []Notice{aliceOff, noPC}},
		"PC off, PC elsewhere":           {steps{on(1, im.Mac), on(2, im.Mac)}, off(1, im.Mac), nil},
		"PC off, other PC here":          {steps{on(1, im.Mac), on(1, im.Windows)}, off(1, im.Mac), nil},
		"kicked PC off":                  {steps{on(1, im.Mac), on(1, im.Mac)}, off(1, im.Mac), nil},
		"phone off beside a PC":          {steps{on(1, im.Mac), on(1, im.IOS)}, off(1, im.IOS), nil},
		"off without on":                 {nil, off(1, im.Mac), nil},
		"off of another type":            {steps{on(1, im.Mac)}, off(1, im.Windows), nil},
		"off at another server":          {steps{on(1, im.Mac)}, off(2, im.Mac), nil},
		"PC server lost":                 {steps{on(1, im.Mac)}, lose(1), []Notice{aliceOff}},
		"PC server lost, phone stays":    {steps{on(1, im.Mac), on(2, im.IOS)}, lose(1), []Notice{aliceOff, noPC}},
		"PC server lost, PC elsewhere":   {steps{on(1, im.Mac), on(2, im.Mac)}, lose(1), nil},
		"phone server lost":              {steps{on(1, im.IOS)}, lose(1), nil},
		"phone server lost beside a PC":  {steps{on(1, im.IOS), on(2, im.Mac)}, lose(1), nil},
		"unknown server lost":            {steps{on(1, im.Mac)}, lose(2), nil},
		"first announcement":             {nil, announce(1, im.Mac), nil},
		"announced, then off":            {steps{announce(1, im.Mac)}, off(1, im.Mac), []Notice{aliceOff}},
		"back with the server":           {steps{on(1, im.Mac), lose(1)}, announce(2, im.Mac), []Notice{aliceOn, alicePC}},
		"back once only":                 {steps{on(1, im.Mac), lose(1), announce(2, im.Mac)}, announce(3, im.Mac), nil},
		"log-out before the server came": {steps{on(1, im.Mac), lose(1), announce(2)}, announce(2), nil},
		"new log-in after a loss":        {steps{on(1, im.Mac), lose(1), on(2, im.Mac), off(2, im.Mac)}, announce(3, im.Mac), nil},
		"announced again, the same":      {steps{on(1, im.Mac)}, announce(1, im.Mac), nil},
		"announced again, gone":          {steps{on(1, im.Mac)}, announce(1), []Notice{aliceOff}},
		"announced again, phone only":    {steps{on(1, im.Mac)}, announce(1, im.IOS), []Notice{aliceOff, noPC}},
		"announced again, new":           {steps{announce(1)}, announce(1, im.Mac), []Notice{aliceOn, alicePC}},
		"announced again, PC elsewhere":  {steps{on(1, im.Mac), on(2, im.Mac)}, announce(1), nil},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := New()
			for _, step := range c.before {
				step(p)
			}
			taken(p)
			c.last(p)
			if got := sorted(taken(p)); !slices.Equal(got, c.want) {
				t.Errorf("notices = %v, want %v", got, c.want)
			}
			if err := p.Check(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestNonsenseIsRefused(t *testing.T) {
	t.Parallel()
	p := New()
	if p.Update(1, Terminal{0, im.Mac}, true) || p.Update(1, Terminal{alice, 3}, true) || p.Update(1, Terminal{alice, im.Mac}, false) {
		t.Error("Update took user 0, a type that does not exist, or a log-out of nobody")
	}
	if got := p.Announce(1, []Terminal{{0, im.Mac}, {alice, 0xff}, {bob, im.IOS}}); got != 2 {
		t.Errorf("Announce refused %d, want 2", got)
	}
	if p.Users() != 1 || len(taken(p)) != 0 {
		t.Errorf("%d users and notices %v, want bob alone", p.Users(), taken(p))
	}
}

func TestLocate(t *testing.T) {
	t.Parallel()
	p := New()
	p.Announce(1, []Terminal{{alice, im.Mac}, {bob, im.IOS}})
	p.Announce(2, []Terminal{{alice, im.IOS}, {11, im.IOS}, {11, im.Windows}})
	p.Announce(3, []Terminal{{12, im.IOS}})
	cases := map[string]struct {
		targets []uint32
		except  Server
		want    map[Server][]uint32
	}{
		"one":               {[]uint32{9}, 2, map[Server][]uint32{1: {9}}},
		"at two servers":    {[]uint32{7}, 3, map[Server][]uint32{1: {7}, 2: {7}}},
		"not to the origin": {[]uint32{7}, 1, map[Server][]uint32{2: {7}}},
		"off-line":          {[]uint32{99, 0}, 1, map[Server][]uint32{}},
		"all":               {[]uint32{12, 11, 9, 7, 99}, 4, map[Server][]uint32{1: {9, 7}, 2: {11, 7}, 3: {12}}},
		"none":              {nil, 4, map[Server][]uint32{}},
	}
	var r Routes // shared on purpose: storage is used again
	for name, c := range cases {
		got := map[Server][]uint32{}
		for _, g := range p.Locate(c.targets, c.except, &r) {
			got[g.Server] = slices.Clone(g.Targets)
		}
		if !maps.EqualFunc(got, c.want, slices.Equal[[]uint32]) {
			t.Errorf("%s: Locate = %v, want %v", name, got, c.want)
		}
	}
}

func TestLocateDoesNotAllocate(t *testing.T) {
	p := New()
	var targets []uint32
	for user := range uint32(1000) {
		targets = append(targets, user+1)
		p.Update(Server(user%4), Terminal{im.UserID(user + 1), im.Mac}, true)
	}
	var r Routes
	if allocs := testing.AllocsPerRun(20, func() { p.Locate(targets, 0, &r) }); allocs != 0 {
		t.Errorf("%v allocations, want 0", allocs)
	}
}

// The table agrees with a list of log-ins, whatever happens.
func TestAgainstModel(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		p := New()
		model := map[Server][]Terminal{}
		seen := map[im.UserID]bool{} // what notices said, for users no announcement or loss concerned
		terminal := rapid.Custom(func(t *rapid.T) Terminal {
			return Terminal{
				User: im.UserID(rapid.IntRange(1, 4).Draw(t, "user")),
				Type: rapid.SampledFrom([]im.ClientType{im.Windows, im.Mac, im.IOS, im.Android}).Draw(t, "type"),
			}
		})
		online := func(user im.UserID) bool {
			for _, terminals := range model {
				for _, x := range terminals {
					if x.User == user && !x.Type.Mobile() {
						return true
					}
				}
			}
			return false
		}
		t.Repeat(map[string]func(*rapid.T){
			"on": func(t *rapid.T) {
				s, x := Server(rapid.IntRange(1, 3).Draw(t, "server")), terminal.Draw(t, "terminal")
				model[s] = append(model[s], x)
				p.Update(s, x, true)
			},
			"off": func(t *rapid.T) {
				s, x := Server(rapid.IntRange(1, 3).Draw(t, "server")), terminal.Draw(t, "terminal")
				i := slices.Index(model[s], x)
				if p.Update(s, x, false) != (i >= 0) {
					t.Fatalf("Update off of %v at %d: log-ins are %v", x, s, model[s])
				}
				if i >= 0 {
					model[s] = slices.Delete(slices.Clone(model[s]), i, i+1)
				}
			},
			"announce": func(t *rapid.T) {
				s := Server(rapid.IntRange(1, 3).Draw(t, "server"))
				model[s] = rapid.SliceOfN(terminal, 0, 5).Draw(t, "terminals")
				p.Announce(s, model[s])
			},
			"lose": func(t *rapid.T) {
				s := Server(rapid.IntRange(1, 3).Draw(t, "server"))
				delete(model, s)
				p.Remove(s)
			},
			"": func(t *rapid.T) {
				if err := p.Check(); err != nil {
					t.Fatal(err)
				}
				for _, n := range taken(p) {
					if n.About == Status {
						seen[n.User] = n.Online
					}
				}
				for user := im.UserID(1); user <= 4; user++ {
					want := online(user)
					if got := p.AppendOnline(nil, []uint32{uint32(user)})[0]; got != want {
						t.Fatalf("user %d on-line %v, want %v; log-ins %v", user, got, want, model)
					}
					// A first announcement is silent; all else must have been told.
					if told, ok := seen[user]; ok && told && !want {
						t.Fatalf("user %d was told on-line and is not", user)
					}
				}
			},
		})
	})
}

// Notices of one user keep their order when many goroutines change and
// publish: the last one tells the truth.
func TestPublishKeepsOrder(t *testing.T) {
	t.Parallel()
	p := New()
	last := map[im.UserID]bool{} // written by one publisher at a time
	publish := func() {
		p.Publish(func(batch []Notice) {
			for _, n := range batch {
				if n.About == Status {
					last[n.User] = n.Online
				}
			}
		})
	}
	var wg sync.WaitGroup
	for s := range Server(4) {
		wg.Go(func() {
			for range 500 {
				p.Update(s, Terminal{alice, im.Mac}, true)
				publish()
				p.Update(s, Terminal{alice, im.Mac}, false)
				publish()
			}
		})
	}
	wg.Wait()
	publish()
	if online, ok := last[alice]; !ok || online {
		t.Errorf("the last notice says on-line %v, told %v", online, ok)
	}
}

func BenchmarkLocate1000(b *testing.B) {
	p := New()
	var targets []uint32
	for user := range uint32(100_000) {
		p.Update(Server(user%4), Terminal{im.UserID(user + 1), im.Mac}, true)
		if user%100 == 0 {
			targets = append(targets, user+1)
		}
	}
	taken(p)
	var r Routes
	b.ReportAllocs()
	for b.Loop() {
		p.Locate(targets, 0, &r)
	}
}
