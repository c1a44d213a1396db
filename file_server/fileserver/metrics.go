package fileserver

import (
	"github.com/prometheus/client_golang/prometheus"

	"teamtalk/file_server/internal/task"
)

// metrics are the counters of the role.
type metrics struct {
	drops     *prometheus.CounterVec
	tasks     *prometheus.CounterVec // what msg_servers asked for, by result
	logins    *prometheus.CounterVec // of clients, by role and result
	transfers *prometheus.CounterVec // by kind and how they ended
	bytes     *prometheus.CounterVec // by kind
	http      *prometheus.CounterVec // by operation and result
	collected *prometheus.CounterVec
}

// Kinds of transfers.
const (
	kindOnline   = "online"
	kindUpload   = "upload"
	kindDownload = "download"
	kindImageIn  = "image_in"
	kindImageOut = "image_out"
	kindShareIn  = "share_in"
	kindShareOut = "share_out"
)

func newMetrics(reg prometheus.Registerer, s *Server) *metrics {
	vec := func(name, help string, labels ...string) *prometheus.CounterVec {
		v := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
		reg.MustRegister(v)
		return v
	}
	gauge := func(name, help string, f func() float64) {
		reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, f))
	}
	gauge("im_file_tasks", "Transfers that are set up and not over.", func() float64 { return float64(s.tasks.Len()) })
	gauge("im_file_free_bytes", "Bytes that uploads may still take.", func() float64 {
		free, err := s.store.Free()
		if err != nil {
			return -1
		}
		return float64(free)
	})
	return &metrics{
		drops:     vec("im_dropped_total", "What was not handled or not passed on, by reason.", "reason"),
		tasks:     vec("im_file_tasks_total", "Transfers that msg_servers asked for, by result.", "result"),
		logins:    vec("im_file_logins_total", "Log-ins of clients, by role and result.", "file_role", "result"),
		transfers: vec("im_file_transfers_total", "Transfers, by kind and how they ended.", "kind", "result"),
		bytes:     vec("im_file_bytes_total", "Bytes of files, by kind of transfer.", "kind"),
		http:      vec("im_file_http_total", "Requests over HTTP, by operation and result.", "operation", "result"),
		collected: vec("im_file_collected_total", "What was removed because its time was over, by what it was.", "what"),
	}
}

func (m *metrics) dropped(reason string) { m.drops.WithLabelValues(reason).Inc() }

func (m *metrics) moved(kind string, n int) { m.bytes.WithLabelValues(kind).Add(float64(n)) }

// ended counts the end of a transfer; result is a constant.
func (m *metrics) ended(kind, result string) { m.transfers.WithLabelValues(kind, result).Inc() }

func roleName(r task.Role) string {
	switch r {
	case task.Sender:
		return "sender"
	case task.Receiver:
		return "receiver"
	case task.Uploader:
		return "uploader"
	case task.Downloader:
		return "downloader"
	}
	return "unknown"
}
