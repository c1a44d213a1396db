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
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	m := &metrics{
		batch: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "im_commit_batch_messages", Help: "Messages stored by one commit.",
			Buckets: prometheus.ExponentialBuckets(1, 2, 11),
		}),
		commit: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "im_commit_seconds", Help: "Duration of one commit.",
			Buckets: prometheus.ExponentialBuckets(0.0002, 2, 16),
		}),
		stored:  counter("im_messages_stored_total", "Messages committed."),
		repeats: counter("im_message_repeats_total", "Sends found stored before."),
		retries: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "im_commit_retries_total", Help: "Commits tried again, by cause.",
		}, []string{"cause"}),
		gaps:    counter("im_message_id_gaps_total", "Message ids given up with their message."),
		refused: counter("im_lane_refused_total", "Operations refused by a full lane."),
		failed: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "im_sends_failed_total", Help: "Sends that were not stored, by code.",
		}, []string{"code"}),
	}
	reg.MustRegister(m.batch, m.commit, m.stored, m.repeats, m.retries, m.gaps, m.refused, m.failed)
	return m
}
