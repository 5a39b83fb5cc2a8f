package config

import (
	"strings"
	"testing"
	"time"
)

func TestRenewExpired(t *testing.T) {
	for word, want := range map[string]time.Duration{"14d": 14 * 24 * time.Hour, "0s": 0, "90d": maxRenewExpired} {
		c, _, err := Parse("postern.yaml", []byte("renew_expired: "+word+"\n"))
		if err != nil || c.RenewExpired != want {
			t.Errorf("%s: %v, %v", word, c.RenewExpired, err)
		}
	}
	for _, word := range []string{"91d", "-1h", "soon", "true"} {
		if _, _, err := Parse("postern.yaml", []byte("renew_expired: "+word+"\n")); err == nil {
			t.Errorf("%s is accepted", word)
		}
	}
	if c, _, err := Parse("postern.yaml", nil); err != nil || c.RenewExpired != 0 {
		t.Errorf("by default %v, %v", c.RenewExpired, err)
	}
}

// Access can be asked for only where there is a page that says so.
func TestAccessRequests(t *testing.T) {
	site := func(more string) string {
		return "sites:\n  a.example.com:\n    allow: [ben]\n    access_requests: true\n" + more
	}
	c, _, err := Parse("postern.yaml", []byte(site("    proxy: http://127.0.0.1:1\n")))
	if err != nil || !c.Sites[0].AccessRequests {
		t.Errorf("%v, %v", c.Sites, err)
	}
	for name, more := range map[string]string{
		"stealth": "    proxy: http://127.0.0.1:1\n    stealth: true\n", "tcp": "    tcp: 127.0.0.1:1\n", "off": "    proxy: http://127.0.0.1:1\n    mode: off\n",
	} {
		if _, _, err := Parse("postern.yaml", []byte(site(more))); err == nil || !strings.Contains(err.Error(), "access_requests") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
