package ledger

import (
	"crypto/ed25519"
	"fmt"
)

// Kind returns KindIssuerActivated.
func (IssuerActivated) Kind() Kind { return KindIssuerActivated }

func (i IssuerActivated) encode(e *encoder) { e.hash(i.Issuer) }

func decodeIssuerActivated(d *decoder) Body { return IssuerActivated{d.hash()} }

// Kind returns KindIssuerRetired.
func (IssuerRetired) Kind() Kind { return KindIssuerRetired }

func (i IssuerRetired) encode(e *encoder) { e.hash(i.Issuer) }

func decodeIssuerRetired(d *decoder) Body { return IssuerRetired{d.hash()} }

// Kind returns KindRootListSigned.
func (RootListSigned) Kind() Kind { return KindRootListSigned }

func (r RootListSigned) encode(e *encoder) { e.bytes(r.List) }

func decodeRootListSigned(d *decoder) Body { return RootListSigned{d.copied()} }

// Kind returns KindRootAdded.
func (RootAdded) Kind() Kind { return KindRootAdded }

func (r RootAdded) encode(e *encoder) {
	e.bytes(r.Root)
	e.bytes(r.Under)
	e.bytes(r.Over)
	e.bytes(r.RootSignature)
}

func decodeRootAdded(d *decoder) Body {
	return RootAdded{Root: d.copied(), Under: d.copied(), Over: d.copied(), RootSignature: d.copied()}
}

// Kind returns KindRootRetired.
func (RootRetired) Kind() Kind { return KindRootRetired }

func (r RootRetired) encode(e *encoder) {
	e.hash(r.Root)
	e.bytes(r.RootSignature)
}

func decodeRootRetired(d *decoder) Body {
	return RootRetired{Root: d.hash(), RootSignature: d.copied()}
}

// Kind returns KindLedgerKeyChanged.
func (LedgerKeyChanged) Kind() Kind { return KindLedgerKeyChanged }

func (l LedgerKeyChanged) encode(e *encoder) {
	e.bytes(l.Old)
	e.bytes(l.New)
	e.bytes(l.RootSignature)
}

func decodeLedgerKeyChanged(d *decoder) Body {
	l := LedgerKeyChanged{Old: d.copied(), New: d.copied(), RootSignature: d.copied()}
	if d.err == nil && (len(l.Old) != ed25519.PublicKeySize || len(l.New) != ed25519.PublicKeySize) {
		d.fail(fmt.Errorf("ledger keys of %d and %d bytes, want %d", len(l.Old), len(l.New), ed25519.PublicKeySize))
	}
	return l
}

// Kind returns KindCeremonyRecorded.
func (CeremonyRecorded) Kind() Kind { return KindCeremonyRecorded }

func (c CeremonyRecorded) encode(e *encoder) {
	e.bytes(c.Transcript)
	e.bytes(c.RootSignature)
}

func decodeCeremonyRecorded(d *decoder) Body {
	return CeremonyRecorded{Transcript: d.copied(), RootSignature: d.copied()}
}
