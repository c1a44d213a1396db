package cache

import (
	"context"
	"fmt"
	"strconv"

	"github.com/redis/go-redis/v9"

	"teamtalk/db_proxy/internal/store"
	"teamtalk/internal/im"
)

// The keys in this file are mirrors: written for original neighbours and
// tools, never read by us. SQL is asked instead.

// SetMembers replaces the member list of a group, at once.
func (c *Cache) SetMembers(ctx context.Context, group im.GroupID, members []store.Member) error {
	if len(members) == 0 {
		return c.DropMembers(ctx, group)
	}
	key := memberKey(group)
	fields := make([]any, 0, 2*len(members))
	for _, m := range members {
		fields = append(fields, uint32(m.User), m.Joined)
	}
	err := c.groupMember.do(ctx, func(client redis.UniversalClient) error {
		_, err := client.TxPipelined(ctx, func(pipe redis.Pipeliner) error {
			pipe.Del(ctx, key)
			pipe.HSet(ctx, key, fields...)
			return nil
		})
		return err
	})
	if err != nil {
		return fmt.Errorf("set members of group %d: %w", group, err)
	}
	return nil
}

// DropMembers removes the member list of a group; an original db_proxy then
// takes the group for non-existent.
func (c *Cache) DropMembers(ctx context.Context, group im.GroupID) error {
	err := c.groupMember.pipeline(ctx, func(pipe redis.Pipeliner) { pipe.Del(ctx, memberKey(group)) })
	if err != nil {
		return fmt.Errorf("drop members of group %d: %w", group, err)
	}
	return nil
}

// SetShield notes whether a user muted a group.
func (c *Cache) SetShield(ctx context.Context, group im.GroupID, user im.UserID, muted bool) error {
	value := "0"
	if muted {
		value = "1"
	}
	err := c.groupSet.pipeline(ctx, func(pipe redis.Pipeliner) {
		pipe.HSet(ctx, shieldKey(group), fmt.Sprintf("%d_1", user), value)
	})
	if err != nil {
		return fmt.Errorf("set shield of group %d: %w", group, err)
	}
	return nil
}

// SetToken makes token the one of the user's phone and nobody else's. An
// empty token, or one of a client that is no phone, leaves the user without.
func (c *Cache) SetToken(ctx context.Context, user im.UserID, client im.ClientType, token string) error {
	var kind string
	switch client {
	case im.IOS:
		kind = "ios:"
	case im.Android:
		kind = "android:"
	case im.Windows, im.Mac:
	}
	if _, id := parseCount(token); kind == "" || id {
		token = "" // a token that looks like a user id would take that user's key
	}
	var mine, owner *redis.StringCmd
	err := c.token.pipeline(ctx, func(pipe redis.Pipeliner) {
		mine = pipe.Get(ctx, userTokenKey(user))
		if token != "" {
			owner = pipe.Get(ctx, tokenUserKey(token))
		}
	})
	if err == nil {
		err = c.token.pipeline(ctx, func(pipe redis.Pipeliner) {
			if old := tokenOf(mine.Val()); old != "" && old != token {
				pipe.Del(ctx, tokenUserKey(old))
			}
			if token == "" {
				pipe.Del(ctx, userTokenKey(user))
				return
			}
			if other, ok := parseCount(owner.Val()); ok && im.UserID(other) != user {
				pipe.Del(ctx, userTokenKey(im.UserID(other)))
			}
			pipe.Set(ctx, userTokenKey(user), kind+token, 0)
			pipe.Set(ctx, tokenUserKey(token), strconv.FormatUint(uint64(user), 10), 0)
		})
	}
	if err != nil {
		return fmt.Errorf("set device token of user %d: %w", user, err)
	}
	return nil
}

// tokenOf cuts the kind off the value of device_<user>.
func tokenOf(value string) string {
	for i := range len(value) {
		if value[i] == ':' {
			return value[i+1:]
		}
	}
	return value
}
