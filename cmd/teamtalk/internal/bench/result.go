package bench

import (
	"fmt"
	"strings"
	"time"
)

// Result is what a run found, as it goes into JSON. Counts are of the whole
// run, rates, latencies and CPU of the measured time.
type Result struct {
	Mode     string   `json:"mode"`
	Started  string   `json:"started"` // RFC 3339
	Duration float64  `json:"duration_s"`
	WarmUp   float64  `json:"warm_up_s"`
	Users    int      `json:"users"`
	Conns    int      `json:"connections"`
	Window   int      `json:"window"`
	Rate     float64  `json:"rate"`
	Addrs    []string `json:"addrs"`

	*Traffic                   // modes single and group
	History    *HistoryChecks  `json:"history,omitempty"`
	Idle       *Idle           `json:"idle,omitempty"`
	Operations []OperationTime `json:"operations,omitempty"` // modes login, idle and history

	Failed       int64  `json:"failed"` // operations
	FirstFailure string `json:"first_failure,omitempty"`
	Disconnected int64  `json:"disconnected"`
	FirstLoss    string `json:"first_loss,omitempty"` // why the first connection was lost

	// CPU in microseconds per operation, by server and in total; memory at the
	// end of the measured time. An operation is an acknowledged message, a
	// reconnect, a request; in mode idle there is none.
	CPUPerOp      map[string]float64 `json:"cpu_us_per_op"`
	RSS           map[string]int64   `json:"rss_bytes"`
	BenchCPUPerOp float64            `json:"bench_cpu_us_per_op"` // of this process
	Host          Host               `json:"host"`

	Ceiling *Share   `json:"ceiling,omitempty"`
	Commit  *Latency `json:"commit_ms,omitempty"` // of single rows, beside the load; with --commits
	Series  Series   `json:"series"`
}

// Traffic is what became of the messages of a run.
type Traffic struct {
	Senders int `json:"senders"`
	Size    int `json:"size"`

	Sent    int64 `json:"sent"`
	Acked   int64 `json:"acked"`
	Unacked int64 `json:"unacked"` // refused, or no answer in time
	// UnackedWhy counts them by the reason; the counts add up to Unacked.
	UnackedWhy map[string]int64 `json:"unacked_why,omitempty"`

	Delivered int64 `json:"delivered"`

	Lost              int64 `json:"lost"`
	Duplicated        int64 `json:"duplicated"`
	Reordered         int64 `json:"reordered"`
	ReadbackMissing   int64 `json:"readback_missing"`
	ReadbackDuplicate int64 `json:"readback_duplicated"`
	Mismatched        int64 `json:"mismatched"`   // one message under two ids, or two under one
	Misdelivered      int64 `json:"misdelivered"` // to the sender itself or to a stranger
	Corrupt           int64 `json:"corrupt"`

	Foreign int64 `json:"foreign"` // messages of others seen; harmless

	AckedPerS     float64 `json:"acked_per_s"`
	DeliveredPerS float64 `json:"delivered_per_s"`
	AckMS         Latency `json:"ack_ms"`
	DeliveryMS    Latency `json:"delivery_ms"`

	CPUPerDelivery float64 `json:"cpu_us_per_delivery"` // of all servers
}

// OperationTime is how often one kind of operation was carried out and how
// long it took.
type OperationTime struct {
	Name  string  `json:"name"`
	Count int64   `json:"count"`
	PerS  float64 `json:"per_s"`
	MS    Latency `json:"ms"`
	// CPUPerOp is there where the kind had the servers to itself.
	CPUPerOp map[string]float64 `json:"cpu_us_per_op,omitempty"`
}

// newResult returns a Result that knows its configuration.
func newResult(m *mode, cfg Config) *Result {
	return &Result{
		Mode: m.name, Started: time.Now().Format(time.RFC3339), Duration: cfg.Duration.Seconds(),
		WarmUp: cfg.WarmUp.Seconds(), Users: cfg.Count, Window: cfg.Window, Rate: cfg.Rate, Host: thisHost(),
	}
}

// addTraffic closes the books. No connection is open any more.
func (res *Result) addTraffic(r *run, used usage) {
	ack, del := r.meter.sum(ackEvent), r.meter.sum(deliveryEvent)
	seconds := r.cfg.Duration.Seconds()
	t := &Traffic{
		Senders: len(r.flows), Size: r.cfg.Size,
		Sent: r.sent.Load(), Delivered: del.total,
		Duplicated: r.found.duplicated.Load(), Reordered: r.found.reordered.Load(),
		ReadbackDuplicate: r.found.storedTwice.Load(), Mismatched: r.found.mismatched.Load(),
		Misdelivered: r.found.misdelivered.Load(), Corrupt: r.found.corrupt.Load(),
		Foreign:   r.found.foreign.Load(),
		AckedPerS: float64(ack.inWindow) / seconds, DeliveredPerS: float64(del.inWindow) / seconds,
		AckMS: ack.latency(), DeliveryMS: del.latency(),
	}
	for _, conv := range r.convs {
		v := conv.audit()
		t.Acked += v.acked
		t.Unacked += v.unacked
		t.Lost += v.lost
		t.ReadbackMissing += v.missing
		t.Mismatched += v.mismatched
	}
	t.UnackedWhy = r.why.of(t.Unacked)
	res.Traffic = t
	res.addUsage(used, ack.inWindow)
	t.CPUPerDelivery = used.perOp(del.inWindow)["total"]
}

// addOperations enters the events of every kind in the meter.
func (res *Result) addOperations(r *run) {
	for kind, name := range r.mode.kinds {
		e := r.meter.sum(kind)
		res.Operations = append(res.Operations, OperationTime{
			Name: name, Count: e.total, PerS: float64(e.inWindow) / r.meter.windows[kind].seconds(), MS: e.latency(),
		})
	}
}

// addUsage enters CPU and memory; ops is what was done meanwhile.
func (res *Result) addUsage(used usage, ops int64) {
	res.CPUPerOp, res.RSS = used.perOp(ops), used.rss
	if ops > 0 {
		res.BenchCPUPerOp = float64(used.own.Microseconds()) / float64(ops)
	}
}

// perOp shares CPU out over operations: microseconds by server and in total.
func (u usage) perOp(ops int64) map[string]float64 {
	shares := make(map[string]float64)
	if ops == 0 || len(u.cpu) == 0 {
		return shares
	}
	total := 0.0
	for name, cpu := range u.cpu {
		shares[name] = float64(cpu.Microseconds()) / float64(ops)
		total += shares[name]
	}
	shares["total"] = total
	return shares
}

// Violations lists what must never be, as "lost 1, reordered 2"; empty means
// a clean run.
func (res *Result) Violations() string {
	type count struct {
		name string
		n    int64
	}
	var counts []count
	if t := res.Traffic; t != nil {
		counts = []count{
			{"lost", t.Lost},
			{"duplicated", t.Duplicated},
			{"reordered", t.Reordered},
			{"readback_missing", t.ReadbackMissing},
			{"readback_duplicated", t.ReadbackDuplicate},
			{"mismatched", t.Mismatched},
			{"misdelivered", t.Misdelivered},
			{"corrupt", t.Corrupt},
		}
	}
	if h := res.History; h != nil {
		counts = append(counts, count{"wrong_pages", h.WrongPages}, count{"wrong_unread", h.WrongUnread})
	}
	var found []string
	for _, c := range counts {
		if c.n > 0 {
			found = append(found, fmt.Sprintf("%s %d", c.name, c.n))
		}
	}
	return strings.Join(found, ", ")
}

// broken says why the run measured nothing that counts, "" if it did.
func (res *Result) broken() string {
	switch {
	case res.Failed > 0:
		return fmt.Sprintf("%d operations failed, the first: %s", res.Failed, res.FirstFailure)
	case res.Disconnected > 0:
		return fmt.Sprintf("%d connections were lost, the first: %s", res.Disconnected, res.FirstLoss)
	case res.Traffic != nil && res.Acked == 0:
		return "no message was acknowledged"
	}
	return ""
}
