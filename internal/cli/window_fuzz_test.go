package cli

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/postern-project/postern/internal/api"
	"github.com/postern-project/postern/internal/config"
)

// own are the requests for certificates of the server itself, for which the
// configuration speaks.
var own = []string{"/w1/issue/served", "/w1/issue/registration"}

// Whatever the gateway's process sends to the authority, with a real house
// behind it: it is answered at once and shortly, nothing of it breaks, and
// nothing gets into the ledger without a code, a proof or an account's key.
func FuzzWindow(f *testing.F) {
	made, err := made()
	if err != nil {
		f.Fatal(err)
	}
	f.Chdir(f.TempDir())
	f.Setenv("POSTERN_STATE_DIR", ".state")
	copyFolder(f, filepath.Join(made, "data"), defaultData)
	lock, err := api.TryHold(defaultData)
	if err != nil {
		f.Fatal(err)
	}
	h, err := OpenHouse(f.Context(), lock, HouseOptions{})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { h.Close() })
	conf, _, err := config.Parse("postern.yaml", []byte("sites: {localhost: {static: ., allow: [ben]}}\n"))
	if err != nil {
		f.Fatal(err)
	}
	o := &office{house: h}
	o.inUse.Store(&declared{conf: conf})
	handler := api.WindowHandler(window{h.Authority, o}, slog.New(slog.DiscardHandler))

	for path, body := range map[string]string{
		"/w1/issue/served": `{"host":"localhost","public_key":"AA=="}`, "/w1/issue/upstream": `{"host":"localhost","public_key":"AA=="}`,
		"/w1/issue/registration": `"AA=="`, "/w1/redeem": `{"code":"0000","public_key":"AA==","server_key":true}`, "/w1/redeem/scep": `{"csr":"MAA="}`,
		"/w1/invite": `"00000000000000000000000000"`, "/w1/renew": `{"ref":{},"public_key":"AA==","proof":"AA=="}`, "/w1/crl": `{"issuer":"clients-1","shard":4294967295,"all":true}`,
		"/w1/ocsp": `"MAA="`, "/w1/head": "", "/w1/file": `"/etc/passwd"`, "/w1/due": "", "/w1/acme/nonce-key": "",
		"/w1/acme/bind": `{"message":{},"key":{}}`, "/w1/acme/find": `{"profile":"server","thumbprint":[1]}`, "/w1/acme/rekey": `{"account":"a","key":{},"message":{}}`,
		"/w1/acme/close": `{"account":"acct-1"}`, "/w1/acme/permits": `{"hosts":[]}`, "/w1/acme/issue": `{"order":"a","hosts":[{"type":"dns","value":"localhost"}]}`,
		"/w1/acme/revoke": `{"message":{}}`, "/w1/acme/chain": `"order"`, "/w1/acme/renewal": `{"aki":"AA==","serial":"01"}`,
		"/w1/acme/record": `{"kind":"order","by":"x"}`, "/w1/acme/record/by": `{"kind":"order","by":"x"}`, "/w1/acme/records": `{"kind":"order","by":"x","limit":-1}`,
		"/w1/acme/write": `[{"Kind":"order","ID":"x","Body":"e30=","Version":0}]`, "/w1/acme/sweep": `{}`, "/v1/issue": `{"name":"eve/phone","public_key":"AA=="}`, "/w1/../v1/invite": `{}`,
	} {
		f.Add("POST", path, "application/json", []byte(body))
		f.Add("GET", path, "", []byte(body))
	}
	f.Fuzz(func(t *testing.T, method, path, header string, body []byte) {
		req, err := http.NewRequestWithContext(t.Context(), method, "http://postern/", strings.NewReader(string(body)))
		if err != nil {
			return
		}
		req.URL.Path = path
		for _, name := range []string{"Content-Type", "Authorization", "Content-Encoding", "X-Http-Method-Override"} {
			req.Header.Set(name, header)
		}
		before, err := h.Authority.Head(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		began, w := time.Now(), httptest.NewRecorder()
		handler.ServeHTTP(w, req)
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("%s %s takes %s", method, path, took)
		}
		answer, _ := io.ReadAll(w.Result().Body)
		if len(answer) > 1<<20+4*len(body) {
			t.Errorf("%s %s is answered with %d bytes", method, path, len(answer))
		}
		if w.Code == http.StatusOK && strings.HasPrefix(path, "/v1/") {
			t.Errorf("%s %s is a command, and is carried out", method, path)
		}
		after, err := h.Authority.Head(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if after.Size != before.Size && !slices.Contains(own, path) {
			t.Errorf("%s %s %q put %d entries into the ledger: %s", method, path, body, after.Size-before.Size, answer)
		}
	})
}
