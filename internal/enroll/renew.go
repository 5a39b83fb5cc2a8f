package enroll

import (
	"context"
	"errors"
	"log/slog"
	"net/http"

	"github.com/postern-project/postern/internal/authority"
	"github.com/postern-project/postern/internal/identity"
	"github.com/postern-project/postern/internal/ledger"
)

// renewer is all that renewal asks of the authority.
type renewer interface {
	Renew(ctx context.Context, r authority.RenewRequest) (authority.Issued, error)
}

// RenewOptions say what the renewal door needs to know.
type RenewOptions struct {
	Authority   renewer
	TrustDomain identity.TrustDomain
	// Client returns the certificate that the connection was opened with and
	// that the gateway found good, or false.
	Client    func(*http.Request) (ledger.Ref, bool)
	RenewURLs func() []string
	Log       *slog.Logger
}

// RenewHandler returns the answer to POST /.postern/renew behind the gateway:
// a new certificate of the same name for a new key, given to whoever has
// proved in the handshake to hold the old one.
func RenewHandler(o RenewOptions) http.Handler {
	post := answer(func(w http.ResponseWriter, r *http.Request) error { return renew(o, w, r) })
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost {
			w.Header().Set("Allow", http.MethodPost)
			writeProblem(w, refuse(http.StatusMethodNotAllowed, authority.CodeBadRequest, "renewal is a POST; 'postern renew DIR' does it"))
			return
		}
		post.ServeHTTP(w, r)
	})
}

func renew(o RenewOptions, w http.ResponseWriter, r *http.Request) error {
	ref, ok := o.Client(r)
	if !ok {
		return refuse(http.StatusForbidden, "no-certificate", "only the holder of a certificate can renew it: ask for an invitation")
	}
	request, err := readRequest(w, r)
	if err != nil {
		return err
	}
	csr, err := parseCSR(request.CSR)
	if err != nil {
		return err
	}
	issued, err := o.Authority.Renew(r.Context(), authority.RenewRequest{Ref: ref, PublicKey: csr.RawSubjectPublicKeyInfo})
	if e, ok := errors.AsType[*authority.Error](err); ok {
		o.Log.Info("renewal refused", "serial", ref.Serial, "code", e.Code)
		return fromAuthority(e)
	}
	if err != nil {
		o.Log.Error("renewal not answered", "serial", ref.Serial, "err", err)
		return internalFault()
	}
	o.Log.Info("certificate renewed", "name", issued.Name, "serial", issued.Serial, "from", ref.Serial)
	var urls []string
	if o.RenewURLs != nil {
		urls = o.RenewURLs()
	}
	return writeJSON(w, http.StatusOK, "application/json", answerOf(o.TrustDomain, issued, urls, notes(csr)))
}
