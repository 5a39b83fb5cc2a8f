package join

import (
	"bytes"
	"cmp"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/postern-project/postern/internal/chain"
	"github.com/postern-project/postern/internal/invite"
)

// maxAnswer bounds what is read from a server, in bytes.
const maxAnswer = 256 << 10

// timeout bounds one exchange with a server.
const timeout = 30 * time.Second

// requestPEM returns a certificate request that holds a key and no name.
func requestPEM(key crypto.Signer) (string, error) {
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		return "", fmt.Errorf("certificate request: %w", err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})), nil
}

// ask posts a request and returns the answer. A server's refusal is a
// *RefusedError; any other error means that no answer came.
func ask(ctx context.Context, c *http.Client, address string, request invite.Request) (invite.Answer, error) {
	body, err := json.Marshal(request)
	if err != nil {
		return invite.Answer{}, fmt.Errorf("encode request: %w", err)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(body))
	if err != nil {
		return invite.Answer{}, err
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("User-Agent", "postern on "+runtime.GOOS)
	r.Header.Set("Accept", "application/json, "+invite.ProblemType)
	response, err := c.Do(r)
	if err != nil {
		return invite.Answer{}, err
	}
	defer response.Body.Close()
	data, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return invite.Answer{}, err
	}
	return readAnswer(response.StatusCode, response.Header.Get("Content-Type"), data)
}

func readAnswer(status int, contentType string, data []byte) (invite.Answer, error) {
	kind, _, err := mime.ParseMediaType(contentType)
	if status != http.StatusOK || err != nil || kind != "application/json" {
		refused := &RefusedError{Status: status}
		var p invite.Problem
		if kind == invite.ProblemType && json.Unmarshal(data, &p) == nil {
			refused.Code, refused.Detail = printable(p.Code), printable(p.Detail)
		}
		return invite.Answer{}, refused
	}
	var answer invite.Answer
	if err := json.Unmarshal(data, &answer); err != nil {
		return invite.Answer{}, &RefusedError{Status: status, Detail: "the server's answer is not the JSON that it should be"}
	}
	return answer, nil
}

// printable keeps a server's words from steering the terminal.
func printable(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || 0x80 <= r && r < 0xa0 {
			return ' '
		}
		return r
	}, s)
	if len(s) > 1000 {
		s = strings.ToValidUTF8(s[:1000], "") + "…"
	}
	return s
}

// check makes sure that the answer is what was asked for: a certificate for
// our key that leads to the root the pin names.
func check(answer invite.Answer, key born, pin invite.Pin) (*certificate, error) {
	roots, err := rootsIn(answer)
	i := slices.IndexFunc(roots, pin.Fits)
	if err != nil || i < 0 {
		return nil, errors.New("the answer holds another root than the one that the link names: tell the person who invited you")
	}
	return checkUnder(answer, key, roots[i:i+1])
}

// rootsIn returns the roots that an answer names, newest first. An older
// authority names one.
func rootsIn(answer invite.Answer) ([]*x509.Certificate, error) {
	return chain.ParsePEM([]byte(cmp.Or(answer.Roots, answer.Root)))
}

// checkUnder makes sure that the answer is a certificate for our key under a
// root that is believed already, and takes over the roots that follow it.
func checkUnder(answer invite.Answer, key born, believed []*x509.Certificate) (*certificate, error) {
	certs, err := chain.ParsePEM([]byte(answer.Certificate))
	if err != nil {
		return nil, fmt.Errorf("certificate in the answer: %w", err)
	}
	var ders [][]byte
	for _, c := range certs {
		ders = append(ders, c.Raw)
	}
	c, err := newCertificate(ders, raws(believed), key.signer)
	if err != nil {
		return nil, fmt.Errorf("certificate in the answer: %w", err)
	}
	if !fitsKey(c.leaf.PublicKey, key.pub) {
		return nil, errors.New("the certificate in the answer is for another key than ours: tell the person who runs the authority")
	}
	// The dates are not judged by this clock, which may be wrong.
	_, err = c.leaf.Verify(x509.VerifyOptions{
		Roots: pool(believed...), Intermediates: pool(c.above...),
		CurrentTime: c.leaf.NotBefore.Add(time.Second), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	})
	if err != nil {
		return nil, fmt.Errorf("the certificate in the answer does not lead to its root: %w", err)
	}
	if offered, err := rootsIn(answer); err == nil {
		c.succeed(offered)
	}
	return c, nil
}

// succeed takes over the roots that the authority trusts now, as far as those
// that are believed here vouch for them: by being them, or by having certified
// their name and key. At least one of the old ones or their successors stays.
func (c *certificate) succeed(offered []*x509.Certificate) {
	var next []*x509.Certificate
	for _, root := range offered {
		if slices.ContainsFunc(c.roots, root.Equal) || slices.ContainsFunc(c.above, func(bridge *x509.Certificate) bool {
			return bytes.Equal(bridge.RawSubject, root.RawSubject) && bytes.Equal(bridge.RawSubjectPublicKeyInfo, root.RawSubjectPublicKeyInfo) &&
				root.IsCA && root.CheckSignatureFrom(root) == nil &&
				slices.ContainsFunc(c.roots, func(by *x509.Certificate) bool { return bridge.CheckSignatureFrom(by) == nil })
		}) {
			next = append(next, root)
		}
	}
	if len(next) > 0 {
		c.roots = next
	}
}

func raws(certs []*x509.Certificate) [][]byte {
	var all [][]byte
	for _, c := range certs {
		all = append(all, c.Raw)
	}
	return all
}

// state returns what postern.json will hold.
func (c *certificate) state(base string, answer invite.Answer) State {
	s := State{Authority: base, Profile: printable(answer.Profile)}
	for _, address := range answer.Renew {
		u, err := url.Parse(address)
		if err == nil && u.Scheme == "https" && u.Host != "" && u.User == nil && len(s.Renew) < 16 {
			s.Renew = append(s.Renew, u.String())
		}
	}
	return c.describe(s)
}

func pool(certs ...*x509.Certificate) *x509.CertPool {
	p := x509.NewCertPool()
	for _, c := range certs {
		p.AddCert(c)
	}
	return p
}
