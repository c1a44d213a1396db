package recount

import (
	"context"
	"fmt"
	"slices"

	"teamtalk/db_proxy/internal/cache"
	"teamtalk/db_proxy/internal/store"
	"teamtalk/internal/im"
)

// Repair has differences forgotten and rebuilt from SQL, and returns what
// differs still: nothing, unless something keeps writing wrong counts. Whoever
// stores or reads a message meanwhile is not disturbed: a count that he writes
// is newer and stays, as cache.Rebuild says.
func (r *Recounter) Repair(ctx context.Context, differences []Difference) (Report, error) {
	var users []im.UserID
	keys := make([]store.SessionKey, 0, len(differences))
	for _, d := range differences {
		users = append(users, d.User)
		if r.deps.Forget != nil && d.Peer != 0 {
			r.deps.Forget(im.ConversationOf(d.User, d.Kind, d.Peer))
		}
		keys = append(keys, d.SessionKey)
	}
	slices.Sort(users)
	users = slices.Compact(users)
	if len(users) == 0 {
		return Report{}, nil
	}
	if err := r.deps.Cache.ForgetUnread(ctx, keys); err != nil {
		return Report{}, err
	}
	groups, err := r.deps.Store.Memberships(ctx, users)
	if err != nil {
		return Report{}, fmt.Errorf("read memberships: %w", err)
	}
	for _, user := range users {
		rebuild := cache.RebuildFrom(r.deps.Store, user, groups[user])
		// Where others write all the time the rebuild gives way to them; what
		// was forgotten is rebuilt by whoever asks next.
		_, err := r.deps.Cache.Unread(ctx, user, groups[user], rebuild)
		if err != nil && im.CodeOf(err) != im.Unavailable {
			return Report{}, err
		}
	}
	return r.Check(ctx, users)
}
