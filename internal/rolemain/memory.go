package rolemain

import (
	"context"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// A role that handles tens of thousands of messages a second lets go of some
// megabytes of garbage in the time of one commit. With the collector's default,
// a role whose live heap is small would collect several times a second, on the
// processors that the messages wait for; so it may gather this much first, as
// long as it allocates busyAbove bytes between two looks. Not otherwise: what
// lives long, such as connections that log in, would lie between garbage, in
// more pages than it needs.
const (
	spareHeap = 48 << 20
	busyAbove = 16 << 20
)

// How often Tend looks; how many bytes a process that counts as idle allocates
// between some looks.
const (
	tendEvery = time.Second
	idleLooks = 15
	idleBelow = 8 << 20
)

// heap is what Tend looks at.
type heap struct {
	live      uint64 // bytes that the last collection found in use
	allocated uint64 // bytes, ever
}

// Tend paces the collector, unless GOGC in the environment does, and gives
// memory back to the system once the process has become idle: a burst, such as
// the log-ins after a restart, leaves a heap that the collector would not look
// at for minutes. It runs until ctx ends.
func Tend(ctx context.Context) {
	ticker := time.NewTicker(tendEvery)
	defer ticker.Stop()
	percent, own := 100, os.Getenv("GOGC") == ""
	last := readHeap().allocated
	mark, trimmed := last, false
	for looks := 1; ; looks++ {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		h := readHeap()
		p := collectAt(h.live, h.allocated-last)
		last = h.allocated
		if own && p != percent {
			percent = p
			debug.SetGCPercent(p)
		}
		if looks%idleLooks == 0 {
			idle := h.allocated-mark < idleBelow
			mark = h.allocated
			if idle && !trimmed {
				debug.FreeOSMemory()
			}
			trimmed = idle
		}
	}
}

// collectAt returns the garbage, in percent of the live heap, at which to
// collect: as much as is live, or spareHeap if that is more and so many bytes
// were allocated since the last look. It is rounded, so that it seldom
// changes: every change stops the world.
func collectAt(live, allocated uint64) (percent int) {
	const step = 25
	if allocated < busyAbove {
		return 100
	}
	return max(100, int(spareHeap*100/max(live, 1<<20))/step*step)
}

func readHeap() heap {
	samples := []metrics.Sample{{Name: "/gc/heap/live:bytes"}, {Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(samples)
	return heap{live: samples[0].Value.Uint64(), allocated: samples[1].Value.Uint64()}
}
