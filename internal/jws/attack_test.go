package jws

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"hash"
	"math/big"
	"slices"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"
)

// The keys of the one who is attacked, and of the one who attacks.
var (
	owner    = curve(elliptic.P256())
	owner384 = curve(elliptic.P384())
	ownerRSA = must(rsa.GenerateKey(rand.Reader, 2048))
	attacker = curve(elliptic.P256())
)

const fine = `{"alg":"ES256","kid":"k","nonce":"n","url":"u"}`

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func jwkOf(pub crypto.PublicKey) string {
	return string(must(jose.JSONWebKey{Key: pub}.MarshalJSON()))
}

func keyOf(pub crypto.PublicKey) Key { return must(ParseKey([]byte(jwkOf(pub)))) }

// flat is the flattened form of three texts.
func flat(protected, payload, signature string) []byte {
	return must(json.Marshal(map[string]string{"protected": protected, "payload": payload, "signature": signature}))
}

// A signature makes the signature of what is to be signed.
type signature func(input []byte) []byte

// signed is the message with header, whose payload is "foo", signed by how.
func signed(header string, how signature) []byte {
	return signedText(b64([]byte(header)), b64([]byte("foo")), how)
}

func signedText(protected, payload string, how signature) []byte {
	return flat(protected, payload, b64(how([]byte(protected+"."+payload))))
}

func digest(h hash.Hash, b []byte) []byte { h.Write(b); return h.Sum(nil) }

// ecdsaRaw signs with r and s in size bytes each (RFC 7518 section 3.4).
func ecdsaRaw(key *ecdsa.PrivateKey, h func() hash.Hash, size int) signature {
	return func(input []byte) []byte {
		r, s, err := ecdsa.Sign(rand.Reader, key, digest(h(), input))
		if err != nil {
			panic(err)
		}
		out := make([]byte, 2*size)
		r.FillBytes(out[:size])
		s.FillBytes(out[size:])
		return out
	}
}

var byOwner = ecdsaRaw(owner, sha256.New, 32)

// changed is a signature of by that is changed.
func changed(by signature, change func([]byte) []byte) signature {
	return func(input []byte) []byte { return change(by(input)) }
}

func fixed(parts ...*big.Int) signature {
	return func([]byte) (out []byte) {
		for _, p := range parts {
			out = append(out, p.FillBytes(make([]byte, 32))...)
		}
		return out
	}
}

func mac(secret []byte) signature {
	return func(input []byte) []byte {
		h := hmac.New(sha256.New, secret)
		h.Write(input)
		return h.Sum(nil)
	}
}

// sha256Info is the DER that stands before a digest (RFC 8017 section 9.2).
var sha256Info = []byte{0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00, 0x04, 0x20}

// rsaRaw applies the private key to what padded makes of a digest.
func rsaRaw(padded func(digest []byte, size int) []byte) signature {
	return func(input []byte) []byte {
		em := padded(digest(sha256.New(), input), ownerRSA.Size())
		m := new(big.Int).SetBytes(em)
		return m.Exp(m, ownerRSA.D, ownerRSA.N).FillBytes(make([]byte, ownerRSA.Size()))
	}
}

// padding is EMSA-PKCS1-v1_5 with the info given.
func padding(kind, fill byte, info, tail []byte) func([]byte, int) []byte {
	return func(digest []byte, size int) []byte {
		t := slices.Concat(info, digest, tail)
		return slices.Concat([]byte{0, kind}, bytes.Repeat([]byte{fill}, size-3-len(t)), []byte{0}, t)
	}
}

const fineRSA = `{"alg":"RS256","kid":"k","nonce":"n","url":"u"}`

// These are the controls: what the attacks below are made of is accepted.
func TestWhatTheAttacksAreMadeOf(t *testing.T) {
	for sentence, c := range map[string]struct {
		body []byte
		pub  crypto.PublicKey
	}{
		"ES256":           {signed(fine, byOwner), owner.Public()},
		"ES384":           {signed(strings.Replace(fine, "ES256", "ES384", 1), ecdsaRaw(owner384, sha512.New384, 48)), owner384.Public()},
		"RS256":           {signed(fineRSA, rsaRaw(padding(1, 0xff, sha256Info, nil))), ownerRSA.Public()},
		"white space":     {signed(" { \"alg\" : \"ES256\",\n\t\"kid\":\"k\"} ", byOwner), owner.Public()},
		"an empty body":   {signedText(b64([]byte(fine)), "", byOwner), owner.Public()},
		"a key of itself": {signed(`{"alg":"ES256","jwk":`+jwkOf(owner.Public())+`}`, byOwner), owner.Public()},
	} {
		m, err := Parse(c.body)
		if err == nil {
			err = m.Verify(keyOf(c.pub))
		}
		if err != nil {
			t.Errorf("%s: %v", sentence, err)
		}
	}
}

// The ways in which verifiers of JWS were deceived, those of Wycheproof's
// vectors among them, end in a refusal.
func TestForgedMessages(t *testing.T) {
	t.Parallel()
	n, one, zero := elliptic.P256().Params().N, big.NewInt(1), new(big.Int)
	less := new(big.Int).Sub(n, one)
	der := must(x509.MarshalPKIXPublicKey(owner.Public()))
	point := must(owner.PublicKey.Bytes())
	text := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	good := signed(fine, byOwner)
	var parts struct{ Protected, Payload, Signature string }
	if err := json.Unmarshal(good, &parts); err != nil {
		t.Fatal(err)
	}
	compact := parts.Protected + "." + parts.Payload + "." + parts.Signature
	header := func(s string) []byte { return signed(s, byOwner) }
	hs := strings.Replace(fine, "ES256", "HS256", 1)
	with := func(member string) []byte { return header(strings.Replace(fine, "{", "{"+member+",", 1)) }
	flip := func(s string) string { return string(s[0]^1) + s[1:] }
	pss := func(input []byte) []byte {
		return must(rsa.SignPSS(rand.Reader, ownerRSA, crypto.SHA256, digest(sha256.New(), input), nil))
	}
	rsaSigned := rsaRaw(padding(1, 0xff, sha256Info, nil))
	// unused bits of a last letter, of text that ends on a byte
	loose := func(s string) string {
		const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
		return s[:len(s)-1] + string(letters[strings.IndexByte(letters, s[len(s)-1])|1])
	}
	odd := b64([]byte("fooo")) // two letters for the last byte, with four bits to spare
	oddHeader := b64([]byte(fine + strings.Repeat(" ", 1+(3-len(fine)%3)%3)))

	for sentence, c := range map[string]struct {
		body []byte
		pub  crypto.PublicKey // the owner's on P-256 by default
	}{
		"a signature that is changed":             {body: flat(parts.Protected, parts.Payload, flip(parts.Signature))},
		"a payload that is changed":               {body: flat(parts.Protected, flip(parts.Payload), parts.Signature)},
		"a header that is changed":                {body: flat(b64([]byte(strings.Replace(fine, `"u"`, `"v"`, 1))), parts.Payload, parts.Signature)},
		"a signature that is empty":               {body: flat(parts.Protected, parts.Payload, "")},
		"a payload that is empty":                 {body: flat(parts.Protected, "", parts.Signature)},
		"a header that is empty":                  {body: flat("", parts.Payload, parts.Signature)},
		"header and signature are empty":          {body: flat("", parts.Payload, "")},
		"no signature":                            {body: fmt.Appendf(nil, `{"protected":%q,"payload":%q}`, parts.Protected, parts.Payload)},
		"no payload":                              {body: fmt.Appendf(nil, `{"protected":%q,"signature":%q}`, parts.Protected, parts.Signature)},
		"no header":                               {body: fmt.Appendf(nil, `{"payload":%q,"signature":%q}`, parts.Payload, parts.Signature)},
		"nothing":                                 {body: nil},
		"null":                                    {body: []byte("null")},
		"compact":                                 {body: []byte(compact)},
		"compact, no signature":                   {body: []byte(parts.Protected + "." + parts.Payload + ".")},
		"compact, no separator":                   {body: []byte(parts.Protected + "." + parts.Payload)},
		"compact, one empty part more":            {body: []byte(compact + ".")},
		"compact, one part more":                  {body: []byte(compact + ".foo")},
		"compact in JSON":                         {body: must(json.Marshal(compact))},
		"a payload of two parts":                  {body: signedText(parts.Protected, "Zm9v.Zm9v", byOwner)},
		"a header of two parts":                   {body: signedText(parts.Protected+"."+parts.Protected, parts.Payload, byOwner)},
		"something behind it":                     {body: append(slices.Clone(good), good...)},
		"two signatures":                          {body: fmt.Appendf(nil, `{"payload":%q,"signatures":[{"protected":%q,"signature":%q},{"protected":%[2]q,"signature":%[3]q}]}`, parts.Payload, parts.Protected, parts.Signature)},
		"one signature in a list":                 {body: fmt.Appendf(nil, `{"payload":%q,"signatures":[{"protected":%q,"signature":%q}]}`, parts.Payload, parts.Protected, parts.Signature)},
		"a list beside the signature":             {body: fmt.Appendf(nil, `{"payload":%q,"protected":%q,"signature":%q,"signatures":[]}`, parts.Payload, parts.Protected, parts.Signature)},
		"a header that is not protected":          {body: fmt.Appendf(nil, `{"payload":%q,"protected":%q,"signature":%q,"header":{"kid":"k"}}`, parts.Payload, parts.Protected, parts.Signature)},
		"a header that is not protected, only":    {body: fmt.Appendf(nil, `{"payload":%q,"header":%s,"signature":%q}`, parts.Payload, fine, b64(byOwner([]byte("."+parts.Payload))))},
		"two payloads":                            {body: fmt.Appendf(nil, `{"payload":%q,"protected":%q,"signature":%q,"payload":%[1]q}`, parts.Payload, parts.Protected, parts.Signature)},
		"two payloads, one in capitals":           {body: fmt.Appendf(nil, `{"payload":%q,"protected":%q,"signature":%q,"PAYLOAD":"WG9v"}`, parts.Payload, parts.Protected, parts.Signature)},
		"a payload in capitals":                   {body: fmt.Appendf(nil, `{"Payload":%q,"protected":%q,"signature":%q}`, parts.Payload, parts.Protected, parts.Signature)},
		"the algorithm none":                      {body: flat(b64([]byte(strings.Replace(fine, "ES256", "none", 1))), parts.Payload, "")},
		"the algorithm none, in capitals":         {body: flat(b64([]byte(strings.Replace(fine, "ES256", "NONE", 1))), parts.Payload, "")},
		"the algorithm none, in both":             {body: flat(b64([]byte(strings.Replace(fine, "ES256", "nOnE", 1))), parts.Payload, "")},
		"the algorithm none, signed":              {body: header(strings.Replace(fine, "ES256", "none", 1))},
		"no algorithm":                            {body: header(`{"kid":"k","nonce":"n","url":"u"}`)},
		"an algorithm that is null":               {body: header(strings.Replace(fine, `"ES256"`, "null", 1))},
		"an algorithm in a list":                  {body: header(strings.Replace(fine, `"ES256"`, `["ES256"]`, 1))},
		"an algorithm in small letters":           {body: header(strings.Replace(fine, "ES256", "es256", 1))},
		"a MAC by the key as DER":                 {body: signed(hs, mac(der))},
		"a MAC by the key as PEM":                 {body: signed(hs, mac(text))},
		"a MAC by the key as PEM, trimmed":        {body: signed(hs, mac(bytes.TrimSpace(text)))},
		"a MAC by the key as JWK":                 {body: signed(hs, mac([]byte(jwkOf(owner.Public()))))},
		"a MAC by the key's point":                {body: signed(hs, mac(point))},
		"a MAC by the key's coordinates":          {body: signed(hs, mac(point[1:]))},
		"a MAC by nothing":                        {body: signed(hs, mac(nil))},
		"a MAC that is called ES256":              {body: signed(fine, mac(point))},
		"a key of the attacker's beside the name": {body: signed(`{"alg":"ES256","kid":"k","jwk":`+jwkOf(attacker.Public())+`}`, ecdsaRaw(attacker, sha256.New, 32))},
		"a key of the attacker's":                 {body: signed(`{"alg":"ES256","jwk":`+jwkOf(attacker.Public())+`}`, ecdsaRaw(attacker, sha256.New, 32))},
		"a place to get the key from":             {body: with(`"jku":"https://attacker.example"`)},
		"a certificate to get the key from":       {body: with(`"x5c":[]`)},
		"signed by the attacker":                  {body: signed(fine, ecdsaRaw(attacker, sha256.New, 32))},
		"P-256 with ES384":                        {body: signed(strings.Replace(fine, "ES256", "ES384", 1), ecdsaRaw(owner, sha512.New384, 48))},
		"P-256 with ES384, short":                 {body: signed(strings.Replace(fine, "ES256", "ES384", 1), ecdsaRaw(owner, sha512.New384, 32))},
		"P-256 with ES512":                        {body: signed(strings.Replace(fine, "ES256", "ES512", 1), ecdsaRaw(owner, sha512.New, 66))},
		"P-256 with ES256K":                       {body: signed(strings.Replace(fine, "ES256", "ES256K", 1), byOwner)},
		"P-384 with ES256":                        {body: signed(fine, ecdsaRaw(owner384, sha256.New, 48)), pub: owner384.Public()},
		"another digest":                          {body: signed(fine, ecdsaRaw(owner, sha512.New, 32))},
		"RSA with PS256":                          {body: signed(strings.Replace(fineRSA, "RS256", "PS256", 1), pss), pub: ownerRSA.Public()},
		"PS256 that is called RS256":              {body: signed(fineRSA, pss), pub: ownerRSA.Public()},
		"RS256 that is called PS256":              {body: signed(strings.Replace(fineRSA, "RS256", "PS256", 1), rsaSigned), pub: ownerRSA.Public()},
		"RS512": {body: signed(strings.Replace(fineRSA, "RS256", "RS512", 1), func(in []byte) []byte {
			return must(rsa.SignPKCS1v15(nil, ownerRSA, crypto.SHA512, digest(sha512.New(), in)))
		}), pub: ownerRSA.Public()},
		"RS1 that is called RS256": {body: signed(fineRSA, func(in []byte) []byte {
			return must(rsa.SignPKCS1v15(nil, ownerRSA, crypto.SHA1, digest(sha1.New(), in)))
		}), pub: ownerRSA.Public()},
		"RS256 for a key on P-256":        {body: signed(fineRSA, rsaSigned)},
		"ES256 for an RSA key":            {body: signed(fine, byOwner), pub: ownerRSA.Public()},
		"RSA, no padding":                 {body: signed(fineRSA, rsaRaw(func(d []byte, size int) []byte { return append(make([]byte, size-len(d)), d...) })), pub: ownerRSA.Public()},
		"RSA, block type 2":               {body: signed(fineRSA, rsaRaw(padding(2, 0xff, sha256Info, nil))), pub: ownerRSA.Public()},
		"RSA, block type 0":               {body: signed(fineRSA, rsaRaw(padding(0, 0, sha256Info, nil))), pub: ownerRSA.Public()},
		"RSA, padded with something else": {body: signed(fineRSA, rsaRaw(padding(1, 0xfe, sha256Info, nil))), pub: ownerRSA.Public()},
		"RSA, no parameters":              {body: signed(fineRSA, rsaRaw(padding(1, 0xff, slices.Concat([]byte{0x30, 0x2f, 0x30, 0x0b}, sha256Info[4:15], []byte{4, 32}), nil))), pub: ownerRSA.Public()},
		"RSA, no digest info":             {body: signed(fineRSA, rsaRaw(padding(1, 0xff, nil, nil))), pub: ownerRSA.Public()},
		"RSA, the name of another digest": {body: signed(fineRSA, rsaRaw(padding(1, 0xff, append(append(slices.Clone(sha256Info[:14]), 3), sha256Info[15:]...), nil))), pub: ownerRSA.Public()},
		"RSA, a length in the long form":  {body: signed(fineRSA, rsaRaw(padding(1, 0xff, slices.Concat([]byte{0x30, 0x81}, sha256Info[1:]), nil))), pub: ownerRSA.Public()},
		"RSA, a byte behind the digest":   {body: signed(fineRSA, rsaRaw(padding(1, 0xff, sha256Info, []byte{0}))), pub: ownerRSA.Public()},
		"RSA, eight of padding, and garbage behind": {body: signed(fineRSA, rsaRaw(func(d []byte, size int) []byte {
			em := padding(1, 0xff, sha256Info, nil)(d, 11+len(sha256Info)+len(d))
			return append(em, make([]byte, size-len(em))...)
		})), pub: ownerRSA.Public()},
		"RSA, garbage within the parameters":   {body: signed(fineRSA, rsaRaw(padding(1, 0xff, slices.Concat([]byte{0x30, 0x33, 0x30, 0x0f}, sha256Info[4:15], []byte{4, 2, 1, 1, 4, 32}), nil))), pub: ownerRSA.Public()},
		"RSA, one byte too long":               {body: signed(fineRSA, changed(rsaSigned, func(s []byte) []byte { return append([]byte{0}, s...) })), pub: ownerRSA.Public()},
		"RSA, one byte too short":              {body: signed(fineRSA, changed(rsaSigned, func(s []byte) []byte { return s[1:] })), pub: ownerRSA.Public()},
		"RSA, the modulus added":               {body: signed(fineRSA, changed(rsaSigned, func(s []byte) []byte { return new(big.Int).Add(new(big.Int).SetBytes(s), ownerRSA.N).Bytes() })), pub: ownerRSA.Public()},
		"RSA, zero":                            {body: signed(fineRSA, func([]byte) []byte { return make([]byte, ownerRSA.Size()) }), pub: ownerRSA.Public()},
		"RSA, one":                             {body: signed(fineRSA, func([]byte) []byte { return one.FillBytes(make([]byte, ownerRSA.Size())) }), pub: ownerRSA.Public()},
		"ECDSA as DER":                         {body: signed(fine, func(in []byte) []byte { return must(ecdsa.SignASN1(rand.Reader, owner, digest(sha256.New(), in))) })},
		"ECDSA, one byte too long":             {body: signed(fine, changed(byOwner, func(s []byte) []byte { return append([]byte{0}, s...) }))},
		"ECDSA, a zero behind each number":     {body: signed(fine, changed(byOwner, func(s []byte) []byte { return slices.Concat(s[:32], []byte{0}, s[32:], []byte{0}) }))},
		"ECDSA, a zero before each number":     {body: signed(fine, changed(byOwner, func(s []byte) []byte { return slices.Concat([]byte{0}, s[:32], []byte{0}, s[32:]) }))},
		"ECDSA, many zeros before each number": {body: signed(fine, changed(byOwner, func(s []byte) []byte { z := make([]byte, 256); return slices.Concat(z, s[:32], z, s[32:]) }))},
		"ECDSA, one byte too short":            {body: signed(fine, changed(byOwner, func(s []byte) []byte { return s[:63] }))},
		"ECDSA, half of it":                    {body: signed(fine, changed(byOwner, func(s []byte) []byte { return s[:32] }))},
		"ECDSA, exchanged":                     {body: signed(fine, changed(byOwner, func(s []byte) []byte { return slices.Concat(s[32:], s[:32]) }))},
		"ECDSA, r too large": {body: signed(fine, changed(byOwner, func(s []byte) []byte {
			r := new(big.Int).SetBytes(s[:32])
			r.Add(r, n)
			return slices.Concat(r.FillBytes(make([]byte, 33)), []byte{0}, s[32:])
		}))},

		"ES256 twice":                        {body: header(`{"alg":"ES256","alg":"ES256","kid":"k"}`)},
		"two algorithms":                     {body: header(`{"alg":"none","alg":"ES256","kid":"k"}`)},
		"two algorithms, one in capitals":    {body: header(`{"ALG":"none","alg":"ES256","kid":"k"}`)},
		"the algorithm in capitals":          {body: header(`{"ALG":"ES256","kid":"k"}`)},
		"two names":                          {body: header(`{"alg":"ES256","kid":"j","kid":"k"}`)},
		"two names, one in capitals":         {body: header(`{"alg":"ES256","kid":"k","KID":"j"}`)},
		"two addresses":                      {body: header(`{"alg":"ES256","kid":"k","url":"u","url":"v"}`)},
		"two addresses, one in capitals":     {body: header(`{"alg":"ES256","kid":"k","url":"u","Url":"v"}`)},
		"two nonces":                         {body: header(`{"alg":"ES256","kid":"k","nonce":"u","nonce":"v"}`)},
		"a key with two points":              {body: header(`{"alg":"ES256","jwk":` + strings.Replace(jwkOf(owner.Public()), "{", `{"x":"AAAA",`, 1) + `}`)},
		"a key with two uses":                {body: header(`{"alg":"ES256","jwk":` + strings.Replace(jwkOf(owner.Public()), "{", `{"use":"enc","use":"sig",`, 1) + `}`)},
		"something critical":                 {body: with(`"crit":["exp"],"exp":1`)},
		"something critical that is nothing": {body: with(`"crit":[]`)},
		"a payload without base64":           {body: with(`"b64":false,"crit":["b64"]`)},
		"a payload without base64, quietly":  {body: with(`"b64":false`)},
		"a payload that is compressed":       {body: with(`"zip":"DEF"`)},
		"something behind the header":        {body: header(fine + "{}")},
		"a header that is a list":            {body: header("[" + fine + "]")},

		"a header with bits to spare":    {body: signedText(loose(oddHeader), parts.Payload, byOwner)},
		"a header that is read anew":     {body: flat(loose(oddHeader), parts.Payload, b64(byOwner([]byte(oddHeader+"."+parts.Payload))))},
		"a payload with bits to spare":   {body: signedText(parts.Protected, loose(odd), byOwner)},
		"a payload that is read anew":    {body: flat(parts.Protected, loose(odd), b64(byOwner([]byte(parts.Protected+"."+odd))))},
		"a signature with bits to spare": {body: flat(parts.Protected, parts.Payload, loose(parts.Signature))},
		"a padded header":                {body: signedText(b64([]byte(fine+" "))+"=", parts.Payload, byOwner)},
		"a padded payload":               {body: signedText(parts.Protected, odd+"==", byOwner)},
		"a padded signature":             {body: flat(parts.Protected, parts.Payload, parts.Signature+"==")},
		"a line in the header":           {body: signedText(parts.Protected[:8]+"\n"+parts.Protected[8:], parts.Payload, byOwner)},
		"a line in the payload":          {body: signedText(parts.Protected, "Zm\r\n9v", byOwner)},
		"a line that is read over":       {body: flat(parts.Protected, "Zm\r\n9v", parts.Signature)},
		"a line in the signature":        {body: flat(parts.Protected, parts.Payload, parts.Signature[:8]+"\n"+parts.Signature[8:])},
		"a space in the payload":         {body: signedText(parts.Protected, " Zm9v", byOwner)},
		"the other alphabet":             {body: signedText(parts.Protected, "-+__", byOwner)},
		"no letter":                      {body: flat(parts.Protected, parts.Payload, "?"+parts.Signature)},
	} {
		t.Run(sentence, func(t *testing.T) {
			pub := c.pub
			if pub == nil {
				pub = owner.Public()
			}
			m, err := Parse(c.body)
			if err == nil {
				err = m.Verify(keyOf(pub))
			}
			if err == nil {
				t.Errorf("accepted: %s", c.body)
			}
		})
	}
	for _, r := range []*big.Int{zero, one, less, n} {
		for _, s := range []*big.Int{zero, one, less, n} {
			m, err := Parse(signed(fine, fixed(r, s)))
			if err == nil && m.Verify(keyOf(owner.Public())) == nil {
				t.Errorf("r = %x, s = %x is accepted", r, s)
			}
		}
	}
}

// A signature of Ed25519 has one form only.
func TestForgedEd25519(t *testing.T) {
	pub, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	const header = `{"alg":"EdDSA","kid":"k"}`
	by := func(in []byte) []byte { return ed25519.Sign(key, in) }
	order, _ := new(big.Int).SetString("7237005577332262213973186563042994240857116359379907606001950938285454250989", 10)
	for sentence, c := range map[string]struct {
		by   signature
		good bool
	}{
		"as it is":         {by, true},
		"one byte longer":  {changed(by, func(s []byte) []byte { return append(s, 0) }), false},
		"one byte shorter": {changed(by, func(s []byte) []byte { return s[:63] }), false},
		"all zero":         {func([]byte) []byte { return make([]byte, 64) }, false},
		"the order added": {changed(by, func(s []byte) []byte {
			le := slices.Clone(s[32:])
			slices.Reverse(le)
			sum := new(big.Int).Add(new(big.Int).SetBytes(le), order).FillBytes(make([]byte, 32))
			slices.Reverse(sum)
			return append(s[:32:32], sum...)
		}), false},
	} {
		m, err := Parse(signed(header, c.by))
		if err == nil {
			err = m.Verify(keyOf(pub))
		}
		if (err == nil) != c.good {
			t.Errorf("%s: %v", sentence, err)
		}
	}
}

// A key is taken when it is one, and when it is meant for what it is used for.
func TestKeysThatAreNotTaken(t *testing.T) {
	point := must(owner.PublicKey.Bytes())
	x, y := point[1:33], point[33:]
	ec := func(crv string, x, y []byte) string {
		return fmt.Sprintf(`{"kty":"EC","crv":%q,"x":%q,"y":%q}`, crv, b64(x), b64(y))
	}
	rs := func(n, e *big.Int) string {
		return fmt.Sprintf(`{"kty":"RSA","n":%q,"e":%q}`, b64(n.Bytes()), b64(e.Bytes()))
	}
	with := func(jwk, member string) string { return strings.Replace(jwk, "{", "{"+member+",", 1) }
	p := elliptic.P256().Params().P
	wrong := slices.Clone(y)
	wrong[31] ^= 1
	good, goodRSA := ec("P-256", x, y), rs(ownerRSA.N, big.NewInt(int64(ownerRSA.E)))
	_, edPrivate, _ := ed25519.GenerateKey(rand.Reader)
	for sentence, c := range map[string]struct {
		jwk  string
		good bool
	}{
		"a point":                             {good, true},
		"a point that is not on the curve":    {ec("P-256", x, wrong), false},
		"the point at infinity":               {ec("P-256", make([]byte, 32), make([]byte, 32)), false},
		"a coordinate beyond the field":       {ec("P-256", p.Bytes(), y), false},
		"a coordinate that is too short":      {ec("P-256", x[:31], y), false},
		"a coordinate that is too long":       {ec("P-256", append([]byte{0}, x...), y), false},
		"a coordinate that is missing":        {`{"kty":"EC","crv":"P-256","x":"` + b64(x) + `"}`, false},
		"a point of another curve":            {ec("P-384", x, y), false},
		"a curve that is not known":           {ec("secp256k1", x, y), false},
		"no curve":                            {ec("", x, y), false},
		"P-224":                               {ec("P-224", x[:28], y[:28]), false},
		"a private key":                       {string(must(jose.JSONWebKey{Key: owner}.MarshalJSON())), false},
		"a private RSA key":                   {string(must(jose.JSONWebKey{Key: ownerRSA}.MarshalJSON())), false},
		"a private Ed25519 key":               {string(must(jose.JSONWebKey{Key: edPrivate}.MarshalJSON())), false},
		"a secret":                            {`{"kty":"oct","k":"AAAAAAAAAAAAAAAAAAAAAA"}`, false},
		"a kind that is not known":            {`{"kty":"XYZ"}`, false},
		"no kind":                             {`{"crv":"P-256"}`, false},
		"Ed25519, too short":                  {`{"kty":"OKP","crv":"Ed25519","x":"AAAA"}`, false},
		"X25519":                              {`{"kty":"OKP","crv":"X25519","x":"` + b64(make([]byte, 32)) + `"}`, false},
		"RSA":                                 {goodRSA, true},
		"RSA with exponent 1":                 {rs(ownerRSA.N, big.NewInt(1)), false},
		"RSA with exponent 2":                 {rs(ownerRSA.N, big.NewInt(2)), false},
		"RSA with exponent 0":                 {rs(ownerRSA.N, new(big.Int)), false},
		"RSA with a large exponent":           {rs(ownerRSA.N, new(big.Int).Lsh(big.NewInt(1), 64)), false},
		"RSA with an even modulus":            {rs(new(big.Int).Lsh(ownerRSA.N, 1), big.NewInt(65537)), false},
		"RSA of 1024 bits":                    {rs(new(big.Int).Rsh(ownerRSA.N, 1024), big.NewInt(65537)), false},
		"RSA of 8192 bits":                    {rs(new(big.Int).SetBit(new(big.Int).Lsh(big.NewInt(1), 8191), 0, 1), big.NewInt(65537)), false},
		"meant for ES256":                     {with(good, `"alg":"ES256"`), true},
		"meant for another curve's algorithm": {with(good, `"alg":"ES384"`), false},
		"meant to agree on keys":              {with(good, `"alg":"ECDH-ES"`), false},
		"meant for RS256":                     {with(goodRSA, `"alg":"RS256"`), true},
		"meant for PS256":                     {with(goodRSA, `"alg":"PS256"`), false},
		"meant to carry keys":                 {with(goodRSA, `"alg":"RSA-OAEP"`), false},
		"meant for a MAC":                     {with(good, `"alg":"HS256"`), false},
		"meant for nothing that is known":     {with(good, `"alg":""`), false},
		"meant for a number":                  {with(good, `"alg":1`), false},
		"to sign with":                        {with(good, `"use":"sig"`), true},
		"to encrypt with":                     {with(good, `"use":"enc"`), false},
		"to do something else with":           {with(good, `"use":""`), false},
		"to verify":                           {with(good, `"key_ops":["verify"]`), true},
		"to sign and verify":                  {with(good, `"key_ops":["sign","verify"]`), true},
		"to encrypt":                          {with(good, `"key_ops":["encrypt"]`), false},
		"to derive":                           {with(good, `"key_ops":["deriveKey","deriveBits"]`), false},
		"to do nothing":                       {with(good, `"key_ops":[]`), false},
		"to verify, not in a list":            {with(good, `"key_ops":"verify"`), false},
		"two points":                          {with(good, `"x":"AAAA"`), false},
		"two uses":                            {with(good, `"use":"enc","use":"sig"`), false},
	} {
		t.Run(sentence, func(t *testing.T) {
			k, err := ParseKey([]byte(c.jwk))
			if (err == nil) != c.good {
				t.Fatalf("%s: %v", c.jwk, err)
			}
			if err == nil {
				again, err := json.Marshal(k)
				if err != nil || strings.Contains(string(again), "use") || strings.Contains(string(again), "alg") {
					t.Errorf("%s, %v", again, err)
				}
			}
		})
	}
}
