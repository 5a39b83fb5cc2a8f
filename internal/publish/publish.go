// Package publish answers those who ask what was revoked and who issued:
// revocation lists, OCSP and the issuers' certificates, over plain HTTP or
// within the public side. All of it is signed, and none of it is secret.
package publish

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/postern-project/postern/internal/authority"
	"github.com/postern-project/postern/internal/ledger"
	"github.com/postern-project/postern/internal/profile"
	"github.com/postern-project/postern/internal/revocation"
	"github.com/postern-project/postern/internal/roster"
)

// An Authority is what the handlers ask.
type Authority interface {
	RevocationList(context.Context, authority.ListRequest) (authority.RevocationList, error)
	AnswerOCSP(request []byte) authority.OCSPAnswer
}

// Options is what a Handler is made of.
type Options struct {
	Authority Authority
	Issuers   func() []roster.Issuer
	// Roots are all that the ledger knows, with their lists.
	Roots func() []ledger.Root
	Log   *slog.Logger
}

// maxAge is how long a cache may keep a list or an OCSP answer. A revocation is
// known outside that much later.
const maxAge = 5 * time.Minute

// Handler answers below /crl/, /ocsp, /issuers/ and /root/, and nothing else.
func Handler(o Options) http.Handler {
	h := handler{o}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /crl/{issuer}/{file}", h.list)
	mux.HandleFunc("POST "+authority.OCSPPath, h.ocspPost)
	mux.HandleFunc("GET /issuers/{file}", h.issuer)
	mux.HandleFunc("GET /root/{file}", h.root)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// Base64 holds slashes, two in a row among them, which a mux would
		// take for a path to be tidied up.
		if rest, ok := strings.CutPrefix(r.URL.EscapedPath(), authority.OCSPPath+"/"); ok {
			h.ocspGet(w, r, rest)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

type handler struct{ Options }

func (h handler) list(w http.ResponseWriter, r *http.Request) {
	number, ok := strings.CutSuffix(r.PathValue("file"), ".crl")
	shard, err := strconv.ParseUint(number, 10, 31)
	if !ok || err != nil || strconv.FormatUint(shard, 10) != number {
		http.NotFound(w, r)
		return
	}
	l, err := h.Authority.RevocationList(r.Context(), authority.ListRequest{Issuer: r.PathValue("issuer"), Shard: uint32(shard)})
	if err != nil {
		h.failed(w, r, err)
		return
	}
	keep(w, l.DER, l.NextUpdate)
	w.Header().Set("Content-Type", "application/pkix-crl")
	http.ServeContent(w, r, "", l.ThisUpdate, bytes.NewReader(l.DER))
}

func (h handler) failed(w http.ResponseWriter, r *http.Request, err error) {
	if e, ok := errors.AsType[*authority.Error](err); ok && e.Code == authority.CodeNotFound {
		http.NotFound(w, r)
		return
	}
	h.Log.Error("revocation list not served", "path", r.URL.Path, "err", err)
	http.Error(w, "the list cannot be made now", http.StatusServiceUnavailable)
}

// keep lets caches keep body, for a while and never past its end (RFC 5019
// section 6.2).
func keep(w http.ResponseWriter, body []byte, end time.Time) {
	sum := sha256.Sum256(body)
	w.Header().Set("ETag", `"`+hex.EncodeToString(sum[:16])+`"`)
	w.Header().Set("Cache-Control", "max-age="+strconv.Itoa(int(maxAge/time.Second))+", public, no-transform, must-revalidate")
	w.Header().Set("Expires", end.UTC().Format(http.TimeFormat))
}

func (h handler) ocspPost(w http.ResponseWriter, r *http.Request) {
	if t, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";"); strings.TrimSpace(t) != "application/ocsp-request" {
		http.Error(w, "an OCSP request has the type application/ocsp-request", http.StatusUnsupportedMediaType)
		return
	}
	der, err := io.ReadAll(http.MaxBytesReader(w, r.Body, revocation.MaxRequest))
	if err != nil {
		http.Error(w, "the OCSP request is too long or was cut off", http.StatusRequestEntityTooLarge)
		return
	}
	h.answer(w, r, der)
}

// ocspGet reads the request from the path: base64, then URL-encoded (RFC 6960
// appendix A.1), which some clients forget.
func (h handler) ocspGet(w http.ResponseWriter, r *http.Request, rest string) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "use GET here, or POST to "+authority.OCSPPath, http.StatusMethodNotAllowed)
		return
	}
	if len(rest) > 3*revocation.MaxRequest {
		http.Error(w, "the OCSP request is too long", http.StatusRequestURITooLong)
		return
	}
	text, err := url.PathUnescape(rest)
	if err != nil {
		http.Error(w, "the path is not URL-encoded", http.StatusBadRequest)
		return
	}
	der, err := base64.StdEncoding.DecodeString(text)
	if err != nil { // without the padding
		der, err = base64.RawStdEncoding.DecodeString(text)
	}
	if err != nil {
		http.Error(w, "the path is not an OCSP request in base64", http.StatusBadRequest)
		return
	}
	h.answer(w, r, der)
}

func (h handler) answer(w http.ResponseWriter, r *http.Request, der []byte) {
	a := h.Authority.AnswerOCSP(der)
	w.Header().Set("Content-Type", "application/ocsp-response")
	if a.NextUpdate.IsZero() || r.Method == http.MethodPost {
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("Content-Length", strconv.Itoa(len(a.DER)))
		w.Write(a.DER)
		return
	}
	keep(w, a.DER, a.NextUpdate)
	http.ServeContent(w, r, "", a.ThisUpdate, bytes.NewReader(a.DER))
}

func (h handler) issuer(w http.ResponseWriter, r *http.Request) {
	name, ok := strings.CutSuffix(r.PathValue("file"), ".crt")
	for _, issuer := range h.Issuers() {
		if ok && issuer.Name == name {
			w.Header().Set("Content-Type", "application/pkix-cert")
			w.Header().Set("Cache-Control", "max-age=300")
			http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(issuer.Certificate.Raw))
			return
		}
	}
	http.NotFound(w, r)
}

// root serves a root's certificate and its newest list, which a ceremony made.
func (h handler) root(w http.ResponseWriter, r *http.Request) {
	for _, root := range h.Roots() {
		switch r.URL.Path {
		case profile.RootPath(root.Certificate) + ".crt":
			keep(w, root.Certificate.Raw, root.Certificate.NotAfter)
			w.Header().Set("Content-Type", "application/pkix-cert")
			http.ServeContent(w, r, "", root.Certificate.NotBefore, bytes.NewReader(root.Certificate.Raw))
			return
		case profile.RootPath(root.Certificate) + ".crl":
			if root.List == nil {
				continue
			}
			keep(w, root.List.Raw, root.List.NextUpdate)
			w.Header().Set("Content-Type", "application/pkix-crl")
			http.ServeContent(w, r, "", root.List.ThisUpdate, bytes.NewReader(root.List.Raw))
			return
		}
	}
	http.NotFound(w, r)
}
