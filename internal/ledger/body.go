package ledger

import (
	"crypto/ed25519"
	"net/netip"
	"time"

	"github.com/postern-project/postern/internal/identity"
)

// Genesis is entry 0: it fixes the trust domain, the root and the key that
// signs checkpoints. RootSignature is the root's signature over GenesisMessage,
// so whoever holds only the ledger's key cannot begin another ledger.
type Genesis struct {
	TrustDomain   identity.TrustDomain
	Root          []byte // DER
	LedgerKey     ed25519.PublicKey
	RootSignature []byte
}

// IssuerAdded adds an intermediate. Its certificate carries the root's
// signature, which a reader checks before it believes the entry.
type IssuerAdded struct {
	Name        string
	Use         Use
	Certificate []byte // DER
}

// IssuerDistrusted ends an issuer: nothing is issued under it any more, and
// gateways refuse what the ledger does not hold as issuer-distrusted.
type IssuerDistrusted struct {
	Issuer KeyID
	Reason Reason
}

// IdentityCreated is the first mention of a name.
type IdentityCreated struct{ Name identity.Name }

// IdentitySuspended keeps a name, and all below it, out until it is reinstated.
type IdentitySuspended struct{ Name identity.Name }

// IdentityReinstated ends the suspension of exactly this name.
type IdentityReinstated struct{ Name identity.Name }

// GroupJoined puts a name, and all below it, into a group.
type GroupJoined struct {
	Group identity.Group
	Name  identity.Name
}

// GroupLeft takes a name out of a group.
type GroupLeft struct {
	Group identity.Group
	Name  identity.Name
}

// InviteCreated allows whoever knows the code to obtain one certificate.
type InviteCreated struct {
	Code    Hash // SHA-256 of the code
	Name    identity.Name
	Profile string
	Group   identity.Group // joined when the invite is used; zero for none
	Expires time.Time
}

// InviteUsed spends an invite on the certificate issued in the entry before
// or after it in the same transaction.
type InviteUsed struct {
	Code Hash
	Key  Hash // SHA-256 of the SubjectPublicKeyInfo it was spent on
	TBS  Hash
}

// InviteCancelled ends an invite unused.
type InviteCancelled struct{ Code Hash }

// CertificateIssued records a certificate before it is signed.
type CertificateIssued struct {
	Ref
	Name        identity.Name
	Profile     string
	Key         Hash // SHA-256 of the SubjectPublicKeyInfo
	NotBefore   time.Time
	NotAfter    time.Time
	RenewedFrom Ref // zero unless renewed
	DNSNames    []string
	IPs         []netip.Addr
	Via         string // issue, sign, invite, renew or self
}

// CertificatesRevoked withdraws certificates. Name is whose they were, when a
// whole name was revoked, else zero.
type CertificatesRevoked struct {
	Name         identity.Name
	Reason       Reason
	Certificates []Ref
}

// EpochOpened follows the loss of the ledger's tail: an operator put back an
// older copy and accepted the loss. From is the time of the newest entry that
// was kept. A certificate that the ledger does not hold, begun between From
// and this entry, is stale and no theft.
type EpochOpened struct {
	Epoch uint64
	From  time.Time
	// LostSize and LostRoot are the checkpoint that a witness had seen.
	LostSize uint64
	LostRoot Hash
}
