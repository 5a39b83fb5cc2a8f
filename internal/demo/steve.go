package demo

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"time"

	"github.com/postern-project/postern/internal/identity"
	"github.com/postern-project/postern/internal/ledger"
	"github.com/postern-project/postern/internal/profile"
	"github.com/postern-project/postern/internal/roster"
)

// What an intermediate is for.
const (
	forClients = profile.Client
	forServers = profile.Server
)

// A ca is a certificate that signs others, with its key: Steve's, or one of
// Eve's making.
type ca struct {
	cert *x509.Certificate // nil: signs itself
	key  crypto.Signer
}

// steve is the authority.
type steve struct {
	root, clients, servers ca
	ledgerKey              ed25519.PublicKey
}

func newSteve(d identity.TrustDomain, now time.Time) (steve, error) {
	var s steve
	key, err := newKey()
	if err != nil {
		return s, err
	}
	template, err := profile.RootTemplate(d, key.Public(), now)
	if err != nil {
		return s, err
	}
	if s.root, err = sign(template, template, key, key); err != nil {
		return s, err
	}
	if s.clients, err = s.intermediate(d, "clients-1", forClients, now); err != nil {
		return s, err
	}
	if s.servers, err = s.intermediate(d, "servers-1", forServers, now); err != nil {
		return s, err
	}
	s.ledgerKey, _, err = ed25519.GenerateKey(rand.Reader)
	return s, err
}

// intermediate makes a key and has the root sign for it.
func (s steve) intermediate(d identity.TrustDomain, name string, use profile.Usage, now time.Time) (ca, error) {
	key, err := newKey()
	if err != nil {
		return ca{}, err
	}
	template, err := profile.IssuerTemplate(d, name, use, key.Public(), s.root.cert, now, "")
	if err != nil {
		return ca{}, err
	}
	return sign(template, s.root.cert, key, s.root.key)
}

// newCA makes an authority that has nothing to do with Steve but its name.
func newCA(name, unit string, now time.Time) (ca, error) {
	key, err := newKey()
	if err != nil {
		return ca{}, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name, OrganizationalUnit: []string{unit}},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	return sign(template, template, key, key)
}

func (c ca) keyID() ledger.KeyID { return roster.KeyIDOf(c.cert) }

// client signs a certificate that lets name in as far as signatures go.
// change, if not nil, is what a forger alters before signing.
func (c ca) client(s *stage, name string, change func(*x509.Certificate)) (person, error) {
	n, err := identity.ParseName(name)
	if err != nil {
		return person{}, err
	}
	cert, err := c.leaf(s, "device", profile.Request{ID: s.domain.ID(n)}, change)
	return person{name: n, cert: cert}, err
}

// server signs a certificate for a host.
func (c ca) server(s *stage, host string) (tls.Certificate, error) {
	n, err := identity.ParseName("sites/" + host)
	if err != nil {
		return tls.Certificate{}, err
	}
	return c.leaf(s, "server", profile.Request{ID: s.domain.ID(n), DNSNames: []string{host}}, nil)
}

func (c ca) leaf(s *stage, kind string, r profile.Request, change func(*x509.Certificate)) (tls.Certificate, error) {
	key, err := newKey()
	if err != nil {
		return tls.Certificate{}, err
	}
	p, err := profile.Builtin(kind)
	if err != nil {
		return tls.Certificate{}, err
	}
	r.PublicKey, r.Now, r.Issuer = key.Public(), s.now, c.cert
	if r.Issuer == nil {
		r.Issuer = s.steve.clients.cert // a self-made certificate copies what it can
	}
	template, err := p.Template(r)
	if err != nil {
		return tls.Certificate{}, err
	}
	if change != nil {
		change(template)
	}
	parent, signer := c.cert, c.key
	if parent == nil {
		template.AuthorityKeyId, parent, signer = nil, template, key
	}
	made, err := sign(template, parent, key, signer)
	if err != nil {
		return tls.Certificate{}, err
	}
	pair := tls.Certificate{Certificate: [][]byte{made.cert.Raw}, PrivateKey: key, Leaf: made.cert}
	if c.cert != nil {
		pair.Certificate = append(pair.Certificate, c.cert.Raw)
	}
	return pair, nil
}

func newKey() (*ecdsa.PrivateKey, error) { return ecdsa.GenerateKey(elliptic.P256(), rand.Reader) }

func sign(template, parent *x509.Certificate, key, signer crypto.Signer) (ca, error) {
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		return ca{}, err
	}
	cert, err := x509.ParseCertificate(der)
	return ca{cert, key}, err
}
