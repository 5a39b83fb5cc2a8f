package gateway

import (
	"crypto/tls"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// A visitor who asks to be asked once more has exactly one handshake refused,
// with the alert that makes a browser forget, and only without a certificate.
func TestAgainRefusesOneHandshake(t *testing.T) {
	w := newWorld(t)
	h := w.open(Options{}, Site{Host: "s.example.com", List: allow(t, "ben"), Handler: whoami})
	ben := w.enrol("ben")
	if status := postAgain(t, h, nil, ""); status != http.StatusNoContent {
		t.Fatalf("status %d", status)
	}
	if _, text := h.get(ben, "s.example.com", "/"); !strings.HasSuffix(text, "hello ben") {
		t.Errorf("somebody with a certificate got %q", text)
	}
	c, err := h.dial(w.clientTLS(nil, "s.example.com"))
	if err == nil {
		c.SetDeadline(time.Now().Add(10 * time.Second))
		_, err = c.Read(make([]byte, 1))
	}
	if err == nil || !strings.Contains(err.Error(), "certificate required") {
		t.Errorf("the handshake that was to be refused: %v", err)
	}
	eventually(t, "a handshake that is not refused", func() bool {
		response, err := client(t, h.addr, w.clientTLS(nil, "s.example.com")).Get("https://s.example.com/")
		return err == nil && strings.Contains(read(t, response), "no-certificate")
	})
}

// The refusal waits until the client has asked for something over the
// connection, which in TLS 1.3 it does before it can know of a refusal.
func TestAgainRefusesAfterTheRequest(t *testing.T) {
	w := newWorld(t)
	h := w.open(Options{}, Site{Host: "s.example.com", List: allow(t, "ben"), Handler: whoami})
	if status := postAgain(t, h, nil, ""); status != http.StatusNoContent {
		t.Fatalf("status %d", status)
	}
	c, err := h.dial(w.clientTLS(nil, "s.example.com"))
	must(t, err)
	defer c.Close()
	began := time.Now()
	for range 3 {
		time.Sleep(againQuiet / 2)
		if _, err := c.Write([]byte("GET / HTTP/1.1\r\n")); err != nil {
			t.Fatal(err)
		}
	}
	spoke := time.Now()
	c.SetDeadline(spoke.Add(10 * time.Second))
	_, err = c.Read(make([]byte, 1))
	if err == nil || !strings.Contains(err.Error(), "certificate required") {
		t.Errorf("refused with %v", err)
	}
	if time.Since(spoke) < againQuiet/2 || time.Since(began) > againDelay+5*time.Second {
		t.Errorf("refused after %v, %v after the last word", time.Since(began), time.Since(spoke))
	}
}

func TestAgainHasLimits(t *testing.T) {
	w := newWorld(t)
	h := w.open(Options{}, Site{Host: "s.example.com", List: allow(t, "ben"), Handler: whoami},
		Site{Host: "hidden.example.com", Stealth: true, List: allow(t, "ben"), Handler: whoami})
	ben := w.enrol("ben")
	if status := postAgain(t, h, ben, ""); status != http.StatusTooManyRequests {
		t.Errorf("somebody with a certificate: status %d", status)
	}
	if status := postAgain(t, h, nil, "https://evil.example"); status == http.StatusNoContent {
		t.Error("another origin's page armed it")
	}
	if status := postAgain(t, h, nil, ""); status != http.StatusNoContent {
		t.Errorf("the first time: status %d", status)
	}
	var a again
	now, at := time.Now(), &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 4711}
	if !a.arm(at, "s", now) || a.arm(at, "s", now.Add(time.Second)) || !a.arm(at, "other", now) {
		t.Error("an address may ask once in two seconds for each host")
	}
	if !a.armed(at, "s", now.Add(time.Second)) || a.armed(at, "s", now.Add(time.Minute)) {
		t.Error("a refusal is owed for three seconds")
	}
	a.spend(at, "s")
	if a.armed(at, "s", now) || !a.armed(at, "other", now) {
		t.Error("a refusal is given once")
	}
}

// postAgain asks for a refusal and returns the status.
func postAgain(t *testing.T, h *house, d *device, origin string) int {
	t.Helper()
	r, err := http.NewRequest(http.MethodPost, "https://s.example.com/.postern/again", nil)
	if err != nil {
		t.Fatal(err)
	}
	if origin != "" {
		r.Header.Set("Origin", origin)
	}
	response, err := client(t, h.addr, h.w.clientTLS(d, "s.example.com")).Do(r)
	if err != nil {
		if origin == "" {
			t.Log(err) // the handshake itself was refused
		}
		return 0
	}
	response.Body.Close()
	return response.StatusCode
}

// A site that never asks has no request for a certificate in its handshake,
// lets in strangers where its list does, and offers nothing that cannot work.
func TestASiteThatNeverAsks(t *testing.T) {
	w := newWorld(t)
	h := w.open(Options{}, Site{Host: "s.example.com", NeverAsks: true, List: allow(t, "strangers"), Handler: whoami},
		Site{Host: "shut.example.com", NeverAsks: true, List: allow(t, "ben"), Handler: whoami})
	ben := w.enrol("ben")
	for _, host := range []string{"s.example.com", "shut.example.com"} {
		config := w.clientTLS(ben, host)
		asked, get := false, config.GetClientCertificate
		config.GetClientCertificate = func(i *tls.CertificateRequestInfo) (*tls.Certificate, error) { asked = true; return get(i) }
		r, err := http.NewRequest(http.MethodGet, "https://"+host+"/", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Accept", "text/html")
		response, err := client(t, h.addr, config).Do(r)
		if err != nil {
			t.Fatal(err)
		}
		text := read(t, response)
		if asked {
			t.Errorf("%s asks for a certificate", host)
		}
		if open := strings.HasSuffix(text, "hello "); open != (host == "s.example.com") {
			t.Errorf("%s answers %q", host, text)
		}
		if strings.Contains(text, `id="again"`) {
			t.Errorf("%s offers to ask again", host)
		}
	}
}
