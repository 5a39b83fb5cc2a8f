package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/letsencrypt/pebble/v2/ca"
	"github.com/letsencrypt/pebble/v2/db"
	"github.com/letsencrypt/pebble/v2/va"
	"github.com/letsencrypt/pebble/v2/wfe"
	"golang.org/x/crypto/ocsp"
	"golang.org/x/net/dns/dnsmessage"
)

// everythingHere is a name server that knows one address for every name.
func everythingHere(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go answerNames(c)
		}
	}()
	return ln.Addr().String()
}

// answerNames answers one connection's questions (RFC 1035 section 4.2.2).
func answerNames(c net.Conn) {
	defer c.Close()
	for {
		var length [2]byte
		if _, err := io.ReadFull(c, length[:]); err != nil {
			return
		}
		buf := make([]byte, binaryLength(length))
		var m dnsmessage.Message
		if _, err := io.ReadFull(c, buf); err != nil || m.Unpack(buf) != nil || len(m.Questions) != 1 {
			return
		}
		m.Response, m.Additionals = true, nil
		if q := m.Questions[0]; q.Type == dnsmessage.TypeA {
			m.Answers = []dnsmessage.Resource{{Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class, TTL: 1}, Body: &dnsmessage.AResource{A: [4]byte{127, 0, 0, 1}}}}
		}
		out, err := m.Pack()
		if err != nil {
			return
		}
		c.Write(append([]byte{byte(len(out) >> 8), byte(len(out))}, out...))
	}
}

func binaryLength(b [2]byte) int { return int(b[0])<<8 | int(b[1]) }

// pebble is the public authority: Let's Encrypt's own test server, which asks
// at the given ports. It returns its directory, a file with the roots that its
// address is verified by, and the roots of what it issues.
//
// What it issues names a responder, which answers.
func pebble(t *testing.T, httpPort, tlsPort int) (directory, roots string, issued *x509.CertPool) {
	t.Helper()
	t.Setenv("PEBBLE_VA_NOSLEEP", "1")
	t.Setenv("PEBBLE_WFE_NONCEREJECT", "0")
	silent := log.New(io.Discard, "", 0)
	memory := db.NewMemoryStore()
	var authority *ca.CAImpl
	responder := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { answerStatus(w, r, authority) }))
	t.Cleanup(responder.Close)
	authority = ca.New(silent, memory, responder.URL, "rsa", 0, 1, map[string]ca.Profile{"default": {ValidityPeriod: 90 * 24 * 3600}})
	front := wfe.New(silent, memory, va.New(silent, httpPort, tlsPort, false, everythingHere(t), memory), authority, nil, false, false, 0, 0)
	server := httptest.NewTLSServer(front.Handler())
	t.Cleanup(server.Close)
	roots = filepath.Join(t.TempDir(), "roots.pem")
	write(t, roots, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))
	issued = x509.NewCertPool()
	issued.AddCert(authority.GetRootCert(0).Cert)
	return server.URL + "/dir", roots, issued
}

// answerStatus says of every certificate that it is good (RFC 6960).
func answerStatus(w http.ResponseWriter, r *http.Request, by *ca.CAImpl) {
	body, err := io.ReadAll(io.LimitReader(r.Body, 1<<16))
	if r.Method == http.MethodGet {
		text, _ := url.PathUnescape(strings.TrimPrefix(r.URL.EscapedPath(), "/"))
		body, err = base64.StdEncoding.DecodeString(text)
	}
	q, err2 := ocsp.ParseRequest(body)
	if err != nil || err2 != nil {
		w.Write(ocsp.MalformedRequestErrorResponse)
		return
	}
	issuer := by.GetIntermediateCert(0).Cert
	der, err := ocsp.CreateResponse(issuer, issuer, ocsp.Response{Status: ocsp.Good, SerialNumber: q.SerialNumber, IssuerHash: q.HashAlgorithm,
		ThisUpdate: time.Now().Add(-time.Minute), NextUpdate: time.Now().Add(time.Hour)}, by.GetIntermediateKey(0))
	if err != nil {
		w.Write(ocsp.InternalErrorErrorResponse)
		return
	}
	w.Header().Set("Content-Type", "application/ocsp-response")
	w.Write(der)
}

// A site whose certificate is to be public gets one by itself, by the question
// that comes over TLS and by the one that comes in the clear, and shows it with the
// answer of the authority's responder; until then it shows our own, and devices are shown that for ever. A restart asks for
// nothing again.
func TestAPublicCertificate(t *testing.T) {
	for name, plain := range map[string]bool{"asked over TLS": false, "asked in the clear": true} {
		t.Run(name, func(t *testing.T) {
			d := configured(t, "")
			tlsPort, httpPort := mustPort(t, d), 1
			if plain {
				var err error
				if httpPort, err = freePort(); err != nil {
					t.Fatal(err)
				}
				tlsPort = 1 // nobody answers there
			}
			directory, roots, issued := pebble(t, httpPort, tlsPort)
			public := fmt.Sprintf("{listen: \"127.0.0.1:%d\"}", mustPort(t, d)+1)
			if plain {
				public = fmt.Sprintf("{listen: \"127.0.0.1:%d\", http: \"127.0.0.1:%d\"}", mustPort(t, d)+1, httpPort)
			}
			d.configure(fmt.Sprintf("public: %s\npublic_ca: {directory: %q, roots: %s, email: ops@example.com}\nsites:\n  pw.example.com: {static: %s, allow: [enrolled], certificate: public}\n",
				public, directory, roots, site(t, "hello")))
			d.open()
			shows := func() string {
				t.Helper()
				for end := time.Now().Add(90 * time.Second); ; time.Sleep(100 * time.Millisecond) {
					serial, err := d.seen(d.addr, "pw.example.com", issued, "h2", "http/1.1")
					if err == nil {
						return serial
					}
					if time.Now().After(end) {
						t.Fatalf("no public certificate: %v\n%s", err, d.output)
					}
				}
			}
			first := shows()
			if conn, err := tls.Dial("tcp", d.addr, &tls.Config{ServerName: "pw.example.com", RootCAs: issued}); err != nil {
				t.Error(err)
			} else if answer, err := ocsp.ParseResponse(conn.OCSPResponse(), nil); err != nil || answer.Status != ocsp.Good {
				t.Errorf("the certificate is shown without its responder's answer: %v", err)
			} else {
				conn.Close()
			}
			if _, err := d.seen(d.addr, "pw.example.com", d.tls("", "").RootCAs, "postern-root", "http/1.1"); err != nil {
				t.Errorf("a device is not shown our own: %v", err)
			}
			if !strings.Contains(d.output.String(), "public certificate obtained") {
				t.Errorf("nothing is said:\n%s", d.output)
			}
			me := d.tls(d.issue("ben/laptop"), "pw.example.com")
			me.RootCAs = issued
			if status, body, p := d.get(d.client(me), "pw.example.com"); status != 200 || !strings.Contains(body, "hello") {
				t.Errorf("%d %s %+v", status, body, p)
			}
			d.kill()
			d.open()
			if again := shows(); again != first {
				t.Errorf("a restart obtained another certificate")
			}
			if info, err := os.Stat(filepath.Join(d.data, "public")); err != nil || info.Mode().Perm() != 0o700 {
				t.Errorf("the folder with its keys: %v %v", info.Mode(), err)
			}
		})
	}
}
