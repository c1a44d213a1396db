package bench

import (
	"bytes"
	_ "embed" // for the template
	"fmt"
	"html/template"
	"maps"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

//go:embed report.html
var reportTemplate string

// page is what the template of a report shows. Numbers are formatted.
type page struct {
	Title, Load, Started string
	OK                   bool
	Verdict              []string
	Cards                []card
	Charts               []figure
	Latency              []latencyRow
	Usage                usageRows
	Checks               []card // counts that must be zero, or tell how much was checked
	Ceiling              []bar
	Facts                []fact
}

// card is one number in large.
type card struct {
	Name, Value, Unit, Note string
	Bad                     bool
}

// figure is a chart with its legend.
type figure struct {
	Title, Note string
	Legend      []legend
	SVG         template.HTML // made by package chart, which escapes
}

type legend struct {
	Class int
	Name  string
}

type latencyRow struct {
	Name   string
	Values []string
}

// usageRows is the table of CPU and memory.
type usageRows struct {
	Title string
	Heads []string
	Rows  []usageRow
}

type usageRow struct {
	Class int // -1: no colour, a sum
	Name  string
	Width float64 // of its bar in percent
	Cells []string
}

// bar is a share of something.
type bar struct {
	Name, Text string
	Width      float64 // percent
}

type fact struct{ Name, Value string }

// writeHTML writes the report: one file that needs nothing else.
func (res *Result) writeHTML(path string) error {
	t, err := template.New("report").Parse(reportTemplate)
	if err != nil {
		return fmt.Errorf("template of the report: %w", err)
	}
	var out bytes.Buffer
	if err := t.Execute(&out, res.page()); err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	return os.WriteFile(path, out.Bytes(), 0o644)
}

// pageTitles are the headings of the modes.
var pageTitles = map[string]string{
	"single": "Messages between two", "group": "Messages in a group", "login": "Log-ins",
	"idle": "Idle connections", "history": "History and unread counts",
}

func (res *Result) page() page {
	view := res.byRole()
	return page{
		Title: pageTitles[res.Mode], Load: res.load(), Started: res.Started,
		OK: res.Violations() == "" && res.broken() == "", Verdict: res.verdict(),
		Cards: view.cards(), Charts: view.charts(), Latency: view.latencyRows(), Usage: view.usageRows(),
		Checks: view.checks(), Ceiling: view.ceilingBars(), Facts: res.facts(),
	}
}

// manyServers is how many are shown one by one.
const manyServers = 8

// instance is the number at the end of the name of one of several servers.
var instance = regexp.MustCompile(`_\d+$`)

// byRole returns the result with servers of one role taken together when there
// are too many to show.
func (res *Result) byRole() *Result {
	if len(res.RSS) <= manyServers {
		return res
	}
	name := func(server string) string { return instance.ReplaceAllString(server, "") }
	r := *res
	r.CPUPerOp, r.RSS = sumBy(res.CPUPerOp, name), sumBy(res.RSS, name)
	r.Series.CPU, r.Series.RSS = sumLists(res.Series.CPU, name), sumLists(res.Series.RSS, name)
	if res.Idle != nil {
		idle := *res.Idle
		idle.RSSBefore, idle.CPUCores = sumBy(idle.RSSBefore, name), sumBy(idle.CPUCores, name)
		idle.BytesPerConnection = sumBy(idle.BytesPerConnection, name)
		r.Idle = &idle
	}
	return &r
}

func sumBy[V float64 | int64](m map[string]V, name func(string) string) map[string]V {
	sums := make(map[string]V)
	for key, v := range m {
		sums[name(key)] += v
	}
	return sums
}

func sumLists[V float64 | int64](m map[string][]V, name func(string) string) map[string][]V {
	sums := make(map[string][]V)
	for key, list := range m {
		sum := sums[name(key)]
		if sum == nil {
			sum = make([]V, len(list))
		}
		for i := range min(len(sum), len(list)) {
			sum[i] += list[i]
		}
		sums[name(key)] = sum
	}
	return sums
}

// cards are the numbers to see first.
func (res *Result) cards() (all []card) {
	if t := res.Traffic; t != nil {
		all = append(all, card{
			Name: "acknowledged", Value: number(t.AckedPerS), Unit: "/s", Note: whole(t.Acked) + " in all",
		})
		if res.Mode == "group" {
			all = append(all, card{
				Name: "delivered", Value: number(t.DeliveredPerS), Unit: "/s", Note: whole(t.Delivered) + " in all",
			})
		}
		all = append(all, card{
			Name: "acknowledgement, p99", Value: number(t.AckMS.P99), Unit: "ms", Note: "median " + number(t.AckMS.P50) + " ms",
		})
		if res.Mode == "single" {
			all = append(all, card{
				Name: "delivery, p99", Value: number(t.DeliveryMS.P99), Unit: "ms",
				Note: "median " + number(t.DeliveryMS.P50) + " ms",
			})
		}
	}
	if idle := res.Idle; idle != nil {
		name, most := "", 0.0
		for server, size := range idle.BytesPerConnection {
			if size >= most {
				name, most = server, size
			}
		}
		cores := 0.0
		for _, c := range idle.CPUCores {
			cores += c
		}
		all = append(all, card{
			Name: "connections", Value: whole(int64(res.Conns)), Note: fmt.Sprintf("idle for %g s", res.Duration),
		})
		if name != "" {
			all = append(all, card{Name: "memory per connection", Value: whole(int64(most)), Unit: "bytes", Note: "in " + name},
				card{Name: "all servers, idle", Value: fmt.Sprintf("%.1f", 100*cores), Unit: "%", Note: "of one core"})
		}
	}
	for _, op := range res.Operations {
		c := card{Name: plural(op.Name), Value: number(op.PerS), Unit: "/s"}
		if op.MS.Max > 0 {
			c.Note = "p99 " + number(op.MS.P99) + " ms"
		}
		all = append(all, c)
	}
	if total := res.CPUPerOp["total"]; total > 0 {
		all = append(all, card{
			Name: "CPU per " + findMode(res.Mode).op, Value: number(total), Unit: "µs", Note: "of all servers",
		})
	}
	return all
}

// whole formats a count.
func whole(n int64) string {
	if n < 1000 {
		return strconv.FormatInt(n, 10)
	}
	return number(float64(n))
}

func (res *Result) latencyRows() (rows []latencyRow) {
	for _, l := range res.latencies() {
		rows = append(rows, latencyRow{l.name, []string{
			number(l.P50), number(l.P90), number(l.P99), number(l.P999), number(l.Max),
		}})
	}
	return rows
}

// servers returns the names of all measured servers; the place of one is its
// colour everywhere.
func (res *Result) servers() []string { return slices.Sorted(maps.Keys(res.RSS)) }

func (res *Result) usageRows() (u usageRows) {
	names := res.servers()
	if len(names) == 0 {
		return u
	}
	add := func(class int, name string, share, most float64, cells ...string) {
		row := usageRow{Class: class, Name: name, Cells: cells}
		if most > 0 {
			row.Width = max(100*share/most, 0)
		}
		u.Rows = append(u.Rows, row)
	}
	if idle := res.Idle; idle != nil {
		u.Title, u.Heads = "Memory and CPU", []string{"per connection", "before", "idle", "CPU"}
		most := slices.Max(slices.Collect(maps.Values(idle.BytesPerConnection)))
		for i, name := range names {
			size := idle.BytesPerConnection[name]
			add(i, name, size, most, fmt.Sprintf("%.0f bytes", size), mebibytes(idle.RSSBefore[name]), mebibytes(res.RSS[name]),
				fmt.Sprintf("%.1f %%", 100*idle.CPUCores[name]))
		}
		return u
	}
	op := findMode(res.Mode).op
	u.Title, u.Heads = "CPU and memory", []string{"CPU per " + op, "share", "memory"}
	total, most := res.CPUPerOp["total"], 0.0
	for _, name := range names {
		most = max(most, res.CPUPerOp[name])
	}
	for i, name := range names {
		cpu := res.CPUPerOp[name]
		share := ""
		if total > 0 {
			share = fmt.Sprintf("%.0f %%", 100*cpu/total)
		}
		add(i, name, cpu, most, fmt.Sprintf("%.1f µs", cpu), share, mebibytes(res.RSS[name]))
	}
	add(-1, "all servers", 0, 0, fmt.Sprintf("%.1f µs", total), "", "")
	add(-1, "bench itself", 0, 0, fmt.Sprintf("%.1f µs", res.BenchCPUPerOp), "", "")
	return u
}

// checks are the counts behind the verdict.
func (res *Result) checks() (all []card) {
	count := func(name string, n int64, zero bool) {
		all = append(all, card{Name: name, Value: whole(n), Bad: zero && n > 0})
	}
	if t := res.Traffic; t != nil {
		count("sent", t.Sent, false)
		count("acknowledged", t.Acked, false)
		count("delivered", t.Delivered, false)
		count("not acknowledged", t.Unacked, true)
		count("lost", t.Lost, true)
		count("duplicated", t.Duplicated, true)
		count("reordered", t.Reordered, true)
		count("missing from history", t.ReadbackMissing, true)
		count("in history twice", t.ReadbackDuplicate, true)
		count("under two ids", t.Mismatched, true)
		count("misdelivered", t.Misdelivered, true)
		count("corrupt", t.Corrupt, true)
	}
	for _, op := range res.Operations {
		count(plural(op.Name), op.Count, false)
	}
	if h := res.History; h != nil {
		count("messages read", h.Messages, false)
		count("wrong pages", h.WrongPages, true)
		count("wrong unread totals", h.WrongUnread, true)
	}
	if res.Traffic == nil {
		count("failed", res.Failed, true)
	}
	count("connections lost", res.Disconnected, true)
	return all
}

func (res *Result) ceilingBars() (all []bar) {
	c := res.Ceiling
	if c == nil {
		return nil
	}
	all = append(all, bar{
		"messages per second, of bare rows inserted alone",
		fmt.Sprintf("%.0f %% of %s/s", 100*c.Rate, number(c.RowsPerS)), min(100*c.Rate, 100),
	})
	if c.CPU > 0 {
		all = append(all, bar{
			"CPU per message that bare rows and counters take",
			fmt.Sprintf("%.0f %%, %s µs", 100*c.CPU, number(c.BareCPU)), min(100*c.CPU, 100),
		})
	}
	return all
}

// facts are the configuration and the machine.
func (res *Result) facts() []fact {
	all := []fact{
		{"mode", res.Mode},
		{"users", whole(int64(res.Users))},
		{"connections", whole(int64(res.Conns))},
		{"window", whole(int64(res.Window))},
	}
	if t := res.Traffic; t != nil {
		all = append(all, fact{"senders", whole(int64(t.Senders))}, fact{"text", fmt.Sprintf("%d bytes", t.Size)})
	}
	if h := res.History; h != nil {
		all = append(all, fact{"page", fmt.Sprintf("%d messages", h.Page)},
			fact{"longest conversation", whole(int64(h.Latest)) + " messages"},
			fact{"unread requests", fmt.Sprintf("%.0f %%", 100*h.Share)})
	}
	pace := "as fast as the window allows"
	if res.Rate > 0 {
		pace = number(res.Rate) + " per second"
	}
	all = append(all, fact{"pace", pace}, fact{"measured", fmt.Sprintf("%g s", res.Duration)},
		fact{"warm-up", fmt.Sprintf("%g s", res.WarmUp)})
	if len(res.Addrs) > 0 {
		all = append(all, fact{"msg_servers", strings.Join(res.Addrs, ", ")})
	}
	h := res.Host
	return append(all, fact{"processors", fmt.Sprintf("%d × %s", h.CPUs, h.Model)},
		fact{"memory", fmt.Sprintf("%.1f GiB", float64(h.RAM)/(1<<30))},
		fact{"system", h.OS + " " + h.Arch}, fact{"bench built with", h.Go})
}
