//go:build unix

package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"

	"teamtalk/test/chaos/internal/overload"
	"teamtalk/test/chaos/internal/system"
)

// overloadOptions are the arguments of an overload run.
type overloadOptions struct {
	Dir, Bin string
	BasePort int
	Users    int
	Limit    float64       // messages a second that the database is throttled to
	Times    float64       // as many are offered
	For      time.Duration // as long
}

// overloadReport is what a run found, as report.json has it.
type overloadReport struct {
	Limit       float64         `json:"limit_per_s"`
	Sustainable float64         `json:"sustainable_per_s"` // closed loop, throttled
	Offered     float64         `json:"offered_per_s"`
	Before      *overload.Phase `json:"before"`
	During      *overload.Phase `json:"during"`
	Recovery    *overload.Phase `json:"recovery"` // the five seconds after
	After       *overload.Phase `json:"after"`
	Rows        []figure        `json:"rows"`
}

// figure is a line of the table.
type figure struct {
	Name, Wanted, Seen string
	OK                 bool
}

// What is promised under overload.
const (
	goodput     = 0.8 // of the sustainable rate
	growth      = 64 << 20
	recoverIn   = 5 * time.Second
	usual       = 0.5 // share of the sustainable rate at which latency is compared
	window      = 8   // of each sender, in a closed loop
	normalTimes = 2   // p99 is back to normal below so many times the one before,
	normalPlus  = 20 * time.Millisecond
)

// overloadCommand throttles MariaDB and offers much more than it can take.
func overloadCommand(args []string) error {
	o := overloadOptions{}
	f := flag.NewFlagSet("chaos overload", flag.ContinueOnError)
	f.StringVar(&o.Dir, "dir", "overload", "folder for logs and the report")
	f.StringVar(&o.Bin, "bin", "bin", "folder of the binaries")
	f.IntVar(&o.BasePort, "base-port", 12000, "port for clients; the others follow from it")
	f.IntVar(&o.Users, "users", 200, "clients that send")
	f.Float64Var(&o.Limit, "limit", 3000, "messages a second that MariaDB is throttled to")
	f.Float64Var(&o.Times, "times", 5, "how many times as many are offered")
	f.DurationVar(&o.For, "for", time.Minute, "how long they are offered")
	if err := f.Parse(args); err != nil {
		return err
	}
	if f.NArg() > 0 || o.Users < 2 || o.Users%2 != 0 || o.Limit <= 0 || o.Times <= 1 || o.For <= 0 {
		return errors.New("overload: an argument is out of range")
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	var err error
	if o.Dir, err = filepath.Abs(o.Dir); err != nil {
		return err
	}
	if o.Bin, err = filepath.Abs(o.Bin); err != nil {
		return err
	}
	r, err := runOverload(ctx, o)
	if err != nil {
		return err
	}
	text, err := json.MarshalIndent(r, "", "  ")
	if err == nil {
		err = os.WriteFile(filepath.Join(o.Dir, "report.json"), append(text, '\n'), 0o600)
	}
	r.print(os.Stdout)
	if err == nil && !r.kept() {
		return errBroken
	}
	return err
}

// runOverload runs a cluster from its start to its end.
func runOverload(ctx context.Context, o overloadOptions) (r *overloadReport, err error) {
	s, err := system.StartCluster(ctx, system.Config{Bin: o.Bin, Dir: o.Dir, BasePort: o.BasePort})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	users, err := s.AddUsers(ctx, o.Users+overload.Probes)
	if err != nil {
		return nil, err
	}
	l, err := overload.Start(ctx, overload.Config{
		Addrs: s.ClientAddrs(), Password: system.Password, Users: users, Resident: s.Resident,
	})
	if err != nil {
		return nil, err
	}
	defer l.Close()
	r = &overloadReport{Limit: o.Limit}
	if r.Sustainable, err = throttle(ctx, s, l, o.Limit); err != nil {
		return nil, err
	}
	r.Offered = o.Limit * o.Times
	say("%.0f messages a second can be sustained; %.0f are offered", r.Sustainable, r.Offered)
	l.Open(ctx, 3*time.Second, usual*r.Sustainable) // what the closed loop left has time to end
	r.Before = l.Open(ctx, recoverIn, usual*r.Sustainable)
	r.During = l.Open(ctx, o.For, r.Offered)
	r.Recovery = l.Open(ctx, recoverIn, usual*r.Sustainable)
	r.After = l.Open(ctx, recoverIn, usual*r.Sustainable)
	r.judge()
	wrong := len(s.Wrong())
	r.Rows = append(r.Rows, figure{"processes that ended by themselves", "0", strconv.Itoa(wrong), wrong == 0})
	return r, ctx.Err()
}

// throttle lets so few bytes a second through to MariaDB that the limit can be
// sustained, and returns what really can.
func throttle(ctx context.Context, s *system.System, l *overload.Load, limit float64) (rate float64, err error) {
	perSecond := 280 * limit // a first guess
	for range 6 {
		if err := s.Limit("mariadb", int(perSecond)); err != nil {
			return 0, err
		}
		p := l.Closed(ctx, 2*time.Second, 4*time.Second, window)
		rate = p.AckedPerSecond()
		if rate == 0 {
			return 0, fmt.Errorf("nothing is acknowledged: %s", p.FirstFailed)
		}
		if rate > 0.9*limit && rate < 1.05*limit {
			return rate, nil
		}
		say("%.0f bytes a second allow %.0f messages a second", perSecond, rate)
		perSecond *= limit / rate
	}
	return rate, nil
}

// judge compares with what is promised.
func (r *overloadReport) judge() {
	row := func(ok bool, name, wanted, seen string) { r.Rows = append(r.Rows, figure{name, wanted, seen, ok}) }
	row(r.Sustainable > 0.8*r.Limit && r.Sustainable < 1.2*r.Limit, "messages per second that MariaDB allows",
		fmt.Sprintf("about %.0f", r.Limit), fmt.Sprintf("%.0f", r.Sustainable))
	offered := float64(r.During.Offered) / r.During.For.Seconds()
	row(offered > 0.98*r.Offered, "messages per second offered, open loop",
		fmt.Sprintf(">= %.0f", 0.98*r.Offered), fmt.Sprintf("%.0f", offered))
	seen := r.During.AckedPerSecond()
	row(seen >= goodput*r.Sustainable, "acknowledged per second meanwhile",
		fmt.Sprintf(">= %.0f", goodput*r.Sustainable), fmt.Sprintf("%.0f", seen))
	for _, name := range slices.Sorted(maps.Keys(r.During.Growth)) {
		bytes := r.During.Growth[name]
		row(bytes <= growth, "growth of "+name+", MiB",
			fmt.Sprintf("<= %d", growth>>20), fmt.Sprintf("%.1f", float64(bytes)/(1<<20)))
	}
	normal := max(normalTimes*r.Before.P99, r.Before.P99+normalPlus)
	row(r.After.P99 <= normal, "p99 five seconds after, ms", fmt.Sprintf("<= %d", normal.Milliseconds()),
		fmt.Sprintf("%d (before %d)", r.After.P99.Milliseconds(), r.Before.P99.Milliseconds()))
	row(r.During.Logins > 0 && r.During.LostProbes == 0, "log-ins, heartbeats unanswered", "0",
		fmt.Sprintf("%d of %d", r.During.LostProbes, r.During.Logins))
	row(r.During.SlowLogin < 3*time.Second, "slowest log-in, ms", "< 3000",
		strconv.FormatInt(r.During.SlowLogin.Milliseconds(), 10))
	row(r.After.Refused+r.After.Failed == 0, "refused five seconds after", "0",
		strconv.FormatInt(r.After.Refused+r.After.Failed, 10))
}

func (r *overloadReport) kept() bool {
	for _, f := range r.Rows {
		if !f.OK {
			return false
		}
	}
	return true
}

func (r *overloadReport) print(w io.Writer) {
	fmt.Fprintf(w, "meanwhile %d were refused, %d without an answer, %d connections closed; "+
		"half of the acknowledged within %v, p99 %v\n\n",
		r.During.Refused, r.During.Failed, r.During.Closed, r.During.P50, r.During.P99)
	fmt.Fprintf(w, "%-44s %-14s %-20s\n", "figure", "wanted", "seen")
	for _, f := range r.Rows {
		verdict := "ok"
		if !f.OK {
			verdict = "FAILED"
		}
		fmt.Fprintf(w, "%-44s %-14s %-20s %s\n", f.Name, f.Wanted, f.Seen, verdict)
	}
	if text := r.During.FirstFailed; text != "" {
		fmt.Fprintf(w, "\nfirst failure: %s\n", text)
	}
}
