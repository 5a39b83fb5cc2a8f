package authority

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"

	"crypto/x509"

	"github.com/postern-project/postern/internal/identity"
	"github.com/postern-project/postern/internal/jws"
	"github.com/postern-project/postern/internal/ledger"
	"github.com/postern-project/postern/internal/permit"
	"github.com/postern-project/postern/internal/store"
)

// RekeyACMEAccount gives an account the key that has signed the inner of two
// nested messages; the outer one is by its key now (RFC 8555 section 7.3.5).
// The new key is returned.
func (s *Service) RekeyACMEAccount(ctx context.Context, p ACMEProof) (json.RawMessage, error) {
	outer, old, err := proven(p)
	if err != nil {
		return nil, err
	}
	inner, err := jws.Parse(outer.Payload)
	if err != nil {
		return nil, badRequest(err)
	}
	var change struct {
		Account string  `json:"account"`
		OldKey  jws.Key `json:"oldKey"`
	}
	if inner.Key == nil || inner.Verify(*inner.Key) != nil || inner.URL != p.URL || inner.Nonce != "" {
		return nil, refuse(CodeBadRequest, "", "the inner message is not signed by the new key for this place, without a nonce")
	}
	if err := json.Unmarshal(inner.Payload, &change); err != nil {
		return nil, badRequest(err)
	}
	if change.Account != outer.KeyID || !strings.HasSuffix(outer.KeyID, "/account/"+p.Account) || change.OldKey.Thumbprint() != old.Thumbprint() {
		return nil, refuse(CodeBadRequest, "", "the inner message is about another account or another old key")
	}
	if err := s.rekey(ctx, p, old, *inner.Key); err != nil {
		return nil, err
	}
	return inner.Key.MarshalJSON()
}

// rekey records the change. An account that nobody invited is not in the
// ledger. The same change again is no error, for its answer may have been lost.
func (s *Service) rekey(ctx context.Context, p ACMEProof, from, to jws.Key) error {
	policy, err := s.acmePolicy(p.Profile)
	if err != nil {
		return err
	}
	_, err = s.holder(p.Profile, policy, p.Account, from.Thumbprint())
	if a, ok := s.roster.Account(p.Account); err != nil && ok && !a.Cancelled && a.Thumbprint == to.Thumbprint() {
		return nil
	}
	if err != nil || strings.HasPrefix(p.Account, openAccount) {
		return err
	}
	return s.update(ctx, func(tx *store.Tx) error {
		row, err := tx.ACMEKey(ctx, p.Account)
		if err != nil {
			return err
		}
		if row.Thumbprint != from.Thumbprint() {
			return refuse(CodeForbidden, "", "the account has another key by now")
		}
		return tx.Append(ledger.ACMEAccountRekeyed{Key: p.Account, Thumbprint: to.Thumbprint()})
	})
}

// CloseACMEAccount ends an account for good, as its key demands (RFC 8555
// section 7.3.6). Closing a closed one changes nothing.
func (s *Service) CloseACMEAccount(ctx context.Context, p ACMEProof) error {
	m, key, err := proven(p)
	if err != nil {
		return err
	}
	var update struct {
		Status string `json:"status"`
	}
	if err := json.Unmarshal(m.Payload, &update); err != nil || update.Status != "deactivated" || !strings.HasSuffix(m.KeyID, "/account/"+p.Account) {
		return refuse(CodeBadRequest, "", "the request does not deactivate this account")
	}
	if strings.HasPrefix(p.Account, openAccount) {
		return nil
	}
	return s.update(ctx, func(tx *store.Tx) error {
		row, err := tx.ACMEKey(ctx, p.Account)
		if err != nil {
			return notFound(err, unknownAccount(p.Account))
		}
		if row.Thumbprint != key.Thumbprint() {
			return refuse(CodeForbidden, "", "this is not the account's key")
		}
		if !row.CancelledAt.IsZero() {
			return nil
		}
		return tx.Append(ledger.ACMEKeyCancelled{Key: p.Account})
	})
}

func unknownAccount(id string) *Error {
	return refuse(CodeNotFound, "'postern acme accounts' shows those there are", "the ledger knows no ACME account %s", id)
}

// A revoking is the payload of a revocation (RFC 8555 section 7.6).
type revoking struct {
	Certificate string `json:"certificate"`
	Reason      *int   `json:"reason"`
}

// CodeBadReason is the code of a reason that is not taken.
const CodeBadReason = "bad-reason"

// RevokeACME withdraws one certificate, and nothing that was renewed from it:
// a client revokes what it has replaced. The proof's key is that of the account
// that it was issued to, of one that holds evidence for all of its hosts, or of
// the certificate itself (RFC 8555 section 7.6).
func (s *Service) RevokeACME(ctx context.Context, r ACMERevocation) error {
	m, key, err := proven(r.ACMEProof)
	if err != nil {
		return err
	}
	leaf, why, err := parseRevoking(m.Payload)
	if err != nil {
		return err
	}
	row, err := s.recordOf(ctx, leaf)
	if err != nil {
		return err
	}
	if err := s.mayRevoke(ctx, r, m, key, leaf); err != nil {
		return err
	}
	err = s.update(ctx, func(tx *store.Tx) error {
		now, err := tx.CertificateByRef(ctx, row.Ref)
		if err != nil {
			return err
		}
		if now.Revoked {
			return refuse(CodeRevoked, "", "certificate %s was revoked before", row.Serial)
		}
		_, err = s.withdraw(ctx, tx, identity.Name{}, []ledger.Ref{row.Ref}, why)
		return err
	})
	if err == nil {
		s.log.Info("certificate revoked", "id", row.Name, "serial", row.Serial, "reason", why.String(), "via", viaACME)
	}
	return err
}

func parseRevoking(payload []byte) (*x509.Certificate, ledger.Reason, error) {
	var q revoking
	if err := json.Unmarshal(payload, &q); err != nil {
		return nil, 0, badRequest(err)
	}
	der, err := base64.RawURLEncoding.Strict().DecodeString(q.Certificate)
	if err != nil {
		return nil, 0, refuse(CodeBadRequest, "", "the certificate is no base64url")
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, 0, badRequest(err)
	}
	why := ledger.ReasonUnspecified
	if q.Reason != nil {
		why = ledger.Reason(uint8(*q.Reason))
		if _, err := ledger.ParseReason(why.String()); err != nil || *q.Reason < 0 || *q.Reason > 10 {
			return nil, 0, refuse(CodeBadReason, "", "reason %d is not taken: use 0, 1, 3, 4, 5 or 9", *q.Reason)
		}
	}
	return leaf, why, nil
}

// recordOf returns the ledger's record of a certificate that an issuer of ours
// has signed.
func (s *Service) recordOf(ctx context.Context, leaf *x509.Certificate) (store.CertificateRow, error) {
	unknown := refuse(CodeNotFound, "", "this authority did not issue that certificate")
	for _, i := range s.roster.Issuers() {
		if leaf.CheckSignatureFrom(i.Certificate) != nil {
			continue
		}
		ref, err := refOf(leaf, &issuer{Issuer: i})
		if err != nil {
			return store.CertificateRow{}, unknown
		}
		row, err := s.store.CertificateByRef(ctx, ref)
		return row, notFound(err, unknown)
	}
	return store.CertificateRow{}, unknown
}

func (s *Service) mayRevoke(ctx context.Context, r ACMERevocation, m *jws.Message, key jws.Key, leaf *x509.Certificate) error {
	if r.Account == "" {
		if m.KeyID != "" || !sameKey(key.Public(), leaf.PublicKey) {
			return refuse(CodeForbidden, "", "the request is not signed by the key of the certificate")
		}
		return nil
	}
	policy, err := s.acmePolicy(r.Profile)
	if err != nil {
		return err
	}
	if !strings.HasSuffix(m.KeyID, "/account/"+r.Account) {
		return refuse(CodeForbidden, "", "the request was signed by another account")
	}
	if _, err := s.holder(r.Profile, policy, r.Account, key.Thumbprint()); err != nil {
		return err
	}
	ref, err := s.recordOf(ctx, leaf)
	if err != nil {
		return err
	}
	order, err := s.store.ACMEOrderOf(ctx, ref.TBS)
	if err == nil && order.Account == r.Account {
		return nil
	}
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	return s.checkEvidence(hostsOfCertificate(leaf), r.Evidence)
}

func hostsOfCertificate(c *x509.Certificate) []permit.Host {
	var hosts []permit.Host
	for _, n := range c.DNSNames {
		hosts = append(hosts, permit.Host{DNS: n})
	}
	for _, ip := range addrs(c.IPAddresses) {
		hosts = append(hosts, permit.Host{IP: ip})
	}
	return hosts
}
