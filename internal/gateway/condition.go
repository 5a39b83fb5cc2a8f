package gateway

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/postern-project/postern/internal/refusal"
	"github.com/postern-project/postern/internal/rule"
)

// ask asks the condition of w about somebody whom its list lets in.
func (g *Gateway) ask(c *conn, v verdict, w *way, s rule.Subject, a *errand, now time.Time) verdict {
	if v.client.Token != "" && w.When.OfCertificates() {
		return verdict{client: v.client, code: refusal.Condition, detail: "a token has no certificate, about which is asked: " + w.When.String()}
	}
	t := g.table.Load()
	f := rule.Facts{
		Subject: s, Address: c.client(), Host: c.host, Method: a.method, Path: a.path, Headers: a.headers, Time: now.In(t.zone),
	}
	if cert := v.client.Certificate; cert != nil {
		f.Certificate = rule.Certificate{NotBefore: cert.NotBefore, NotAfter: cert.NotAfter, Key: keyKind(cert), Profile: v.client.Profile}
	}
	yes, err := w.When.Holds(&f)
	if yes && err == nil {
		return v
	}
	detail := "not so: " + w.When.String()
	if err != nil {
		detail = fmt.Sprintf("cannot be answered (%v): %s", err, w.When)
	}
	return verdict{client: v.client, code: refusal.Condition, detail: detail}
}

// keyKind names the kind of a certificate's key as an operator writes it.
func keyKind(c *x509.Certificate) string {
	switch k := c.PublicKey.(type) {
	case *ecdsa.PublicKey:
		return "ecdsa-" + strings.ToLower(strings.ReplaceAll(k.Curve.Params().Name, "-", ""))
	case ed25519.PublicKey:
		return "ed25519"
	case *rsa.PublicKey:
		return fmt.Sprintf("rsa-%d", k.N.BitLen())
	}
	return "other"
}

// tellTime judges the connections to doors whose conditions depend on the
// time. It is called once a minute.
func (g *Gateway) tellTime() {
	t := g.table.Load()
	affected := slices.DeleteFunc(g.index.every(), func(c *conn) bool {
		d := t.of(c)
		return d == nil || d.public || !d.timed
	})
	if len(affected) > 0 {
		g.reconsider(affected, "the time came for a condition")
	}
}
