package attack

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// A state is what a server has used so far and what it holds now, the
// authority's process and the gateway's together.
type state struct {
	cpu      time.Duration
	resident int // bytes
	files    int // open descriptors; 0 where they cannot be counted
}

// state asks the system. A process that ends meanwhile is left out.
func (h *house) state(t testing.TB) (s state) {
	t.Helper()
	processes := family(t, h.cmd.Process.Pid)
	if len(processes) < 2 {
		t.Fatalf("the server has %d processes, and has to have one for the gateway", len(processes))
	}
	for pid, fields := range processes {
		for _, f := range fields[11:13] { // utime and stime, in hundredths of a second
			n, err := strconv.Atoi(f)
			must(t, err)
			s.cpu += time.Duration(n) * 10 * time.Millisecond
		}
		pages, err := strconv.Atoi(fields[21])
		must(t, err)
		s.resident += pages * os.Getpagesize()
		open, _ := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
		s.files += len(open)
	}
	return s
}

// family returns the processes that descend from one, itself included, each
// with the fields of its stat that follow its name (proc(5)).
func family(t testing.TB, of int) map[int][]string {
	t.Helper()
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	must(t, err)
	all := map[int][]string{}
	for _, path := range stats {
		stat, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		must(t, err)
		all[pid] = strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+2:]))
	}
	within := map[int][]string{of: all[of]}
	if within[of] == nil {
		t.Fatal("the server is gone")
	}
	for grown := true; grown; {
		grown = false
		for pid, fields := range all {
			parent, err := strconv.Atoi(fields[1])
			must(t, err)
			if within[pid] == nil && within[parent] != nil {
				within[pid], grown = fields, true
			}
		}
	}
	return within
}

// usage is the CPU time and the resident memory of state.
func (h *house) usage(t testing.TB) (cpu time.Duration, resident int) {
	t.Helper()
	s := h.state(t)
	return s.cpu, s.resident
}

// gauge returns the sum of a metric of the gateway over its labels; the house's
// configuration has %METRICS%.
func (h *house) gauge(t testing.TB, name string) int {
	t.Helper()
	resp, err := http.Get("http://" + h.metrics + "/metrics")
	must(t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	must(t, err)
	sum, found := 0.0, false
	for _, m := range regexp.MustCompile(`(?m)^`+name+`(?:\{.*\})? (\S+)$`).FindAllStringSubmatch(string(text), -1) {
		n, err := strconv.ParseFloat(m[1], 64)
		must(t, err)
		sum, found = sum+n, true
	}
	if !found {
		t.Fatalf("there is no metric %s", name)
	}
	return int(sum)
}

// calm is what a server at rest holds, before an attack.
type calm struct {
	state
	goroutines int
}

func (h *house) calm(t testing.TB) calm {
	t.Helper()
	http.DefaultClient.CloseIdleConnections()
	return calm{h.state(t), h.gauge(t, "go_goroutines")}
}

// isCalmAgain waits until a server holds no more connections, goroutines and
// descriptors than before, but for a few, and no more memory than room besides.
// What it used meanwhile it may give back slowly.
func (h *house) isCalmAgain(t testing.TB, before calm, room int) {
	t.Helper()
	var now calm
	for end := time.Now().Add(90 * time.Second); ; time.Sleep(250 * time.Millisecond) {
		now = h.calm(t)
		if now.goroutines <= before.goroutines+40 && now.files <= before.files+20 && now.resident <= before.resident+room && h.gauge(t, "postern_connections") <= 1 {
			break
		}
		if time.Now().After(end) {
			t.Errorf("it does not come to rest: %d connections", h.gauge(t, "postern_connections"))
			break
		}
	}
	t.Logf("goroutines %d, then %d; descriptors %d, then %d; memory %d MiB, then %d MiB", before.goroutines, now.goroutines, before.files, now.files, before.resident>>20, now.resident>>20)
}
