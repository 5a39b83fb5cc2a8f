package gateway

import (
	"net/http"
	"testing"
	"time"
)

// Who comes with a certificate that ends soon is told when, and where to renew
// it; nobody else is.
func TestWhoseCertificateEndsSoonIsTold(t *testing.T) {
	w := newWorld(t)
	h := w.open(Options{Renew: whoami}, Site{Host: "pw.example.com", Handler: whoami, List: allow(t, "ben", "strangers")})
	for sentence, c := range map[string]struct {
		life, left time.Duration
		told       bool
	}{
		"a year, and all of it left":    {365 * 24 * time.Hour, 364 * 24 * time.Hour, false},
		"a year, and a month left":      {365 * 24 * time.Hour, 29 * 24 * time.Hour, true},
		"a day, and most of it left":    {24 * time.Hour, 20 * time.Hour, false},
		"a day, and the last third":     {24 * time.Hour, 5 * time.Hour, true},
		"two months, and a third of it": {60 * 24 * time.Hour, 21 * 24 * time.Hour, false},
	} {
		template := clientTemplate("ben")
		template.NotAfter = time.Now().Add(c.left)
		template.NotBefore = template.NotAfter.Add(-c.life)
		d := w.record(w.mint(w.clients, template), "ben")
		resp, _ := h.get(d, "pw.example.com", "/")
		ends, err := time.Parse(time.RFC3339, resp.Header.Get("Postern-Certificate-Ends"))
		if told := err == nil && ends.Equal(d.Leaf.NotAfter); told != c.told || c.told != (resp.Header.Get("Postern-Renew") == "/.postern/renew") {
			t.Errorf("%s: %s, %v", sentence, resp.Status, resp.Header)
		}
	}
	if resp, _ := h.get(nil, "pw.example.com", "/"); resp.StatusCode != http.StatusOK || resp.Header.Get("Postern-Certificate-Ends") != "" {
		t.Errorf("a stranger: %s %v", resp.Status, resp.Header)
	}
}
