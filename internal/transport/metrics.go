package transport

import (
	"fmt"
	"log/slog"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	open     *prometheus.GaugeVec
	pdusIn   *prometheus.CounterVec
	bytesIn  *prometheus.CounterVec
	bytesOut *prometheus.CounterVec
	closed   *prometheus.CounterVec

	mu     sync.Mutex // guards byName
	byName map[string]*connMetrics
}

// connMetrics are those of one listener, looked up once.
type connMetrics struct {
	opened   prometheus.Gauge
	pdusIn   prometheus.Counter
	bytesIn  prometheus.Counter
	bytesOut prometheus.Counter
}

func newMetrics(reg prometheus.Registerer) *metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		v := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
		reg.MustRegister(v)
		return v
	}
	open := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "im_connections", Help: "Open connections.",
	}, []string{"listener"})
	reg.MustRegister(open)
	return &metrics{
		open:     open,
		pdusIn:   counter("im_pdus_received_total", "Whole PDUs received.", "listener"),
		bytesIn:  counter("im_received_bytes_total", "Bytes of whole PDUs received.", "listener"),
		bytesOut: counter("im_sent_bytes_total", "Bytes queued for sending.", "listener"),
		closed:   counter("im_connections_closed_total", "Connections closed, by reason.", "listener", "reason"),
		byName:   map[string]*connMetrics{},
	}
}

func (m *metrics) of(name string) *connMetrics {
	m.mu.Lock()
	defer m.mu.Unlock()
	cm := m.byName[name]
	if cm == nil {
		cm = &connMetrics{
			opened:   m.open.WithLabelValues(name),
			pdusIn:   m.pdusIn.WithLabelValues(name),
			bytesIn:  m.bytesIn.WithLabelValues(name),
			bytesOut: m.bytesOut.WithLabelValues(name),
		}
		m.byName[name] = cm
	}
	return cm
}

// gnetLogger hands what gnet has to say to slog. Its chatter about single
// connections is of interest only while debugging.
type gnetLogger struct{ log *slog.Logger }

func (l gnetLogger) Debugf(format string, args ...any) {
	l.log.Debug("gnet", "text", fmt.Sprintf(format, args...))
}

func (l gnetLogger) Infof(format string, args ...any) {
	l.log.Debug("gnet", "text", fmt.Sprintf(format, args...))
}

func (l gnetLogger) Warnf(format string, args ...any) {
	l.log.Debug("gnet", "text", fmt.Sprintf(format, args...))
}

func (l gnetLogger) Errorf(format string, args ...any) {
	l.log.Warn("gnet", "text", fmt.Sprintf(format, args...))
}

func (l gnetLogger) Fatalf(format string, args ...any) {
	l.log.Error("gnet", "text", fmt.Sprintf(format, args...))
}
