package explain

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"strings"
	"time"

	"github.com/postern-project/postern/internal/chain"
	"github.com/postern-project/postern/internal/refusal"
)

// clientCertificate tells what the server asked for, which of our certificates
// fit, and what came of showing one.
func (p *probe) clientCertificate(ctx context.Context, first *shaken) {
	best, steps := p.choose(first.request)
	p.say(group("client certificate", "the server asks for one, "+issuersWanted(first.request), asNotes(steps)...))
	if best == nil {
		p.without(ctx, first, len(steps) > 0)
		return
	}
	p.demoteHandshake(first)
	conn, err := p.dial(ctx, p.peer)
	if err != nil {
		p.say(bad("second connection", netWords(err), connectRemedy(err)))
		return
	}
	second := p.shake(ctx, conn, best)
	defer second.close()
	if second.err != nil {
		detail, remedy := p.faultWords(second)
		p.say(bad("with "+chain.Quote(best.Name), detail, remedy))
		return
	}
	second.step.Title += " with " + chain.Quote(best.Name)
	p.say(second.step)
	p.say(p.get(ctx, second, "answer to "+chain.Quote(best.Name)))
}

// demoteHandshake takes back a failure without a certificate when there is one
// to show: only what comes of that counts.
func (p *probe) demoteHandshake(first *shaken) {
	for i := range p.steps {
		if p.steps[i].Title == "handshake" && first.err != nil {
			p.steps[i].Detail = "without a certificate: " + p.steps[i].Detail
			p.steps[i].OK, p.steps[i].Warning, p.steps[i].Remedy = true, true, ""
		}
	}
}

// without tells what the server does when no certificate is shown.
func (p *probe) without(ctx context.Context, first *shaken, had bool) {
	if had {
		p.say(bad("choice", "none of the certificates that you named fits", "Use one that is good for this server; the list above says what each lacks."))
	}
	if first.err == nil {
		p.say(p.get(ctx, first, "answer without a certificate"))
	}
}

// choose returns the credential to show, the first that fits, and a step for
// each. When none fits the first that can be shown is, so that the server can
// say what it thinks of it.
func (p *probe) choose(r *tls.CertificateRequestInfo) (*Credential, []chain.Step) {
	var steps []chain.Step
	var best, second *Credential
	for i := range p.o.Clients {
		c := &p.o.Clients[i]
		s := p.fit(r, c)
		steps = append(steps, s)
		if s.OK && best == nil {
			best = c
		}
		if second == nil && c.Problem == "" {
			second = c
		}
	}
	if best == nil {
		best = second
	}
	return best, steps
}

// fit says whether c answers the server's request, and else why not.
func (p *probe) fit(r *tls.CertificateRequestInfo, c *Credential) chain.Step {
	title := chain.Quote(c.Name)
	if c.Problem != "" || len(c.Certificate.Certificate) == 0 {
		return bad(title, "does not fit: "+c.Problem, "Name a folder or file with the certificate and its own key.")
	}
	leaf, err := chain.ParseDER(c.Certificate.Certificate[0])
	if err != nil {
		return bad(title, "does not fit: "+err.Error(), "Get the certificate again from where it was issued.")
	}
	if s, ok := fitsAlone(title, leaf, p.o.Now()); !ok {
		return s
	}
	if !issuerWanted(r, c.Certificate.Certificate) {
		return chain.Step{Title: title, Code: refusal.UnknownIssuer,
			Detail: fmt.Sprintf("does not fit: it comes from %s, which is none of the issuers that the server names", chain.Quote(chain.IssuerOf(leaf))),
			Remedy: "Use a certificate of one of those issuers; if it is one by way of an intermediate, put that into the file after it."}
	}
	if err := r.SupportsCertificate(&c.Certificate); err != nil {
		return bad(title, "does not fit: the server takes no signature of its key, "+chain.KeyWords(leaf.PublicKey),
			"Use a certificate with an ECDSA P-256 key.")
	}
	return good(title, fmt.Sprintf("fits: %s, from %s", chain.Quote(chain.NameOf(leaf)), chain.Quote(chain.IssuerOf(leaf))))
}

// fitsAlone looks at what does not depend on the server: purpose and dates.
func fitsAlone(title string, leaf *x509.Certificate, now time.Time) (chain.Step, bool) {
	switch fault := chain.UsageFault(leaf, chain.Client); {
	case fault != "":
		return chain.Step{Title: title, Code: refusal.WrongPurpose, Detail: "does not fit: " + fault,
			Remedy: "Use a certificate with the usage clientAuth."}, false
	case now.Before(leaf.NotBefore):
		return chain.Step{Title: title, Code: refusal.NotYetValid, Detail: "does not fit: it begins on " + chain.When(leaf.NotBefore),
			Remedy: "Compare this machine's clock with the real time."}, false
	case now.After(leaf.NotAfter):
		return chain.Step{Title: title, Code: refusal.Expired, Detail: "does not fit: it ended on " + chain.When(leaf.NotAfter),
			Remedy: chain.ExpiredRemedy(leaf)}, false
	}
	return chain.Step{}, true
}

// issuerWanted reports whether some certificate of the chain was issued by one
// of the authorities that the server names. No names means any.
func issuerWanted(r *tls.CertificateRequestInfo, certs [][]byte) bool {
	if len(r.AcceptableCAs) == 0 {
		return true
	}
	for _, der := range certs {
		c, err := chain.ParseDER(der)
		if err != nil {
			continue
		}
		for _, name := range r.AcceptableCAs {
			if bytes.Equal(name, c.RawIssuer) {
				return true
			}
		}
	}
	return false
}

const maxIssuersShown = 8

func issuersWanted(r *tls.CertificateRequestInfo) string {
	if len(r.AcceptableCAs) == 0 {
		return "and names no issuers"
	}
	var names []string
	for _, der := range r.AcceptableCAs[:min(len(r.AcceptableCAs), maxIssuersShown)] {
		names = append(names, dn(der))
	}
	if more := len(r.AcceptableCAs) - len(names); more > 0 {
		names = append(names, fmt.Sprintf("%d more", more))
	}
	return "of the issuers " + strings.Join(names, ", ")
}

// dn returns a distinguished name that a peer sent, in DER.
func dn(der []byte) string {
	var rdn pkix.RDNSequence
	if rest, err := asn1.Unmarshal(der, &rdn); err != nil || len(rest) > 0 {
		return "(an unreadable name)"
	}
	var n pkix.Name
	n.FillFromRDNSequence(&rdn)
	if n.CommonName != "" {
		return chain.Quote(n.CommonName)
	}
	return chain.Quote(n.String())
}
