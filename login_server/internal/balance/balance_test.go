package balance

import (
	"strings"
	"testing"
	"time"
)

var start = time.Unix(1_700_000_000, 0)

func info(host string, current, limit int) Info {
	return Info{IP1: "10.0.0.1", IP2: "10.0.0.2", Port: 8000, Host: host, Current: current, Max: limit}
}

// picks chooses n times at once and returns the hosts.
func picks(t *Table, n int, now time.Time) string {
	var hosts strings.Builder
	for range n {
		got, result := t.Pick(now)
		if result != Found {
			return hosts.String() + "!"
		}
		hosts.WriteString(got.Host)
	}
	return hosts.String()
}

func TestPick(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		steps func(*Table)
		want  string // the next six
	}{
		"nobody":               {func(*Table) {}, "!"},
		"least loaded":         {func(t *Table) { t.Set(1, info("a", 50, 100)); t.Set(2, info("b", 10, 100)) }, "bbbbbb"},
		"equals take turns":    {func(t *Table) { t.Set(2, info("b", 0, 100)); t.Set(1, info("a", 0, 100)); t.Set(3, info("c", 0, 100)) }, "abcabc"},
		"until they are equal": {func(t *Table) { t.Set(1, info("a", 3, 100)); t.Set(2, info("b", 0, 100)) }, "bbbaba"},
		"full":                 {func(t *Table) { t.Set(1, info("a", 5, 5)) }, "!"},
		"max 0":                {func(t *Table) { t.Set(1, info("a", 0, 0)) }, "!"},
		"full is passed over":  {func(t *Table) { t.Set(1, info("a", 5, 5)); t.Set(2, info("b", 50, 100)) }, "bbbbbb"},
		"a guess fills nobody": {func(t *Table) { t.Set(1, info("a", 0, 2)) }, "aaaaaa"},
		"counts are absolute": {func(t *Table) {
			t.Set(1, info("a", 90, 100))
			t.Set(2, info("b", 50, 100))
			t.Set(1, info("a", 1, 100))
		}, "aaaaaa"},
		"a correction takes credit": {func(t *Table) {
			t.Set(1, info("a", 0, 100))
			t.Set(2, info("b", 0, 100))
			picks(t, 6, start)
			t.Set(1, info("a", 0, 100))
		}, "aaaaba"},
		"a log-in uses its credit up": {func(t *Table) {
			t.Set(1, info("a", 0, 100))
			t.Set(2, info("b", 0, 100))
			picks(t, 1, start)
			t.LoggedIn(1) // the client that was sent there
		}, "bababa"},
		"other log-ins count": {func(t *Table) {
			t.Set(1, info("a", 0, 100))
			t.Set(2, info("b", 0, 100))
			t.LoggedIn(1)
			t.LoggedIn(1)
		}, "bbabab"},
		"log-outs never count below none": {func(t *Table) {
			t.Set(1, info("a", 1, 100))
			t.Set(2, info("b", 0, 100))
			for range 5 {
				t.LoggedOut(1)
				t.LoggedOut(2)
			}
		}, "ababab"},
		"gone": {func(t *Table) {
			t.Set(1, info("a", 0, 100))
			t.Set(2, info("b", 50, 100))
			t.Remove(1)
			t.Remove(9)
		}, "bbbbbb"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var table Table
			c.steps(&table)
			if got := picks(&table, 6, start); got != c.want {
				t.Errorf("chose %s, want %s", got, c.want)
			}
		})
	}
}

func TestCreditExpires(t *testing.T) {
	t.Parallel()
	var table Table
	table.Set(1, info("a", 0, 100))
	table.Set(2, info("b", 2, 100))
	if got := picks(&table, 4, start); got != "aaab" {
		t.Errorf("chose %s", got)
	}
	if got := picks(&table, 1, start.Add(creditTime-1)); got != "a" && got != "b" {
		t.Errorf("chose %s", got)
	}
	if got := picks(&table, 1, start.Add(2*creditTime)); got != "a" {
		t.Errorf("after the credit chose %s, want a", got)
	}
}

func TestResultsAndTotals(t *testing.T) {
	t.Parallel()
	var table Table
	if _, result := table.Pick(start); result != None {
		t.Errorf("result %d without servers, want %d", result, None)
	}
	if table.LoggedIn(1) || table.LoggedOut(1) {
		t.Error("an unknown server is counted")
	}
	table.Set(1, info("a", 5, 5))
	table.Set(2, info("b", -3, 0))
	if _, result := table.Pick(start); result != Full {
		t.Errorf("result %d, want %d", result, Full)
	}
	if servers, logIns := table.Totals(); servers != 2 || logIns != 5 {
		t.Errorf("Totals = %d, %d; want 2, 5", servers, logIns)
	}
}

func TestCreditIsBounded(t *testing.T) {
	t.Parallel()
	var table Table
	table.Set(1, info("a", 0, 1<<30))
	picks(&table, 2*maxCredit, start)
	if n := len(table.servers[0].sent); n != maxCredit {
		t.Errorf("%d remembered, want %d", n, maxCredit)
	}
}

// A burst spreads evenly although no msg_server has reported yet.
func TestBurstSpreads(t *testing.T) {
	t.Parallel()
	var table Table
	for s := range Server(4) {
		table.Set(s, info(string(rune('a'+s)), 100, 100_000))
	}
	hosts := picks(&table, 1000, start)
	for _, host := range []string{"a", "b", "c", "d"} {
		if n := strings.Count(hosts, host); n != 250 {
			t.Errorf("%s got %d clients, want 250", host, n)
		}
	}
}

func BenchmarkPick(b *testing.B) {
	var table Table
	for s := range Server(16) {
		table.Set(s, info("x", 0, 1<<30))
	}
	b.ReportAllocs()
	for b.Loop() {
		table.Pick(start)
	}
}
