// Package scep is a SCEP server (RFC 8894) for devices that were invited: an
// iPhone or a Mac makes its key itself and gets the certificate of its
// invitation. The challenge password is the invitation's code; names in a
// request are ignored.
package scep

import (
	"bytes"
	"context"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/postern-project/postern/internal/authority"
)

// Path is where the server answers.
const Path = "/scep"

// redeemer is all that the server asks of the authority.
type redeemer interface {
	RedeemSCEP(ctx context.Context, r authority.SCEPRequest) (authority.Issued, error)
}

// A Limit counts attempts to use a code, by the network they come from.
type Limit interface {
	// Take counts one by a remote address, or says how long to wait.
	Take(remote string) (wait time.Duration, ok bool)
	// GiveBack undoes a Take: the attempt was a good one.
	GiveBack(remote string)
}

// A Refusal is a request that was turned away.
type Refusal struct {
	// Code is the authority's, such as expired, or bad-request.
	Code string
	// Detail says what was wrong and what to do, for the operator.
	Detail string
	// Address is where it came from.
	Address string
}

// Options say what a Handler needs to know. All but the hooks at the end have
// to be set.
type Options struct {
	Authority redeemer
	// Registration returns the registration authority's certificate, which has an
	// RSA key, with what leads from it to the root behind it; nil while there is
	// none. Its key is for SCEP alone and never leaves the server.
	Registration func() *tls.Certificate
	Limit        Limit
	Log          *slog.Logger
	// Issued is told of each certificate, and Refused of what was turned away;
	// nil for nobody.
	Issued  func(authority.Issued)
	Refused func(Refusal)
}

// capabilities is the answer to GetCACaps (RFC 8894 section 3.5.2): no Renewal,
// since a device renews with a key that it proves to hold, over TLS; and neither
// SHA-1 nor triple DES, which nothing has needed since iOS 10.
const capabilities = "AES\nPOSTPKIOperation\nSCEPStandard\nSHA-256\nSHA-512\n"

// maxBusy is how many messages are opened at a time; each costs some
// milliseconds of RSA.
const maxBusy = 8

// Handler returns the server's answers below Path. It is safe for concurrent
// use.
func Handler(o Options) (http.Handler, error) {
	if o.Authority == nil || o.Registration == nil || o.Limit == nil || o.Log == nil {
		return nil, errors.New("SCEP needs an authority, a registration authority, a limit and a log")
	}
	return &server{o, make(chan struct{}, maxBusy)}, nil
}

type server struct {
	Options
	busy chan struct{} // a slot for each message being opened
}

// ServeHTTP answers one of the operations of RFC 8894 section 4.
func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	operation := r.URL.Query().Get("operation")
	if r.Method != http.MethodGet && (r.Method != http.MethodPost || operation != "PKIOperation") {
		w.Header().Set("Allow", "GET, POST")
		complain(w, http.StatusMethodNotAllowed, "SCEP is GET, or POST for PKIOperation")
		return
	}
	by := s.Registration()
	if by == nil {
		w.Header().Set("Retry-After", "60")
		complain(w, http.StatusServiceUnavailable, "there is no registration authority now: try again in a minute")
		return
	}
	switch operation {
	case "GetCACaps":
		answer(w, "text/plain", []byte(capabilities))
	case "GetCACert":
		certificates, err := degenerate(by.Certificate)
		if err != nil {
			s.Log.Error("SCEP certificates not sent", "err", err)
			complain(w, http.StatusServiceUnavailable, "the certificates cannot be sent now")
			return
		}
		answer(w, "application/x-x509-ca-ra-cert", certificates)
	case "PKIOperation":
		s.operate(w, r, by)
	default:
		complain(w, http.StatusBadRequest, "SCEP has the operations GetCACaps, GetCACert and PKIOperation")
	}
}

// operate answers a message.
func (s *server) operate(w http.ResponseWriter, r *http.Request, by *tls.Certificate) {
	if wait, ok := s.Limit.Take(r.RemoteAddr); !ok {
		w.Header().Set("Retry-After", strconv.Itoa(int(wait/time.Second)+1))
		s.refused(Refusal{authority.CodeRateLimited, "too many SCEP messages from this network", r.RemoteAddr})
		complain(w, http.StatusTooManyRequests, "too many attempts from this network")
		return
	}
	data, err := read(w, r)
	if err != nil {
		s.malformed(w, r, err)
		return
	}
	select {
	case s.busy <- struct{}{}:
		defer func() { <-s.busy }()
	case <-r.Context().Done():
		return
	}
	m, err := parse(data)
	if err != nil {
		s.malformed(w, r, err)
		return
	}
	reply, err := s.reply(r, m, by)
	if err != nil {
		s.Log.Error("SCEP message not answered", "address", r.RemoteAddr, "err", err)
		complain(w, http.StatusServiceUnavailable, "the message cannot be answered now: try again in a minute")
		return
	}
	answer(w, "application/x-pki-message", reply)
}

// read returns the message of a request: the body, or for GET the parameter,
// in which some clients leave a plus that arrives as a space.
func read(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	if r.Method == http.MethodPost {
		data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxMessage))
		if err != nil {
			return nil, errors.New("the message cannot be read, or is too long")
		}
		return data, nil
	}
	text := strings.ReplaceAll(r.URL.Query().Get("message"), " ", "+")
	data, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, errors.New("the message is no base64")
	}
	return data, nil
}

// malformed turns away what cannot be answered in SCEP: it names no transaction.
func (s *server) malformed(w http.ResponseWriter, r *http.Request, err error) {
	s.refused(Refusal{authority.CodeBadRequest, err.Error(), r.RemoteAddr})
	complain(w, http.StatusBadRequest, err.Error())
}

// reply returns the answer to a message: a certificate or a reason. An error is
// the machine's fault.
func (s *server) reply(r *http.Request, m *message, by *tls.Certificate) ([]byte, error) {
	refuse := func(why failInfo, code, detail string) ([]byte, error) {
		s.refused(Refusal{code, detail, r.RemoteAddr})
		return m.fail(by, why)
	}
	switch m.kind {
	case pkcsReq:
	case certPoll:
		return refuse(badCertID, authority.CodeNotFound, "CertPoll: no request waits here, each is answered at once")
	case getCert, getCRL:
		return refuse(badCertID, authority.CodeBadRequest, m.kind.String()+" is not served: certificates and lists are published at /issuers/ and /crl/")
	case renewalReq:
		return refuse(badRequest, authority.CodeBadRequest, "RenewalReq is not served: renew over TLS at /.postern/renew, or use a new invitation")
	default:
		return refuse(badRequest, authority.CodeBadRequest, m.kind.String()+" is none that a client sends")
	}
	csr, err := unseal(m, by)
	switch {
	case errors.Is(err, errAlgorithm):
		return refuse(badAlg, authority.CodeBadRequest, err.Error())
	case err != nil:
		return refuse(badMessageCheck, authority.CodeBadRequest, err.Error())
	}
	issued, err := s.Authority.RedeemSCEP(r.Context(), authority.SCEPRequest{CSR: csr})
	if e, ok := errors.AsType[*authority.Error](err); ok {
		return refuse(badRequest, e.Code, e.Error())
	}
	if err != nil {
		return nil, err
	}
	s.Limit.GiveBack(r.RemoteAddr)
	s.Log.Info("invite used", "name", issued.Name, "serial", issued.Serial, "address", r.RemoteAddr, "via", "scep")
	if s.Issued != nil {
		s.Issued(issued)
	}
	return m.succeed(by, issued.Chain)
}

// unseal returns the certificate request in a message: one for the very key
// that signed the message. Whatever is wrong inside the envelope is one error.
func unseal(m *message, by *tls.Certificate) ([]byte, error) {
	key, ok := by.PrivateKey.(*rsa.PrivateKey)
	if !ok {
		return nil, errors.New("the registration authority's key is not RSA")
	}
	e, err := parseEnvelope(m.content, by.Leaf)
	if err != nil {
		return nil, err
	}
	content, err := e.open(key)
	if err != nil {
		return nil, errEnvelope
	}
	csr, err := x509.ParseCertificateRequest(content)
	if err != nil || csr.CheckSignature() != nil || !bytes.Equal(csr.RawSubjectPublicKeyInfo, m.signer.RawSubjectPublicKeyInfo) {
		return nil, errEnvelope
	}
	return content, nil
}

func (s *server) refused(r Refusal) {
	if s.Refused != nil {
		s.Refused(r)
	}
}

func answer(w http.ResponseWriter, kind string, body []byte) {
	h := w.Header()
	h.Set("Content-Type", kind)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	w.Write(body)
}

func complain(w http.ResponseWriter, status int, why string) {
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Connection", "close") // the rest of the request was not read
	http.Error(w, why, status)
}
