package gateway

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"

	"github.com/postern-project/postern/internal/identity"
	"github.com/postern-project/postern/internal/ledger"
	"github.com/postern-project/postern/internal/refusal"
)

// Refuse answers a request that a gateway has let through with a refusal, as
// when the application behind a site is down. detail is for the operator.
// Nothing is answered when the answer has begun already.
func Refuse(w http.ResponseWriter, r *http.Request, code refusal.Code, detail string) {
	if x := exchangeOf(r.Context()); x != nil {
		x.refuse(r, code, detail)
		return
	}
	answer{info: refusal.Lookup(code)}.write(w, r)
}

// refuse answers with a refusal, and writes it down.
func (x *exchange) refuse(r *http.Request, code refusal.Code, detail string) {
	code, detail = x.instead(code, detail)
	x.code, x.detail, x.reference = code, detail, refusal.NewReference()
	site := x.conn.host
	x.g.note(code, site)
	x.g.keep(Refused{
		Reference: x.reference, Time: x.start, Code: code, Detail: detail, Site: site,
		Host: clip(r.Host), Method: clip(r.Method), Path: clip(x.path), Address: r.RemoteAddr,
		Client: x.conn.shown(),
	})
	x.hurry(x.g.limits.Drain)
	if x.status != 0 {
		return
	}
	info := refusal.Lookup(code)
	if x.endsConnection(r, code) {
		x.Header().Set("Connection", "close")
	}
	a := answer{info: info, reference: x.reference, site: site, joinURL: x.g.table.Load().joinURL, details: x.conn.facts(code), again: x.offersAgain(code)}
	if x.offersAsking(code) {
		a.askURL = x.g.table.Load().askURL + "?site=" + url.QueryEscape(site)
	}
	if x.offersRenewal(code) {
		a.renewURL = reservedPath + "/renew"
	}
	a = a.discreet(x.frankness(), detail)
	if x.wantsTCP(code) {
		a.info.Status = http.StatusMisdirectedRequest
	}
	a.write(x, r)
}

// refuseHandshake writes down a refusal that no HTTP answer can tell.
func (g *Gateway) refuseHandshake(c *conn, v verdict, remark string) {
	g.refuseConn(c, "handshake refused", v, remark)
}

// refuseConn writes down that a connection, or a request that nobody here has
// seen, was turned away.
func (g *Gateway) refuseConn(c *conn, message string, v verdict, remark string) {
	g.note(v.code, c.host)
	presented := c.shown()
	if len(c.presented) == 0 && v.client.Certificate != nil {
		presented = shownBy(v.client.Certificate)
	}
	detail := v.detail
	if remark != "" {
		detail = strings.TrimPrefix(detail+"; "+remark, "; ")
	}
	ref := refusal.NewReference()
	g.keep(Refused{Reference: ref, Time: g.now(), Code: v.code, Detail: detail, Site: c.host, Address: address(c), Client: presented})
	level := slog.LevelInfo
	if refusal.Lookup(v.code).Alarm {
		level = slog.LevelError
	}
	id, serial := c.spokeFor()
	attrs := []slog.Attr{slog.String("site", c.host)}
	if id != "" {
		attrs = append(attrs, slog.String("id", id), slog.String("serial", serial))
	}
	attrs = append(attrs, slog.String("address", address(c)), slog.String("code", string(v.code)), slog.String("reference", ref.String()))
	if detail != "" {
		attrs = append(attrs, slog.String("detail", clipTo(detail, maxDetail)))
	}
	g.tell(level, message, v.code, address(c), append(attrs, presented.attrs(serial)...)...)
}

// attrs returns what a refused client's certificate says, for the log, as far
// as it is known: the name unless the ledger bears it out, the serial number
// unless that stands there already, the issuer and the issuer's key id.
func (s Shown) attrs(serial string) []slog.Attr {
	var attrs []slog.Attr
	for _, a := range []struct{ key, value string }{
		{"claims", s.Claims}, {"shown_serial", s.Serial}, {"issuer", s.Issuer}, {"issuer_key_id", s.IssuerKeyID},
	} {
		if a.value != "" && (a.key != "shown_serial" || a.value != serial) {
			attrs = append(attrs, slog.String(a.key, clip(a.value)))
		}
	}
	return attrs
}

func (g *Gateway) note(code refusal.Code, site string) {
	g.metrics.refusals.WithLabelValues(string(code), site).Inc()
	if refusal.Lookup(code).Alarm {
		g.metrics.alarms.WithLabelValues(string(code), site).Inc()
	}
}

func (g *Gateway) keep(r Refused) {
	if g.options.Journal != nil {
		g.options.Journal.Record(r)
	}
}

// endsConnection reports whether nothing good can follow on r's connection. A
// certificate belongs to its connection: only another one can bring another.
// Of HTTP/2's other streams the rest is no concern, unless they are a
// stranger's as well.
func (x *exchange) endsConnection(r *http.Request, code refusal.Code) bool {
	switch code {
	case refusal.UpstreamDown, refusal.UpstreamTimeout, refusal.NotConfigured:
		return false
	}
	return aboutClient(code) || r.ProtoMajor < 2 || !x.known()
}

// aboutClient reports whether code is about the certificate that was shown,
// or not shown, and not about the request.
func aboutClient(code refusal.Code) bool {
	switch code {
	case refusal.NoCertificate, refusal.BadCertificate, refusal.SelfSigned, refusal.UnknownIssuer, refusal.BadChain,
		refusal.WrongPurpose, refusal.NotYetValid, refusal.Expired, refusal.StaleRoster, refusal.IssuerDistrusted,
		refusal.NotInLedger, refusal.Revoked, refusal.Suspended, refusal.RevocationUnknown, refusal.NoIdentity, refusal.NotOnList, refusal.UnknownHost:
		return true
	}
	return false
}

// shown returns what c's certificate says.
func (c *conn) shown() Shown {
	if len(c.presented) == 0 {
		return Shown{}
	}
	s := shownBy(c.presented[0])
	if cr := c.credential.Load(); cr != nil && !cr.client.Ref.IsZero() {
		s.IssuerKeyID = cr.client.Ref.Issuer.String()
	}
	if id, _ := c.spokeFor(); id != "" {
		s.Claims = ""
	}
	return s
}

// maxName bounds, in bytes of DER, which names of a stranger's are written out:
// the standard library takes time by the square of their parts.
const maxName = 4 << 10

// named returns a name as RFC 2253 has it.
func named(der []byte, n pkix.Name) string {
	if len(der) > maxName {
		return fmt.Sprintf("a name of %d bytes", len(der))
	}
	return clip(n.String())
}

// shownBy returns what a certificate says that nobody has looked up.
func shownBy(c *x509.Certificate) Shown {
	s := Shown{Subject: named(c.RawSubject, c.Subject), Issuer: named(c.RawIssuer, c.Issuer), NotBefore: c.NotBefore, NotAfter: c.NotAfter}
	if id, err := identity.FromURIs(c.URIs); err == nil {
		s.Name = id.Name().String()
	}
	if len(c.URIs) > 0 {
		s.Claims = clip(c.URIs[0].String())
	}
	if c.SerialNumber != nil {
		if serial, err := ledger.SerialFromBytes(c.SerialNumber.Bytes()); err == nil {
			s.Serial = serial.String()
		}
	}
	return s
}
