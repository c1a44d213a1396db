package turns

import (
	"context"
	"slices"
	"sync"
	"testing"
)

// start runs a pool for the length of a test, or until stop.
func start(t *testing.T, workers int) (p *Pool, stop func()) {
	t.Helper()
	p = NewPool(workers)
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { p.Run(ctx) })
	stop = sync.OnceFunc(func() { cancel(); running.Wait() })
	t.Cleanup(stop)
	return p, stop
}

func TestLanesTakeTurns(t *testing.T) {
	t.Parallel()
	p := NewPool(1)
	var order []string
	large, small := p.NewLane(10), p.NewLane(10)
	for range 3 {
		large.Submit(func() { order = append(order, "large") })
	}
	small.Submit(func() { order = append(order, "small") })
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	p.Run(ctx) // finishes what is queued
	if want := []string{"large", "small", "large", "large"}; !slices.Equal(order, want) {
		t.Errorf("order %v, want %v", order, want)
	}
}

func TestOrderInALane(t *testing.T) {
	t.Parallel()
	p, stop := start(t, 4)
	lane := p.NewLane(1000)
	var got []int
	for i := range 1000 {
		if !lane.Submit(func() { got = append(got, i) }) {
			t.Fatal("refused")
		}
	}
	stop()
	if len(got) != 1000 || !slices.IsSorted(got) {
		t.Errorf("%d jobs, sorted %v", len(got), slices.IsSorted(got))
	}
}

func TestBounds(t *testing.T) {
	t.Parallel()
	p, stop := start(t, 1)
	lane := p.NewLane(1)
	started, release := make(chan struct{}), make(chan struct{})
	lane.Submit(func() { close(started); <-release })
	<-started
	if !lane.Submit(func() {}) {
		t.Error("one job does not fit")
	}
	if lane.Submit(func() {}) {
		t.Error("a full lane takes a job")
	}
	close(release)
	stop()
	if lane.Submit(func() {}) {
		t.Error("a stopped pool takes a job")
	}
}
