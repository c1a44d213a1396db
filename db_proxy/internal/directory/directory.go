// Package directory answers who a user is, which relation a pair has and who
// belongs to a group, from bounded memory. The database is the record: what
// another db_proxy or an operator changes through the change log is forgotten
// here within half a second, what is changed by plain SQL within ten seconds.
package directory

import (
	"context"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"teamtalk/db_proxy/internal/store"
	"teamtalk/internal/im"
)

// Store is what the directory reads.
type Store interface {
	Users(ctx context.Context, ids []im.UserID) ([]store.User, error)
	Groups(ctx context.Context, ids []im.GroupID) ([]store.GroupInfo, error)
	Relations(ctx context.Context, pairs []im.Pair) (map[im.Pair]im.RelationID, error)
	EnsureRelations(ctx context.Context, pairs []im.Pair) (map[im.Pair]im.RelationID, error)
	LastChange(ctx context.Context) (uint64, error)
	Changes(ctx context.Context, after uint64, limit int) ([]store.Change, error)
}

// Bounds of the caches, in entries, and how old an entry may get.
const (
	maxUsers     = 200_000
	maxRelations = 500_000
	maxGroups    = 20_000
	maxAge       = 10 * time.Second
	pollEvery    = 250 * time.Millisecond
	pollLimit    = 1000
)

// Directory is safe from any goroutine.
type Directory struct {
	store Store
	log   *slog.Logger
	clock func() time.Time

	users     *cache[im.UserID, *store.User] // nil value: no such user
	groups    *cache[im.GroupID, *Group]     // nil value: no such group
	relations *cache[im.Pair, im.RelationID] // relations never change
	onChange  []func(store.Change)
	again     atomic.Bool // the log is another one
}

// New returns an empty directory.
func New(s Store, log *slog.Logger, clock func() time.Time) *Directory {
	return &Directory{
		store: s, log: log, clock: clock,
		users:     newCache[im.UserID, *store.User](maxUsers, maxAge),
		groups:    newCache[im.GroupID, *Group](maxGroups, maxAge),
		relations: newCache[im.Pair, im.RelationID](maxRelations, 0),
	}
}

// OnChange adds a function that hears of every change after the directory has
// forgotten what it was about. To be called before Run.
func (d *Directory) OnChange(f func(store.Change)) { d.onChange = append(d.onChange, f) }

// Users returns the accounts that exist, of any status.
func (d *Directory) Users(ctx context.Context, ids []im.UserID) (map[im.UserID]*store.User, error) {
	now := d.clock()
	found, missing, epoch := d.users.split(ids, now)
	if len(missing) > 0 {
		loaded, err := d.store.Users(ctx, missing)
		if err != nil {
			return nil, err
		}
		for i := range loaded {
			found[loaded[i].ID] = &loaded[i]
		}
		for _, id := range missing {
			d.users.put(id, found[id], now, epoch)
		}
	}
	return found, nil
}

// User returns one account, im.NotFound if there is none.
func (d *Directory) User(ctx context.Context, id im.UserID) (store.User, error) {
	users, err := d.Users(ctx, []im.UserID{id})
	if err != nil {
		return store.User{}, err
	}
	if users[id] == nil {
		return store.User{}, im.Errorf(im.NotFound, "user %d", id)
	}
	return *users[id], nil
}

// Active reports whether the account of a user exists and may log in: an error
// im.Denied says that it may not, and is never older than the database.
func (d *Directory) Active(ctx context.Context, id im.UserID) error {
	for range 2 {
		users, err := d.Users(ctx, []im.UserID{id})
		if err != nil {
			return err
		}
		if u := users[id]; u != nil && u.Status == im.StatusActive {
			return nil
		}
		d.ForgetUser(id)
	}
	return im.Errorf(im.Denied, "the account of user %d is not active", id)
}

// Groups returns the groups that exist and are not deleted.
func (d *Directory) Groups(ctx context.Context, ids []im.GroupID) (map[im.GroupID]*Group, error) {
	now := d.clock()
	found, missing, epoch := d.groups.split(ids, now)
	if len(missing) > 0 {
		loaded, err := d.store.Groups(ctx, missing)
		if err != nil {
			return nil, err
		}
		for i := range loaded {
			if !loaded[i].Deleted {
				found[loaded[i].ID] = newGroup(&loaded[i])
			}
		}
		for _, id := range missing {
			d.groups.put(id, found[id], now, epoch)
		}
	}
	return found, nil
}

// Group returns one group, im.NotFound if there is none or it is deleted.
func (d *Directory) Group(ctx context.Context, id im.GroupID) (*store.GroupInfo, error) {
	groups, err := d.Groups(ctx, []im.GroupID{id})
	if err != nil {
		return nil, err
	}
	if groups[id] == nil {
		return nil, im.Errorf(im.NotFound, "group %d", id)
	}
	return groups[id].Info, nil
}

// Relation looks a pair up; false if the two never spoke.
func (d *Directory) Relation(ctx context.Context, pair im.Pair) (im.RelationID, bool, error) {
	found, err := d.Relations(ctx, []im.Pair{pair})
	return found[pair], found[pair] != 0, err
}

// Relations looks pairs up; those who never spoke are absent.
func (d *Directory) Relations(ctx context.Context, pairs []im.Pair) (map[im.Pair]im.RelationID, error) {
	return d.relate(ctx, pairs, d.store.Relations)
}

// EnsureRelations returns the relation of every pair and makes the missing.
func (d *Directory) EnsureRelations(ctx context.Context, pairs []im.Pair) (map[im.Pair]im.RelationID, error) {
	return d.relate(ctx, pairs, d.store.EnsureRelations)
}

func (d *Directory) relate(
	ctx context.Context, pairs []im.Pair,
	load func(context.Context, []im.Pair) (map[im.Pair]im.RelationID, error),
) (map[im.Pair]im.RelationID, error) {
	now := d.clock()
	found, missing, epoch := d.relations.split(pairs, now)
	if len(missing) == 0 {
		return found, nil
	}
	loaded, err := load(ctx, missing)
	if err != nil {
		return nil, err
	}
	for pair, id := range loaded {
		if id != 0 {
			found[pair] = id
			d.relations.put(pair, id, now, epoch)
		}
	}
	return found, nil
}

// ForgetUser makes the next look-up read the database.
func (d *Directory) ForgetUser(id im.UserID) { d.users.remove(id) }

// ForgetGroup makes the next look-up read the database.
func (d *Directory) ForgetGroup(id im.GroupID) { d.groups.remove(id) }

// Reset forgets everything: the database went back. The change log is read
// from its end again.
func (d *Directory) Reset() {
	d.users.clear()
	d.groups.clear()
	d.relations.clear()
	d.again.Store(true)
}

// Run follows the change log until ctx ends.
func (d *Directory) Run(ctx context.Context) error {
	ticker := time.NewTicker(pollEvery)
	defer ticker.Stop()
	last, begun, known := uint64(0), false, false
	for {
		if d.again.Swap(false) {
			begun, known = false, false
		}
		if !known {
			last, known = d.begin(ctx, last, begun)
			begun = begun || known
		}
		if known {
			at, err := d.follow(ctx, last)
			if err != nil {
				d.log.Warn("change log not readable", "error", err)
			}
			last, known = at, err == nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// begin forgets everything, which may have changed while the log could not be
// read, and returns where to go on: after the entry that was last, so that
// every change is told, or at the end of a log that was never read or is
// another one.
func (d *Directory) begin(ctx context.Context, last uint64, begun bool) (from uint64, ok bool) {
	newest, err := d.store.LastChange(ctx)
	if err != nil {
		return last, false
	}
	if !begun || newest < last {
		last = newest
	}
	d.users.clear()
	d.groups.clear()
	return last, true
}

// follow hears what came after the entry that was last, and returns which is
// last now.
func (d *Directory) follow(ctx context.Context, last uint64) (uint64, error) {
	for {
		changes, err := d.store.Changes(ctx, last, pollLimit)
		if err != nil {
			return last, err
		}
		for _, change := range changes {
			last = change.ID
			switch change.Kind {
			case store.UserChanged:
				d.ForgetUser(im.UserID(change.Subject))
			case store.GroupChanged:
				d.ForgetGroup(im.GroupID(change.Subject))
			case store.SessionRemoved:
			}
			for _, f := range d.onChange {
				f(change)
			}
		}
		if len(changes) < pollLimit {
			return last, nil
		}
	}
}

// Group is a group as the lanes need it: immutable, with its members encoded
// once for all the messages that name them.
type Group struct {
	Info *store.GroupInfo
	// Members lists the users in ascending order, Wire the same as numbers of
	// the wire. Both are shared: nobody changes them.
	Members []im.UserID
	Wire    []uint32
}

func newGroup(info *store.GroupInfo) *Group {
	g := &Group{Info: info, Members: make([]im.UserID, len(info.Members))}
	for i, m := range info.Members {
		g.Members[i] = m.User
	}
	slices.Sort(g.Members)
	g.Wire = make([]uint32, len(g.Members))
	for i, id := range g.Members {
		g.Wire[i] = uint32(id)
	}
	return g
}

// Has reports whether the user is a member.
func (g *Group) Has(user im.UserID) bool {
	_, ok := slices.BinarySearch(g.Members, user)
	return ok
}
