package takeover

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"teamtalk/db_proxy/internal/cache"
	"teamtalk/internal/im"
)

// keys reads and writes what the original keeps in Redis.
// Source: docs/protocol/storage.md §5.
type keys struct {
	unread, groupSet, token, groupMember redis.UniversalClient
}

// pipelined is how many commands go to Redis at once.
const pipelined = 1000

func openKeys(ctx context.Context, cfg cache.Config) (*keys, error) {
	k := &keys{}
	for name, client := range map[string]*redis.UniversalClient{
		cache.PoolUnread: &k.unread, cache.PoolGroupSet: &k.groupSet,
		cache.PoolToken: &k.token, cache.PoolGroupMember: &k.groupMember,
	} {
		p, ok := cfg.Pools[name]
		if !ok || len(p.Addrs) == 0 {
			return nil, errors.Join(im.Errorf(im.Invalid, "no Redis pool %q is configured", name), k.close())
		}
		*client = redis.NewUniversalClient(&redis.UniversalOptions{
			Addrs: p.Addrs, DB: p.DB, Password: p.Password.Reveal(), Protocol: 2, DisableIdentity: true,
			DialTimeout: 5 * time.Second, ReadTimeout: time.Minute, WriteTimeout: time.Minute,
		})
		if err := (*client).Ping(ctx).Err(); err != nil {
			return nil, errors.Join(im.Wrap(im.Unavailable, "connect to Redis pool "+name, err), k.close())
		}
	}
	return k, nil
}

func (k *keys) close() error {
	var errs []error
	for _, c := range []redis.UniversalClient{k.unread, k.groupSet, k.token, k.groupMember} {
		if c != nil {
			errs = append(errs, c.Close())
		}
	}
	return errors.Join(errs...)
}

// hashes reads the hashes of names, in order; an absent one is empty, and so
// is a key of another type.
func hashes(ctx context.Context, c redis.UniversalClient, names []string) ([]map[string]string, error) {
	all := make([]map[string]string, 0, len(names))
	for len(names) > 0 {
		n := min(pipelined, len(names))
		cmds := make([]*redis.MapStringStringCmd, n)
		if err := pipeline(ctx, c, func(p redis.Pipeliner) {
			for i, name := range names[:n] {
				cmds[i] = p.HGetAll(ctx, name)
			}
		}); err != nil {
			return nil, err
		}
		for _, cmd := range cmds {
			all = append(all, cmd.Val())
		}
		names = names[n:]
	}
	return all, nil
}

// texts reads the strings of names, in order. An absent one is "".
func texts(ctx context.Context, c redis.UniversalClient, names []string) ([]string, error) {
	return read(ctx, c, names, func(p redis.Pipeliner, name string) *redis.StringCmd { return p.Get(ctx, name) })
}

// counts reads the field "count" of the hashes of names, in order; absent and
// broken ones are -1.
func counts(ctx context.Context, c redis.UniversalClient, names []string) ([]int64, error) {
	all, err := read(ctx, c, names, func(p redis.Pipeliner, name string) *redis.StringCmd {
		return p.HGet(ctx, name, "count")
	})
	n := make([]int64, len(all))
	for i, s := range all {
		v, ok := parse(s)
		n[i] = int64(v)
		if !ok {
			n[i] = -1
		}
	}
	return n, err
}

func read(
	ctx context.Context, c redis.UniversalClient, names []string, get func(redis.Pipeliner, string) *redis.StringCmd,
) ([]string, error) {
	all := make([]string, 0, len(names))
	for len(names) > 0 {
		n := min(pipelined, len(names))
		cmds := make([]*redis.StringCmd, n)
		if err := pipeline(ctx, c, func(p redis.Pipeliner) {
			for i, name := range names[:n] {
				cmds[i] = get(p, name)
			}
		}); err != nil {
			return nil, err
		}
		for _, cmd := range cmds {
			all = append(all, cmd.Val())
		}
		names = names[n:]
	}
	return all, nil
}

// pipeline sends what add queues. What Redis says about a single key is left
// with the command: it is not there, or of another type, and reads as empty.
func pipeline(ctx context.Context, c redis.UniversalClient, add func(p redis.Pipeliner)) error {
	cmds, _ := c.Pipelined(ctx, func(p redis.Pipeliner) error { add(p); return nil })
	for _, cmd := range cmds {
		err := cmd.Err()
		if err == nil || errors.Is(err, redis.Nil) {
			continue
		}
		if answer, ok := errors.AsType[redis.Error](err); ok && redis.HasErrorPrefix(answer, "WRONGTYPE") {
			continue
		}
		return im.Wrap(im.Unavailable, "ask Redis", err)
	}
	return nil
}

// parse reads a number that is not negative.
func parse(s string) (uint32, bool) {
	n, err := strconv.ParseUint(s, 10, 32)
	return uint32(n), err == nil
}

// named returns the names of keys made from ids.
func named[T ~uint32](format string, ids []T) []string {
	names := make([]string, len(ids))
	for i, id := range ids {
		names[i] = fmt.Sprintf(format, id)
	}
	return names
}
