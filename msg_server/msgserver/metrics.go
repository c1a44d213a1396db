package msgserver

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	drops     *prometheus.CounterVec
	logins    *prometheus.CounterVec
	sends     *prometheus.CounterVec
	delivered *prometheus.CounterVec
	pushed    prometheus.Counter
	online    prometheus.Gauge
	inFlight  prometheus.Gauge
	fetched   prometheus.Counter
	gaps      prometheus.Counter
	resent    prometheus.Counter
	kicks     *prometheus.CounterVec

	epochs       prometheus.Counter
	unregistered prometheus.Counter

	acked prometheus.Counter // of sends, looked up once
}

func newMetrics(reg prometheus.Registerer) *metrics {
	vec := func(name, help, label string) *prometheus.CounterVec {
		v := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, []string{label})
		reg.MustRegister(v)
		return v
	}
	m := &metrics{
		drops:     vec("im_dropped_total", "PDUs dropped, by reason.", "reason"),
		logins:    vec("im_logins_total", "Log-ins by result.", "result"),
		sends:     vec("im_sends_total", "Messages from clients, by outcome.", "outcome"),
		delivered: vec("im_deliveries_total", "Messages offered for delivery here, by outcome.", "outcome"),
		kicks:     vec("im_kicks_total", "Log-ins that had to give way, by reason.", "reason"),
		pushed: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "im_pushes_total", Help: "Messages pushed to connections.",
		}),
		online:   prometheus.NewGauge(prometheus.GaugeOpts{Name: "im_sessions", Help: "Log-ins that are open."}),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{Name: "im_sends_in_flight", Help: "Messages being stored."}),
	}
	counter := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
		reg.MustRegister(c)
		return c
	}
	m.fetched = counter("im_backlog_pages_total", "Pages of messages fetched for terminals that lacked them.")
	m.gaps = counter("im_backlog_gaps_total", "Gaps marked to terminals: messages that are not pushed.")
	m.unregistered = counter("im_logins_unregistered_total",
		"Log-ins answered before every route_server had said that it knows of them.")
	m.epochs = counter("im_database_epochs_total", "Times the database was found to have gone back to an earlier state.")
	m.resent = counter("im_resends_total", "Conversations sent again because nothing was acknowledged.")
	reg.MustRegister(m.pushed, m.online, m.inFlight)
	m.acked = m.sends.WithLabelValues("acked")
	return m
}

func (m *metrics) dropped(reason string) { m.drops.WithLabelValues(reason).Inc() }
