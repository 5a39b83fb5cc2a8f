package attack

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/postern-project/postern/internal/apptoken"
	"github.com/postern-project/postern/internal/invite"
)

const enrolSites = `%LISTEN%
sites:
  ben.attack.test: {proxy: "%APP%", allow: [ben]}
`

// publicSide returns a client that reaches the public side of a house.
func (h *house) publicSide(t testing.TB) *http.Client {
	transport := &http.Transport{
		TLSClientConfig:     &tls.Config{RootCAs: h.roots, ServerName: "ben.attack.test"},
		MaxIdleConnsPerHost: 32,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "tcp", h.public)
		},
	}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: time.Minute}
}

// request is what a device sends to use a code.
func request(t testing.TB, code string, key *ecdsa.PrivateKey) []byte {
	t.Helper()
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	must(t, err)
	body, err := json.Marshal(invite.Request{Code: code, CSR: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}))})
	must(t, err)
	return body
}

func post(t testing.TB, c *http.Client, path string, body io.Reader, header ...string) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://ben.attack.test"+path, body)
	must(t, err)
	req.Header.Set("Content-Type", "application/json")
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := c.Do(req)
	if err != nil {
		return answer{err: err}
	}
	return answerOf(resp)
}

// codeOf returns the code that stands in an invitation's link.
func codeOf(t testing.TB, link string) string {
	t.Helper()
	l, err := invite.ParseLink(link)
	must(t, err)
	return l.Code.String()
}

// An invitation is good once, for one key, and only to somebody who has it.
//
// LXD CVE-2025-54286 (ambient credentials, cross-site); link previews that
// spend what they open; codes that can be guessed, replayed or raced.
func TestInvitations(t *testing.T) {
	t.Parallel()
	h := ownHouse(t, "")
	h.app = theHouse(t).app
	h.write(t, h.fill(enrolSites))
	h.mustOpen(t)
	c := h.publicSide(t)
	certificates := func() int { return strings.Count(h.run(t, "list", "certificates", "--json"), `"serial"`) }

	// a messenger's preview opens the link, as browsers and bots do
	link := h.invitation(t, "anna/phone")
	code := codeOf(t, link)
	for _, method := range []string{"GET", "HEAD", "OPTIONS", "PUT", "PATCH", "DELETE"} {
		for _, path := range []string{"/join", "/join?code=" + code, "/join/" + code, "/join/report", "/join/root.crt"} {
			req, err := http.NewRequestWithContext(t.Context(), method, "https://ben.attack.test"+path, strings.NewReader(""))
			must(t, err)
			req.Header.Set("User-Agent", "WhatsApp/2.23.20.0 facebookexternalhit/1.1")
			resp, err := c.Do(req)
			must(t, err)
			if a := answerOf(resp); strings.Contains(a.body, "BEGIN CERTIFICATE") {
				t.Errorf("%s %s gave a certificate", method, path)
			}
		}
	}

	// other sites' pages, whatever kind of request a page can send
	key := newKey(t)
	for sentence, header := range map[string][]string{
		"by fetch":          {"Sec-Fetch-Site", "cross-site", "Origin", "https://evil.test"},
		"by a form":         {"Sec-Fetch-Site", "cross-site", "Origin", "https://evil.test", "Content-Type", "text/plain"},
		"without a site":    {"Origin", "https://evil.test"},
		"from a sibling":    {"Sec-Fetch-Site", "same-site", "Origin", "https://evil.attack.test"},
		"from nowhere":      {"Origin", "null"},
		"from another port": {"Origin", "https://ben.attack.test:1"},
	} {
		if got := post(t, c, "/join", bytes.NewReader(request(t, code, key)), header...); got.status != 403 {
			t.Errorf("%s: %s", sentence, got)
		}
	}

	// the code still works, once: a hundred keys at once get one certificate
	before := certificates()
	var won atomic.Int32
	var all sync.WaitGroup
	for range either(15, 100) {
		body := request(t, code, newKey(t))
		all.Go(func() {
			if got := post(t, c, "/join", bytes.NewReader(body)); got.status == 200 {
				won.Add(1)
			}
		})
	}
	all.Wait()
	if won.Load() != 1 || certificates() != before+1 {
		t.Errorf("%d of those who raced got a certificate, and %d were issued", won.Load(), certificates()-before)
	}
	if got := post(t, c, "/join", bytes.NewReader(request(t, code, newKey(t)))); got.code != "spent" && got.code != "rate-limited" {
		t.Errorf("a replay: %s", got)
	}
	// and what was cancelled with its name is worth nothing
	cancelled := codeOf(t, h.invitation(t, "carl/phone"))
	h.run(t, "revoke", "carl")
	if got := post(t, c, "/join", bytes.NewReader(request(t, cancelled, key))); got.status < 400 {
		t.Errorf("a cancelled invitation: %s", got)
	}
}

// Ten thousand wrong codes issue nothing, and fill neither the log nor the
// ledger.
func TestGuessing(t *testing.T) {
	t.Parallel()
	h := ownHouse(t, "")
	h.app = theHouse(t).app
	h.write(t, h.fill(enrolSites))
	h.mustOpen(t)
	c := h.publicSide(t)
	good := codeOf(t, h.invitation(t, "anna/phone"))
	head, key := h.run(t, "ledger", "head", "--json"), newKey(t)
	body := request(t, good, key)
	kinds := map[string]int{}
	var mu sync.Mutex
	var all sync.WaitGroup
	const workers = 8
	for w := range workers {
		all.Go(func() {
			for i := range either(1000, 10_000) / workers {
				guess := invite.New().String() // one that nobody gave out
				if i%4 == 0 {                  // or the good one with a letter changed
					b := []byte(good)
					at := (i + w) % len(b)
					b[at] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"[(strings.IndexByte("0123456789ABCDEFGHJKMNPQRSTVWXYZ", b[at])+1+32)%32]
					guess = string(b)
				}
				got := post(t, c, "/join", bytes.NewReader(bytes.Replace(body, []byte(good), []byte(guess), 1)))
				mu.Lock()
				kinds[got.String()]++
				mu.Unlock()
			}
		})
	}
	all.Wait()
	if kinds["200"] > 0 || kinds["closed"] > 0 || kinds["rate-limited"] == 0 {
		t.Errorf("guessing came to %v", kinds)
	}
	if now := h.run(t, "ledger", "head", "--json"); now != head {
		t.Error("guesses were written into the ledger")
	}
	if n := strings.Count(h.output.String(), "\n"); n > 400 {
		t.Errorf("guesses wrote %d lines into the log", n)
	}
	if strings.Contains(h.output.String(), good) {
		t.Error("a code is in the log")
	}
}

// Ten thousand wrong tokens let nobody in and fill no log, and whoever has a
// right one comes in meanwhile: a token has 130 random bits, and nobody is shut
// out for what a neighbour guesses.
func TestGuessingTokens(t *testing.T) {
	t.Parallel()
	h := ownHouse(t, "")
	h.app = theHouse(t).app
	h.write(t, h.fill("%LISTEN%\nsites:\n  music.attack.test: {proxy: \"%APP%\", allow: [ben], app_tokens: [header, path]}\n"))
	h.mustOpen(t)
	const host = "music.attack.test"
	good := h.token(t, "ben/app", host)
	ask := func(token string) string {
		return h.ask(t, h.tls(nil, host), "GET / HTTP/1.1\r\nHost: "+host+"\r\nX-Postern-App-Token: "+token+"\r\n\r\n").String()
	}
	head := h.run(t, "ledger", "head", "--json")
	kinds := map[string]int{}
	var mu sync.Mutex
	var all sync.WaitGroup
	const workers = 8
	for w := range workers {
		all.Go(func() {
			for i := range either(400, 10_000) / workers {
				guess := apptoken.New().String() // one that nobody gave out
				switch i % 4 {
				case 0: // or the good one with a letter changed
					b := []byte(good)
					at := len(apptoken.Prefix) + (i+w)%(len(b)-len(apptoken.Prefix))
					b[at] = "abcdefghijklmnopqrstuvwxyz234567"[(strings.IndexByte("abcdefghijklmnopqrstuvwxyz234567", b[at])+1)%32]
					guess = string(b)
				case 1: // or a part of it
					guess = good[:len(good)-1-i%20]
				}
				got := ask(guess)
				mu.Lock()
				kinds[got]++
				mu.Unlock()
				if i%10 == 0 {
					if got := ask(good); got != "200" {
						t.Errorf("the right one, meanwhile: %s", got)
					}
				}
			}
		})
	}
	all.Wait()
	if len(kinds) != 1 || kinds["bad-token"] == 0 {
		t.Errorf("guessing came to %v", kinds)
	}
	if now := h.run(t, "ledger", "head", "--json"); now != head {
		t.Error("guesses were written into the ledger")
	}
	if n := strings.Count(h.output.String(), "bad-token"); n > 100 {
		t.Errorf("guesses wrote %d lines into the log", n)
	}
	if strings.Contains(h.output.String(), good[len(apptoken.Prefix):]) {
		t.Error("a token is in the log")
	}
}

// What is too large or comes too slowly is turned away, and holds nobody else
// up.
func TestBodiesAtTheEnrolment(t *testing.T) {
	t.Parallel()
	h := theHouse(t)
	c := h.publicSide(t)
	c.Transport.(*http.Transport).TLSClientConfig.ServerName = "open.attack.test"
	for sentence, body := range map[string]io.Reader{
		"a megabyte":          strings.NewReader(strings.Repeat("a", 1<<20)),
		"a megabyte of JSON":  strings.NewReader(`{"code":"` + strings.Repeat("a", 1<<20) + `"}`),
		"a million brackets":  strings.NewReader(strings.Repeat("[", 1<<20)),
		"two values":          strings.NewReader(`{"code":"a"}{"code":"b"}`),
		"a request of PEM":    strings.NewReader(`{"code":"AAAA","csr":"` + strings.Repeat("-----BEGIN CERTIFICATE REQUEST-----\\nAAAA\\n", 200) + `"}`),
		"without end, chunks": io.LimitReader(zeros{}, 1<<28),
		"nothing":             strings.NewReader(""),
		"no JSON":             strings.NewReader("code=a&csr=b"),
		"a list":              strings.NewReader("[]"),
		"null":                strings.NewReader("null"),
	} {
		began := time.Now()
		got := post(t, c, "/join", body)
		if got.err == nil && got.status < 400 || time.Since(began) > 30*time.Second {
			t.Errorf("%s: %s after %v", sentence, got, time.Since(began))
		}
	}
	// a body of one byte a second is given up after ten
	raw, err := net.Dial("tcp", h.public)
	must(t, err)
	conn, err := shake(t, raw, &tls.Config{RootCAs: h.roots, ServerName: "open.attack.test"})
	must(t, err)
	fmt.Fprintf(conn, "POST /join HTTP/1.1\r\nHost: open.attack.test\r\nContent-Type: application/json\r\nContent-Length: 10000\r\n\r\n{")
	began := time.Now()
	go func() {
		for range 60 {
			time.Sleep(time.Second)
			if _, err := conn.Write([]byte(" ")); err != nil {
				return
			}
		}
	}()
	io.Copy(io.Discard, conn)
	if took := time.Since(began); took > 40*time.Second {
		t.Errorf("a slow body held its connection for %v", took)
	}
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

// The socket for commands is for the owner of the folder and root: it is no way
// in for a page, for another user, for who puts a link in its place.
//
// Caddy CVE-2026-27589.
func TestTheLocalSocket(t *testing.T) {
	t.Parallel()
	h := ownHouse(t, "")
	h.app = theHouse(t).app
	h.write(t, h.fill(enrolSites))
	socket := filepath.Join(h.data, "postern.sock")
	// what lies there is another's file, or leads to one
	victim := filepath.Join(h.home, "victim")
	must(t, os.WriteFile(victim, []byte("precious"), 0o644))
	must(t, os.Symlink(victim, socket))
	h.mustOpen(t)
	if text, err := os.ReadFile(victim); err != nil || string(text) != "precious" {
		t.Errorf("the link's target is %q now, %v", text, err)
	}
	if info, err := os.Stat(victim); err != nil || info.Mode().Perm() != 0o644 {
		t.Errorf("the link's target has the mode %v, %v", info.Mode(), err)
	}
	info, err := os.Lstat(socket)
	must(t, err)
	if info.Mode()&os.ModeSymlink == 0 && info.Mode().Perm() != 0o600 {
		t.Errorf("the socket has the mode %v", info.Mode())
	}
	target := socket
	if to, err := os.Readlink(socket); err == nil {
		target = to
	}
	c := &http.Client{Timeout: time.Minute, Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", target)
	}}}
	ask := func(host string, header ...string) int {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+host+"/v1/issue", strings.NewReader(`{}`))
		must(t, err)
		for i := 0; i < len(header); i += 2 {
			req.Header.Set(header[i], header[i+1])
		}
		resp, err := c.Do(req)
		must(t, err)
		return answerOf(resp).status
	}
	secret, err := os.ReadFile(filepath.Join(h.data, "postern.secret"))
	must(t, err)
	if got := ask("postern", "Authorization", "Bearer "+string(secret)); got != 400 { // reached, and it asks for nothing
		t.Errorf("its owner: %d", got)
	}
	// who runs as the owner and cannot read the folder, as the gateway
	for _, header := range []string{"", "Bearer ", "Bearer " + strings.ToLower(string(secret)), string(secret)} {
		if got := ask("postern", "Authorization", header); got != 403 {
			t.Errorf("without the secret (%q): %d", header, got)
		}
	}
	// another user, when this one may become one
	if os.Getuid() == 0 {
		must(t, os.Chmod(h.home, 0o755))
		must(t, os.Chmod(h.data, 0o755))
		must(t, os.Chmod(target, 0o666))
		for dir := filepath.Dir(h.home); dir != "/" && dir != os.TempDir(); dir = filepath.Dir(dir) {
			must(t, os.Chmod(dir, 0o755))
		}
		program, err := shared.program()
		must(t, err)
		for sentence, mode := range map[string]os.FileMode{"who cannot read the secret": 0o600, "who has the secret from elsewhere": 0o644} {
			must(t, os.Chmod(filepath.Join(h.data, "postern.secret"), mode))
			out := asNobody(t, program, "issue", "anna/phone", "--out", "/tmp/never", "--data", h.data)
			if !strings.Contains(out, "another user") {
				t.Errorf("another user, %s: %s", sentence, out)
			}
			if strings.Contains(h.run(t, "list", "certificates"), "anna/phone") {
				t.Errorf("another user, %s, has certified Anna's phone", sentence)
			}
		}
	}
	// a stale socket: whoever is killed leaves one, and the next start takes its place
	h.kill()
	h.mustOpen(t)
}
