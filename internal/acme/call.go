package acme

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"github.com/postern-project/postern/internal/authority"
	"github.com/postern-project/postern/internal/jws"
)

// A call is one request under way.
type call struct {
	*http.Request
	w       http.ResponseWriter
	s       *Server
	profile *served
	base    string // https://HOST/acme/PROFILE
	from    netip.Addr

	body    []byte // the JWS, as it came
	message *jws.Message
	key     jws.Key  // that signed
	account *account // whose key it is; nil for a key of no account
}

// A signer says by whose key a request has to be signed.
type signer int

const (
	byAccount signer = iota // kid
	byNewKey                // jwk
	byEither
)

// open serves what needs no signature.
func (s *Server) open(h func(*call) error, methods ...string) http.Handler {
	return s.serve(func(c *call) error {
		if len(methods) > 0 && !slices.Contains(methods, c.Method) {
			p := problem(malformed, "use %s here", methods[0]).status(http.StatusMethodNotAllowed)
			p.allow = strings.Join(methods, ", ")
			return p
		}
		return h(c)
	})
}

// signed serves what needs a signature.
func (s *Server) signed(by signer, h func(*call) error) http.Handler {
	return s.serve(func(c *call) error {
		if c.Method != http.MethodPost { // RFC 8555 section 6.3
			p := problem(malformed, "use a signed POST here, RFC 8555 section 6.3").status(http.StatusMethodNotAllowed)
			p.allow = http.MethodPost
			return p
		}
		if err := c.verify(by); err != nil {
			return err
		}
		return h(c)
	})
}

// serve makes the call, and sends with every answer what each has to have.
func (s *Server) serve(h func(*call) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		p, ok := (*s.profiles.Load())[r.PathValue("profile")]
		if !ok {
			s.writeProblem(w, r, problem(malformed, "there is no ACME server at this address").status(http.StatusNotFound))
			return
		}
		c := &call{Request: r, w: w, s: s, profile: p, base: "https://" + r.Host + "/acme/" + p.Name}
		if ap, err := netip.ParseAddrPort(r.RemoteAddr); err == nil {
			c.from = ap.Addr().Unmap()
		}
		// RFC 8555 section 6.5.1: with every answer to a POST, problems included
		if r.Method == http.MethodPost {
			w.Header().Set("Replay-Nonce", s.nonces.new())
		}
		w.Header().Set("Link", "<"+c.base+`/directory>;rel="index"`)
		if wait, ok := s.limits.requests.take(network(c.from)); !ok {
			s.writeProblem(w, r, problem(rateLimited, "too many requests from this network").after(wait))
			return
		}
		if err := h(c); err != nil {
			s.writeProblem(w, r, err)
		}
	})
}

// verify reads the signed request and checks the signature, and that it is
// meant for this place and new (RFC 8555 sections 6.2, 6.4 and 6.5).
func (c *call) verify(by signer) error {
	if err := c.read(); err != nil {
		return err
	}
	if c.message.URL != c.base+strings.TrimPrefix(c.URL.EscapedPath(), "/acme/"+c.profile.Name) {
		return problem(unauthorized, "the request was signed for %q, and was sent to %q", c.message.URL, c.base+strings.TrimPrefix(c.URL.EscapedPath(), "/acme/"+c.profile.Name))
	}
	if !c.s.nonces.take(c.message.Nonce) {
		return problem(badNonce, "the nonce is not known or was used before: use the one in this answer")
	}
	byKey := c.message.Key != nil
	switch {
	case byKey && by == byAccount:
		return problem(malformed, "sign with the account's key and give its URL as kid")
	case !byKey && by == byNewKey:
		return problem(malformed, "give the key as jwk here")
	case byKey:
		c.key = *c.message.Key
	default:
		if err := c.findAccount(); err != nil {
			return err
		}
	}
	if c.message.Verify(c.key) != nil {
		return problem(malformed, "the signature does not fit the request and the key")
	}
	if c.account != nil && c.account.Status != statusValid {
		return problem(unauthorized, "the account is %s", c.account.Status)
	}
	return nil
}

func (c *call) read() error {
	kind, _, err := mime.ParseMediaType(c.Header.Get("Content-Type"))
	if err != nil || kind != "application/jose+json" { // RFC 8555 section 6.2
		return problem(malformed, "the content type has to be application/jose+json").status(http.StatusUnsupportedMediaType)
	}
	body, err := io.ReadAll(http.MaxBytesReader(c.w, c.Body, jws.MaxSize))
	if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
		return problem(malformed, "a request has at most %d bytes", jws.MaxSize).status(http.StatusRequestEntityTooLarge)
	}
	if err != nil {
		return problem(malformed, "the request did not arrive whole")
	}
	c.body = body
	if c.message, err = jws.Parse(body); err != nil {
		return fromMessage(err)
	}
	return nil
}

// findAccount looks up the account that the kid names.
func (c *call) findAccount() error {
	id, ok := strings.CutPrefix(c.message.KeyID, c.base+"/account/")
	if !ok || id == "" || strings.Contains(id, "/") {
		return problem(malformed, "the kid is not the URL of an account here")
	}
	a, remembered := c.s.known.get(id, c.s.now())
	if !remembered {
		var err error
		a.record, err = load[authority.ACMEAccount](c.Context(), c.s, authority.ACMEKindAccount, id)
		if isNotFound(err) {
			return problem(accountDoesNotExist, "there is no such account")
		}
		if err != nil {
			return fault(err)
		}
		if err := a.key.UnmarshalJSON(a.record.Doc.Key); err != nil {
			return fault(fmt.Errorf("key of ACME account %s: %w", id, err))
		}
		a.until = c.s.now().Add(knownTime)
		c.s.known.put(id, a)
	}
	if a.record.Doc.Profile != c.profile.Name {
		return problem(accountDoesNotExist, "there is no such account")
	}
	c.account, c.key = &account{ACMEAccount: a.record.Doc, record: a.record}, a.key
	return nil
}

// asGet reports whether the request is a POST-as-GET (RFC 8555 section 6.3).
func (c *call) asGet() bool { return len(c.message.Payload) == 0 }

// payload reads the JSON object in the request. Fields that are not known are
// ignored, as RFC 8555 section 7.3 and others say.
func (c *call) payload(into any) error {
	if c.asGet() {
		return problem(malformed, "a payload is missing")
	}
	if err := json.Unmarshal(c.message.Payload, into); err != nil {
		return problem(malformed, "the payload: %s", strings.TrimPrefix(err.Error(), "json: "))
	}
	return nil
}

// needGet refuses a payload where there is nothing to change.
func (c *call) needGet() error {
	if !c.asGet() {
		return problem(malformed, "use POST-as-GET here: the payload is empty, RFC 8555 section 6.3")
	}
	return nil
}

// proof is the request as the authority checks it again.
func (c *call) proof() authority.ACMEProof {
	p := authority.ACMEProof{Profile: c.profile.Name, Message: c.body, URL: c.message.URL, From: c.from}
	p.Key, _ = c.key.MarshalJSON()
	if c.account != nil {
		p.Account = c.account.ID
	}
	return p
}

func (c *call) url(parts ...string) string { return c.base + "/" + strings.Join(parts, "/") }

// answer writes a JSON document.
func (c *call) answer(status int, v any) error {
	c.w.Header().Set("Content-Type", "application/json")
	c.w.WriteHeader(status)
	json.NewEncoder(c.w).Encode(v) // a client that does not wait cannot be helped
	return nil
}
