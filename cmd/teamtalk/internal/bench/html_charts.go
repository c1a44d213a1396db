package bench

import (
	"fmt"
	"html/template"
	"math"
	"strings"

	"teamtalk/cmd/teamtalk/internal/bench/chart"
)

// charts are the drawings of a report that there is data for.
func (res *Result) charts() (all []figure) {
	add := func(f figure, ok bool) {
		if ok {
			all = append(all, f)
		}
	}
	add(res.rateChart())
	add(res.latencyChart())
	add(res.cpuChart())
	add(res.memoryChart())
	return all
}

// draw completes a figure.
func draw(f figure, p chart.Plot) figure {
	p.Title = f.Title
	f.SVG = template.HTML(p.SVG())
	for _, l := range p.Lines {
		f.Legend = append(f.Legend, legend{l.Class, l.Name})
	}
	return f
}

// overTime returns a plot whose X is the time of the series; its lines are the
// lists of the names, with heights scaled.
func (res *Result) overTime(names []string, list func(name string) []float64) (p chart.Plot, highest float64) {
	at := res.Series.Seconds
	p = chart.Plot{XLabel: "seconds", ShadeLabel: "warm-up"}
	if len(at) == 0 {
		return p, 0
	}
	p.X = chart.Nice(at[len(at)-1], short)
	p.X.Max = at[len(at)-1]
	for len(p.X.Ticks) > 0 && p.X.Ticks[len(p.X.Ticks)-1].At > p.X.Max {
		p.X.Ticks = p.X.Ticks[:len(p.X.Ticks)-1]
	}
	if res.Idle == nil {
		p.ShadeTo = min(res.WarmUp, p.X.Max)
	}
	for class, name := range names {
		line := chart.Line{Name: name, Class: class}
		values := list(name)
		if len(values) > 0 { // of the interval that begins with the load
			line.Points = append(line.Points, chart.Point{Y: values[0]})
		}
		for i, v := range values {
			line.Points = append(line.Points, chart.Point{X: at[i], Y: v})
			highest = max(highest, v)
		}
		p.Lines = append(p.Lines, line)
	}
	return p, highest
}

func (res *Result) rateChart() (figure, bool) {
	kinds := findMode(res.Mode).kinds
	p, highest := res.overTime(kinds, func(name string) []float64 { return res.Series.PerS[name] })
	p.Y = chart.Nice(highest, short)
	// The first log-ins have a time of their own, before the series.
	if res.Mode == "login" {
		p.Lines = p.Lines[reconnect:]
	}
	return draw(figure{Title: "Throughput", Note: "per second"}, p), highest > 0 && res.Idle == nil
}

// latencyChart shows distributions: to the right, ever fewer that took ever
// longer.
func (res *Result) latencyChart() (figure, bool) {
	const tail = 0.15 // how far right of the last percentile the slowest one is drawn
	lowest, highest, right := math.Inf(1), 0.0, 0.0
	p := chart.Plot{XLabel: "percentile"}
	for class, l := range res.latencies() {
		line := chart.Line{Name: l.name, Class: class}
		x := 0.0
		for _, point := range l.Curve {
			q, ms := point[0], max(point[1], 0.001)
			if q < 100 {
				x = nines(q)
			} else {
				x += tail
			}
			line.Points = append(line.Points, chart.Point{X: x, Y: ms})
			lowest, highest, right = min(lowest, ms), max(highest, ms), max(right, x)
		}
		for _, m := range []struct{ q, ms float64 }{{50, l.P50}, {90, l.P90}, {99, l.P99}, {99.9, l.P999}} {
			if at := nines(m.q); at < x {
				line.Marks = append(line.Marks, chart.Mark{
					Point: chart.Point{X: at, Y: m.ms},
					Text:  fmt.Sprintf("%s: %g %% within %s ms", l.name, m.q, number(m.ms)),
				})
			}
		}
		p.Lines = append(p.Lines, line)
	}
	if len(p.Lines) == 0 {
		return figure{}, false
	}
	p.X = chart.Axis{Max: right}
	for _, q := range []float64{0, 50, 90, 99, 99.9, 99.99, 99.999, 99.9999} {
		if at := nines(q); at <= right {
			p.X.Ticks = append(p.X.Ticks, chart.Tick{At: at, Label: fmt.Sprintf("%g", q)})
		}
	}
	p.Y = chart.NiceLog(lowest, highest, short)
	return draw(figure{Title: "Latency", Note: "milliseconds, logarithmic"}, p), true
}

// nines turns a percentile into a place: 90 is 1, 99 is 2, 99.9 is 3.
func nines(q float64) float64 { return -math.Log10(1 - q/100) }

func (res *Result) cpuChart() (figure, bool) {
	p, _ := res.overTime(res.servers(), func(name string) []float64 { return res.Series.CPU[name] })
	p.Stacked = true
	highest := 0.0
	for i := range res.Series.Seconds {
		sum := 0.0
		for _, cores := range res.Series.CPU {
			sum += cores[i]
		}
		highest = max(highest, sum)
	}
	p.Y = chart.Nice(highest, short)
	return draw(figure{Title: "CPU", Note: fmt.Sprintf("cores in use, of %d", res.Host.CPUs)}, p), highest > 0
}

func (res *Result) memoryChart() (figure, bool) {
	p, highest := res.overTime(res.servers(), func(name string) []float64 {
		var all []float64
		for _, size := range res.Series.RSS[name] {
			all = append(all, float64(size)/(1<<20))
		}
		return all
	})
	p.Y = chart.Nice(highest, short)
	return draw(figure{Title: "Memory", Note: "resident, MiB"}, p), highest > 0
}

// short formats a tick: 12k instead of 12,000.
func short(v float64) string {
	switch {
	case v >= 1e6:
		return trimZero(fmt.Sprintf("%.1f", v/1e6)) + "M"
	case v >= 1e3:
		return trimZero(fmt.Sprintf("%.1f", v/1e3)) + "k"
	}
	return fmt.Sprintf("%g", math.Round(v*1e6)/1e6)
}

func trimZero(s string) string { return strings.TrimSuffix(s, ".0") }
