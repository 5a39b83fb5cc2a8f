package enroll

import (
	"bytes"
	"encoding/base64"
	"html"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"crypto/ecdsa"
	"crypto/x509"

	"software.sslmate.com/src/go-pkcs12"

	"github.com/postern-project/postern/internal/authority"
	"github.com/postern-project/postern/internal/invite"
)

// The key and its password are in the answer and nowhere else.
func TestTheServerMakesAKeyAndForgetsIt(t *testing.T) {
	w := newWorld(t)
	code := invite.New().String()
	response, text := w.browse(t, "POST", invite.FilePath, url.Values{"code": {" " + code + "\n"}}.Encode(), nil, nil)
	if response.StatusCode != http.StatusOK || response.Header.Get("Cache-Control") != "no-store" {
		t.Fatalf("status %d: %s", response.StatusCode, text)
	}
	password := regexp.MustCompile(`<p class="reference">([a-z2-7-]{19})</p>`).FindStringSubmatch(text)
	data := regexp.MustCompile(`href="data:application/x-pkcs12;base64,([^"]*)"`).FindStringSubmatch(text)
	if password == nil || data == nil {
		t.Fatalf("no password or no file: %s", text)
	}
	file, err := base64.StdEncoding.DecodeString(html.UnescapeString(data[1]))
	if err != nil {
		t.Fatal(err)
	}
	key, _, _, err := pkcs12.DecodeChain(file, password[1])
	if err != nil {
		t.Fatal(err)
	}
	spki, err := x509.MarshalPKIXPublicKey(key.(*ecdsa.PrivateKey).Public())
	if err != nil || w.office.asked() != 1 || !bytes.Equal(spki, w.office.keys[0]) || !w.office.serverKey {
		t.Errorf("the certificate is for another key, or the authority was not told who made it: %v", err)
	}
	for _, secret := range []string{password[1], code} {
		if strings.Contains(w.log.String(), secret) {
			t.Errorf("a secret is in the log: %s", w.log)
		}
	}
}

func TestTheServerMakesNoKeyFor(t *testing.T) {
	good := invite.New().String()
	for name, c := range map[string]struct {
		body   string
		header http.Header
		err    error
		status int
		asked  int
	}{
		"a code that was used":      {body: "code=" + good, err: &authority.Error{Code: authority.CodeSpent, Msg: "used"}, status: 410, asked: 1},
		"a mistyped code":           {body: "code=zz" + good[2:], status: 400},
		"a link that is cut off":    {body: "code=https://join.example.com/join%23" + good, status: 400},
		"no code":                   {body: "", status: 400},
		"a form that is too large":  {body: "code=" + strings.Repeat("0", maxForm), status: 400},
		"a page of another origin":  {body: "code=" + good, header: http.Header{"Sec-Fetch-Site": {"cross-site"}}, status: 403},
		"a fault of the machine":    {body: "code=" + good, err: http.ErrAbortHandler, status: 503, asked: 1},
		"a script in place of code": {body: "code=%3Cscript%3Ealert(1)%3C/script%3E", status: 400},
	} {
		w := newWorld(t)
		w.office.err = c.err
		response, text := w.browse(t, "POST", invite.FilePath, c.body, nil, c.header)
		if response.StatusCode != c.status || w.office.asked() != c.asked || strings.Contains(text, "<script>alert") || strings.Contains(text, "x-pkcs12") {
			t.Errorf("%s: status %d, asked %d: %s", name, response.StatusCode, w.office.asked(), text)
		}
		if strings.Contains(w.log.String()+text, good) {
			t.Errorf("%s: the code is in the answer or the log", name)
		}
	}
	w := newWorld(t)
	limited := 0
	for range 10 {
		if response, _ := w.browse(t, "POST", invite.FilePath, "code=x", nil, nil); response.StatusCode == http.StatusTooManyRequests {
			limited++
		}
	}
	if limited != 5 {
		t.Errorf("%d of 10 attempts were turned away", limited)
	}
}
