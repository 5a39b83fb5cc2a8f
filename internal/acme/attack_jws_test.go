package acme

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/json"
	"maps"
	"net/http"
	"strings"
	"testing"

	"github.com/postern-project/postern/internal/authority"
)

// What a request has to be like (RFC 8555 section 6.2 to 6.5), and what
// happens to one that is not.
func TestSignedRequestsThatAreNotAsTheyHaveToBe(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.account(t, "services/web")
	other := w.account(t, "services/other")
	url := w.base() + "/new-order"
	payload := c.payloadOf(map[string]any{"identifiers": ids("a.test.internal")})
	header := func(changes map[string]any) map[string]any {
		h := map[string]any{"alg": "ES256", "nonce": c.nonce(), "url": url, "kid": c.kid}
		for k, v := range changes {
			if v == nil {
				delete(h, k)
			} else {
				h[k] = v
			}
		}
		return h
	}
	signed := func(changes map[string]any) []byte { return c.sign(header(changes), payload, c.key) }
	reshaped := func(change func(map[string]any)) []byte {
		m := decodeJSON[map[string]any](t, signed(nil))
		change(m)
		return must(json.Marshal(m))(t)
	}
	for sentence, k := range map[string]struct {
		body   []byte
		status int
		kind   string
	}{
		"alg none": {signed(map[string]any{"alg": "none"}), 400, badSignatureAlgorithm},
		"alg none without a signature": {reshaped(func(m map[string]any) {
			m["protected"] = b64(must(json.Marshal(header(map[string]any{"alg": "none"})))(t))
			m["signature"] = ""
		}), 400, badSignatureAlgorithm},
		"a MAC under the public key": {func() []byte {
			protected := b64(must(json.Marshal(header(map[string]any{"alg": "HS256"})))(t))
			mac := hmac.New(sha256.New, jwk(t, c.key))
			mac.Write([]byte(protected + "." + b64(payload)))
			return must(json.Marshal(map[string]string{"protected": protected, "payload": b64(payload), "signature": b64(mac.Sum(nil))}))(t)
		}(), 400, badSignatureAlgorithm},
		"an algorithm of another kind of key": {signed(map[string]any{"alg": "RS256"}), 400, malformed},
		"an algorithm that nobody knows":      {signed(map[string]any{"alg": "ES257"}), 400, badSignatureAlgorithm},
		"no algorithm":                        {signed(map[string]any{"alg": nil}), 400, badSignatureAlgorithm},
		"a nonce that nobody gave out":        {signed(map[string]any{"nonce": strings.Repeat("A", 32)}), 400, badNonce},
		"a nonce that is no base64url":        {signed(map[string]any{"nonce": "!" + strings.Repeat("A", 31)}), 400, badNonce},
		"no nonce":                            {signed(map[string]any{"nonce": nil}), 400, badNonce},
		"the URL of another place":            {signed(map[string]any{"url": w.base() + "/revoke-cert"}), 403, unauthorized},
		"the URL of another server":           {signed(map[string]any{"url": "https://evil.example/acme/server/new-order"}), 403, unauthorized},
		"no URL":                              {signed(map[string]any{"url": nil}), 403, unauthorized},
		"a kid and a jwk":                     {signed(map[string]any{"jwk": jwk(t, c.key)}), 400, malformed},
		"neither kid nor jwk":                 {signed(map[string]any{"kid": nil}), 400, malformed},
		"a jwk where a kid has to be":         {signed(map[string]any{"kid": nil, "jwk": jwk(t, c.key)}), 400, malformed},
		"the kid of another account":          {signed(map[string]any{"kid": other.kid}), 400, malformed},
		"the kid of no account":               {signed(map[string]any{"kid": w.base() + "/account/0123456789abcdef"}), 400, accountDoesNotExist},
		"a kid of another server":             {signed(map[string]any{"kid": "https://evil.example/acme/server/account/x"}), 400, malformed},
		"a kid that is only an identifier":    {signed(map[string]any{"kid": c.kid[strings.LastIndex(c.kid, "/")+1:]}), 400, malformed},
		"a header that has to be understood":  {signed(map[string]any{"crit": []string{"exp"}, "exp": 1}), 400, malformed},
		"a payload that is not encoded":       {signed(map[string]any{"b64": false, "crit": []string{"b64"}}), 400, malformed},
		"an unprotected header":               {reshaped(func(m map[string]any) { m["header"] = map[string]any{"kid": c.kid} }), 400, malformed},
		"a list of signatures":                {reshaped(func(m map[string]any) { m["signatures"] = []any{maps.Clone(m)} }), 400, malformed},
		"a payload that was changed":          {reshaped(func(m map[string]any) { m["payload"] = b64([]byte(`{"identifiers":[]}`)) }), 400, malformed},
		"no payload":                          {reshaped(func(m map[string]any) { delete(m, "payload") }), 400, malformed},
		"no signature":                        {reshaped(func(m map[string]any) { m["signature"] = "" }), 400, malformed},
		"a signature of zeros":                {reshaped(func(m map[string]any) { m["signature"] = b64(make([]byte, 64)) }), 400, malformed},
		"a signature in DER": {reshaped(func(m map[string]any) {
			m["signature"] = b64(must(ecdsa.SignASN1(rand.Reader, c.key, make([]byte, 32)))(t))
		}), 400, malformed},
		"the compact form":      {[]byte("eyJhbGciOiJFUzI1NiJ9.e30.AAAA"), 400, malformed},
		"something behind it":   {append(signed(nil), '{'), 400, malformed},
		"an empty body":         {nil, 400, malformed},
		"a megabyte of payload": {c.sign(header(nil), bytes.Repeat([]byte("x"), 1<<20), c.key), 413, malformed},
		"deep nesting":          {[]byte(strings.Repeat("[", 60_000)), 400, malformed},
	} {
		t.Run(sentence, func(t *testing.T) {
			a := c.send(url, k.body)
			if a.status != k.status || a.kind() != k.kind {
				t.Errorf("%d %s, want %d %s", a.status, a.body, k.status, k.kind)
			}
			if a.header.Get("Replay-Nonce") == "" {
				t.Error("the answer has no nonce to go on with")
			}
			if k.kind == badSignatureAlgorithm && len(a.problem.Algorithms) == 0 {
				t.Error("the answer does not say which algorithms there are")
			}
		})
	}
	if n := len(must(w.authority.ACMEOrders(t.Context(), authority.ACMEOrderQuery{}))(t)); n != 0 {
		t.Errorf("%d orders were taken", n)
	}
	t.Run("a replay", func(t *testing.T) {
		body := signed(nil)
		if a := c.send(url, body); a.status != http.StatusCreated {
			t.Fatalf("%d %s", a.status, a.body)
		}
		if a := c.send(url, body); a.kind() != badNonce {
			t.Errorf("%d %s", a.status, a.body)
		}
	})
	t.Run("another content type", func(t *testing.T) {
		res := must(c.http.Post(url, "application/json", bytes.NewReader(signed(nil))))(t)
		if a := c.read(res); a.status != http.StatusUnsupportedMediaType {
			t.Errorf("%d %s", a.status, a.body)
		}
	})
	t.Run("GET where a signature is needed", func(t *testing.T) {
		for _, path := range []string{"/new-order", "/new-account", "/key-change", "/revoke-cert", "/order/x", "/order/x/finalize", "/authorization/x", "/challenge/x/http-01", "/certificate/x", "/account/x"} {
			a := c.read(must(c.http.Get(w.base() + path))(t))
			if a.status != http.StatusMethodNotAllowed || a.kind() != malformed || a.header.Get("Allow") != "POST" {
				t.Errorf("GET %s: %d %s", path, a.status, a.body)
			}
		}
	})
}

func TestKeysOfAccountsThatAreNotTaken(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.client(t)
	url := w.base() + "/new-account"
	weak := must(rsa.GenerateKey(rand.Reader, 1024))(t)
	k := must(ecdsa.GenerateKey(elliptic.P224(), rand.Reader))(t)
	point := must(k.PublicKey.Bytes())(t)
	private := decodeJSON[map[string]any](t, jwk(t, c.key))
	private["d"] = b64(must(c.key.Bytes())(t))
	off := decodeJSON[map[string]any](t, jwk(t, c.key))
	off["y"] = off["x"]
	for sentence, key := range map[string]any{
		"RSA of 1024 bits":          map[string]string{"kty": "RSA", "n": b64(weak.N.Bytes()), "e": "AQAB"},
		"RSA with an even modulus":  map[string]string{"kty": "RSA", "n": b64(append(bytes.Repeat([]byte{0xff}, 255), 0xfe)), "e": "AQAB"},
		"RSA with the exponent one": map[string]string{"kty": "RSA", "n": b64(bytes.Repeat([]byte{0xff}, 256)), "e": "AQ"},
		"RSA of 16384 bits":         map[string]string{"kty": "RSA", "n": b64(bytes.Repeat([]byte{0xff}, 2048)), "e": "AQAB"},
		"a curve that is too small": map[string]string{"kty": "EC", "crv": "P-224", "x": b64(point[1:29]), "y": b64(point[29:])},
		"a point off the curve":     off,
		"a symmetric key":           map[string]string{"kty": "oct", "k": b64(make([]byte, 32))},
		"a private key":             private,
		"no key":                    map[string]string{},
		"a list":                    []string{},
	} {
		t.Run(sentence, func(t *testing.T) {
			a := c.send(url, c.sign(map[string]any{"alg": "ES256", "nonce": c.nonce(), "url": url, "jwk": key}, []byte("{}"), c.key))
			if a.status != http.StatusBadRequest || a.kind() != badPublicKey {
				t.Errorf("%d %s", a.status, a.body)
			}
		})
	}
}

func TestBindingsThatAreNotGood(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	url := w.base() + "/new-account"
	k, stranger := w.invite("services/web"), authority.ACMEKey{Key: "0123456789abcdef", MAC: b64(make([]byte, 32))}
	wrongMAC := k
	wrongMAC.MAC = b64(make([]byte, 32))
	late := must(w.authority.CreateACMEKey(t.Context(), authority.ACMEKeyRequest{Name: named(t, "services/late"), TTL: 1e9}))(t)
	spent := w.invite("services/spent")
	if a := w.client(t).register(spent); a.status != http.StatusCreated {
		t.Fatalf("%d %s", a.status, a.body)
	}
	gone := w.invite("services/gone")
	must(w.authority.Revoke(t.Context(), authority.RevokeRequest{Name: named(t, "services/gone")}))(t)
	held := w.invite("services/held")
	must(0, w.authority.Suspend(t.Context(), named(t, "services/held")))(t)
	w.clock.forward(2e9)
	for sentence, bind := range map[string]func(*client) any{
		"none":                       func(*client) any { return nil },
		"a key that was never made":  func(c *client) any { return c.bindingOf(stranger, url, jwk(t, c.key)) },
		"another MAC":                func(c *client) any { return c.bindingOf(wrongMAC, url, jwk(t, c.key)) },
		"another account's key":      func(c *client) any { return c.bindingOf(k, url, jwk(t, newKey(t))) },
		"another URL":                func(c *client) any { return c.bindingOf(k, w.base()+"/new-order", jwk(t, c.key)) },
		"a key that has expired":     func(c *client) any { return c.bindingOf(late, url, jwk(t, c.key)) },
		"a key that has its account": func(c *client) any { return c.bindingOf(spent, url, jwk(t, c.key)) },
		"a key of a revoked name":    func(c *client) any { return c.bindingOf(gone, url, jwk(t, c.key)) },
		"a key of a suspended name":  func(c *client) any { return c.bindingOf(held, url, jwk(t, c.key)) },
		"a signature instead of a MAC": func(c *client) any {
			return json.RawMessage(c.sign(map[string]any{"alg": "ES256", "kid": k.Key, "url": url}, jwk(t, c.key), c.key))
		},
		"a text": func(*client) any { return "binding" },
	} {
		t.Run(sentence, func(t *testing.T) {
			c := w.client(t)
			payload := map[string]any{}
			if b := bind(c); b != nil {
				payload["externalAccountBinding"] = b
			}
			a := c.postKey("new-account", payload)
			if a.status < 400 || a.status >= 500 || a.header.Get("Location") != "" {
				t.Errorf("%d %s", a.status, a.body)
			}
			if len(payload) == 0 && a.kind() != externalAccountRequired {
				t.Errorf("%s", a.body)
			}
		})
	}
	// and after all of that the key is still good, once
	c := w.client(t)
	if a := c.register(k); a.status != http.StatusCreated {
		t.Errorf("%d %s", a.status, a.body)
	}
	w.verify()
}
