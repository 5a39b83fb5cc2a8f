package gateway

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/postern-project/postern/internal/refusal"
)

// A stealthy site refuses in the handshake with an alert, and tells the operator
// why in our words. Not a byte of HTTP is answered.
func TestStealth(t *testing.T) {
	w := newWorld(t)
	var log lines
	reached := false
	h := w.open(Options{Log: log.logger()}, Site{Host: "s.example.com", Stealth: true, List: allow(t, "ben", "enrolled"), MinVersion: tls.VersionTLS12,
		Handler: http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { reached = true; whoami(rw, r) })},
		Site{Host: "few.example.com", Stealth: true, List: allow(t, "anna"), MinVersion: tls.VersionTLS12, Handler: whoami})
	expired := clientTemplate("ben")
	expired.NotBefore, expired.NotAfter = ago(time.Hour), ago(time.Minute)
	server := clientTemplate("ben")
	server.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	revoked := w.enrol("ben/old")
	w.revoke(revoked)
	for sentence, c := range map[string]struct {
		device     *device
		host       string
		alert      string // of TLS 1.3
		code       refusal.Code
		handshakes string
	}{
		"somebody on the list":        {device: w.enrol("ben")},
		"nobody":                      {alert: "certificate required", code: refusal.NoCertificate},
		"another authority":           {device: w.mint(newIssuer(t, "other", nil), clientTemplate("ben")), alert: "bad certificate", code: refusal.UnknownIssuer},
		"an expired certificate":      {device: w.record(w.mint(w.clients, expired), "ben"), alert: "bad certificate", code: refusal.Expired},
		"a server's certificate":      {device: w.mint(w.servers, server), alert: "bad certificate", code: refusal.WrongPurpose},
		"a revoked certificate":       {device: revoked, alert: "bad certificate", code: refusal.Revoked},
		"somebody not on the list":    {device: w.enrol("carla"), host: "few.example.com", alert: "bad certificate", code: refusal.NotOnList},
		"a forger, who gets no alert": {device: w.mint(w.clients, clientTemplate("ben")), alert: "EOF", code: refusal.NotInLedger},
	} {
		if c.host == "" {
			c.host = "s.example.com"
		}
		for _, version := range []uint16{tls.VersionTLS13, tls.VersionTLS12} {
			t.Run(fmt.Sprintf("%s, %s", sentence, tls.VersionName(version)), func(t *testing.T) {
				reached = false
				before, alarms := h.count("postern_refusals_total", "code", string(c.code)), h.count("postern_alarms_total")
				config := w.clientTLS(c.device, c.host)
				config.MaxVersion = version
				conn, err := h.dial(config)
				var got []byte
				if err == nil {
					conn.SetDeadline(time.Now().Add(3 * time.Second))
					fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", c.host)
					got, err = io.ReadAll(conn)
				}
				if c.code == "" {
					if err != nil || !bytes.HasSuffix(got, []byte("hello ben")) {
						t.Fatalf("got %q, %v", got, err)
					}
					return
				}
				if len(got) > 0 || reached {
					t.Errorf("answered %q, the handler was reached: %v", got, reached)
				}
				if version == tls.VersionTLS13 && c.alert != "EOF" && (err == nil || !strings.Contains(err.Error(), c.alert)) {
					t.Errorf("got %v, want the alert %q", err, c.alert)
				}
				eventually(t, "the refusal is counted", func() bool {
					return h.count("postern_refusals_total", "code", string(c.code)) > before
				})
				alarm := h.count("postern_alarms_total") > alarms
				eventually(t, "a line in the log", func() bool { return strings.Contains(log.String(), "code="+string(c.code)) })
				if alarm != refusal.Lookup(c.code).Alarm || alarm != strings.Contains(log.String(), "level=ERROR msg=\"handshake refused\"") && alarm {
					t.Errorf("alarm: %v", alarm)
				}
			})
		}
	}
}

// A client that goes on sending after the alert reads the alert all the same:
// the connection is drained and not reset.
func TestARefusedHandshakeIsDrained(t *testing.T) {
	w := newWorld(t)
	h := w.open(Options{}, Site{Host: "s.example.com", Stealth: true, List: allow(t, "ben"), Handler: whoami})
	for range 10 {
		conn := h.mustDial(w.clientTLS(nil, "s.example.com"))
		conn.SetDeadline(time.Now().Add(3 * time.Second))
		time.Sleep(10 * time.Millisecond) // the alert is on its way or here
		if _, err := conn.Write(make([]byte, 10_000)); err != nil {
			t.Fatalf("write: %v", err)
		}
		time.Sleep(10 * time.Millisecond)
		if _, err := conn.Read(make([]byte, 1)); err == nil || !strings.Contains(err.Error(), "certificate required") {
			t.Fatalf("got %v", err)
		}
	}
	// Who never closes is let go after a moment.
	h = w.open(Options{Limits: Limits{Drain: 50 * time.Millisecond}}, Site{Host: "s.example.com", Stealth: true, List: allow(t, "ben"), Handler: whoami})
	tcp, err := net.Dial("tcp", h.addr)
	must(t, err)
	conn := tls.Client(tcp, w.clientTLS(nil, "s.example.com"))
	must(t, conn.Handshake())
	expect(t, "the connection", tcp, false)
}

// A client is told which issuers' certificates are welcome: those that issue
// for clients, and the root.
func TestCertificateRequestNamesOurIssuers(t *testing.T) {
	w := newWorld(t)
	h := w.open(Options{}, Site{Host: "a.example.com", Handler: whoami, List: allow(t, "enrolled")},
		Site{Host: "s.example.com", Handler: whoami, List: allow(t, "enrolled"), Stealth: true})
	ben := w.enrol("ben")
	for _, want := range [][]*issuer{{w.root, w.clients}, {w.root, w.clients, addIssuer(t, w, "clients-2")}} {
		for _, host := range []string{"a.example.com", "s.example.com"} {
			var got [][]byte
			c := w.clientTLS(ben, host)
			c.GetClientCertificate = func(r *tls.CertificateRequestInfo) (*tls.Certificate, error) {
				got = r.AcceptableCAs
				return &ben.Certificate, nil
			}
			h.mustDial(c)
			for _, i := range want {
				found := false
				for _, dn := range got {
					found = found || bytes.Equal(dn, i.cert.RawSubject)
				}
				if !found {
					t.Errorf("%s: %s is not named", host, i.cert.Subject)
				}
			}
			for _, dn := range got {
				if bytes.Equal(dn, w.servers.cert.RawSubject) {
					t.Errorf("%s: the servers' issuer is named", host)
				}
			}
		}
	}
}

// TLS 1.2 is served only where the site says so.
func TestOldTLS(t *testing.T) {
	w := newWorld(t)
	h := w.open(Options{}, Site{Host: "new.example.com", Handler: whoami, List: allow(t, "ben")},
		Site{Host: "old.example.com", Handler: whoami, List: allow(t, "ben"), MinVersion: tls.VersionTLS12})
	for host, ok := range map[string]bool{"new.example.com": false, "old.example.com": true} {
		for version, served := range map[uint16]bool{tls.VersionTLS13: true, tls.VersionTLS12: ok, tls.VersionTLS11: false} {
			c := w.clientTLS(w.enrol("ben"), host)
			c.MinVersion, c.MaxVersion = tls.VersionTLS10, version
			if _, err := h.dial(c); (err == nil) != served {
				t.Errorf("%s by %s: %v", host, tls.VersionName(version), err)
			}
		}
	}
}

// Raising a site's oldest TLS cuts the connections that are older.
func TestOldTLSIsCut(t *testing.T) {
	w := newWorld(t)
	site := Site{Host: "pw.example.com", Handler: whoami, List: allow(t, "ben"), MinVersion: tls.VersionTLS12}
	h := w.open(Options{}, site)
	config := w.clientTLS(w.enrol("ben"), site.Host)
	young := h.mustDial(config)
	askFor(t, young, site.Host, "/")
	config.MaxVersion = tls.VersionTLS12
	old := h.mustDial(config)
	askFor(t, old, site.Host, "/")
	site.MinVersion = 0
	must(t, h.Configure(Config{Sites: []Site{site}}))
	expect(t, "TLS 1.2", old, false)
	expect(t, "TLS 1.3", young, true)
}
