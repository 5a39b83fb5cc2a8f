package cli

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"slices"

	"github.com/postern-project/postern/internal/api"
	"github.com/postern-project/postern/internal/authority"
	"github.com/postern-project/postern/internal/chain"
	"github.com/postern-project/postern/internal/explain"
	"github.com/postern-project/postern/internal/ledger"
)

// A ledgerDesk answers what the ledger of the data folder says of
// certificates. It goes there when the first one is asked about.
type ledgerDesk struct {
	app  *app
	auth api.Authority
	err  error
	done func()
}

func (d *ledgerDesk) close() {
	if d.done != nil {
		d.done()
	}
}

// standing returns what the ledger says of c.
func (d *ledgerDesk) standing(ctx context.Context, c *x509.Certificate) (explain.Standing, error) {
	if d.auth == nil && d.err == nil {
		d.auth, d.done, d.err = d.app.open(ctx)
	}
	if d.err != nil {
		return explain.Standing{}, d.err
	}
	issuers, err := d.auth.Issuers(ctx)
	if err != nil {
		return explain.Standing{}, err
	}
	s := explain.Standing{Ours: slices.ContainsFunc(issuers, func(i authority.Issuer) bool { return signedBy(c, i) })}
	record, found, err := recordIn(ctx, d.auth, c)
	if err != nil || !found {
		return s, err
	}
	s.Issued, s.Revoked, s.Reason = record.IssuedAt, record.RevokedAt, record.Reason
	if record.Status == authority.StatusSuspended {
		id, err := d.auth.Identity(ctx, record.Name)
		if err != nil {
			return s, err
		}
		s.SuspendedBy, err = suspendedBy(ctx, d.auth, id)
		return s, err
	}
	return s, nil
}

func signedBy(c *x509.Certificate, i authority.Issuer) bool {
	issuer, err := chain.ParseDER(i.Certificate)
	return err == nil && c.CheckSignatureFrom(issuer) == nil
}

// recordIn finds the record of c itself: the serial number alone is not
// enough, since somebody else may have signed the same one.
func recordIn(ctx context.Context, auth api.Authority, c *x509.Certificate) (authority.Certificate, bool, error) {
	serial, err := ledger.SerialFromBytes(c.SerialNumber.Bytes())
	if err != nil {
		return authority.Certificate{}, false, nil
	}
	all, err := auth.Certificates(ctx, authority.CertificateFilter{Serial: serial})
	if err != nil {
		return authority.Certificate{}, false, err
	}
	i := slices.IndexFunc(all, func(r authority.Certificate) bool { return r.TBS == sha256.Sum256(c.RawTBSCertificate) })
	if i < 0 {
		return authority.Certificate{}, false, nil
	}
	return all[i], true, nil
}
