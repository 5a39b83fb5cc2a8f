package gateway

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"

	pages "github.com/postern-project/postern/internal/page"
	"github.com/postern-project/postern/internal/refusal"
)

// facts are what a visitor is told about the certificate they showed.
func (c *conn) facts(code refusal.Code) []pages.Row {
	if len(c.presented) == 0 || !aboutClient(code) {
		return nil
	}
	leaf := c.presented[0]
	rows := []pages.Row{{Label: "Certificate", Value: leaf.Subject.CommonName}, {Label: "Issued by", Value: leaf.Issuer.CommonName}}
	switch code {
	case refusal.Expired:
		rows = append(rows, pages.Row{Label: "Ended", Value: leaf.NotAfter.UTC().Format(time.RFC1123)})
	case refusal.NotYetValid:
		rows = append(rows, pages.Row{Label: "Begins", Value: leaf.NotBefore.UTC().Format(time.RFC1123)})
	}
	return rows
}

// An answer is what a refused visitor gets.
type answer struct {
	info      refusal.Info
	reference refusal.Reference
	site      string
	joinURL   string
	details   []pages.Row
	because   string // what exactly was wrong, where the site tells
	askURL    string // where to ask for access
	renewURL  string // where to renew what has ended
	again     bool   // offer to be asked for a certificate once more
}

// A problem is an answer for programs (RFC 9457).
type problem struct {
	Type      string            `json:"type"`
	Title     string            `json:"title"`
	Status    int               `json:"status"`
	Detail    string            `json:"detail"`
	Code      refusal.Code      `json:"code,omitempty"`
	Because   string            `json:"because,omitempty"`
	Reference refusal.Reference `json:"reference,omitzero"`
	Remedy    string            `json:"remedy"`
	Join      string            `json:"join,omitempty"`
	Ask       string            `json:"ask,omitempty"`
	Renew     string            `json:"renew,omitempty"`
}

// write answers with a page for people and problem details for programs. What
// the answer depends on besides the address is not to be kept by any cache.
func (a answer) write(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	for _, name := range []string{"Content-Encoding", "Content-Length", "Etag", "Last-Modified", "Set-Cookie"} {
		h.Del(name)
	}
	h.Set("Cache-Control", "no-store")
	h.Set("Vary", "Accept")
	switch a.info.Status {
	case http.StatusServiceUnavailable:
		h.Set("Retry-After", "30")
	case http.StatusMethodNotAllowed:
		if h.Get("Allow") == "" {
			h.Set("Allow", "GET, HEAD")
		}
	}
	if wantsPage(r) {
		if a.because != "" {
			a.details = append(a.details, pages.Row{Label: "Exactly", Value: clip(a.because)})
		}
		pages.Refusal(pages.RefusalView{Info: a.info, Reference: a.reference, Site: a.site, Details: a.details, JoinURL: a.joinURL, AskURL: a.askURL, RenewURL: a.renewURL, Again: a.again}).Write(w, a.info.Status)
		return
	}
	body, err := json.Marshal(problem{
		Type: problemType(a.info.Code), Title: a.info.Title, Status: a.info.Status, Detail: a.info.Sentence,
		Code: a.info.Code, Reference: a.reference, Remedy: a.info.VisitorRemedy, Join: a.joinURL, Ask: a.askURL, Renew: a.renewURL, Because: clip(a.because),
	})
	if err != nil {
		http.Error(w, a.info.Title, a.info.Status)
		return
	}
	body = append(body, '\n')
	h.Set("Content-Type", "application/problem+json")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(a.info.Status)
	w.Write(body)
}

// problemType returns the URI of a problem's kind; a discreet site has none to
// tell (RFC 9457 section 4.2.1).
func problemType(code refusal.Code) string {
	if code == "" {
		return "about:blank"
	}
	return "urn:postern:refusal:" + string(code)
}

// wantsPage reports whether the client asks for HTML, as browsers do for what
// they show and programs do not.
func wantsPage(r *http.Request) bool {
	for _, accept := range r.Header["Accept"] {
		for part := range strings.SplitSeq(accept, ",") {
			kind, _, _ := strings.Cut(part, ";")
			if strings.EqualFold(strings.TrimSpace(kind), "text/html") {
				return true
			}
		}
	}
	return false
}
