package authority

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"errors"

	"github.com/postern-project/postern/internal/ledger"
	"github.com/postern-project/postern/internal/store"
)

// again answers a spent invite once more, if it is the same key that asks and
// ten minutes have not passed since. A signature that a crash kept from being
// made is made now, over the bytes that the ledger holds.
func (s *Service) again(ctx context.Context, i store.InviteRow, spki []byte) (Issued, error) {
	if i.Key != sha256.Sum256(spki) || s.now().After(i.UsedAt.Add(answerAgain)) {
		return Issued{}, usable(i, s.now())
	}
	return s.recorded(ctx, i.TBS)
}

// recorded hands out a certificate that the ledger holds.
func (s *Service) recorded(ctx context.Context, tbs ledger.Hash) (Issued, error) {
	// A row can be read a moment before the roster is told of it. Whoever has
	// had a turn in the store after that finds the roster up to date.
	if err := s.update(ctx, func(*store.Tx) error { return nil }); err != nil {
		return Issued{}, err
	}
	c, signed, err := s.kept(ctx, tbs)
	if err != nil {
		return Issued{}, err
	}
	by, err := s.issuerOf(c)
	if err != nil {
		return Issued{}, err
	}
	ref, err := refOf(c, by)
	if err != nil {
		return Issued{}, err
	}
	row, err := s.store.CertificateByRef(ctx, ref)
	if err != nil {
		return Issued{}, err
	}
	if row.Revoked {
		return Issued{}, refuse(CodeRevoked, inviteAnew, "the certificate that was issued for this was revoked")
	}
	// Nothing protects a kept copy, so its signature is checked.
	if !signed || c.CheckSignatureFrom(by.Certificate) != nil {
		if c, err = sign(c, by); err != nil {
			return Issued{}, err
		}
		s.keep(ctx, row.CertificateIssued, c.Raw)
	}
	return s.handOut(row.CertificateIssued, c.Raw, by)
}

// kept returns the certificate whose to-be-signed part has the hash, and
// whether it has a signature yet.
func (s *Service) kept(ctx context.Context, tbs ledger.Hash) (c *x509.Certificate, signed bool, err error) {
	der, err := s.store.KeptCertificate(ctx, tbs)
	switch {
	case err == nil:
		c, err = x509.ParseCertificate(der)
	case errors.Is(err, store.ErrNotFound):
		c, err = s.keptTBS(ctx, tbs)
	}
	if err != nil {
		return nil, false, err
	}
	if ledger.Hash(sha256.Sum256(c.RawTBSCertificate)) != tbs {
		return nil, false, errors.New("the kept certificate is not the one in the ledger: 'postern ledger verify' shows what is damaged")
	}
	return c, der != nil, nil
}

func (s *Service) keptTBS(ctx context.Context, tbs ledger.Hash) (*x509.Certificate, error) {
	raw, err := s.store.TBS(ctx, tbs)
	if err != nil {
		return nil, err
	}
	return parseTBS(raw)
}

func (s *Service) issuerOf(c *x509.Certificate) (*issuer, error) {
	for _, i := range s.held() {
		if string(i.Certificate.RawSubject) == string(c.RawIssuer) && string(i.Certificate.SubjectKeyId) == string(c.AuthorityKeyId) {
			return i, nil
		}
	}
	return nil, errors.New("the issuer of this certificate is not here any more: ask for a new invitation")
}
