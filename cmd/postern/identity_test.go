package main

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// An application verifies who asks with nothing but the keys that the public
// side publishes; a restart changes no key.
func TestAnApplicationVerifiesATokenByItself(t *testing.T) {
	t.Parallel()
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, r.Header.Get("X-Postern-Token"))
	}))
	defer app.Close()
	d := configured(t, fmt.Sprintf("trust_domain: home.example\nsites:\n  app.test: {proxy: %q, allow: [enrolled], identity: [jwt]}\n", app.URL))
	d.open()
	me := d.tls(d.issue("ben/laptop"), "app.test")
	_, token, p := d.get(d.client(me), "app.test")
	if token == "" {
		t.Fatalf("%+v", p)
	}
	d.kill()
	d.open()
	keys := func() (set jose.JSONWebKeySet) {
		c := d.client(d.tls("", "app.test"))
		c.Transport.(*http.Transport).DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, fmt.Sprintf("127.0.0.1:%d", mustPort(t, d)+1))
		}
		resp, err := c.Get("https://app.test/jwks.json")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if err := json.NewDecoder(resp.Body).Decode(&set); err != nil {
			t.Fatal(err)
		}
		return set
	}()
	parsed, err := jwt.ParseSigned(token, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		t.Fatal(err)
	}
	var standard jwt.Claims
	var own struct {
		Name string            `json:"name"`
		Cnf  map[string]string `json:"cnf"`
	}
	if err := parsed.Claims(keys, &standard, &own); err != nil {
		t.Fatalf("%v: %+v, token %s\n%s", err, keys, token, d.output)
	}
	if err := standard.Validate(jwt.Expected{Issuer: "spiffe://home.example", Subject: "spiffe://home.example/ben/laptop", AnyAudience: jwt.Audience{"app.test"}, Time: time.Now()}); err != nil {
		t.Error(err)
	}
	sum := sha256.Sum256(me.Certificates[0].Certificate[0])
	if own.Name != "ben/laptop" || own.Cnf["x5t#S256"] != base64.RawURLEncoding.EncodeToString(sum[:]) {
		t.Errorf("%+v", own)
	}
}

func mustPort(t *testing.T, d *door) (n int) {
	t.Helper()
	if _, err := fmt.Sscan(d.port(), &n); err != nil {
		t.Fatal(err)
	}
	return n
}
