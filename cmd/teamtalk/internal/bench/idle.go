package bench

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"
)

// idleKinds are the events of mode idle.
var idleKinds = []string{"log-in"}

// terminalsPerUser: in mode idle each user is on a PC and a phone.
const terminalsPerUser = 2

// Idle is what connections cost that do nothing.
type Idle struct {
	Processes int              `json:"processes"` // that hold the clients
	RSSBefore map[string]int64 `json:"rss_before_bytes"`
	RSSLogin  map[string]int64 `json:"rss_logged_in_bytes"` // right after the last log-in
	// BytesPerConnection is how much the memory of each server grew from
	// before the first log-in to the end, divided by its own connections: for
	// a msg_server its share, for every other server all of them.
	BytesPerConnection map[string]float64 `json:"bytes_per_connection"`
	CPUCores           map[string]float64 `json:"cpu_cores"` // while idle; 1 is a core in full
}

// runIdle logs all users in from processes of their own, each of which may
// open so many files only, waits and sees what that costs the servers.
func runIdle(ctx context.Context, r *run, p *progress, res *Result) error {
	if err := r.findServers(ctx); err != nil {
		return err
	}
	before, err := readUsage(r.cfg.Pids)
	if err != nil {
		return err
	}
	want := int64(terminalsPerUser * r.cfg.Count)
	r.epoch = time.Now()
	crowd, err := startCrowd(ctx, r.cfg, r.addrs)
	if err != nil {
		return err
	}
	defer crowd.stop()
	stopSeries := r.record(ctx, idleKinds, func() []int64 { return []int64{crowd.status().LoggedIn} })
	defer func() { res.Series = stopSeries() }()
	if err := crowd.await(ctx, want, p); err != nil {
		return err
	}
	took := r.now()
	loggedIn, err := readUsage(r.cfg.Pids)
	if err != nil {
		return err
	}
	p.phase("idle")
	from := r.now() + r.cfg.WarmUp
	used, err := r.measure(ctx, span{from, from + r.cfg.Duration})
	if err != nil {
		return err
	}
	s := crowd.status()
	res.Conns, res.Failed, res.FirstFailure = int(want), s.Failed, s.FirstFailure
	res.Disconnected, res.FirstLoss = s.Lost, s.FirstLoss
	res.Operations = []OperationTime{{
		Name: idleKinds[0], Count: s.LoggedIn, PerS: float64(s.LoggedIn) / took.Seconds(),
		CPUPerOp: loggedIn.since(before).perOp(s.LoggedIn),
	}}
	res.addIdle(before, loggedIn, used, len(crowd.members), len(r.addrs))
	return nil
}

// addIdle enters memory and CPU. The clients are spread evenly over so many
// msg_servers.
func (res *Result) addIdle(before, loggedIn, used usage, processes, msgServers int) {
	idle := &Idle{
		Processes: processes, RSSBefore: before.rss, RSSLogin: loggedIn.rss,
		BytesPerConnection: make(map[string]float64), CPUCores: make(map[string]float64),
	}
	own := func(name string) float64 {
		if strings.HasPrefix(name, "msg_server") {
			return float64(res.Conns) / float64(max(1, msgServers))
		}
		return float64(res.Conns)
	}
	for name, rss := range used.rss {
		idle.BytesPerConnection[name] = float64(rss-before.rss[name]) / own(name)
		idle.CPUCores[name] = used.cpu[name].Seconds() / res.Duration
	}
	res.Idle, res.RSS, res.CPUPerOp = idle, used.rss, map[string]float64{}
}

// crowd is the processes that hold the clients of mode idle.
type crowd struct {
	members []*member
}

// member is one of them.
type member struct {
	stdin io.WriteCloser // closing it ends the process
	done  chan struct{}  // closed when it has ended
	cmd   *exec.Cmd

	mu     sync.Mutex // guards the fields below
	status crowdStatus
	err    error // why it ended
}

// crowdOrder is what a process is told on its standard input.
type crowdOrder struct {
	Addrs    []string
	Sources  []string
	Prefix   string
	From, To int // numbers of the first user, and after the last
	Password string
	Window   int
	Rate     float64
}

// crowdStatus is a line that a process prints now and then.
type crowdStatus struct {
	LoggedIn     int64
	Failed       int64
	FirstFailure string
	Lost         int64
	FirstLoss    string
}

// startCrowd starts as many processes as are wanted or needed.
func startCrowd(ctx context.Context, cfg Config, addrs []string) (*crowd, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	n := cfg.Processes
	if n == 0 {
		n = (terminalsPerUser*cfg.Count + connLimit() - 1) / connLimit()
	}
	n = min(n, cfg.Count)
	c := &crowd{}
	for i := range n {
		m, err := startMember(ctx, program, crowdOrder{
			Addrs: addrs, Sources: cfg.sources(addrs), Prefix: cfg.Prefix, Password: cfg.Password,
			From: 1 + cfg.Count*i/n, To: 1 + cfg.Count*(i+1)/n,
			Window: max(1, cfg.Window/n), Rate: cfg.Rate / float64(n),
		})
		if err != nil {
			c.stop()
			return nil, fmt.Errorf("start client process: %w", err)
		}
		c.members = append(c.members, m)
	}
	return c, nil
}

// startMember starts a process and listens to it.
func startMember(ctx context.Context, program string, order crowdOrder) (*member, error) {
	m := &member{cmd: exec.CommandContext(ctx, program, "bench", idleWorkerName), done: make(chan struct{})}
	m.cmd.Stderr = os.Stderr
	var err error
	if m.stdin, err = m.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	stdout, err := m.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := m.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		defer close(m.done)
		lines := json.NewDecoder(stdout)
		for {
			var s crowdStatus
			if lines.Decode(&s) != nil {
				break // it has closed its output
			}
			m.mu.Lock()
			m.status = s
			m.mu.Unlock()
		}
		err := m.cmd.Wait()
		m.mu.Lock()
		m.err = err
		m.mu.Unlock()
	}()
	if err := json.NewEncoder(m.stdin).Encode(order); err != nil {
		_ = m.stdin.Close()
		<-m.done
		return nil, err
	}
	return m, nil
}

// status returns the sum of what the processes said last.
func (c *crowd) status() (sum crowdStatus) {
	for _, m := range c.members {
		m.mu.Lock()
		sum.LoggedIn += m.status.LoggedIn
		sum.Failed += m.status.Failed
		sum.Lost += m.status.Lost
		sum.FirstFailure = cmp.Or(sum.FirstFailure, m.status.FirstFailure)
		sum.FirstLoss = cmp.Or(sum.FirstLoss, m.status.FirstLoss)
		m.mu.Unlock()
	}
	return sum
}

// hopeless is how many log-ins fail before the run is given up when none
// succeeds.
const hopeless = 50

// await waits until so many log-ins are done, be it in vain.
func (c *crowd) await(ctx context.Context, want int64, p *progress) error {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		s := c.status()
		if s.LoggedIn+s.Failed >= want {
			return nil
		}
		if s.LoggedIn == 0 && s.Failed >= hopeless {
			return errors.New(s.FirstFailure)
		}
		p.phase(fmt.Sprintf("logging in: %d of %d connections", s.LoggedIn, want))
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
		for _, m := range c.members {
			select {
			case <-m.done:
				return errors.Join(errors.New("a client process ended early"), m.err)
			default:
			}
		}
	}
}

// stop ends all processes and waits for them.
func (c *crowd) stop() {
	for _, m := range c.members {
		_ = m.stdin.Close()
	}
	for _, m := range c.members {
		<-m.done
	}
}
