//go:build judges

package jws

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
)

// A vectorGroup is a group of Wycheproof's json_web_signature_test.json: what is
// to become of messages under one key.
type vectorGroup struct {
	Type    string          `json:"type"`
	Comment string          `json:"comment"`
	Private json.RawMessage `json:"private"`
	Public  json.RawMessage `json:"public"`
	Tests   []vector        `json:"tests"`
}

type vector struct {
	ID      int      `json:"tcId"`
	Comment string   `json:"comment"`
	JWS     string   `json:"jws"`
	Result  string   `json:"result"`
	Flags   []string `json:"flags"`
}

// differs are the vectors that we judge in another way, and why.
var differs = map[int]string{
	351: "the key is for ES521, which no algorithm is called (RFC 7518 section 3.1)",
	367: "it is said to be invalid, and is letter for letter number 357, which is valid",
	370: "it is said to be invalid, and is letter for letter number 357, which is valid",
	372: "it is said to be valid, with a question mark in the base64url of its header (RFC 4648 section 3.3)",
	373: "it is said to be valid, with a question mark in the base64url of its payload (RFC 4648 section 3.3)",
}

// The vectors of Wycheproof in the file that WYCHEPROOF names end as it says:
// under the algorithms that are taken each one, and under the others all are
// refused. 'make judges WYCHEPROOF=FILE' runs it.
func TestWycheproof(t *testing.T) {
	path := os.Getenv("WYCHEPROOF")
	if path == "" {
		t.Fatal("WYCHEPROOF has to name testvectors_v1/json_web_signature_test.json of github.com/C2SP/wycheproof")
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Number int           `json:"numberOfTests"`
		Groups []vectorGroup `json:"testGroups"`
	}
	if err := json.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	seen, accepted, refused := 0, 0, 0
	skipped := map[string]int{}
	for _, g := range file.Groups {
		if g.Type != "JsonWebSignature" {
			t.Errorf("a group of type %q", g.Type)
			continue
		}
		for _, v := range g.Tests {
			seen++
			err := g.verify(v)
			other, differs := differs[v.ID]
			wanted := v.Result == "valid"
			if v.Result != "valid" && v.Result != "invalid" {
				t.Errorf("%d is %q, which is no verdict", v.ID, v.Result)
			}
			// Only what is good by an algorithm that is not taken shows nothing:
			// that it is refused says nothing about the vector.
			if e, ok := errors.AsType[*AlgorithmError](err); ok && wanted {
				skipped["good, signed with "+e.Algorithm+", which is not taken"]++
				continue
			}
			if k, ok := errors.AsType[*KeyError](err); ok && wanted && !differs {
				skipped["good, under a key that is not taken: "+k.why]++
				continue
			}
			switch {
			case differs && (err == nil) == wanted:
				t.Errorf("%d (%s, %s) is judged as the file says, and should not be: %s", v.ID, g.Comment, v.Comment, other)
			case differs:
				skipped["judged otherwise: "+other]++
			case (err == nil) != wanted:
				t.Errorf("%d (%s, %s) is %s, and we say %v", v.ID, g.Comment, v.Comment, v.Result, err)
			case wanted:
				accepted++
			default:
				refused++
			}
		}
	}
	if seen != file.Number {
		t.Errorf("the file has %d vectors, and says that it has %d", seen, file.Number)
	}
	if accepted == 0 || refused == 0 {
		t.Error("nothing was tried")
	}
	t.Logf("%d vectors: %d good ones accepted, %d bad ones refused", seen, accepted, refused)
	for _, why := range slices.Sorted(maps.Keys(skipped)) {
		t.Logf("%d beside: %s", skipped[why], why)
	}
}

// verify reads v as an ACME client would have sent it, and verifies it with the
// group's key: its public one, or the secret of a MAC.
func (g vectorGroup) verify(v vector) error {
	body := []byte(v.JWS)
	if parts := strings.Split(v.JWS, "."); len(parts) == 3 {
		body = flat(parts[0], parts[1], parts[2])
	}
	if g.Public != nil {
		k, err := ParseKey(g.Public)
		if err != nil {
			return err
		}
		m, err := Parse(body)
		if err != nil {
			return err
		}
		return m.Verify(k)
	}
	var secret struct {
		Kind string `json:"kty"`
		K    string `json:"k"`
	}
	if err := json.Unmarshal(g.Private, &secret); err != nil || secret.Kind != "oct" {
		return &KeyError{"a group without a public key, and no secret"}
	}
	m, err := ParseMAC(body)
	if err != nil {
		return err
	}
	key, err := base64.RawURLEncoding.DecodeString(secret.K)
	if err != nil {
		return err
	}
	return m.VerifyMAC(key)
}
