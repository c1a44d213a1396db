package lane

import (
	"context"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"teamtalk/db_proxy/internal/behind"
	"teamtalk/db_proxy/internal/cache"
	"teamtalk/db_proxy/internal/directory"
	"teamtalk/db_proxy/internal/store"
	"teamtalk/internal/im"
)

// owner is one db_proxy as far as the lanes know it: what they write behind
// comes to Redis when flush is called.
type owner struct {
	*Lanes
	counts *cache.Cache
	behind *behind.Behind
	late   atomic.Int64 // added to the clock of counts
	paused atomic.Bool  // nothing comes to Redis by itself
}

// prompt writes everything behind at once, unless the owner is paused.
type prompt struct {
	*behind.Behind
	o *owner
}

func (p prompt) SetUnread(stamp cache.Stamp, key store.SessionKey, count uint32) {
	p.Behind.SetUnread(stamp, key, count)
	p.o.settle()
}

func (p prompt) SetGroup(stamp cache.Stamp, group im.GroupID, newest im.MsgID) {
	p.Behind.SetGroup(stamp, group, newest)
	p.o.settle()
}

func (p prompt) SetRead(stamp cache.Stamp, group im.GroupID, user im.UserID, read im.MsgID) {
	p.Behind.SetRead(stamp, group, user, read)
	p.o.settle()
}

func (p prompt) ForgetUnread(stamp cache.Stamp, key store.SessionKey) {
	p.Behind.ForgetUnread(stamp, key)
	p.o.settle()
}

func (p prompt) ForgetGroup(stamp cache.Stamp, group im.GroupID) {
	p.Behind.ForgetGroup(stamp, group)
	p.o.settle()
}

// nowhere is where activity goes here.
type nowhere struct{}

func (nowhere) WriteActivity(context.Context, store.Activity) error     { return nil }
func (nowhere) WriteDeliveries(context.Context, []store.Delivery) error { return nil }

func (o *owner) settle() {
	if !o.paused.Load() {
		o.flush()
	}
}

// flush writes what waits, once. What fails goes on waiting, and Redis is not
// left alone because of it.
func (o *owner) flush() {
	o.behind.WriteCounts(context.Background())
	o.late.Add(int64(time.Minute))
}

// another returns the lanes of a second owner over the same database, counters
// and Redis.
func (b *fixture) another(t testing.TB) *Lanes {
	t.Helper()
	log, o := slog.New(slog.DiscardHandler), &owner{}
	pools := map[string]cache.PoolConfig{}
	for _, name := range []string{cache.PoolUnread, cache.PoolGroupSet, cache.PoolToken, cache.PoolGroupMember} {
		pools[name] = cache.PoolConfig{Addrs: []string{b.redis.Addr()}}
	}
	var err error
	o.counts, err = cache.New(cache.Config{Pools: pools, MaxAge: 1e6 * time.Hour}, cache.Deps{
		Log: log, Reg: prometheus.NewRegistry(), Fault: b.faults.hook,
		Clock: func() time.Time { return time.Now().Add(time.Duration(o.late.Load())) },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = o.counts.Close() })
	o.behind = behind.New(o.counts, nowhere{}, log, prometheus.NewRegistry())
	o.Lanes = New(Config{Patience: time.Minute}, Deps{ // what is to be given up is told to be sooner
		Store: b.store, Directory: directory.New(b.store, log, time.Now), IDs: timedIDs{b.ids, b.faults},
		Behind: prompt{o.behind, o},
		Go:     func(task func()) bool { go task(); return true },
		Log:    log, Reg: prometheus.NewRegistry(), Clock: time.Now,
	})
	b.owners = append(b.owners, o)
	return o.Lanes
}

// holder is a user of the fixture with his groups.
func (b *fixture) holder(user im.UserID) cache.Holder {
	if user > 3 {
		return cache.Holder{User: user}
	}
	return cache.Holder{User: user, Groups: []im.GroupID{b.group}}
}

// held returns the count of a session that Redis holds. known is false where
// whoever asks reads the database.
func (b *fixture) held(t testing.TB, key store.SessionKey) (count uint32, known bool) {
	t.Helper()
	all, err := b.owners[0].counts.Held(t.Context(), []cache.Holder{b.holder(key.User)})
	if err != nil {
		t.Fatal(err)
	}
	count, known = all[0].Counts[key]
	return count, known || all[0].Complete && key.Kind == im.Single
}

// ask asks for the counts of a user as he does when he logs in.
func (b *fixture) ask(ctx context.Context, o *owner, user im.UserID) (map[store.SessionKey]uint32, error) {
	h := b.holder(user)
	counts, err := o.counts.Unread(ctx, h.User, h.Groups, cache.RebuildFrom(b.store, h.User, h.Groups))
	answer := map[store.SessionKey]uint32{}
	for _, c := range counts {
		answer[c.SessionKey] = c.Count
	}
	return answer, err
}

// recount counts a session in the database.
func (b *fixture) recount(t testing.TB, key store.SessionKey) uint32 {
	t.Helper()
	n, _, err := b.store.UnreadOf(t.Context(), key, 1_000_000)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
