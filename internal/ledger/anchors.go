package ledger

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/postern-project/postern/internal/identity"
)

// Anchors are what everything else in a ledger is believed by: the roots and
// the key of the checkpoints. Every change of them carries a root's signature,
// which After checks. The zero Anchors come before entry 0. A value is never
// changed, so it can be shared.
type Anchors struct {
	Domain    identity.TrustDomain
	Roots     []Root // oldest first
	LedgerKey ed25519.PublicKey
	// Transcript is the hash of the newest transcript of a ceremony; zero
	// before the first.
	Transcript Hash
	// former are the keys that signed checkpoints before LedgerKey.
	former []ed25519.PublicKey
}

// A Root is a root that the ledger knows.
type Root struct {
	Certificate *x509.Certificate
	// Under is this root certified by the one before it, and Over the one
	// before it certified by this one; both are nil for the first root.
	Under, Over *x509.Certificate
	// Retired says that its signature adds nothing any more.
	Retired bool
	// List is its newest revocation list, or nil.
	List *x509.RevocationList
}

// KeyIDOf returns the SHA-256 of a certificate's SubjectPublicKeyInfo, by which
// roots and issuers are known.
func KeyIDOf(c *x509.Certificate) KeyID { return sha256.Sum256(c.RawSubjectPublicKeyInfo) }

// After returns the anchors as they stand after one entry. Entries that are
// not about them leave them alone.
func (a Anchors) After(body Body) (Anchors, error) {
	switch b := body.(type) {
	case Genesis:
		root, err := b.RootCertificate()
		if err != nil {
			return a, err
		}
		return Anchors{Domain: b.TrustDomain, Roots: []Root{{Certificate: root}}, LedgerKey: b.LedgerKey}, nil
	case RootAdded, RootRetired, LedgerKeyChanged, RootListSigned, CeremonyRecorded:
		if len(a.Roots) == 0 {
			return a, errors.New("a ledger begins with a genesis entry")
		}
	}
	switch b := body.(type) {
	case RootAdded:
		return a.added(b)
	case RootRetired:
		return a.retired(b)
	case LedgerKeyChanged:
		return a.keyChanged(b)
	case RootListSigned:
		return a.listed(b)
	case CeremonyRecorded:
		if err := a.signedByAny(CeremonyMessage(b.Transcript), b.RootSignature); err != nil {
			return a, fmt.Errorf("transcript of a ceremony: %w", err)
		}
		a.Transcript = sha256.Sum256(b.Transcript)
	}
	return a, nil
}

// AfterRecord is After for an entry as it is stored. It reads only entries that
// are about the anchors, which are few.
func (a Anchors) AfterRecord(data []byte) (Anchors, error) {
	if len(data) >= 2 {
		switch Kind(binary.BigEndian.Uint16(data)) {
		case KindGenesis, KindRootAdded, KindRootRetired, KindLedgerKeyChanged, KindRootListSigned, KindCeremonyRecorded:
		default:
			return a, nil
		}
	}
	e, err := Unmarshal(data)
	if err != nil {
		return a, err
	}
	return a.After(e.Body)
}

// Newest returns the root that signs new issuers, or nil before entry 0.
func (a Anchors) Newest() *x509.Certificate {
	if len(a.Roots) == 0 {
		return nil
	}
	return a.Roots[len(a.Roots)-1].Certificate
}

// Trusted returns the roots that are not retired, newest first.
func (a Anchors) Trusted() []*x509.Certificate {
	var all []*x509.Certificate
	for _, r := range slices.Backward(a.Roots) {
		if !r.Retired {
			all = append(all, r.Certificate)
		}
	}
	return all
}

// Bridges returns the certificates that lead from one root to another, newest
// first.
func (a Anchors) Bridges() []*x509.Certificate {
	var all []*x509.Certificate
	for _, r := range slices.Backward(a.Roots) {
		if r.Under != nil {
			all = append(all, r.Under, r.Over)
		}
	}
	return all
}

// Issuer returns the certificate of an issuer that a trusted root has signed.
func (a Anchors) Issuer(b IssuerAdded) (*x509.Certificate, error) {
	err := errors.New("a ledger begins with a genesis entry")
	for _, root := range a.Trusted() {
		var c *x509.Certificate
		if c, err = b.Parse(root); err == nil {
			return c, a.fresh(c)
		}
	}
	return nil, err
}

// fresh refuses a key that belongs to a root.
func (a Anchors) fresh(c *x509.Certificate) error {
	for _, r := range a.Roots {
		if bytes.Equal(r.Certificate.RawSubjectPublicKeyInfo, c.RawSubjectPublicKeyInfo) {
			return errors.New("its key is that of a root that the ledger knows")
		}
	}
	return nil
}

func (a Anchors) added(b RootAdded) (Anchors, error) {
	before := a.Newest()
	next, err := x509.ParseCertificate(b.Root)
	if err != nil {
		return a, fmt.Errorf("new root: %w", err)
	}
	if err := checkCA(next, next); err != nil {
		return a, fmt.Errorf("new root: %w", err)
	}
	if err := a.fresh(next); err != nil {
		return a, fmt.Errorf("new root: %w", err)
	}
	if bytes.Equal(next.RawSubject, before.RawSubject) {
		return a, errors.New("new root: it has the name of the root before it")
	}
	if err := CheckMessage(before, AddedMessage(a.Domain, before, next), b.RootSignature); err != nil {
		return a, fmt.Errorf("new root: %w", err)
	}
	under, err := bridge(b.Under, next, before)
	if err != nil {
		return a, fmt.Errorf("new root, certified by the old one: %w", err)
	}
	over, err := bridge(b.Over, before, next)
	if err != nil {
		return a, fmt.Errorf("old root, certified by the new one: %w", err)
	}
	a.Roots = append(slices.Clone(a.Roots), Root{Certificate: next, Under: under, Over: over})
	return a, nil
}

// bridge parses a certificate for the name and key of whom, signed by by.
func bridge(der []byte, whom, by *x509.Certificate) (*x509.Certificate, error) {
	c, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(c.RawSubject, whom.RawSubject) || !bytes.Equal(c.RawSubjectPublicKeyInfo, whom.RawSubjectPublicKeyInfo) {
		return nil, errors.New("it has another name or key")
	}
	return c, checkCA(c, by)
}

func (a Anchors) retired(b RootRetired) (Anchors, error) {
	newest := len(a.Roots) - 1
	i := slices.IndexFunc(a.Roots, func(r Root) bool { return KeyIDOf(r.Certificate) == b.Root })
	switch {
	case i < 0:
		return a, fmt.Errorf("it retires a root that was never added, with key id %s", b.Root)
	case i == newest:
		return a, errors.New("it retires the newest root: add its successor first")
	case a.Roots[i].Retired:
		return a, errors.New("it retires a root that is retired")
	}
	if err := CheckMessage(a.Roots[newest].Certificate, RetiredMessage(a.Domain, b.Root), b.RootSignature); err != nil {
		return a, fmt.Errorf("retired root: %w", err)
	}
	a.Roots = slices.Clone(a.Roots)
	a.Roots[i].Retired = true
	return a, nil
}

func (a Anchors) keyChanged(b LedgerKeyChanged) (Anchors, error) {
	used := func(k ed25519.PublicKey) bool { return k.Equal(b.New) }
	switch {
	case !a.LedgerKey.Equal(b.Old):
		return a, errors.New("new ledger key: it replaces another key than the one in use")
	case used(a.LedgerKey) || slices.ContainsFunc(a.former, used):
		return a, errors.New("new ledger key: it was in use before")
	}
	if err := CheckMessage(a.Newest(), LedgerKeyMessage(a.Domain, b.Old, b.New), b.RootSignature); err != nil {
		return a, fmt.Errorf("new ledger key: %w", err)
	}
	a.former = append(slices.Clone(a.former), a.LedgerKey)
	a.LedgerKey = b.New
	return a, nil
}

// listed takes in a revocation list of the root that has signed it. Its number
// and its date only grow.
func (a Anchors) listed(b RootListSigned) (Anchors, error) {
	list, err := x509.ParseRevocationList(b.List)
	if err != nil {
		return a, fmt.Errorf("root's revocation list: %w", err)
	}
	i := slices.IndexFunc(a.Roots, func(r Root) bool {
		return !r.Retired && bytes.Equal(r.Certificate.RawSubject, list.RawIssuer) && list.CheckSignatureFrom(r.Certificate) == nil
	})
	if i < 0 {
		return a, errors.New("root's revocation list: no root that is trusted has signed it")
	}
	if old := a.Roots[i].List; list.Number == nil || old != nil && (list.Number.Cmp(old.Number) <= 0 || list.ThisUpdate.Before(old.ThisUpdate)) {
		return a, errors.New("root's revocation list: it is not newer than the one before it")
	}
	a.Roots = slices.Clone(a.Roots)
	a.Roots[i].List = list
	return a, nil
}

func (a Anchors) signedByAny(message, signature []byte) error {
	for _, root := range a.Trusted() {
		if CheckMessage(root, message, signature) == nil {
			return nil
		}
	}
	return errors.New("no root that is trusted has signed it")
}

// Keys returns every key that has signed checkpoints, the one in use first.
func (a Anchors) Keys() []ed25519.PublicKey {
	keys := []ed25519.PublicKey{a.LedgerKey}
	for _, k := range slices.Backward(a.former) {
		keys = append(keys, k)
	}
	return keys
}
