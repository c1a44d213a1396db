// Package chart draws small line and area charts as SVG to stand inside an
// HTML page. It sets geometry only: the style sheet of the page gives the
// classes their colours (s0, s1 … of lines, areas and marks; grid, axis,
// shade), so that one drawing serves a light and a dark page.
package chart

import (
	"fmt"
	"html"
	"math"
	"slices"
	"strings"
)

// Size of the drawing in its own units. It is scaled to the width of the page.
const (
	Width  = 440.0
	Height = 264.0

	left, right, top, bottom = 46.0, 14.0, 12.0, 34.0
)

// Point is a place on a line.
type Point struct{ X, Y float64 }

// Line is one series.
type Line struct {
	Name   string
	Class  int // N of its class "sN"
	Points []Point
	Marks  []Mark // points with a dot and a text that shows when pointed at
}

// Mark is a point of interest.
type Mark struct {
	Point
	Text string
}

// Axis scales one direction.
type Axis struct {
	Min, Max float64
	Log      bool
	Ticks    []Tick
}

// Tick is a place on an axis with a name.
type Tick struct {
	At    float64
	Label string
}

// Plot is a chart.
type Plot struct {
	Title   string // for readers that do not see
	X, Y    Axis
	Lines   []Line
	Stacked bool // lines are heights of areas, each on top of the one before
	// Shade marks a stretch of X, such as a warm-up; nothing where both are
	// equal.
	ShadeFrom, ShadeTo float64
	ShadeLabel         string
	XLabel             string
}

// Nice returns an axis from 0 to a round number at or above highest, with round
// ticks.
func Nice(highest float64, format func(float64) string) Axis {
	if highest <= 0 || math.IsNaN(highest) {
		highest = 1
	}
	step := math.Pow(10, math.Floor(math.Log10(highest)))
	for _, s := range []float64{0.2, 0.5, 1, 2} {
		if highest/(step*s) <= 5 {
			step *= s
			break
		}
	}
	a := Axis{Max: step * math.Ceil(highest/step-1e-9)}
	for i := 0; float64(i)*step <= a.Max*(1+1e-9); i++ {
		v := float64(i) * step
		a.Ticks = append(a.Ticks, Tick{v, format(v)})
	}
	return a
}

// NiceLog returns a logarithmic axis that holds lowest and highest, both above
// 0, with ticks at 1, 2 and 5 of each decade or, where that is too many, at 1.
func NiceLog(lowest, highest float64, format func(float64) string) Axis {
	steps := []float64{1, 2, 5}
	if highest/lowest > 200 {
		steps = steps[:1]
	}
	var all []float64
	for e := math.Floor(math.Log10(lowest)); e <= math.Ceil(math.Log10(highest)); e++ {
		for _, s := range steps {
			all = append(all, s*math.Pow(10, e))
		}
	}
	first, last := 0, len(all)-1
	for first+1 < last && all[first+1] <= lowest*(1+1e-9) {
		first++
	}
	for last-1 > first && all[last-1] >= highest*(1-1e-9) {
		last--
	}
	a := Axis{Min: all[first], Max: all[last], Log: true}
	for _, v := range all[first : last+1] {
		a.Ticks = append(a.Ticks, Tick{v, format(v)})
	}
	return a
}

// place returns where a value is on the axis: 0 at its begin, 1 at its end.
func (a Axis) place(v float64) float64 {
	from, to := a.Min, a.Max
	if a.Log {
		from, to, v = math.Log(from), math.Log(to), math.Log(math.Max(v, a.Min))
	}
	if to == from {
		return 0
	}
	return min(max((v-from)/(to-from), 0), 1)
}

func (p *Plot) x(v float64) float64 { return left + p.X.place(v)*(Width-left-right) }

func (p *Plot) y(v float64) float64 { return Height - bottom - p.Y.place(v)*(Height-top-bottom) }

// SVG returns the drawing. Names and labels are escaped.
func (p *Plot) SVG() string {
	var b strings.Builder
	fmt.Fprintf(&b, `<svg viewBox="0 0 %g %g" role="img" aria-label="%s">`, Width, Height, html.EscapeString(p.Title))
	p.shade(&b)
	p.grid(&b)
	if p.Stacked {
		p.areas(&b)
	} else {
		p.lines(&b)
	}
	b.WriteString("</svg>")
	return b.String()
}

func (p *Plot) shade(b *strings.Builder) {
	if p.ShadeTo <= p.ShadeFrom {
		return
	}
	from, to := p.x(p.ShadeFrom), p.x(p.ShadeTo)
	fmt.Fprintf(b, `<rect class="shade" x="%.1f" y="%g" width="%.1f" height="%g"/>`, from, top, to-from, Height-top-bottom)
	if to-from > 50 {
		text(b, "shade-label", from+5, top+14, "start", p.ShadeLabel)
	}
}

func (p *Plot) grid(b *strings.Builder) {
	for i, t := range p.Y.Ticks {
		class := "grid"
		if i == 0 {
			class = "axis"
		}
		y := p.y(t.At)
		fmt.Fprintf(b, `<path class="%s" d="M%g %.1fH%g"/>`, class, left, y, Width-right)
		text(b, "", left-7, y+4, "end", t.Label)
	}
	for _, t := range p.X.Ticks {
		x := p.x(t.At)
		fmt.Fprintf(b, `<path class="axis" d="M%.1f %gv4"/>`, x, Height-bottom)
		anchor := "middle"
		if x > Width-right-12 {
			anchor = "end"
		}
		text(b, "", x, Height-bottom+17, anchor, t.Label)
	}
	if p.XLabel != "" {
		text(b, "", left, Height-2, "start", p.XLabel)
	}
}

func (p *Plot) lines(b *strings.Builder) {
	for _, l := range p.Lines {
		if len(l.Points) == 0 {
			continue
		}
		fmt.Fprintf(b, `<path class="line s%d" d="%s"/>`, l.Class, p.path(l.Points))
		for _, m := range l.Marks {
			fmt.Fprintf(b, `<circle class="mark s%d" cx="%.1f" cy="%.1f" r="3.5"><title>%s</title></circle>`,
				l.Class, p.x(m.X), p.y(m.Y), html.EscapeString(m.Text))
		}
	}
}

// areas draws from the top one down, each down to the axis: a lower one covers
// what is not its upper neighbour's.
func (p *Plot) areas(b *strings.Builder) {
	if len(p.Lines) == 0 || len(p.Lines[0].Points) == 0 {
		return
	}
	sum := make([]float64, len(p.Lines[0].Points))
	stacks := make([][]Point, len(p.Lines))
	for i, l := range p.Lines {
		for j, point := range l.Points[:min(len(l.Points), len(sum))] {
			sum[j] += point.Y
			stacks[i] = append(stacks[i], Point{point.X, sum[j]})
		}
	}
	for i, s := range slices.Backward(stacks) {
		if len(s) == 0 {
			continue
		}
		fmt.Fprintf(b, `<path class="area s%d" d="%sV%.1fH%.1fZ"><title>%s</title></path>`, p.Lines[i].Class,
			p.path(s), p.y(0), p.x(s[0].X), html.EscapeString(p.Lines[i].Name))
	}
}

// path returns the drawing commands of a line.
func (p *Plot) path(points []Point) string {
	var b strings.Builder
	for i, point := range points {
		command := 'L'
		if i == 0 {
			command = 'M'
		}
		fmt.Fprintf(&b, "%c%.1f %.1f", command, p.x(point.X), p.y(point.Y))
	}
	return b.String()
}

func text(b *strings.Builder, class string, x, y float64, anchor, label string) {
	fmt.Fprintf(b, `<text class="%s" x="%.1f" y="%.1f" text-anchor="%s">%s</text>`,
		class, x, y, anchor, html.EscapeString(label))
}
