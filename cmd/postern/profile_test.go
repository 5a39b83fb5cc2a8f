package main

import (
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/chromedp/device"
	"github.com/smallstep/scep"

	"github.com/postern-project/postern/internal/invite"
)

// profiled opens a door whose certificate is a public authority's, of which
// ca.pem in the folder is the certificate.
func profiled(t *testing.T) (d *door, files string) {
	t.Helper()
	files = t.TempDir()
	somebodyElses(t, files, "pw.postern.test", 3001)
	d = configured(t, fmt.Sprintf("sites:\n  pw.postern.test:\n    static: %s\n    allow: [anna]\n    certificate: {cert: %s/cert.pem, key: %[2]s/key.pem}\n", site(t, "the page behind the door"), files))
	d.open()
	return d, files
}

func somebodysPool(t *testing.T, path string) *x509.CertPool {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(text)
	return pool
}

func whole(t *testing.T, resp *http.Response) string {
	t.Helper()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// plistOf reads a property list by two readers that are not ours.
func plistOf(t *testing.T, text string) (v map[string]any) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "profile.plist")
	write(t, path, []byte(text))
	if out, err := exec.Command("plistutil", "-i", path, "-f", "bin", "-o", path+".bin").CombinedOutput(); err != nil {
		t.Fatalf("plistutil: %v\n%s\n%s", err, out, text)
	}
	read := exec.Command("python3", "-c", "import json,plistlib,sys; json.dump(plistlib.load(open(sys.argv[1],'rb')), sys.stdout, default=lambda b: b.hex())", path)
	out, err := read.Output()
	if err != nil {
		t.Fatalf("plistlib: %v\n%s", err, text)
	}
	if err := json.Unmarshal(out, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// An iPhone opens its invitation, takes the profile that the site has signed,
// makes its key, and gets the certificate by SCEP; its page notices and leads on.
func TestAnIPhoneTakesAProfile(t *testing.T) {
	t.Parallel()
	d, files := profiled(t)
	link := d.invitation("anna/phone")
	phone := newBrowser(t, d)
	phone.nss("certutil", "-A", "-n", "somebody else", "-t", "C,,", "-i", filepath.Join(files, "ca.pem"))
	phone.pretend = device.IPhone13
	phone.start()
	phone.visit(link)
	phone.await("#profile")
	phone.shoot("profile-phone")
	phone.click("#profile button[type=submit]")
	phone.await("#profiled")
	phone.shoot("profiled-phone")
	signed := phone.download("anna-phone.mobileconfig")
	text, err := exec.Command("openssl", "cms", "-verify", "-in", signed, "-inform", "DER", "-CAfile", filepath.Join(files, "ca.pem"), "-purpose", "any").Output()
	if err != nil {
		t.Fatalf("openssl does not verify the profile: %v", err)
	}
	p := plistOf(t, string(text))
	parts := p["PayloadContent"].([]any)
	key := parts[0].(map[string]any)
	ask := key["PayloadContent"].(map[string]any)
	if len(parts) != 1 || p["PayloadType"] != "Configuration" || p["PayloadIdentifier"] == "" || key["PayloadType"] != "com.apple.security.scep" ||
		ask["Keysize"] != 2048.0 || ask["Key Type"] != "RSA" || ask["KeyIsExtractable"] != false || p["PayloadUUID"] == key["PayloadUUID"] {
		t.Errorf("the profile says %v", p)
	}
	config := d.tls("", "pw.postern.test")
	pool := somebodysPool(t, filepath.Join(files, "ca.pem"))
	config.RootCAs = pool
	if got := newSettings(t, ask["URL"].(string), config).enrol(ask["Challenge"].(string)); got.PKIStatus != scep.SUCCESS || got.Certificate.Subject.CommonName != "anna/phone" {
		t.Fatalf("the device was answered with %q; the server said:\n%s", got.PKIStatus, d.output)
	}
	phone.await("#profile-done")
	if text := phone.text("#profile-sites"); !strings.Contains(text, "pw.postern.test") {
		t.Errorf("the page leads to %q", text)
	}
	phone.shoot("profile-done-phone")
	code, _ := invite.ParseLink(link)
	if strings.Contains(d.output.String(), code.Code.String()) {
		t.Error("the server's output holds the code")
	}

	phone.visit("about:blank")
	phone.visit(link)
	phone.click("#profile button[type=submit]")
	phone.await("#failed")
	if text := phone.text("#why"); !strings.Contains(text, "has been used") {
		t.Errorf("a used invitation is told as %q", text)
	}
}

// A Mac may have its browser make the key, and take the file as a profile that
// asks for no password.
func TestAMacTakesItsFileAsAProfile(t *testing.T) {
	t.Parallel()
	d, files := profiled(t)
	mac := newBrowser(t, d)
	mac.nss("certutil", "-A", "-n", "somebody else", "-t", "C,,", "-i", filepath.Join(files, "ca.pem"))
	mac.pretend = device.Info{Name: "Mac", UserAgent: "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.1 Safari/605.1.15", Width: 1200, Height: 900, Scale: 1}
	mac.start()
	mac.visit(d.invitation("anna/mac"))
	mac.shoot("profile-mac")
	mac.click("#here")
	mac.click("#begin")
	mac.await("#made")
	mac.shoot("made-mac")
	mac.click("#profile-file")
	text, err := os.ReadFile(mac.download("anna-mac.mobileconfig"))
	if err != nil {
		t.Fatal(err)
	}
	p := plistOf(t, string(text))
	key := p["PayloadContent"].([]any)[0].(map[string]any)
	if key["PayloadType"] != "com.apple.security.pkcs12" || key["Password"] != mac.text("#password") {
		t.Errorf("the profile says %v", p)
	}
	file := filepath.Join(t.TempDir(), "file.p12")
	content, err := hex.DecodeString(key["PayloadContent"].(string))
	if err != nil {
		t.Fatal(err)
	}
	write(t, file, content)
	if out, err := exec.Command("openssl", "pkcs12", "-in", file, "-legacy", "-noenc", "-passin", "pass:"+key["Password"].(string)).CombinedOutput(); err != nil || !strings.Contains(string(out), "anna/mac") {
		t.Errorf("openssl reads the file: %v\n%s", err, out)
	}
}

// What is no good invitation gets no profile, learns nothing, and spends nothing;
// without a public certificate there is none for anybody.
func TestNoProfile(t *testing.T) {
	t.Parallel()
	d, files := profiled(t)
	link, err := invite.ParseLink(d.invitation("anna/phone"))
	if err != nil {
		t.Fatal(err)
	}
	guarded, err := invite.ParseLink(d.invitation("anna/tablet", "--approve"))
	if err != nil {
		t.Fatal(err)
	}
	config := d.tls("", "pw.postern.test")
	config.RootCAs = somebodysPool(t, filepath.Join(files, "ca.pem"))
	client := newSettings(t, "", config).client
	other := invite.New()
	for sentence, c := range map[string]struct {
		method string
		form   url.Values
		status int
		says   string
	}{
		"a code that nobody gave out":  {"POST", url.Values{"code": {other.String()}}, http.StatusNotFound, "not known"},
		"no code":                      {"POST", nil, http.StatusBadRequest, "There is no profile"},
		"one that has to be approved":  {"POST", url.Values{"code": {guarded.Code.String()}}, http.StatusBadRequest, "comparing words"},
		"GET, as a preview does":       {"GET", url.Values{"code": {link.Code.String()}}, http.StatusNotFound, "leads nowhere"},
		"a form that is far too large": {"POST", url.Values{"code": {strings.Repeat("x", 10_000)}}, http.StatusBadRequest, "could not be read"},
	} {
		t.Run(sentence, func(t *testing.T) {
			r, err := http.NewRequest(c.method, link.Base+"/join/profile", strings.NewReader(c.form.Encode()))
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			resp, err := client.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			body := whole(t, resp)
			if resp.StatusCode != c.status || !strings.Contains(body, c.says) || strings.Contains(body, "anna") {
				t.Errorf("%s: %s", resp.Status, body)
			}
		})
	}
	if listed := d.run("list", "invites", "--json"); strings.Count(listed, `"status": "open"`) != 3 {
		t.Errorf("an invitation was spent: %s", listed)
	}

	plain := newDoor(t, "pw.postern.test="+site(t, "the page"))
	plain.open()
	alone, err := invite.ParseLink(plain.invitation("anna/phone"))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := newSettings(t, "", plain.tls("", "pw.postern.test")).client.PostForm(alone.Base+"/join/profile", url.Values{"code": {alone.Code.String()}})
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body := whole(t, resp); resp.StatusCode != http.StatusNotFound || !strings.Contains(body, "no certificate of a public authority") {
		t.Errorf("%s: %s", resp.Status, body)
	}
}
