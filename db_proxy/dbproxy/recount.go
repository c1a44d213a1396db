package dbproxy

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"teamtalk/db_proxy/internal/cache"
	"teamtalk/db_proxy/internal/recount"
	"teamtalk/db_proxy/internal/store"
	"teamtalk/internal/im"
)

// RecountSpec says what to recount.
type RecountSpec struct {
	User   string `json:"user,omitempty"` // name; "" for all
	Repair bool   `json:"repair,omitempty"`
	// NewEpoch begins another epoch of the database and compares nothing: to be
	// done after a restore.
	NewEpoch bool `json:"new_epoch,omitempty"`
}

// CountDifference is an unread count in Redis that is not what the read
// cursors in SQL say.
type CountDifference struct {
	User     uint32  `json:"user"`
	Name     string  `json:"name"`
	Kind     string  `json:"kind"` // single or group
	Peer     uint32  `json:"peer"` // user or group; 0: all peers of the user
	PeerName string  `json:"peer_name,omitempty"`
	Cached   *uint32 `json:"cached"` // null: what stands there is no number
	Counted  uint32  `json:"counted"`
}

// RecountReport is what Recount found, and left.
type RecountReport struct {
	Epoch  string `json:"epoch,omitempty"` // begun
	Users  int    `json:"users"`           // looked at
	Counts int    `json:"counts"`          // numbers in Redis that were compared
	// NoCache says that there is nothing to compare: the cache is inside a
	// server that does not run.
	NoCache     bool              `json:"no_cache,omitempty"`
	Differences []CountDifference `json:"differences"`
	Left        []CountDifference `json:"left,omitempty"` // after a repair
}

// Recount compares the unread counts in Redis with SQL while the servers run,
// and repairs them if spec says so; im.NotFound if there is no such user,
// im.Unavailable while Redis is away.
func (a *Admin) Recount(ctx context.Context, spec RecountSpec) (report RecountReport, err error) {
	report.Differences = []CountDifference{}
	if spec.NewEpoch {
		report.Epoch, err = a.newEpoch(ctx)
		return report, err
	}
	users, err := a.recountUsers(ctx, spec.User)
	if err != nil {
		return report, err
	}
	counts, closeCache, err := a.openCache()
	if err != nil {
		return report, err
	}
	if counts == nil {
		report.Users, report.NoCache = len(users), true
		return report, nil
	}
	defer closeCache()
	r, err := recount.New(recount.Deps{Store: a.store, Cache: counts, Forget: a.forget})
	if err != nil {
		return report, err
	}
	found, err := r.Check(ctx, users)
	if err != nil {
		return report, err
	}
	report.Users, report.Counts = found.Users, found.Counts
	if report.Differences, err = a.named(ctx, found.Differences); err != nil || !spec.Repair {
		return report, err
	}
	left, err := r.Repair(ctx, found.Differences)
	if err != nil {
		return report, fmt.Errorf("repair: %w", err)
	}
	report.Left, err = a.named(ctx, left.Differences)
	return report, err
}

// newEpoch begins another epoch of the database. Every db_proxy finds it within a
// second.
func (a *Admin) newEpoch(ctx context.Context) (name string, err error) {
	epoch, err := a.store.Epoch(ctx)
	if err == nil {
		epoch, err = a.store.NewEpoch(ctx, epoch)
	}
	return epoch.String(), err
}

// recountUsers returns one user or all of them.
func (a *Admin) recountUsers(ctx context.Context, name string) ([]im.UserID, error) {
	find := func() ([]store.User, error) { return a.store.ListUsers(ctx) }
	if name != "" {
		find = func() ([]store.User, error) { return a.store.FindUsers(ctx, []string{name}) }
	}
	all, err := find()
	if err != nil {
		return nil, err
	}
	if len(all) == 0 && name != "" {
		return nil, im.Errorf(im.NotFound, "no user %q", name)
	}
	ids := make([]im.UserID, len(all))
	for i, u := range all {
		ids[i] = u.ID
	}
	return ids, nil
}

// openCache returns the cache of the server, or opens that of the
// configuration; nil if it has none.
func (a *Admin) openCache() (c *cache.Cache, closeCache func(), err error) {
	if !a.owned {
		return a.cache, func() {}, nil
	}
	if a.cfg.Caches == nil {
		return nil, nil, nil
	}
	c, err = cache.New(a.cfg.cache(), cache.Deps{
		Log: slog.New(slog.DiscardHandler), Clock: time.Now, Reg: prometheus.NewRegistry(), //nolint:forbidigo // of a tool
	})
	if err != nil {
		return nil, nil, fmt.Errorf("open Redis: %w", err)
	}
	return c, func() { _ = c.Close() }, nil
}

// named gives differences the names that people know.
func (a *Admin) named(ctx context.Context, all []recount.Difference) ([]CountDifference, error) {
	out := make([]CountDifference, 0, len(all))
	if len(all) == 0 {
		return out, nil
	}
	var users []im.UserID
	var groups []im.GroupID
	for _, d := range all {
		users = append(users, d.User)
		if d.Kind == im.Group {
			groups = append(groups, im.GroupID(d.Peer))
		} else {
			users = append(users, im.UserID(d.Peer))
		}
	}
	names, err := a.names(ctx, users, groups)
	if err != nil {
		return nil, err
	}
	for _, d := range all {
		line := CountDifference{
			User: uint32(d.User), Name: names.users[d.User], Kind: d.Kind.String(), Peer: d.Peer,
			PeerName: names.users[im.UserID(d.Peer)], Counted: d.Counted,
		}
		if d.Kind == im.Group {
			line.PeerName = names.groups[im.GroupID(d.Peer)]
		}
		if !d.Broken {
			line.Cached = &d.Cached
		}
		out = append(out, line)
	}
	return out, nil
}

// nameTable are the names behind ids.
type nameTable struct {
	users  map[im.UserID]string
	groups map[im.GroupID]string
}

// names looks names up; what does not exist has none.
func (a *Admin) names(ctx context.Context, users []im.UserID, groups []im.GroupID) (nameTable, error) {
	names := nameTable{users: map[im.UserID]string{}, groups: map[im.GroupID]string{}}
	known, err := a.store.Users(ctx, users)
	if err != nil {
		return names, err
	}
	for _, u := range known {
		names.users[u.ID] = u.Name
	}
	infos, err := a.store.Groups(ctx, groups)
	for _, g := range infos {
		names.groups[g.ID] = g.Name
	}
	return names, err
}
