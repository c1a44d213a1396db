// Package recount compares the unread counts that Redis holds with what the
// read cursors in SQL say, while both change, and has what differs rebuilt. How
// counts are kept and rebuilt is the business of package cache.
//
// A count in Redis follows its commit by a moment, so a difference seen once
// means nothing. It is believed when Redis keeps showing a number that SQL has
// shown at no time since the comparison began.
package recount

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"teamtalk/db_proxy/internal/cache"
	"teamtalk/db_proxy/internal/store"
	"teamtalk/internal/im"
)

// Store is the record.
type Store interface {
	cache.Source
	// Memberships returns the groups of users.
	Memberships(ctx context.Context, users []im.UserID) (map[im.UserID][]im.GroupID, error)
}

// Cache is what holds the counts.
type Cache interface {
	// Held returns what it holds of each user.
	Held(ctx context.Context, holders []cache.Holder) ([]cache.Held, error)
	// ForgetUnread has counts read from SQL when they are needed next, also by
	// those who write them.
	ForgetUnread(ctx context.Context, keys []store.SessionKey) error
	// Unread answers as clients are answered, and so rebuilds what is missing.
	Unread(ctx context.Context, user im.UserID, groups []im.GroupID, rebuild cache.Rebuild) ([]cache.Count, error)
}

// Deps of a Recounter. Store and Cache are needed.
type Deps struct {
	Store Store
	Cache Cache
	// Forget drops what lanes remember of a conversation, which they would
	// write again; nil where there are none.
	Forget func(im.Conversation)
	// Wait waits; nil takes the time it is told.
	Wait func(ctx context.Context, d time.Duration) error
}

// Recounter compares and repairs. Safe from any goroutine.
type Recounter struct{ deps Deps }

// New returns a Recounter.
func New(deps Deps) (*Recounter, error) {
	if deps.Store == nil || deps.Cache == nil {
		return nil, errors.New("recount: Store and Cache are needed")
	}
	if deps.Wait == nil {
		deps.Wait = wait
	}
	return &Recounter{deps}, nil
}

// Difference is a count that is not what it should be.
type Difference struct {
	store.SessionKey        // Peer 0: the whole hash of the user's peers
	Cached           uint32 // what Redis says
	Broken           bool   // it says something that is no number
	Counted          uint32 // what SQL says
}

// Report is the outcome of a comparison.
type Report struct {
	Users       int // looked at
	Counts      int // numbers found in Redis and compared
	Differences []Difference
}

const (
	chunk   = 500                    // users looked at in one round trip to Redis
	workers = 4                      // users counted at the same time
	rounds  = 10                     // how often a difference is looked at again
	pause   = 300 * time.Millisecond // between two looks: many times what a count needs to follow
	steady  = 3                      // looks after which a difference that does not move is believed
)

// Check compares the counts of users and returns every difference, by user,
// kind and peer. What Redis does not hold is no difference: it is read from
// SQL when it is needed.
func (r *Recounter) Check(ctx context.Context, users []im.UserID) (Report, error) {
	report := Report{Users: len(users)}
	suspects := map[store.SessionKey]*suspect{}
	for part := range slices.Chunk(users, chunk) {
		views, err := r.look(ctx, part)
		if err != nil {
			return report, err
		}
		for _, v := range views {
			report.Counts += len(v.held.Counts) + len(v.held.Broken)
			for k := range v.keys() {
				s := &suspect{}
				if s.see(v, k); !s.explained() {
					suspects[k] = s
				}
			}
		}
	}
	for round := 0; round < rounds && slices.ContainsFunc(values(suspects), (*suspect).open); round++ {
		if err := r.lookAgain(ctx, suspects); err != nil {
			return report, err
		}
	}
	for k, s := range suspects {
		report.Differences = append(report.Differences, Difference{
			SessionKey: k, Cached: s.cached, Broken: s.broken, Counted: s.counted,
		})
	}
	slices.SortFunc(report.Differences, func(a, b Difference) int {
		return cmp.Or(cmp.Compare(a.User, b.User), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Peer, b.Peer))
	})
	return report, nil
}

// lookAgain compares suspects once more after a pause, and clears those that
// are explained by now.
func (r *Recounter) lookAgain(ctx context.Context, suspects map[store.SessionKey]*suspect) error {
	if err := r.deps.Wait(ctx, pause); err != nil {
		return err
	}
	var users []im.UserID
	for k, s := range suspects {
		if s.open() {
			users = append(users, k.User)
		}
	}
	slices.Sort(users)
	for part := range slices.Chunk(slices.Compact(users), chunk) {
		views, err := r.look(ctx, part)
		if err != nil {
			return err
		}
		for _, v := range views {
			for k, s := range suspects {
				if k.User == v.user && s.open() {
					s.see(v, k)
				}
			}
		}
	}
	for k, s := range suspects {
		if s.explained() {
			delete(suspects, k)
		}
	}
	return nil
}

// view is what Redis held of a user, and what SQL said right after.
type view struct {
	user    im.UserID
	held    cache.Held
	counted map[store.SessionKey]uint32
}

// keys are the sessions that may differ.
func (v *view) keys() map[store.SessionKey]bool {
	keys := map[store.SessionKey]bool{}
	for k := range v.held.Counts {
		keys[k] = true
	}
	for _, k := range v.held.Broken {
		keys[k] = true
	}
	if v.held.Complete {
		for k := range v.counted {
			if k.Kind == im.Single {
				keys[k] = true
			}
		}
	}
	return keys
}

// look reads Redis first and SQL then. Users of whom nothing is held are left
// out.
func (r *Recounter) look(ctx context.Context, users []im.UserID) ([]*view, error) {
	groups, err := r.deps.Store.Memberships(ctx, users)
	if err != nil {
		return nil, fmt.Errorf("read memberships: %w", err)
	}
	holders := make([]cache.Holder, len(users))
	for i, user := range users {
		holders[i] = cache.Holder{User: user, Groups: groups[user]}
	}
	held, err := r.deps.Cache.Held(ctx, holders)
	if err != nil {
		return nil, err
	}
	var (
		views   []*view
		mu      sync.Mutex // guards views
		counter errgroup.Group
	)
	counter.SetLimit(workers)
	for i, user := range users {
		if len(held[i].Counts)+len(held[i].Broken) == 0 && !held[i].Complete {
			continue
		}
		counter.Go(func() error {
			rows, err := r.deps.Store.UnreadAll(ctx, user)
			if err != nil {
				return fmt.Errorf("count unread messages of user %d: %w", user, err)
			}
			v := &view{user: user, held: held[i], counted: make(map[store.SessionKey]uint32, len(rows))}
			for _, row := range rows {
				v.counted[row.SessionKey] = row.Count
			}
			mu.Lock()
			defer mu.Unlock()
			views = append(views, v)
			return nil
		})
	}
	return views, counter.Wait()
}

// suspect is a count that differed when it was looked at first.
type suspect struct {
	looks    int
	cached   uint32
	held     bool // there is a number, or its absence says 0
	broken   bool
	counted  uint32
	low, top uint32 // what SQL has shown so far
	still    int    // looks since anything changed
}

// see takes another look.
func (s *suspect) see(v *view, k store.SessionKey) {
	cached, held := v.held.Counts[k]
	broken := slices.Contains(v.held.Broken, k)
	held = held || v.held.Complete && k.Kind == im.Single
	counted := v.counted[k]
	s.still++
	if s.looks == 0 || cached != s.cached || counted != s.counted || broken != s.broken || held != s.held {
		s.still = 0
	}
	if s.looks++; s.looks == 1 {
		s.low, s.top = counted, counted
	}
	s.cached, s.held, s.broken, s.counted = cached, held, broken, counted
	s.low, s.top = min(s.low, counted), max(s.top, counted)
}

// explained reports whether there is no difference: Redis holds nothing, or a
// number that SQL has shown.
func (s *suspect) explained() bool {
	return !s.broken && (!s.held || s.cached >= s.low && s.cached <= s.top)
}

// open reports whether another look can change anything.
func (s *suspect) open() bool { return s.still < steady }

func values(m map[store.SessionKey]*suspect) []*suspect {
	all := make([]*suspect, 0, len(m))
	for _, s := range m {
		all = append(all, s)
	}
	return all
}

func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
