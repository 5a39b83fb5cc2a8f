// Package enroll is the server's side of enrolment: the page that an
// invitation's link opens, the exchange of a code for a certificate, and
// renewal by those who hold a certificate already.
package enroll

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/postern-project/postern/internal/authority"
	"github.com/postern-project/postern/internal/identity"
	"github.com/postern-project/postern/internal/invite"
	"github.com/postern-project/postern/internal/page"
)

// redeemer is all that using an invitation asks of the authority.
type redeemer interface {
	Redeem(ctx context.Context, r authority.RedeemRequest) (authority.Issued, error)
	LookInvite(ctx context.Context, code string) (authority.Invite, error)
}

// Options say what a Handler needs to know.
type Options struct {
	Authority   redeemer
	TrustDomain identity.TrustDomain
	// Roots returns the roots that are trusted now, newest first.
	Roots func() []*x509.Certificate
	// RenewURLs returns where a certificate can be renewed now, such as
	// https://pw.example.com/.postern/renew; nil means nowhere.
	RenewURLs func() []string
	// Sites returns the addresses that a name may open now, such as
	// https://pw.example.com/; nil means none.
	Sites func(identity.Name) []string
	// Course remembers what happens to invitations; nil means nobody does.
	Course *Course
	// Downloads are programs to offer; nil means none.
	Downloads *Downloads
	// Access holds the requests for access; nil means that it cannot be asked
	// for.
	Access *Access
	// AccessSites returns the hosts at whose doors access can be asked for now.
	AccessSites func() []string
	// PublicCertificate returns what the public side shows, with its key, when
	// that is of an authority that devices know. It signs configuration profiles
	// for Apple's devices, and lets them believe the SCEP server. While it is nil
	// there are no profiles.
	PublicCertificate func() *tls.Certificate
	// PublicURL returns the public side's address, without a slash at its end,
	// and SCEPPath is where below it the SCEP server is. Both are needed for
	// profiles only.
	PublicURL func() string
	SCEPPath  string
	// NeedsRoot reports whether a name may open a site whose certificate is of
	// our own root; nil means never.
	NeedsRoot func(identity.Name) bool
	Log       *slog.Logger
	// Now is the clock of the limits; nil means time.Now.
	Now func() time.Time
	// Limits bound the attempts; the zero Limits are the defaults.
	Limits Limits
	// Attempts are counted together with those that come in elsewhere; nil
	// counts those here alone, by Limits.
	Attempts *Attempts
}

// Handler returns the public side's answer to /join and below it, and to what
// lies nowhere. Only POST spends anything; GET and HEAD may be made by anybody,
// such as a messenger that previews the link.
func Handler(o Options) (http.Handler, error) {
	if o.Authority == nil || o.Log == nil || o.Roots == nil || len(o.Roots()) == 0 {
		return nil, errors.New("enrolment needs an authority, its root and a log")
	}
	site := o.TrustDomain.String()
	if o.Course == nil {
		o.Course = new(Course)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Attempts == nil {
		o.Attempts = NewAttempts(o.Limits, o.Now)
	}
	d := &desk{options: o, limit: o.Attempts.limit, reports: newLimiter(o.Limits, o.Now), asks: newLimiter(askLimits, o.Now)}
	mux := http.NewServeMux()
	mux.Handle("GET /{$}", show(func() page.Page { return page.Home(site, invite.Path) }, http.StatusOK))
	view := page.JoinView{Site: site, FilePath: invite.FilePath, Downloads: o.Downloads.offered()}
	plain := show(func() page.Page { return page.Join(view) }, http.StatusOK)
	withProfile := view
	withProfile.ProfilePath, withProfile.StatePath = invite.ProfilePath, invite.StatePath
	apple := show(func() page.Page { return page.Join(withProfile) }, http.StatusOK)
	mux.HandleFunc("GET "+invite.Path, func(w http.ResponseWriter, r *http.Request) {
		if d.publicCertificate() != nil {
			apple.ServeHTTP(w, r)
			return
		}
		plain.ServeHTTP(w, r)
	})
	mux.HandleFunc("GET "+page.JoinFolder+"{file}", func(w http.ResponseWriter, r *http.Request) {
		if !o.Downloads.serve(w, r, r.PathValue("file")) {
			page.NotFound(site).Write(w, http.StatusNotFound)
		}
	})
	mux.Handle("POST "+invite.Path, answer(d.join))
	mux.Handle("POST "+invite.ReportPath, answer(d.report))
	mux.Handle("POST "+invite.ProfilePath, answer(d.profile))
	mux.Handle("POST "+invite.StatePath, answer(d.state))
	mux.Handle("GET "+invite.FilePath, answer(d.fileForm))
	mux.Handle("POST "+invite.FilePath, answer(d.file))
	if o.Access != nil {
		mux.Handle("GET "+invite.AskPath, answer(d.accessPage))
		mux.Handle("POST "+invite.AskPath, answer(d.askAccess))
	}
	mux.Handle("GET "+page.Keymaker().In(page.JoinFolder).Path, script(page.Keymaker()))
	mux.Handle("GET "+invite.RootPath, rootCertificate(o.Roots))
	mux.Handle("/", show(func() page.Page { return page.NotFound(site) }, http.StatusNotFound))
	return mux, nil
}

// A desk is where invitations are handed in.
type desk struct {
	options Options
	limit   *limiter // of attempts to use an invitation
	reports *limiter
	asks    *limiter // of requests for access
}

// join exchanges a code for a certificate.
func (d *desk) join(w http.ResponseWriter, r *http.Request) error {
	address := prefixOf(r.RemoteAddr)
	if wait, ok := d.limit.take(address); !ok {
		w.Header().Set("Retry-After", strconv.Itoa(seconds(wait)))
		return refuse(http.StatusTooManyRequests, "rate-limited", "too many attempts from this network: wait %d seconds", seconds(wait))
	}
	request, err := readRequest(w, r)
	if err != nil {
		return err
	}
	code, err := invite.Parse(request.Code)
	if err != nil {
		return refuse(http.StatusBadRequest, authority.CodeMistyped, "%v", err)
	}
	csr, err := parseCSR(request.CSR)
	if err != nil {
		return err
	}
	spki := csr.RawSubjectPublicKeyInfo
	issued, err := d.options.Authority.Redeem(r.Context(), authority.RedeemRequest{Code: code.String(), PublicKey: spki})
	if authority.CodeOf(err) == authority.CodePending {
		d.limit.giveBack(address) // the code is good
		return d.pending(w, code, spki, r.UserAgent())
	}
	if err != nil {
		return d.failed(err, address.String())
	}
	d.limit.giveBack(address)
	d.options.Course.issued(code.Hash(), issued, d.options.Now())
	d.options.Log.Info("invite used", "name", issued.Name, "serial", issued.Serial, "address", address.String())
	answer := answerOf(d.options.TrustDomain, issued, d.renewURLs(), notes(csr))
	if d.options.Sites != nil {
		answer.Sites = d.options.Sites(issued.Name)
	}
	return writeJSON(w, http.StatusOK, "application/json", answer)
}

func (d *desk) renewURLs() []string {
	if d.options.RenewURLs == nil {
		return nil
	}
	return d.options.RenewURLs()
}

// failed turns the authority's refusal into an answer. What is no refusal is
// the machine's fault: it is logged, and the stranger learns no more than that.
func (d *desk) failed(err error, address string) error {
	e, ok := errors.AsType[*authority.Error](err)
	if !ok {
		d.options.Log.Error("invite not answered", "address", address, "err", err)
		return internalFault()
	}
	d.options.Log.Info("invite refused", "code", e.Code, "address", address)
	return fromAuthority(e)
}

// show answers with a page that never changes, and is made when it is first
// asked for.
func show(render func() page.Page, status int) http.Handler {
	p := sync.OnceValue(render)
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { p().Write(w, status) })
}

// rootCertificate answers with a root, as RFC 5280 section 4.2.2.1 serves a
// certificate: the one that the pin in the query fits, else the newest.
func rootCertificate(roots func() []*x509.Certificate) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		all := roots()
		root := all[0]
		if pin, err := invite.ParsePin(r.URL.Query().Get("pin")); err == nil {
			if i := slices.IndexFunc(all, pin.Fits); i >= 0 {
				root = all[i]
			}
		}
		h := w.Header()
		h.Set("Content-Type", "application/pkix-cert")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Cache-Control", "max-age=300")
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(root.Raw))
	})
}

func pemOf(ders ...[]byte) string {
	var out strings.Builder
	for _, der := range ders {
		out.Write(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	}
	return out.String()
}
