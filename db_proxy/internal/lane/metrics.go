package lane

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	batch   prometheus.Histogram
	commit  prometheus.Histogram
	stored  prometheus.Counter
	repeats prometheus.Counter
	retries *prometheus.CounterVec
	gaps    prometheus.Counter
	refused prometheus.Counter
	failed  *prometheus.CounterVec
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		batch: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "im_commit_batch_messages", Help: "Messages stored by one commit.",
			Buckets: prometheus.ExponentialBuckets(1, 2, 11),
		}),
		commit: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "im_commit_seconds", Help: "Duration of one commit.",
			Buckets: prometheus.ExponentialBuckets(0.0002, 2, 16),
		}),
		stored:  prometheus.NewCounter(prometheus.CounterOpts{Name: "im_messages_stored_total", Help: "Messages committed."}),
		repeats: prometheus.NewCounter(prometheus.CounterOpts{Name: "im_message_repeats_total", Help: "Sends found stored before."}),
		retries: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "im_commit_retries_total", Help: "Commits tried again, by cause.",
		}, []string{"cause"}),
		gaps:    prometheus.NewCounter(prometheus.CounterOpts{Name: "im_message_id_gaps_total", Help: "Message ids given up with their message."}),
		refused: prometheus.NewCounter(prometheus.CounterOpts{Name: "im_lane_refused_total", Help: "Operations refused by a full lane."}),
		failed: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "im_sends_failed_total", Help: "Sends that were not stored, by code.",
		}, []string{"code"}),
	}
	reg.MustRegister(m.batch, m.commit, m.stored, m.repeats, m.retries, m.gaps, m.refused, m.failed)
	return m
}
