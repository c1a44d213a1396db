// Package outbox holds the notifications that wait for one provider, sends
// them with a bounded number of workers, and tries again what may succeed
// later. How a provider is spoken to is the business of packages apns and fcm.
package outbox

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Note is one notification for one phone. Done is called exactly once, from
// any goroutine; it must not block.
type Note struct {
	Token  string
	Flash  string // the line that is shown
	Data   string // for the app
	Badge  uint32 // the number at its icon
	Silent bool   // only the number changes
	Done   func(Result)
}

// Result is what became of a Note.
type Result uint8

// The results.
const (
	Delivered Result = iota // the provider took it
	Failed                  // it never will
	Gone                    // nor anything else for this token
)

func (r Result) String() string {
	return [...]string{"delivered", "failed", "gone"}[r]
}

// Verdict is a provider's answer to one attempt.
type Verdict struct {
	Result Result
	// Reason is a word for the metrics, out of a closed set; "" when delivered.
	Reason string
	// Retry says that a later attempt may succeed, not before After.
	Retry bool
	After time.Duration
}

// Provider sends one notification. It is safe for concurrent use.
type Provider interface {
	Send(ctx context.Context, n *Note) Verdict
}

// Config of an Outbox. Zero fields take defaults.
type Config struct {
	Name     string // of the provider, for the metrics
	Workers  int    // attempts at the same time; 32
	Capacity int    // notes that wait; 10,000
	Attempts int    // of one note; 6
	// BackOff is the wait before the second attempt; it doubles up to
	// BackOffTo, and part of it is random. 500 ms and 30 s.
	BackOff, BackOffTo time.Duration
	// Timeout of one attempt; 15 s.
	Timeout time.Duration
}

// Metrics are shared by the outboxes of a process.
type Metrics struct {
	sent    *prometheus.CounterVec
	retries *prometheus.CounterVec
	waiting *prometheus.GaugeVec
	seconds *prometheus.HistogramVec
}

// NewMetrics registers the metrics.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	m := &Metrics{
		sent: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "im_push_notes_total", Help: "Notifications by provider, result and reason.",
		}, []string{"provider", "result", "reason"}),
		retries: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "im_push_retries_total", Help: "Attempts to be repeated, by provider and reason.",
		}, []string{"provider", "reason"}),
		waiting: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "im_push_waiting", Help: "Notifications that wait, by provider.",
		}, []string{"provider"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "im_push_seconds", Help: "Duration of one attempt.", Buckets: prometheus.ExponentialBuckets(0.005, 3, 8),
		}, []string{"provider"}),
	}
	reg.MustRegister(m.sent, m.retries, m.waiting, m.seconds)
	return m
}

// Outbox is safe from any goroutine.
type Outbox struct {
	cfg      Config
	provider Provider
	metrics  *Metrics
	queue    chan *Note
}

// New returns an Outbox that Run empties.
func New(cfg Config, p Provider, m *Metrics) *Outbox {
	cfg.Workers = orDefault(cfg.Workers, 32)
	cfg.Capacity = orDefault(cfg.Capacity, 10_000)
	cfg.Attempts = orDefault(cfg.Attempts, 6)
	cfg.BackOff = orDefault(cfg.BackOff, 500*time.Millisecond)
	cfg.BackOffTo = orDefault(cfg.BackOffTo, 30*time.Second)
	cfg.Timeout = orDefault(cfg.Timeout, 15*time.Second)
	return &Outbox{cfg: cfg, provider: p, metrics: m, queue: make(chan *Note, cfg.Capacity)}
}

func orDefault[T comparable](v, otherwise T) T {
	var zero T
	if v == zero {
		return otherwise
	}
	return v
}

// Offer hands a note over. It never blocks: if too many wait, the note fails.
func (o *Outbox) Offer(n *Note) {
	select {
	case o.queue <- n:
		o.metrics.waiting.WithLabelValues(o.cfg.Name).Set(float64(len(o.queue)))
	default:
		o.finish(n, Failed, "queue_full")
	}
}

// Run sends until ctx ends; what still waits then fails.
func (o *Outbox) Run(ctx context.Context) {
	var workers sync.WaitGroup
	for range o.cfg.Workers {
		workers.Go(func() { o.work(ctx) })
	}
	workers.Wait()
	for {
		select {
		case n := <-o.queue:
			o.finish(n, Failed, "stopping")
		default:
			return
		}
	}
}

func (o *Outbox) work(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case n := <-o.queue:
			o.metrics.waiting.WithLabelValues(o.cfg.Name).Set(float64(len(o.queue)))
			result, reason := o.send(ctx, n)
			o.finish(n, result, reason)
		}
	}
}

// send tries until there is a result, or too often.
func (o *Outbox) send(ctx context.Context, n *Note) (Result, string) {
	wait := o.cfg.BackOff
	for attempt := 1; ; attempt++ {
		v := o.attempt(ctx, n)
		if !v.Retry {
			return v.Result, v.Reason
		}
		if attempt == o.cfg.Attempts {
			return Failed, v.Reason
		}
		o.metrics.retries.WithLabelValues(o.cfg.Name, v.Reason).Inc()
		pause := max(wait/2+rand.N(wait), v.After)
		select {
		case <-ctx.Done():
			return Failed, "stopping"
		case <-time.After(min(pause, o.cfg.BackOffTo)):
		}
		wait = min(2*wait, o.cfg.BackOffTo)
	}
}

func (o *Outbox) attempt(ctx context.Context, n *Note) Verdict {
	ctx, cancel := context.WithTimeout(ctx, o.cfg.Timeout)
	defer cancel()
	timer := prometheus.NewTimer(o.metrics.seconds.WithLabelValues(o.cfg.Name))
	defer timer.ObserveDuration()
	return o.provider.Send(ctx, n)
}

func (o *Outbox) finish(n *Note, result Result, reason string) {
	o.metrics.sent.WithLabelValues(o.cfg.Name, result.String(), reason).Inc()
	n.Done(result)
}
