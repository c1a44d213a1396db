package cache

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// The keys of the database's epoch. No original knows them.
const (
	epochKey = "storage_epoch" // its name, and since when the counts belong to it
	seenKey  = "storage_seen"  // the newest messages that a db_proxy had stored
)

// Enter says in which epoch the database is. Unread counts that were built in
// another one are not believed any more, by no db_proxy: the newest messages
// they count may be lost. Message id counters stay: they keep the ids of lost
// messages from being given again.
func (c *Cache) Enter(ctx context.Context, epoch string) error {
	now := c.clock()
	since := now
	err := c.unread.do(ctx, func(client redis.UniversalClient) error {
		held, err := client.Get(ctx, epochKey).Result()
		if err != nil && !errors.Is(err, redis.Nil) {
			return err
		}
		name, at, _ := strings.Cut(held, " ")
		if name == epoch {
			seconds, _ := strconv.ParseInt(at, 10, 64) // 0: nothing of before
			since = time.Unix(seconds, 0)
			return nil
		}
		if held == "" {
			since = time.Unix(0, 0) // Redis was empty
		}
		return client.Set(ctx, epochKey, epoch+" "+strconv.FormatInt(since.Unix(), 10), 0).Err()
	})
	c.owed.void(since)
	if err != nil {
		return fmt.Errorf("enter an epoch: %w", err)
	}
	return nil
}

// Seen returns what SetSeen kept last; empty if Redis knows nothing.
func (c *Cache) Seen(ctx context.Context) (seen []byte, err error) {
	err = c.unread.do(ctx, func(client redis.UniversalClient) error {
		seen, err = client.Get(ctx, seenKey).Bytes()
		return err
	})
	if errors.Is(err, redis.Nil) {
		return nil, nil
	}
	return seen, err
}

// SetSeen keeps what a database must know that has not gone back.
func (c *Cache) SetSeen(ctx context.Context, seen []byte) error {
	return c.unread.do(ctx, func(client redis.UniversalClient) error { return client.Set(ctx, seenKey, seen, 0).Err() })
}
