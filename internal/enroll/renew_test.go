package enroll

import (
	"crypto/x509"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/postern-project/postern/internal/authority"
	"github.com/postern-project/postern/internal/invite"
	"github.com/postern-project/postern/internal/ledger"
)

func TestRenewal(t *testing.T) {
	request := csr(t, x509.CertificateRequest{})
	cases := map[string]struct {
		method, body string
		known        bool // the gateway knows the client
		err          error
		status       int
		code         string
	}{
		"a known client":            {"POST", body(t, "", request), true, nil, 200, ""},
		"a stranger":                {"POST", body(t, "", request), false, nil, 403, "no-certificate"},
		"a DELETE":                  {"DELETE", "", true, nil, 405, "bad-request"},
		"a GET by a stranger":       {"GET", "", false, nil, 403, "no-certificate"},
		"a revoked certificate":     {"POST", body(t, "", request), true, &authority.Error{Code: authority.CodeRevoked}, 403, "revoked"},
		"an authority that is down": {"POST", body(t, "", request), true, http.ErrServerClosed, 503, "unavailable"},
		"a body that is not JSON":   {"POST", "x", true, nil, 400, "bad-request"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.office.err = c.err
			h := RenewHandler(RenewOptions{
				Certificate: func(*http.Request) (*x509.Certificate, bool) { return nil, false },
				Authority:   w.office, Log: slog.New(slog.DiscardHandler),
				Client: func(*http.Request) (ledger.Ref, bool) { return ledger.Ref{}, c.known },
			})
			r := httptest.NewRequest(c.method, "/.postern/renew", strings.NewReader(c.body))
			r.Header.Set("Content-Type", "application/json")
			out := httptest.NewRecorder()
			h.ServeHTTP(out, r)
			var got struct {
				invite.Answer
				Code string
			}
			if err := json.Unmarshal(out.Body.Bytes(), &got); err != nil {
				t.Fatal(err)
			}
			if out.Code != c.status || got.Code != c.code || (got.Name == "anna/phone") != (c.status == 200) {
				t.Errorf("status %d, %+v", out.Code, got)
			}
		})
	}
}
