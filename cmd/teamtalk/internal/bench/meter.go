package bench

import (
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

// meter counts and times acknowledgements and deliveries.
type meter struct {
	// Static: the measured window since the start of the run.
	from, to time.Duration

	shards [meterShards]meterShard
}

// meterShard is the part of some terminals.
type meterShard struct {
	mu  sync.Mutex
	ack series
	del series
}

// series is one kind of event.
type series struct {
	total    int64                   // whole run
	inWindow int64                   // happened in the window
	hist     *hdrhistogram.Histogram // sent in the window, in µs
}

// newMeter returns a meter for a window.
func newMeter(from, to time.Duration) *meter {
	m := &meter{from: from, to: to}
	for i := range m.shards {
		m.shards[i].ack.hist = newHistogram()
		m.shards[i].del.hist = newHistogram()
	}
	return m
}

// newHistogram returns an empty histogram of latencies.
func newHistogram() *hdrhistogram.Histogram { return hdrhistogram.New(minLatency, maxLatency, digits) }

// acked records an acknowledgement at now of a message due at sent.
func (m *meter) acked(shard int, sent, now time.Duration) {
	s := &m.shards[shard%meterShards]
	s.mu.Lock()
	m.record(&s.ack, sent, now)
	s.mu.Unlock()
}

// delivered records a delivery.
func (m *meter) delivered(shard int, sent, now time.Duration) {
	s := &m.shards[shard%meterShards]
	s.mu.Lock()
	m.record(&s.del, sent, now)
	s.mu.Unlock()
}

// record enters one event. Caller holds the shard.
func (m *meter) record(s *series, sent, now time.Duration) {
	s.total++
	if now >= m.from && now < m.to {
		s.inWindow++
	}
	if sent >= m.from && sent < m.to {
		us := min(max(int64((now-sent)/time.Microsecond), minLatency), maxLatency)
		_ = s.hist.RecordValue(us) // in range
	}
}

// sum returns all shards in one: acknowledgements and deliveries.
func (m *meter) sum() (ack, del series) {
	ack.hist, del.hist = newHistogram(), newHistogram()
	for i := range m.shards {
		s := &m.shards[i]
		s.mu.Lock()
		ack.add(&s.ack)
		del.add(&s.del)
		s.mu.Unlock()
	}
	return ack, del
}

// totals returns the counts of the whole run, cheaply.
func (m *meter) totals() (acked, delivered int64) {
	for i := range m.shards {
		s := &m.shards[i]
		s.mu.Lock()
		acked += s.ack.total
		delivered += s.del.total
		s.mu.Unlock()
	}
	return acked, delivered
}

// add adds other to s.
func (s *series) add(other *series) {
	s.total += other.total
	s.inWindow += other.inWindow
	s.hist.Merge(other.hist)
}

// Latency is the distribution of a latency in milliseconds.
type Latency struct {
	P50  float64 `json:"p50"`
	P90  float64 `json:"p90"`
	P99  float64 `json:"p99"`
	P999 float64 `json:"p999"`
	Max  float64 `json:"max"`
}

// latency summarises a histogram.
func (s *series) latency() Latency {
	at := func(q float64) float64 { return float64(s.hist.ValueAtQuantile(q)) / 1000 }
	return Latency{at(50), at(90), at(99), at(99.9), float64(s.hist.Max()) / 1000}
}
