//go:build unix

package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"teamtalk/internal/im"
	"teamtalk/internal/testenv"
	"teamtalk/test/chaos/internal/check"
	"teamtalk/test/chaos/internal/event"
	"teamtalk/test/chaos/internal/schedule"
	"teamtalk/test/chaos/internal/system"
	"teamtalk/test/e2e/cluster"
)

// The sizes that every change is tested with: 90 seconds of a cluster and 30
// of the server in one process, each kind of fault once or more. Those that need
// many seconds in which nothing else is wrong take turns by the seed.
//
//	CHAOS_SEED=7   another plan
//	CHAOS_RACE=1   servers with the race detector
const (
	minutes = "2"
	every   = "3s"
	rate    = "150"
	users   = "18"
)

// TestChaos runs a plan against real servers, and then shows that the checker
// would have noticed: it is given the same logs with one thing changed.
func TestChaos(t *testing.T) { //nolint:paralleltest // a whole cluster at a time
	if testing.Short() {
		t.Skip("takes three minutes")
	}
	bin, dir := t.TempDir(), filepath.Join(t.TempDir(), "run")
	if err := cluster.Build(bin, os.Getenv("CHAOS_RACE") == "1"); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("go", "build", "-o", bin, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	seed := os.Getenv("CHAOS_SEED")
	if seed == "" {
		seed = "1"
	}
	number, err := strconv.ParseUint(seed, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	kinds := kindsOf(number)
	cmd := exec.CommandContext(t.Context(), filepath.Join(bin, "chaos"), "--bin", bin, "--dir", dir, "--seed", seed,
		"--faults", list(kinds), "--minutes", minutes, "--every", every, "--rate", rate, "--users", users,
		"--base-port", strconv.Itoa(testenv.FreeBase(t, system.Distances()...)))
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "report.json"))
	if err != nil {
		t.Fatal(err)
	}
	var r struct {
		Kinds      map[schedule.Kind]int `json:"faults_by_kind"`
		Acked      int                   `json:"acked"`
		Violations []json.RawMessage     `json:"violations"`
	}
	if err := json.Unmarshal(text, &r); err != nil {
		t.Fatal(err)
	}
	if len(r.Kinds) != len(kinds) || r.Acked == 0 || r.Violations == nil || len(r.Violations) != 0 {
		t.Errorf("%d kinds of faults, %d acknowledged, %d violations", len(r.Kinds), r.Acked, len(r.Violations))
	}
	for _, name := range []string{"cluster", "serve"} { //nolint:paralleltest // as above
		t.Run(name, func(t *testing.T) { plantAll(t, filepath.Join(dir, name)) })
	}
}

// kindsOf returns the kinds of faults that a short run has time for.
func kindsOf(seed uint64) (kinds []schedule.Kind) {
	turn := 0
	for _, k := range schedule.Kinds() {
		if k.Survivable() {
			turn++
			if (uint64(turn)+seed)%2 == 0 {
				continue
			}
		}
		kinds = append(kinds, k)
	}
	return kinds
}

func list(kinds []schedule.Kind) string {
	names := make([]string, len(kinds))
	for i, k := range kinds {
		names[i] = string(k)
	}
	return strings.Join(names, ",")
}

// A short run has time for each of its kinds, and two seeds have all of them.
// A long one, as build.sh accept chaos makes it, has 200 faults and more.
func TestSizes(t *testing.T) {
	t.Parallel()
	two := &schedule.System{
		Processes: []string{"db_proxy_1", "db_proxy_2", "mariadb", "redis"}, Redis: "redis", Store: "mariadb", Replica: true,
		Edges:  []schedule.Edge{{From: "db_proxy_1", To: "mariadb"}, {From: "db_proxy_2", To: "mariadb"}},
		Clocks: []string{"db_proxy_1"}, Roles: []string{"db_proxy_1"},
	}
	one := &schedule.System{
		Processes: []string{"serve"}, Edges: []schedule.Edge{{From: "clients", To: "serve"}}, Store: "serve",
		Clocks: []string{"serve"}, Roles: []string{"serve"},
	}
	all := map[schedule.Kind]bool{}
	for seed := range uint64(100) {
		seen := map[schedule.Kind]bool{}
		for _, f := range schedule.Plan(seed, 90*time.Second, 3*time.Second, kindsOf(seed), two) {
			seen[f.Kind], all[f.Kind] = true, true
		}
		for _, k := range kindsOf(seed) {
			if !seen[k] {
				t.Errorf("seed %d: no %s", seed, k)
			}
		}
		if n := len(schedule.Plan(seed, 1350*time.Second, 7*time.Second, schedule.Kinds(), two)) +
			len(schedule.Plan(seed, 450*time.Second, 7*time.Second, schedule.Kinds(), one)); n < 200 {
			t.Errorf("seed %d: %d faults in half an hour", seed, n)
		}
	}
	if len(all) != len(schedule.Kinds()) {
		t.Errorf("only %v", all)
	}
}

var withOverload = flag.Bool("overload", false, "run TestOverload, too") //nolint:gochecknoglobals // a flag

// TestOverload offers five times what a throttled MariaDB can take, for a
// moment.
func TestOverload(t *testing.T) { //nolint:paralleltest // a whole cluster at a time
	if !*withOverload {
		t.Skip("takes minutes: give -overload, or use build.sh accept overload")
	}
	bin := t.TempDir()
	if err := cluster.Build(bin, false); err != nil {
		t.Fatal(err)
	}
	var before []string
	for range 2 { // others may take the machine for a moment
		r, err := runOverload(t.Context(), overloadOptions{
			Dir: filepath.Join(t.TempDir(), "run"), Bin: bin, BasePort: testenv.FreeBase(t, system.Distances()...), Users: 100, Limit: 1500, Times: 5, For: 8 * time.Second,
		})
		if err != nil {
			t.Fatal(err)
		}
		var b strings.Builder
		r.print(&b)
		if r.kept() {
			t.Log(b.String())
			return
		}
		before = append(before, b.String())
	}
	t.Error(strings.Join(before, "\n"))
}

// plantAll changes one thing at a time in the logs of a run.
func plantAll(t *testing.T, dir string) {
	t.Helper()
	events, sql := readLog(t, filepath.Join(dir, eventFile)), readLog(t, filepath.Join(dir, sqlFile))
	acked := find(t, events, func(e *event.Event) bool { return e.Name == event.Acked })
	row := slices.IndexFunc(sql, func(e event.Event) bool { return e.Name == event.Stored && e.Key == events[acked].Key })
	plants := map[check.Rule]func(events, sql []event.Event) ([]event.Event, []event.Event){
		check.Lost: func(events, sql []event.Event) ([]event.Event, []event.Event) {
			return events, slices.Delete(sql, row, row+1)
		},
		check.Twice: func(events, sql []event.Event) ([]event.Event, []event.Event) {
			again := sql[row]
			again.ID = im.MaxMsgID
			return events, append(sql, again)
		},
		check.AckChanged: func(events, sql []event.Event) ([]event.Event, []event.Event) {
			again := events[acked]
			again.ID++
			return slices.Insert(events, acked+1, again), sql
		},
		check.PushOrder: func(events, sql []event.Event) ([]event.Event, []event.Event) {
			i := find(t, events, func(e *event.Event) bool { return e.Name == event.Received })
			return slices.Insert(events, i, events[i]), sql
		},
		check.PushGap: func(events, sql []event.Event) ([]event.Event, []event.Event) {
			i := oneAfterTheOther(t, events)
			return slices.Delete(events, i, i+1), sql
		},
		check.Undelivered: func(events, sql []event.Event) ([]event.Event, []event.Event) {
			// It comes as a page of history, which does not count.
			i := oneAfterTheOther(t, events)
			e := &events[i]
			return slices.DeleteFunc(append(events, event.Event{
				T: events[len(events)-1].T, Name: event.History, C: e.C, Conv: e.Conv, ID: e.ID, Count: 1, Asked: e.T,
				Page: []event.Item{{ID: e.ID, Key: e.Key}},
			}), func(o event.Event) bool {
				return o.Name == event.Received && o.C == e.C && o.Conv == e.Conv && o.ID == e.ID
			}), sql
		},
		check.UnreadDrift: func(events, sql []event.Event) ([]event.Event, []event.Event) {
			i := find(t, events, func(e *event.Event) bool {
				return e.Name == event.Unread && e.Final && len(e.Counts) > 0
			})
			events[i].Counts = slices.Clone(events[i].Counts)
			events[i].Counts[0].Unread++
			events[i].Total++
			return events, sql
		},
	}
	for rule, plant := range plants {
		t.Run(string(rule), func(t *testing.T) {
			to := t.TempDir()
			e, s := plant(slices.Clone(events), slices.Clone(sql))
			save(t, filepath.Join(to, eventFile), e)
			save(t, filepath.Join(to, sqlFile), s)
			result, err := check.Files([]string{filepath.Join(to, eventFile)}, filepath.Join(to, sqlFile))
			if err != nil {
				t.Fatal(err)
			}
			if result.Counts[rule] == 0 {
				t.Errorf("not noticed; %v", result.Counts)
			}
			if err := checkCommand([]string{"--events", filepath.Join(to, eventFile)}); !errors.Is(err, errBroken) {
				t.Errorf("the command says %v", err)
			}
		})
	}
}

// oneAfterTheOther finds a message that was pushed to a terminal that
// acknowledges, and the next one of its conversation after it.
func oneAfterTheOther(t *testing.T, events []event.Event) int {
	t.Helper()
	type place struct {
		c, conv string
		n       int
	}
	capable, last := map[place]bool{}, map[place]int{}
	second := find(t, events, func(e *event.Event) bool {
		at := place{c: e.C, n: e.N}
		if e.Name == event.Connected {
			capable[at] = e.Delivers
		}
		if e.Name != event.Received || !capable[at] {
			return false
		}
		at.conv = e.Conv
		before := last[at]
		last[at] = int(e.ID)
		return before > 0 && int(e.ID) == before+1
	})
	e := events[second]
	return find(t, events, func(o *event.Event) bool {
		return o.Name == event.Received && o.C == e.C && o.N == e.N && o.Conv == e.Conv && o.ID == e.ID-1
	})
}

func find(t *testing.T, events []event.Event, match func(*event.Event) bool) int {
	t.Helper()
	for i := range events {
		if match(&events[i]) {
			return i
		}
	}
	t.Fatal("the run has no such event")
	return 0
}

func readLog(t *testing.T, path string) (events []event.Event) {
	t.Helper()
	err := event.ReadFile(path, func(e *event.Event) error {
		kept := *e
		kept.Page, kept.Counts = slices.Clone(e.Page), slices.Clone(e.Counts)
		events = append(events, kept)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return events
}

func save(t *testing.T, path string, events []event.Event) {
	t.Helper()
	var b bytes.Buffer
	w := bufio.NewWriter(&b)
	enc := json.NewEncoder(w)
	for i := range events {
		if err := enc.Encode(&events[i]); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Flush(), os.WriteFile(path, b.Bytes(), 0o600)); err != nil {
		t.Fatal(err)
	}
}
