package join

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"time"

	"github.com/postern-project/postern/internal/chain"
	"github.com/postern-project/postern/internal/invite"
)

// attempts is how often a code is sent when the answer gets lost on the way.
// The authority answers the same code and key alike for ten minutes.
const attempts = 3

// A client talks to the authority that a link names and to nobody else.
type client struct {
	link invite.Link
	host string // for messages
	now  func() time.Time
	root *x509.Certificate // known before the handshake; nil: the handshake shows it

	waiting func(words string) // tells a person that somebody has to say yes; nil: nobody waits
}

func newClient(l invite.Link, now func() time.Time) *client {
	host, port := l.Host()
	if port != "443" {
		host = net.JoinHostPort(host, port)
	}
	return &client{link: l, host: host, now: now}
}

// redeem spends the code on the key.
func (c *client) redeem(ctx context.Context, key born) (invite.Answer, error) {
	request := invite.Request{Code: c.link.Code.String(), CSR: key.csr}
	answer, err := c.sendUntilApproved(ctx, request, key)
	if _, ok := errors.AsType[*PinError](err); ok {
		switch found, isSite := c.fetchRoot(ctx); {
		case isSite:
			return invite.Answer{}, &SiteError{Host: c.host}
		case found:
			answer, err = c.sendUntilApproved(ctx, request, key)
		}
	}
	if outdated, ok := errors.AsType[*outdatedError](err); ok {
		return invite.Answer{}, c.clockError(ctx, outdated)
	}
	return answer, c.explain(err)
}

// askAgain is how long a device waits before it asks again for a yes.
const askAgain = 2 * time.Second

// sendUntilApproved sends the request for as long as the operator has not said
// yes or no, and shows the words to compare once.
func (c *client) sendUntilApproved(ctx context.Context, request invite.Request, key born) (invite.Answer, error) {
	spki, err := x509.MarshalPKIXPublicKey(key.pub)
	if err != nil {
		return invite.Answer{}, err
	}
	for told := false; ; told = true {
		answer, err := c.send(ctx, request)
		if refused, ok := errors.AsType[*RefusedError](err); !ok || refused.Status != http.StatusAccepted || c.waiting == nil {
			return answer, err
		}
		if !told {
			c.waiting(invite.Words(c.link.Code.GuardedHash(), spki))
		}
		if !pause(ctx, askAgain) {
			return invite.Answer{}, context.Cause(ctx)
		}
	}
}

// send posts the request, again when the connection broke after it was up.
func (c *client) send(ctx context.Context, request invite.Request) (answer invite.Answer, err error) {
	for i := range attempts {
		if i > 0 && !pause(ctx, time.Duration(i)*300*time.Millisecond) {
			return answer, err
		}
		// Each attempt has a connection of its own: an old one may be dead.
		h := c.http(c.verify)
		answer, err = ask(ctx, h, c.link.Base+invite.Path, request)
		h.CloseIdleConnections()
		if err == nil || !lost(err) {
			return answer, err
		}
	}
	return answer, err
}

// lost reports whether the request may have arrived and its answer did not.
func lost(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// pause waits, and reports whether the context still stands.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// http returns a client whose connections verify accepts.
func (c *client) http(verify func(tls.ConnectionState) error) *http.Client {
	host, _ := c.link.Host()
	return bounded(&tls.Config{
		ServerName: host,
		MinVersion: tls.VersionTLS12,
		// The usual check knows only roots that were there before. Ours is in
		// verify, which runs in every handshake: no session is ever resumed,
		// since there is no cache for any.
		InsecureSkipVerify: true,
		VerifyConnection:   verify,
	})
}

// bounded returns an HTTP client with a limit on every phase. It follows no
// redirection, which would carry the code or the request to somebody else.
func bounded(c *tls.Config) *http.Client {
	c.NextProtos = []string{chain.OwnProtocol, "http/1.1"} // by our root, whatever browsers are shown
	return &http.Client{
		Timeout:       timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			Proxy:                  http.ProxyFromEnvironment,
			DialContext:            (&net.Dialer{Timeout: timeout / 3}).DialContext,
			TLSClientConfig:        c,
			TLSHandshakeTimeout:    timeout / 3,
			ResponseHeaderTimeout:  timeout,
			MaxResponseHeaderBytes: 64 << 10,
		},
	}
}

// verify accepts a server whose certificate leads to the root that the pin
// names and holds the link's host name. It runs before anything is sent.
func (c *client) verify(cs tls.ConnectionState) error { return c.verifyAt(cs, c.now()) }

func (c *client) verifyAt(cs tls.ConnectionState, now time.Time) error {
	if len(cs.PeerCertificates) == 0 {
		return &PinError{Host: c.host}
	}
	leaf, root := cs.PeerCertificates[0], c.root
	for _, shown := range cs.PeerCertificates {
		if c.link.Pin.Fits(shown) {
			root = shown
		}
	}
	if root == nil {
		return &PinError{Host: c.host, Issuer: printable(leaf.Issuer.String())}
	}
	host, _ := c.link.Host()
	options := x509.VerifyOptions{
		Roots: pool(root), Intermediates: pool(cs.PeerCertificates[1:]...), DNSName: host,
		CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	_, err := leaf.Verify(options)
	if invalid, ok := errors.AsType[x509.CertificateInvalidError](err); ok && invalid.Reason == x509.Expired {
		options.CurrentTime = leaf.NotBefore.Add(time.Second)
		if _, err := leaf.Verify(options); err == nil {
			return &outdatedError{leaf}
		}
	}
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return &PinError{Host: c.host, Issuer: printable(leaf.Issuer.String())}
	}
	return err
}

// An outdatedError says that only the dates of a certificate do not fit.
type outdatedError struct{ leaf *x509.Certificate }

func (e *outdatedError) Error() string { return "the server's certificate is out of date" }

// fetchRoot asks a server that did not show its root for it. Whoever answers
// is a stranger: nothing secret is sent, and the pin says whether the root is
// the right one. A site of the gateway answers with a refusal instead.
func (c *client) fetchRoot(ctx context.Context) (found, isSite bool) {
	h := c.http(func(tls.ConnectionState) error { return nil })
	defer h.CloseIdleConnections()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, c.link.Base+invite.RootPath+"?pin="+c.link.Pin.String(), nil)
	if err != nil {
		return false, false
	}
	r.Header.Set("Accept", "application/pkix-cert, "+invite.ProblemType)
	response, err := h.Do(r)
	if err != nil {
		return false, false
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil || response.StatusCode != http.StatusOK {
		return false, err == nil && isRefusal(body)
	}
	root, err := chain.ParseDER(body)
	if err != nil || !c.link.Pin.Fits(root) {
		return false, false
	}
	c.root = root
	return true, false
}

// isRefusal reports whether body is a gateway's answer to those it turns away.
func isRefusal(body []byte) bool {
	var p invite.Problem
	return json.Unmarshal(body, &p) == nil && strings.HasPrefix(p.Type, "urn:postern:refusal:")
}

// clockError asks the server, whose certificate is right but for its dates,
// what time it is.
func (c *client) clockError(ctx context.Context, outdated *outdatedError) error {
	e := &ClockError{Host: c.host, Here: c.now(), NotBefore: outdated.leaf.NotBefore, NotAfter: outdated.leaf.NotAfter}
	h := c.http(func(cs tls.ConnectionState) error {
		return c.verifyAt(cs, outdated.leaf.NotBefore.Add(time.Second))
	})
	defer h.CloseIdleConnections()
	r, err := http.NewRequestWithContext(ctx, http.MethodHead, c.link.Base+invite.Path, nil)
	if err != nil {
		return e
	}
	response, err := h.Do(r)
	if err != nil {
		return e
	}
	response.Body.Close()
	if there, err := http.ParseTime(response.Header.Get("Date")); err == nil {
		e.There = there
	}
	return e
}

// explain turns what the network and the handshake say into plain words.
func (c *client) explain(err error) error {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*PinError](err); ok {
		return e
	}
	if e, ok := errors.AsType[*RefusedError](err); ok {
		return e
	}
	if e, ok := errors.AsType[x509.HostnameError](err); ok {
		return fmt.Errorf("the server at %s is the right authority's, but its certificate is not for that name (%s): use the address that the invitation was made for; %s",
			c.host, printable(e.Error()), unspent)
	}
	if lost(err) {
		return fmt.Errorf("%s broke off the connection %d times: run the same command again within ten minutes with a working network, or ask for a new invitation: %w", c.host, attempts, bare(err))
	}
	if why := unreachable(err); why != "" {
		return &UnreachableError{Host: c.host, Why: why, Err: bare(err)}
	}
	return fmt.Errorf("%s: %w", c.host, bare(err))
}

// unreachable says in plain words why no connection came about, or "".
func unreachable(err error) string {
	if e, ok := errors.AsType[*net.DNSError](err); ok && e.IsNotFound {
		return "there is no such host: check the address for a typing error"
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok || strings.Contains(err.Error(), "server gave HTTP response to HTTPS client") {
		return "something answers there, but not with TLS: check the port"
	}
	if _, ok := errors.AsType[tls.AlertError](err); ok {
		return "the server knows no such name: check the address"
	}
	if e, ok := errors.AsType[*net.OpError](err); ok && e.Op == "remote error" {
		return "the server turned the connection away: check that the address is the authority's public side"
	}
	if errors.Is(err, syscall.ECONNREFUSED) {
		return "nothing listens there: check that the server runs and that the port is right"
	}
	if e, ok := errors.AsType[net.Error](err); ok && e.Timeout() {
		return "no answer in time: check the network and that the port is open"
	}
	if e, ok := errors.AsType[*net.OpError](err); ok && e.Op == "dial" {
		return "it cannot be reached: check the network"
	}
	return ""
}
