package routeserver

import (
	"github.com/prometheus/client_golang/prometheus"

	"teamtalk/route_server/internal/presence"
)

// metrics are the counters of the role, looked up once.
type metrics struct {
	plain     prometheus.Counter // PDUs passed on as they came
	targeted  prometheus.Counter // envelopes for some users
	broadcast prometheus.Counter // envelopes for everybody
	notices   prometheus.Counter

	unknownCommand prometheus.Counter
	badBody        prometheus.Counter
	badPresence    prometheus.Counter // a log-out of nobody, user 0, a type that does not exist
	notCapable     prometheus.Counter // an envelope from a peer that did not announce it
	linkClosing    prometheus.Counter // the receiving link takes nothing any more
}

func newMetrics(reg prometheus.Registerer, table *presence.Table) *metrics {
	relays := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "im_route_relays_total", Help: "PDUs passed on between msg_servers, by the way of choosing who gets them.",
	}, []string{"kind"})
	dropped := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "im_dropped_total", Help: "What was not handled or not passed on, by reason.",
	}, []string{"reason"})
	notices := prometheus.NewCounter(prometheus.CounterOpts{
		Name: "im_route_notices_total", Help: "Changes of presence told to the msg_servers.",
	})
	users := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "im_route_users", Help: "Users with at least one terminal at any msg_server.",
	}, func() float64 { return float64(table.Users()) })
	reg.MustRegister(relays, dropped, notices, users)
	return &metrics{
		plain:          relays.WithLabelValues("plain"),
		targeted:       relays.WithLabelValues("targeted"),
		broadcast:      relays.WithLabelValues("broadcast"),
		notices:        notices,
		unknownCommand: dropped.WithLabelValues("unknown_command"),
		badBody:        dropped.WithLabelValues("bad_body"),
		badPresence:    dropped.WithLabelValues("bad_presence"),
		notCapable:     dropped.WithLabelValues("not_capable"),
		linkClosing:    dropped.WithLabelValues("link_closing"),
	}
}
