package enroll

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/postern-project/postern/internal/authority"
	"github.com/postern-project/postern/internal/invite"
)

// A problemError is an error that a stranger may read.
type problemError struct{ invite.Problem }

func (e *problemError) Error() string { return e.Code + ": " + e.Detail }

func refuse(status int, code, format string, args ...any) error {
	return &problemError{invite.Problem{
		Type: "about:blank", Title: http.StatusText(status), Status: status,
		Detail: fmt.Sprintf(format, args...), Code: code,
	}}
}

func internalFault() error {
	return refuse(http.StatusServiceUnavailable, "unavailable",
		"the authority cannot answer now: try again in a minute; the invitation is kept for ten minutes for the same key")
}

// statuses gives the authority's codes a status; any other is 400.
var statuses = map[string]int{
	authority.CodeNotFound:    http.StatusNotFound,
	authority.CodeSpent:       http.StatusGone,
	authority.CodeExpired:     http.StatusGone,
	authority.CodeCancelled:   http.StatusGone,
	authority.CodeExists:      http.StatusConflict,
	authority.CodeRateLimited: http.StatusTooManyRequests,
	authority.CodeSuspended:   http.StatusForbidden,
	authority.CodeRevoked:     http.StatusForbidden,
	authority.CodeWeakKey:     http.StatusUnprocessableEntity,
	authority.CodeReadOnly:    http.StatusServiceUnavailable,

	authority.CodeKeyUnavailable: http.StatusServiceUnavailable,
}

// advice replaces the authority's hints, which speak to its operator, by what
// the visitor can do.
var advice = map[string]string{
	authority.CodeNotFound:  "ask the person who invited you for a new invitation",
	authority.CodeSpent:     "ask the person who invited you for a new invitation; if it was not you who used it, tell them so",
	authority.CodeExpired:   "ask the person who invited you for a new invitation",
	authority.CodeCancelled: "ask the person who invited you for a new invitation",
	authority.CodeSuspended: "ask the person who invited you to lift the suspension",
	authority.CodeRevoked:   "ask the person who runs this site for a new invitation",
	authority.CodeWeakKey:   "make a new key and try again; the invitation is still good",
	authority.CodeReadOnly:  "try again later; the invitation is still good",

	authority.CodeKeyUnavailable: "try again later; the invitation is still good",
}

func fromAuthority(e *authority.Error) error {
	status, ok := statuses[e.Code]
	if !ok {
		status = http.StatusBadRequest
	}
	detail := e.Msg
	if e.Code == authority.CodeKeyUnavailable { // which key, and where, is the operator's to know
		detail = "the authority cannot sign now"
	}
	if what := advice[e.Code]; what != "" {
		detail += ": " + what
	}
	return refuse(status, e.Code, "%s", detail)
}

// answer adapts a function that returns its error, refuses requests of other
// origins, and is the one place that turns errors into problem details.
func answer(f func(http.ResponseWriter, *http.Request) error) http.Handler {
	origin := http.NewCrossOriginProtection()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := origin.Check(r); err != nil {
			writeProblem(w, refuse(http.StatusForbidden, "cross-origin", "another site asked for this: open the link yourself"))
			return
		}
		if err := f(w, r); err != nil {
			writeProblem(w, err)
		}
	})
}

func writeProblem(w http.ResponseWriter, err error) {
	p, ok := errors.AsType[*problemError](err)
	if !ok {
		p, _ = errors.AsType[*problemError](internalFault())
	}
	// The connection may hold the rest of a request that was not read.
	w.Header().Set("Connection", "close")
	// Nothing can be done about a visitor who does not wait for the answer.
	_ = writeJSON(w, p.Status, invite.ProblemType, p.Problem)
}
