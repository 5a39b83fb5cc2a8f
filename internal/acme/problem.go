package acme

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/postern-project/postern/internal/authority"
	"github.com/postern-project/postern/internal/jws"
)

// The types of problems (RFC 8555 section 6.7, RFC 9773 section 7.4, the
// profiles draft), without their common beginning.
const (
	accountDoesNotExist     = "accountDoesNotExist"
	alreadyReplaced         = "alreadyReplaced"
	alreadyRevoked          = "alreadyRevoked"
	badCSR                  = "badCSR"
	badNonce                = "badNonce"
	badPublicKey            = "badPublicKey"
	badRevocationReason     = "badRevocationReason"
	badSignatureAlgorithm   = "badSignatureAlgorithm"
	compound                = "compound"
	connection              = "connection"
	dnsProblem              = "dns"
	externalAccountRequired = "externalAccountRequired"
	incorrectResponse       = "incorrectResponse"
	invalidContact          = "invalidContact"
	invalidProfile          = "invalidProfile"
	malformed               = "malformed"
	orderNotReady           = "orderNotReady"
	rateLimited             = "rateLimited"
	rejectedIdentifier      = "rejectedIdentifier"
	serverInternal          = "serverInternal"
	tlsProblem              = "tls"
	unauthorized            = "unauthorized"
	unsupportedContact      = "unsupportedContact"
	unsupportedIdentifier   = "unsupportedIdentifier"
)

const problemSpace = "urn:ietf:params:acme:error:"

// statuses are those of types whose status is not 400.
var statuses = map[string]int{
	accountDoesNotExist: http.StatusBadRequest, unauthorized: http.StatusForbidden, rateLimited: http.StatusTooManyRequests,
	serverInternal: http.StatusInternalServerError, orderNotReady: http.StatusForbidden, rejectedIdentifier: http.StatusForbidden,
	badCSR: http.StatusBadRequest, alreadyReplaced: http.StatusConflict, externalAccountRequired: http.StatusForbidden,
}

// A problemError is an error that the client reads.
type problemError struct {
	authority.ACMEProblem
	wait     time.Duration // Retry-After; zero for none
	location string        // Location; "" for none
	allow    string        // Allow; "" for none
	cause    error         // for our log; nil for none
}

func (e *problemError) Error() string { return e.Type + ": " + e.Detail }
func (e *problemError) Unwrap() error { return e.cause }

func problem(kind, format string, args ...any) *problemError {
	status, ok := statuses[kind]
	if !ok {
		status = http.StatusBadRequest
	}
	return &problemError{ACMEProblem: authority.ACMEProblem{Type: problemSpace + kind, Detail: fmt.Sprintf(format, args...), Status: status}}
}

func (e *problemError) status(status int) *problemError {
	e.Status = status
	return e
}

func (e *problemError) after(d time.Duration) *problemError {
	e.wait = d
	return e
}

// fault is what the client hears of a trouble of ours.
func fault(cause error) *problemError {
	e := problem(serverInternal, "the server cannot answer now: ask again in a minute").status(http.StatusServiceUnavailable).after(10 * time.Second)
	e.cause = cause
	return e
}

// kinds gives the authority's codes a type.
var kinds = map[string]string{
	authority.CodeForbidden: unauthorized, authority.CodeSuspended: unauthorized, authority.CodeCancelled: unauthorized,
	authority.CodeSpent: unauthorized, authority.CodeExpired: unauthorized, authority.CodeBadCSR: badCSR,
	authority.CodeWeakKey: badCSR, authority.CodeBadRequest: malformed, authority.CodeRevoked: alreadyRevoked,
	authority.CodeBadReason: badRevocationReason, authority.CodeRateLimited: rateLimited, authority.CodeNotFound: malformed,
	authority.CodeUnknownProfile: malformed, authority.CodeConflict: serverInternal,
}

// fromAuthority turns an error of the authority into one for the client. What
// is no refusal is a fault of ours, whose words stay here.
func fromAuthority(err error) error {
	if err == nil {
		return nil
	}
	e, ok := errors.AsType[*authority.Error](err)
	if !ok || kinds[e.Code] == "" || e.Code == authority.CodeConflict {
		return fault(err)
	}
	p := problem(kinds[e.Code], "%s", e.Msg)
	if e.Code == authority.CodeNotFound {
		p.status(http.StatusNotFound)
	}
	return p
}

// fromMessage says what is wrong with a signed request.
func fromMessage(err error) *problemError {
	if a, ok := errors.AsType[*jws.AlgorithmError](err); ok {
		p := problem(badSignatureAlgorithm, "%s", a)
		p.Algorithms = jws.Algorithms()
		return p
	}
	if k, ok := errors.AsType[*jws.KeyError](err); ok {
		return problem(badPublicKey, "%s", k)
	}
	return problem(malformed, "%s", err)
}

// writeProblem is the one place that turns errors into problem documents.
func (s *Server) writeProblem(w http.ResponseWriter, r *http.Request, err error) {
	p, ok := errors.AsType[*problemError](err)
	if !ok {
		p = fault(err)
	}
	if p.cause != nil {
		s.log.Error("acme request failed", "path", r.URL.Path, "err", p.cause)
	}
	h := w.Header()
	h.Set("Content-Type", "application/problem+json")
	if p.wait > 0 {
		h.Set("Retry-After", strconv.Itoa(seconds(p.wait)))
	}
	if p.location != "" {
		h.Set("Location", p.location)
	}
	if p.allow != "" {
		h.Set("Allow", p.allow)
	}
	w.WriteHeader(p.Status)
	json.NewEncoder(w).Encode(p.ACMEProblem)
}
