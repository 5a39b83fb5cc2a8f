package enroll

import (
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"

	"github.com/postern-project/postern/internal/authority"
	"github.com/postern-project/postern/internal/chain"
	"github.com/postern-project/postern/internal/identity"
	"github.com/postern-project/postern/internal/invite"
)

// readRequest reads the one JSON object of a request. A page of another origin
// cannot send that media type without asking first, and is never answered.
func readRequest(w http.ResponseWriter, r *http.Request) (invite.Request, error) {
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind != "application/json" {
		return invite.Request{}, refuse(http.StatusUnsupportedMediaType, "unsupported-media-type",
			"send the request as application/json; 'postern join LINK' does it")
	}
	decoder := json.NewDecoder(http.MaxBytesReader(w, r.Body, invite.MaxRequest))
	decoder.DisallowUnknownFields()
	var request invite.Request
	err = decoder.Decode(&request)
	if err == nil {
		_, err = decoder.Token()
	}
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return invite.Request{}, refuse(http.StatusRequestEntityTooLarge, "too-large",
			"a request has at most %d bytes", invite.MaxRequest)
	}
	if err != io.EOF {
		return invite.Request{}, refuse(http.StatusBadRequest, authority.CodeBadRequest,
			`the request is not one JSON object with "code" and "csr"`)
	}
	return request, nil
}

// parseCSR returns the certificate request in text, its signature checked.
func parseCSR(text string) (*x509.CertificateRequest, error) {
	csr, err := chain.ParseCSR([]byte(text))
	if err != nil {
		return nil, refuse(http.StatusBadRequest, authority.CodeBadRequest, "certificate request: %v", err)
	}
	return csr, nil
}

// notes says what in the request was not used.
func notes(csr *x509.CertificateRequest) []string {
	if len(csr.Subject.Names)+len(csr.DNSNames)+len(csr.EmailAddresses)+len(csr.IPAddresses)+len(csr.URIs)+len(csr.Extensions) == 0 {
		return nil
	}
	return []string{"the names and extensions in the certificate request were ignored: the invitation says who it is for"}
}

func answerOf(d identity.TrustDomain, i authority.Issued, renew, notes []string) invite.Answer {
	return invite.Answer{
		TrustDomain: d.String(), Name: i.Name.String(), Profile: i.Profile, Serial: i.Serial.String(),
		NotBefore: i.NotBefore, NotAfter: i.NotAfter,
		Certificate: pemOf(i.Chain...), Root: pemOf(i.Root), Roots: pemOf(i.Roots...), Renew: renew, Notes: notes,
	}
}

func writeJSON(w http.ResponseWriter, status int, kind string, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode answer: %w", err)
	}
	h := w.Header()
	h.Set("Content-Type", kind)
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, err = w.Write(append(body, '\n'))
	return err
}
