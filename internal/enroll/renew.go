package enroll

import (
	"context"
	"crypto/x509"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/postern-project/postern/internal/authority"
	"github.com/postern-project/postern/internal/identity"
	"github.com/postern-project/postern/internal/invite"
	"github.com/postern-project/postern/internal/ledger"
	"github.com/postern-project/postern/internal/page"
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
	Client func(*http.Request) (ledger.Ref, bool)
	// Certificate returns the same certificate itself.
	Certificate func(*http.Request) (*x509.Certificate, bool)
	RenewURLs   func() []string
	Now         func() time.Time // nil means time.Now
	Log         *slog.Logger
}

// RenewHandler returns the answer to POST /.postern/renew behind the gateway:
// a new certificate of the same name for a new key, given to whoever has
// proved in the handshake to hold the old one.
func RenewHandler(o RenewOptions) http.Handler {
	if o.Now == nil {
		o.Now = time.Now
	}
	mux := http.NewServeMux()
	mux.Handle("POST "+renewPath, answer(func(w http.ResponseWriter, r *http.Request) error { return renew(o, w, r) }))
	mux.Handle("GET "+page.Keymaker().In(page.RenewFolder).Path, script(page.Keymaker()))
	mux.Handle("GET "+renewPath, answer(func(w http.ResponseWriter, r *http.Request) error { return offerRenewal(o, w, r) }))
	mux.HandleFunc(renewPath, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Allow", "GET, HEAD, POST")
		writeProblem(w, refuse(http.StatusMethodNotAllowed, authority.CodeBadRequest, "renewal is a POST; 'postern renew DIR' does it"))
	})
	return mux
}

// renewPath is the address of renewal on every site.
const renewPath = "/.postern/renew"

// offerRenewal shows the page that makes the new key.
func offerRenewal(o RenewOptions, w http.ResponseWriter, r *http.Request) error {
	c, ok := o.Certificate(r)
	if !ok {
		return refuse(http.StatusForbidden, "no-certificate", "only the holder of a certificate can renew it: ask for an invitation")
	}
	const day = "2 January 2006"
	v := page.RenewView{Site: r.Host, Name: c.Subject.CommonName, Until: c.NotAfter.UTC().Format(day)}
	if from := invite.DueFrom(c.NotBefore, c.NotAfter); o.Now().Before(from) {
		v.From = from.UTC().Format(day)
	}
	page.Renew(v).Write(w, http.StatusOK)
	return nil
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
	issued, err := o.Authority.Renew(r.Context(), authority.RenewRequest{Ref: ref, PublicKey: csr.RawSubjectPublicKeyInfo, Proof: request.Proof})
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
