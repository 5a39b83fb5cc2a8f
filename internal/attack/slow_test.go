package attack

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// Who sends a byte now and then, or nothing at all, is let go from every kind
// of door and in every phase, as the running program has them; in the long form
// from many connections each, after which the server is as it was.
//
// Traefik CVE-2026-22045, -25949, -26999; Go CVE-2026-56853.
func TestSlowBytesAtEveryDoor(t *testing.T) {
	t.Parallel()
	h := ownHouse(t, "")
	h.app = theHouse(t).app
	h.write(t, h.fill(`%LISTEN%%METRICS%
sites:
  ben.attack.test: {proxy: "%APP%", allow: [ben]}
  open.attack.test: {proxy: "%APP%", allow: [strangers]}
  hidden.attack.test: {proxy: "%APP%", allow: [ben], stealth: true}
  tcp.attack.test: {tcp: "%APPADDR%", allow: [ben], starttls: postgres}
forward_auth: {socket: "`+filepath.Join(h.home, "auth.sock")+`"}
`))
	text, err := os.ReadFile(h.config)
	must(t, err)
	must(t, os.WriteFile(h.config, []byte(strings.ReplaceAll(string(text), "%APPADDR%", h.app.Addr().String())), 0o600))
	h.mustOpen(t)
	before := h.calm(t)
	dial := func(network, addr string) func() (net.Conn, error) {
		return func() (net.Conn, error) { return net.Dial(network, addr) }
	}
	tcp := func(addr string) func() (net.Conn, error) { return dial("tcp", addr) }
	unix := func(path string) func() (net.Conn, error) { return dial("unix", path) }
	inTLS := func(addr, host string, protocols ...string) func() (net.Conn, error) {
		return func() (net.Conn, error) {
			c := h.tls(nil, host)
			c.InsecureSkipVerify, c.NextProtos = true, protocols
			return tls.Dial("tcp", addr, c)
		}
	}
	const head, body = "GET / HTTP/1.1\r\nHost: open.attack.test\r\nX-Slow: ", "POST / HTTP/1.1\r\nHost: open.attack.test\r\nContent-Length: 1000\r\n\r\n"
	hello := "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"
	var all sync.WaitGroup
	for sentence, c := range map[string]struct {
		dial    func() (net.Conn, error)
		first   string // sent at once; a byte a second follows, unless it is quiet
		quiet   bool
		patient bool // has half a minute or a whole one
	}{
		"sites, nothing":               {dial: tcp(h.addr), quiet: true},
		"sites, a ClientHello":         {dial: tcp(h.addr), first: hello},
		"sites, a record of no end":    {dial: tcp(h.addr), first: "\x16"},
		"sites, PostgreSQL's question": {dial: tcp(h.addr), first: "\x00\x00\x00\x08\x04"},
		"sites, and no TLS after it":   {dial: tcp(h.addr), first: "\x00\x00\x00\x08\x04\xd2\x16\x2f", quiet: true},
		"sites, a hello and no more": {quiet: true, patient: true, dial: func() (net.Conn, error) {
			raw, err := net.Dial("tcp", h.addr)
			if err == nil {
				raw.SetReadDeadline(time.Now().Add(time.Second))
				tls.Client(&mute{Conn: raw}, h.tls(nil, "open.attack.test")).Handshake()
			}
			return raw, err
		}},
		"sites, a body that stops":        {dial: inTLS(h.addr, "open.attack.test"), first: body + "begun", quiet: true, patient: true},
		"sites, a head of HTTP/2":         {dial: inTLS(h.addr, "open.attack.test", "h2"), first: "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x10\x00\x01\x04\x00\x00\x00\x01"},
		"sites, no request":               {dial: inTLS(h.addr, "open.attack.test"), quiet: true},
		"sites, a header":                 {dial: inTLS(h.addr, "open.attack.test"), first: head},
		"sites, no request over HTTP/2":   {dial: inTLS(h.addr, "open.attack.test", "h2"), quiet: true},
		"sites, a preface of HTTP/2":      {dial: inTLS(h.addr, "open.attack.test", "h2"), first: "PRI * HTTP/2.0\r\n"},
		"public side, nothing":            {dial: tcp(h.public), quiet: true},
		"public side, a ClientHello":      {dial: tcp(h.public), first: hello},
		"public side, a header":           {dial: inTLS(h.public, "open.attack.test"), first: head},
		"public side, a body":             {dial: inTLS(h.public, "open.attack.test"), first: strings.Replace(body, "POST /", "POST /join", 1)},
		"plain HTTP, nothing":             {dial: tcp(h.plain), quiet: true},
		"plain HTTP, a header":            {dial: tcp(h.plain), first: head},
		"plain HTTP, a body":              {dial: tcp(h.plain), first: body},
		"plain HTTP, an OCSP request":     {dial: tcp(h.plain), first: strings.Replace(body, "POST /", "POST /ocsp", 1)},
		"the command socket, nothing":     {dial: unix(filepath.Join(h.data, "postern.sock")), quiet: true},
		"the command socket, a header":    {dial: unix(filepath.Join(h.data, "postern.sock")), first: head},
		"the command socket, a body":      {dial: unix(filepath.Join(h.data, "postern.sock")), first: strings.Replace(body, "POST /", "POST /v1/issue", 1), patient: true},
		"forward auth, nothing":           {dial: unix(filepath.Join(h.home, "auth.sock")), quiet: true},
		"forward auth, a header":          {dial: unix(filepath.Join(h.home, "auth.sock")), first: head},
		"forward auth, a body for nobody": {dial: unix(filepath.Join(h.home, "auth.sock")), first: strings.Replace(body, "POST /", "POST /verify", 1), patient: true},
	} {
		if c.patient && !long {
			continue
		}
		slow := func() {
			conn, err := c.dial()
			if err != nil {
				t.Errorf("%s: %v", sentence, err)
				return
			}
			defer conn.Close()
			began := time.Now()
			io.WriteString(conn, c.first)
			if !c.quiet {
				go func() {
					for tick := time.NewTicker(time.Second); ; <-tick.C {
						if _, err := conn.Write([]byte("x")); err != nil {
							tick.Stop()
							return
						}
					}
				}()
			}
			conn.SetReadDeadline(began.Add(either(45*time.Second, 80*time.Second)))
			if _, err := io.Copy(io.Discard, conn); errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("%s: it still has its connection", sentence)
			}
		}
		for range either(1, 32) { // at once: t.Run would do two at a time
			all.Go(slow)
		}
	}
	all.Wait()
	h.isCalmAgain(t, before, 150<<20)
}
