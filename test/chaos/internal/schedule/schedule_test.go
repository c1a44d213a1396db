package schedule

import (
	"reflect"
	"testing"
	"time"
)

var cluster = &System{
	Processes: []string{"msg_server_1", "db_proxy_1", "mariadb", "redis"},
	Edges:     []Edge{{"client", "msg_server_1"}, {"msg_server_1", "db_proxy_1"}, {"db_proxy_1", "redis"}},
	Redis:     "redis", Store: "mariadb", Clocks: []string{"msg_server_1", "db_proxy_1"},
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
	const length = 60 * time.Second
	for seed := range uint64(50) {
		plan := Plan(seed, length, 4*time.Second, Kinds(), cluster)
		if len(plan) != 15 {
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
		if f.Kind == FlushAll || f.Kind == Clock {
			t.Errorf("there is nothing for %s to harm", f.Kind)
		}
	}
}
