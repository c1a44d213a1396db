package bench

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"time"

	"github.com/spf13/cobra"

	"teamtalk/client/textcrypt"
	"teamtalk/internal/im"
)

// Config is one run.
type Config struct {
	LoginURL string   // of a login_server; or
	Addrs    []string // addresses of msg_servers
	Prefix   string   // users are Prefix1 … PrefixCount
	Count    int
	Password string

	Window   int     // unacknowledged messages, or requests, per sender
	Rate     float64 // messages or requests per second in total; 0: closed loop
	Duration time.Duration
	WarmUp   time.Duration
	Grace    time.Duration

	Size    int    // modes single, group, history: bytes of text
	Group   uint32 // mode group: an existing group, 0 creates one
	Senders int    // modes single and group: how many users write, 0 is all

	Depth  int     // mode history: messages that each conversation has at least
	Page   int     // mode history: messages per page
	Unread float64 // mode history: share of the requests that ask for unread counts

	Sources   []string // modes login and idle: source addresses; empty: chosen
	Processes int      // mode idle: client processes; 0: as many as file limits need

	Pids    []Process
	Ceiling string // file with results of "bench ceiling"
	Commits string // modes single and group: dbproxyserver.conf of the database to commit to beside the load
}

// Process is a server whose use of the machine is measured.
type Process struct {
	Name string
	PID  int
}

// maxSeq is how many messages one sender can number: a token carries the seq
// in 24 bits.
const maxSeq = 1<<24 - 1

// commonFlags adds the flags of every mode.
func (c *Config) commonFlags(cmd *cobra.Command) {
	c.Size, c.Page, c.Depth = 100, 20, 1
	f := cmd.Flags()
	f.StringVar(&c.LoginURL, "login", "", "URL of a login_server, such as http://127.0.0.1:8080/msg_server")
	f.StringSliceVar(&c.Addrs, "addr", nil, "addresses of msg_servers, instead of --login")
	f.StringVar(&c.Prefix, "prefix", "u", "users are PREFIX1, PREFIX2 and so on")
	f.IntVar(&c.Count, "count", 100, "number of users")
	f.StringVar(&c.Password, "password", "12345", "password of every user")
	f.IntVar(&c.Window, "window", 1, "unacknowledged messages per sender")
	f.Float64Var(&c.Rate, "rate", 0, "messages per second of all senders together; 0: as fast as the window allows")
	f.DurationVar(&c.Duration, "duration", 30*time.Second, "measured time, after the warm-up")
	f.DurationVar(&c.WarmUp, "warm-up", 2*time.Second, "time before, checked but not measured")
	f.DurationVar(&c.Grace, "grace", 10*time.Second, "how long to wait for what is under way at the end")
	f.StringVar(&c.Ceiling, "ceiling", "", "results of bench ceiling, to show shares of")
}

// trafficFlags adds the flags of the modes that send messages.
func trafficFlags(cmd *cobra.Command, c *Config) {
	cmd.Flags().IntVar(&c.Size, "size", 100, fmt.Sprintf("bytes of text per message, %d to 3068", stampSize))
}

func chatFlags(cmd *cobra.Command, c *Config) {
	trafficFlags(cmd, c)
	cmd.Flags().IntVar(&c.Senders, "senders", 0, "users who write; 0: all")
	cmd.Flags().StringVar(&c.Commits, "commits", "",
		"dbproxyserver.conf of a MariaDB to which to commit single rows meanwhile, and time them")
}

func groupFlags(cmd *cobra.Command, c *Config) {
	chatFlags(cmd, c)
	cmd.Flags().Uint32Var(&c.Group, "group", 0, "id of the group; 0: create one")
}

func loginFlags(cmd *cobra.Command, c *Config) {
	sourceFlag(cmd, c)
	describe(cmd, "window", "log-ins under way at the same time", "16")
	describe(cmd, "rate", "reconnects per second; 0: as fast as the window allows", "0")
}

func idleFlags(cmd *cobra.Command, c *Config) {
	sourceFlag(cmd, c)
	cmd.Flags().IntVar(&c.Processes, "processes", 0, "client processes; 0: as many as file limits need")
	describe(cmd, "window", "log-ins under way at the same time", "16")
	describe(cmd, "count", "number of users; each has two connections", "100")
	describe(cmd, "duration", "idle time", "1m0s")
	describe(cmd, "rate", "log-ins per second; 0: as fast as the window allows", "0")
}

func historyFlags(cmd *cobra.Command, c *Config) {
	trafficFlags(cmd, c)
	f := cmd.Flags()
	f.IntVar(&c.Depth, "depth", 200, "messages of each conversation; what lacks is sent before")
	f.IntVar(&c.Page, "page", 20, "messages per page")
	f.Float64Var(&c.Unread, "unread", 0.2, "share of the requests that ask for unread counts, the rest for pages")
	describe(cmd, "window", "unanswered requests per user", "1")
	describe(cmd, "rate", "requests per second of all users together; 0: as fast as the window allows", "0")
}

func sourceFlag(cmd *cobra.Command, c *Config) {
	cmd.Flags().StringSliceVar(&c.Sources, "source", nil,
		"source addresses of the connections, in turn (default: 127.0.0.1 and its next when all servers are on loopback)")
}

// describe changes what a mode says of a common flag, and its default.
func describe(cmd *cobra.Command, name, usage, def string) {
	f := cmd.Flags().Lookup(name)
	f.Usage, f.DefValue = usage, def
	_ = f.Value.Set(def) // a constant of the right form
}

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
	case c.Depth < 1 || c.Depth > maxSeq:
		return errors.New("--depth: at least 1")
	case c.Page < 1 || c.Page > im.MaxHistory:
		return fmt.Errorf("--page: 1 to %d", im.MaxHistory)
	case c.Unread < 0 || c.Unread > 1:
		return errors.New("--unread: 0 to 1")
	case c.Processes < 0 || c.Processes > 100:
		return errors.New("--processes: 0 to 100")
	}
	return nil
}

// loopbackSources is how many source addresses are used towards servers on
// loopback: one address reaches one server about 28,000 times a minute.
const loopbackSources = 16

// sources returns the source addresses to use in turn; "" is the system's
// choice.
func (c *Config) sources(servers []string) []string {
	if len(c.Sources) > 0 {
		return c.Sources
	}
	if runtime.GOOS != "linux" { // elsewhere 127.0.0.2 is not an address of the machine
		return []string{""}
	}
	for _, s := range servers {
		host, _, err := net.SplitHostPort(s)
		ip, ipErr := netip.ParseAddr(host)
		if err != nil || ipErr != nil || !ip.Is4() || !ip.IsLoopback() {
			return []string{""}
		}
	}
	all := make([]string, loopbackSources)
	for i := range all {
		all[i] = netip.AddrFrom4([4]byte{127, 0, 0, byte(i + 1)}).String()
	}
	return all
}
