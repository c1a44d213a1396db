package dbproxy

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	commands *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	dropped  *prometheus.CounterVec
	refused  *prometheus.CounterVec
	waiting  *prometheus.GaugeVec
	epochs   prometheus.Counter
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		commands: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "im_commands_total", Help: "Commands by outcome; operations count when they are queued.",
		}, []string{"command", "code"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "im_query_seconds", Help: "Duration of queries.",
			Buckets: prometheus.ExponentialBuckets(0.0002, 4, 9),
		}, []string{"command"}),
		dropped: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "im_dropped_total", Help: "PDUs dropped, by reason.",
		}, []string{"reason"}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "im_queue_refused_total", Help: "Tasks refused by a full queue.",
		}, []string{"queue"}),
		waiting: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "im_queue_waiting", Help: "Tasks waiting in a queue.",
		}, []string{"queue"}),
	}
	m.epochs = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "im_database_epochs_total", Help: "Times the database was found to have gone back to an earlier state.",
	})
	reg.MustRegister(m.epochs, m.commands, m.seconds, m.dropped, m.refused, m.waiting)
	return m
}
