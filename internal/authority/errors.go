package authority

import (
	"errors"
	"fmt"

	"github.com/postern-project/postern/internal/identity"
	"github.com/postern-project/postern/internal/store"
)

// The codes of an Error. They never change once released: commands, the
// admin API and scripts branch on them.
const (
	CodeBadRequest     = "bad-request"
	CodeNotFound       = "not-found"
	CodeExists         = "exists"
	CodeSpent          = "spent"
	CodeExpired        = "expired"
	CodeCancelled      = "cancelled"
	CodeMistyped       = "mistyped"
	CodeUnknownProfile = "unknown-profile"
	CodeLint           = "lint"
	CodeWeakKey        = "weak-key"
	CodeSuspended      = "suspended"
	CodeRevoked        = "revoked"
	CodeReadOnly       = "read-only"
	CodePending        = "pending"
	CodeRateLimited    = "rate-limited"
	CodeForbidden      = "forbidden-by-policy"
	CodeBadCSR         = "bad-certificate-request"
	CodeDistrusted     = "distrusted"
	CodeNotYet         = "not-yet"
	CodeKeyUnavailable = "key-unavailable"
)

// An Error is a refusal by the authority, with a meaning that survives the
// way through JSON. What is no Error is a fault of the machine below.
type Error struct {
	Code string `json:"code"`
	Msg  string `json:"message"`
	// Hint says what to do; it may be empty.
	Hint string `json:"hint,omitempty"`
}

// Error returns the message and the hint.
func (e *Error) Error() string {
	if e.Hint == "" {
		return e.Msg
	}
	return e.Msg + ": " + e.Hint
}

// CodeOf returns the code of the Error in err's tree, or "" if there is none.
func CodeOf(err error) string {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	return ""
}

func refuse(code, hint, format string, args ...any) *Error {
	return &Error{Code: code, Msg: fmt.Sprintf(format, args...), Hint: hint}
}

func badRequest(err error) *Error { return &Error{Code: CodeBadRequest, Msg: err.Error()} }

func unknownName(n identity.Name) *Error {
	return refuse(CodeNotFound, "'postern list identities' shows the names there are", "nothing is known of %s", n)
}

func suspendedName(n, by identity.Name) *Error {
	hint := fmt.Sprintf("'postern reinstate %s' ends the suspension", by)
	if n == by {
		return refuse(CodeSuspended, hint, "%s is suspended", n)
	}
	return refuse(CodeSuspended, hint, "%s is suspended, and %s stands below it", by, n)
}

// notFound turns the store's answer into one that names what was looked for.
func notFound(err error, otherwise *Error) error {
	if errors.Is(err, store.ErrNotFound) {
		return otherwise
	}
	return err
}

// unless returns err, or nil if it is the one that is expected.
func unless(expected, err error) error {
	if errors.Is(err, expected) {
		return nil
	}
	return err
}
