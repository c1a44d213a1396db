package bench

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
)

// checkCommand returns "bench check".
func checkCommand() *cobra.Command {
	var c check
	cmd := &cobra.Command{
		Use:   "check --want 'PATH >= NUMBER' [--show PATH] FILE...",
		Short: "Hold the median of some runs against wanted figures",
		Long: "Check prints a row for every wanted figure: the median of the runs with the lowest and the highest,\n" +
			"and whether the figure is met. A PATH names a number of the JSON, such as ack_ms.p99. Wanted may be\n" +
			"sums and products of numbers and paths, and of two alternatives the more lenient counts:\n\n" +
			"  --want 'ack_ms.p99 <= 10 or 3*ceiling.commit_p99_ms'\n\n" +
			"With --base, all that is left of <= or >= is divided by the median of those runs.\n\n" +
			"Exit codes: 0 all met, 1 some missed, 2 a number is not there.",
		Args: cobra.MinimumNArgs(1), SilenceUsage: true,
		RunE: func(cmd *cobra.Command, files []string) error {
			fail := func(err error) error { return &ExitError{exitFailure, fmt.Errorf("bench check: %w", err)} }
			var err error
			if c.runs, err = loadDocuments(files); err != nil {
				return fail(err)
			}
			if c.base, err = loadDocuments(c.baseFiles); err != nil {
				return fail(err)
			}
			met, err := c.print(cmd.OutOrStdout())
			switch {
			case err != nil:
				return fail(err)
			case !met:
				return &ExitError{exitViolation, errors.New("bench check: a wanted figure was missed")}
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVar(&c.title, "title", "", "what the runs have in common")
	f.StringArrayVar(&c.wants, "want", nil, "a wanted figure")
	f.StringArrayVar(&c.shows, "show", nil, "path of a figure to print without judging it")
	f.StringSliceVar(&c.baseFiles, "base", nil, "runs to divide by")
	return cmd
}

// figureCommand returns "bench figure".
func figureCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "figure PATH FILE...",
		Short: "Print the median of one number of some results",
		Args:  cobra.MinimumNArgs(2), SilenceUsage: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			docs, err := loadDocuments(args[1:])
			if err == nil {
				var all []float64
				if all, err = docs.numbers(args[0]); err == nil {
					_, err = fmt.Fprintf(cmd.OutOrStdout(), "%g\n", median(all))
				}
			}
			if err != nil {
				return &ExitError{exitFailure, fmt.Errorf("bench figure: %w", err)}
			}
			return nil
		},
	}
}

// check holds results against wanted figures.
type check struct {
	title     string
	wants     []string
	shows     []string
	baseFiles []string
	runs      documents
	base      documents
}

// document is a file of JSON.
type document struct {
	file    string
	content any
}

type documents []document

func loadDocuments(files []string) (all documents, err error) {
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		d := document{file: file}
		if err := json.Unmarshal(data, &d.content); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		all = append(all, d)
	}
	return all, nil
}

// numbers returns the number at a path in every document, sorted.
func (ds documents) numbers(path string) (all []float64, err error) {
	for _, d := range ds {
		v := d.content
		for name := range strings.SplitSeq(path, ".") {
			switch inner := v.(type) {
			case map[string]any:
				v = inner[name]
			case []any:
				if at, err := strconv.Atoi(name); err == nil && at >= 0 && at < len(inner) {
					v = inner[at]
					continue
				}
				v = nil
			default:
				v = nil
			}
		}
		number, ok := v.(float64)
		if !ok {
			return nil, fmt.Errorf("%s has no number %s", d.file, path)
		}
		all = append(all, number)
	}
	slices.Sort(all)
	return all, nil
}

// rowFormat is title, figure, value, wanted, verdict. The columns have fixed
// widths so that the rows of several checks make one table.
const rowFormat = "%-36s  %-40s  %-28s  %-12s  %s\n"

// print prints all rows and reports whether every figure was met.
func (c *check) print(w io.Writer) (met bool, err error) {
	met = true
	row := func(figure string, all []float64, wanted, verdict string) {
		_, _ = fmt.Fprintf(w, rowFormat, c.title, figure, spread(all, ""), wanted, verdict)
	}
	for _, text := range c.wants {
		want, err := parseWant(text)
		if err != nil {
			return false, err
		}
		all, err := c.left(want.path)
		if err != nil {
			return false, err
		}
		bound, err := want.bound(c.runs)
		if err != nil {
			return false, err
		}
		verdict := "met"
		if want.least && median(all) < bound || !want.least && median(all) > bound {
			verdict, met = "MISSED", false
		}
		row(want.path, all, want.op()+" "+number(bound), verdict)
	}
	for _, path := range c.shows {
		all, err := c.left(path)
		if err != nil {
			return false, err
		}
		row(path, all, "", "")
	}
	return met, nil
}

// left returns the values of a path, sorted, divided by those of the base.
func (c *check) left(path string) ([]float64, error) {
	all, err := c.runs.numbers(path)
	if err != nil || len(c.base) == 0 {
		return all, err
	}
	base, err := c.base.numbers(path)
	if err != nil {
		return nil, err
	}
	by := median(base)
	if by == 0 {
		return nil, fmt.Errorf("%s is 0 in the base", path)
	}
	for i := range all {
		all[i] /= by
	}
	return all, nil
}

// want is a wanted figure.
type want struct {
	path  string
	least bool // the bound is the least that is wanted, else the most
	right string
}

func parseWant(text string) (want, error) {
	for op, least := range map[string]bool{">=": true, "<=": false} {
		if path, right, ok := strings.Cut(text, op); ok {
			return want{strings.TrimSpace(path), least, right}, nil
		}
	}
	return want{}, fmt.Errorf("--want: %q has neither >= nor <=", text)
}

func (w want) op() string {
	if w.least {
		return "≥"
	}
	return "≤"
}

// bound returns the most lenient of the alternatives.
func (w want) bound(runs documents) (float64, error) {
	var all []float64
	for alternative := range strings.SplitSeq(w.right, " or ") {
		sum := 0.0
		for term := range strings.SplitSeq(alternative, "+") {
			product := 1.0
			for factor := range strings.SplitSeq(term, "*") {
				v, err := value(strings.TrimSpace(factor), runs)
				if err != nil {
					return 0, err
				}
				product *= v
			}
			sum += product
		}
		all = append(all, sum)
	}
	if w.least {
		return slices.Min(all), nil
	}
	return slices.Max(all), nil
}

// value returns a number, or the median of a path.
func value(text string, runs documents) (float64, error) {
	if v, err := strconv.ParseFloat(text, 64); err == nil {
		return v, nil
	}
	all, err := runs.numbers(text)
	if err != nil {
		return 0, err
	}
	return median(all), nil
}
