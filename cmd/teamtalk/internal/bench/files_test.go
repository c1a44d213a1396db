package bench

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// self names this process as a server to measure.
func self() string { return "bench=" + strconv.Itoa(os.Getpid()) }

// files writes JSON files and returns their names.
func files(t *testing.T, contents ...string) (names []string) {
	t.Helper()
	dir := t.TempDir()
	for i, text := range contents {
		name := filepath.Join(dir, strconv.Itoa(i)+".json")
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		names = append(names, name)
	}
	return names
}

// evaluate runs a command that works on files.
func evaluate(t *testing.T, args ...string) (code int, out string) {
	t.Helper()
	cmd := Command()
	var buf bytes.Buffer
	cmd.SetOut(&buf)
	cmd.SetErr(&buf)
	cmd.SetArgs(args)
	if err := cmd.ExecuteContext(t.Context()); err != nil {
		coded, ok := errors.AsType[*ExitError](err)
		if !ok {
			return exitFailure, buf.String() + err.Error() // cobra's own
		}
		return coded.ExitCode(), buf.String() + err.Error()
	}
	return 0, buf.String()
}

// single returns results of mode single.
func single(ackedPerS, p99 string) string {
	return `{"mode":"single","users":4,"window":1,"addrs":["x"],"senders":4,"size":100,"acked":9,"acked_per_s":` + ackedPerS +
		`,"delivered_per_s":1,"ack_ms":{"p99":` + p99 + `,"curve":[[0,1]]},"cpu_us_per_op":{"total":50}}`
}

func TestCompare(t *testing.T) {
	t.Parallel()
	f := files(t,
		single("1000", "10"), single("1100", "11"), single("1050", "12"), // the base
		single("2000", "11"), single("2100", "10"), // faster
		`{"mode":"login","operations":[{"name":"reconnect","per_s":5}]}`, `{"mode":"other"}`, `{`,
		strings.Replace(single("1000", "10"), `"users":4`, `"users":8,"lost":3`, 1),
		`{"mode":"ceiling","insert":[{"batch":1,"connections":2,"per_s":100}],"commit_ms":{"p50":1}}`,
	)
	for name, tc := range map[string]struct {
		args []string
		code int
		want []string
	}{
		"one each": {[]string{f[0], f[3]}, 0, []string{"2.000  better", "One run each", "1.100  worse", "about the same"}},
		"several": {
			[]string{"--base", f[0] + "," + f[1] + "," + f[2], "--new", f[3] + "," + f[4]},
			0,
			[]string{"1,050/s (1,000/s", "1.952  better", "no clear difference", "Medians of 3 and 2 runs"},
		},
		"other load": {[]string{f[0], f[8]}, 0, []string{"was made otherwise", "does not count: lost 3"}},
		"ceilings":   {[]string{f[9], f[9]}, 0, []string{"rows in 1, 2 conn.", "1.000"}},
		"other mode": {[]string{f[0], f[5]}, exitFailure, []string{"cannot compare"}},
		"mixed":      {[]string{"--base", f[0] + "," + f[5], "--new", f[3]}, exitFailure, []string{"of mode login"}},
		"no results": {[]string{f[0], f[6]}, exitFailure, []string{"no results"}},
		"no JSON":    {[]string{f[0], f[7]}, exitFailure, []string{"7.json"}},
		"no file":    {[]string{f[0], f[0] + "x"}, exitFailure, []string{"no such file"}},
		"one side":   {[]string{"--base", f[0]}, exitFailure, []string{"two files"}},
	} {
		code, out := evaluate(t, append([]string{"compare"}, tc.args...)...)
		if code != tc.code {
			t.Errorf("%s: exit code %d, want %d\n%s", name, code, tc.code, out)
		}
		for _, want := range tc.want {
			if !strings.Contains(strings.ReplaceAll(out, "(1,000 ", "(1,000/s "), want) {
				t.Errorf("%s: no %q in\n%s", name, want, out)
			}
		}
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	f := files(t, `{"rate":100,"ms":{"p99":20},"list":[{"x":4}],"word":"w"}`, `{"rate":120,"ms":{"p99":24}}`, `{"rate":90,"ms":{"p99":22}}`)
	all := f[0] + " " + f[1] + " " + f[2]
	for name, tc := range map[string]struct {
		args string // separated by spaces, _ stands for one
		code int
		want string
	}{
		"met":         {"--want rate>=100 " + all, 0, "100 (90.0 – 120)"},
		"missed":      {"--want rate>=101 " + all, exitViolation, "MISSED"},
		"most":        {"--want ms.p99<=22 " + all, 0, "met"},
		"too much":    {"--want ms.p99<=21.9 " + all, exitViolation, "MISSED"},
		"alternative": {"--want ms.p99<=1_or_0.2*rate+3 " + all, 0, "≤ 23"},
		"lenient":     {"--want rate>=200_or_50 " + all, 0, "≥ 50"},
		"ratio":       {"--want rate<=1.2 --base " + f[0] + " " + f[1], 0, "1.20"},
		"ratio above": {"--want rate<=1.1 --base " + f[0] + " " + f[1], exitViolation, "MISSED"},
		"shown":       {"--title T --show ms.p99 " + f[0], 0, "ms.p99"},
		"list":        {"--want list.0.x>=4 " + f[0], 0, "met"},
		"no number":   {"--want word>=1 " + f[0], exitFailure, "has no number word"},
		"no path":     {"--want ms.p50>=1 " + f[0], exitFailure, "has no number ms.p50"},
		"no index":    {"--want list.1.x>=4 " + f[0], exitFailure, "has no number"},
		"bad right":   {"--want rate>=x " + f[0], exitFailure, "has no number x"},
		"no relation": {"--want rate=1 " + f[0], exitFailure, "neither"},
	} {
		args := strings.Fields(tc.args)
		for i := range args {
			if !strings.HasPrefix(args[i], "/") {
				args[i] = strings.ReplaceAll(args[i], "_", " ")
			}
		}
		code, out := evaluate(t, append([]string{"check"}, args...)...)
		if code != tc.code || !strings.Contains(out, tc.want) {
			t.Errorf("%s: exit code %d, want %d and %q in\n%s", name, code, tc.code, tc.want, out)
		}
	}
	if code, out := evaluate(t, "figure", "ms.p99", f[0], f[1], f[2]); code != 0 || out != "22\n" {
		t.Errorf("figure: exit code %d, %q", code, out)
	}
	if code, _ := evaluate(t, "figure", "ms.p", f[0]); code != exitFailure {
		t.Errorf("a figure that is not there: exit code %d", code)
	}
}

func TestNumber(t *testing.T) {
	t.Parallel()
	for v, want := range map[float64]string{
		0: "0", 0.01234: "0.0123", 1.239: "1.24", 12.34: "12.3", 123.4: "123", 1234: "1,234", 1234567.8: "1,234,568", -1234: "-1,234",
	} {
		if got := number(v); got != want {
			t.Errorf("%g: %s, want %s", v, got, want)
		}
	}
}
