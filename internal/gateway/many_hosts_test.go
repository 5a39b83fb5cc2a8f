package gateway

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

// A host is found, in any case of its letters, however many there are, and its
// own list counts (Caddy CVE-2026-27588: past a hundred hosts case mattered).
func TestTenThousandHosts(t *testing.T) {
	w := newWorld(t)
	ben := w.enrol("ben/phone")
	for _, n := range []int{1, 100, 101, 10_000} {
		sites := make([]Site, n)
		for i := range sites {
			sites[i] = Site{Host: fmt.Sprintf("Host-%d.example.com", i), Handler: whoami, List: allow(t, "anna")}
		}
		sites[n/2].List = allow(t, "ben")
		h := w.open(Options{}, sites...)
		for _, i := range []int{0, n / 2, n - 1, rand.IntN(n)} {
			name := []byte(fmt.Sprintf("host-%d.example.com", i))
			for j := range name {
				if rand.IntN(2) == 0 {
					name[j] = strings.ToUpper(string(name[j]))[0]
				}
			}
			c := w.clientTLS(ben, string(name))
			c.InsecureSkipVerify = true
			_, body := raw(t, h.mustDial(c), "GET / HTTP/1.1\r\nHost: "+string(name)+"\r\nConnection: close\r\n\r\n")
			if let := strings.Contains(body, "hello ben/phone"); let != (i == n/2) {
				t.Errorf("%s of %d: %s", name, n, body)
			}
		}
		h.stop()
	}
}
