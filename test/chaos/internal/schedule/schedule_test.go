package schedule

import (
	"reflect"
	"testing"
	"time"
)

var cluster = &System{
	Processes: []string{"msg_server_1", "db_proxy_1", "db_proxy_2", "mariadb", "redis"},
	Edges: []Edge{
		{"client", "msg_server_1"},
		{"msg_server_1", "db_proxy_1"},
		{"db_proxy_1", "redis"},
		{"db_proxy_1", "mariadb"},
		{"db_proxy_2", "mariadb"},
	},
	Redis: "redis", Store: "mariadb", Clocks: []string{"msg_server_1", "db_proxy_1"},
	Replica: true, Roles: []string{"msg_server_1", "db_proxy_1"},
}

func TestSeedRepeats(t *testing.T) {
	t.Parallel()
	plan := func(seed uint64) []Fault { return Plan(seed, 10*time.Minute, 5*time.Second, Kinds(), cluster) }
	if !reflect.DeepEqual(plan(7), plan(7)) {
		t.Error("a seed gives two plans")
	}
	if reflect.DeepEqual(plan(7), plan(8)) {
		t.Error("two seeds give one plan")
	}
}

func TestPlan(t *testing.T) {
	t.Parallel()
	const length = 180 * time.Second
	for seed := range uint64(50) {
		plan := Plan(seed, length, 4*time.Second, Kinds(), cluster)
		if len(plan) < 25 {
			t.Fatalf("%d faults", len(plan))
		}
		seen := map[Kind]bool{}
		for i, f := range plan {
			seen[f.Kind] = true
			if f.N != i+1 || f.Target == "" || f.At < quietStart || f.At+f.For > length || (i > 0 && f.At < plan[i-1].At) {
				t.Errorf("seed %d: %+v", seed, f)
			}
			if (f.Kind == Clock) != (f.Jump != 0) {
				t.Errorf("seed %d: %+v", seed, f)
			}
			if f.String() == "" {
				t.Error("nothing to say")
			}
		}
		if len(seen) != len(Kinds()) {
			t.Errorf("seed %d: only %v", seed, seen)
		}
	}
}

// Nothing begins while a fault is in force that everybody is promised to
// survive.
func TestSurvivableFaultsAreAlone(t *testing.T) {
	t.Parallel()
	for seed := range uint64(50) {
		plan := Plan(seed, 3*time.Minute, 3*time.Second, Kinds(), cluster)
		for i, f := range plan[:len(plan)-1] {
			if next := plan[i+1]; f.Kind.Survivable() && next.At < f.At+f.For {
				t.Errorf("seed %d: %v at %v, during %v from %v on", seed, &next, next.At, &f, f.At)
			}
		}
	}
}

// Ids go back once, near the end, and there is no fail-over afterwards.
func TestIDsGoBackOnce(t *testing.T) {
	t.Parallel()
	for _, length := range []time.Duration{30 * time.Second, 90 * time.Second, 20 * time.Minute} {
		for seed := range uint64(50) {
			times := 0
			for _, f := range Plan(seed, length, 3*time.Second, Kinds(), cluster) {
				if f.Kind == Failover && times > 0 {
					t.Errorf("seed %d: %v, and there is no replica", seed, &f)
				}
				if f.Kind == GoBack {
					times++
					if f.At < length/2 || f.At+f.For > length-3*time.Second {
						t.Errorf("seed %d: %v at %v of %v", seed, &f, f.At, length)
					}
				}
			}
			if times != 1 {
				t.Errorf("seed %d, %v: ids go back %d times", seed, length, times)
			}
		}
	}
	if plan := Plan(1, time.Minute, 3*time.Second, []Kind{GoBack}, cluster); len(plan) != 1 {
		t.Errorf("%v", plan)
	}
	both := Plan(1, time.Minute, 3*time.Second, []Kind{Failover, GoBack}, cluster)
	if len(both) < 2 || both[len(both)-1].Kind != GoBack {
		t.Errorf("%v", both)
	}
}

func TestKinds(t *testing.T) {
	t.Parallel()
	if kinds, err := Parse("kill, cut,kill"); err != nil || !reflect.DeepEqual(kinds, []Kind{Kill, Cut}) {
		t.Error(kinds, err)
	}
	if kinds, err := Parse(""); err != nil || len(kinds) != len(Kinds()) {
		t.Error(kinds, err)
	}
	if _, err := Parse("kill,flood"); err == nil {
		t.Error("flood is a fault")
	}
	alone := &System{Processes: []string{"serve"}, Edges: []Edge{{"client", "serve"}}, Store: "serve"}
	for _, f := range Plan(1, time.Minute, time.Second, Kinds(), alone) {
		switch f.Kind {
		case FlushAll, Clock, Failover, DBAway, GoBack, Descriptors:
			t.Errorf("there is nothing for %s to harm", f.Kind)
		default:
		}
	}
}
