package gateway

import (
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/postern-project/postern/internal/chain"
	"github.com/postern-project/postern/internal/refusal"
)

// DefaultForwardHeader is where another server puts the client's certificate,
// unless postern.yaml names another field.
const DefaultForwardHeader = "X-Client-Cert"

// ForwardAuth answers another server, which ends TLS in our place, whether a
// request may pass: 200 with X-Postern-Identity and X-Postern-Serial, or 403
// with a page that says why and the code in X-Postern-Code. The question is in
// X-Forwarded-Host, X-Forwarded-Method and X-Forwarded-Uri, each of them once,
// and the certificate in the field called header, as PEM, percent-encoded PEM,
// base64 or RFC 9440 has it; an absent or empty field is a stranger. Whoever
// asks is believed, since a certificate is no secret: the handler belongs on a
// socket that only such servers reach. The client's address is not believed,
// so nobody is in any network.
func (g *Gateway) ForwardAuth(header string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { g.answerForward(w, r, r.Header, header) })
}

// A question is what another server asks about.
type question struct {
	host, method, path string
	certificate        []*x509.Certificate // none for a stranger
	header             http.Header         // of the request it has
}

func (g *Gateway) answerForward(w http.ResponseWriter, r *http.Request, h http.Header, header string) {
	q, err := readQuestion(h, header)
	if err != nil {
		g.answerNo(w, r, q, nil, verdict{code: refusal.BadRequest, detail: "forward auth: " + err.Error()})
		return
	}
	c := &conn{Conn: nowhere{}, g: g, listener: &listener{g: g}, host: q.host, presented: q.certificate}
	d := g.table.Load().doors[q.host]
	if d == nil || d.public || d.tcp() {
		g.answerNo(w, r, q, c, verdict{code: refusal.UnknownHost, detail: "forward auth: there is no such site"})
		return
	}
	if isReserved(q.path) {
		g.answerNo(w, r, q, c, verdict{code: refusal.BadRequest, detail: "forward auth: the reserved paths are answered on our own doors only"})
		return
	}
	now, way := g.now(), d.way(q.method, q.path)
	a := errand{method: q.method, path: q.path}
	c.detail(&a, q.header, way)
	v := g.judge(c, way, &a, now)
	if v.code == "" {
		v = g.judgeForwarded(v, way, now)
	}
	switch {
	case way.spares(v.code):
		g.wouldAnswerNo(q, c, v)
	case v.code != "":
		g.answerNo(w, r, q, c, v)
		return
	}
	if fault := way.forgedBy(v.client, q.method, q.header, h.Get("X-Forwarded-Host")); fault != "" && !way.Audit {
		g.answerNo(w, r, q, c, verdict{client: v.client, code: refusal.CrossSite, detail: "forward auth: " + fault})
		return
	}
	out := w.Header()
	out.Set("Cache-Control", "no-store")
	if name, serial := c.spokeFor(); name != "" && !v.client.IsZero() {
		out.Set(headerIdentity, name)
		out.Set(headerSerial, serial)
	}
	w.WriteHeader(http.StatusOK)
}

// judgeForwarded asks, of somebody who may pass, what the door behind which the
// request was made can not tell: a list that turns a network away, or a
// condition on the address, lets nobody pass whose address is unknown. Rates are
// counted by who asks; for whom they are in hand, and where from, is not known.
func (g *Gateway) judgeForwarded(v verdict, w *way, now time.Time) verdict {
	if w.When.Asks("client.networks") || w.When.Asks("client.address") {
		return verdict{client: v.client, code: refusal.Condition, detail: "forward auth: the condition asks for the client's address, which another server's word does not tell"}
	}
	for _, t := range w.list.Deny {
		if n, ok := t.Network(); ok {
			return verdict{client: v.client, code: refusal.NotOnList, detail: "forward auth: deny names network:" + n.String() + ", and nobody knows whether the client is in it"}
		}
	}
	if v.client.IsZero() {
		return v
	}
	for _, l := range w.limiters {
		if l.Count == 0 || l.Per == PerAddress {
			continue
		}
		parties := g.partiesOf(v.client, l.Per)
		if _, ok := l.take(parties, now); !ok {
			return verdict{client: v.client, code: refusal.RateLimited, detail: fmt.Sprintf("forward auth: %s, for %s", l.Limit, parties[0])}
		}
		l.give(parties)
	}
	return v
}

// wouldAnswerNo writes down, in audit mode, what would have been refused.
func (g *Gateway) wouldAnswerNo(q question, c *conn, v verdict) {
	ref := refusal.NewReference()
	g.metrics.wouldRefuse.WithLabelValues(string(v.code), q.host).Inc()
	g.keep(Refused{Reference: ref, Time: g.now(), Code: v.code, Detail: v.detail, Site: q.host, Audit: true, Host: clip(q.host), Method: clip(q.method), Path: clip(q.path), Client: c.shown()})
	id, serial := c.spokeFor()
	g.tell(slog.LevelInfo, "request let pass", v.code, address(c), slog.String("site", q.host), slog.String("id", id), slog.String("serial", serial),
		slog.String("via", "forward auth"), slog.String("method", clip(q.method)), slog.String("path", clip(q.path)),
		slog.String("would_refuse", string(v.code)), slog.String("reference", ref.String()), slog.String("detail", clipTo(v.detail, maxDetail)))
}

// answerNo says no, and writes it down like every refusal.
func (g *Gateway) answerNo(w http.ResponseWriter, r *http.Request, q question, c *conn, v verdict) {
	if c == nil {
		c = &conn{Conn: nowhere{}, g: g, listener: &listener{g: g}}
	}
	ref := refusal.NewReference()
	g.note(v.code, g.siteForMetric(q.host))
	g.keep(Refused{Reference: ref, Time: g.now(), Code: v.code, Detail: v.detail, Site: q.host, Host: clip(q.host), Method: clip(q.method), Path: clip(q.path), Client: c.shown()})
	level := slog.LevelInfo
	if refusal.Lookup(v.code).Alarm {
		level = slog.LevelError
	}
	id, serial := c.spokeFor()
	g.tell(level, "request refused", v.code, address(c), slog.String("site", clip(q.host)), slog.String("id", id), slog.String("serial", serial),
		slog.String("via", "forward auth"), slog.String("method", clip(q.method)), slog.String("path", clip(q.path)),
		slog.String("code", string(v.code)), slog.String("reference", ref.String()), slog.String("detail", clipTo(v.detail, maxDetail)))
	info := refusal.Lookup(v.code)
	info.Status = http.StatusForbidden // what every such server takes for a no
	w.Header().Set("X-Postern-Code", string(v.code))
	answer{info: info, reference: ref, site: q.host, joinURL: g.table.Load().joinURL}.write(w, r)
}

// siteForMetric keeps strangers from making up labels.
func (g *Gateway) siteForMetric(host string) string {
	if g.table.Load().doors[host] == nil {
		return ""
	}
	return host
}

func readQuestion(h http.Header, header string) (q question, err error) {
	one := func(name string) string {
		values := h.Values(name)
		if len(values) != 1 || values[0] == "" {
			err = errors.Join(err, fmt.Errorf("%s is to be set, once", name))
			return ""
		}
		return values[0]
	}
	host, method, uri := one("X-Forwarded-Host"), one("X-Forwarded-Method"), one("X-Forwarded-Uri")
	if err != nil {
		return q, err
	}
	canonical, ok := canonicalHost(host)
	if !ok {
		return q, fmt.Errorf("host %s is none", clip(host))
	}
	q.host, q.method = canonical, method
	u, err := url.ParseRequestURI(uri)
	if err != nil || !strings.HasPrefix(uri, "/") {
		return q, fmt.Errorf("request target %s is no path", clip(uri))
	}
	path, code := canonicalPath(u, uri)
	if code != "" {
		return q, fmt.Errorf("request target %s: %s", clip(uri), code)
	}
	q.path = path
	switch values := h.Values(header); {
	case len(values) > 1:
		return q, fmt.Errorf("%s is to be set once", header)
	case len(values) == 1 && values[0] != "" && !placeholder(values[0]):
		leaf, err := readForwarded(values[0])
		if err != nil {
			return q, fmt.Errorf("%s: %w", header, err)
		}
		q.certificate = []*x509.Certificate{leaf}
	}
	asked := http.Request{Header: h.Clone()}
	asked.Header.Del(header)
	stripRequest(&asked)
	q.header = asked.Header
	return q, nil
}

// placeholder reports whether v is what Caddy leaves of a variable that has no
// value, as where a client has shown no certificate.
func placeholder(v string) bool { return strings.HasPrefix(v, "{http.") && strings.HasSuffix(v, "}") }

// readForwarded reads a certificate as another server writes it into a field:
// PEM (Caddy), percent-encoded PEM (nginx, Traefik), base64 of DER, or between
// colons as RFC 9440 has it.
func readForwarded(s string) (*x509.Certificate, error) {
	if len(s) > 4*chain.MaxDER {
		return nil, errors.New("too long for a certificate")
	}
	if strings.Contains(s, "%") {
		plain, err := url.PathUnescape(s)
		if err != nil {
			return nil, errors.New("neither PEM nor percent-encoded")
		}
		s = plain
	}
	if strings.HasPrefix(s, "-----BEGIN") {
		// Whoever could not put lines into a field has put spaces there.
		body := strings.TrimSuffix(strings.TrimPrefix(strings.TrimSpace(s), "-----BEGIN CERTIFICATE-----"), "-----END CERTIFICATE-----")
		block, _ := pem.Decode([]byte("-----BEGIN CERTIFICATE-----\n" + strings.Join(strings.Fields(body), "\n") + "\n-----END CERTIFICATE-----\n"))
		if block == nil {
			return nil, errors.New("no certificate in PEM")
		}
		return chain.ParseDER(block.Bytes)
	}
	der, err := base64.StdEncoding.DecodeString(strings.Trim(strings.TrimSpace(s), ":"))
	if err != nil {
		return nil, errors.New("neither PEM nor base64")
	}
	return chain.ParseDER(der)
}

// nowhere is the connection of a client that is another server's: nothing is
// known of it.
type nowhere struct{ net.Conn }

func (nowhere) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4zero} }
func (nowhere) LocalAddr() net.Addr  { return &net.TCPAddr{IP: net.IPv4zero} }
