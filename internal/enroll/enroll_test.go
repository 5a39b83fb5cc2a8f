package enroll

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"maps"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/postern-project/postern/internal/authority"
	"github.com/postern-project/postern/internal/identity"
	"github.com/postern-project/postern/internal/invite"
	"github.com/postern-project/postern/internal/ledger"
)

// office is an authority that gives one certificate, or one error.
type office struct {
	issued authority.Issued
	err    error

	mu   sync.Mutex
	keys [][]byte // guarded by mu: the public keys that were asked for

	serverKey bool // guarded by mu: the last one was made by the server
}

func (o *office) Redeem(_ context.Context, r authority.RedeemRequest) (authority.Issued, error) {
	o.mu.Lock()
	o.serverKey = r.ServerKey
	o.mu.Unlock()
	return o.give(r.PublicKey)
}

func (o *office) LookInvite(context.Context, string) (authority.Invite, error) {
	return authority.Invite{Name: o.issued.Name}, o.err
}

func (o *office) Renew(_ context.Context, r authority.RenewRequest) (authority.Issued, error) {
	return o.give(r.PublicKey)
}

func (o *office) give(key []byte) (authority.Issued, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.keys = append(o.keys, key)
	return o.issued, o.err
}

func (o *office) asked() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.keys)
}

// A world is a public side on a real TLS server, with its log.
type world struct {
	*httptest.Server
	office *office
	root   *x509.Certificate
	log    *bytes.Buffer
	clock  time.Time
	course Course
	access Access
	asking []string // where access can be asked for
}

func newWorld(t *testing.T) *world {
	t.Helper()
	root := selfSigned(t)
	name, err := identity.ParseName("anna/phone")
	if err != nil {
		t.Fatal(err)
	}
	domain, err := identity.ParseTrustDomain("example.com")
	if err != nil {
		t.Fatal(err)
	}
	serial, err := ledger.ParseSerial("0f1e2d")
	if err != nil {
		t.Fatal(err)
	}
	w := &world{asking: []string{"pw.example.com"}, root: root, log: new(bytes.Buffer), clock: time.Now()}
	w.office = &office{issued: authority.Issued{
		Serial: serial, Name: name, Profile: "device", NotAfter: time.Date(2027, 1, 2, 3, 4, 5, 0, time.UTC),
		Chain: [][]byte{root.Raw, root.Raw}, Root: root.Raw,
	}}
	h, err := Handler(Options{
		Authority: w.office, TrustDomain: domain, Roots: func() []*x509.Certificate { return []*x509.Certificate{root} },
		RenewURLs: func() []string { return []string{"https://pw.example.com/.postern/renew"} },
		Course:    &w.course, Access: &w.access, AccessSites: func() []string { return w.asking },
		Log: slog.New(slog.NewTextHandler(w.log, nil)), Now: func() time.Time { return w.clock },
		Limits: Limits{Burst: 5, Every: time.Second},
	})
	if err != nil {
		t.Fatal(err)
	}
	w.Server = httptest.NewTLSServer(h)
	t.Cleanup(w.Close)
	return w
}

func selfSigned(t *testing.T) *x509.Certificate {
	t.Helper()
	key := newKey(t)
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func newKey(t *testing.T) crypto.Signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func csr(t *testing.T, tmpl x509.CertificateRequest) string {
	t.Helper()
	der, err := x509.CreateCertificateRequest(rand.Reader, &tmpl, newKey(t))
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}))
}

func body(t *testing.T, code, csr string) string {
	t.Helper()
	b, err := json.Marshal(invite.Request{Code: code, CSR: csr})
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func (w *world) do(t *testing.T, method, path, body string, header http.Header) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, w.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header = http.Header{"Content-Type": {"application/json"}}
	maps.Copy(r.Header, header)
	response, err := w.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	data, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response, string(data)
}

func TestAnInvitationBecomesACertificate(t *testing.T) {
	w := newWorld(t)
	response, text := w.do(t, "POST", "/join", body(t, invite.New().String(), csr(t, x509.CertificateRequest{})), nil)
	if response.StatusCode != http.StatusOK {
		t.Fatalf("status %d: %s", response.StatusCode, text)
	}
	var got invite.Answer
	if err := json.Unmarshal([]byte(text), &got); err != nil {
		t.Fatal(err)
	}
	rootPEM := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: w.root.Raw}))
	want := invite.Answer{
		TrustDomain: "example.com", Name: "anna/phone", Profile: "device", Serial: "0f1e2d",
		NotAfter: w.office.issued.NotAfter, Certificate: rootPEM + rootPEM, Root: rootPEM,
		Renew: []string{"https://pw.example.com/.postern/renew"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for key, value := range map[string]string{"Content-Type": "application/json", "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"} {
		if response.Header.Get(key) != value {
			t.Errorf("%s: %q", key, response.Header.Get(key))
		}
	}
}

func TestNamesInTheRequestAreIgnoredAndTheAnswerSaysSo(t *testing.T) {
	w := newWorld(t)
	_, text := w.do(t, "POST", "/join", body(t, invite.New().String(), csr(t, x509.CertificateRequest{DNSNames: []string{"admin"}})), nil)
	var got invite.Answer
	if err := json.Unmarshal([]byte(text), &got); err != nil || len(got.Notes) != 1 || !strings.Contains(got.Notes[0], "ignored") {
		t.Errorf("%v, %s", err, text)
	}
}

func TestRefusals(t *testing.T) {
	good, request := invite.New().String(), csr(t, x509.CertificateRequest{})
	mistyped := "zz" + good[2:]
	cases := map[string]struct {
		body   string
		header http.Header
		err    error // of the authority
		status int
		code   string
		asked  int
	}{
		"an unknown code":               {body: body(t, good, request), err: &authority.Error{Code: authority.CodeNotFound}, status: 404, code: "not-found", asked: 1},
		"a code that was used":          {body: body(t, good, request), err: &authority.Error{Code: authority.CodeSpent}, status: 410, code: "spent", asked: 1},
		"a code that has expired":       {body: body(t, good, request), err: &authority.Error{Code: authority.CodeExpired}, status: 410, code: "expired", asked: 1},
		"a code that was cancelled":     {body: body(t, good, request), err: &authority.Error{Code: authority.CodeCancelled}, status: 410, code: "cancelled", asked: 1},
		"a weak key":                    {body: body(t, good, request), err: &authority.Error{Code: authority.CodeWeakKey}, status: 422, code: "weak-key", asked: 1},
		"a suspended name":              {body: body(t, good, request), err: &authority.Error{Code: authority.CodeSuspended}, status: 403, code: "suspended", asked: 1},
		"a full disk":                   {body: body(t, good, request), err: errors.New("database or disk is full"), status: 503, code: "unavailable", asked: 1},
		"a mistyped code":               {body: body(t, mistyped, request), status: 400, code: "mistyped"},
		"no code":                       {body: body(t, "", request), status: 400, code: "mistyped"},
		"no certificate request":        {body: body(t, good, ""), status: 400, code: "bad-request"},
		"a request with a changed byte": {body: body(t, good, strings.Replace(request, "MI", "MJ", 1)), status: 400, code: "bad-request"},
		"not JSON":                      {body: "code=x", status: 400, code: "bad-request"},
		"an unknown field":              {body: `{"code":"x","csr":"x","name":"root"}`, status: 400, code: "bad-request"},
		"two objects":                   {body: body(t, good, request) + "{}", status: 400, code: "bad-request"},
		"a large body":                  {body: `{"code":"` + strings.Repeat("0", invite.MaxRequest) + `"}`, status: 413, code: "too-large"},
		"a form":                        {body: "x", header: http.Header{"Content-Type": {"text/plain"}}, status: 415, code: "unsupported-media-type"},
		"a page of another origin":      {body: body(t, good, request), header: http.Header{"Sec-Fetch-Site": {"cross-site"}}, status: 403, code: "cross-origin"},
		"an old browser's other origin": {body: body(t, good, request), header: http.Header{"Origin": {"https://evil.example"}}, status: 403, code: "cross-origin"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.office.err = c.err
			response, text := w.do(t, "POST", "/join", c.body, c.header)
			var got invite.Problem
			if err := json.Unmarshal([]byte(text), &got); err != nil {
				t.Fatalf("%v in %q", err, text)
			}
			if got.Code != c.code || got.Status != c.status || response.StatusCode != c.status || response.Header.Get("Content-Type") != invite.ProblemType {
				t.Errorf("status %d, %s, %+v; want %d, %s", response.StatusCode, response.Header.Get("Content-Type"), got, c.status, c.code)
			}
			if w.office.asked() != c.asked {
				t.Errorf("the authority was asked %d times, want %d", w.office.asked(), c.asked)
			}
			for _, secret := range []string{good, mistyped} {
				if strings.Contains(text, secret) || strings.Contains(w.log.String(), secret) {
					t.Errorf("the code is in the answer or the log: %s %s", text, w.log)
				}
			}
			if strings.Contains(text, "database") {
				t.Errorf("a stranger learns of the machine's faults: %s", text)
			}
		})
	}
}

func TestReadingSpendsNothing(t *testing.T) {
	w := newWorld(t)
	code := invite.New().String()
	for _, method := range []string{"GET", "HEAD"} {
		for _, path := range []string{"/join", "/join?code=" + code, "/", "/join/root.crt"} {
			if response, _ := w.do(t, method, path, "", nil); response.StatusCode != http.StatusOK {
				t.Errorf("%s %s: status %d", method, path, response.StatusCode)
			}
		}
	}
	for _, method := range []string{"PUT", "DELETE", "OPTIONS", "PATCH"} {
		if response, _ := w.do(t, method, "/join", body(t, code, ""), nil); response.StatusCode < 400 {
			t.Errorf("%s /join: status %d", method, response.StatusCode)
		}
	}
	if w.office.asked() != 0 {
		t.Errorf("the authority was asked %d times", w.office.asked())
	}
	if strings.Contains(w.log.String(), code) {
		t.Error("the code is in the log")
	}
}

func TestTheRootIsServed(t *testing.T) {
	w := newWorld(t)
	response, text := w.do(t, "GET", invite.RootPath, "", nil)
	if text != string(w.root.Raw) || response.Header.Get("Content-Type") != "application/pkix-cert" {
		t.Errorf("%s, %d bytes", response.Header.Get("Content-Type"), len(text))
	}
}

func TestAttemptsAreLimitedAndSuccessIsNotCounted(t *testing.T) {
	w := newWorld(t)
	request := csr(t, x509.CertificateRequest{})
	post := func() int {
		response, _ := w.do(t, "POST", "/join", body(t, invite.New().String(), request), nil)
		if response.StatusCode == http.StatusTooManyRequests && response.Header.Get("Retry-After") == "" {
			t.Error("no Retry-After")
		}
		return response.StatusCode
	}
	for range 20 {
		if got := post(); got != http.StatusOK {
			t.Fatalf("success was counted: status %d", got)
		}
	}
	w.office.err = &authority.Error{Code: authority.CodeNotFound}
	for i, want := range []int{404, 404, 404, 404, 404, 429, 429} {
		if got := post(); got != want {
			t.Errorf("attempt %d: status %d, want %d", i+1, got, want)
		}
	}
	w.clock = w.clock.Add(time.Second)
	for _, want := range []int{404, 429} {
		if got := post(); got != want {
			t.Errorf("a second later: status %d, want %d", got, want)
		}
	}
}

func TestHandlerNeedsItsParts(t *testing.T) {
	root := selfSigned(t)
	log := slog.New(slog.DiscardHandler)
	cases := map[string]Options{
		"no root":      {Authority: &office{}, Log: log},
		"no authority": {Roots: func() []*x509.Certificate { return []*x509.Certificate{root} }, Log: log},
		"no log":       {Roots: func() []*x509.Certificate { return []*x509.Certificate{root} }, Authority: &office{}},
	}
	for name, o := range cases {
		if _, err := Handler(o); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
