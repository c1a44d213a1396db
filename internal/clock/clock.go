// Package clock is the clock of a process. It is time.Now, but for tests that
// want to see what a role does when an administrator or a time server moves
// the clock of its machine: then a file says by how much.
//
// Only the wall clock moves. As on a real machine, the monotonic one goes on,
// and the difference of two times of one process stays what it was.
package clock

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync/atomic"
	"time"
	"unsafe"
)

// FileVariable names, in the environment, the file that moves the clock: "-1h30m" in it
// is an hour and a half behind. ONLY FOR TESTING. Without the variable
// there is nothing that could move the clock.
const FileVariable = "TEAMTALK_TESTING_CLOCK_FILE"

// lookEvery is how long a change of the file may go unnoticed.
const lookEvery = 20 * time.Millisecond

// Clock tells the time. The zero Clock is the real one. Safe from any
// goroutine.
type Clock struct {
	path   string // "" for the real clock
	offset atomic.Int64
}

// New returns the real clock for an empty path, else one that follows a file.
// The file must be there, hold a duration, and be writable to nobody but its
// owner: this process must not take its time from strangers.
func New(path string) (*Clock, error) {
	c := &Clock{path: path}
	if path == "" {
		return c, nil
	}
	if !movable() {
		return nil, errors.New("the clock of this build cannot be moved")
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("find what moves the clock: %w", err)
	}
	if !info.Mode().IsRegular() || info.Mode().Perm()&0o022 != 0 {
		return nil, fmt.Errorf("%s must be a file that only its owner may write", path)
	}
	return c, c.look()
}

// Source returns the function that tells the time.
func (c *Clock) Source() func() time.Time {
	if c.path == "" {
		return time.Now //nolint:forbidigo // this is where Deps get it
	}
	return func() time.Time {
		return shift(time.Now(), time.Duration(c.offset.Load())) //nolint:forbidigo // as above
	}
}

// Follow moves the clock as its file says, until ctx ends. It returns at once
// for the real clock.
func (c *Clock) Follow(ctx context.Context, log *slog.Logger) {
	if c.path == "" {
		return
	}
	log.Warn("the clock is moved by a file: only for testing", "file", c.path)
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		before := c.offset.Load()
		if err := c.look(); err != nil {
			log.Warn("the clock is not moved", "error", err)
			return
		}
		if now := c.offset.Load(); now != before {
			log.Info("the clock was moved", "from", time.Duration(before), "to", time.Duration(now))
		}
	}
}

// look reads the file.
func (c *Clock) look() error {
	text, err := os.ReadFile(c.path)
	if err != nil {
		return fmt.Errorf("read what moves the clock: %w", err)
	}
	offset, err := time.ParseDuration(strings.TrimSpace(string(text)))
	if err != nil {
		return fmt.Errorf("%s: %w", c.path, err)
	}
	c.offset.Store(int64(offset))
	return nil
}

// parts is what a time.Time is made of. The package time offers no way to move
// the wall reading and leave the monotonic one; movable checks that this is
// still its layout.
type parts struct {
	wall      uint64 // a flag for the monotonic reading, 33 bits of seconds, 30 of nanoseconds
	monotonic int64
	location  *time.Location
}

// shift moves the wall reading of a time that was read just now, by whole
// seconds.
func shift(t time.Time, by time.Duration) time.Time {
	(*parts)(unsafe.Pointer(&t)).wall += uint64(by/time.Second) << 30 //nolint:gosec // negative ones wrap around
	return t
}

// movable tries what shift does.
func movable() bool {
	if unsafe.Sizeof(time.Time{}) != unsafe.Sizeof(parts{}) {
		return false
	}
	now := time.Now() //nolint:forbidigo // as above
	for _, by := range []time.Duration{time.Hour, -time.Hour} {
		moved := shift(now, by)
		if moved.Sub(now) != 0 || moved.Round(0).Sub(now.Round(0)) != by {
			return false
		}
	}
	return true
}
