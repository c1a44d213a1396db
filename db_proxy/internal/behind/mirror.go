package behind

import (
	"context"
	"errors"
	"fmt"

	"teamtalk/db_proxy/internal/store"
	"teamtalk/internal/im"
)

// Mirrors is where lists are kept for old neighbours and tools; SQL has them.
type Mirrors interface {
	SetMembers(ctx context.Context, g im.GroupID, members []store.Member) error
	SetShield(ctx context.Context, g im.GroupID, user im.UserID, muted bool) error
	SetToken(ctx context.Context, user im.UserID, client im.ClientType, token string) error
}

// maxMirrored is how many mirrors may wait while Redis is away.
const maxMirrored = 50_000

// writeMirrors runs all; after an error all of them are run again.
func writeMirrors(ctx context.Context, all map[string]func(context.Context) error) error {
	var errs []error
	for _, write := range all {
		errs = append(errs, write(ctx))
	}
	return errors.Join(errs...)
}

// mirror writes at once if it can, and otherwise when Redis is back. Of
// several writes under one key the last one counts.
func (b *Behind) mirror(ctx context.Context, key string, write func(context.Context) error) error {
	if !b.mirrored.set(key, write) {
		b.dropped.Inc()
		return im.Errorf(im.Busy, "too many mirrors wait for redis")
	}
	b.mirrored.settle(ctx)
	return nil
}

// SetMembers replaces the member list of a group.
func (b *Behind) SetMembers(ctx context.Context, g im.GroupID, members []store.Member) error {
	return b.mirror(ctx, fmt.Sprintf("members %d", g), func(ctx context.Context) error {
		return b.mirrors.SetMembers(ctx, g, members)
	})
}

// SetShield notes whether a user muted a group.
func (b *Behind) SetShield(ctx context.Context, g im.GroupID, user im.UserID, muted bool) error {
	return b.mirror(ctx, fmt.Sprintf("shield %d %d", g, user), func(ctx context.Context) error {
		return b.mirrors.SetShield(ctx, g, user, muted)
	})
}

// SetToken makes token the one of the user's phone and nobody else's.
func (b *Behind) SetToken(ctx context.Context, user im.UserID, client im.ClientType, token string) error {
	return b.mirror(ctx, fmt.Sprintf("token %d", user), func(ctx context.Context) error {
		return b.mirrors.SetToken(ctx, user, client, token)
	})
}
