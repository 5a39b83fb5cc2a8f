package gateway

import (
	"net/http"
	"strings"
	"testing"

	"golang.org/x/net/http2/hpack"
)

// HTTP/2 has no request line, so that what would break one arrives unharmed:
// none of it may reach an upstream.
func TestNothingThatBreaksARequestLineIsForwarded(t *testing.T) {
	w := newWorld(t)
	reached := make(chan string, 1)
	h := w.open(Options{}, Site{Host: "a.example.com", List: allow(t, "ben"), Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		reached <- r.Method + " " + r.URL.String()
	})})
	config := w.clientTLS(w.enrol("ben"), "a.example.com")
	config.NextProtos = []string{"h2"}
	for sentence, c := range map[string]struct {
		method, path string
		refused      bool
	}{
		"a usual query":              {"GET", "/q?a=b&c=%20", false},
		"a method of one's own":      {"X-MINE", "/", false},
		"a query that ends the line": {"GET", "/q?a HTTP/1.0 x", true},
		"a query with raw bytes":     {"GET", "/q?\xff", true},

		"a query of half a letter":    {"GET", "/q?\xc3", true},
		"a tab in a query":            {"GET", "/q?a\tb", true},
		"delete in a query":           {"GET", "/q?\x7f", true},
		"a method of two words":       {"GE T", "/", true},
		"a method with a slash":       {"GET/", "/", true},
		"the absolute form":           {"GET", "https://a.example.com/x", true},
		"the absolute form of a file": {"GET", "file:///etc/passwd", true},
	} {
		t.Run(sentence, func(t *testing.T) {
			s := newH2(t, h.mustDial(config))
			var block strings.Builder
			enc := hpack.NewEncoder(&block)
			for _, f := range [][2]string{{":method", c.method}, {":scheme", "https"}, {":path", c.path}, {":authority", "a.example.com"}} {
				must(t, enc.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]}))
			}
			status := s.answer(s.send(block.String(), 5))
			select {
			case got := <-reached:
				if c.refused || got != c.method+" "+c.path {
					t.Errorf("%q was forwarded", got)
				}
			default:
				if !c.refused || status != "400" && status != "reset" {
					t.Errorf("got %s", status)
				}
			}
		})
	}
}
