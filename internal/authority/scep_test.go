package authority

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/smallstep/scep/x509util"

	"github.com/postern-project/postern/internal/ledger"
	"github.com/postern-project/postern/internal/profile"
)

// rsaKeys are made once: they take long.
var rsaKeys = sync.OnceValue(func() [2]*rsa.PrivateKey {
	var keys [2]*rsa.PrivateKey
	for i := range keys {
		keys[i], _ = rsa.GenerateKey(rand.Reader, 2048)
	}
	return keys
})

// request makes a certificate request that holds the challenge, for a name of
// the requester's choosing.
func request(t *testing.T, key crypto.Signer, challenge string) []byte {
	t.Helper()
	der, err := x509util.CreateCertificateRequest(rand.Reader, &x509util.CertificateRequest{
		CertificateRequest: x509.CertificateRequest{
			Subject: pkix.Name{CommonName: "owner/laptop"}, DNSNames: []string{"pw.example.com"},
			URIs: []*url.URL{{Scheme: "spiffe", Host: "corp.example", Path: "/owner"}},
		},
		ChallengePassword: challenge,
	}, key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func TestSCEPGivesTheCertificateOfTheInvite(t *testing.T) {
	h := newHouse(t, "")
	invited, err := h.Invite(t.Context(), InviteRequest{Name: named(t, "anna/phone"), Group: grouped(t, "family")})
	if err != nil {
		t.Fatal(err)
	}
	if look, err := h.LookInvite(t.Context(), invited.Code); err != nil || look.Name != invited.Name || look.Status != StatusOpen {
		t.Errorf("looked at: %+v, %v", look, err)
	}
	mine, others := rsaKeys()[0], rsaKeys()[1]
	csr := request(t, mine, invited.Code)
	i, err := h.RedeemSCEP(t.Context(), SCEPRequest{CSR: csr})
	if err != nil {
		t.Fatal(err)
	}
	spki, _ := x509.MarshalPKIXPublicKey(mine.Public())
	h.examine(IssueRequest{Name: invited.Name, PublicKey: spki}, i)
	if got := h.lastCertificate(); got.Via != viaSCEP || got.Key != ledger.Hash(sha256.Sum256(spki)) {
		t.Errorf("the ledger says %+v", got)
	}
	if again, err := h.RedeemSCEP(t.Context(), SCEPRequest{CSR: csr}); err != nil || again.Serial != i.Serial {
		t.Errorf("the same request again: %v, %v", again.Serial, err)
	}
	if _, err := h.RedeemSCEP(t.Context(), SCEPRequest{CSR: request(t, others, invited.Code)}); CodeOf(err) != CodeSpent {
		t.Errorf("another key with the same code: %v", err)
	}
	if _, err := h.LookInvite(t.Context(), invited.Code); CodeOf(err) != CodeSpent {
		t.Errorf("looked at after its use: %v", err)
	}
	h.clock.forward(answerAgain + time.Second)
	if _, err := h.RedeemSCEP(t.Context(), SCEPRequest{CSR: csr}); CodeOf(err) != CodeSpent {
		t.Errorf("the same request after ten minutes: %v", err)
	}
	h.verify()
}

func TestBadSCEPRequestsAreRefused(t *testing.T) {
	h := newHouse(t, "")
	key := rsaKeys()[0]
	open := h.invite("anna/phone").Code
	late := h.invite("anna/tablet").Code
	guarded, err := h.Invite(t.Context(), InviteRequest{Name: named(t, "anna/tv"), Approve: true, TTL: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	h.clock.forward(inviteTTL)
	fresh := h.invite("anna/watch").Code
	curve, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	short, err := x509.ParsePKCS1PrivateKey(shortKey(t))
	if err != nil {
		t.Fatal(err)
	}
	// a signature by a key of 200,000 bits would be checked for minutes
	huge := hugeRequest(t)
	damaged := request(t, key, fresh)
	damaged[len(damaged)-1] ^= 1
	before := len(h.entries(0))
	for name, c := range map[string]struct {
		csr  []byte
		code string
	}{
		"nothing":                         {nil, CodeBadCSR},
		"no certificate request":          {[]byte("0\x03\x02\x01\x01"), CodeBadCSR},
		"a signature that does not fit":   {damaged, CodeBadCSR},
		"no challenge":                    {request(t, key, ""), CodeBadCSR},
		"a challenge that is no code":     {request(t, key, "letmein"), CodeMistyped},
		"a code that nobody made":         {request(t, key, "00000000000000000000000000"+"00"), CodeNotFound},
		"an invite that has ended":        {request(t, key, late), CodeExpired},
		"another that has":                {request(t, key, open), CodeExpired},
		"an invite that is to be agreed":  {request(t, key, guarded.Code), CodePending},
		"a key that is not RSA":           {request(t, curve, fresh), CodeWeakKey},
		"an RSA key of too few bits":      {request(t, short, fresh), CodeWeakKey},
		"an RSA key of far too many bits": {huge, CodeWeakKey},
		"a challenge with a zero byte":    {request(t, key, fresh+"\x00"), CodeMistyped},
		"two codes in the one challenge":  {request(t, key, fresh+" "+fresh), CodeMistyped},
		"a challenge of another alphabet": {request(t, key, "пароль"), CodeMistyped},
	} {
		if i, err := h.RedeemSCEP(t.Context(), SCEPRequest{CSR: c.csr}); CodeOf(err) != c.code {
			t.Errorf("%s: %v, %v", name, i.Serial, err)
		}
	}
	if after := len(h.entries(0)); after != before {
		t.Errorf("%d entries came of bad requests", after-before)
	}
	if _, err := h.RedeemSCEP(t.Context(), SCEPRequest{CSR: request(t, key, fresh)}); err != nil {
		t.Errorf("the invite is not good any more: %v", err)
	}
}

func TestTheRegistrationAuthorityOpensNothing(t *testing.T) {
	h := newHouse(t, "")
	spki, _ := x509.MarshalPKIXPublicKey(rsaKeys()[0].Public())
	i, err := h.IssueRegistration(t.Context(), spki)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(i.Chain[0])
	if err != nil {
		t.Fatal(err)
	}
	if leaf.KeyUsage != x509.KeyUsageDigitalSignature|x509.KeyUsageKeyEncipherment || leaf.IsCA {
		t.Errorf("key usage %b", leaf.KeyUsage)
	}
	roots, between := x509.NewCertPool(), x509.NewCertPool()
	roots.AddCert(h.roster.Root())
	issuer, err := x509.ParseCertificate(i.Chain[1])
	if err != nil {
		t.Fatal(err)
	}
	between.AddCert(issuer)
	for _, use := range []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth} {
		if _, err := leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: between, KeyUsages: []x509.ExtKeyUsage{use}}); err == nil {
			t.Errorf("it is good for use %d", use)
		}
	}
	if _, err := h.IssueRegistration(t.Context(), newSPKI(t)); CodeOf(err) != CodeWeakKey {
		t.Errorf("an ECDSA key: %v", err)
	}
	for _, door := range []func() error{
		func() error {
			_, err := h.Issue(t.Context(), IssueRequest{Name: named(t, "scep/clients-1"), PublicKey: spki})
			return err
		},
		func() error {
			_, err := h.Invite(t.Context(), InviteRequest{Name: named(t, "scep/clients-1")})
			return err
		},
		func() error {
			_, err := h.Issue(t.Context(), IssueRequest{Name: named(t, "ben"), Profile: profile.RegistrationName, PublicKey: spki})
			return err
		},
	} {
		if err := door(); CodeOf(err) != CodeBadRequest && CodeOf(err) != CodeUnknownProfile {
			t.Errorf("somebody else becomes a registration authority: %v", err)
		}
	}
	h.verify()
}

// shortKey returns an RSA key of 1024 bits, which crypto/rsa makes only when
// told to.
func shortKey(t *testing.T) []byte {
	t.Helper()
	t.Setenv("GODEBUG", "rsa1024min=0")
	key, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	return x509.MarshalPKCS1PrivateKey(key)
}

// hugeRequest returns a request with a key of 200,000 bits, with which nothing
// is to be computed.
func hugeRequest(t *testing.T) []byte {
	t.Helper()
	n := new(big.Int).SetBit(big.NewInt(1), 200_000, 1)
	spki, err := x509.MarshalPKIXPublicKey(&rsa.PublicKey{N: n, E: 1<<31 - 1})
	if err != nil {
		t.Fatal(err)
	}
	info, err := asn1.Marshal(struct {
		Version    int
		Subject    pkix.RDNSequence
		Key        asn1.RawValue
		Attributes asn1.RawValue
	}{Key: asn1.RawValue{FullBytes: spki}, Attributes: asn1.RawValue{Class: asn1.ClassContextSpecific, IsCompound: true}})
	if err != nil {
		t.Fatal(err)
	}
	der, err := asn1.Marshal(struct {
		Info      asn1.RawValue
		Algorithm pkix.AlgorithmIdentifier
		Signature asn1.BitString
	}{asn1.RawValue{FullBytes: info}, pkix.AlgorithmIdentifier{Algorithm: asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 11}, Parameters: asn1.NullRawValue}, asn1.BitString{Bytes: make([]byte, 25_001), BitLength: 8 * 25_001}})
	if err != nil {
		t.Fatal(err)
	}
	return der
}
