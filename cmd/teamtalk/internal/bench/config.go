package bench

import (
	"errors"
	"fmt"
	"time"

	"teamtalk/client/textcrypt"
)

// Config is one run.
type Config struct {
	LoginURL string   // of a login_server; or
	Addrs    []string // addresses of msg_servers
	Prefix   string   // users are Prefix1 … PrefixCount
	Count    int
	Password string

	Window   int     // unacknowledged messages per sender
	Rate     float64 // messages per second in total; 0: closed loop
	Size     int     // bytes of text
	Duration time.Duration
	WarmUp   time.Duration
	Grace    time.Duration

	Group   uint32 // mode group: an existing group, 0 creates one
	Senders int    // mode group: how many members write, 0 is all

	Pids []Process
}

// Process is a server whose use of the machine is measured.
type Process struct {
	Name string
	PID  int
}

// maxSeq is how many messages one sender can number: a token carries the seq
// in 24 bits.
const maxSeq = 1<<24 - 1

// check refuses what cannot run.
func (c *Config) check() error {
	switch {
	case (c.LoginURL == "") == (len(c.Addrs) == 0):
		return errors.New("give either --login or --addr")
	case c.Count < 2:
		return errors.New("--count: at least 2 users")
	case c.Window < 1 || c.Window > 1000:
		return errors.New("--window: 1 to 1000")
	case c.Rate < 0:
		return errors.New("--rate: not negative")
	case c.Size < stampSize || c.Size > textcrypt.MaxPlain:
		return fmt.Errorf("--size: %d to %d", stampSize, textcrypt.MaxPlain)
	case c.Duration <= 0 || c.WarmUp < 0 || c.Grace < 0:
		return errors.New("--duration must be positive, --warm-up and --grace not negative")
	case c.Senders < 0 || c.Senders > c.Count:
		return errors.New("--senders: 0 to --count")
	}
	return nil
}
