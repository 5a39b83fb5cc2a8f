package cli

import (
	"fmt"
	"math"
	"os"
	"runtime/debug"
	"strings"
)

// A memoryUse is what the garbage collector of a process may take: the heap
// grows by so many percent of what lives before it is collected; past a share
// of the memory it is collected as often as it takes to stay there.
type memoryUse struct {
	growth int
	share  int64
}

// For the gateway the heap grows to four times what lives, which saves about a
// tenth of the CPU time of a request (docs/performance.md).
var (
	memoryOfGateway   = memoryUse{growth: 300, share: 2}
	memoryOfAuthority = memoryUse{growth: 100, share: 4}
)

// useMemory sets the garbage collector of a server's process, unless the
// operator has said otherwise in GOGC or GOMEMLIMIT. Where the machine's memory
// is not known it changes nothing.
func (a *app) useMemory(u memoryUse) {
	total := memory()
	if total == 0 || a.Getenv("GOGC") != "" || a.Getenv("GOMEMLIMIT") != "" {
		return
	}
	debug.SetMemoryLimit(total / u.share)
	debug.SetGCPercent(u.growth)
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
