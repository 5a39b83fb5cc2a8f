package store

import (
	"time"

	"github.com/postern-project/postern/internal/identity"
	"github.com/postern-project/postern/internal/ledger"
)

// An IdentityRow is a name that the ledger knows.
type IdentityRow struct {
	Name        identity.Name
	CreatedAt   time.Time
	SuspendedAt time.Time // zero unless Suspended
	Suspended   bool      // the name itself, whatever holds above it
	Valid       int       // in a list: certificates of the name itself, neither revoked nor ended
}

func scanIdentity(scan scanner) (r IdentityRow, err error) {
	err = scan(nameColumn(&r.Name), timeColumn(&r.CreatedAt), timeColumn(&r.SuspendedAt), &r.Valid)
	r.Suspended = !r.SuspendedAt.IsZero()
	return r, err
}

// A GroupRow is a name's membership in a group.
type GroupRow struct {
	Group    identity.Group
	Name     identity.Name
	JoinedAt time.Time
}

func scanGroup(scan scanner) (r GroupRow, err error) {
	err = scan(groupColumn(&r.Group), nameColumn(&r.Name), timeColumn(&r.JoinedAt))
	return r, err
}

// An IssuerRow is an intermediate that the ledger knows.
type IssuerRow struct {
	ledger.IssuerAdded
	KeyID        ledger.KeyID
	AddedAt      time.Time
	DistrustedAt time.Time // zero unless Distrusted
	Distrusted   bool
	Reason       ledger.Reason // of the distrust
}

func scanIssuer(scan scanner) (r IssuerRow, err error) {
	err = scan(&r.Name, &r.Use, &r.Certificate, hashColumn(&r.KeyID), timeColumn(&r.AddedAt),
		timeColumn(&r.DistrustedAt), reasonColumn(&r.Reason))
	r.Distrusted = !r.DistrustedAt.IsZero()
	return r, err
}

// An InviteRow is an invite with what became of it.
type InviteRow struct {
	ledger.InviteCreated
	CreatedAt   time.Time
	UsedAt      time.Time   // zero unless it was used
	CancelledAt time.Time   // zero unless it was cancelled
	Key         ledger.Hash // SHA-256 of the SubjectPublicKeyInfo it was spent on
	TBS         ledger.Hash // the certificate it was spent on
}

// Open reports whether the invite was neither used nor cancelled. It may have
// expired.
func (r InviteRow) Open() bool { return r.UsedAt.IsZero() && r.CancelledAt.IsZero() }

func scanInvite(scan scanner) (r InviteRow, err error) {
	err = scan(hashColumn(&r.Code), nameColumn(&r.Name), &r.Profile, groupColumn(&r.Group), timeColumn(&r.CreatedAt),
		timeColumn(&r.Expires), timeColumn(&r.UsedAt), timeColumn(&r.CancelledAt), hashColumn(&r.Key), hashColumn(&r.TBS))
	return r, err
}

// A CertificateRow is a certificate that the ledger recorded, with what became
// of it.
type CertificateRow struct {
	ledger.CertificateIssued
	Seq        uint64 // the entry that recorded it
	IssuerName string
	IssuedAt   time.Time
	RevokedAt  time.Time // zero unless Revoked
	Revoked    bool
	Reason     ledger.Reason // of the revocation
}

const certificateColumns = `SELECT c.seq, i.name, i.key_id, c.serial, c.tbs, c.name, c.profile, c.key_hash, c.not_before,
	c.not_after, c.dns, c.ips, c.via, c.issued_at, c.revoked_at, c.reason, q.key_id, p.serial, p.tbs
	FROM certificate c JOIN issuer i ON i.seq = c.issuer
	LEFT JOIN certificate p ON p.seq = c.renewed_from LEFT JOIN issuer q ON q.seq = p.issuer `

func scanCertificate(scan scanner) (r CertificateRow, err error) {
	err = scan(&r.Seq, &r.IssuerName, hashColumn(&r.Issuer), serialColumn(&r.Serial), hashColumn(&r.TBS),
		nameColumn(&r.Name), &r.Profile, hashColumn(&r.Key), timeColumn(&r.NotBefore), timeColumn(&r.NotAfter),
		listColumn(&r.DNSNames, asIs), listColumn(&r.IPs, parseAddr), &r.Via, timeColumn(&r.IssuedAt),
		timeColumn(&r.RevokedAt), reasonColumn(&r.Reason),
		hashColumn(&r.RenewedFrom.Issuer), serialColumn(&r.RenewedFrom.Serial), hashColumn(&r.RenewedFrom.TBS))
	r.Revoked = !r.RevokedAt.IsZero()
	return r, err
}

const refColumns = `SELECT i.key_id, c.serial, c.tbs FROM certificate c JOIN issuer i ON i.seq = c.issuer `

func scanRef(scan scanner) (r ledger.Ref, err error) {
	err = scan(hashColumn(&r.Issuer), serialColumn(&r.Serial), hashColumn(&r.TBS))
	return r, err
}
