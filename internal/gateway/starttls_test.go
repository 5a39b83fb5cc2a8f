package gateway

import (
	"crypto/tls"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// The messages with which a client of PostgreSQL may begin.
const (
	askSSL     = "\x00\x00\x00\x08\x04\xd2\x16\x2f"
	askGSS     = "\x00\x00\x00\x08\x04\xd2\x16\x30"
	askCancel  = "\x00\x00\x00\x10\x04\xd2\x16\x2e\x00\x00\x00\x01\x00\x00\x00\x02"
	askInClear = "\x00\x00\x00\x29\x00\x03\x00\x00user\x00postgres\x00database\x00postgres\x00\x00"
)

// What is said before TLS is answered as PostgreSQL's server would, and no
// more than that.
func TestStartTLSOfPostgres(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	behind := behindTCP(t, echoBytes)
	site := Site{Host: "db.example.com", Tunnel: behind, List: allow(t, "ben"), StartTLS: StartTLSPostgres}
	h := w.open(Options{Limits: Limits{Hello: 2 * time.Second}}, site, Site{Host: "redis.example.com", Tunnel: behind, List: allow(t, "ben")}, Site{Host: "pw.example.com", Handler: whoami, List: allow(t, "ben")})
	ben := w.enrol("ben/laptop")
	for sentence, c := range map[string]struct {
		host, say, answer string
		carried           bool
		alert             string
	}{
		"a client that asks for TLS":            {host: "db.example.com", say: askSSL, answer: "S", carried: true},
		"one that would rather have Kerberos":   {host: "db.example.com", say: askGSS + askSSL, answer: "NS", carried: true},
		"one that begins with TLS":              {host: "db.example.com", carried: true},
		"another site without it":               {host: "redis.example.com", carried: true},
		"asking, and then for another site":     {host: "redis.example.com", say: askSSL, answer: "S", alert: "unrecognized name"},
		"asking, and then for one of HTTP":      {host: "pw.example.com", say: askSSL, answer: "S", alert: "unrecognized name"},
		"asking for Kerberos without end":       {say: askGSS + askGSS + askGSS, answer: "NN"},
		"cancelling a query in the clear":       {say: askCancel},
		"a session in the clear":                {say: askInClear, answer: "sslmode=require"},
		"nonsense that begins with a zero":      {say: "\x00\x00\x00\x09\x04\xd2\x16\x2fxxxxxxxx"},
		"half a question, and then silence":     {say: askSSL[:5]},
		"nothing at all":                        {},
		"a session in the clear after Kerberos": {say: askGSS + askInClear, answer: "sslmode=require"},
	} {
		t.Run(sentence, func(t *testing.T) {
			t.Parallel()
			raw, err := net.Dial("tcp", h.addr)
			must(t, err)
			defer raw.Close()
			raw.SetDeadline(time.Now().Add(20 * time.Second))
			io.WriteString(raw, c.say)
			if c.host == "" {
				got, _ := io.ReadAll(raw) // until the gateway ends it
				if !strings.Contains(string(got), c.answer) || c.answer == "" && len(got) > 0 {
					t.Fatalf("answered %q, want %q", got, c.answer)
				}
				return
			}
			got := make([]byte, len(c.answer))
			if _, err := io.ReadFull(raw, got); err != nil || string(got) != c.answer {
				t.Fatalf("answered %q, %v, want %q", got, err, c.answer)
			}
			conn := tls.Client(raw, rawTLS(w, ben, c.host))
			err = conn.Handshake()
			if c.alert != "" {
				if err == nil || !strings.Contains(err.Error(), c.alert) {
					t.Fatalf("got %v, want the alert %q", err, c.alert)
				}
				return
			}
			must(t, err)
			exchangeBytes(t, conn, "hello")
		})
	}
}

// Where no site wants it, nothing is said before TLS.
func TestWithoutStartTLSNothingIsSaidInTheClear(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	h := w.open(Options{}, Site{Host: "db.example.com", Tunnel: behindTCP(t, echoBytes), List: allow(t, "ben")})
	raw, err := net.Dial("tcp", h.addr)
	must(t, err)
	defer raw.Close()
	raw.SetDeadline(time.Now().Add(10 * time.Second))
	io.WriteString(raw, askSSL)
	if got, _ := io.ReadAll(raw); strings.HasPrefix(string(got), "S") {
		t.Fatalf("answered %q", got)
	}
}
