package acme

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/postern-project/postern/internal/authority"
	"github.com/postern-project/postern/internal/jws"
)

// A client speaks ACME, and also what no honest client says.
type client struct {
	w    *world
	t    testing.TB
	http *http.Client
	key  *ecdsa.PrivateKey
	kid  string
	next string // the nonce of the last answer
}

// An answer is what the server said.
type answer struct {
	status  int
	header  http.Header
	body    []byte
	problem authority.ACMEProblem
}

func (a answer) kind() string { return strings.TrimPrefix(a.problem.Type, problemSpace) }

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	return must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))(t)
}

func jwk(t testing.TB, k *ecdsa.PrivateKey) json.RawMessage {
	t.Helper()
	b := must(k.PublicKey.Bytes())(t)
	return must(json.Marshal(map[string]string{"kty": "EC", "crv": "P-256", "x": b64(b[1:33]), "y": b64(b[33:])}))(t)
}

// client returns one without an account.
func (w *world) client(t testing.TB) *client {
	return &client{w: w, t: t, http: w.Client(), key: newKey(t)}
}

// account returns a client whose account stands for a name.
func (w *world) account(t testing.TB, name string, hosts ...string) *client {
	t.Helper()
	c := w.client(t)
	a := c.register(w.invite(name, hosts...))
	if a.status != http.StatusCreated {
		t.Fatalf("new account: %d %s", a.status, a.body)
	}
	return c
}

// register makes an account with a key for external account binding; the zero
// key stands for none.
func (c *client) register(k authority.ACMEKey) answer {
	c.t.Helper()
	payload := map[string]any{"contact": []string{"mailto:ops@example.com"}, "termsOfServiceAgreed": true}
	if k.Key != "" {
		payload["externalAccountBinding"] = c.bindingOf(k, c.w.base()+"/new-account", jwk(c.t, c.key))
	}
	a := c.postKey("new-account", payload)
	if a.status < 300 {
		c.kid = a.header.Get("Location")
	}
	return a
}

func (c *client) bindingOf(k authority.ACMEKey, url string, key json.RawMessage) json.RawMessage {
	mac := must(base64.RawURLEncoding.DecodeString(k.MAC))(c.t)
	protected := b64(must(json.Marshal(map[string]string{"alg": "HS256", "kid": k.Key, "url": url}))(c.t))
	h := hmac.New(sha256.New, mac)
	h.Write([]byte(protected + "." + b64(key)))
	return must(json.Marshal(map[string]string{"protected": protected, "payload": b64(key), "signature": b64(h.Sum(nil))}))(c.t)
}

func (c *client) nonce() string {
	c.t.Helper()
	if n := c.next; n != "" {
		c.next = ""
		return n
	}
	res := must(c.http.Head(c.w.base() + "/new-nonce"))(c.t)
	res.Body.Close()
	return res.Header.Get("Replay-Nonce")
}

// sign makes a JWS with exactly this header.
func (c *client) sign(header map[string]any, payload []byte, key *ecdsa.PrivateKey) []byte {
	c.t.Helper()
	protected, body := b64(must(json.Marshal(header))(c.t)), b64(payload)
	sum := sha256.Sum256([]byte(protected + "." + body))
	r, s, err := ecdsa.Sign(rand.Reader, key, sum[:])
	if err != nil {
		c.t.Fatal(err)
	}
	signature := append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
	return must(json.Marshal(map[string]string{"protected": protected, "payload": body, "signature": b64(signature)}))(c.t)
}

func (c *client) send(url string, body []byte) answer {
	c.t.Helper()
	res := must(c.http.Post(url, "application/jose+json", bytes.NewReader(body)))(c.t)
	return c.read(res)
}

func (c *client) read(res *http.Response) answer {
	c.t.Helper()
	defer res.Body.Close()
	a := answer{status: res.StatusCode, header: res.Header, body: must(io.ReadAll(res.Body))(c.t)}
	if n := res.Header.Get("Replay-Nonce"); n != "" {
		c.next = n
	}
	if res.Header.Get("Content-Type") == "application/problem+json" {
		a.problem = decodeJSON[authority.ACMEProblem](c.t, a.body)
	}
	return a
}

// payloadOf returns the JSON of v; nil is the empty payload of POST-as-GET.
func (c *client) payloadOf(v any) []byte {
	if v == nil {
		return nil
	}
	return must(json.Marshal(v))(c.t)
}

// postKey posts to a path below the profile, signed by a key given as jwk.
func (c *client) postKey(path string, v any) answer {
	c.t.Helper()
	url := c.w.base() + "/" + path
	return c.send(url, c.sign(map[string]any{"alg": "ES256", "nonce": c.nonce(), "url": url, "jwk": jwk(c.t, c.key)}, c.payloadOf(v), c.key))
}

// post posts to a URL as the account.
func (c *client) post(url string, v any) answer {
	c.t.Helper()
	if !strings.HasPrefix(url, "https://") {
		url = c.w.base() + "/" + url
	}
	return c.send(url, c.sign(map[string]any{"alg": "ES256", "nonce": c.nonce(), "url": url, "kid": c.kid}, c.payloadOf(v), c.key))
}

// An orderView is an order as clients see it.
type orderView struct {
	url            string
	Status         string
	Identifiers    []authority.ACMEIdentifier
	Authorizations []string
	Finalize       string
	Certificate    string
	Replaces       string
	Profile        string
	Error          *authority.ACMEProblem
}

type authorizationView struct {
	Identifier authority.ACMEIdentifier
	Status     string
	Wildcard   bool
	Challenges []challengeView
}

type challengeView struct {
	Type, URL, Status, Token string
	Error                    *authority.ACMEProblem
}

func ids(hosts ...string) []authority.ACMEIdentifier {
	var all []authority.ACMEIdentifier
	for _, h := range hosts {
		kind := "dns"
		if _, err := netip.ParseAddr(h); err == nil {
			kind = "ip"
		}
		all = append(all, authority.ACMEIdentifier{Type: kind, Value: h})
	}
	return all
}

// order makes an order that has to be taken.
func (c *client) order(hosts ...string) orderView {
	c.t.Helper()
	a := c.post("new-order", map[string]any{"identifiers": ids(hosts...)})
	if a.status != http.StatusCreated {
		c.t.Fatalf("new order: %d %s", a.status, a.body)
	}
	o := decodeJSON[orderView](c.t, a.body)
	o.url = a.header.Get("Location")
	return o
}

func (c *client) look(o orderView) orderView {
	c.t.Helper()
	a := c.post(o.url, nil)
	v := decodeJSON[orderView](c.t, a.body)
	v.url = o.url
	return v
}

func (c *client) authorization(url string) authorizationView {
	c.t.Helper()
	return decodeJSON[authorizationView](c.t, c.post(url, nil).body)
}

func (v authorizationView) find(t testing.TB, kind string) challengeView {
	t.Helper()
	for _, ch := range v.Challenges {
		if ch.Type == kind {
			return ch
		}
	}
	t.Fatalf("no %s among %+v", kind, v.Challenges)
	return challengeView{}
}

func (c *client) keyAuthorization(token string) string {
	return must(jws.ParseKey(jwk(c.t, c.key)))(c.t).Authorization(token)
}

// respond answers a challenge of every authorization of an order, and says so.
func (c *client) respond(o orderView, kind string) []challengeView {
	c.t.Helper()
	var all []challengeView
	for _, url := range o.Authorizations {
		v := c.authorization(url)
		ch := v.find(c.t, kind)
		switch kind {
		case "http-01":
			c.w.web.answer(ch.Token, c.keyAuthorization(ch.Token))
		case "dns-01":
			sum := sha256.Sum256([]byte(c.keyAuthorization(ch.Token)))
			c.w.dns.addText("_acme-challenge."+v.Identifier.Value, b64(sum[:]))
		}
		all = append(all, decodeJSON[challengeView](c.t, c.post(ch.URL, struct{}{}).body))
	}
	return all
}

func (c *client) csr(key crypto.Signer, hosts ...string) []byte {
	c.t.Helper()
	template := &x509.CertificateRequest{}
	for _, h := range hosts {
		if ip, err := netip.ParseAddr(h); err == nil {
			template.IPAddresses = append(template.IPAddresses, ip.AsSlice())
		} else {
			template.DNSNames = append(template.DNSNames, h)
		}
	}
	return must(x509.CreateCertificateRequest(rand.Reader, template, key))(c.t)
}

func (c *client) finalize(o orderView, csr []byte) answer {
	c.t.Helper()
	return c.post(o.Finalize, map[string]string{"csr": b64(csr)})
}

// obtain goes all the way to a certificate, and returns it with its key.
func (c *client) obtain(kind string, hosts ...string) (*x509.Certificate, *ecdsa.PrivateKey) {
	c.t.Helper()
	o := c.order(hosts...)
	for _, ch := range c.respond(o, kind) {
		if ch.Status != statusValid {
			c.t.Fatalf("challenge %+v", ch)
		}
	}
	key := newKey(c.t)
	a := c.finalize(o, c.csr(key, hosts...))
	if a.status != http.StatusOK {
		c.t.Fatalf("finalize: %d %s", a.status, a.body)
	}
	return c.fetch(decodeJSON[orderView](c.t, a.body)), key
}

// fetch gets an order's certificate, which has to lead to the root.
func (c *client) fetch(o orderView) *x509.Certificate {
	c.t.Helper()
	a := c.post(o.Certificate, nil)
	if a.status != http.StatusOK || a.header.Get("Content-Type") != "application/pem-certificate-chain" {
		c.t.Fatalf("certificate: %d %s", a.status, a.body)
	}
	block, rest := pem.Decode(a.body)
	leaf := must(x509.ParseCertificate(block.Bytes))(c.t)
	roots, between := x509.NewCertPool(), x509.NewCertPool()
	roots.AddCert(c.w.roster.Root())
	between.AppendCertsFromPEM(rest)
	must(leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: between, CurrentTime: c.w.clock.now()}))(c.t)
	return leaf
}

// speaksTLS has loopback answer tls-alpn-01 at the port of the profile: a
// listener of its own on an address of its own.
func speaksTLS(t testing.TB, address string, port uint16, configure func(*tls.ClientHelloInfo) (*tls.Config, error)) {
	t.Helper()
	l := must(tls.Listen("tcp", netip.AddrPortFrom(netip.MustParseAddr(address), port).String(), &tls.Config{GetConfigForClient: configure}))(t)
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				conn.(*tls.Conn).Handshake()
				conn.Close()
			}()
		}
	}()
}

func contextWithin(t testing.TB, d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(t.Context(), d)
}
