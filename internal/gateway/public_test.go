package gateway

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/postern-project/postern/internal/refusal"
)

// The public side never asks for a certificate, on a port of its own and on
// the sites' port, and nothing of a site can be had there.
func TestThePublicSide(t *testing.T) {
	w := newWorld(t)
	secret := http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) { io.WriteString(rw, "secret") })
	public := http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		c, known := ClientOf(r)
		fmt.Fprintf(rw, "public %v %v", known, c.Name)
	})
	h := w.openConfig(Options{}, Config{Public: public, PublicHost: "join.example.com",
		Sites: []Site{{Host: "pw.example.com", Handler: secret, List: allow(t, "ben")}, {Host: "127.0.0.1", Handler: secret, List: allow(t, "ben")}}})
	ben := w.enrol("ben")
	for sentence, c := range map[string]struct {
		addr, sni, host string
		status          int
		asked           bool
	}{
		"on its own port by a site's name":   {h.public, "pw.example.com", "pw.example.com", 200, false},
		"on its own port by its own name":    {h.public, "join.example.com", "join.example.com:8444", 200, false},
		"on its own port by address":         {h.public, "", "127.0.0.1", 200, false},
		"on its own port, another host":      {h.public, "pw.example.com", "join.example.com", 421, false},
		"on the sites' port":                 {h.addr, "join.example.com", "join.example.com", 200, false},
		"on the sites' port, a site's host":  {h.addr, "join.example.com", "pw.example.com", 421, false},
		"a site's connection, public's host": {h.addr, "pw.example.com", "join.example.com", 421, true},
	} {
		for _, proto := range []string{"http/1.1", "h2"} {
			t.Run(sentence+" "+proto, func(t *testing.T) {
				asked := false
				config := plain(w.clientTLS(ben, c.sni))
				config.NextProtos = []string{proto}
				config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
					asked = true
					return &ben.Certificate, nil
				}
				hc := client(t, c.addr, config)
				if c.sni == "" {
					config.ServerName = "127.0.0.1" // an address is no server name, so none is sent
				}
				r, err := http.NewRequest("GET", "https://"+c.host+"/", nil)
				must(t, err)
				resp, err := hc.Do(r)
				must(t, err)
				body := read(t, resp)
				if resp.StatusCode != c.status || asked != c.asked || strings.Contains(body, "secret") {
					t.Errorf("got %s %s, asked for a certificate: %v", resp.Status, body, asked)
				}
				if c.status == 200 && body != "public false " {
					t.Errorf("got %s", body)
				}
			})
		}
	}
	unknown := plain(w.clientTLS(nil, "unknown.example.com"))
	if _, err := tls.Dial("tcp", h.public, unknown); err == nil || !strings.Contains(err.Error(), "unrecognized name") {
		t.Errorf("an unknown name on the public port: %v", err)
	}
}

// The end lets requests finish, closes what never would, and leaves nothing
// running.
func TestTheEnd(t *testing.T) {
	w := newWorld(t)
	s := newStage()
	release := make(chan struct{})
	h := w.open(Options{Limits: Limits{Grace: 1500 * time.Millisecond}}, Site{Host: "pw.example.com", List: allow(t, "ben"),
		Handler: http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/finish" {
				s.held <- struct{}{}
				<-release
				io.WriteString(rw, "finished")
				return
			}
			s.ServeHTTP(rw, r)
		})})
	ben := w.enrol("ben")
	var conns []net.Conn
	for _, connect := range livings {
		conns = append(conns, connect(h, s, w.clientTLS(ben, "pw.example.com")))
	}
	half, err := net.Dial("tcp", h.addr)
	must(t, err)
	conns = append(conns, half)
	finished := make(chan string, 1)
	go func() {
		resp, err := client(t, h.addr, w.clientTLS(ben, "pw.example.com")).Get("https://pw.example.com/finish")
		if err != nil {
			finished <- err.Error()
			return
		}
		body, _ := readAll(resp)
		finished <- body
	}()
	<-s.held
	time.AfterFunc(100*time.Millisecond, func() { close(release) })
	begun := time.Now()
	h.end()
	if took := time.Since(begun); took > 5*time.Second {
		t.Errorf("it took %v", took)
	}
	if got := <-finished; got != "finished" {
		t.Errorf("the request under way got %q", got)
	}
	for _, conn := range conns {
		expect(t, fmt.Sprintf("%T", conn), conn, false)
		conn.Close()
	}
	if _, err := net.Dial("tcp", h.addr); err == nil {
		t.Error("the port is still open")
	}
	eventually(t, "no goroutine of the gateway is left", func() bool { return len(leaked(h)) == 0 })
	if n := h.count("postern_connections"); n != 0 {
		t.Errorf("%v connections", n)
	}
}

// leaked returns the stacks of goroutines that serve h. Tests of other
// gateways do not run beside it.
func leaked(h *house) (stacks []string) {
	buf := make([]byte, 1<<20)
	for stack := range strings.SplitSeq(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
		serving := strings.Contains(stack, "gateway.(*listener)") || strings.Contains(stack, "gateway.(*Gateway)") || strings.Contains(stack, "http.(*conn).serve") || strings.Contains(stack, "http2serverConn")
		if serving && !strings.Contains(stack, "gateway.leaked") {
			stacks = append(stacks, stack)
		}
	}
	return stacks
}

// The journal holds what a visitor's reference points at.
func TestTheJournalHoldsTheReference(t *testing.T) {
	w := newWorld(t)
	j, err := OpenJournal(filepath.Join(t.TempDir(), "refusals"), JournalOptions{})
	must(t, err)
	defer j.Close()
	h := w.open(Options{Journal: j}, Site{Host: "pw.example.com", Handler: whoami, List: allow(t, "anna")})
	ben := w.enrol("ben/phone")
	_, body := h.get(ben, "pw.example.com", "/secret?token=1")
	reference := body[strings.Index(body, `"reference":"`)+13:][:9]
	ref, err := refusal.ParseReference(reference)
	must(t, err)
	got, ok, err := j.Find(ref)
	if err != nil || !ok {
		t.Fatalf("find %s: %v %v", reference, ok, err)
	}
	if got.Code != refusal.NotOnList || got.Site != "pw.example.com" || got.Path != "/secret" || got.Method != "GET" ||
		got.Client.Name != "ben/phone" || got.Client.Serial != ben.ref.Serial.String() || got.Client.IssuerKeyID != w.clients.id().String() ||
		!strings.HasPrefix(got.Address, "127.0.0.1:") || got.Host != "pw.example.com" {
		t.Errorf("kept %+v", got)
	}
}
