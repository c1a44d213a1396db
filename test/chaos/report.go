//go:build unix

package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"teamtalk/internal/im"
	"teamtalk/test/chaos/internal/check"
	"teamtalk/test/chaos/internal/event"
	"teamtalk/test/chaos/internal/schedule"
)

// report is what a run found, as report.json has it.
type report struct {
	Seed          uint64                `json:"seed"`
	Started       time.Time             `json:"started"`
	Minutes       float64               `json:"minutes"`
	FaultsByKind  map[schedule.Kind]int `json:"faults_by_kind"`
	Acked         int                   `json:"acked"`
	BetweenFaults int                   `json:"acked_per_s_between_faults"` // of the cluster, or of what there was
	Violations    []violation           `json:"violations"`
	Systems       []*part               `json:"systems"`
}

// violation is a broken promise, with the faults that were in force.
type violation struct {
	System string `json:"system"`
	check.Violation
	During []string `json:"during,omitempty"`
}

// part is one system of a run.
type part struct {
	Name     string `json:"name"`
	Sent     int    `json:"sent"`
	Acked    int    `json:"acked"`
	Stored   int    `json:"stored"`
	Received int    `json:"received"`
	Capable  int    `json:"received_acknowledging"` // of these, by terminals that acknowledge them
	Marked   int    `json:"gaps_marked"`            // that those were told of
	Repeats  int    `json:"repeats"`                // attempts under the key of an earlier one
	Failed   int    `json:"failed"`                 // attempts without an acknowledgement
	Gone     int    `json:"gone"`                   // stored and lost with the primary when ids went back
	Late     int    `json:"late"`                   // messages found in history, not by a push
	Gaps     int    `json:"gaps"`                   // ids left out, each explained
	Slow     int64  `json:"slow"`                   // answers later than a second
	Turned   int64  `json:"turned"`                 // log-ins refused as if the password were wrong
	// Between faults, when the last one was healed a moment ago.
	QuietFor   time.Duration      `json:"quiet_for"`
	QuietAcked int64              `json:"quiet_acked"`
	Counts     map[check.Rule]int `json:"violations_by_rule"`
	Wrong      []string           `json:"wrong"` // what is wrong and no client saw
	Idle       []schedule.Kind    `json:"idle"`  // kinds that hit nothing
	Faults     []done             `json:"faults"`

	start  time.Time
	log    *event.Log
	newest map[im.Conversation]im.MsgID // after ids went back
	gone   []event.Event                // what was lost then
	result *check.Result
	quiet  quiet
	mu     sync.Mutex // guards Faults during the run
}

// done is a fault and what it hit.
type done struct {
	schedule.Fault
	Began    time.Duration `json:"began"`
	Ended    time.Duration `json:"ended"`
	InFlight int           `json:"in_flight"`       // messages without an answer when it began
	Conns    int           `json:"conns,omitempty"` // that a fault of the network harmed, or descriptors open at most
	Nacked   int64         `json:"nacked"`          // while it lasted
	Slow     int64         `json:"slow"`
	Closed   int64         `json:"closed"`
	// How long a conversation had no acknowledgement at most, in milliseconds;
	// while it was the only fault, of those that everybody is to survive.
	Stalled int64 `json:"stalled_ms,omitempty"`
}

// add takes a system into the report.
func (r *report) add(p *part) {
	res := p.result
	p.Sent, p.Acked, p.Stored, p.Received = res.Sent, res.Acked, res.Stored, res.Received
	p.Repeats, p.Failed, p.Late, p.Gaps, p.Counts = res.Repeats, res.Failed, res.Late, res.Gaps, res.Counts
	p.Capable, p.Marked = res.Capable, res.Marked
	slices.SortFunc(p.Faults, func(a, b done) int { return cmp.Compare(a.Began, b.Began) })
	p.Gone = res.Gone
	hits := map[schedule.Kind]int{}
	for i := range p.Faults {
		f := &p.Faults[i]
		f.Stalled = res.Stalls[f.N] / 1000
		r.FaultsByKind[f.Kind]++
		hits[f.Kind] += f.hit()
	}
	for _, kind := range schedule.Kinds() {
		if n, ok := hits[kind]; ok && n == 0 {
			p.Idle = append(p.Idle, kind)
		}
	}
	r.Acked += p.Acked
	for _, v := range res.Violations {
		r.Violations = append(r.Violations, violation{p.Name, v, p.during(v.T)})
	}
	if r.BetweenFaults == 0 && p.QuietFor > 0 {
		r.BetweenFaults = int(float64(p.QuietAcked) / p.QuietFor.Seconds())
	}
	r.Systems = append(r.Systems, p)
}

// hit returns how many messages were under way, 0 if a fault of the network
// found no connection.
func (d *done) hit() int {
	network := []schedule.Kind{
		schedule.Cut, schedule.Delay, schedule.Throttle, schedule.HalfOpen, schedule.Failover, schedule.DBAway,
		schedule.Descriptors,
	}
	if d.Conns == 0 && slices.Contains(network, d.Kind) {
		return 0
	}
	return d.InFlight
}

// stalled says how long a conversation stood still, where that is judged.
func (d *done) stalled() string {
	if d.Stalled == 0 {
		return ""
	}
	return fmt.Sprintf(", a conversation without an acknowledgement for up to %.1f s", float64(d.Stalled)/1000)
}

// before is how long a fault may have been over when what it did shows.
const before = 10 * time.Second

// during names the faults that may have to do with a moment.
func (p *part) during(t int64) (names []string) {
	at := time.Duration(t) * time.Microsecond
	for _, f := range p.Faults {
		if f.Began <= at+time.Second && at <= f.Ended+before {
			names = append(names, fmt.Sprintf("#%d %s", f.N, f.String()))
		}
	}
	return names
}

// Broken reports whether the run failed.
func (r *report) Broken() bool {
	for _, p := range r.Systems {
		if len(p.Wrong) > 0 || len(p.Idle) > 0 || len(p.Counts) > 0 {
			return true
		}
	}
	return false
}

// write leaves the report in two forms.
func (r *report) write(dir string) error {
	if r.Violations == nil {
		r.Violations = []violation{}
	}
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	f, err := os.Create(filepath.Join(dir, "report.txt"))
	if err != nil {
		return err
	}
	r.print(f)
	r.timeline(f)
	return errors.Join(f.Close(), os.WriteFile(filepath.Join(dir, "report.json"), append(text, '\n'), 0o600))
}

// print writes the figures and what is wrong.
func (r *report) print(w io.Writer) {
	faults := 0
	for _, n := range r.FaultsByKind {
		faults += n
	}
	fmt.Fprintf(w, "seed %d, %.1f minutes, %d faults, %d messages acknowledged, %d violations\n\n",
		r.Seed, r.Minutes, faults, r.Acked, r.broken())
	for _, p := range r.Systems {
		p.print(w)
	}
	for i, v := range r.Violations {
		if i == shown {
			fmt.Fprintf(w, "… and more, see report.json\n")
			break
		}
		fmt.Fprintf(w, "%s %v\n", v.System, v.Violation)
		for _, name := range v.During {
			fmt.Fprintf(w, "        during %s\n", name)
		}
	}
}

// print writes the figures of one system and what is wrong with it.
func (p *part) print(w io.Writer) {
	fmt.Fprintf(w, "%s: %d sent, %d acknowledged, %d stored, %d pushed, %d found in history only\n",
		p.Name, p.Sent, p.Acked, p.Stored, p.Received, p.Late)
	fmt.Fprintf(w, "  %d pushed to terminals that acknowledge what arrives, %d gaps marked\n", p.Capable, p.Marked)
	fmt.Fprintf(w, "  %d repeats, %d attempts failed, %d ids left out, "+
		"%d answers later than 1 s, %d log-ins turned away\n",
		p.Repeats, p.Failed, p.Gaps, p.Slow, p.Turned)
	if p.Gone > 0 {
		fmt.Fprintf(w, "  %d lost with the primary when ids went back\n", p.Gone)
	}
	if p.QuietFor > 0 {
		fmt.Fprintf(w, "  %.0f acknowledged per second in the %.0f seconds between faults\n",
			float64(p.QuietAcked)/p.QuietFor.Seconds(), p.QuietFor.Seconds())
	}
	fmt.Fprintf(w, "  %-11s %6s %10s %8s %8s %8s %8s\n",
		"fault", "times", "in flight", "refused", "slow", "closed", "stalled")
	for _, kind := range schedule.Kinds() {
		p.printKind(w, kind)
	}
	for _, kind := range p.Idle {
		fmt.Fprintf(w, "  WRONG: %s hit nothing\n", kind)
	}
	for _, text := range p.Wrong {
		fmt.Fprintf(w, "  WRONG: %s\n", text)
	}
	for _, rule := range check.Rules() {
		if n := p.Counts[rule]; n > 0 {
			fmt.Fprintf(w, "  VIOLATED: %s, %d times\n", rule, n)
		}
	}
	fmt.Fprintln(w)
}

// shown is how many violations people read.
const shown = 40

func (r *report) broken() int {
	n := 0
	for _, p := range r.Systems {
		for _, count := range p.Counts {
			n += count
		}
	}
	return n
}

func (p *part) printKind(w io.Writer, kind schedule.Kind) {
	var times, inFlight int
	var nacked, slow, closed, stalled int64
	for _, f := range p.Faults {
		if f.Kind == kind {
			times++
			inFlight += f.InFlight
			nacked += f.Nacked
			slow += f.Slow
			closed += f.Closed
			stalled = max(stalled, f.Stalled)
		}
	}
	if times > 0 {
		fmt.Fprintf(w, "  %-11s %6d %10d %8d %8d %8d %7.1fs\n",
			kind, times, inFlight, nacked, slow, closed, float64(stalled)/1000)
	}
}

// timeline writes every fault and every violation in the order of time.
func (r *report) timeline(w io.Writer) {
	for _, p := range r.Systems {
		fmt.Fprintf(w, "\ntimeline of %s\n", p.Name)
		i := 0
		var broken []violation
		for _, v := range r.Violations {
			if v.System == p.Name {
				broken = append(broken, v)
			}
		}
		for _, f := range p.Faults {
			for ; i < len(broken) && time.Duration(broken[i].T)*time.Microsecond < f.Began; i++ {
				fmt.Fprintf(w, "%v\n", broken[i].Violation)
			}
			fmt.Fprintf(w, "%9.3fs fault #%d %s, healed at %.3fs: "+
				"%d in flight, %d connections, %d refused, %d slow, %d closed%s\n",
				f.Began.Seconds(), f.N, f.String(), f.Ended.Seconds(), f.InFlight, f.Conns, f.Nacked, f.Slow, f.Closed, f.stalled())
		}
		for ; i < len(broken); i++ {
			fmt.Fprintf(w, "%v\n", broken[i].Violation)
		}
	}
}

// printResult writes what the checker alone found.
func printResult(w io.Writer, r *check.Result) {
	with := "with SQL"
	if !r.SQL {
		with = "without SQL"
	}
	fmt.Fprintf(w, "%d sent, %d acknowledged, %d stored, %d pushed (%d to terminals that acknowledge, with %d gaps), "+
		"%d terminals asked at rest, checked %s\n",
		r.Sent, r.Acked, r.Stored, r.Received, r.Capable, r.Marked, r.Final, with)
	for _, rule := range check.Rules() {
		if n := r.Counts[rule]; n > 0 {
			fmt.Fprintf(w, "VIOLATED: %s, %d times\n", rule, n)
		}
	}
	for _, v := range r.Violations {
		fmt.Fprintln(w, v)
	}
}
