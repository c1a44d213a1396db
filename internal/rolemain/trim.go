package rolemain

import (
	"context"
	"runtime"
	"runtime/debug"
	"time"
)

// How often trim looks, and how many bytes a process that counts as idle
// allocates in that time.
const (
	trimEvery = 15 * time.Second
	idleBelow = 8 << 20
)

// trim gives memory back to the system once the process has become idle: a
// burst, such as the log-ins after a restart, leaves a heap that the collector
// would not look at for minutes. It runs until ctx ends.
func trim(ctx context.Context) {
	ticker := time.NewTicker(trimEvery)
	defer ticker.Stop()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	last, trimmed := stats.TotalAlloc, false
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		runtime.ReadMemStats(&stats)
		idle := stats.TotalAlloc-last < idleBelow
		last = stats.TotalAlloc
		if idle && !trimmed {
			debug.FreeOSMemory()
		}
		trimmed = idle
	}
}
