package work

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

func newTurns(t *testing.T, workers, capacity int) *Turns {
	t.Helper()
	pool, err := NewPool(workers, func(any) {})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Release)
	return NewTurns(pool, TurnsConfig{
		Workers: workers, Capacity: capacity,
		Refused: prometheus.NewCounter(prometheus.CounterOpts{}), Depth: prometheus.NewGauge(prometheus.GaugeOpts{}),
	})
}

// Whoever has much waiting waits for it; all others come after one task of
// theirs. The tasks of one run in order, also behind one that panicked.
func TestEverybodyInTurn(t *testing.T) {
	t.Parallel()
	turns := newTurns(t, 1, 100)
	held := make(chan struct{})
	var mu sync.Mutex
	var done []string
	task := func(name string) func() {
		return func() {
			<-held
			mu.Lock()
			defer mu.Unlock()
			if done = append(done, name); name == "a1" {
				panic("for the test")
			}
		}
	}
	for i := range 4 {
		turns.Submit(1, 1, task(fmt.Sprint("a", i)))
	}
	turns.Submit(2, 1, task("b0"))
	turns.Submit(3, 1, task("c0"))
	turns.Submit(2, 1, task("b1"))
	close(held)
	turns.Wait()
	if got, want := strings.Join(done, " "), "a0 b0 c0 a1 b1 a2 a3"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// One of them has at most a quarter of the room, and always one task.
func TestTurnsAreBounded(t *testing.T) {
	t.Parallel()
	turns := newTurns(t, 1, 100)
	held := make(chan struct{})
	for i, step := range []struct {
		who    uint64
		weight int
		want   bool
	}{
		{1, 60, true}, {1, 1, false}, {2, 20, true}, {2, 5, true}, {2, 1, false}, {3, 16, false}, {3, 15, true}, {4, 1, false},
	} {
		if got := turns.Submit(step.who, step.weight, func() { <-held }); got != step.want {
			t.Errorf("task %d: %v", i, got)
		}
	}
	close(held)
	turns.Wait()
	if !turns.Submit(4, 100, func() {}) {
		t.Error("no room when nothing waits")
	}
	turns.Wait()
}
