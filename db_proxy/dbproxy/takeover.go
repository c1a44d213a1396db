package dbproxy

import (
	"context"
	"log/slog"
	"time"

	"teamtalk/db_proxy/internal/store"
	"teamtalk/db_proxy/internal/takeover"
	"teamtalk/internal/im"
)

// TakeoverReport is what a takeover found and did.
type TakeoverReport = takeover.Report

// TakeoverProgress says how far a takeover came.
type TakeoverProgress = takeover.Progress

// Takeover converts the database of a configuration from the original's
// tables to ours, and back. No server may use the database meanwhile, except
// during Check.
type Takeover struct{ *takeover.Takeover }

// OpenTakeover connects to the database and to the Redis of a configuration.
// Prefix is what the names of the original's tables begin with; nil: they have
// the original's names. Progress may be nil. The caller closes the Takeover.
func OpenTakeover(
	ctx context.Context, cfg Config, prefix *string, log *slog.Logger, progress func(TakeoverProgress),
) (*Takeover, error) {
	if cfg.StoreDriver != store.MySQL {
		return nil, im.Errorf(im.Invalid, "StoreDriver is %s: only a MySQL or MariaDB of the original can be taken over",
			cfg.StoreDriver)
	}
	t, err := takeover.Open(ctx, takeover.Config{
		DB: cfg.Master.pool(), Redis: cfg.cache(), Prefix: prefix,
	}, takeover.Deps{
		Log: log, Clock: time.Now, Progress: progress, //nolint:forbidigo // of a tool
	})
	if err != nil {
		return nil, err
	}
	return &Takeover{t}, nil
}
