package acme

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"github.com/postern-project/postern/internal/authority"
)

// Bounds on http-01.
const (
	maxRedirects   = 10
	maxBody        = 1024 // a key authorization has 87 bytes
	maxHTTPHeaders = 16 << 10
)

// askHTTP fetches the challenge's file (RFC 8555 section 8.3) and returns its
// content and the address that it came from.
func (p *served) askHTTP(ctx context.Context, t *trace, q query) ([]string, string, *problemError) {
	at := &url.URL{Scheme: "http", Host: urlHost(q.host, p.httpPort()), Path: "/.well-known/acme-challenge/" + q.token}
	address := ""
	for range maxRedirects + 1 {
		body, from, next, problem := p.fetch(ctx, t, at)
		if problem != nil {
			return nil, from, problem
		}
		address = from
		if next == nil {
			// RFC 8555 section 8.3: white space at the end is ignored
			return []string{strings.TrimRight(string(body), " \t\r\n")}, address, nil
		}
		at = next
	}
	t.say("that was redirect %d: no more are followed", maxRedirects+1)
	return nil, address, problem(connection, "%s redirects more than %d times", q.host.Value, maxRedirects)
}

func urlHost(id authority.ACMEIdentifier, port uint16) string {
	if port == 80 {
		if strings.Contains(id.Value, ":") {
			return "[" + id.Value + "]"
		}
		return id.Value
	}
	return net.JoinHostPort(id.Value, strconv.Itoa(int(port)))
}

// fetch makes one request. A redirect is returned and not followed.
func (p *served) fetch(ctx context.Context, t *trace, at *url.URL) (body []byte, from string, next *url.URL, failed *problemError) {
	port, err := p.portOf(at)
	if err != nil {
		t.say("%s is not fetched: %v", at, err)
		return nil, "", nil, problem(connection, "%s: %v", at, err)
	}
	conn, failed := p.reach(ctx, t, at.Hostname(), port)
	if failed != nil {
		return nil, "", nil, failed
	}
	defer conn.Close()
	from = conn.RemoteAddr().String()
	res, err := roundTrip(ctx, conn, at)
	if err != nil {
		t.say("GET %s: %s", at, netWords(err))
		return nil, from, nil, problem(connection, "GET %s: %s", at, netWords(err))
	}
	defer res.Body.Close()
	t.say("GET %s answered %s", at, res.Status)
	switch res.StatusCode {
	case http.StatusOK:
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		next, err := at.Parse(res.Header.Get("Location"))
		if err != nil || next.Host == "" {
			return nil, from, nil, problem(connection, "GET %s redirects to nowhere", at)
		}
		return nil, from, next, nil
	default:
		return nil, from, nil, problem(unauthorized, "GET %s answered %s", at, res.Status)
	}
	body, err = io.ReadAll(io.LimitReader(res.Body, maxBody+1))
	switch {
	case err != nil:
		t.say("its body did not arrive whole: %s", netWords(err))
		return nil, from, nil, problem(connection, "GET %s: the body did not arrive whole: %s", at, netWords(err))
	case len(body) > maxBody:
		t.say("its body has more than %d bytes, which no answer has", maxBody)
		return nil, from, nil, problem(incorrectResponse, "GET %s: a body of more than %d bytes is no answer", at, maxBody)
	}
	return body, from, nil, nil
}

// portOf returns the port of a URL, which is that of http-01, or for a
// redirect also the usual ones and that of tls-alpn-01.
func (p *served) portOf(at *url.URL) (uint16, error) {
	usual := map[string]uint16{"http": 80, "https": 443}
	if at.User != nil || usual[at.Scheme] == 0 || at.Hostname() == "" || len(at.String()) > 2000 {
		return 0, errors.New("only http and https without a user are followed")
	}
	if a, err := netip.ParseAddr(at.Hostname()); err == nil && a.Zone() != "" {
		return 0, errors.New("an address with a zone is not followed")
	}
	if at.Port() == "" {
		return usual[at.Scheme], nil
	}
	n, err := strconv.ParseUint(at.Port(), 10, 16)
	if port := uint16(n); err == nil && (port == p.httpPort() || port == p.tlsPort() || port == 80 || port == 443) {
		return port, nil
	}
	return 0, fmt.Errorf("port %s is not one that validations go to", at.Port())
}

// roundTrip sends one request over a connection that was made and judged.
func roundTrip(ctx context.Context, conn net.Conn, at *url.URL) (*http.Response, error) {
	once := make(chan net.Conn, 1)
	once <- conn
	dial := func(context.Context, string, string) (net.Conn, error) {
		select {
		case c := <-once:
			return c, nil
		default:
			return nil, errors.New("the connection was closed")
		}
	}
	tr := &http.Transport{
		Proxy: nil, DialContext: dial, DisableKeepAlives: true, DisableCompression: true, MaxResponseHeaderBytes: maxHTTPHeaders,
		// what is proved is the control of the host, by what it answers: its
		// certificate is what it does not have yet
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12},
	}
	defer tr.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at.String(), nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("User-Agent", "postern (ACME validation)")
	req.Header.Set("Accept", "*/*")
	res, err := tr.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	// the body is read within the deadline of the context
	var read bytes.Buffer
	_, err = io.CopyN(&read, res.Body, maxBody+1)
	res.Body.Close()
	if errors.Is(err, io.EOF) {
		err = nil
	}
	res.Body = io.NopCloser(io.MultiReader(&read, &failing{err}))
	return res, nil
}

// failing is the end of a body that did not arrive whole.
type failing struct{ err error }

func (f *failing) Read([]byte) (int, error) {
	if f.err != nil {
		return 0, f.err
	}
	return 0, io.EOF
}
