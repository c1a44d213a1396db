package bench

import (
	"math"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Range and precision of latencies: 1 µs to 5 minutes, three digits.
const (
	minLatency = 1
	maxLatency = int64(5 * time.Minute / time.Microsecond)
	digits     = 3
)

// meterShards is how many parts a meter has, so that readers rarely meet.
const meterShards = 8

// span is a stretch of time since the start of the load; its end is not in it.
type span struct{ from, to time.Duration }

func (s span) holds(at time.Duration) bool { return at >= s.from && at < s.to }

func (s span) seconds() float64 { return (s.to - s.from).Seconds() }

// meter counts and times events of a few kinds.
type meter struct {
	// By kind; only changed while nothing is recorded.
	windows []span

	shards [meterShards]meterShard
}

// meterShard is the part of some terminals.
type meterShard struct {
	mu     sync.Mutex
	events []events // by kind
}

// events is what is known of one kind of event.
type events struct {
	total    int64                   // whole run
	inWindow int64                   // happened in the window
	hist     *hdrhistogram.Histogram // begun in the window, in µs
}

// newMeter returns a meter for so many kinds, all with one window.
func newMeter(kinds int, window span) *meter {
	m := &meter{windows: make([]span, kinds)}
	for k := range m.windows {
		m.windows[k] = window
	}
	for i := range m.shards {
		m.shards[i].events = make([]events, kinds)
		for k := range m.shards[i].events {
			m.shards[i].events[k].hist = newHistogram()
		}
	}
	return m
}

// newHistogram returns an empty histogram of latencies.
func newHistogram() *hdrhistogram.Histogram { return hdrhistogram.New(minLatency, maxLatency, digits) }

// record enters an event that happened now and was due at sent. shard is any
// number; events with different ones rarely wait for each other.
func (m *meter) record(kind, shard int, sent, now time.Duration) {
	s := &m.shards[shard%meterShards]
	s.mu.Lock()
	defer s.mu.Unlock()
	e := &s.events[kind]
	e.total++
	if m.windows[kind].holds(now) {
		e.inWindow++
	}
	if m.windows[kind].holds(sent) {
		us := min(max(int64((now-sent)/time.Microsecond), minLatency), maxLatency)
		_ = e.hist.RecordValue(us) // in range
	}
}

// sum returns all shards of a kind in one.
func (m *meter) sum(kind int) events {
	all := events{hist: newHistogram()}
	for i := range m.shards {
		s := &m.shards[i]
		s.mu.Lock()
		e := &s.events[kind]
		all.total += e.total
		all.inWindow += e.inWindow
		all.hist.Merge(e.hist)
		s.mu.Unlock()
	}
	return all
}

// totals returns the counts of the whole run by kind, cheaply.
func (m *meter) totals() []int64 {
	all := make([]int64, len(m.windows))
	for i := range m.shards {
		s := &m.shards[i]
		s.mu.Lock()
		for k := range s.events {
			all[k] += s.events[k].total
		}
		s.mu.Unlock()
	}
	return all
}

// Latency is the distribution of a latency in milliseconds.
type Latency struct {
	P50  float64 `json:"p50"`
	P90  float64 `json:"p90"`
	P99  float64 `json:"p99"`
	P999 float64 `json:"p999"`
	Max  float64 `json:"max"`
	// Curve is the distribution in full: pairs of a percentile and its value,
	// denser towards 100. Empty without events.
	Curve [][2]float64 `json:"curve,omitempty"`
}

// Steps of a curve: so many for each halving of what is still above.
const curveSteps = 4

// latency summarises the histogram.
func (e *events) latency() Latency {
	at := func(q float64) float64 { return float64(e.hist.ValueAtQuantile(q)) / 1000 }
	l := Latency{P50: at(50), P90: at(90), P99: at(99), P999: at(99.9), Max: float64(e.hist.Max()) / 1000}
	count := float64(e.hist.TotalCount())
	for i := 0; count > 0; i++ {
		above := math.Exp2(-float64(i) / curveSteps) // share of what is slower
		if above*count < 1 {
			l.Curve = append(l.Curve, [2]float64{100, l.Max})
			break
		}
		q := 100 * (1 - above)
		l.Curve = append(l.Curve, [2]float64{math.Round(q*1e5) / 1e5, at(q)})
	}
	return l
}
