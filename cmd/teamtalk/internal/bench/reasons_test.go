package bench

import (
	"errors"
	"fmt"
	"maps"
	"testing"
)

func TestReasonsAddUp(t *testing.T) {
	t.Parallel()
	var r reasons
	if got := r.of(0); len(got) != 0 {
		t.Errorf("nothing failed: %v", got)
	}
	for range 3 {
		r.add(errors.New("busy"))
	}
	want := map[string]int64{"busy": 3, whyOpen: 2}
	if got := r.of(5); !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	for i := range 2 * maxReasons {
		r.add(fmt.Errorf("reason %d", i))
	}
	got := r.of(3 + 2*maxReasons)
	sum := int64(0)
	for _, n := range got {
		sum += n
	}
	if len(got) != maxReasons+1 || sum != 3+2*maxReasons {
		t.Errorf("%d reasons for %d messages: %v", len(got), sum, got)
	}
}

// TestIdleDividesByOwnConnections: 2,000 clients on two msg_servers are 1,000
// of each, and all of them of the others.
func TestIdleDividesByOwnConnections(t *testing.T) {
	t.Parallel()
	memory := func(each int64) usage {
		return usage{rss: map[string]int64{"msg_server_1": each, "msg_server_2": each, "db_proxy_1": each}}
	}
	res := &Result{Conns: 2000, Duration: 1}
	res.addIdle(memory(0), memory(0), memory(4_000_000), 1, 2)
	want := map[string]float64{"msg_server_1": 4000, "msg_server_2": 4000, "db_proxy_1": 2000}
	if got := res.Idle.BytesPerConnection; !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
