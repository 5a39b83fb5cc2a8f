package cli

import (
	"fmt"
	"math"
	"os"
	"runtime/debug"
	"strings"
)

// What the garbage collector may take: the heap grows to four times what
// lives before it is collected, which saves about a tenth of the CPU time of a
// request (docs/performance.md); past half of the memory it is collected as
// often as it takes to stay there.
const (
	heapGrowth  = 300 // percent
	memoryShare = 2
)

// useMemory sets the garbage collector for a server, unless the operator has
// said otherwise in GOGC or GOMEMLIMIT. Where the machine's memory is not
// known it changes nothing.
func (a *app) useMemory() {
	total := memory()
	if total == 0 || a.Getenv("GOGC") != "" || a.Getenv("GOMEMLIMIT") != "" {
		return
	}
	debug.SetMemoryLimit(total / memoryShare)
	debug.SetGCPercent(heapGrowth)
}

// memory returns the bytes of memory that this process may use: the machine's,
// or its control group's where that is less; 0 if neither is known.
func memory() int64 {
	least := int64(math.MaxInt64)
	if data, err := os.ReadFile("/proc/meminfo"); err == nil {
		var kib int64
		if _, err := fmt.Sscanf(string(data), "MemTotal: %d kB", &kib); err == nil {
			least = kib << 10
		}
	}
	if data, err := os.ReadFile("/sys/fs/cgroup/memory.max"); err == nil {
		var max int64
		if _, err := fmt.Sscan(strings.TrimSpace(string(data)), &max); err == nil && max > 0 {
			least = min(least, max)
		}
	}
	if least == math.MaxInt64 {
		return 0
	}
	return least
}
