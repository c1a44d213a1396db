package chart

import (
	"encoding/xml"
	"errors"
	"io"
	"math"
	"strings"
	"testing"
)

// plain formats ticks for tests.
func plain(v float64) string { return strings.TrimSpace(strings.Repeat("i", int(math.Min(v, 3)))) }

func TestNice(t *testing.T) {
	t.Parallel()
	for highest, want := range map[float64]struct {
		max   float64
		ticks int
	}{
		0: {1, 6}, 1: {1, 6}, 37_000: {40_000, 5}, 0.9: {1, 6}, 101: {150, 4}, 2.2: {2.5, 6}, 6: {6, 4},
	} {
		a := Nice(highest, plain)
		if math.Abs(a.Max-want.max) > 1e-9 || len(a.Ticks) != want.ticks {
			t.Errorf("%g: up to %g with %d ticks, want %g with %d", highest, a.Max, len(a.Ticks), want.max, want.ticks)
		}
	}
}

func TestNiceLog(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ lowest, highest, min, max float64 }{
		"narrow":   {3, 40, 2, 50},
		"wide":     {0.3, 4000, 0.1, 10_000},
		"one":      {7, 7, 5, 10},
		"on ticks": {1, 100, 1, 100},
	} {
		a := NiceLog(tc.lowest, tc.highest, plain)
		if math.Abs(a.Min/tc.min-1) > 1e-9 || math.Abs(a.Max/tc.max-1) > 1e-9 || len(a.Ticks) < 2 {
			t.Errorf("%s: %g to %g, want %g to %g", name, a.Min, a.Max, tc.min, tc.max)
		}
	}
}

// TestSVG: drawings are well-formed and stay inside their frame, whatever the
// numbers.
func TestSVG(t *testing.T) {
	t.Parallel()
	points := []Point{{0, 0}, {1, 5}, {2, math.Inf(1)}, {3, -1}}
	for name, p := range map[string]Plot{
		"empty":   {},
		"no line": {Lines: []Line{{}}, Stacked: true},
		"lines": {
			Title: `a "title" & more`, X: Nice(3, plain), Y: Nice(5, plain), XLabel: "<seconds>", ShadeTo: 2, ShadeLabel: "<",
			Lines: []Line{{Name: "a", Points: points, Marks: []Mark{{Point{1, 5}, "<b>"}}}},
		},
		"log":     {X: Nice(3, plain), Y: NiceLog(1, 10, plain), Lines: []Line{{Points: points}}},
		"stacked": {X: Nice(3, plain), Y: Nice(9, plain), Stacked: true, Lines: []Line{{Points: points}, {Points: points[:2]}}},
	} {
		svg := p.SVG()
		if strings.Contains(svg, "NaN") || strings.Contains(svg, "Inf") {
			t.Errorf("%s: a coordinate is no number: %s", name, svg)
		}
		d := xml.NewDecoder(strings.NewReader(svg))
		for {
			if _, err := d.Token(); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Errorf("%s: %v in %s", name, err, svg)
				break
			}
		}
	}
}
