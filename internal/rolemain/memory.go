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
// processors that the messages wait for; so it may gather this much first.
const spareHeap = 48 << 20

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
	percent, own := 0, os.Getenv("GOGC") == ""
	mark, trimmed := readHeap().allocated, false
	for looks := 1; ; looks++ {
		h := readHeap()
		if p := collectAt(h.live); own && p != percent {
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
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// collectAt returns the garbage, in percent of the live heap, at which to
// collect: as much as is live, or spareHeap if that is more. It is rounded, so
// that it seldom changes: every change stops the world.
func collectAt(live uint64) (percent int) {
	const step = 25
	live = max(live, 1<<20)
	return max(100, int(spareHeap*100/live)/step*step)
}

func readHeap() heap {
	samples := []metrics.Sample{{Name: "/gc/heap/live:bytes"}, {Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(samples)
	return heap{live: samples[0].Value.Uint64(), allocated: samples[1].Value.Uint64()}
}
