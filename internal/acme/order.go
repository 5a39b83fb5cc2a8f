package acme

import (
	"bytes"
	"context"
	"encoding/pem"
	"net/http"
	"strings"
	"time"

	"github.com/postern-project/postern/internal/authority"
	"github.com/postern-project/postern/internal/permit"
	"github.com/postern-project/postern/internal/profile"
)

// ordering is the payload of new-order.
type ordering struct {
	Identifiers []authority.ACMEIdentifier `json:"identifiers"`
	NotBefore   string                     `json:"notBefore"`
	NotAfter    string                     `json:"notAfter"`
	Profile     string                     `json:"profile"`  // draft-aaron-acme-profiles
	Replaces    string                     `json:"replaces"` // RFC 9773 section 5
}

// newOrder takes an order (RFC 8555 section 7.4).
func (s *Server) newOrder(c *call) error {
	var q ordering
	if err := c.payload(&q); err != nil {
		return err
	}
	switch {
	case q.NotBefore != "" || q.NotAfter != "":
		return problem(malformed, "the dates of certificates are those of the profile: leave notBefore and notAfter out")
	case q.Profile != "" && q.Profile != c.profile.Name:
		return problem(invalidProfile, "this server issues profile %q only", c.profile.Name)
	}
	hosts, err := s.admitHosts(c, q.Identifiers)
	if err != nil {
		return err
	}
	if err := s.unhurried(c, hosts); err != nil {
		return err
	}
	replaced, err := s.replaced(c, q.Replaces, hosts)
	if err != nil {
		return err
	}
	order, authorizations := s.draw(c, hosts)
	order.Doc.Replaces = replaced
	if err := s.write(c.Context(), order, authorizations...); err != nil {
		return err
	}
	c.w.Header().Set("Location", c.url("order", order.Doc.ID))
	return c.answer(http.StatusCreated, c.orderObject(order.Doc, statusPending))
}

// admitHosts checks every identifier and tells all that is wrong at once (RFC
// 8555 section 6.7.1).
func (s *Server) admitHosts(c *call, ids []authority.ACMEIdentifier) ([]permit.Host, error) {
	if len(ids) == 0 || len(ids) > profile.MaxNames {
		return nil, problem(malformed, "an order has 1 to %d identifiers", profile.MaxNames)
	}
	var hosts []permit.Host
	var wrong []authority.ACMESubproblem
	complain := func(id authority.ACMEIdentifier, kind, detail string) {
		wrong = append(wrong, authority.ACMESubproblem{Type: problemSpace + kind, Detail: detail, Identifier: &id})
	}
	seen := map[permit.Host]bool{}
	var asked []authority.ACMEIdentifier
	for _, id := range ids {
		if id.Type != "dns" && id.Type != "ip" {
			complain(id, unsupportedIdentifier, "identifiers are of type dns or ip")
			continue
		}
		h, err := permit.ParseHost(id.Type, id.Value)
		switch {
		case err != nil:
			complain(id, rejectedIdentifier, err.Error())
		case !seen[h] && len(c.profile.offers(h)) == 0:
			complain(id, rejectedIdentifier, "none of the challenges that this server offers proves it")
		case !seen[h]:
			seen[h] = true
			hosts, asked = append(hosts, h), append(asked, identifier(h))
		}
	}
	decisions, err := s.authority.ACMEPermits(c.Context(), authority.ACMEAsk{
		Profile: c.profile.Name, Account: c.account.ID, From: c.from, Hosts: asked, Key: c.key.Thumbprint(),
	})
	if err != nil {
		return nil, fromAuthority(err)
	}
	for i, d := range decisions {
		if !d.Allow {
			complain(asked[i], rejectedIdentifier, d.Detail)
		}
	}
	return hosts, compounded(wrong)
}

// compounded is the problem that several identifiers make together.
func compounded(wrong []authority.ACMESubproblem) error {
	switch len(wrong) {
	case 0:
		return nil
	case 1:
		p := problem(strings.TrimPrefix(wrong[0].Type, problemSpace), "%s", wrong[0].Detail)
		p.Identifier, p.Subproblems = wrong[0].Identifier, wrong
		return p
	}
	kind := wrong[0].Type
	for _, w := range wrong {
		if w.Type != kind {
			kind = problemSpace + compound
		}
	}
	p := problem(strings.TrimPrefix(kind, problemSpace), "%d identifiers are not taken: see the subproblems", len(wrong))
	p.Subproblems = wrong
	return p
}

func identifier(h permit.Host) authority.ACMEIdentifier {
	if h.IP.IsValid() {
		return authority.ACMEIdentifier{Type: "ip", Value: h.String()}
	}
	return authority.ACMEIdentifier{Type: "dns", Value: h.String()}
}

// unhurried bounds what an account orders, and makes one wait whose
// validations go on failing. Accounts that nobody invited count by their
// network, since whoever has one can have many.
func (s *Server) unhurried(c *call, hosts []permit.Host) error {
	who := c.account.ID
	if c.account.Name == "" {
		who = network(c.from)
	}
	if wait, ok := c.profile.orders.take(who); !ok {
		return problem(rateLimited, "too many orders").after(wait)
	}
	for _, h := range hosts {
		if wait, ok := s.limits.failures.look(c.account.ID + " " + h.Base().String()); !ok {
			p := problem(rateLimited, "validating %s has failed too often: mend the cause first, 'postern explain ORDER' tells it", h).after(wait)
			id := identifier(h)
			p.Identifier = &id
			return p
		}
	}
	return nil
}

// draw makes an order and its authorizations.
func (s *Server) draw(c *call, hosts []permit.Host) (kept[authority.ACMEOrder], []kept[authority.ACMEAuthorization]) {
	now := s.now().UTC()
	order := authority.ACMEOrder{
		ID: newID("order-"), Account: c.account.ID, Profile: c.profile.Name, Status: statusPending, Created: now, Expires: now.Add(orderLife),
	}
	var all []kept[authority.ACMEAuthorization]
	for _, h := range hosts {
		a := authority.ACMEAuthorization{
			ID: newID("authz-"), Account: c.account.ID, Order: order.ID, Identifier: identifier(h.Base()), Wildcard: h.Wildcard(),
			Status: statusPending, Expires: order.Expires,
		}
		for _, kind := range c.profile.offers(h) {
			a.Challenges = append(a.Challenges, authority.ACMEChallenge{Type: kind, Token: newToken(), Status: statusPending})
		}
		order.Identifiers = append(order.Identifiers, identifier(h))
		order.Authorizations = append(order.Authorizations, a.ID)
		all = append(all, kept[authority.ACMEAuthorization]{Doc: a, record: authority.ACMERecord{
			Kind: authority.ACMEKindAuthorization, ID: a.ID, Owner: a.Account, Created: now, Expires: now.Add(keepOrders),
		}})
	}
	return kept[authority.ACMEOrder]{Doc: order, record: authority.ACMERecord{
		Kind: authority.ACMEKindOrder, ID: order.ID, Owner: order.Account, Created: now, Expires: now.Add(keepOrders),
	}}, all
}

// orderObject is an order as RFC 8555 section 7.1.3 has it.
func (c *call) orderObject(o authority.ACMEOrder, status string) map[string]any {
	urls := make([]string, len(o.Authorizations))
	for i, id := range o.Authorizations {
		urls[i] = c.url("authorization", id)
	}
	v := map[string]any{
		"status": status, "expires": o.Expires.Format(time.RFC3339), "identifiers": o.Identifiers,
		"authorizations": urls, "finalize": c.url("order", o.ID, "finalize"), "profile": o.Profile,
	}
	if status == statusValid {
		v["certificate"] = c.url("certificate", o.ID)
	}
	if o.Replaces != "" {
		v["replaces"] = o.Replaces
	}
	if o.Error != nil {
		v["error"] = o.Error
	}
	return v
}

// order shows an order.
func (s *Server) order(c *call) error {
	if err := c.needGet(); err != nil {
		return err
	}
	o, err := s.ownOrder(c)
	if err != nil {
		return err
	}
	status, _, err := s.statusOf(c.Context(), o.Doc)
	if err != nil {
		return err
	}
	return c.answer(http.StatusOK, c.orderObject(o.Doc, status))
}

func (s *Server) ownOrder(c *call) (kept[authority.ACMEOrder], error) {
	o, err := load[authority.ACMEOrder](c.Context(), s, authority.ACMEKindOrder, c.PathValue("id"))
	switch {
	case isNotFound(err) || err == nil && o.Doc.Profile != c.profile.Name:
		return o, problem(malformed, "there is no such order").status(http.StatusNotFound)
	case err != nil:
		return o, fault(err)
	case o.Doc.Account != c.account.ID:
		return o, problem(unauthorized, "the order belongs to another account")
	}
	return o, nil
}

// statusOf works an order's status out of its authorizations (RFC 8555 section
// 7.1.6), and returns the evidence once it is ready.
func (s *Server) statusOf(ctx context.Context, o authority.ACMEOrder) (string, []authority.ACMEEvidence, error) {
	if o.Status == statusInvalid {
		return statusInvalid, nil, nil
	}
	status := statusReady
	var evidence []authority.ACMEEvidence
	for _, id := range o.Authorizations {
		a, err := load[authority.ACMEAuthorization](ctx, s, authority.ACMEKindAuthorization, id)
		if err != nil && !isNotFound(err) {
			return "", nil, fault(err)
		}
		switch now := s.standing(a.Doc); {
		case err != nil || now == statusInvalid || now == statusDeactivated || now == statusExpired:
			status = statusInvalid
		case now == statusPending && status == statusReady:
			status = statusPending
		case now == statusValid && a.Doc.Evidence != nil:
			evidence = append(evidence, *a.Doc.Evidence)
		}
	}
	switch {
	case o.Status == statusValid:
		return statusValid, evidence, nil
	case !s.now().Before(o.Expires):
		return statusInvalid, nil, nil
	}
	return status, evidence, nil
}

// finalize issues the certificate (RFC 8555 section 7.4). A valid order that is
// finalized again with the same key is the same order: the answer may have
// been lost.
func (s *Server) finalize(c *call) error {
	o, err := s.ownOrder(c)
	if err != nil {
		return err
	}
	status, evidence, err := s.statusOf(c.Context(), o.Doc)
	if err != nil {
		return err
	}
	if status != statusReady && status != statusValid {
		return problem(orderNotReady, "the order is %s", status)
	}
	if c.asGet() {
		return problem(malformed, "a payload with the csr is missing")
	}
	q := authority.ACMEIssueRequest{ACMEProof: c.proof(), Order: o.Doc.ID, Hosts: o.Doc.Identifiers, Evidence: evidence}
	if o.Doc.Replaces != "" {
		if _, q.Replaces, err = parseCertID(o.Doc.Replaces); err != nil {
			return fault(err)
		}
	}
	issued, err := s.authority.IssueACME(c.Context(), q)
	if err != nil {
		return fromAuthority(err)
	}
	if err := s.fulfil(c, &o, issued); err != nil {
		return err
	}
	c.w.Header().Set("Location", c.url("order", o.Doc.ID))
	return c.answer(http.StatusOK, c.orderObject(o.Doc, statusValid))
}

// fulfil keeps what the order got. The certificate is in the ledger by then:
// if this fails, finalizing again gives the same one.
func (s *Server) fulfil(c *call, o *kept[authority.ACMEOrder], issued authority.Issued) error {
	if o.Doc.Status == statusValid {
		return nil
	}
	o.Doc.Status, o.Doc.Serial, o.record.Lookup = statusValid, issued.Serial, o.Doc.Replaces
	records := []recordable{*o}
	if c.account.Name == "" {
		k := c.account.record
		if left := k.record.Expires.Sub(s.now()); left < keepOpen/2 {
			k.record.Expires = s.now().Add(keepOpen)
			records = append(records, k)
		}
	}
	err := s.writeAll(c.Context(), records...)
	if conflicted(err) { // another request has kept it, or has replaced the same certificate
		o.record.Lookup = ""
		err = s.writeAll(c.Context(), *o)
	}
	if conflicted(err) {
		return nil
	}
	return err
}

// certificate returns the chain of an order (RFC 8555 section 7.4.2).
func (s *Server) certificate(c *call) error {
	if err := c.needGet(); err != nil {
		return err
	}
	o, err := s.ownOrder(c)
	if err != nil {
		return err
	}
	chain, err := s.authority.ACMEChain(c.Context(), o.Doc.ID)
	if err != nil {
		return fromAuthority(err)
	}
	var text bytes.Buffer
	for _, der := range chain {
		pem.Encode(&text, &pem.Block{Type: "CERTIFICATE", Bytes: der})
	}
	c.w.Header().Set("Content-Type", "application/pem-certificate-chain")
	c.w.Write(text.Bytes())
	return nil
}
