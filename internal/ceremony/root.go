package ceremony

import (
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"time"

	"github.com/postern-project/postern/internal/identity"
	"github.com/postern-project/postern/internal/ledger"
	"github.com/postern-project/postern/internal/profile"
)

// ListYears is how long a root's revocation list is good.
const ListYears = 1

// A Root is a root with its key, opened for one ceremony.
type Root struct {
	cert   *x509.Certificate
	key    crypto.Signer
	domain identity.TrustDomain
}

// Open returns the root that has the certificate and the key, for the trust
// domain that its name says or that is given.
func Open(cert *x509.Certificate, key crypto.Signer, d identity.TrustDomain) (*Root, error) {
	pub, ok := cert.PublicKey.(interface{ Equal(crypto.PublicKey) bool })
	if !ok || !pub.Equal(key.Public()) {
		return nil, fmt.Errorf("the key does not belong to the root %q: name the right one with --root-key, or its certificate with --root", cert.Subject.CommonName)
	}
	if err := cert.CheckSignatureFrom(cert); err != nil || !cert.IsCA {
		return nil, fmt.Errorf("%q is no root: it has not signed itself", cert.Subject.CommonName)
	}
	if d == (identity.TrustDomain{}) {
		var err error
		if d, err = profile.DomainOfRoot(cert); err != nil {
			return nil, err
		}
	}
	if !profile.IsRootOf(d, cert) {
		return nil, fmt.Errorf("the root %q is not one of %s", cert.Subject.CommonName, d)
	}
	return &Root{cert, key, d}, nil
}

// Create makes the certificate of a new root for a key.
func Create(d identity.TrustDomain, key crypto.Signer, now time.Time) (*Root, error) {
	template, err := profile.RootTemplate(d, key.Public(), now)
	if err != nil {
		return nil, err
	}
	r := &Root{cert: template, key: key, domain: d}
	if r.cert, err = r.certify(template, template); err != nil {
		return nil, err
	}
	return r, nil
}

// Created returns the transcript of the making of a new root, with which its
// chain of transcripts begins.
func (r *Root) Created(p Policy) (Answer, error) {
	a := Answer{Root: r.cert.Raw}
	t := r.begin(p, ledger.Hash{})
	t.did("the root itself, until %s", r.cert.NotAfter.Format(time.DateOnly))
	t.certificate(r.cert)
	return a, r.close(&a, t)
}

// Certificate returns the root's certificate.
func (r *Root) Certificate() *x509.Certificate { return r.cert }

// TrustDomain returns the namespace that the root is for.
func (r *Root) TrustDomain() identity.TrustDomain { return r.domain }

// A Policy is what the owner of a root decides at the ceremony.
type Policy struct {
	// Zones are the DNS zones, beside the trust domain, that an issuer for
	// servers may be given.
	Zones []string
	// Before is the hash of the newest transcript that is kept beside the
	// root's key; zero when none is.
	Before ledger.Hash
	Now    time.Time
}

// Answer signs what the request in file asks for and the policy allows, and
// nothing when it does not allow all of it.
func (r *Root) Answer(file []byte, p Policy) (Answer, error) {
	q, err := ParseRequest(file)
	if err != nil {
		return Answer{}, err
	}
	if err := r.allows(q, p); err != nil {
		return Answer{}, err
	}
	a := Answer{Request: sha256.Sum256(file), Root: r.cert.Raw}
	t := r.begin(p, q.Before)
	t.line("request: %s", a.Request)
	if err := r.signAll(q, &a, t, p); err != nil {
		return Answer{}, err
	}
	return a, r.close(&a, t)
}

// allows says whether the request is one for this root under this policy.
func (r *Root) allows(q Request, p Policy) error {
	switch {
	case q.TrustDomain != r.domain.String():
		return fmt.Errorf("the request is for %s, and this is the root of %s", q.TrustDomain, r.domain)
	case len(q.Root) > 0 && string(q.Root) != string(r.cert.Raw):
		return fmt.Errorf("the request is for another root than %q (sha256 %x): take that one's key", r.cert.Subject.CommonName, sha256.Sum256(r.cert.Raw))
	case len(q.Root) == 0 && q.LedgerKey == nil:
		return errors.New("the request names no root, as only that of a new authority may")
	case q.LedgerKey != nil && (len(q.Root) > 0 || q.Rekey != nil || q.Retire != (ledger.KeyID{})):
		return errors.New("the request begins an authority and asks for changes of one at once")
	case q.Retire == ledger.KeyIDOf(r.cert):
		return errors.New("the request retires the root that is asked: its successor's key does that")
	case !p.Now.Before(r.cert.NotAfter) || p.Now.Before(r.cert.NotBefore):
		return fmt.Errorf("the root is valid from %s to %s and this machine's clock says %s: set the clock",
			r.cert.NotBefore.Format(time.DateOnly), r.cert.NotAfter.Format(time.DateOnly), p.Now.Format(time.DateOnly))
	}
	for _, i := range q.Issuers {
		for _, zone := range i.Zones {
			if !slices.Contains(p.Zones, zone) {
				return fmt.Errorf("issuer %s asks for the zone %s, which is not permitted: if it should have it, add --permit %s", i.Name, zone, zone)
			}
		}
	}
	return nil
}

// signAll fills in the answer. A request of a new authority always gets an
// empty list with it.
func (r *Root) signAll(q Request, a *Answer, t *transcript, p Policy) (err error) {
	if q.LedgerKey != nil {
		g := ledger.Genesis{TrustDomain: r.domain, Root: r.cert.Raw, LedgerKey: q.LedgerKey}
		if a.Genesis, err = ledger.SignMessage(r.key, g.Message()); err != nil {
			return fmt.Errorf("sign the beginning of the ledger: %w", err)
		}
		t.did("the beginning of the ledger of %s", r.domain)
		t.line("ledger key: %x", []byte(q.LedgerKey))
	}
	for _, i := range q.Issuers {
		if err := r.signIssuer(i, q.PublicURL, a, t, p.Now); err != nil {
			return fmt.Errorf("sign issuer %s: %w", i.Name, err)
		}
	}
	if q.List != nil {
		if err := r.signList(*q.List, a, t, p.Now); err != nil {
			return fmt.Errorf("sign revocation list: %w", err)
		}
	}
	if q.Rekey != nil {
		if a.Rekey, err = ledger.SignMessage(r.key, ledger.LedgerKeyMessage(r.domain, q.Rekey.Old, q.Rekey.New)); err != nil {
			return fmt.Errorf("sign the new ledger key: %w", err)
		}
		t.did("a new key for the ledger's checkpoints")
		t.line("old key: %x", []byte(q.Rekey.Old))
		t.line("new key: %x", []byte(q.Rekey.New))
	}
	if q.Retire != (ledger.KeyID{}) {
		if a.Retire, err = ledger.SignMessage(r.key, ledger.RetiredMessage(r.domain, q.Retire)); err != nil {
			return fmt.Errorf("sign the end of a root: %w", err)
		}
		t.did("the end of an older root")
		t.line("key hash: %s", q.Retire)
	}
	return nil
}

func (r *Root) signIssuer(i Issuer, publicURL string, a *Answer, t *transcript, now time.Time) error {
	pub, err := i.public()
	if err != nil {
		return err
	}
	usage := profile.Client
	if i.Use == ledger.UseServers {
		usage = profile.Server
	}
	template, err := profile.IssuerTemplate(r.domain, i.Name, usage, pub, r.cert, now, publicURL, i.Zones...)
	if err != nil {
		return err
	}
	c, err := r.certify(template, r.cert)
	if err != nil {
		return err
	}
	a.Issuers = append(a.Issuers, c.Raw)
	t.did("issuer %s for %s, until %s", i.Name, i.Use, c.NotAfter.Format(time.DateOnly))
	if len(i.Zones) > 0 {
		t.line("further zones: %s", i.Zones)
	}
	for _, at := range c.CRLDistributionPoints {
		t.line("revocation of it: %s", at)
	}
	t.certificate(c)
	return nil
}

func (r *Root) signList(l List, a *Answer, t *transcript, now time.Time) error {
	now = now.UTC().Truncate(time.Second)
	template := &x509.RevocationList{
		Number: new(big.Int).SetUint64(l.Number), ThisUpdate: now, NextUpdate: now.AddDate(ListYears, 0, 0),
	}
	for _, revoked := range l.Revoked {
		template.RevokedCertificateEntries = append(template.RevokedCertificateEntries, x509.RevocationListEntry{
			SerialNumber: new(big.Int).SetBytes(revoked.Serial.Bytes()), ReasonCode: int(revoked.Reason),
			RevocationTime: revoked.At.UTC().Truncate(time.Second),
		})
	}
	if template.NextUpdate.After(r.cert.NotAfter) {
		template.NextUpdate = r.cert.NotAfter
	}
	der, err := r.list(template)
	if err != nil {
		return err
	}
	a.List = der
	t.did("revocation list %d, until %s, of %d certificates", l.Number, template.NextUpdate.Format(time.DateOnly), len(l.Revoked))
	for _, revoked := range l.Revoked {
		t.line("revoked: %s, serial %s", revoked.Name, revoked.Serial)
		t.line("  on %s: %s", revoked.At.UTC().Format(time.DateOnly), revoked.Reason)
	}
	t.line("list hash: %x", sha256.Sum256(der))
	return nil
}

// Succeed makes next the successor of r, each certified by the other. Both keys
// are needed at once.
func (r *Root) Succeed(next *Root, p Policy) (Answer, error) {
	if next.domain != r.domain {
		return Answer{}, fmt.Errorf("the new root is for %s and the old one for %s", next.domain, r.domain)
	}
	if string(next.cert.RawSubjectPublicKeyInfo) == string(r.cert.RawSubjectPublicKeyInfo) {
		return Answer{}, errors.New("the new root has the old one's key: make another with 'postern root create'")
	}
	under, err := r.bridge(next.cert, p.Now)
	if err != nil {
		return Answer{}, fmt.Errorf("certify the new root by the old one: %w", err)
	}
	over, err := next.bridge(r.cert, p.Now)
	if err != nil {
		return Answer{}, fmt.Errorf("certify the old root by the new one: %w", err)
	}
	signature, err := ledger.SignMessage(r.key, ledger.AddedMessage(r.domain, r.cert, next.cert))
	if err != nil {
		return Answer{}, fmt.Errorf("sign the succession: %w", err)
	}
	a := Answer{Root: r.cert.Raw, Successor: &ledger.RootAdded{Root: next.cert.Raw, Under: under.Raw, Over: over.Raw, RootSignature: signature}}
	t := r.begin(p, ledger.Hash{})
	t.did("%s as the root that follows", next.cert.Subject.CommonName)
	t.certificate(next.cert)
	t.did("the new root, certified by the old one, until %s", under.NotAfter.Format(time.DateOnly))
	t.certificate(under)
	t.did("the old root, certified by the new one, until %s", over.NotAfter.Format(time.DateOnly))
	t.certificate(over)
	return a, r.close(&a, t)
}

func (r *Root) bridge(whom *x509.Certificate, now time.Time) (*x509.Certificate, error) {
	template, err := profile.BridgeTemplate(whom, r.cert, now)
	if err != nil {
		return nil, err
	}
	return r.certify(template, r.cert)
}

// certify signs a certificate of an authority, and checks what came of it.
func (r *Root) certify(template, parent *x509.Certificate) (*x509.Certificate, error) {
	der, err := x509.CreateCertificate(rand.Reader, template, parent, template.PublicKey, r.key)
	if err != nil {
		return nil, err
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	if parent == template {
		parent = c
	}
	return c, profile.CheckAuthority(c, template, parent)
}

// list signs a revocation list, and checks what came of it.
func (r *Root) list(template *x509.RevocationList) ([]byte, error) {
	der, err := x509.CreateRevocationList(rand.Reader, template, r.cert, r.key)
	if err != nil {
		return nil, err
	}
	l, err := x509.ParseRevocationList(der)
	if err != nil {
		return nil, err
	}
	return der, l.CheckSignatureFrom(r.cert)
}

// close signs the transcript.
func (r *Root) close(a *Answer, t *transcript) (err error) {
	a.Transcript = t.String()
	if a.Signature, err = ledger.SignMessage(r.key, ledger.CeremonyMessage([]byte(a.Transcript))); err != nil {
		return fmt.Errorf("sign the transcript: %w", err)
	}
	return nil
}
