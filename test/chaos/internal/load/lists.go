//go:build unix

package load

import (
	"context"
	"fmt"
	"sync"
	"time"

	"teamtalk/client"
	"teamtalk/internal/im"
	"teamtalk/test/chaos/internal/schedule"
)

// Bounds of what the user with the huge lists does.
const (
	listsAtOnce = 12     // requests under way
	listsOf     = 5_000  // ids at least
	listsTo     = 20_000 // and at most
	listsAnswer = 15 * time.Second
	listsIP     = "127.3.0.1"
)

// lists lets one user who writes to nobody make groups of very many members and
// add as many to them, mostly ids that nobody has, many at once, for as long as
// the fault lasts. What becomes of these requests is not judged: whether the
// others go on is.
func (l *Load) lists(ctx context.Context, f *schedule.Fault, begin func()) error {
	ctx, cancel := context.WithTimeout(ctx, f.For)
	defer cancel()
	begin()
	for round := 0; ctx.Err() == nil; round++ {
		c := l.stranger(ctx)
		if c == nil {
			wait(ctx, 100*time.Millisecond)
			continue
		}
		var all sync.WaitGroup
		for i := range listsAtOnce {
			all.Go(func() { l.ask(ctx, c, f, round*listsAtOnce+i) })
		}
		all.Wait()
		c.Close()
	}
	return nil
}

// stranger logs the user of the lists in; nil if that fails.
func (l *Load) stranger(ctx context.Context) *client.Client {
	addr, err := l.locate(ctx)
	if err != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, 8*time.Second)
	defer cancel()
	c, err := client.Dial(ctx, client.Options{
		Addr: addr, LocalAddr: listsIP, User: l.cfg.Stranger, Password: l.cfg.Password, Profile: client.Native(),
	})
	if err != nil {
		return nil
	}
	return c
}

// ask sends huge lists over one connection until it or ctx ends.
func (l *Load) ask(ctx context.Context, c *client.Client, f *schedule.Fault, serial int) {
	for n := 0; ctx.Err() == nil && c.Err() == nil; n++ {
		ids := l.ids(f.Pick+uint32(serial), listsOf+(serial*1_777+n*911)%(listsTo-listsOf+1))
		asking, cancel := context.WithTimeout(ctx, listsAnswer)
		name := fmt.Sprintf("list %d.%d.%d", f.N, serial, n)
		if n%2 == 0 {
			_, _ = c.CreateGroup(asking, name, append(ids, uint32(c.User()))...)
		} else if id, err := c.CreateGroup(asking, name, uint32(c.User())); err == nil {
			_, _ = c.AddMembers(asking, id, ids...)
		}
		cancel()
		wait(ctx, 10*time.Millisecond) // what is refused at once is not asked again at once
	}
}

// ids returns ids of users, all of them different, nearly all unknown. None of
// those who play is among them: they look at their groups.
func (l *Load) ids(pick uint32, n int) []uint32 {
	highest := im.UserID(0)
	for _, u := range l.cfg.Users {
		highest = max(highest, u)
	}
	list := make([]uint32, n)
	for i := range list {
		list[i] = uint32(highest) + 2 + pick%100_000 + uint32(i)
	}
	return list
}
