package authority

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"strings"

	"github.com/postern-project/postern/internal/jws"
	"github.com/postern-project/postern/internal/ledger"
	"github.com/postern-project/postern/internal/permit"
	"github.com/postern-project/postern/internal/store"
)

// IssueACME certifies the key of an order's certificate request for the
// order's hosts. It takes nobody's word: the account's signature, its standing,
// the policy, the certificate request and what each validation saw are judged
// here again. An order gets one certificate: asked again with the same key it
// is the same one, however the first answer was lost.
func (s *Service) IssueACME(ctx context.Context, r ACMEIssueRequest) (Issued, error) {
	want, err := s.decideACME(r)
	if err != nil {
		return Issued{}, err
	}
	if want.from, err = s.predecessor(ctx, r.Replaces); err != nil {
		return Issued{}, err
	}
	d, err := s.draft(want)
	if err != nil {
		return Issued{}, err
	}
	err = s.update(ctx, func(tx *store.Tx) error {
		if err := s.stillACME(ctx, tx, r); err != nil {
			return err
		}
		if err := d.record(ctx, tx); err != nil {
			return err
		}
		return tx.Append(ledger.ACMECertificateIssued{Order: r.Order, Account: r.Account, TBS: d.body.TBS})
	})
	if errors.Is(err, store.ErrSpent) { // another finalize of this order came first
		return s.issuedACME(ctx, r, want.spki)
	}
	if err != nil {
		return Issued{}, err
	}
	return s.finish(ctx, d)
}

// decideACME judges everything in a request but what the store knows.
func (s *Service) decideACME(r ACMEIssueRequest) (decision, error) {
	policy, err := s.acmePolicy(r.Profile)
	if err != nil {
		return decision{}, err
	}
	m, key, err := proven(r.ACMEProof)
	if err != nil {
		return decision{}, err
	}
	// the signature is over the URL, which names the order
	if !strings.HasSuffix(r.URL, "/order/"+r.Order+"/finalize") || !strings.HasSuffix(m.KeyID, "/account/"+r.Account) {
		return decision{}, refuse(CodeForbidden, "", "the request was signed for another order or account")
	}
	holder, err := s.holder(r.Profile, policy, r.Account, key.Thumbprint())
	if err != nil {
		return decision{}, err
	}
	hosts, err := parseHosts(r.Hosts)
	if err != nil {
		return decision{}, err
	}
	who := permit.Requester{Name: holder.Name, Account: holder.Account, Hosts: holder.Hosts, From: r.From}
	want := decision{name: holder.Name, profile: r.Profile, via: viaACME}
	for _, h := range hosts {
		if d := policy.Decide(who, h); !d.Allow {
			return decision{}, refuse(CodeForbidden, "", "%s", d.Detail)
		}
		if h.IP.IsValid() {
			want.ips = append(want.ips, h.IP)
		} else {
			want.dns = append(want.dns, h.DNS)
		}
	}
	if err := s.checkEvidence(hosts, r.Evidence); err != nil {
		return decision{}, err
	}
	want.spki, err = keyOf(m, hosts, key)
	return want, err
}

func keyOf(m *jws.Message, hosts []permit.Host, account jws.Key) ([]byte, error) {
	csr, err := ParseACMECSR(m.Payload, hosts, account)
	if err != nil {
		return nil, &Error{Code: CodeBadCSR, Msg: err.Error()}
	}
	return csr.RawSubjectPublicKeyInfo, nil
}

func parseHosts(ids []ACMEIdentifier) ([]permit.Host, error) {
	var hosts []permit.Host
	seen := map[permit.Host]bool{}
	for _, id := range ids {
		h, err := permit.ParseHost(id.Type, id.Value)
		if err != nil {
			return nil, badRequest(err)
		}
		if seen[h] {
			return nil, refuse(CodeBadRequest, "", "%s is named twice", h)
		}
		seen[h] = true
		hosts = append(hosts, h)
	}
	if len(hosts) == 0 {
		return nil, refuse(CodeBadRequest, "", "an order is for at least one host")
	}
	return hosts, nil
}

// stillACME refuses an account that was ended since it was judged.
func (s *Service) stillACME(ctx context.Context, tx *store.Tx, r ACMEIssueRequest) error {
	if strings.HasPrefix(r.Account, openAccount) {
		return nil
	}
	row, err := tx.ACMEKey(ctx, r.Account)
	if err != nil {
		return err
	}
	if !row.CancelledAt.IsZero() {
		return refuse(CodeCancelled, "ask for a new key: 'postern invite NAME --acme'", "the account was ended")
	}
	return nil
}

// issuedACME returns what the order got already. Another account or key than
// the one it was for is an error.
func (s *Service) issuedACME(ctx context.Context, r ACMEIssueRequest, spki []byte) (Issued, error) {
	row, err := s.store.ACMECertificate(ctx, r.Order)
	if err != nil {
		return Issued{}, err
	}
	issued, err := s.recorded(ctx, row.TBS)
	if err != nil {
		return Issued{}, err
	}
	leaf, err := x509.ParseCertificate(issued.Chain[0])
	if err != nil {
		return Issued{}, err
	}
	if row.Account != r.Account || sha256.Sum256(leaf.RawSubjectPublicKeyInfo) != sha256.Sum256(spki) {
		return Issued{}, refuse(CodeSpent, "make a new order", "this order has its certificate, for another key")
	}
	return issued, nil
}

// predecessor returns the certificate that the new one is linked to. One that
// was revoked, or is not known, is renewed without a link: what follows it is
// not to be withdrawn with it.
func (s *Service) predecessor(ctx context.Context, serial ledger.Serial) (ledger.Ref, error) {
	if serial.IsZero() {
		return ledger.Ref{}, nil
	}
	row, err := s.store.Certificate(ctx, serial)
	if errors.Is(err, store.ErrNotFound) || err == nil && row.Revoked {
		return ledger.Ref{}, nil
	}
	return row.Ref, err
}

// ACMEChain returns the chain that an order got, leaf first, each DER. It is
// given out also when the certificate was revoked since.
func (s *Service) ACMEChain(ctx context.Context, order string) ([][]byte, error) {
	row, err := s.store.ACMECertificate(ctx, order)
	if err != nil {
		return nil, notFound(err, refuse(CodeNotFound, "", "order %s has no certificate", order))
	}
	c, _, err := s.kept(ctx, row.TBS)
	if err != nil {
		return nil, err
	}
	by, err := s.issuerOf(c)
	if err != nil {
		return nil, err
	}
	if c.CheckSignatureFrom(by.Certificate) != nil { // a crash kept it from being signed
		issued, err := s.recorded(ctx, row.TBS)
		return issued.Chain, err
	}
	return [][]byte{c.Raw, by.Certificate.Raw}, nil
}
