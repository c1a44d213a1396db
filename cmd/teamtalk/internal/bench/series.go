package bench

import (
	"context"
	"time"
)

// Series is how a run went, by the second. All lists are as long as Seconds.
type Series struct {
	Seconds []float64            `json:"seconds"` // since the start of the load: the end of each interval
	PerS    map[string][]float64 `json:"per_s"`   // events by kind
	CPU     map[string][]float64 `json:"cpu_cores"`
	RSS     map[string][]int64   `json:"rss_bytes"` // at the end of the interval
}

// Intervals of a series. A last one shorter than half of it is left out.
const seriesStep = time.Second

// recorder fills a Series while the load goes on.
type recorder struct {
	kinds  []string
	totals func() []int64 // events of the whole run by kind
	pids   []Process
	since  func() time.Duration

	lastAt    time.Duration
	last      []int64
	lastUsage usage
	series    Series
}

// record starts to record a series; the returned function ends that and
// returns it.
func (r *run) record(ctx context.Context, kinds []string, totals func() []int64) (stop func() Series) {
	rec := &recorder{
		kinds: kinds, totals: totals, pids: r.cfg.Pids, since: r.now, last: make([]int64, len(kinds)),
		series: Series{PerS: map[string][]float64{}, CPU: map[string][]float64{}, RSS: map[string][]int64{}},
	}
	rec.lastUsage, _ = readUsage(rec.pids) // whoever is gone is found by the run itself
	rec.lastAt, rec.last = rec.since(), totals()
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(seriesStep)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				rec.step()
			case <-ctx.Done():
				return
			}
		}
	}()
	return func() Series {
		cancel()
		<-done
		if rec.since()-rec.lastAt > seriesStep/2 {
			rec.step()
		}
		return rec.series
	}
}

// step ends an interval.
func (rec *recorder) step() {
	used, err := readUsage(rec.pids)
	if err != nil {
		return
	}
	now, totals := rec.since(), rec.totals()
	seconds := (now - rec.lastAt).Seconds()
	s := &rec.series
	s.Seconds = append(s.Seconds, now.Seconds())
	for k, name := range rec.kinds {
		s.PerS[name] = append(s.PerS[name], float64(totals[k]-rec.last[k])/seconds)
	}
	for name, cpu := range used.since(rec.lastUsage).cpu {
		s.CPU[name] = append(s.CPU[name], cpu.Seconds()/seconds)
		s.RSS[name] = append(s.RSS[name], used.rss[name])
	}
	rec.lastAt, rec.last, rec.lastUsage = now, totals, used
}
