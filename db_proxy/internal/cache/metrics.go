package cache

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	requests *prometheus.CounterVec
	up       *prometheus.GaugeVec
	rebuilt  *prometheus.CounterVec
	skipped  prometheus.Counter
	moved    prometheus.Counter
}

// poolMetrics are those of one pool, looked up once.
type poolMetrics struct {
	ok, failed, skipped prometheus.Counter
	up                  prometheus.Gauge
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "im_cache_requests_total",
			Help: "Round trips to Redis, by result: ok, failed, or skipped while Redis is left alone.",
		}, []string{"pool", "result"}),
		up: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "im_cache_up", Help: "1 while the last round trip of the pool succeeded.",
		}, []string{"pool"}),
		rebuilt: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "im_cache_rebuilt_total", Help: "Keys written again from SQL, by what they hold.",
		}, []string{"key"}),
		skipped: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "im_cache_ids_skipped_total", Help: "Message ids by which a counter in Redis was ahead of SQL.",
		}),
		moved: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "im_cache_unread_moved_total",
			Help: "Conversations whose unread counts were begun to be written, or found written by another process.",
		}),
	}
	reg.MustRegister(m.requests, m.up, m.rebuilt, m.skipped, m.moved)
	return m
}

func (m *metrics) pool(name string) poolMetrics {
	up := m.up.WithLabelValues(name) // 0 until Redis has answered
	return poolMetrics{
		ok:      m.requests.WithLabelValues(name, "ok"),
		failed:  m.requests.WithLabelValues(name, "failed"),
		skipped: m.requests.WithLabelValues(name, "skipped"),
		up:      up,
	}
}
