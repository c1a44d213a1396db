package cache

import (
	"errors"
	"strings"

	"github.com/redis/go-redis/v9"
)

// demoted reports whether err is the answer of a Redis that is none to write to
// any more: READONLY of a replica, MASTERDOWN of one that lost its master.
func demoted(err error) bool {
	if _, ok := errors.AsType[redis.Error](err); !ok {
		return false
	}
	msg := err.Error()
	return strings.HasPrefix(msg, "READONLY") || strings.HasPrefix(msg, "MASTERDOWN")
}
