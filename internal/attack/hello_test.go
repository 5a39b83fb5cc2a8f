package attack

import (
	"bufio"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// A ClientHello that arrives in pieces, of TCP or of TLS, is the same one: the
// site's own rules hold, and a stranger gets no weaker ones.
//
// Traefik CVE-2026-32305.
func TestDividedHellos(t *testing.T) {
	t.Parallel()
	h := theHouse(t)
	ben := h.identity(t, "ben/laptop")
	for sentence, wrap := range map[string]func(net.Conn) net.Conn{
		"one byte a segment":                    func(c net.Conn) net.Conn { return &divided{Conn: c, segment: 1} },
		"one byte a record":                     func(c net.Conn) net.Conn { return &divided{Conn: c, record: 1, segment: 1 << 20} },
		"seven bytes a record, three a segment": func(c net.Conn) net.Conn { return &divided{Conn: c, record: 7, segment: 3} },
	} {
		t.Run(sentence, func(t *testing.T) {
			t.Parallel()
			for who, want := range map[*tls.Certificate]string{ben: "200", nil: "no-certificate"} {
				raw, err := net.Dial("tcp", h.addr)
				must(t, err)
				raw.(*net.TCPConn).SetNoDelay(true)
				d := wrap(raw).(*divided)
				c := h.tls(who, "ben.attack.test")
				c.CurvePreferences = []tls.CurveID{tls.X25519MLKEM768, tls.X25519}
				for i := range 60 { // past any single packet
					c.NextProtos = append(c.NextProtos, fmt.Sprintf("filler-%d", i))
				}
				conn, err := shake(t, d, c)
				if err != nil {
					t.Fatalf("handshake: %v", err)
				}
				if d.hello < 1500 {
					t.Errorf("the ClientHello has %d bytes only", d.hello)
				}
				if got := speak(conn, bufio.NewReader(conn), "GET / HTTP/1.1\r\nHost: ben.attack.test\r\n\r\n"); got.String() != want {
					t.Errorf("%s, want %s", got, want)
				}
			}
			raw, err := net.Dial("tcp", h.addr)
			must(t, err)
			if conn, err := shake(t, wrap(raw), h.tls(nil, "hidden.attack.test")); err == nil {
				if got := speak(conn, bufio.NewReader(conn), "GET / HTTP/1.1\r\nHost: hidden.attack.test\r\n\r\n"); got.err == nil {
					t.Errorf("a stealthy site answers a stranger: %s", got)
				}
			}
		})
	}
}

// A divided connection sends the ClientHello in small records and segments.
type divided struct {
	net.Conn
	record, segment int
	hello           int
}

func (d *divided) Write(b []byte) (int, error) {
	if d.hello > 0 || len(b) < 5 || b[0] != 22 {
		return d.Conn.Write(b)
	}
	d.hello = len(b)
	out := b
	if d.record > 0 {
		out = nil
		for body := b[5:]; len(body) > 0; {
			n := min(d.record, len(body))
			out = append(out, 22, b[1], b[2])
			out = binary.BigEndian.AppendUint16(out, uint16(n))
			out = append(out, body[:n]...)
			body = body[n:]
		}
	}
	for len(out) > 0 {
		n := min(d.segment, len(out))
		if _, err := d.Conn.Write(out[:n]); err != nil {
			return 0, err
		}
		out = out[n:]
	}
	return len(b), nil
}

// A ticket is worth what its holder would get by a full handshake, at the site
// that gave it and nowhere else, and never anything once something changed.
//
// nginx CVE-2025-23419, CVE-2014-3616; Apache CVE-2025-23048; Go CVE-2025-68121,
// CVE-2014-7189; Envoy CVE-2022-21654; Traefik GHSA-gv8r-9rw9-9697; Caddy's
// verifiers of v2.11.3 that ran on full handshakes only.
func TestResumption(t *testing.T) {
	t.Parallel()
	config := `%LISTEN%
sites:
  open.attack.test: {proxy: "%APP%", allow: [strangers]}
  ben.attack.test: {proxy: "%APP%", allow: [ben]}
  anna.attack.test: {proxy: "%APP%", allow: [anna]}
  all.attack.test: {proxy: "%APP%", allow: [enrolled]}
  hidden.attack.test: {proxy: "%APP%", allow: [ben], stealth: true}
  tcp.attack.test: {tcp: "%TCP%", allow: [ben]}
  old.attack.test: {proxy: "%APP%", allow: [ben], tls_min: "1.2"}
  partner.attack.test:
    proxy: "%APP%"
    allow: [foreign:acme]
    trust: {acme: {ca: "%HOME%/acme.pem", members: [{dns: api.acme.test}]}}
  off.attack.test: {proxy: "%APP%", allow: [strangers], mode: "off"}
`
	h := reloadable(t, config)
	ben, member := h.identity(t, "ben/laptop"), h.partner.sign(t, dnsDevice("api.acme.test"))
	hosts := []string{"open", "ben", "anna", "all", "hidden", "old", "partner", "off", "tcp"}
	// what Ben gets at each site by a full handshake is what he gets with any ticket
	full := map[string]string{}
	for _, at := range hosts {
		full[at] = h.get(t, ben, at+".attack.test", "/").String()
	}
	for want, at := range map[string]string{"not-on-list": "anna", "200": "ben", "unknown-issuer": "partner"} {
		if at != "partner" && full[at] != want {
			t.Fatalf("%s: %s", at, full[at])
		}
	}
	for _, version := range []uint16{tls.VersionTLS13, tls.VersionTLS12} {
		for _, from := range hosts {
			if version == tls.VersionTLS12 && from != "old" {
				continue
			}
			for _, to := range hosts {
				v := h.holder(t, ben, from, version)
				got, resumed := v.visit(t, to)
				if got != full[to] && version == tls.VersionTLS13 {
					t.Errorf("a ticket of %s at %s: %s, want %s", from, to, got, full[to])
				}
				if resumed && from != to {
					t.Errorf("a ticket of %s was accepted at %s", from, to)
				}
				// the same without the certificate: a ticket of the site holds it, another one
				// makes nobody known
				v = h.holder(t, ben, from, version)
				v.config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return new(tls.Certificate), nil }
				if got, resumed := v.visit(t, to); got == "200" && full[to] == "200" && !resumed && to != "open" && to != "off" {
					t.Errorf("a ticket of %s let a stranger in at %s by a full handshake", from, to)
				}
			}
		}
	}
	// a stranger's ticket makes nobody of anybody
	v := h.holder(t, nil, "open", tls.VersionTLS13)
	if got, resumed := v.visit(t, "ben"); got != "no-certificate" || resumed {
		t.Errorf("a stranger's ticket at Ben's: %s", got)
	}
	resumes := 0
	for _, at := range []string{"ben", "all", "hidden", "old"} {
		if got, resumed := h.holder(t, ben, at, tls.VersionTLS13).visit(t, at); resumed && got == "200" {
			resumes++
		}
	}
	if resumes == 0 {
		t.Error("nothing resumes, so nothing of this was tried")
	}
	// what changes between the ticket and its use
	change := func(sentence, at, want string, who *tls.Certificate, do func()) {
		t.Helper()
		v := h.holder(t, who, at, tls.VersionTLS13)
		do()
		until(t, sentence+" takes effect", func() bool { return h.get(t, who, at+".attack.test", "/").String() == want })
		if got, _ := v.visit(t, at); got != want {
			t.Errorf("%s: with a ticket %s, want %s", sentence, got, want)
		}
	}
	instead := func(old, new string) func() {
		return func() { h.write(t, h.fill(strings.Replace(config, old, new, 1))) }
	}
	const allowBen, trust = `ben.attack.test: {proxy: "%APP%", allow: [ben]}`, `    trust: {acme: {ca: "%HOME%/acme.pem", members: [{dns: api.acme.test}]}}`
	change("a rule without him", "ben", "not-on-list", ben, instead(allowBen, strings.Replace(allowBen, "[ben]", "[anna]", 1)))
	change("a rule with him again", "ben", "200", ben, instead("", ""))
	other, err := newAuthority("acme root", nil)
	must(t, err)
	must(t, os.WriteFile(filepath.Join(h.home, "other.pem"), other.pem(), 0o600))
	change("another authority in the partner's place", "partner", "unknown-issuer", member, instead(trust, strings.Replace(trust, "acme.pem", "other.pem", 1)))
	change("the partner's own again", "partner", "200", member, instead("", ""))
	change("no authority but ours", "partner", "unknown-issuer", member, instead("    allow: [foreign:acme]\n"+trust, "    allow: [ben]"))
	change("suspended", "all", "suspended", ben, func() { h.run(t, "suspend", "ben") })
	change("stealthy and suspended", "hidden", "closed", ben, func() {})
	change("reinstated", "all", "200", ben, func() { h.run(t, "reinstate", "ben") })
	change("revoked", "all", "revoked", ben, func() { h.run(t, "revoke", "ben") })
	change("stealthy and revoked", "hidden", "closed", ben, func() {})
}

// A client that is asked for another key share, which makes it begin anew, gets
// with a ticket what it would get without, in both versions of TLS.
//
// Mbed TLS CVE-2026-34873.
func TestTicketsAndRetries(t *testing.T) {
	t.Parallel()
	h := theHouse(t)
	h.identity(t, "ben/laptop")
	dir := filepath.Join(h.home, "identities", "ben-laptop")
	s := func(host, want string, args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "openssl", append([]string{"s_client", "-connect", h.addr, "-servername", host + ".attack.test", "-ign_eof"}, args...)...)
		cmd.Stdin = strings.NewReader("GET / HTTP/1.1\r\nHost: " + host + ".attack.test\r\nAccept: application/problem+json\r\nConnection: close\r\n\r\n")
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(out), want) {
			t.Errorf("openssl at %s with %q: %v, want %q in\n%s", host, args, err, want, out)
		}
		return string(out)
	}
	retry := []string{"-groups", "X448:P-256"} // the first one is not spoken here
	certificate := []string{"-cert", filepath.Join(dir, "cert.pem"), "-key", filepath.Join(dir, "key.pem"), "-cert_chain", filepath.Join(dir, "cert.pem")}
	for version, own := range map[string]string{"-tls1_3": "ben", "-tls1_2": "old"} {
		session := filepath.Join(t.TempDir(), "session")
		s(own, "X-Postern-Identity: ben/laptop", append(certificate, version, "-sess_out", session)...)
		for at, want := range map[string]string{own: "X-Postern-Identity: ben/laptop", "anna": "not-on-list", "open": "HTTP/1.1 200"} {
			if version == "-tls1_2" && at != own {
				continue // where it is not spoken
			}
			args := slices.Concat(certificate, retry, []string{version, "-sess_in", session})
			if out := s(at, want, args...); strings.Contains(out, "Reused, ") != (at == own) {
				t.Errorf("a session of %s at %s: %s", own, at, out)
			}
		}
		// without the certificate, and without the version that the session is of
		args := append(retry, "-sess_in", session)
		if out := s("anna", "no-certificate", args...); strings.Contains(out, "Reused, ") {
			t.Errorf("a session of %s was resumed at Anna's", own)
		}
	}
}

// A visit is somebody with the tickets of one earlier connection.
type visit struct {
	h      *house
	config *tls.Config
}

// holder visits a site once and keeps what tickets it got.
func (h *house) holder(t testing.TB, who *tls.Certificate, at string, version uint16) *visit {
	t.Helper()
	v := &visit{h, h.tls(who, at+".attack.test")}
	v.config.ClientSessionCache, v.config.MaxVersion = &oneTicket{}, version
	v.config.InsecureSkipVerify = true // or crypto/tls shows no ticket of another host's
	v.visit(t, at)
	return v
}

// visit asks for the front page of a site with whatever tickets are there.
func (v *visit) visit(t testing.TB, at string) (string, bool) {
	t.Helper()
	v.config.ServerName = at + ".attack.test"
	conn, err := v.h.dial(t, v.config)
	if err != nil {
		return "closed", false
	}
	defer conn.Close()
	got := speak(conn, bufio.NewReader(conn), "GET / HTTP/1.1\r\nHost: "+at+".attack.test\r\n\r\n")
	return got.String(), conn.ConnectionState().DidResume
}

// oneTicket keeps the first ticket and shows it everywhere.
type oneTicket struct{ s *tls.ClientSessionState }

func (o *oneTicket) Get(string) (*tls.ClientSessionState, bool) { return o.s, o.s != nil }
func (o *oneTicket) Put(_ string, s *tls.ClientSessionState) {
	if o.s == nil {
		o.s = s
	}
}
