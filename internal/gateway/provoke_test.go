package gateway

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/postern-project/postern/internal/chain"
	"github.com/postern-project/postern/internal/ledger"
	"github.com/postern-project/postern/internal/partner"
	"github.com/postern-project/postern/internal/refusal"
	"github.com/postern-project/postern/internal/rule"
	"github.com/postern-project/postern/internal/upstream"
)

// A scene is a gateway with something of every kind behind it, and Ben, who
// may open all of it.
type scene struct {
	*testing.T
	*house
	ben     *device
	journal *Journal
	log     *lines
}

func newScene(t *testing.T) *scene {
	w, log := newWorld(t), new(lines)
	j, err := OpenJournal(filepath.Join(t.TempDir(), "refusals.jsonl"), JournalOptions{})
	must(t, err)
	t.Cleanup(func() { j.Close() })
	mute, err := net.Listen("tcp", "127.0.0.1:0") // accepts, and never answers
	must(t, err)
	t.Cleanup(func() { mute.Close() })
	app := func(spec string) http.Handler {
		g, err := upstream.NewGroup([]string{spec}, upstream.GroupOptions{MaxBody: 1000,
			Options: upstream.Options{DialTimeout: time.Second, ResponseHeaderTimeout: 300 * time.Millisecond}})
		must(t, err)
		t.Cleanup(g.Close)
		return g.Handler(Refuse)
	}
	ben := allow(t, "ben")
	site := func(host string, h http.Handler) Site {
		return Site{Host: host + ".example.com", Handler: h, List: ben}
	}
	night := site("night", whoami)
	night.Policy = when(t, `request.method == "NEVER"`)
	cors := site("cors", whoami)
	cors.CORS = &CORS{Origins: []string{"https://friend.example.com"}}
	rare := site("rare", whoami)
	rare.Limits = []Limit{{Per: PerIdentity, Count: 1, Interval: time.Hour}}
	music := site("music", whoami)
	music.AppTokens = AppTokens{Header: true}
	tcp := site("tcp", nil)
	tcp.Tunnel = behindTCP(t, echoBytes)
	s := &scene{T: t, journal: j, log: log}
	s.house = w.open(Options{Journal: j, Log: slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})), Limits: Limits{Stall: 300 * time.Millisecond}},
		site("pw", whoami), music, night, cors, rare, tcp, site("empty", nil), site("down", app("http://127.0.0.1:1")), site("mute", app("http://"+mute.Addr().String())))
	s.ben = w.enrol("ben")
	return s
}

// ask asks for a page at a site and lets the answer be.
func (s *scene) ask(d *device, host, path string) { s.get(d, host+".example.com", path) }

// shake makes a handshake that need not succeed.
func (s *scene) shake(c *tls.Config) {
	if conn, err := s.dial(c); err == nil {
		conn.SetDeadline(time.Now().Add(3 * time.Second))
		fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: %s\r\n\r\n", c.ServerName)
		io.ReadAll(conn)
	}
}

// say sends text on a connection of Ben's and reads until it ends.
func (s *scene) say(host, text string) {
	conn := s.mustDial(s.w.clientTLS(s.ben, host+".example.com"))
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	io.WriteString(conn, text)
	io.ReadAll(conn)
}

// as asks at a site as whoever holds a certificate that was made as template
// says.
func (s *scene) as(by *issuer, change func(*x509.Certificate)) *device {
	template := clientTemplate("ben")
	change(template)
	return s.w.mint(by, template)
}

// provocations has for every code what makes a real client meet it. A new code
// in internal/refusal needs a row here.
var provocations = map[refusal.Code]func(*scene){
	refusal.UnknownHost:     func(s *scene) { s.shake(s.w.clientTLS(s.ben, "nowhere.example.com")) },
	refusal.Misdirected:     func(s *scene) { s.say("pw", "GET / HTTP/1.1\r\nHost: down.example.com\r\n\r\n") },
	refusal.BadRequest:      func(s *scene) { s.say("pw", "GET / HTTP/1.1\r\nHost: pw.example.com\r\nno header field\r\n\r\n") },
	refusal.AmbiguousPath:   func(s *scene) { s.ask(s.ben, "pw", "/a%2fb") },
	refusal.MethodNotServed: func(s *scene) { s.say("pw", "TRACE / HTTP/1.1\r\nHost: pw.example.com\r\n\r\n") },
	refusal.NoCertificate:   func(s *scene) { s.ask(nil, "pw", "/") },
	refusal.BadCertificate: func(s *scene) {
		d := s.as(s.w.clients, func(*x509.Certificate) {})
		d.Certificate.Certificate[0] = d.Certificate.Certificate[0][:200]
		s.shake(s.w.clientTLS(d, "pw.example.com"))
	},
	refusal.CrossSite: func(s *scene) {
		s.say("pw", "POST / HTTP/1.1\r\nHost: pw.example.com\r\nOrigin: https://evil.example.com\r\nSec-Fetch-Site: cross-site\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
	},
	refusal.SelfSigned: func(s *scene) {
		self := newIssuer(s, "ben", nil)
		s.ask(&device{Certificate: tls.Certificate{Certificate: [][]byte{self.cert.Raw}, PrivateKey: self.key}}, "pw", "/")
	},
	refusal.UnknownIssuer: func(s *scene) { s.ask(s.as(newIssuer(s, "other", nil), func(*x509.Certificate) {}), "pw", "/") },
	refusal.BadChain: func(s *scene) {
		fake := newIssuer(s, "clients-1", nil, x509.ExtKeyUsageClientAuth)
		fake.cert.RawSubject, fake.cert.SubjectKeyId = s.w.clients.cert.RawSubject, s.w.clients.cert.SubjectKeyId
		d := s.as(fake, func(*x509.Certificate) {})
		d.Certificate.Certificate = [][]byte{d.Leaf.Raw, s.w.clients.cert.Raw}
		s.ask(d, "pw", "/")
	},
	refusal.WrongPurpose: func(s *scene) {
		s.ask(s.as(s.w.clients, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }), "pw", "/")
	},
	refusal.NotYetValid: func(s *scene) {
		s.ask(s.as(s.w.clients, func(c *x509.Certificate) { c.NotBefore = time.Now().Add(10 * time.Minute) }), "pw", "/")
	},
	refusal.Expired: func(s *scene) {
		s.ask(s.as(s.w.clients, func(c *x509.Certificate) {
			c.NotBefore, c.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(-time.Minute)
		}), "pw", "/")
	},
	refusal.StaleRoster: func(s *scene) {
		s.w.roster.Apply(0, make([]ledger.Entry, 1))
		s.ask(s.ben, "pw", "/")
	},
	refusal.IssuerDistrusted: func(s *scene) {
		s.w.append(ledger.IssuerDistrusted{Issuer: s.w.clients.id()})
		s.ask(s.as(s.w.clients, func(*x509.Certificate) {}), "pw", "/")
	},
	refusal.NotInLedger: func(s *scene) { s.ask(s.as(s.w.clients, func(*x509.Certificate) {}), "pw", "/") },
	refusal.Revoked: func(s *scene) {
		s.w.revoke(s.ben)
		s.ask(s.ben, "pw", "/")
	},
	refusal.Suspended: func(s *scene) {
		s.w.append(ledger.IdentitySuspended{Name: s.ben.name})
		s.ask(s.ben, "pw", "/")
	},
	refusal.RevocationUnknown: func(s *scene) {
		theirs := newIssuer(s, "partner", nil)
		acme, err := rule.ParsePartner("acme")
		must(s, err)
		lists := partner.Trust{Name: acme, Anchors: chain.Anchors{Roots: []*x509.Certificate{theirs.cert}}, Lists: []string{"/none.crl"}, Members: []partner.Member{{DNS: "api.example.com"}}}
		must(s, s.Configure(Config{Sites: []Site{{Host: "pw.example.com", Handler: whoami, List: allow(s, "foreign:acme"), Partners: []*partner.Checker{partner.NewChecker(lists, nil)}}}}))
		s.ask(s.as(theirs, func(c *x509.Certificate) { c.DNSNames = []string{"api.example.com"} }), "pw", "/")
	},
	refusal.NoIdentity: func(s *scene) {
		s.ask(s.w.record(s.as(s.w.clients, func(c *x509.Certificate) { c.URIs = nil }), "ben/nameless"), "pw", "/")
	},
	refusal.NotOnList: func(s *scene) { s.ask(s.w.enrol("anna"), "pw", "/") },
	refusal.Condition: func(s *scene) { s.ask(s.ben, "night", "/") },
	refusal.OriginNotAllowed: func(s *scene) {
		s.say("cors", "OPTIONS / HTTP/1.1\r\nHost: cors.example.com\r\nOrigin: https://foe.example.com\r\nAccess-Control-Request-Method: PUT\r\nConnection: close\r\n\r\n")
	},
	refusal.RateLimited: func(s *scene) {
		s.ask(s.ben, "rare", "/")
		s.ask(s.ben, "rare", "/")
	},
	refusal.NotHTTP: func(s *scene) { s.ask(s.ben, "tcp", "/") },
	refusal.PlainHTTP: func(s *scene) {
		if resp, err := http.Get("http://" + s.addr + "/"); err == nil {
			resp.Body.Close()
		}
	},
	refusal.OldTLS: func(s *scene) {
		c := s.w.clientTLS(s.ben, "pw.example.com")
		c.MaxVersion = tls.VersionTLS12
		s.shake(c)
	},
	refusal.HeaderTooLarge: func(s *scene) {
		s.say("pw", "GET / HTTP/1.1\r\nHost: pw.example.com\r\nCookie: "+strings.Repeat("crumb ", 20_000)+"\r\n\r\n")
	},
	refusal.BodyStalled: func(s *scene) {
		s.say("mute", "POST / HTTP/1.1\r\nHost: mute.example.com\r\nContent-Length: 100\r\n\r\nonly this")
	},
	refusal.BodyTooLarge: func(s *scene) {
		s.say("down", "POST / HTTP/1.1\r\nHost: down.example.com\r\nContent-Length: 5000\r\n\r\n")
	},
	refusal.UpstreamDown:    func(s *scene) { s.ask(s.ben, "down", "/") },
	refusal.UpstreamTimeout: func(s *scene) { s.ask(s.ben, "mute", "/") },
	refusal.NotConfigured:   func(s *scene) { s.ask(s.ben, "empty", "/") },
	refusal.BadToken: func(s *scene) {
		raw(s, s.mustDial(s.w.clientTLS(nil, "music.example.com")), "GET / HTTP/1.1\r\nHost: music.example.com\r\nX-Postern-App-Token: none\r\n\r\n")
	},
	refusal.HandshakeAbandoned: func(s *scene) {
		conn, err := (&net.Dialer{}).DialContext(context.Background(), "tcp", s.addr)
		must(s, err)
		defer conn.Close()
		conn.Write([]byte("this is neither TLS nor HTTP"))
		io.ReadAll(conn)
	},
}

// Every code is what a real client meets for its cause, and the record and the
// log hold the reference, the site, the address and the certificate.
func TestEveryCodeIsProvoked(t *testing.T) {
	for _, info := range refusal.All() {
		t.Run(string(info.Code), func(t *testing.T) {
			t.Parallel()
			if info.Code == refusal.NotEnrolled { // SCEP's, which TestSCEP in cmd/postern provokes
				return
			}
			provoke := provocations[info.Code]
			if provoke == nil {
				t.Fatal("no row in provocations: show how a real client meets this code")
			}
			s := newScene(t)
			provoke(s)
			if info.Code == refusal.HandshakeAbandoned { // it is no refusal: for the curious only
				eventually(t, "the line", func() bool { return strings.Contains(s.log.String(), "code=handshake-abandoned") })
				return
			}
			var got Refused
			eventually(t, "a record", func() bool {
				all, err := s.journal.Recent(10)
				must(t, err)
				if len(all) > 0 {
					got = all[len(all)-1] // the first one
				}
				return len(all) > 0
			})
			if got.Code != info.Code {
				t.Fatalf("got %s: %s", got.Code, got.Detail)
			}
			wants := []string{"code=" + string(info.Code), "reference=" + got.Reference.String(), "address=" + got.Address}
			if info.Code != refusal.UnknownHost && info.Code != refusal.PlainHTTP {
				wants = append(wants, "site="+got.Site)
			}
			if c := got.Client; c.Serial != "" {
				wants = append(wants, "serial="+c.Serial, "issuer=\"CN=")
			}
			eventually(t, "the line "+fmt.Sprint(wants), func() bool {
				for line := range strings.SplitSeq(s.log.String(), "\n") {
					all := true
					for _, want := range wants {
						all = all && strings.Contains(line, want)
					}
					if all {
						return true
					}
				}
				return false
			})
			if n := s.count("postern_refusals_total", "code", string(info.Code)); n == 0 {
				t.Error("it is not counted")
			}
		})
	}
}
