package acme

import (
	"crypto/x509"
	"encoding/base64"
	"net/http"

	"github.com/postern-project/postern/internal/authority"
)

// revoke withdraws a certificate (RFC 8555 section 7.6).
func (s *Server) revoke(c *call) error {
	var q struct {
		Certificate string `json:"certificate"`
	}
	if err := c.payload(&q); err != nil {
		return err
	}
	r := authority.ACMERevocation{ACMEProof: c.proof()}
	if c.account != nil {
		var err error
		if r.Evidence, err = s.evidenceFor(c, q.Certificate); err != nil {
			return err
		}
	}
	if err := s.authority.RevokeACME(c.Context(), r); err != nil {
		return fromAuthority(err)
	}
	c.w.WriteHeader(http.StatusOK)
	return nil
}

// evidenceFor returns what the account has validated of the certificate's
// hosts: with all of them it may revoke what was issued to another.
func (s *Server) evidenceFor(c *call, certificate string) ([]authority.ACMEEvidence, error) {
	der, err := base64.RawURLEncoding.Strict().DecodeString(certificate)
	if err != nil {
		return nil, problem(malformed, "the certificate is no base64url")
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, problem(malformed, "the certificate cannot be read")
	}
	wanted := map[authority.ACMEIdentifier]bool{}
	for _, n := range leaf.DNSNames {
		wanted[authority.ACMEIdentifier{Type: "dns", Value: n}] = true
	}
	for _, ip := range leaf.IPAddresses {
		wanted[authority.ACMEIdentifier{Type: "ip", Value: ip.String()}] = true
	}
	records, err := s.authority.ACMERecordsOf(c.Context(), authority.ACMEKindAuthorization, c.account.ID, 1000)
	if err != nil {
		return nil, fault(err)
	}
	var evidence []authority.ACMEEvidence
	for _, r := range records {
		a, err := decode[authority.ACMEAuthorization](r, nil)
		if err != nil {
			return nil, fault(err)
		}
		if s.standing(a.Doc) == statusValid && a.Doc.Evidence != nil && wanted[a.Doc.Evidence.Host] {
			delete(wanted, a.Doc.Evidence.Host)
			evidence = append(evidence, *a.Doc.Evidence)
		}
	}
	return evidence, nil
}
