package cache

import (
	"context"
	"errors"

	"github.com/redis/go-redis/v9"
)

// faultHook calls fault before every round trip to Redis, as point "redis",
// and after every one that was answered, as point "redis:done". An error takes
// the place of the round trip, or of its answer.
type faultHook struct {
	fault func(ctx context.Context, point string) error
}

func (h faultHook) DialHook(next redis.DialHook) redis.DialHook { return next }

func (h faultHook) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		return h.around(ctx, []redis.Cmder{cmd}, func() error { return next(ctx, cmd) })
	}
}

func (h faultHook) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		return h.around(ctx, cmds, func() error { return next(ctx, cmds) })
	}
}

func (h faultHook) around(ctx context.Context, cmds []redis.Cmder, call func() error) error {
	err := h.fault(ctx, "redis")
	if err == nil {
		err = call()
		if err != nil && !errors.Is(err, redis.Nil) && !isBroken(err) {
			return err
		}
		answer := err
		if err = h.fault(ctx, "redis:done"); err == nil {
			return answer
		}
	}
	for _, cmd := range cmds {
		cmd.SetErr(err)
	}
	return err
}
