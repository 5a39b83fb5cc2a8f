package roster

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"math/big"
	"testing"
	"time"

	"github.com/postern-project/postern/internal/identity"
	"github.com/postern-project/postern/internal/ledger"
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func name(s string) identity.Name   { return must(identity.ParseName(s)) }
func group(s string) identity.Group { return must(identity.ParseGroup(s)) }

// noon is when everything in these tests happens.
var noon = time.Date(2027, 3, 4, 12, 0, 0, 0, time.UTC)

// A ca is a certificate with its key.
type ca struct {
	*x509.Certificate
	key crypto.Signer
}

func (c ca) id() ledger.KeyID { return KeyIDOf(c.Certificate) }

// newCA returns a CA signed by parent, or a root without one.
func newCA(cn string, use ledger.Use, parent *ca) ca {
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: cn},
		NotBefore: noon.Add(-time.Hour), NotAfter: noon.Add(time.Hour),
		BasicConstraintsValid: true, IsCA: true, MaxPathLenZero: parent != nil,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	if parent == nil {
		template.MaxPathLen = 1
	} else {
		template.ExtKeyUsage = []x509.ExtKeyUsage{map[ledger.Use]x509.ExtKeyUsage{
			ledger.UseClients: x509.ExtKeyUsageClientAuth, ledger.UseServers: x509.ExtKeyUsageServerAuth}[use]}
	}
	key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	c := ca{template, key}
	if parent == nil {
		parent = &c
	}
	der := must(x509.CreateCertificate(rand.Reader, template, parent.Certificate, key.Public(), parent.key))
	return ca{must(x509.ParseCertificate(der)), key}
}

// A domain is a trust domain with everything that its ledger begins with.
type domain struct{ root, clients, servers ca }

func newDomain() *domain {
	root := newCA("root", 0, nil)
	return &domain{root, newCA("clients-1", ledger.UseClients, &root), newCA("servers-1", ledger.UseServers, &root)}
}

// at makes entries of bodies.
func at(bodies ...ledger.Body) []ledger.Entry {
	var entries []ledger.Entry
	for _, b := range bodies {
		entries = append(entries, ledger.Entry{At: noon, Body: b})
	}
	return entries
}

// beginning returns the first three entries.
func (d *domain) beginning() []ledger.Entry {
	pub := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)).Public().(ed25519.PublicKey)
	return at(
		must(ledger.NewGenesis(must(identity.ParseTrustDomain("example.com")), d.root.Raw, pub, d.root.key)),
		ledger.IssuerAdded{Name: "clients-1", Use: ledger.UseClients, Certificate: d.clients.Raw},
		ledger.IssuerAdded{Name: "servers-1", Use: ledger.UseServers, Certificate: d.servers.Raw},
	)
}

// ref names the client certificate number n.
func (d *domain) ref(n uint64) ledger.Ref {
	b := binary.BigEndian.AppendUint64(nil, n+1)
	return ledger.Ref{Issuer: d.clients.id(), Serial: must(ledger.SerialFromBytes(b)), TBS: sha256.Sum256(b)}
}

// issued records the client certificate number n for a name.
func (d *domain) issued(n uint64, who string) ledger.CertificateIssued {
	return ledger.CertificateIssued{Ref: d.ref(n), Name: name(who), Profile: "device", NotBefore: noon, NotAfter: noon.Add(time.Hour), Via: "issue"}
}

func (d *domain) revoked(numbers ...uint64) ledger.CertificatesRevoked {
	r := ledger.CertificatesRevoked{Reason: ledger.ReasonKeyCompromise}
	for _, n := range numbers {
		r.Certificates = append(r.Certificates, d.ref(n))
	}
	return r
}

// begun returns a roster that has applied the beginning and the bodies.
func (d *domain) begun(t testing.TB, bodies ...ledger.Body) *Roster {
	t.Helper()
	r := New()
	apply(t, r, d.beginning())
	apply(t, r, at(bodies...))
	return r
}

func apply(t testing.TB, r *Roster, entries []ledger.Entry) {
	t.Helper()
	if err := r.Apply(r.Size(), entries); err != nil {
		t.Fatal(err)
	}
}
