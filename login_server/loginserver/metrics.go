package loginserver

import (
	"github.com/prometheus/client_golang/prometheus"

	"teamtalk/login_server/internal/balance"
)

// metrics are the counters of the role, looked up once.
type metrics struct {
	http, tcp ways // answers to clients

	unknownCommand prometheus.Counter
	badBody        prometheus.Counter
	badCount       prometheus.Counter // 070B before 0709, or of no known action
}

// ways counts the answers that clients get in one way, by result.
type ways [3]prometheus.Counter

func (w *ways) count(r balance.Result) { w[r].Inc() }

func newMetrics(reg prometheus.Registerer, table *balance.Table) *metrics {
	answers := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "im_login_answers_total", Help: "Clients that asked for a msg_server, by way and result.",
	}, []string{"way", "result"})
	dropped := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "im_dropped_total", Help: "What was not handled or not passed on, by reason.",
	}, []string{"reason"})
	servers := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "im_login_msg_servers", Help: "Registered msg_servers.",
	}, func() float64 { n, _ := table.Totals(); return float64(n) })
	logIns := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "im_login_log_ins", Help: "Log-ins at all registered msg_servers.",
	}, func() float64 { _, n := table.Totals(); return float64(n) })
	reg.MustRegister(answers, dropped, servers, logIns)
	of := func(way string) ways {
		return ways{
			balance.Found: answers.WithLabelValues(way, "found"),
			balance.None:  answers.WithLabelValues(way, "none"),
			balance.Full:  answers.WithLabelValues(way, "full"),
		}
	}
	return &metrics{
		http:           of("http"),
		tcp:            of("tcp"),
		unknownCommand: dropped.WithLabelValues("unknown_command"),
		badBody:        dropped.WithLabelValues("bad_body"),
		badCount:       dropped.WithLabelValues("bad_count"),
	}
}
