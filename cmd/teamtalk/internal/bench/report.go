package bench

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// Result is what a run found, as it goes into JSON. Counts are of the whole
// run, rates and latencies of the measured time.
type Result struct {
	Mode     string   `json:"mode"`
	Started  string   `json:"started"` // RFC 3339
	Duration float64  `json:"duration_s"`
	WarmUp   float64  `json:"warm_up_s"`
	Users    int      `json:"users"`
	Conns    int      `json:"connections"`
	Senders  int      `json:"senders"`
	Window   int      `json:"window"`
	Rate     float64  `json:"rate"`
	Size     int      `json:"size"`
	Addrs    []string `json:"addrs"`

	Sent      int64 `json:"sent"`
	Acked     int64 `json:"acked"`
	Unacked   int64 `json:"unacked"` // refused, or no answer in time
	Delivered int64 `json:"delivered"`

	Lost              int64 `json:"lost"`
	Duplicated        int64 `json:"duplicated"`
	Reordered         int64 `json:"reordered"`
	ReadbackMissing   int64 `json:"readback_missing"`
	ReadbackDuplicate int64 `json:"readback_duplicated"`
	Mismatched        int64 `json:"mismatched"`   // one message under two ids, or two under one
	Misdelivered      int64 `json:"misdelivered"` // to the sender itself or to a stranger
	Corrupt           int64 `json:"corrupt"`

	Foreign      int64 `json:"foreign"` // messages of others seen; harmless
	Disconnected int64 `json:"disconnected"`

	AckedPerS     float64 `json:"acked_per_s"`
	DeliveredPerS float64 `json:"delivered_per_s"`
	AckMS         Latency `json:"ack_ms"`
	DeliveryMS    Latency `json:"delivery_ms"`

	// CPU in microseconds per acknowledged message, by server and in total;
	// memory at the end of the measured time.
	CPUPerOp      map[string]float64 `json:"cpu_us_per_op"`
	RSS           map[string]int64   `json:"rss_bytes"`
	BenchCPUPerOp float64            `json:"bench_cpu_us_per_op"` // of this process
	Host          Host               `json:"host"`
}

// result closes the books. No connection is open any more.
func (r *run) result(used usage) *Result {
	ack, del := r.meter.sum()
	seconds := r.cfg.Duration.Seconds()
	res := &Result{
		Mode: r.mode, Started: r.epoch.Format(time.RFC3339), Duration: seconds,
		WarmUp: r.cfg.WarmUp.Seconds(), Users: r.cfg.Count, Conns: len(r.terminals), Senders: len(r.flows),
		Window: r.cfg.Window, Rate: r.cfg.Rate, Size: r.cfg.Size, Addrs: r.addrs,
		Sent: r.sent.Load(), Delivered: del.total,
		Duplicated: r.found.duplicated.Load(), Reordered: r.found.reordered.Load(),
		ReadbackDuplicate: r.found.storedTwice.Load(), Mismatched: r.found.mismatched.Load(),
		Misdelivered: r.found.misdelivered.Load(), Corrupt: r.found.corrupt.Load(),
		Foreign:   r.found.foreign.Load(),
		AckedPerS: float64(ack.inWindow) / seconds, DeliveredPerS: float64(del.inWindow) / seconds,
		AckMS: ack.latency(), DeliveryMS: del.latency(), Host: thisHost(),
	}
	for _, conv := range r.convs {
		v := conv.audit()
		res.Acked += v.acked
		res.Unacked += v.unacked
		res.Lost += v.lost
		res.ReadbackMissing += v.missing
		res.Mismatched += v.mismatched
	}
	for _, t := range r.terminals {
		if t.gone.Load() {
			res.Disconnected++
		}
	}
	res.addUsage(used, float64(ack.inWindow))
	return res
}

// addUsage enters CPU and memory.
func (res *Result) addUsage(used usage, ops float64) {
	res.CPUPerOp, res.RSS = make(map[string]float64), used.rss
	if ops == 0 {
		return
	}
	perOp := func(cpu time.Duration) float64 { return float64(cpu.Microseconds()) / ops }
	total := time.Duration(0)
	for name, cpu := range used.cpu {
		res.CPUPerOp[name] = perOp(cpu)
		total += cpu
	}
	if len(used.cpu) > 0 {
		res.CPUPerOp["total"] = perOp(total)
	}
	res.BenchCPUPerOp = perOp(used.own)
}

// Violations lists what must never be, as "lost 1, reordered 2"; empty means
// a clean run.
func (res *Result) Violations() string {
	var found []string
	for _, v := range []struct {
		name string
		n    int64
	}{
		{"lost", res.Lost}, {"duplicated", res.Duplicated}, {"reordered", res.Reordered},
		{"readback_missing", res.ReadbackMissing}, {"readback_duplicated", res.ReadbackDuplicate},
		{"mismatched", res.Mismatched}, {"misdelivered", res.Misdelivered}, {"corrupt", res.Corrupt},
	} {
		if v.n > 0 {
			found = append(found, fmt.Sprintf("%s %d", v.name, v.n))
		}
	}
	return strings.Join(found, ", ")
}

// table prints the results for people.
func (res *Result) table(w io.Writer) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row := func(name, format string, args ...any) {
		_, _ = fmt.Fprintf(t, "%s\t%s\n", name, fmt.Sprintf(format, args...))
	}
	load := "as fast as the window allows"
	if res.Rate > 0 {
		load = fmt.Sprintf("%g messages/s", res.Rate)
	}
	row("load", "%s: %d users on %d servers, %d senders, window %d, %d bytes, %s",
		res.Mode, res.Users, len(res.Addrs), res.Senders, res.Window, res.Size, load)
	row("time", "%gs after %gs of warm-up", res.Duration, res.WarmUp)
	row("acknowledged", "%d of %d sent\t%.0f/s", res.Acked, res.Sent, res.AckedPerS)
	row("delivered", "%d\t%.0f/s", res.Delivered, res.DeliveredPerS)
	_ = t.Flush()
	_, _ = fmt.Fprintln(w)
	row("latency in ms\tp50\tp90\tp99\tp99.9", "max")
	for _, l := range []struct {
		name string
		Latency
	}{{"acknowledgement", res.AckMS}, {"delivery", res.DeliveryMS}} {
		row(l.name, "%.2f\t%.2f\t%.2f\t%.2f\t%.2f", l.P50, l.P90, l.P99, l.P999, l.Max)
	}
	_ = t.Flush()
	if len(res.CPUPerOp) > 0 {
		_, _ = fmt.Fprintln(w)
		row("server\tCPU per message", "memory")
		for _, name := range slices.Sorted(maps.Keys(res.RSS)) {
			row(name, "%.1f µs\t%.1f MiB", res.CPUPerOp[name], float64(res.RSS[name])/(1<<20))
		}
		row("total", "%.1f µs\t", res.CPUPerOp["total"])
		row("bench itself", "%.1f µs\t", res.BenchCPUPerOp)
		_ = t.Flush()
	}
	_, _ = fmt.Fprintln(w)
	res.verdict(w)
}

// verdict prints the last line of the table.
func (res *Result) verdict(w io.Writer) {
	if res.Unacked > 0 {
		_, _ = fmt.Fprintf(w, "%d messages were refused or not acknowledged in time\n", res.Unacked)
	}
	if res.Disconnected > 0 {
		_, _ = fmt.Fprintf(w, "%d connections were lost\n", res.Disconnected)
	}
	if what := res.Violations(); what != "" {
		_, _ = fmt.Fprintf(w, "VIOLATION: %s\n", what)
		return
	}
	_, _ = fmt.Fprintln(w, "clean: nothing lost, duplicated, reordered or missing from history")
}
