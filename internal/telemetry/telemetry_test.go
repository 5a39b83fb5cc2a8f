package telemetry

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestALineIsWrittenAsAskedFor(t *testing.T) {
	for name, c := range map[string]struct{ format, level, want string }{
		"text":            {"text", "info", "level=INFO msg=\"client denied\" rule=3\n"},
		"json":            {"json", "info", `"msg":"client denied","rule":3}` + "\n"},
		"below the level": {"text", "warn", ""},
	} {
		t.Run(name, func(t *testing.T) {
			format, err := ParseFormat(c.format)
			if err != nil || format.String() != c.format {
				t.Fatal(format, err)
			}
			level, err := ParseLevel(c.level)
			if err != nil {
				t.Fatal(err)
			}
			var b bytes.Buffer
			Logger(&b, format, level).Info("client denied", "rule", 3)
			if !strings.HasSuffix(b.String(), c.want) || c.want == "" && b.Len() > 0 {
				t.Fatalf("%q", b.String())
			}
		})
	}
}

func TestUnknownWordsAreRefused(t *testing.T) {
	if _, err := ParseFormat("xml"); err == nil || !strings.Contains(err.Error(), "text or json") {
		t.Error(err)
	}
	if _, err := ParseLevel("loud"); err == nil || !strings.Contains(err.Error(), "debug, info, warn or error") {
		t.Error(err)
	}
	for _, s := range []string{"debug", "info", "warn", "error"} {
		if l, err := ParseLevel(s); err != nil || strings.ToLower(l.String()) != s {
			t.Error(s, l, err)
		}
	}
}

func TestNoLineSteersATerminal(t *testing.T) {
	for name, f := range map[string]Format{"text": Text, "json": JSON} {
		t.Run(name, func(t *testing.T) {
			var b bytes.Buffer
			Logger(&b, f, slog.LevelInfo).Info("x", "path", "a\x1b[2J\u009b31m\u202eb\x7f\n", "who", "Jürgen ✓")
			line := strings.TrimSuffix(b.String(), "\n")
			if strings.ContainsAny(line, "\x1b\u009b\u202e\x7f\n") || !strings.Contains(line, "Jürgen ✓") {
				t.Fatalf("%q", line)
			}
			if f == JSON && !json.Valid(b.Bytes()) {
				t.Fatal("no JSON")
			}
		})
	}
}

func TestMetricsStayOnThisMachine(t *testing.T) {
	for name, c := range map[string]struct {
		addr     string
		anywhere bool
		ok       bool
	}{
		"IPv4 loopback":          {"127.0.0.1:0", false, true},
		"IPv6 loopback":          {"[::1]:0", false, true},
		"localhost":              {"localhost:0", false, true},
		"every address":          {":0", false, false},
		"every IPv4 address":     {"0.0.0.0:0", false, false},
		"every IPv6 address":     {"[::]:0", false, false},
		"a network's address":    {"192.0.2.1:0", false, false},
		"a name":                 {"metrics.example.com:0", false, false},
		"no port":                {"127.0.0.1", false, false},
		"every address, on wish": {":0", true, true},
	} {
		t.Run(name, func(t *testing.T) {
			ln, err := ListenMetrics(c.addr, c.anywhere)
			if (err == nil) != c.ok {
				t.Fatalf("ListenMetrics(%q, %v) = %v", c.addr, c.anywhere, err)
			}
			if err == nil {
				ln.Close()
			}
		})
	}
}

func TestMetricsAreServedUntilTheContextEnds(t *testing.T) {
	ln, err := ListenMetrics("127.0.0.1:0", false)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- ServeMetrics(ctx, ln, Metrics()) }()
	base := "http://" + ln.Addr().String()
	ask := func(path, host string) (int, string) {
		req, err := http.NewRequest("GET", base+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Host = host
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		body, _ := io.ReadAll(res.Body)
		return res.StatusCode, string(body)
	}
	if status, body := ask("/metrics", ""); status != 200 || !strings.Contains(body, "go_goroutines") || !strings.Contains(body, "process_") {
		t.Errorf("%d %.200s", status, body)
	}
	for host, want := range map[string]int{"localhost:9464": 200, "[::1]:9464": 200, "rebound.example.com": 421} {
		if status, _ := ask("/metrics", host); status != want {
			t.Errorf("Host %s: %d, want %d", host, status, want)
		}
	}
	if status, _ := ask("/", ""); status != 404 {
		t.Errorf("/: %d", status)
	}
	cancel()
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(5 * time.Second):
		t.Fatal("still serving")
	}
	if c, err := net.Dial("tcp", ln.Addr().String()); err == nil {
		c.Close()
		t.Error("still listening")
	}
}

func FuzzWhatParsesPrintsAsItWasWritten(f *testing.F) {
	f.Add("text")
	f.Add("JSON")
	f.Fuzz(func(t *testing.T, s string) {
		if format, err := ParseFormat(s); err == nil && format.String() != s {
			t.Fatalf("%q prints as %q", s, format)
		}
	})
}
