package revocation

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
	"golang.org/x/crypto/ocsp"

	"github.com/postern-project/postern/internal/ledger"
	"github.com/postern-project/postern/internal/profile"
	"github.com/postern-project/postern/internal/roster"
)

// ask encodes a request about serial numbers, with extensions if add writes
// any.
func ask(t testing.TB, add func(*cryptobyte.Builder), serials ...int64) []byte {
	t.Helper()
	var b cryptobyte.Builder
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
				for _, n := range serials {
					b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
						b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
							b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
								b.AddASN1ObjectIdentifier([]int{1, 3, 14, 3, 2, 26})
								b.AddASN1NULL()
							})
							b.AddASN1OctetString([]byte("name"))
							b.AddASN1OctetString([]byte("key"))
							b.AddASN1Int64(n)
						})
					})
				}
			})
			if add != nil {
				b.AddASN1(asn1.Tag(2).ContextSpecific().Constructed(), func(b *cryptobyte.Builder) { b.AddASN1(asn1.SEQUENCE, add) })
			}
		})
	})
	der, err := b.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func nonce(critical bool, n int) func(*cryptobyte.Builder) {
	return func(b *cryptobyte.Builder) {
		profile.AddExtension(b, oidNonce, critical, func(b *cryptobyte.Builder) { b.AddASN1OctetString(bytes.Repeat([]byte{7}, n)) })
	}
}

func TestRequests(t *testing.T) {
	unknown := func(critical bool) func(*cryptobyte.Builder) {
		return func(b *cryptobyte.Builder) {
			profile.AddExtension(b, []int{1, 2, 3}, critical, func(b *cryptobyte.Builder) { b.AddASN1NULL() })
		}
	}
	for sentence, c := range map[string]struct {
		der  []byte
		want string // in the error; "" for none
	}{
		"about one certificate":                {ask(t, nil, 7), ""},
		"about sixteen":                        {ask(t, nil, make([]int64, 16)...), ""},
		"about seventeen":                      {ask(t, nil, make([]int64, 17)...), "more than 16"},
		"about none":                           {ask(t, nil), "no OCSP request"},
		"with a nonce":                         {ask(t, nonce(false, 32), 7), ""},
		"with the longest nonce":               {ask(t, nonce(true, 128), 7), ""},
		"with a longer one":                    {ask(t, nonce(false, 129), 7), "nonce"},
		"with an empty one":                    {ask(t, nonce(false, 0), 7), "nonce"},
		"with two":                             {ask(t, func(b *cryptobyte.Builder) { nonce(false, 8)(b); nonce(false, 8)(b) }, 7), "nonce"},
		"with an extension that may be passed": {ask(t, unknown(false), 7), ""},
		"with one that may not":                {ask(t, unknown(true), 7), "critical extension 1.2.3"},
		"of nothing":                           {nil, "no OCSP request"},
		"cut off":                              {ask(t, nil, 7)[:20], "no OCSP request"},
		"with something behind it":             {append(ask(t, nil, 7), 0), "no OCSP request"},
		"that is huge":                         {make([]byte, MaxRequest+1), "at most"},
		"nested without end":                   {bytes.Repeat([]byte{0x30, 0x80}, 1000), "no OCSP request"},
	} {
		r, err := ParseRequest(c.der)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("a request %s: %+v, %v", sentence, r, err)
		}
	}
	r, err := ParseRequest(ask(t, nil, -7, 0, 7))
	if err != nil || r.Asked[0].Possible() || r.Asked[1].Possible() || !r.Asked[2].Possible() || r.Asked[2].Serial.String() != "07" || r.Asked[2].Hash != crypto.SHA1 {
		t.Errorf("%+v, %v", r, err)
	}
}

// A request that is read is within its bounds, and each certificate asked about
// comes back in an answer as it was written.
func FuzzParseRequest(f *testing.F) {
	f.Add(ask(f, nil, 7, 8))
	f.Add(ask(f, nonce(false, 32), 7))
	f.Fuzz(func(t *testing.T, der []byte) {
		r, err := ParseRequest(der)
		if err != nil {
			return
		}
		if len(r.Asked) == 0 || len(r.Asked) > MaxAsked || len(r.Nonce) > maxNonce {
			t.Fatalf("%+v", r)
		}
		for _, id := range r.Asked {
			if !bytes.Contains(der, []byte(id.raw)) {
				t.Errorf("%x is not what was asked", id.raw)
			}
		}
	})
}

func issuerOf(t testing.TB) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "issuer"}, NotBefore: noon, NotAfter: noon.Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCRLSign | x509.KeyUsageCertSign, SubjectKeyId: []byte{1, 2, 3},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return c, key
}

var noon = time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)

func sign(t testing.TB, key crypto.Signer, tbs []byte) []byte {
	t.Helper()
	s, err := crypto.SignMessage(key, rand.Reader, tbs, crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// The standard library reads a list as it was meant.
func TestListsReadBack(t *testing.T) {
	issuer, key := issuerOf(t)
	var all []roster.Revocation
	for n, why := range []ledger.Reason{0, 1, 3, 4, 5, 9} {
		serial, err := ledger.SerialFromBytes(append([]byte{0x80 + byte(n)}, bytes.Repeat([]byte{1}, 15)...))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, roster.Revocation{Serial: serial, At: noon.Add(time.Duration(n) * time.Second), Reason: why})
	}
	for _, revoked := range [][]roster.Revocation{nil, all} {
		l := List{Issuer: issuer, Number: 1 << 40, ThisUpdate: noon, NextUpdate: noon.Add(time.Hour), URL: "http://x.example/1.crl", Revoked: revoked}
		tbs, err := l.Encode()
		if err != nil {
			t.Fatal(err)
		}
		how, _ := profile.SignatureOf(issuer)
		der, err := how.Assemble(tbs, sign(t, key, tbs))
		if err != nil {
			t.Fatal(err)
		}
		got, err := x509.ParseRevocationList(der)
		if err != nil {
			t.Fatal(err)
		}
		if err := got.CheckSignatureFrom(issuer); err != nil {
			t.Error(err)
		}
		if got.Number.Uint64() != l.Number || !got.ThisUpdate.Equal(noon) || !got.NextUpdate.Equal(l.NextUpdate) || len(got.RevokedCertificateEntries) != len(revoked) {
			t.Errorf("%+v", got)
		}
		for i, e := range got.RevokedCertificateEntries {
			if !bytes.Equal(e.SerialNumber.Bytes(), revoked[i].Serial.Bytes()) || e.ReasonCode != int(revoked[i].Reason) || !e.RevocationTime.Equal(revoked[i].At) {
				t.Errorf("%+v became %+v", revoked[i], e)
			}
		}
		// What the issuer signs here is no certificate.
		if _, err := x509.ParseCertificate(der); err == nil {
			t.Error("a list reads as a certificate")
		}
	}
	for name, l := range map[string]List{
		"without a number": {Issuer: issuer, ThisUpdate: noon, NextUpdate: noon.Add(1)}, "without an end": {Issuer: issuer, Number: 1, ThisUpdate: noon},
	} {
		if _, err := l.Encode(); err == nil {
			t.Errorf("a list %s", name)
		}
	}
}

// An independent reader agrees with every kind of answer.
func TestAnswersReadBack(t *testing.T) {
	issuer, key := issuerOf(t)
	asked, err := ParseRequest(ask(t, nil, 7))
	if err != nil {
		t.Fatal(err)
	}
	for sentence, c := range map[string]struct {
		standing roster.Standing
		status   int
	}{
		"what the ledger holds is good":       {roster.Standing{Known: true}, ocsp.Good},
		"what it revoked is revoked":          {roster.Standing{Known: true, Revoked: true, At: noon, Reason: ledger.ReasonSuperseded}, ocsp.Revoked},
		"for no reason too":                   {roster.Standing{Known: true, Revoked: true, At: noon}, ocsp.Revoked},
		"what it does not hold is not good":   {roster.Standing{}, ocsp.Unknown},
		"a void one is unknown, and not good": {roster.Standing{Known: false, Revoked: true, At: noon}, ocsp.Unknown},
	} {
		a := Answer{Responder: issuer, Produced: noon, ThisUpdate: noon, NextUpdate: noon.Add(time.Hour), Singles: []Single{{asked.Asked[0], c.standing}}, Nonce: []byte("nonce")}
		tbs, err := a.Encode()
		if err != nil {
			t.Fatal(err)
		}
		der, err := a.Seal(tbs, sign(t, key, tbs))
		if err != nil {
			t.Fatal(err)
		}
		r, err := ocsp.ParseResponse(der, issuer)
		if err != nil || r.Status != c.status || r.SerialNumber.Int64() != 7 || c.status == ocsp.Revoked && (!r.RevokedAt.Equal(noon) || r.RevocationReason != int(c.standing.Reason)) {
			t.Errorf("%s: %+v, %v", sentence, r, err)
		}
	}
	for _, f := range []Failure{Malformed, InternalError, TryLater, Unauthorized} {
		if _, err := ocsp.ParseResponse(f.DER(), nil); err == nil {
			t.Errorf("failure %d reads as an answer", f)
		} else if e, ok := err.(ocsp.ResponseError); !ok || int(e.Status) != int(f) {
			t.Errorf("failure %d: %v", f, err)
		}
	}
}
