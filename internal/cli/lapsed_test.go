package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
)

// at runs a command at another time, in an environment of its own.
func at(ctx context.Context, now func() time.Time, args ...string) (string, int) {
	var out shared
	code := Main(ctx, Env{
		Args: args, Stdin: strings.NewReader(""), Stdout: &out, Stderr: &out, Now: now, Getenv: func(string) string { return "" },
	})
	return out.b.String(), code
}

// A shared buffer takes what both parts of a server say, at the same time.
type shared struct {
	mu sync.Mutex // guards b
	b  bytes.Buffer
}

func (s *shared) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

// later is a clock that is ahead.
func later(d time.Duration) func() time.Time {
	return func() time.Time { return time.Now().Add(d) }
}

// served runs a server at a time until the function that it returns is called.
func served(t *testing.T, now func() time.Time, port int) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancelCause(t.Context())
	var running sync.WaitGroup
	running.Go(func() {
		if out, code := at(ctx, now, "up", "--listen", fmt.Sprint("127.0.0.1:", port)); code != exitDone {
			t.Errorf("the server ended with %d: %s", code, out)
		}
	})
	stop = sync.OnceFunc(func() { cancel(fmt.Errorf("%w: the test", context.Canceled)); running.Wait() })
	t.Cleanup(stop)
	if out, code := at(t.Context(), now, "status", "--wait", "30s"); code != exitDone {
		t.Fatal(out)
	}
	return stop
}

// A machine that slept through the end of its certificate renews itself for as
// long as the operator says, and not after that.
func TestAMachineThatSleptRenewsItself(t *testing.T) {
	inFolder(t, true)
	if err := os.Mkdir("site", 0o755); err != nil {
		t.Fatal(err)
	}
	const file = "renew_expired: %s\nsites: {localhost: {static: site, allow: [enrolled]}}\n"
	configure := func(grace string) {
		if err := os.WriteFile("postern.yaml", fmt.Appendf(nil, file, grace), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	configure("30d")
	port := pairOfPorts(t)
	stop := served(t, time.Now, port)
	for _, name := range []string{"ben/laptop", "ben/tablet"} {
		if out, code := at(t.Context(), time.Now, "issue", name, "--out", name); code != exitDone {
			t.Fatal(out)
		}
	}
	stop()
	const year = 365 * 24 * time.Hour
	stop = served(t, later(year+20*24*time.Hour), port)
	out, code := at(t.Context(), later(year+20*24*time.Hour), "renew", "ben/laptop")
	if code != exitDone || !strings.Contains(out, "ben/laptop") {
		t.Errorf("exit code %d: %s", code, out)
	}
	stop()
	stop = served(t, later(year+40*24*time.Hour), port)
	out, code = at(t.Context(), later(year+40*24*time.Hour), "renew", "ben/tablet")
	if code != exitFailed || !strings.Contains(out, "cannot renew itself any more") || !strings.Contains(out, "new invitation") {
		t.Errorf("exit code %d: %s", code, out)
	}
	stop()
	configure("0s")
	served(t, later(year+20*24*time.Hour), port)
	if out, code := at(t.Context(), later(year+20*24*time.Hour), "renew", "ben/tablet"); code != exitFailed {
		t.Errorf("exit code %d: %s", code, out)
	}
}

// pairOfPorts returns a port that is free together with the next one.
func pairOfPorts(t *testing.T) int {
	t.Helper()
	for range 100 {
		one, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		port := one.Addr().(*net.TCPAddr).Port
		two, err := net.Listen("tcp", fmt.Sprint("127.0.0.1:", port+1))
		one.Close()
		if err == nil {
			two.Close()
			return port
		}
	}
	t.Fatal(errors.New("no two ports are free"))
	return 0
}
