// Package telemetry sets up what Postern says about itself: log lines, and
// metrics that a Prometheus on the same machine collects.
package telemetry

import (
	"fmt"
	"io"
	"log/slog"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// A Format is how log lines are written. The zero Format is Text.
type Format struct{ json bool }

// The formats: lines of key=value for people, one JSON object a line for
// programs.
var (
	Text = Format{}
	JSON = Format{json: true}
)

// ParseFormat returns the format written as s, "text" or "json".
func ParseFormat(s string) (Format, error) {
	switch s {
	case "text":
		return Text, nil
	case "json":
		return JSON, nil
	}
	return Format{}, fmt.Errorf("log format %q is unknown: write text or json", s)
}

// String returns the format as ParseFormat reads it.
func (f Format) String() string {
	if f.json {
		return "json"
	}
	return "text"
}

// ParseLevel returns the level written as s: "debug", "info", "warn" or
// "error".
func ParseLevel(s string) (slog.Level, error) {
	switch s {
	case "debug":
		return slog.LevelDebug, nil
	case "info":
		return slog.LevelInfo, nil
	case "warn":
		return slog.LevelWarn, nil
	case "error":
		return slog.LevelError, nil
	}
	return 0, fmt.Errorf("log level %q is unknown: write debug, info, warn or error", s)
}

// Logger returns a logger that writes lines of at least the given level to w,
// each by one call of Write. It is safe for concurrent use.
func Logger(w io.Writer, f Format, level slog.Leveler) *slog.Logger {
	o := &slog.HandlerOptions{Level: level, ReplaceAttr: printable}
	if f.json {
		return slog.New(slog.NewJSONHandler(w, o))
	}
	return slog.New(slog.NewTextHandler(w, o))
}

// printable keeps what clients sent from moving the cursor of a terminal that
// shows the log: neither handler escapes C1 control characters everywhere.
func printable(_ []string, a slog.Attr) slog.Attr {
	if a.Value.Kind() != slog.KindString {
		return a
	}
	s := a.Value.String()
	if strings.IndexFunc(s, steers) < 0 {
		return a
	}
	return slog.String(a.Key, strings.Map(func(r rune) rune {
		if steers(r) {
			return '\uFFFD'
		}
		return r
	}, s))
}

// steers reports whether r makes a terminal do something else than show a
// character, beyond what the handlers escape themselves: delete, C1 and the
// marks that turn the direction of writing.
func steers(r rune) bool {
	switch {
	case r < 0x7f:
		return false
	case r < 0xa0, 0x200e <= r && r <= 0x200f, 0x202a <= r && r <= 0x202e, 0x2066 <= r && r <= 0x2069:
		return true
	}
	return false
}

// Metrics returns a registry that already describes the process and the Go
// runtime.
func Metrics() *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return r
}
