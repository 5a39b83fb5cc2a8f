package store

import (
	"errors"
	"fmt"
	"strings"

	"github.com/postern-project/postern/internal/ledger"
)

func (v view) acmeKeyCreated(b ledger.ACMEKeyCreated) error {
	if err := v.known(b.Name); err != nil {
		return err
	}
	return v.once(ErrExists, "ACME key "+b.Key, `INSERT INTO acme_key (id, seq, name, profile, hosts, created_at, expires_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING`,
		b.Key, v.seq, b.Name.String(), b.Profile, strings.Join(b.Hosts, " "), v.at, millis(b.Expires))
}

// acmeKeyChanged is once for a row of acme_key that has to be there.
func (v view) acmeKeyChanged(key, query string, args ...any) error {
	err := v.once(ErrSpent, "ACME key "+key, query, args...)
	if !errors.Is(err, ErrSpent) {
		return err
	}
	var one int
	if v.db.row(v.ctx, "SELECT 1 FROM acme_key WHERE id = $1", []any{key}, &one) == ErrNotFound {
		return fmt.Errorf("ACME key %s: %w", key, ErrNotFound)
	}
	return err
}

// acmeAccount applies what happens to an account.
func (v view) acmeAccount(body ledger.Body) error {
	switch b := body.(type) {
	case ledger.ACMEAccountBound:
		return v.acmeKeyChanged(b.Key, "UPDATE acme_key SET thumbprint = $1, bound_at = $2 WHERE id = $3 AND bound_at IS NULL AND cancelled_at IS NULL",
			b.Thumbprint[:], v.at, b.Key)
	case ledger.ACMEAccountRekeyed:
		return v.acmeKeyChanged(b.Key, "UPDATE acme_key SET thumbprint = $1 WHERE id = $2 AND bound_at IS NOT NULL AND cancelled_at IS NULL",
			b.Thumbprint[:], b.Key)
	case ledger.ACMEKeyCancelled:
		return v.acmeKeyChanged(b.Key, "UPDATE acme_key SET cancelled_at = $1 WHERE id = $2 AND cancelled_at IS NULL", v.at, b.Key)
	}
	return fmt.Errorf("%s has no view", body.Kind())
}

// acmeCertificateIssued records which order a certificate was for. An order
// gets one certificate, whatever is asked at the same moment.
func (v view) acmeCertificateIssued(b ledger.ACMECertificateIssued) error {
	var one int
	if err := v.db.row(v.ctx, "SELECT 1 FROM certificate WHERE tbs = $1 AND seq = $2", []any{b.TBS[:], v.seq - 1}, &one); err != nil {
		if err == ErrNotFound {
			return fmt.Errorf("the certificate of ACME order %s: %w", b.Order, ErrNotFound)
		}
		return err
	}
	return v.once(ErrSpent, "ACME order "+b.Order, `INSERT INTO acme_certificate (order_id, seq, account, tbs, issued_at)
		VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING`, b.Order, v.seq, b.Account, b.TBS[:], v.at)
}
