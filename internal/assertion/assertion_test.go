package assertion

import (
	"encoding/json"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

func open(t *testing.T, dir string, now *time.Time) *Signer {
	t.Helper()
	s, err := Open(dir, "spiffe://example.com", func() time.Time { return *now })
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// published is what somebody sees who verifies.
func published(t *testing.T, s *Signer) (set jose.JSONWebKeySet) {
	t.Helper()
	w := httptest.NewRecorder()
	s.ServeHTTP(w, httptest.NewRequest("GET", "/jwks.json", nil))
	if err := json.Unmarshal(w.Body.Bytes(), &set); err != nil || w.Header().Get("Content-Type") != "application/jwk-set+json" {
		t.Fatal(err, w.Header())
	}
	for _, k := range set.Keys {
		if !k.IsPublic() || !k.Valid() {
			t.Fatalf("a key is published that is not public: %v", k)
		}
	}
	return set
}

func verify(t *testing.T, token string, set jose.JSONWebKeySet, now time.Time) (jwt.Claims, error) {
	t.Helper()
	parsed, err := jwt.ParseSigned(token, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		t.Fatal(err)
	}
	var c jwt.Claims
	if err := parsed.Claims(set, &c); err != nil {
		return c, err
	}
	return c, c.ValidateWithLeeway(jwt.Expected{Issuer: "spiffe://example.com", AnyAudience: jwt.Audience{"app.example.com"}, Time: now}, 0)
}

func TestATokenSaysWhoAndIsVerifiedWithThePublishedKeys(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	s := open(t, filepath.Join(t.TempDir(), "a[b]"), &now)
	st := Statement{Subject: "spiffe://example.com/ben/laptop", Name: "ben/laptop", Serial: "01ff", Certificate: []byte("der"), Audience: "app.example.com"}
	token, err := s.Sign(st)
	if err != nil {
		t.Fatal(err)
	}
	set := published(t, s)
	if c, err := verify(t, token, set, now.Add(Life-time.Second)); err != nil || c.Subject != st.Subject {
		t.Errorf("%+v, %v", c, err)
	}
	if _, err := verify(t, token, set, now.Add(Life+time.Second)); err == nil {
		t.Error("it does not end")
	}
	other := open(t, t.TempDir(), &now)
	if _, err := verify(t, token, published(t, other), now); err == nil {
		t.Error("another authority's keys verify it")
	}
	again := open(t, s.dir, &now)
	if _, err := verify(t, token, published(t, again), now); err != nil {
		t.Errorf("after a restart: %v", err)
	}
	files, _ := os.ReadDir(s.dir)
	for _, f := range files {
		if info, _ := f.Info(); info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v", f.Name(), info.Mode())
		}
	}
}

// Over three years, somebody who reads the set once a day can always verify,
// keys are replaced, and no more than two exist.
func TestKeysReplaceThemselves(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	dir := t.TempDir()
	s := open(t, dir, &now)
	seen := map[string]bool{}
	var set jose.JSONWebKeySet
	for hour := range 3 * 365 * 24 {
		if hour%24 == 0 {
			set = published(t, s)
		}
		if hour%7 == 0 {
			token, err := s.Sign(Statement{Audience: "app.example.com"})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := verify(t, token, set, now); err != nil {
				t.Fatalf("hour %d: %v", hour, err)
			}
			seen[strings.SplitN(token, ".", 2)[0]] = true
		}
		if hour%1000 == 0 {
			s = open(t, dir, &now)
		}
		if len(s.keys) > 2 {
			t.Fatalf("%d keys", len(s.keys))
		}
		now = now.Add(time.Hour)
	}
	if n := len(seen); n < 30 || n > 40 {
		t.Errorf("%d keys were used", n)
	}
}

func TestADamagedKeyIsRefused(t *testing.T) {
	now := time.Now()
	for name, data := range map[string]string{"20260101T000000Z.key": "nonsense", "mine.key": ""} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(dir, "x", func() time.Time { return now }); err == nil || !strings.Contains(err.Error(), "delete it and another one is made") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
