// Package ledger holds the record that everything else is a view of: typed
// entries with one fixed encoding, the Merkle tree over them, and the signed
// checkpoints that make the past unchangeable. It does no I/O.
package ledger

import "time"

// A Kind numbers the types of entries. Numbers are never reused.
type Kind uint16

// The kinds of entries.
const (
	KindGenesis Kind = iota + 1
	KindIssuerAdded
	KindIssuerDistrusted
	KindIdentityCreated
	KindIdentitySuspended
	KindIdentityReinstated
	KindGroupJoined
	KindGroupLeft
	KindInviteCreated
	KindInviteUsed
	KindInviteCancelled
	KindCertificateIssued
	KindCertificatesRevoked
	KindEpochOpened
)

// The kinds of entries about the hierarchy.
const (
	KindIssuerActivated Kind = iota + 20
	KindIssuerRetired
	KindRootListSigned
	KindRootAdded
	KindRootRetired
	KindLedgerKeyChanged
	KindCeremonyRecorded
)

// An Entry is one fact in the ledger: what happened, and when. At is kept in
// whole milliseconds, UTC.
type Entry struct {
	At   time.Time
	Body Body
}

// A Body is what an entry says. The types in this package are all there are.
type Body interface {
	Kind() Kind
	encode(*encoder)
}
