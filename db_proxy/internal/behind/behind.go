// Package behind writes what may follow a commit a little later: the counters
// and mirrors in Redis, as soon as the last write is done, and the times of the last
// activity and what has arrived at terminals in SQL, once a second. Values are absolute and coalesced by key;
// what cannot be written waits and is written when its server is back.
package behind

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"teamtalk/db_proxy/internal/cache"
	"teamtalk/db_proxy/internal/store"
	"teamtalk/internal/im"
)

// Redis is where the unread counts and the mirrors go.
type Redis interface {
	Mirrors
	SetUnread(ctx context.Context, values []cache.UnreadValue) error
}

// Store is where the activity times and the delivery cursors go.
type Store interface {
	WriteActivity(ctx context.Context, a store.Activity) error
	WriteDeliveries(ctx context.Context, cursors []store.Delivery) error
}

// How often activity is written, and how many keys may wait.
const (
	activityEvery = time.Second
	maxPending    = 1_000_000
)

// Behind is safe from any goroutine.
type Behind struct {
	log       *slog.Logger
	dropped   prometheus.Counter
	counts    *flusher[countKey, count]
	activity  *flusher[im.Conversation, uint32]
	delivered *flusher[deliveryKey, uint32]
	mirrors   Mirrors
	mirrored  *flusher[string, func(context.Context) error]
}

// deliveryKey names one delivery cursor.
type deliveryKey struct {
	store.Terminal
	kind im.Kind
	peer uint32
}

// countKey names one value in Redis.
type countKey struct {
	kind  uint8 // one of the constants below
	user  im.UserID
	peer  uint32
	group im.GroupID
}

// count is a value in Redis, or that it is not known any more.
type count struct {
	stamp     cache.Stamp
	value     uint32
	forgotten bool
}

const (
	singleUnread uint8 = iota
	groupNewest
	groupRead
)

// New returns a Behind that Run sets going.
func New(redis Redis, s Store, log *slog.Logger, reg prometheus.Registerer) *Behind {
	b := &Behind{log: log, mirrors: redis, dropped: prometheus.NewCounter(prometheus.CounterOpts{
		Name: "im_written_behind_dropped_total", Help: "Counters, times, cursors and mirrors dropped: too many waited.",
	})}
	reg.MustRegister(b.dropped)
	newest := func(_, value count) count { return value }
	highest := func(old, value uint32) uint32 { return max(old, value) }
	b.counts = newFlusher(0, maxPending, newest, func(ctx context.Context, m map[countKey]count) error {
		err := redis.SetUnread(ctx, unreadValues(m))
		if err != nil {
			log.Debug("counters not written", "error", err)
		}
		return err
	})
	writeActivity := func(ctx context.Context, m map[im.Conversation]uint32) error {
		err := s.WriteActivity(ctx, activityOf(m))
		if err != nil {
			log.Warn("activity not written", "error", err)
		}
		return err
	}
	b.activity = newFlusher(activityEvery, maxPending, highest, writeActivity)
	writeDelivered := func(ctx context.Context, m map[deliveryKey]uint32) error {
		err := s.WriteDeliveries(ctx, deliveriesOf(m))
		if err != nil {
			log.Warn("delivery cursors not written", "error", err)
		}
		return err
	}
	b.delivered = newFlusher(activityEvery, maxPending, highest, writeDelivered)
	last := func(_, write func(context.Context) error) func(context.Context) error { return write }
	b.mirrored = newFlusher(0, maxMirrored, last, writeMirrors)
	return b
}

// Run writes until ctx ends, and what is left then.
func (b *Behind) Run(ctx context.Context) error {
	var all sync.WaitGroup
	all.Go(func() { b.counts.run(ctx) })
	all.Go(func() { b.activity.run(ctx) })
	all.Go(func() { b.delivered.run(ctx) })
	all.Go(func() { b.mirrored.run(ctx) })
	all.Wait()
	return nil
}

// SettleActivity returns when the activity noted before is in SQL.
func (b *Behind) SettleActivity(ctx context.Context) { b.activity.settle(ctx) }

// SettleDeliveries returns when the delivery cursors noted before are in SQL.
func (b *Behind) SettleDeliveries(ctx context.Context) { b.delivered.settle(ctx) }

// SettleCounts returns when the counts noted before are in Redis, or after a
// moment when Redis is away.
func (b *Behind) SettleCounts(ctx context.Context) { b.counts.settle(ctx) }

// WriteCounts writes the counts noted before once, and reports whether that
// succeeded; what fails goes on waiting. For whoever does not call Run.
func (b *Behind) WriteCounts(ctx context.Context) bool { return b.counts.flush(ctx) }

// SettleMirrors returns when the mirrors noted before are in Redis, or after a
// moment when Redis is away.
func (b *Behind) SettleMirrors(ctx context.Context) { b.mirrored.settle(ctx) }

// Touch notes the activity of a conversation.
func (b *Behind) Touch(conv im.Conversation, at uint32) {
	if !b.activity.set(conv, at) {
		b.dropped.Inc()
	}
}

// Delivered notes what has arrived at a terminal.
func (b *Behind) Delivered(d store.Delivery) {
	if !b.delivered.set(deliveryKey{d.Terminal, d.Kind, d.Peer}, uint32(d.Upto)) {
		b.dropped.Inc()
	}
}

// SetUnread replaces a user's unread count of a single conversation.
func (b *Behind) SetUnread(stamp cache.Stamp, key store.SessionKey, n uint32) {
	b.set(countOf(key), count{stamp: stamp, value: n})
}

// SetGroup replaces the newest id of a group.
func (b *Behind) SetGroup(stamp cache.Stamp, group im.GroupID, newest im.MsgID) {
	b.set(countKey{kind: groupNewest, group: group}, count{stamp: stamp, value: uint32(newest)})
}

// SetRead replaces a user's read cursor in a group.
func (b *Behind) SetRead(stamp cache.Stamp, group im.GroupID, user im.UserID, read im.MsgID) {
	b.set(countKey{kind: groupRead, group: group, user: user}, count{stamp: stamp, value: uint32(read)})
}

// ForgetUnread makes a user's count of a session be read from SQL when it is
// needed next, unless it is set before. Without a stamp it also makes everybody
// doubt what he knows of the conversation.
func (b *Behind) ForgetUnread(stamp cache.Stamp, key store.SessionKey) {
	b.set(countOf(key), count{stamp: stamp, forgotten: true})
}

// ForgetGroup is ForgetUnread for the newest id of a group.
func (b *Behind) ForgetGroup(stamp cache.Stamp, group im.GroupID) {
	b.set(countKey{kind: groupNewest, group: group}, count{stamp: stamp, forgotten: true})
}

func countOf(key store.SessionKey) countKey {
	if key.Kind == im.Group {
		return countKey{kind: groupRead, group: im.GroupID(key.Peer), user: key.User}
	}
	return countKey{kind: singleUnread, user: key.User, peer: key.Peer}
}

func (b *Behind) set(key countKey, value count) {
	if !b.counts.set(key, value) {
		b.dropped.Inc()
	}
}

func activityOf(m map[im.Conversation]uint32) store.Activity {
	a := store.Activity{Groups: map[im.GroupID]uint32{}}
	for conv, at := range m {
		if conv.Kind == im.Group {
			a.Groups[conv.Group] = at
			continue
		}
		for _, user := range []im.UserID{conv.Pair.Small, conv.Pair.Big} {
			key := store.SessionKey{User: user, Kind: im.Single, Peer: conv.SessionID(user)}
			a.Sessions = append(a.Sessions, store.SessionTouch{SessionKey: key, Updated: at})
		}
	}
	return a
}

func deliveriesOf(m map[deliveryKey]uint32) []store.Delivery {
	all := make([]store.Delivery, 0, len(m))
	for key, upto := range m {
		all = append(all, store.Delivery{Terminal: key.Terminal, Kind: key.kind, Peer: key.peer, Upto: im.MsgID(upto)})
	}
	return all
}

func unreadValues(m map[countKey]count) []cache.UnreadValue {
	values := make([]cache.UnreadValue, 0, len(m))
	for key, n := range m {
		var v cache.UnreadValue
		switch key.kind {
		case singleUnread:
			v = cache.PeerUnread(key.user, im.UserID(key.peer), n.value)
		case groupNewest:
			v = cache.GroupTotal(key.group, im.MsgID(n.value))
		case groupRead:
			v = cache.GroupRead(key.user, key.group, im.MsgID(n.value))
		}
		if n.forgotten {
			v = v.Forgotten()
		}
		values = append(values, v.At(n.stamp))
	}
	return values
}
