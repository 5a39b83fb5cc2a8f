package explain

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"html"
	"io"
	"mime"
	"net"
	"net/http"
	"slices"
	"strings"

	"github.com/postern-project/postern/internal/chain"
	"github.com/postern-project/postern/internal/refusal"
)

const maxAnswer = 64 << 10 // bytes of an answer's body that are read

// get asks for the path over the connection and tells the answer. In TLS 1.3 a
// server refuses a client's certificate only now.
func (p *probe) get(ctx context.Context, s *shaken, title string) chain.Step {
	if s.state.Version < tls.VersionTLS12 {
		return note(title, "not asked for: nothing is sent over so old a version of TLS")
	}
	start := p.o.Now()
	if err := s.lateAlert(); err != nil {
		return p.answerFault(title, err, p.took(start))
	}
	ctx, cancel := context.WithTimeout(ctx, p.o.Timeout)
	defer cancel()
	status, kind, body, err := p.ask(ctx, s)
	if err != nil {
		return p.answerFault(title, err, p.took(start))
	}
	detail := fmt.Sprintf("%d %s%s", status, http.StatusText(status), p.took(start))
	if status < 400 {
		return good(title, "HTTP "+detail)
	}
	return refused(title, "HTTP "+detail, kind, body)
}

func (p *probe) ask(ctx context.Context, s *shaken) (status int, kind string, body []byte, err error) {
	tr := &http.Transport{
		DialTLSContext:         func(context.Context, string, string) (net.Conn, error) { return s.conn, nil },
		ForceAttemptHTTP2:      true,
		DisableKeepAlives:      true,
		MaxResponseHeaderBytes: maxAnswer,
	}
	defer tr.CloseIdleConnections()
	host := p.serverName
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	if p.address.Port != defaultPort {
		host = fmt.Sprintf("%s:%d", host, p.address.Port)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+host+cmp.Or(p.o.Path, "/"), nil)
	if err != nil {
		return 0, "", nil, err
	}
	r.Header.Set("Accept", "application/problem+json, application/json;q=0.9, */*;q=0.5")
	r.Header.Set("User-Agent", "postern-explain")
	resp, err := tr.RoundTrip(r)
	if err != nil {
		return 0, "", nil, err
	}
	defer resp.Body.Close()
	body, _ = io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	kind, _, _ = mime.ParseMediaType(resp.Header.Get("Content-Type"))
	return resp.StatusCode, kind, body, nil
}

func (p *probe) answerFault(title string, err error, took string) chain.Step {
	if a, ok := alertOf(err); ok {
		w := alertWords(a)
		return bad(title, fmt.Sprintf("the server ended the connection with the alert %s: %s%s", alertName(a), w.means, took), w.remedy)
	}
	switch {
	case isTimeout(err):
		return bad(title, "no answer in time", "The handshake went well, so the application behind it is slow or waits for another protocol.")
	case isReset(err), strings.HasSuffix(err.Error(), "EOF"):
		return bad(title, "the server closes the connection without an answer"+took,
			"In TLS 1.3 a server that refuses a certificate, or the lack of one, often just closes: its own log says why.")
	default:
		return note(title, "no HTTP: "+chain.Printable(err.Error())+took)
	}
}

// A problem is an answer by RFC 9457, with what Postern adds.
type problem struct {
	Title     string `json:"title"`
	Detail    string `json:"detail"`
	Code      string `json:"code"`
	Reference string `json:"reference"`
	Remedy    string `json:"remedy"`
}

// refused tells an answer that says no, in the server's words.
func refused(title, detail, kind string, body []byte) chain.Step {
	s := bad(title, detail, "The server let the connection in and refuses the request: it says why above, or in its own log.")
	var pr problem
	if strings.HasSuffix(kind, "json") && json.Unmarshal(body, &pr) == nil {
		return pr.tell(s)
	}
	if text := pageTitle(body); text != "" {
		s.Detail += ", " + chain.Quote(text)
	}
	return s
}

func (pr problem) tell(s chain.Step) chain.Step {
	for _, part := range []string{pr.Title, pr.Detail} {
		if part != "" {
			s.Detail += ", " + chain.Quote(part)
		}
	}
	if pr.Code != "" {
		s.Detail += ", code " + chain.Printable(pr.Code)
	}
	if pr.Reference != "" {
		s.Detail += ", reference " + chain.Printable(pr.Reference)
	}
	code := refusal.Code(pr.Code)
	if slices.ContainsFunc(refusal.All(), func(i refusal.Info) bool { return i.Code == code }) {
		s.Code, s.Remedy = code, refusal.Lookup(code).VisitorRemedy
	}
	if pr.Remedy != "" {
		s.Remedy = chain.Escape(pr.Remedy)
	}
	return s
}

// pageTitle returns the title of an HTML page, as nginx and others put their
// reason there, or the first line of a text.
func pageTitle(body []byte) string {
	text := string(body)
	if _, rest, ok := strings.Cut(text, "<title>"); ok {
		text, _, _ = strings.Cut(rest, "</title>")
	} else if bytes.HasPrefix(bytes.TrimSpace(body), []byte("<")) {
		return ""
	}
	line, _, _ := strings.Cut(strings.TrimSpace(text), "\n")
	return html.UnescapeString(line)
}
