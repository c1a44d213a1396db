package httpserver

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	requests     *prometheus.CounterVec
	seconds      *prometheus.HistogramVec
	dropped      *prometheus.CounterVec
	auditDropped prometheus.Counter
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "im_http_requests_total", Help: "Requests of back ends, by operation and status of the answer.",
		}, []string{"operation", "status"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "im_http_seconds", Help: "Duration of requests.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 4, 8),
		}, []string{"operation"}),
		dropped: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "im_dropped_total", Help: "PDUs dropped, by reason.",
		}, []string{"reason"}),
		auditDropped: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "im_http_audit_dropped_total", Help: "Rows of the audit table given up because too many waited.",
		}),
	}
	reg.MustRegister(m.requests, m.seconds, m.dropped, m.auditDropped)
	return m
}

// watch shows how many rows of the audit table are not written yet.
func watch(reg prometheus.Registerer, waiting func() int) {
	reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "im_http_audit_waiting", Help: "Rows of the audit table that are not written yet.",
	}, func() float64 { return float64(waiting()) }))
}
