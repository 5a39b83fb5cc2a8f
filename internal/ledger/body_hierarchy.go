package ledger

import "crypto/ed25519"

// IssuerActivated makes an issuer the one that its line issues under from now
// on. An issuer that was added and not activated is staged, unless it is the
// first of its line.
type IssuerActivated struct{ Issuer KeyID }

// IssuerRetired says that an issuer's key is gone: it signs nothing any more.
// What it issued stays as good as it is.
type IssuerRetired struct{ Issuer KeyID }

// RootListSigned is a revocation list of issuers that a root has signed (RFC
// 5280 section 5), DER.
type RootListSigned struct{ List []byte }

// RootAdded adds a successor to the root. The root before it has signed
// AddedMessage, so nobody becomes root without the one that was trusted.
type RootAdded struct {
	Root []byte // the new root, signed by itself, DER
	// Under is the new root's name and key certified by the root before it,
	// for those who know only that one; Over is that one certified by the new
	// root, for those who know only the new one. Both DER.
	Under, Over   []byte
	RootSignature []byte // by the root before it
}

// RootRetired ends a root: its signature adds nothing any more. The newest
// root has signed RetiredMessage.
type RootRetired struct {
	Root          KeyID
	RootSignature []byte // by the newest root
}

// LedgerKeyChanged replaces the key that signs checkpoints; the checkpoint that
// covers this entry is signed with the new one. The newest root has signed
// LedgerKeyMessage.
type LedgerKeyChanged struct {
	Old, New      ed25519.PublicKey
	RootSignature []byte
}

// CeremonyRecorded keeps the transcript of what was done with a root's key,
// which the root has signed as CeremonyMessage says. Each transcript names the
// hash of the one before it.
type CeremonyRecorded struct {
	Transcript    []byte // text
	RootSignature []byte
}
