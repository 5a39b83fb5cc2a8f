package roster

import (
	"fmt"
	"math"
	"time"

	"github.com/postern-project/postern/internal/ledger"
)

// anchored takes in an entry about the roots or the ledger's key, whose
// signatures are checked.
func (p *plan) anchored(b ledger.Body) error {
	next, err := p.trust.anchors.After(b)
	if err != nil {
		return err
	}
	p.trust.anchors = next
	switch b.(type) {
	case ledger.Genesis, ledger.RootAdded, ledger.RootRetired:
		p.trust.generation++
	}
	return nil
}

// issuerAdded takes in an issuer that a trusted root has signed. The first of
// its line is in use at once, every other one is staged.
func (p *plan) issuerAdded(seq uint64, b ledger.IssuerAdded) error {
	c, err := p.trust.anchors.Issuer(b)
	if err != nil {
		return err
	}
	t, line := p.trust, ledger.LineOf(b.Name)
	added := Issuer{Name: b.Name, Use: b.Use, Certificate: c, KeyID: KeyIDOf(c), Active: true, Used: true, Added: seq}
	for _, i := range t.issuers {
		if i.KeyID == added.KeyID || i.Name == b.Name {
			return fmt.Errorf("issuer %q has the name or the key of issuer %q", b.Name, i.Name)
		}
		if i.Line() != line {
			continue
		}
		if i.Use != b.Use {
			return fmt.Errorf("issuer %q is for %s and issuer %q of its line is for %s", b.Name, b.Use, i.Name, i.Use)
		}
		added.Active, added.Used = false, false
	}
	if len(t.issuers) > math.MaxUint16 {
		return fmt.Errorf("more than %d issuers", len(t.issuers))
	}
	t.byKey[added.KeyID] = uint16(len(t.issuers))
	t.issuers = append(t.issuers, added)
	t.generation++
	return nil
}

// issuer returns the issuer that an entry is about, to be changed.
func (p *plan) issuer(key ledger.KeyID, does string) (*Issuer, error) {
	i, ok := p.trust.byKey[key]
	if !ok {
		return nil, fmt.Errorf("it %s an issuer that was never added, with key id %s", does, key)
	}
	return &p.trust.issuers[i], nil
}

func (p *plan) issuerDistrusted(at time.Time, b ledger.IssuerDistrusted) error {
	i, err := p.issuer(b.Issuer, "distrusts")
	if err != nil {
		return err
	}
	if !i.Distrusted {
		i.DistrustedAt, i.Reason = at, b.Reason
	}
	i.Distrusted, i.Active = true, false
	p.trust.generation++
	return nil
}

func (p *plan) issuerActivated(b ledger.IssuerActivated) error {
	i, err := p.issuer(b.Issuer, "activates")
	if err != nil {
		return err
	}
	if i.Distrusted || i.Retired {
		return fmt.Errorf("it activates issuer %q, which is distrusted or retired", i.Name)
	}
	for n := range p.trust.issuers {
		if other := &p.trust.issuers[n]; other.Line() == i.Line() {
			other.Active = false
		}
	}
	i.Active, i.Used = true, true
	return nil
}

func (p *plan) issuerRetired(b ledger.IssuerRetired) error {
	i, err := p.issuer(b.Issuer, "retires")
	if err != nil {
		return err
	}
	i.Retired, i.Active = true, false
	return nil
}
