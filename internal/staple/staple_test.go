package staple

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"
)

var now = time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

type party struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// certified returns a party whose certificate by signs; nil is itself.
func certified(name string, by *party, key *ecdsa.PrivateKey, change func(*x509.Certificate)) party {
	if key == nil {
		key = must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(7), Subject: pkix.Name{CommonName: name}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(90 * 24 * time.Hour)}
	if change != nil {
		change(c)
	}
	if by == nil {
		by = &party{c, key}
	}
	return party{must(x509.ParseCertificate(must(x509.CreateCertificate(rand.Reader, c, by.cert, key.Public(), by.key)))), key}
}

func authority(name string) party {
	return certified(name, nil, nil, func(c *x509.Certificate) {
		c.IsCA, c.BasicConstraintsValid, c.KeyUsage = true, true, x509.KeyUsageCertSign
	})
}

func answers(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageOCSPSigning} }

// says returns an answer about serial 7 of issuer that by signs.
func says(issuer, by party, change func(*ocsp.Response)) []byte {
	r := ocsp.Response{Status: ocsp.Good, SerialNumber: big.NewInt(7), ThisUpdate: now.Add(-time.Hour), NextUpdate: now.Add(time.Hour), IssuerHash: crypto.SHA1}
	if by.cert != issuer.cert {
		r.Certificate = by.cert
	}
	if change != nil {
		change(&r)
	}
	return must(ocsp.CreateResponse(issuer.cert, by.cert, r, by.key))
}

func TestAnAnswerIsBelievedOnlyWhenAllOfItIsRight(t *testing.T) {
	ca, other := authority("CA"), authority("Other CA")
	leaf := certified("leaf", &ca, nil, nil)
	responder := certified("responder", &ca, nil, answers)
	// The same key answers for both authorities.
	shared := certified("responder", &other, responder.key, answers)
	foreign := says(other, shared, nil)
	forged := must(ocsp.CreateResponse(other.cert, responder.cert, ocsp.Response{Status: ocsp.Good, SerialNumber: big.NewInt(7),
		ThisUpdate: now.Add(-time.Hour), NextUpdate: now.Add(time.Hour), Certificate: responder.cert}, responder.key))

	for name, c := range map[string]struct {
		der  []byte
		want string // "" for yes
	}{
		"by the issuer":                              {says(ca, ca, nil), ""},
		"by whom the issuer lets answer":             {says(ca, responder, nil), ""},
		"with SHA-256 of the issuer's name":          {says(ca, ca, func(r *ocsp.Response) { r.IssuerHash = crypto.SHA256 }), ""},
		"by another authority":                       {says(other, other, nil), "signature"},
		"by another authority's responder":           {foreign, "signature"},
		"about another authority's, by a shared key": {forged, "another issuer"},
		"by a certificate that is not for answering": {says(ca, leaf, nil), "no certificate for answering"},
		"by a responder that has ended": {says(ca, certified("late", &ca, nil, func(c *x509.Certificate) {
			answers(c)
			c.NotAfter = now.Add(-time.Minute)
		}), nil), "out of its time"},
		"about another serial":      {says(ca, ca, func(r *ocsp.Response) { r.SerialNumber = big.NewInt(8) }), "no response matching"},
		"of which the time is over": {says(ca, ca, func(r *ocsp.Response) { r.NextUpdate = now.Add(-time.Second) }), "has ended"},
		"of tomorrow":               {says(ca, ca, func(r *ocsp.Response) { r.ThisUpdate, r.NextUpdate = now.Add(time.Hour), now.Add(2*time.Hour) }), "begins at"},
		"without an end":            {says(ca, ca, func(r *ocsp.Response) { r.NextUpdate = time.Time{} }), "until when"},
		"unknown":                   {says(ca, ca, func(r *ocsp.Response) { r.Status = ocsp.Unknown }), "does not know"},
		"revoked":                   {says(ca, ca, func(r *ocsp.Response) { r.Status, r.RevokedAt = ocsp.Revoked, now.Add(-time.Hour) }), ""},
		"an excuse":                 {ocsp.TryLaterErrorResponse, "try later"},
		"nothing":                   {nil, ""},
		"too long":                  {append(says(ca, ca, nil), make([]byte, maxAnswer)...), "larger than"},
		"changed by a bit": {func() []byte {
			der := says(ca, ca, nil)
			der[len(der)-3] ^= 1
			return der
		}(), "signature"},
	} {
		a, err := parse(c.der, leaf.cert, ca.cert, now)
		switch {
		case name == "nothing":
			if err == nil {
				t.Error("nothing is an answer")
			}
		case c.want == "" && err != nil:
			t.Errorf("%s: %v", name, err)
		case c.want == "" && a.revoked != (name == "revoked"):
			t.Errorf("%s: revoked is %v", name, a.revoked)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	short := certified("short", &ca, nil, func(c *x509.Certificate) { answers(c); c.NotAfter = now.Add(time.Minute) })
	if a, err := parse(says(ca, short, nil), leaf.cert, ca.cert, now); err != nil || !a.until.Equal(short.cert.NotAfter) {
		t.Errorf("an answer is shown for longer than its signer is believed: %+v %v", a, err)
	}
}

// A world is a certificate whose responder is a real server.
type world struct {
	ca    party
	cert  atomic.Pointer[tls.Certificate]
	say   atomic.Pointer[func() []byte] // nil fails
	asked atomic.Int32
	time  atomic.Pointer[time.Time]
	url   string
	keep  *Keeper
	count map[string]int
}

func newWorld(t *testing.T, change func(*x509.Certificate)) *world {
	w := &world{ca: authority("CA"), count: map[string]int{}}
	w.time.Store(new(now))
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.asked.Add(1)
		body, _ := io.ReadAll(r.Body)
		if q, err := ocsp.ParseRequest(body); err != nil || q.SerialNumber.Int64() != 7 {
			t.Errorf("the question: %v %v", q, err)
		}
		say := w.say.Load()
		if say == nil {
			http.Error(rw, "no", http.StatusServiceUnavailable)
			return
		}
		rw.Header().Set("Content-Type", "application/ocsp-response")
		rw.Write((*say)())
	}))
	t.Cleanup(server.Close)
	w.url = server.URL
	w.renew(change)
	w.keep = New(w.cert.Load, Options{Now: func() time.Time { return *w.time.Load() }, Count: func(r string) { w.count[r]++ }})
	return w
}

func (w *world) renew(change func(*x509.Certificate)) {
	leaf := certified("leaf", &w.ca, nil, func(c *x509.Certificate) {
		c.OCSPServer = []string{"ldap://nobody", w.url}
		if change != nil {
			change(c)
		}
	})
	w.cert.Store(&tls.Certificate{Certificate: [][]byte{leaf.cert.Raw, w.ca.cert.Raw}, PrivateKey: leaf.key, Leaf: leaf.cert})
}

func (w *world) answer(change func(*ocsp.Response)) []byte {
	der := says(w.ca, w.ca, change)
	w.say.Store(new(func() []byte { return der }))
	return der
}

func (w *world) at(after time.Duration) {
	w.time.Store(new(now.Add(after)))
	w.keep.Look(context.Background())
}

func (w *world) shows(t *testing.T, when string, want []byte) {
	t.Helper()
	if got := w.keep.Get().OCSPStaple; string(got) != string(want) {
		t.Errorf("%s: %d bytes are shown, want %d", when, len(got), len(want))
	}
}

func TestAnAnswerIsKeptFresh(t *testing.T) {
	w := newWorld(t, nil)
	w.shows(t, "before anybody was asked", nil)
	w.at(0)
	w.shows(t, "while the responder fails", nil)
	first := w.answer(func(r *ocsp.Response) { r.ThisUpdate, r.NextUpdate = now, now.Add(8*time.Hour) })
	w.at(time.Second)
	w.shows(t, "before it is asked again", nil)
	w.at(retryFirst)
	w.shows(t, "answered", first)
	asked := w.asked.Load()
	w.at(4*time.Hour - time.Second)
	if w.asked.Load() != asked {
		t.Error("asked before half of the answer's life was over")
	}
	w.answer(func(r *ocsp.Response) { r.ThisUpdate, r.NextUpdate = now.Add(-time.Hour), now.Add(20*time.Hour) })
	w.at(4 * time.Hour)
	w.shows(t, "an older answer played again", first)
	if w.asked.Load() != asked+1 {
		t.Error("not asked at half of the answer's life")
	}
	w.say.Store(nil)
	w.at(8*time.Hour - time.Second)
	w.shows(t, "the responder is down, and the last answer holds", first)
	w.time.Store(new(now.Add(8 * time.Hour)))
	w.shows(t, "the last answer has ended", nil)

	revoked := w.answer(func(r *ocsp.Response) {
		r.Status, r.RevokedAt, r.ThisUpdate, r.NextUpdate = ocsp.Revoked, now, now.Add(8*time.Hour), now.Add(16*time.Hour)
	})
	w.at(12 * time.Hour)
	w.shows(t, "revoked", revoked)
	w.renew(nil)
	w.shows(t, "another certificate", nil)
	second := w.answer(func(r *ocsp.Response) { r.ThisUpdate, r.NextUpdate = now.Add(12*time.Hour), now.Add(13*time.Hour) })
	w.at(12*time.Hour + time.Second)
	w.shows(t, "the other certificate's answer", second)
	if w.count["good"] != 2 || w.count["revoked"] != 1 || w.count["failed"] < 3 {
		t.Errorf("counted %v", w.count)
	}
}

// A handshake never waits for a responder that does not answer.
func TestAHandshakeDoesNotWait(t *testing.T) {
	w := newWorld(t, nil)
	asked, release := make(chan struct{}), make(chan struct{})
	w.say.Store(new(func() []byte { close(asked); <-release; return nil }))
	done := make(chan struct{})
	go func() { w.keep.Look(context.Background()); close(done) }()
	<-asked
	for range 1000 {
		w.shows(t, "meanwhile", nil)
	}
	close(release)
	<-done
}

func TestACertificateThatDemandsAnAnswer(t *testing.T) {
	demanding := func(c *x509.Certificate) {
		c.ExtraExtensions = []pkix.Extension{{Id: mustStapleOID, Value: must(asn1.Marshal([]int{5}))}}
	}
	w := newWorld(t, demanding)
	if !w.keep.Demands() {
		t.Error("the demand is not seen")
	}
	w.at(0)
	if why := w.keep.Wrong(); !strings.Contains(why, "demands") || !strings.Contains(why, "503") {
		t.Errorf("what is wrong: %q", why)
	}
	w.answer(nil)
	w.at(retryFirst)
	if why := w.keep.Wrong(); why != "" {
		t.Errorf("all is well, and it says %q", why)
	}
	w.renew(func(c *x509.Certificate) { demanding(c); c.OCSPServer = nil })
	w.at(retryFirst)
	if why := w.keep.Wrong(); !strings.Contains(why, "no responder") || w.keep.Demands() {
		t.Errorf("nobody to ask: %q", why)
	}
	w.renew(demanding)
	alone := *w.cert.Load()
	alone.Certificate = alone.Certificate[:1]
	w.cert.Store(&alone)
	w.at(retryFirst)
	if why := w.keep.Wrong(); !strings.Contains(why, "append it") {
		t.Errorf("without the issuer: %q", why)
	}
	w.renew(nil)
	w.say.Store(nil)
	w.at(retryFirst)
	if why := w.keep.Wrong(); why != "" || w.keep.Demands() {
		t.Errorf("nothing is demanded, and it says %q", why)
	}
}

func FuzzAnAnswer(f *testing.F) {
	ca := authority("CA")
	leaf := certified("leaf", &ca, nil, nil)
	good := says(ca, ca, nil)
	f.Add(good)
	f.Add(says(ca, certified("responder", &ca, nil, answers), nil))
	f.Add([]byte(ocsp.UnauthorizedErrorResponse))
	f.Fuzz(func(t *testing.T, der []byte) {
		a, err := parse(der, leaf.cert, ca.cert, now)
		if err == nil && (!a.holds(now) || len(a.der) > maxAnswer) {
			t.Errorf("an answer that does not hold: %+v", a)
		}
	})
}
