package store

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"

	"github.com/postern-project/postern/internal/identity"
	"github.com/postern-project/postern/internal/ledger"
)

// apply changes the view tables by the entry with number seq. Nothing else
// writes to them, and the result depends on the entries alone, so that Verify
// can make them again. What happens once demands exactly one affected row.
func apply(ctx context.Context, db *session, seq uint64, e ledger.Entry) error {
	if (seq == 0) != (e.Body.Kind() == ledger.KindGenesis) {
		return errors.New("a ledger begins with a genesis entry and has only one")
	}
	v := view{ctx, db, int64(seq), millis(e.At)}
	switch b := e.Body.(type) {
	case ledger.Genesis, ledger.EpochOpened, ledger.RootAdded, ledger.RootRetired, ledger.RootListSigned,
		ledger.LedgerKeyChanged, ledger.CeremonyRecorded:
		return nil // they change no view
	case ledger.IssuerActivated:
		return v.issuerActivated(b)
	case ledger.IssuerRetired:
		return v.issuerRetired(b)
	case ledger.IssuerAdded:
		return v.issuerAdded(b)
	case ledger.IssuerDistrusted:
		return v.issuerDistrusted(b)
	case ledger.IdentityCreated:
		return v.once(ErrExists, "identity "+b.Name.String(),
			"INSERT INTO identity (name, seq, created_at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING", b.Name.String(), v.seq, v.at)
	case ledger.IdentitySuspended:
		return v.suspended(b.Name)
	case ledger.IdentityReinstated:
		return v.once(ErrNotFound, "a suspension of "+b.Name.String(),
			"UPDATE identity SET suspended_at = NULL WHERE name = $1 AND suspended_at IS NOT NULL", b.Name.String())
	case ledger.GroupJoined:
		return v.groupJoined(b)
	case ledger.GroupLeft:
		return v.once(ErrNotFound, fmt.Sprintf("%s in group %s", b.Name, b.Group),
			"UPDATE membership SET left_at = $1 WHERE group_name = $2 AND name = $3 AND left_at IS NULL", v.at, b.Group.String(), b.Name.String())
	case ledger.InviteCreated:
		return v.inviteCreated(b)
	case ledger.InviteUsed:
		return v.inviteEnded(b.Code, `UPDATE invite SET used_at = $1, key_hash = $2, tbs = $3
			WHERE code = $4 AND used_at IS NULL AND cancelled_at IS NULL`, v.at, b.Key[:], b.TBS[:], b.Code[:])
	case ledger.InviteCancelled:
		return v.inviteEnded(b.Code, "UPDATE invite SET cancelled_at = $1 WHERE code = $2 AND used_at IS NULL AND cancelled_at IS NULL",
			v.at, b.Code[:])
	case ledger.CertificateIssued:
		return v.certificateIssued(b)
	case ledger.CertificatesRevoked:
		return v.certificatesRevoked(b)
	case ledger.TokenIssued:
		return v.tokenIssued(b)
	case ledger.TokenRevoked:
		return v.tokenRevoked(b)
	case ledger.ACMEKeyCreated:
		return v.acmeKeyCreated(b)
	case ledger.ACMEAccountBound, ledger.ACMEAccountRekeyed, ledger.ACMEKeyCancelled:
		return v.acmeAccount(b)
	case ledger.ACMECertificateIssued:
		return v.acmeCertificateIssued(b)
	}
	return fmt.Errorf("%s has no view", e.Body.Kind())
}

// A view changes the tables by one entry.
type view struct {
	ctx context.Context
	db  *session
	seq int64
	at  int64
}

// once runs a statement that has to affect exactly one row. If it affects
// none the error is what, with otherwise.
func (v view) once(otherwise error, what, query string, args ...any) error {
	n, err := v.db.exec(v.ctx, query, args...)
	switch {
	case err != nil:
		return err
	case n == 0:
		return fmt.Errorf("%s: %w", what, otherwise)
	case n != 1:
		return fmt.Errorf("%s: %d rows where one was expected", what, n)
	}
	return nil
}

// known returns ErrNotFound unless the identity was created.
func (v view) known(n identity.Name) error {
	var one int
	err := v.db.row(v.ctx, "SELECT 1 FROM identity WHERE name = $1", []any{n.String()}, &one)
	if err == ErrNotFound {
		return fmt.Errorf("identity %s: %w", n, ErrNotFound)
	}
	return err
}

func (v view) issuerAdded(b ledger.IssuerAdded) error {
	c, err := x509.ParseCertificate(b.Certificate)
	if err != nil {
		return fmt.Errorf("issuer %s: %w", b.Name, err)
	}
	key := sha256.Sum256(c.RawSubjectPublicKeyInfo)
	return v.once(ErrExists, "issuer "+b.Name, `INSERT INTO issuer (seq, name, key_id, purpose, certificate, added_at)
		VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING`, v.seq, b.Name, key[:], int64(b.Use), b.Certificate, v.at)
}

func (v view) issuerDistrusted(b ledger.IssuerDistrusted) error {
	var distrusted bool
	err := v.db.row(v.ctx, "SELECT distrusted_at IS NOT NULL FROM issuer WHERE key_id = $1", []any{b.Issuer[:]}, &distrusted)
	if err == ErrNotFound {
		return fmt.Errorf("issuer with key id %s: %w", b.Issuer, ErrNotFound)
	}
	if err != nil {
		return err
	}
	return v.once(ErrSpent, "trust in the issuer with key id "+b.Issuer.String(),
		"UPDATE issuer SET distrusted_at = $1, reason = $2 WHERE key_id = $3 AND distrusted_at IS NULL", v.at, int64(b.Reason), b.Issuer[:])
}

func (v view) suspended(n identity.Name) error {
	if err := v.known(n); err != nil {
		return err
	}
	return v.once(ErrExists, "a suspension of "+n.String(),
		"UPDATE identity SET suspended_at = $1 WHERE name = $2 AND suspended_at IS NULL", v.at, n.String())
}

func (v view) groupJoined(b ledger.GroupJoined) error {
	if err := v.known(b.Name); err != nil {
		return err
	}
	return v.once(ErrExists, fmt.Sprintf("%s in group %s", b.Name, b.Group),
		`INSERT INTO membership (group_name, name, joined_at) VALUES ($1, $2, $3) ON CONFLICT (group_name, name)
		DO UPDATE SET joined_at = excluded.joined_at, left_at = NULL WHERE membership.left_at IS NOT NULL`,
		b.Group.String(), b.Name.String(), v.at)
}

func (v view) inviteCreated(b ledger.InviteCreated) error {
	if err := v.known(b.Name); err != nil {
		return err
	}
	return v.once(ErrExists, "invite "+b.Code.String()[:8], `INSERT INTO invite (code, seq, name, profile, group_name, created_at, expires_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING`,
		b.Code[:], v.seq, b.Name.String(), b.Profile, b.Group.String(), v.at, millis(b.Expires))
}

func (v view) inviteEnded(code ledger.Hash, query string, args ...any) error {
	what := "invite " + code.String()[:8]
	err := v.once(ErrSpent, what, query, args...)
	if !errors.Is(err, ErrSpent) {
		return err
	}
	var one int
	if v.db.row(v.ctx, "SELECT 1 FROM invite WHERE code = $1", []any{code[:]}, &one) == ErrNotFound {
		return fmt.Errorf("%s: %w", what, ErrNotFound)
	}
	return err
}

func (v view) certificateIssued(b ledger.CertificateIssued) error {
	if err := v.known(b.Name); err != nil {
		return err
	}
	issuer, err := v.trustedIssuer(b.Issuer)
	if err != nil {
		return err
	}
	parent, err := v.parent(b.RenewedFrom)
	if err != nil {
		return err
	}
	dns, ips := strings.Join(b.DNSNames, " "), joinAddresses(b.IPs)
	if err := v.once(ErrExists, "certificate "+b.Serial.String(), `INSERT INTO certificate (seq, issuer, serial, tbs, name, profile,
		key_hash, not_before, not_after, renewed_from, dns, ips, via, issued_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14) ON CONFLICT DO NOTHING`,
		v.seq, issuer, b.Serial.Bytes(), b.TBS[:], b.Name.String(), b.Profile, b.Key[:], millis(b.NotBefore), millis(b.NotAfter),
		parent, dns, ips, b.Via, v.at); err != nil {
		return err
	}
	return v.hostsIssued(dns, ips)
}

func (v view) trustedIssuer(key ledger.KeyID) (seq int64, err error) {
	var distrusted bool
	err = v.db.row(v.ctx, "SELECT seq, distrusted_at IS NOT NULL OR retired_at IS NOT NULL FROM issuer WHERE key_id = $1", []any{key[:]}, &seq, &distrusted)
	switch {
	case err == ErrNotFound:
		return 0, fmt.Errorf("issuer with key id %s: %w", key, ErrNotFound)
	case err == nil && distrusted:
		return 0, fmt.Errorf("trust in the issuer with key id %s: %w", key, ErrSpent)
	}
	return seq, err
}

// parent returns the row of the certificate that is renewed, or nil for none.
// A revoked one cannot be renewed.
func (v view) parent(ref ledger.Ref) (any, error) {
	if ref.IsZero() {
		return nil, nil
	}
	seq, revoked, err := v.certificate(ref)
	if err == nil && revoked {
		err = fmt.Errorf("certificate %s: %w", ref.Serial, ErrSpent)
	}
	return seq, err
}

func (v view) certificate(ref ledger.Ref) (seq int64, revoked bool, err error) {
	err = v.db.row(v.ctx, `SELECT c.seq, c.revoked_at IS NOT NULL FROM certificate c JOIN issuer i ON i.seq = c.issuer
		WHERE c.serial = $1 AND c.tbs = $2 AND i.key_id = $3`, []any{ref.Serial.Bytes(), ref.TBS[:], ref.Issuer[:]}, &seq, &revoked)
	if err == ErrNotFound {
		err = fmt.Errorf("certificate %s: %w", ref.Serial, ErrNotFound)
	}
	return seq, revoked, err
}

func (v view) certificatesRevoked(b ledger.CertificatesRevoked) error {
	for _, ref := range b.Certificates {
		seq, _, err := v.certificate(ref)
		if err != nil {
			return err
		}
		if err := v.once(ErrSpent, "certificate "+ref.Serial.String(),
			"UPDATE certificate SET revoked_at = $1, reason = $2 WHERE seq = $3 AND revoked_at IS NULL", v.at, int64(b.Reason), seq); err != nil {
			return err
		}
	}
	return nil
}
